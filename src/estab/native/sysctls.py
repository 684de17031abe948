"""``KernelSysctls``: settings of a spawned host's kernel, by Linux's names."""

from __future__ import annotations

import errno
from collections.abc import Callable

__all__ = ["KernelSysctls"]

_PREFIX = "/proc/sys/"


class KernelSysctls:
    """The sysctls of a spawned host's namespaces. Names are as for other hosts: full, or the last part."""

    def __init__(self, host: str, read: Callable[[str], str], write: Callable[[str, str], object]) -> None:
        self._host = host
        self._read = read
        self._write = write

    def __getitem__(self, name: str) -> object:
        """Read one: a number if it is one, else text. ``KeyError`` names what the kernel does not have here."""
        try:
            text = self._read(_PREFIX + _path(name)).strip()
        except OSError as error:
            raise self._told(name, error) from None
        return int(text) if text.lstrip("-").isdigit() else text

    def __setitem__(self, name: str, value: object) -> None:
        """Write one: a number, a sequence of numbers, or text. ``ValueError`` if the kernel refuses the value."""
        text = " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        try:
            self._write(_path(name), text)
        except OSError as error:
            raise self._told(name, error, text) from None

    def _told(self, name: str, error: OSError, text: str = "") -> Exception:
        if error.errno == errno.ENOENT:
            return KeyError(f"{name}: the kernel of host {self._host} has no such sysctl of its own")
        if error.errno in (errno.EINVAL, errno.ERANGE):
            return ValueError(f"{name}: the kernel of host {self._host} refuses {text!r}")
        return error


def _path(name: str) -> str:
    path = name.removeprefix(_PREFIX).replace(".", "/")
    return path if "/" in path else f"net/ipv4/{path}"
