"""Typed functions that set a socket's options, one each, for the table in ``options``.

They are functions and not names in strings, so that a type checker sees what is set, and a search finds what sets it.
"""

from __future__ import annotations

from estab.host.sockets.stream import StreamSocket
from estab.host.sockets.udp import DatagramSocket
from estab.sockets.socket.group_options import of

__all__ = [
    "Socket", "set_broadcast", "set_cork", "set_defer_accept_s", "set_fast_open_backlog", "set_fast_open_connect",
    "set_fast_open_no_cookie", "set_fin_timeout_ns", "set_keep_count", "set_keep_idle_ns", "set_keep_interval_ns",
    "set_keeps_errors", "set_max_pacing_rate", "set_maxseg", "set_multicast_all_v6", "set_multicast_loop",
    "set_nodelay", "set_notsent_lowat_bytes", "set_oob_inline", "set_pmtu_discover", "set_quickack",
    "set_receive_buffer_bytes", "set_receive_lowat_bytes", "set_receive_timeout_ns", "set_reuse_address",
    "set_reuse_port", "set_send_buffer_bytes", "set_send_timeout_ns", "set_syn_retries", "set_tells_inq",
    "set_user_timeout_ns", "set_v6only",
]

Socket = StreamSocket | DatagramSocket
"""What has options."""


def set_broadcast(socket: Socket, value: bool) -> None:
    """Set ``broadcast``."""
    socket.broadcast = value


def set_cork(socket: StreamSocket, value: bool) -> None:
    """Set ``cork``."""
    socket.cork = value


def set_defer_accept_s(socket: StreamSocket, value: int) -> None:
    """Set ``defer_accept_s``."""
    socket.defer_accept_s = value


def set_fast_open_backlog(socket: StreamSocket, value: int) -> None:
    """Set ``fast_open_backlog``."""
    socket.fast_open_backlog = value


def set_fast_open_connect(socket: StreamSocket, value: bool) -> None:
    """Set ``fast_open_connect``."""
    socket.fast_open_connect = value


def set_fast_open_no_cookie(socket: StreamSocket, value: bool) -> None:
    """Set ``fast_open_no_cookie``."""
    socket.fast_open_no_cookie = value


def set_fin_timeout_ns(socket: StreamSocket, value: int) -> None:
    """Set ``fin_timeout_ns``."""
    socket.fin_timeout_ns = value


def set_keep_count(socket: StreamSocket, value: int) -> None:
    """Set ``keep_count``."""
    socket.keep_count = value


def set_keep_idle_ns(socket: StreamSocket, value: int) -> None:
    """Set ``keep_idle_ns``."""
    socket.keep_idle_ns = value


def set_keep_interval_ns(socket: StreamSocket, value: int) -> None:
    """Set ``keep_interval_ns``."""
    socket.keep_interval_ns = value


def set_keeps_errors(socket: DatagramSocket, value: bool) -> None:
    """Set ``keeps_errors``."""
    socket.keeps_errors = value


def set_max_pacing_rate(socket: StreamSocket, value: int) -> None:
    """Set ``max_pacing_rate``."""
    socket.max_pacing_rate = value


def set_maxseg(socket: StreamSocket, value: int) -> None:
    """Set ``maxseg``."""
    socket.maxseg = value


def set_window_clamp(socket: StreamSocket, value: int) -> None:
    """Set ``window_clamp_bytes``."""
    socket.window_clamp_bytes = value


def set_multicast_all_v6(socket: Socket, value: bool) -> None:
    """Set ``takes_all_v6`` of what it says of multicast."""
    of(socket).takes_all_v6 = value


def set_multicast_loop(socket: Socket, value: bool) -> None:
    """Set ``is_looped`` of what it says of multicast."""
    of(socket).is_looped = value


def set_nodelay(socket: StreamSocket, value: bool) -> None:
    """Set ``nodelay``."""
    socket.nodelay = value


def set_notsent_lowat_bytes(socket: StreamSocket, value: int) -> None:
    """Set ``notsent_lowat_bytes``."""
    socket.notsent_lowat_bytes = value


def set_oob_inline(socket: Socket, value: bool) -> None:
    """Set ``oob_inline``."""
    socket.oob_inline = value


def set_pmtu_discover(socket: Socket, value: int) -> None:
    """Set ``pmtu_discover``."""
    socket.pmtu_discover = value


def set_quickack(socket: StreamSocket, value: bool) -> None:
    """Set ``quickack``."""
    socket.quickack = value


def set_receive_buffer_bytes(socket: Socket, value: int) -> None:
    """Set ``receive_buffer_bytes``."""
    socket.receive_buffer_bytes = value


def set_receive_lowat_bytes(socket: StreamSocket, value: int) -> None:
    """Set ``receive_lowat_bytes``."""
    socket.receive_lowat_bytes = value


def set_receive_timeout_ns(socket: Socket, value: int) -> None:
    """Set ``receive_timeout_ns``."""
    socket.receive_timeout_ns = value


def set_reuse_address(socket: Socket, value: bool) -> None:
    """Set ``reuse_address``."""
    socket.reuse_address = value


def set_reuse_port(socket: Socket, value: bool) -> None:
    """Set ``reuse_port``."""
    socket.reuse_port = value


def set_send_buffer_bytes(socket: Socket, value: int) -> None:
    """Set ``send_buffer_bytes``."""
    socket.send_buffer_bytes = value


def set_send_timeout_ns(socket: Socket, value: int) -> None:
    """Set ``send_timeout_ns``."""
    socket.send_timeout_ns = value


def set_syn_retries(socket: StreamSocket, value: int) -> None:
    """Set ``syn_retries``."""
    socket.syn_retries = value


def set_tells_inq(socket: StreamSocket, value: bool) -> None:
    """Set ``tells_inq``."""
    socket.tells_inq = value


def set_user_timeout_ns(socket: StreamSocket, value: int) -> None:
    """Set ``user_timeout_ns``."""
    socket.user_timeout_ns = value


def set_v6only(socket: Socket, value: bool) -> None:
    """Set ``v6only``."""
    socket.v6only = value
