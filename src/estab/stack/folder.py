"""A folder of the operating system as a ``Store`` for HTTP: what is below it, and nothing else.

Links are followed if they end below the folder. Only plain files are served: no devices, no pipes, no listings. For a
folder, its ``index.html`` is served.
"""

from __future__ import annotations

import errno
import mimetypes
import os
import stat
import time
from email.utils import formatdate

from estab.serve.http import Content, Store

__all__ = ["Folder"]

_TEXT = ("text/", "application/javascript", "application/json", "image/svg+xml")


class _File(Content):
    """An open file."""

    def __init__(self, fd: int, path: str, status: os.stat_result) -> None:
        tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        super().__init__(status.st_size, _kind(path), tag, formatdate(status.st_mtime, usegmt=True))
        self._fd = fd

    def read(self, offset: int, count: int) -> bytes:
        """Read from the file; return nothing if that fails."""
        try:
            return os.pread(self._fd, count, offset)
        except OSError:
            return b""

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Folder(Store):
    """All plain files below ``root``. ``NotADirectoryError`` if that is no folder."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        super().__init__()
        self._root = os.path.realpath(root)
        if not os.path.isdir(self._root):
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(root))
        self._date = ""
        self._date_second = -1

    def find(self, names: list[str]) -> Content | None:
        """Open the file that a path names, if it is below the root."""
        path = os.path.realpath(os.path.join(self._root, *names))
        if path != self._root and not path.startswith(self._root.rstrip("/") + "/"):
            return None
        is_folder = os.path.isdir(path)
        if is_folder and names and names[-1]:
            # If a folder is requested without the slash, the page's relative links would be wrong.
            return Content(0, "", "", "", moved_to=_quoted(names[-1]) + "/")
        if is_folder:
            return self.find([*names, "index.html"]) if os.path.exists(os.path.join(path, "index.html")) else None
        if names and not names[-1]:
            return None  # a plain file, requested as a folder
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO):
                return None
            raise
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            return None
        return _File(fd, path, status)

    def date(self) -> str:
        """Return the time of day as HTTP writes it, formatted once a second."""
        second = int(time.time())
        if second != self._date_second:
            self._date, self._date_second = formatdate(second, usegmt=True), second
        return self._date


def _kind(path: str) -> str:
    kind, encoding = mimetypes.guess_type(path)
    if kind is None or encoding is not None:
        return "application/octet-stream" if encoding != "gzip" else "application/gzip"
    return f"{kind}; charset=utf-8" if kind.startswith(_TEXT) else kind


def _quoted(name: str) -> str:
    """Percent-encode a name for Location."""
    keep = b"-._~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return "./" + "".join(chr(octet) if octet in keep else f"%{octet:02X}" for octet in name.encode("utf-8"))
