"""Kernels that run on the CPU: addresses in, results written through them, the GIL released.

Nothing behind an address is checked: the description of each field says what must be there.

The threads of OpenMP do not survive a fork, so in a child of a process that had several threads the kernels run on
the calling thread alone, whatever `num_threads` says. Start workers with `spawn` or `forkserver` to have threads there.
"""

from ._native.cpu import *  # noqa: F403
