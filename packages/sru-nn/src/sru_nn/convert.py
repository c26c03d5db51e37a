"""Convert old checkpoints of `sru` to the layout of this package.

`load_state_dict` reads old state dicts unchanged. Convert a checkpoint to keep it in the new layout, or to
find out how its module was built. `python -m sru_nn.convert OLD NEW` converts files.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sru_nn.checkpoints.convert import ConversionError, Found, convert
from sru_nn.checkpoints.files import read_file, safetensors, write_file
from sru_nn.checkpoints.layouts import shortened, strip_wrappers

__all__ = ["ConversionError", "Found", "convert"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sru_nn.convert",
        description="Rewrite a checkpoint of sru 2.3.5, 2.6.0 or 3.0.0.dev6 as safetensors for sru_nn.",
        epilog="load_state_dict reads old state dicts as they are; convert those you want to keep. Runs no "
        "code from OLD (weights_only=True). Needs the package safetensors.",
    )
    parser.add_argument("old", type=Path, metavar="OLD", help="a file of torch.save, or safetensors")
    parser.add_argument("new", type=Path, metavar="NEW", help="the safetensors file to write")
    parser.add_argument(
        "--entry", help="the entry of OLD that is the state dict; default: the one with an SRU"
    )
    parser.add_argument("--force", action="store_true", help="overwrite NEW if it exists")
    parser.add_argument(
        "--keep-wrappers",
        action="store_true",
        help="keep the prefixes 'module.' and '_orig_mod.', which DataParallel and torch.compile add",
    )
    options = parser.parse_args(arguments)
    try:
        if options.new.exists() and not options.force:
            raise ConversionError(f"{options.new} exists already; --force overwrites it")
        safetensors()  # fail before the work if it is missing
        state_dict, notes = read_file(options.old, options.entry)
        if not options.keep_wrappers and (taken := strip_wrappers(state_dict)):
            notes.append(f"Stripped {taken!r}, with which every name began.")
        new, found = convert(state_dict)
        write_file(options.new, new)
    except (ConversionError, OSError, ValueError) as error:
        print(f"{parser.prog}: {options.old}: {error}", file=sys.stderr)
        return 1
    for note in notes:
        print(note)
    for sru in found:
        print(f"{sru.prefix.rstrip('.') or 'The model itself'}: saved by {sru.saved_by}.")
        print(f"    {sru.call}")
        print(f"    The weights do not say: {', '.join(sru.untold)}.")
    print(f"{shortened(options.new, 4096)}: {len(new)} tensors, {sum(t.nbytes for t in new.values())} bytes.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
