"""Fail unless the packages of ours in this environment are exactly those named as arguments."""

import sys
from importlib import metadata

OURS = {"sru-kernels", "sru-nn", "sru-data", "sru-apps"}


def main() -> None:
    """Compare what is installed with what was named."""
    expected = set(sys.argv[1:])
    installed = OURS & {found.metadata["Name"] for found in metadata.distributions()}
    if installed != expected:
        sys.exit(f"check-wheel: expected {sorted(expected)} of our packages here, found {sorted(installed)}")


if __name__ == "__main__":
    main()
