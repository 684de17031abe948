"""What only Linux has: ``fcntl`` with Linux's requests, and the error on any other system."""

from __future__ import annotations

import errno
import sys

from estab.errors import os_error

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["fcntl", "require_linux"]


def require_linux(what: str) -> None:
    """Refuse a device that this system can't have. ``OSError`` (ENOTSUP)."""
    if sys.platform != "linux":
        raise os_error(errno.ENOTSUP, f"operation not supported: {what} need Linux. On other systems a stack runs on "
                                      "devices in user space: estab.QueueDevice, or one of yours")
