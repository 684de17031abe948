"""What calls by a descriptor's number do for a program on a host: ``os.read``, ``os.dup``, ``fcntl``, pipes.

Each takes the program's runtime, the original, and then the original's arguments. Numbers that are not the host's are
the operating system's, and are passed to the original.
"""

from __future__ import annotations

import errno
import os
from operator import index
from typing import TYPE_CHECKING, Any, Final

from estab.errors import os_error
from estab.sockets.socket.ioctl import ioctl as answer_ioctl
from estab.sockets.socket.pair import open_pipe
from estab.sockets.socket.socket import Socket

try:
    import fcntl as os_fcntl
except ImportError:  # if the system has none
    os_fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable

    from estab.sockets.runtime import Numbered, Runtime

__all__ = ["close_number", "dup_number", "fcntl_stand_ins", "os_stand_ins", "pipe_stand_ins"]

_SENDFILE_BYTES: Final = 262_144
_lseek: Final = os.lseek
_read: Final = os.read
_pread: Final = getattr(os, "pread", None)


def _find(runtime: Runtime, fd: Any) -> Numbered | None:
    number = fd if isinstance(fd, int) else fd.fileno()
    return runtime.by_number.get(number) or runtime.detached.get(number)


# --- os


def _os_read(runtime: Runtime, original: Callable[..., Any], fd: Any, length: int, /) -> bytes:
    found = _find(runtime, fd)
    return bytes(original(fd, length)) if found is None else found.recv(length)


def _os_write(runtime: Runtime, original: Callable[..., Any], fd: Any, data: Any, /) -> int:
    found = _find(runtime, fd)
    return int(original(fd, data)) if found is None else found.send(data)


def _os_readv(runtime: Runtime, original: Callable[..., Any], fd: Any, buffers: Any, /) -> int:
    found = _find(runtime, fd)
    if not isinstance(found, Socket):
        return int(original(fd, buffers))
    return found.recvmsg_into(buffers)[0]


def _os_writev(runtime: Runtime, original: Callable[..., Any], fd: Any, buffers: Any, /) -> int:
    found = _find(runtime, fd)
    return int(original(fd, buffers)) if not isinstance(found, Socket) else found.sendmsg(buffers)


def _os_close(runtime: Runtime, original: Callable[..., Any], fd: Any) -> None:
    found = _find(runtime, index(fd))
    if found is None:
        original(fd)
    else:
        close_number(runtime, index(fd))


def close_number(runtime: Runtime, fd: int) -> None:
    """Close a descriptor of the host by its number."""
    Socket(fileno=fd, runtime=runtime).close()


def dup_number(runtime: Runtime, fd: int) -> int:
    """Make another number for a descriptor of the host. EBADF."""
    found = _find(runtime, fd)
    if found is None:
        raise os_error(errno.EBADF, f"bad file descriptor: {fd} is not a descriptor of host {runtime.name}")
    return found.dup().detach()


def _os_dup(runtime: Runtime, original: Callable[..., Any], fd: Any, /) -> int:
    return int(original(fd)) if _find(runtime, fd) is None else dup_number(runtime, fd)


def _os_dup2(runtime: Runtime, original: Callable[..., Any], fd: Any, fd2: Any, inheritable: bool = True) -> int:
    found = _find(runtime, fd)
    if found is None and _find(runtime, fd2) is None:
        return int(original(fd, fd2, inheritable))
    raise NotImplementedError(f"os.dup2 on host {runtime.name}: a descriptor of a host has the number that it gets; "
                              "os.dup gives another one for the same")


def _os_set_blocking(runtime: Runtime, original: Callable[..., Any], fd: Any, blocking: bool, /) -> None:
    found = _find(runtime, fd)
    if isinstance(found, Socket):
        _set_nonblock(found, is_on=not blocking)
    else:
        original(fd, blocking)


def _os_get_blocking(runtime: Runtime, original: Callable[..., Any], fd: Any, /) -> bool:
    found = _find(runtime, fd)
    return found.gettimeout() is None if isinstance(found, Socket) else bool(original(fd))


def _set_nonblock(sock: Socket, *, is_on: bool) -> None:
    """Set or clear O_NONBLOCK. If the socket has a timeout, Python has set it, and waits by itself."""
    timeout = sock.gettimeout()
    if is_on and timeout is None:
        sock.settimeout(0.0)
    elif not is_on and timeout == 0.0:
        sock.settimeout(None)


def _os_pipe(runtime: Runtime, original: Callable[..., Any]) -> tuple[int, int]:
    return open_pipe(runtime)


def _os_pipe2(runtime: Runtime, original: Callable[..., Any], flags: int, /) -> tuple[int, int]:
    return open_pipe(runtime, is_blocking=not flags & os.O_NONBLOCK)


def _os_fdopen(runtime: Runtime, original: Callable[..., Any], fd: int, mode: str = "r", buffering: int = -1,
               *args: Any, **kwargs: Any) -> Any:
    found = _find(runtime, fd)
    if not isinstance(found, Socket):
        return original(fd, mode, buffering, *args, **kwargs)
    sock = Socket(fileno=fd, runtime=runtime)
    names = ("encoding", "errors", "newline")
    words = {**dict(zip(names, args, strict=False)), **{name: kwargs[name] for name in names if name in kwargs}}
    made: Any = sock.makefile(  # type: ignore[call-overload]
        mode.replace("a", "w"), None if buffering == -1 else buffering, **words)
    sock.close()  # the file keeps it open
    return made


def _os_sendfile(runtime: Runtime, original: Callable[..., Any], out_fd: Any, in_fd: Any, offset: int | None,
                 count: int, *args: Any, **kwargs: Any) -> int:
    """Send into a host's socket as much of a file as there is room for."""
    found = _find(runtime, out_fd)
    if found is None:
        return int(original(out_fd, in_fd, offset, count, *args, **kwargs))
    size = min(index(count), _SENDFILE_BYTES)
    data = _read(in_fd, size) if offset is None or _pread is None else _pread(in_fd, size, offset)
    if not data:
        return 0
    sent = found.send(data)
    if offset is None:
        _lseek(in_fd, sent - len(data), os.SEEK_CUR)
    return sent


def os_stand_ins() -> dict[str, Callable[..., Any]]:
    """Return the replacements of functions of ``os`` that take the number of a descriptor, on any host."""
    return {
        "read": _os_read, "write": _os_write, "readv": _os_readv, "writev": _os_writev, "close": _os_close,
        "dup": _os_dup, "dup2": _os_dup2, "set_blocking": _os_set_blocking, "get_blocking": _os_get_blocking,
        "sendfile": _os_sendfile, "fdopen": _os_fdopen,
    }


def pipe_stand_ins() -> dict[str, Callable[..., Any]]:
    """Return the replacement of ``os.pipe`` for hosts whose time is not the machine's."""
    return {"pipe": _os_pipe, "pipe2": _os_pipe2}


# --- fcntl


def _ioctl(runtime: Runtime, original: Callable[..., Any], fd: Any, request: int, arg: Any = 0,
           mutate_flag: bool = True, /) -> Any:
    found = _find(runtime, fd)
    if not isinstance(found, Socket):
        return original(fd, request, arg, mutate_flag)
    return answer_ioctl(found.descriptor, request, arg, mutate_flag)


def _fcntl(runtime: Runtime, original: Callable[..., Any], fd: Any, cmd: int, arg: Any = 0, /) -> Any:
    """Read and set O_NONBLOCK. The system keeps the other flags (FD_CLOEXEC), which mean nothing on a host."""
    found = _find(runtime, fd)
    if isinstance(found, Socket):
        if cmd == os_fcntl.F_GETFL:
            return os.O_RDWR | (0 if found.gettimeout() is None else os.O_NONBLOCK)
        if cmd == os_fcntl.F_SETFL:
            _set_nonblock(found, is_on=bool(index(arg) & os.O_NONBLOCK))
            return 0
        if cmd in (os_fcntl.F_DUPFD, os_fcntl.F_DUPFD_CLOEXEC):
            return dup_number(runtime, found.fileno())
    return original(fd, cmd, arg)


def fcntl_stand_ins() -> dict[str, Callable[..., Any]]:
    """Return the replacements of functions of ``fcntl``."""
    return {"ioctl": _ioctl, "fcntl": _fcntl}
