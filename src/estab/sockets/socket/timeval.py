"""``struct timeval`` as SO_RCVTIMEO and SO_SNDTIMEO have it: 0 is no limit."""

from __future__ import annotations

import errno
import struct
from typing import Final

from estab.errors import os_error
from estab.units import NEVER, SECOND, US

__all__ = ["read_timeval", "write_timeval"]

_TIMEVAL: Final = struct.Struct("ll")


def read_timeval(value: int | bytes) -> int:
    """Read a limit in nanoseconds; 0: none. EINVAL, EDOM.

    A negative time is no time at all, as on Linux; one that is too long to be counted is no limit.
    """
    if isinstance(value, int) or len(value) < _TIMEVAL.size:
        what = f"the number {value}" if isinstance(value, int) else f"{len(value)} bytes"
        raise os_error(errno.EINVAL, f"invalid argument: a timeout is a struct timeval, not {what}")
    seconds, microseconds = _TIMEVAL.unpack_from(value)
    if not 0 <= microseconds < SECOND // US:
        raise os_error(errno.EDOM, f"numerical argument out of domain: {microseconds} is no part of a second in µs")
    limit_ns: int = seconds * SECOND + microseconds * US if seconds >= 0 else 1
    return limit_ns if limit_ns < NEVER else 0


def write_timeval(limit_ns: int) -> bytes:
    """Write a limit that ``read_timeval`` reads."""
    return _TIMEVAL.pack(*divmod(limit_ns // US, SECOND // US))
