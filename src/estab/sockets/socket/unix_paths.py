"""Paths as names of Unix sockets: which socket of a host a path means, and whether one may be bound there.

- The directories are the machine's, so a path must lead to one (ENOENT, ENOTDIR, ELOOP), and what is at the path
  already takes it (EADDRINUSE). The socket itself is the host's: no file is made.
- A socket is known by its directory and its last name, so that it has the same paths as a file: relative ones, through
  ``..`` and through symbolic links.
- The machine's own Unix sockets are none of the host's: for it their paths are free.
- As for ports below 1024, a program of a host needs no rights: no directory is closed to it (EACCES, EROFS).
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from estab.errors import os_error
from estab.host.sockets.local_names import name_text

if TYPE_CHECKING:
    from estab.host.sockets.local import Locals

__all__ = ["place_at", "place_to_bind", "place_to_find"]

_LINKS_MAX: Final = 40
# Taken before programs get functions that ask here.
_stat: Final = os.stat
_lstat: Final = os.lstat
_readlink: Final = os.readlink


def place_to_bind(among: Locals, name: bytes) -> bytes:
    """Return under which name a socket is kept that is bound to ``name``. ENOENT, ENOTDIR, ELOOP, EADDRINUSE."""
    if name[:1] in (b"", b"\0"):
        return name
    path = name.rstrip(b"/") or b"/"
    try:
        place = _place(path)
    except OSError as error:
        raise _told(error, name) from None
    if among.has(place) or _is_taken(path):
        raise among.in_use(name)
    if path != name:
        raise os_error(errno.ENOENT, f"no such file or directory: {name_text(name)} ends with a slash")
    return place


def place_to_find(among: Locals, name: bytes) -> bytes:
    """Return under which name the socket is kept that ``name`` leads to. ENOENT, ENOTDIR, ELOOP.

    ECONNREFUSED if there is something else.
    """
    if name[:1] in (b"", b"\0"):
        return name
    place = place_at(among, name)
    if place is not None:
        return place
    if name[-1:] == b"/" and place_at(among, name.rstrip(b"/")) is not None:
        raise _told(os_error(errno.ENOTDIR), name)
    try:
        found = _stat(name)
    except OSError as error:
        raise _told(error, name) from None
    if stat.S_ISSOCK(found.st_mode):
        raise os_error(errno.ENOENT, f"no such file or directory: {name_text(name)} is a socket of the machine, of no "
                       "program on this host")
    raise os_error(errno.ECONNREFUSED, f"connection refused: {name_text(name)} is no socket")


def place_at(among: Locals, path: bytes, *, follow: bool = True) -> bytes | None:
    """Return under which name a socket of the host is kept that has this path. ``None``: none has it.

    ``follow``: if the path is a symbolic link, that which it leads to.
    """
    if among.is_empty():
        return None
    try:
        for _ in range(_LINKS_MAX):
            place = _place(path)
            if among.has(place):
                return place
            if not follow:
                return None
            path = os.path.join(os.path.dirname(path), _readlink(path))
    except (OSError, ValueError):  # what is no path, or no link
        pass
    return None


def _place(path: bytes) -> bytes:
    """Name the directory by its device and number, as a kernel knows it, and add the last part of the path."""
    folder, last = os.path.split(path)
    found = _stat(folder or b".")
    if not stat.S_ISDIR(found.st_mode):
        raise os_error(errno.ENOTDIR)
    return b"%d:%d/%b" % (found.st_dev, found.st_ino, last)


def _is_taken(path: bytes) -> bool:
    """Tell whether there is anything of the machine's at a path, but a socket, or a link to one."""
    try:
        _lstat(path)
    except OSError:
        return False
    try:
        return not stat.S_ISSOCK(_stat(path).st_mode)
    except OSError:  # a link that leads nowhere
        return True


def _told(error: OSError, name: bytes) -> OSError:
    """Make the error of a call from that of looking at a path."""
    number = error.errno or errno.ENOENT
    return os_error(number, f"{os.strerror(number).lower()}: {name_text(name)}")
