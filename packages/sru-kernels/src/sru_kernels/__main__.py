"""`python -m sru_kernels`: print what to know first when something is wrong with an installation."""

import platform

from . import _native, build_info


def main() -> None:
    """Print the build, then where it runs, one `name: value` a line."""
    facts = {
        **build_info(),
        "extension": _native.__file__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    for name, value in facts.items():
        print(f"{name}: {'none' if value is None else value}")


if __name__ == "__main__":
    main()
