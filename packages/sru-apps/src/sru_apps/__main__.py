"""`python -m sru_apps` is the `sru` command."""

import sys

from sru_apps.cli import main

sys.exit(main())
