"""What calls by a descriptor's number do for a program on a host: ``os.read``, ``os.dup``, ``fcntl``, pipes.

Each takes the program's runtime, the original, and then the original's arguments. Numbers that are not the host's are
the operating system's, and are passed to the original.
"""

from __future__ import annotations

import errno
import os
import stat
from operator import index
from typing import TYPE_CHECKING, Any, Final, TypeVar

from estab.errors import os_error
from estab.sockets.arguments import c_int, c_size
from estab.sockets.polling.epoll import Epoll
from estab.sockets.polling.poll import is_closed
from estab.sockets.socket.ioctl import ioctl as answer_ioctl
from estab.sockets.socket.pipe import PipeFile, open_pipe
from estab.sockets.socket.pipe_io import open_file
from estab.sockets.socket.socket import Socket
from estab.units import SECOND

try:
    import fcntl as os_fcntl
except ImportError:  # if the system has none
    os_fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable

    from estab.sockets.runtime import Numbered, Runtime

__all__ = ["close_number", "dup_number", "fcntl_stand_ins", "open_stand_in", "os_stand_ins", "pipe_stand_ins"]

R = TypeVar("R")

_SENDFILE_BYTES: Final = 262_144
_STANDARD_MAX: Final = 2
_F_SETPIPE_SZ: Final = 1031
_F_GETPIPE_SZ: Final = 1032
_lseek: Final = os.lseek
_read: Final = os.read
_pread: Final = getattr(os, "pread", None)


def _find(runtime: Runtime, fd: Any) -> Numbered | None:
    if isinstance(fd, int):
        number = fd
    elif hasattr(fd, "fileno"):
        number = fd.fileno()
    else:
        return None  # the original says what is wrong with it
    return runtime.by_number.get(number) or runtime.detached.get(number)


# --- os


def _by_number(found: Numbered, call: Callable[[Any], R], argument: Any) -> R:
    """Call as a system call does: on a socket that has a timeout it does not wait, as Python has set O_NONBLOCK."""
    timeout = found.gettimeout()
    if not timeout:
        return call(argument)
    found.settimeout(0.0)
    try:
        return call(argument)
    finally:
        found.settimeout(timeout)


def _os_read(runtime: Runtime, original: Callable[..., Any], fd: Any, length: int, /) -> bytes:
    found = _find(runtime, fd)
    return bytes(original(fd, length)) if found is None else _by_number(found, found.recv, c_size(length))


def _os_write(runtime: Runtime, original: Callable[..., Any], fd: Any, data: Any, /) -> int:
    found = _find(runtime, fd)
    return int(original(fd, data)) if found is None else _by_number(found, found.send, data)


def _os_readv(runtime: Runtime, original: Callable[..., Any], fd: Any, buffers: Any, /) -> int:
    found = _find(runtime, fd)
    if isinstance(found, PipeFile):
        return found.recv_all_of(buffers)
    return found.recvmsg_into(buffers)[0] if isinstance(found, Socket) else int(original(fd, buffers))


def _os_writev(runtime: Runtime, original: Callable[..., Any], fd: Any, buffers: Any, /) -> int:
    found = _find(runtime, fd)
    if isinstance(found, PipeFile):
        return found.send(b"".join(buffers))
    return found.sendmsg(buffers) if isinstance(found, Socket) else int(original(fd, buffers))


def _os_close(runtime: Runtime, original: Callable[..., Any], fd: Any) -> None:
    found = _find(runtime, index(fd))
    if found is None:
        original(fd)
    else:
        close_number(runtime, index(fd))


def close_number(runtime: Runtime, fd: int) -> None:
    """Close a descriptor of the host by its number. EBADF."""
    found = _find(runtime, fd)
    if found is None or isinstance(found, Socket):
        Socket(fileno=fd, runtime=runtime).close()
    elif isinstance(found, Epoll):
        found.close_number()
    else:
        found.close()


def dup_number(runtime: Runtime, fd: int) -> int:
    """Make another number for a descriptor of the host. EBADF."""
    found = _find(runtime, fd)
    if found is None:
        raise os_error(errno.EBADF, f"bad file descriptor: {fd} is not a descriptor of host {runtime.name}")
    return found.dup().detach()


def _os_dup(runtime: Runtime, original: Callable[..., Any], fd: Any, /) -> int:
    return int(original(fd)) if _find(runtime, fd) is None else dup_number(runtime, fd)


def _os_dup2(runtime: Runtime, original: Callable[..., Any], fd: Any, fd2: Any, inheritable: bool = True) -> int:
    """Make ``fd2`` a number of what ``fd`` is a number of. Numbers of the machine's own files are not given away."""
    found, number = _find(runtime, fd), index(fd2)
    replaced = _find(runtime, number)
    if found is None:
        if replaced is not None:
            close_number(runtime, number)
        return int(original(fd, number, inheritable))
    if found.fileno() == number:
        return number
    if replaced is not None:
        close_number(runtime, number)
    elif number <= _STANDARD_MAX or not is_closed(number):
        raise NotImplementedError(f"os.dup2 on host {runtime.name}: {number} is a file of the process that all "
                                  "programs share, and can't become a descriptor of a host")
    return found.dup().detach_as(number)


def _os_set_blocking(runtime: Runtime, original: Callable[..., Any], fd: Any, blocking: bool, /) -> None:
    found = _find(runtime, fd)
    if found is None:
        original(fd, blocking)
    else:
        _set_nonblock(found, is_on=not c_int(blocking))


def _os_get_blocking(runtime: Runtime, original: Callable[..., Any], fd: Any, /) -> bool:
    found = _find(runtime, fd)
    return bool(original(fd)) if found is None else found.gettimeout() is None


def _set_nonblock(sock: Numbered, *, is_on: bool) -> None:
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
    if isinstance(found, PipeFile):
        return open_file(found, mode, buffering, *args, **kwargs)
    if not isinstance(found, Socket):
        return original(fd, mode, buffering, *args, **kwargs)
    sock = Socket(fileno=fd, runtime=runtime)
    names = ("encoding", "errors", "newline")
    words = {**dict(zip(names, args, strict=False)), **{name: kwargs[name] for name in names if name in kwargs}}
    made: Any = sock.makefile(  # type: ignore[call-overload]
        mode.replace("a", "w"), None if buffering == -1 else buffering, **words)
    sock.close()  # the file keeps it open
    return made


def _open(runtime: Runtime, original: Callable[..., Any], file: Any, *args: Any, **kwargs: Any) -> Any:
    """Open a file: one over a host's descriptor if ``file`` is its number, else the machine's."""
    if isinstance(file, int) and _find(runtime, file) is not None:
        return _os_fdopen(runtime, original, file, *args, **kwargs)
    return original(file, *args, **kwargs)


def open_stand_in() -> dict[str, Callable[..., Any]]:
    """Return the replacement of ``open``, which takes numbers, too."""
    return {"open": _open}


def _os_fstat(runtime: Runtime, original: Callable[..., Any], fd: Any) -> Any:
    found = _find(runtime, fd)
    if found is None:
        return original(fd)
    kind = stat.S_IFSOCK | 0o777 if isinstance(found, Socket) else stat.S_IFIFO | 0o600
    now_s = runtime.wall_ns // SECOND
    return os.stat_result((kind, int(found.descriptor.fd), 0, 1, 0, 0, 0, now_s, now_s, now_s))


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
        "sendfile": _os_sendfile, "fdopen": _os_fdopen, "fstat": _os_fstat,
    }


def pipe_stand_ins() -> dict[str, Callable[..., Any]]:
    """Return the replacement of ``os.pipe`` for hosts whose time is not the machine's."""
    return {"pipe": _os_pipe, "pipe2": _os_pipe2}


# --- fcntl


def _ioctl(runtime: Runtime, original: Callable[..., Any], fd: Any, request: int, arg: Any = 0,
           mutate_flag: bool = True, /) -> Any:
    found = _find(runtime, fd)
    if not isinstance(found, (Socket, PipeFile)):
        return original(fd, request, arg, mutate_flag)
    return answer_ioctl(found.descriptor, request, arg, mutate_flag)


def _fcntl(runtime: Runtime, original: Callable[..., Any], fd: Any, cmd: int, arg: Any = 0, /) -> Any:
    """Read and set O_NONBLOCK. The system keeps the other flags (FD_CLOEXEC), which mean nothing on a host."""
    found = _find(runtime, fd)
    if found is not None:
        if cmd == os_fcntl.F_GETFL:
            return _access(found) | (0 if found.gettimeout() is None else os.O_NONBLOCK)
        if isinstance(found, PipeFile) and cmd == _F_GETPIPE_SZ:
            return int(found.descriptor.pipe.capacity_bytes)
        if isinstance(found, PipeFile) and cmd == _F_SETPIPE_SZ:
            return found.descriptor.set_capacity(index(arg))
        if cmd == os_fcntl.F_SETFL:
            _set_nonblock(found, is_on=bool(index(arg) & os.O_NONBLOCK))
            return 0
        if cmd in (os_fcntl.F_DUPFD, os_fcntl.F_DUPFD_CLOEXEC):
            return found.dup().detach_as(-1, index(arg))
    return original(fd, cmd, arg)


def _access(found: Numbered) -> int:
    """Return how a descriptor may be used: a pipe's end in one way."""
    if isinstance(found, PipeFile):
        return os.O_WRONLY if found.descriptor.is_writer else os.O_RDONLY
    return os.O_RDWR


def fcntl_stand_ins() -> dict[str, Callable[..., Any]]:
    """Return the replacements of functions of ``fcntl``."""
    return {"ioctl": _ioctl, "fcntl": _fcntl}
