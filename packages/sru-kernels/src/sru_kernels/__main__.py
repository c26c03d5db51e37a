"""`python -m sru_kernels`: print the facts that help to diagnose an installation."""

from __future__ import annotations

import platform

from . import _native, build_info, cuda


def main() -> None:
    """Print how the package was built and what can run here, one `name: value` per line."""
    facts = {
        **build_info(),
        **cuda_facts(),
        "extension": _native.__file__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    for name, value in facts.items():
        print(f"{name}: {'none' if value is None else value}")


def cuda_facts() -> dict[str, str | None]:
    """Describe the CUDA kernels in this build, the driver, each device and why the kernels cannot run."""
    info = cuda.build_info()
    if info is None:
        return {"cuda": None, "cuda_problem": cuda.problem()}
    facts = {
        "cuda": f"toolkit {info['toolkit']}, {info['runtime']} runtime, {' '.join(info['architectures'])}",
        "cuda_driver": cuda.driver_version(),
    }
    problem = cuda.problem()
    try:
        found = cuda.devices()
    except cuda.Error:
        return {**facts, "cuda_problem": problem}
    for index, name, (major, minor), multiprocessors, memory in found:
        facts[f"cuda_device_{index}"] = (
            f"{name}, compute capability {major}.{minor}, {multiprocessors} multiprocessors, "
            f"{memory / 2**30:.0f} GiB; {cuda.problem(index) or 'the kernels run on it'}"
        )
    return {**facts, "cuda_problem": problem}


if __name__ == "__main__":
    main()
