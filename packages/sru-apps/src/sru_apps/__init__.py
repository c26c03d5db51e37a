"""Published tasks for fast recurrent networks as trainers that run from one command, `sru`."""

import sys

from sru_apps.moved import Redirection

__version__ = "0.1.0"

# First, since in a former package Python would find the files of the present one a second time.
sys.meta_path.insert(0, Redirection())
