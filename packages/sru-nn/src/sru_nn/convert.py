"""Old checkpoints of `sru`, rewritten in the layout of this package.

`load_state_dict` reads old state dicts as they are. Convert a checkpoint to keep it in the new layout, or to
find out how its module was made. `python -m sru_nn.convert OLD NEW` converts files.
"""

import sys

from sru_nn.checkpoints.command import main
from sru_nn.checkpoints.convert import convert
from sru_nn.checkpoints.describe import ConversionError, Found

__all__ = ["ConversionError", "Found", "convert"]

if __name__ == "__main__":
    sys.exit(main())
