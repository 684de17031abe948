"""What ``ioctl`` asks of sockets: how much waits to be read, how much is not acknowledged, whether the mark is next."""

from __future__ import annotations

import errno
import struct
from typing import Any, Final

from estab.abi import LISTEN, SIOCATMARK, SIOCINQ, SIOCOUTQ, SIOCOUTQNSD, SYN_RECEIVED, SYN_SENT
from estab.errors import os_error
from estab.host.sockets.local import LocalSocket
from estab.host.sockets.pipe import PipeEnd
from estab.host.sockets.stream import StreamSocket
from estab.host.sockets.udp import DatagramSocket

__all__ = ["ask", "ioctl"]

_INT: Final = struct.Struct("i")


def ask(socket: StreamSocket | DatagramSocket | LocalSocket, request: int) -> int:
    """Answer SIOCINQ (FIONREAD), SIOCOUTQ (TIOCOUTQ), SIOCOUTQNSD or SIOCATMARK. EINVAL on a listener; ENOTTY."""
    if isinstance(socket, LocalSocket):
        if request == SIOCINQ:
            if socket.is_listening():
                raise os_error(errno.EINVAL, f"invalid argument: {socket.text()} has no bytes to count")
            return socket.next_bytes()
        if request == SIOCOUTQ:
            return int(socket.charged_bytes)
    elif isinstance(socket, DatagramSocket):
        if request == SIOCINQ:
            return socket.readable_bytes
        if request == SIOCOUTQ:
            return 0
    else:
        if request == SIOCATMARK:
            return int(socket.is_at_mark)
        if request in (SIOCINQ, SIOCOUTQ, SIOCOUTQNSD):
            if socket.state == LISTEN:
                raise os_error(errno.EINVAL, f"invalid argument: {socket.text()} listens and has no bytes to count")
            if socket.state in (SYN_SENT, SYN_RECEIVED):
                return 0
            if request == SIOCINQ:
                return socket.inq_bytes
            return socket.outq_bytes if request == SIOCOUTQ else socket.outq_unsent_bytes
    raise os_error(errno.ENOTTY, f"inappropriate ioctl for device: {request:#x} on a socket of estab")


def ioctl(socket: StreamSocket | DatagramSocket | LocalSocket | PipeEnd, request: int, arg: Any,
          mutate_flag: bool) -> int | bytes:
    """Answer as ``fcntl.ioctl``: into a writable buffer, or as a copy of ``arg``. EFAULT if there is no buffer."""
    code = request & 0xFFFFFFFF
    if isinstance(socket, PipeEnd):
        if code != SIOCINQ:
            raise os_error(errno.ENOTTY, f"inappropriate ioctl for device: {request:#x} on a pipe")
        data = _INT.pack(socket.pipe.size_bytes)
    else:
        data = _INT.pack(ask(socket, code))
    if isinstance(arg, int):
        raise os_error(errno.EFAULT, f"bad address: ioctl {request:#x} needs a buffer of {_INT.size} bytes")
    view = memoryview(arg).cast("B")
    if len(view) < _INT.size:
        raise ValueError(f"ioctl {request:#x} needs a buffer of {_INT.size} bytes, not {len(view)}")
    if not view.readonly and mutate_flag:
        view[: _INT.size] = data
        return 0
    return data + bytes(view[_INT.size :])
