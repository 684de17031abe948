"""Memory of a process that does nothing but run a stack."""

from __future__ import annotations

import ctypes
from typing import Final

__all__ = ["keep_heap"]

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_TRIM_BYTES: Final = 64 << 20
_MMAP_BYTES: Final = 8 << 20


def keep_heap() -> None:
    """Make glibc keep up to 64 MB of freed memory instead of returning it at once. With another C library, do nothing.

    A stack allocates and frees pieces of 64 KB and more all the time. If each is returned to the kernel, the next one
    costs a page fault for every 4 KB of payload.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
    mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
