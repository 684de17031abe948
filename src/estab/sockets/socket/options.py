"""The one table of socket options: what ``getsockopt`` and ``setsockopt`` know.

Any other option fails with ENOPROTOOPT, as on Linux. Values are integers as C's ``int``, or bytes if the option is a
structure. Buffers are doubled when set and shown doubled, as Linux does. Compiled with the core.
"""

from __future__ import annotations

import errno
import socket as s
import struct
import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

from estab.abi import AF_INET6, LISTEN, SOCK_DGRAM, SOCK_STREAM
from estab.errors import os_error
from estab.host.sockets import ancillary
from estab.host.sockets.stream import StreamSocket
from estab.host.sockets.udp import DatagramSocket
from estab.sockets.socket import group_options, setters
from estab.sockets.socket.setters import Socket
from estab.sockets.socket.source_options import SOURCE_OPTIONS, SOURCE_OPTIONS_V6
from estab.sockets.socket.tcp_info import pack_tcp_info
from estab.sockets.socket.timeval import read_timeval, write_timeval
from estab.units import MS, SECOND

__all__ = ["get_option", "option_name", "option_number", "set_option"]

_INT: Final = struct.Struct("i")
_LINGER: Final = struct.Struct("ii")
_BOTH: Final = (SOCK_STREAM, SOCK_DGRAM)
_STREAM: Final = (SOCK_STREAM,)
_DGRAM: Final = (SOCK_DGRAM,)
_NEVER_EMPTY: Final = (s.IP_TTL, 33, 34, 49)
"""Options of IP that no bytes are too little for: the TTL, and IP_MULTICAST_TTL, _LOOP and _ALL."""
_PROTOCOLS: Final = {SOCK_STREAM: s.IPPROTO_TCP, SOCK_DGRAM: s.IPPROTO_UDP}


class _Option:
    """One option: for which kinds of socket, and how it is read and set (``None``: it can't be), given the time."""

    def __init__(
        self, kinds: tuple[int, ...], get: Callable[[Any, int], int | bytes],
        put: Callable[[Any, int, int], None] | None = None, put_bytes: Callable[[Any, bytes], None] | None = None,
    ) -> None:
        self.kinds: tuple[int, ...] = kinds
        self.get: Callable[[Any, int], int | bytes] = get
        self.set: Callable[[Any, int, int], None] | None = put
        self.set_bytes: Callable[[Any, bytes], None] | None = put_bytes


def get_option(socket: Socket, level: int, name: int, now_ns: int) -> int | bytes:
    """Read an option. ENOPROTOOPT if the socket has none of that name, EOPNOTSUPP if none of that level."""
    if socket.family != AF_INET6 and level not in (s.SOL_SOCKET, s.IPPROTO_IP, _PROTOCOLS[socket.kind]):
        raise os_error(errno.EOPNOTSUPP, f"operation not supported: this socket has no options of level {level}")
    return _find(socket, level, name).get(socket, now_ns)


def set_option(socket: Socket, level: int, name: int, value: int | bytes, now_ns: int) -> None:
    """Set an option. ENOPROTOOPT if it can't be set; EINVAL if the value is too short or makes no sense."""
    known = _OPTIONS.get((level, name))
    is_number = known is None or known.set_bytes is None
    is_short = isinstance(value, bytes) and len(value) < _INT.size
    if is_short and is_number and level in (s.SOL_SOCKET, _PROTOCOLS[socket.kind]):
        words = f"invalid argument: {option_name(level, name)} takes an int, not less"
        raise os_error(errno.EINVAL, words)
    option = _find(socket, level, name)
    if option.set_bytes is not None:
        option.set_bytes(socket, value.to_bytes(4, sys.byteorder, signed=True) if isinstance(value, int) else value)
        return
    if option.set is None:
        raise os_error(errno.ENOPROTOOPT, f"protocol not available: {option_name(level, name)} can't be set")
    if isinstance(value, int):
        option.set(socket, value, now_ns)
    elif level == s.IPPROTO_IP and (value or name not in _NEVER_EMPTY) and len(value) < _INT.size:
        option.set(socket, value[0] if value else 0, now_ns)  # as Linux: IP's options may be given in a byte, or none
    elif len(value) >= _INT.size:
        option.set(socket, int.from_bytes(value[: _INT.size], sys.byteorder, signed=True), now_ns)
    else:
        words = f"invalid argument: {option_name(level, name)} takes an int, not {len(value)} bytes"
        raise os_error(errno.EINVAL, words)


def option_name(level: int, name: int) -> str:
    """Name an option as programs do: ``SOL_SOCKET, SO_REUSEADDR``; numbers if it has no name."""
    return _NAMES.get((level, name), f"{level}, {name}")


def option_number(name: str) -> int | None:
    """Return an option's number here: the ``socket`` module's, else Linux's. ``None`` for a name without an option."""
    return _BY_NAME.get(name)


def _find(socket: Socket, level: int, name: int) -> _Option:
    option = _OPTIONS.get((level, name))
    if option is None or socket.kind not in option.kinds or (level == s.IPPROTO_IPV6 and socket.family != AF_INET6):
        raise os_error(errno.ENOPROTOOPT, f"protocol not available: no option {option_name(level, name)} here")
    return option


# --- ways to read and to set


_S = TypeVar("_S", bound=Socket)


def _flag(get: Callable[[_S], bool], put: Callable[[_S, bool], None], kinds: tuple[int, ...] = _BOTH) -> _Option:
    return _Option(kinds, lambda socket, now_ns: int(get(socket)),
                   lambda socket, value, now_ns: put(socket, value != 0))


def _number(get: Callable[[_S], int], put: Callable[[_S, int], None], kinds: tuple[int, ...], unit: int = 1,
            low: int = 0, high: int = 2**31 - 1) -> _Option:
    def set_number(socket: _S, value: int, now_ns: int) -> None:
        if not low <= value <= high:
            raise os_error(errno.EINVAL, f"invalid argument: {value} is not from {low} to {high}")
        put(socket, value * unit)

    return _Option(kinds, lambda socket, now_ns: int(get(socket)) // unit, set_number)


def _choice(get: Callable[[StreamSocket], bool], put: Callable[[StreamSocket, bool], None]) -> _Option:
    """0 or 1, and nothing else."""
    def set_choice(socket: StreamSocket, value: int, now_ns: int) -> None:
        if value not in (0, 1):
            raise os_error(errno.EINVAL, f"invalid argument: {value} is neither 0 nor 1")
        put(socket, value == 1)

    return _Option(_STREAM, lambda socket, now_ns: int(get(socket)), set_choice)


def _unsigned(get: Callable[[StreamSocket], int], put: Callable[[StreamSocket, int], None]) -> _Option:
    """A C ``unsigned int``, as a program may write it: -1 is the largest."""

    def get_number(socket: StreamSocket, now_ns: int) -> int:
        value = min(int(get(socket)), 2**32 - 1)
        return value - 2**32 if value >= 2**31 else value

    return _Option(_STREAM, get_number, lambda socket, value, now_ns: put(socket, value % 2**32))


def _constant(value: int, kinds: tuple[int, ...] = _BOTH) -> _Option:
    return _Option(kinds, lambda socket, now_ns: value)


def _buffer(get: Callable[[Socket], int], put: Callable[[Socket, int], None]) -> _Option:
    def set_buffer(socket: Socket, value: int, now_ns: int) -> None:
        put(socket, value % 2**32 * 2)  # as Linux: it is unsigned, so what is below 0 is the most there may be

    return _Option(_BOTH, lambda socket, now_ns: int(get(socket)), set_buffer)


def _hops(default: int, least: int) -> _Option:
    """IP_TTL and IPV6_UNICAST_HOPS: -1 is the default."""

    def set_hops(socket: Any, value: int, now_ns: int) -> None:
        if value != -1 and not least <= value <= 255:
            raise os_error(errno.EINVAL, f"invalid argument: a TTL is {least} to 255, not {value}")
        socket.ttl = default if value == -1 else value

    return _Option(_BOTH, lambda socket, now_ns: int(socket.ttl), set_hops)


def _get_linger(socket: Any, now_ns: int) -> bytes:
    linger = getattr(socket, "linger", None)
    return _LINGER.pack(linger is not None, linger or 0)


def _set_linger(socket: Any, value: bytes) -> None:
    if len(value) < _LINGER.size:
        raise os_error(errno.EINVAL, f"invalid argument: SO_LINGER takes two ints, not {len(value)} bytes")
    is_on, seconds = _LINGER.unpack_from(value)
    if isinstance(socket, StreamSocket):
        socket.linger = seconds if is_on else None


def _get_congestion(socket: Any, now_ns: int) -> bytes:
    name: str = socket.congestion
    return name.encode().ljust(16, b"\0")


def _set_congestion(socket: Any, value: bytes) -> None:
    if not value:
        raise os_error(errno.EINVAL, "invalid argument: TCP_CONGESTION takes a name")
    name = value.rstrip(b"\0").decode(errors="replace")
    socket.congestion = name


def _get_fast_open_keys(socket: Any, now_ns: int) -> bytes:
    keys: bytes = socket.fast_open_keys
    return keys


def _set_fast_open_keys(socket: Any, value: bytes) -> None:
    socket.fast_open_keys = value


def _is_stream(socket: Any) -> bool:
    return isinstance(socket, StreamSocket)


def _get_mtu(socket: Any, now_ns: int) -> int:
    if isinstance(socket, DatagramSocket) and socket.remote:
        return socket.path_mtu
    if not isinstance(socket, StreamSocket) or socket.connection is None:
        raise os_error(errno.ENOTCONN, "transport endpoint is not connected: IP_MTU is the path's")
    return socket.info(now_ns).pmtu_bytes


def _set_tos(socket: Any, value: int, now_ns: int) -> None:
    socket.tos = value & 0xFF


def _set_tclass(socket: Any, value: int, now_ns: int) -> None:
    if not -1 <= value <= 255:
        raise os_error(errno.EINVAL, f"invalid argument: a traffic class is 0 to 255, not {value}")
    socket.tos = max(value, 0)


def _wanted(bit: int) -> _Option:
    """An option that asks for ancillary data. TCP sockets take it and have nothing to tell, as on Linux."""

    def set_wanted(socket: Any, value: int, now_ns: int) -> None:
        socket.wanted = socket.wanted | bit if value else socket.wanted & ~bit

    return _Option(_BOTH, lambda socket, now_ns: int(socket.wanted & bit != 0), set_wanted)


def _timeout(get: Callable[[Socket], int], put: Callable[[Socket, int], None]) -> _Option:
    """SO_RCVTIMEO and SO_SNDTIMEO: a ``struct timeval``, 0 being for ever."""
    return _Option(_BOTH, lambda socket, now_ns: write_timeval(get(socket)), None,
                   lambda socket, value: put(socket, read_timeval(value)))


_TOS: Final = _Option(_BOTH, lambda socket, now_ns: int(socket.tos), _set_tos)
_SOCKET: Final = {
    "SO_REUSEADDR": _flag(lambda socket: socket.reuse_address, setters.set_reuse_address),
    "SO_REUSEPORT": _flag(lambda socket: socket.reuse_port, setters.set_reuse_port),
    "SO_KEEPALIVE": _Option(_BOTH, lambda socket, now_ns: int(socket.keepalive),
                            lambda socket, value, now_ns: socket.set_keepalive(value != 0, now_ns)),
    "SO_BROADCAST": _flag(lambda socket: socket.broadcast, setters.set_broadcast),
    "SO_OOBINLINE": _flag(lambda socket: socket.oob_inline, setters.set_oob_inline),
    "SO_RCVBUF": _buffer(lambda socket: socket.receive_buffer_bytes, setters.set_receive_buffer_bytes),
    "SO_SNDBUF": _buffer(lambda socket: socket.send_buffer_bytes, setters.set_send_buffer_bytes),
    "SO_RCVLOWAT": _number(lambda socket: socket.receive_lowat_bytes, setters.set_receive_lowat_bytes, _STREAM,
                           low=-(2**31)),
    "SO_SNDLOWAT": _constant(1),
    "SO_LINGER": _Option(_BOTH, _get_linger, None, _set_linger),
    "SO_ERROR": _Option(_BOTH, lambda socket, now_ns: int(socket.take_error())),
    "SO_TYPE": _Option(_BOTH, lambda socket, now_ns: int(socket.kind)),
    "SO_DOMAIN": _Option(_BOTH, lambda socket, now_ns: int(socket.family)),
    "SO_PROTOCOL": _Option(_BOTH, lambda socket, now_ns: s.IPPROTO_TCP if _is_stream(socket) else s.IPPROTO_UDP),
    "SO_ACCEPTCONN": _Option(_BOTH, lambda socket, now_ns: int(_is_stream(socket) and socket.state == LISTEN)),
    "SO_DONTROUTE": _constant(0),
    "SO_RCVTIMEO": _timeout(lambda socket: socket.receive_timeout_ns, setters.set_receive_timeout_ns),
    "SO_SNDTIMEO": _timeout(lambda socket: socket.send_timeout_ns, setters.set_send_timeout_ns),
    "SO_MAX_PACING_RATE": _unsigned(lambda socket: socket.max_pacing_rate, setters.set_max_pacing_rate),
}
_TCP: Final = {
    "TCP_NODELAY": _flag(lambda socket: socket.nodelay, setters.set_nodelay, _STREAM),
    "TCP_CORK": _flag(lambda socket: socket.cork, setters.set_cork, _STREAM),
    "TCP_NOTSENT_LOWAT": _unsigned(lambda socket: socket.notsent_lowat_bytes, setters.set_notsent_lowat_bytes),
    "TCP_MAXSEG": _number(lambda socket: socket.maxseg, setters.set_maxseg, _STREAM),
    "TCP_WINDOW_CLAMP": _number(lambda socket: socket.window_clamp_bytes, setters.set_window_clamp, _STREAM,
                                low=-(2**31)),
    "TCP_KEEPIDLE": _number(lambda socket: socket.keep_idle_ns, setters.set_keep_idle_ns, _STREAM, SECOND, 1, 32767),
    "TCP_KEEPINTVL": _number(lambda socket: socket.keep_interval_ns,
                             setters.set_keep_interval_ns, _STREAM, SECOND, 1, 32767),
    "TCP_KEEPCNT": _number(lambda socket: socket.keep_count, setters.set_keep_count, _STREAM, 1, 1, 127),
    "TCP_LINGER2": _number(lambda socket: socket.fin_timeout_ns, setters.set_fin_timeout_ns, _STREAM, SECOND,
                           -(2**31)),
    "TCP_SYNCNT": _number(lambda socket: socket.syn_retries, setters.set_syn_retries, _STREAM),
    "TCP_DEFER_ACCEPT": _number(lambda socket: socket.defer_accept_s,
                                setters.set_defer_accept_s, _STREAM, low=-(2**31)),
    "TCP_USER_TIMEOUT": _number(lambda socket: socket.user_timeout_ns, setters.set_user_timeout_ns, _STREAM, MS),
    "TCP_QUICKACK": _flag(lambda socket: socket.quickack, setters.set_quickack, _STREAM),
    "TCP_INQ": _choice(lambda socket: socket.tells_inq, setters.set_tells_inq),
    "TCP_FASTOPEN": _number(lambda socket: socket.fast_open_backlog, setters.set_fast_open_backlog, _STREAM),
    "TCP_FASTOPEN_CONNECT": _choice(lambda socket: socket.fast_open_connect, setters.set_fast_open_connect),
    "TCP_FASTOPEN_NO_COOKIE": _choice(lambda socket: socket.fast_open_no_cookie, setters.set_fast_open_no_cookie),
    "TCP_FASTOPEN_KEY": _Option(_STREAM, _get_fast_open_keys, None, _set_fast_open_keys),
    "TCP_CONGESTION": _Option(_STREAM, _get_congestion, None, _set_congestion),
    "TCP_INFO": _Option(_STREAM, lambda socket, now_ns: pack_tcp_info(socket.info(now_ns), socket.state)),
}
_IP: Final = {
    "IP_TTL": _hops(64, 1), "IP_TOS": _TOS, "IP_MTU": _Option(_BOTH, _get_mtu),
    "IP_MTU_DISCOVER": _number(lambda socket: socket.pmtu_discover, setters.set_pmtu_discover, _BOTH, high=5),
    "IP_PKTINFO": _wanted(ancillary.WANTS_PKTINFO), "IP_RECVTTL": _wanted(ancillary.WANTS_TTL),
    "IP_RECVTOS": _wanted(ancillary.WANTS_TOS),
    "IP_RECVERR": _flag(lambda socket: socket.keeps_errors, setters.set_keeps_errors, _DGRAM),
    "IP_ADD_MEMBERSHIP": _Option(_BOTH, group_options.never_read, None, group_options.join),
    "IP_DROP_MEMBERSHIP": _Option(_BOTH, group_options.never_read, None, group_options.leave),
    "IP_MULTICAST_IF": _Option(_BOTH, group_options.get_interface, None, group_options.set_interface),
    "IP_MULTICAST_TTL": _Option(_BOTH, lambda socket, now_ns: int(group_options.of(socket).ttl), group_options.set_ttl),
    "IP_MULTICAST_LOOP": _flag(lambda socket: group_options.of(socket).is_looped, setters.set_multicast_loop),
    "IP_MULTICAST_ALL": _Option(
        _BOTH, lambda socket, now_ns: int(group_options.of(socket).takes_all), group_options.set_all),
    **{name: _Option(_BOTH, group_options.never_read, None, put) for name, put in SOURCE_OPTIONS.items()},
}
_IPV6: Final = {
    "IPV6_V6ONLY": _flag(lambda socket: socket.v6only, setters.set_v6only),
    "IPV6_UNICAST_HOPS": _hops(64, 0),
    "IPV6_TCLASS": _Option(_BOTH, lambda socket, now_ns: int(socket.tos), _set_tclass),
    "IPV6_MTU": _Option(_BOTH, _get_mtu),
    "IPV6_MTU_DISCOVER": _number(lambda socket: socket.pmtu_discover, setters.set_pmtu_discover, _BOTH, high=5),
    "IPV6_RECVPKTINFO": _wanted(ancillary.WANTS_PKTINFO6), "IPV6_RECVHOPLIMIT": _wanted(ancillary.WANTS_HOPLIMIT),
    "IPV6_RECVTCLASS": _wanted(ancillary.WANTS_TCLASS),
    "IPV6_RECVERR": _flag(lambda socket: socket.keeps_errors, setters.set_keeps_errors, _DGRAM),
    "IPV6_JOIN_GROUP": _Option(_BOTH, group_options.never_read, None, group_options.join_v6),
    "IPV6_LEAVE_GROUP": _Option(_BOTH, group_options.never_read, None, group_options.leave_v6),
    "IPV6_MULTICAST_IF": _Option(
        _BOTH, lambda socket, now_ns: int(group_options.of(socket).index_v6), None, group_options.set_interface_v6),
    "IPV6_MULTICAST_HOPS": _Option(
        _BOTH, lambda socket, now_ns: int(group_options.of(socket).hops), None, group_options.set_hops_v6),
    "IPV6_MULTICAST_LOOP": _Option(
        _BOTH, lambda socket, now_ns: int(group_options.of(socket).is_looped_v6), group_options.set_loop_v6),
    "IPV6_MULTICAST_ALL": _flag(lambda socket: group_options.of(socket).takes_all_v6, setters.set_multicast_all_v6),
    **{name: _Option(_BOTH, group_options.never_read, None, put) for name, put in SOURCE_OPTIONS_V6.items()},
}
_UDP: Final = {
    "UDP_CORK": _Option(_DGRAM, lambda socket, now_ns: int(socket.is_corked),
                        lambda socket, value, now_ns: socket.set_cork(value != 0, now_ns)),
}
# Linux's numbers, for names that this system or this version of Python leaves out.
_NUMBERS: Final = {
    "SO_RCVLOWAT": 18, "SO_SNDLOWAT": 19, "SO_RCVTIMEO": 20, "SO_SNDTIMEO": 21, "SO_ACCEPTCONN": 30, "SO_DONTROUTE": 5,
    "TCP_CORK": 3, "TCP_KEEPIDLE": 4, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 6, "TCP_SYNCNT": 7, "TCP_LINGER2": 8,
    "TCP_INFO": 11, "TCP_QUICKACK": 12, "TCP_CONGESTION": 13, "TCP_USER_TIMEOUT": 18, "TCP_MAXSEG": 2,
    "IPV6_RECVPKTINFO": 49, "IPV6_RECVHOPLIMIT": 51, "IPV6_RECVTCLASS": 66, "IPV6_TCLASS": 67, "IPV6_UNICAST_HOPS": 16,
    "IP_MTU_DISCOVER": 10, "IPV6_MTU_DISCOVER": 23, "SO_MAX_PACING_RATE": 47,
    "IP_MTU": 14, "IPV6_MTU": 24, "SO_DOMAIN": 39, "SO_PROTOCOL": 38, "SO_REUSEPORT": 15,
    "IP_PKTINFO": 8, "IP_RECVERR": 11, "IP_RECVTTL": 12, "IP_RECVTOS": 13, "IPV6_RECVERR": 25, "UDP_CORK": 1,
    "TCP_FASTOPEN": 23, "TCP_FASTOPEN_CONNECT": 30, "TCP_FASTOPEN_KEY": 33, "TCP_FASTOPEN_NO_COOKIE": 34,
    "IP_MULTICAST_IF": 32, "IP_MULTICAST_TTL": 33, "IP_MULTICAST_LOOP": 34, "IP_ADD_MEMBERSHIP": 35,
    "IP_DROP_MEMBERSHIP": 36, "IP_MULTICAST_ALL": 49, "IPV6_MULTICAST_IF": 17, "IPV6_MULTICAST_HOPS": 18,
    "IPV6_MULTICAST_LOOP": 19, "IPV6_JOIN_GROUP": 20, "IPV6_LEAVE_GROUP": 21, "IPV6_MULTICAST_ALL": 29,
    "IP_UNBLOCK_SOURCE": 37, "IP_BLOCK_SOURCE": 38, "IP_ADD_SOURCE_MEMBERSHIP": 39, "IP_DROP_SOURCE_MEMBERSHIP": 40,
    "IP_MSFILTER": 41, "MCAST_JOIN_GROUP": 42, "MCAST_BLOCK_SOURCE": 43, "MCAST_UNBLOCK_SOURCE": 44,
    "MCAST_LEAVE_GROUP": 45, "MCAST_JOIN_SOURCE_GROUP": 46, "MCAST_LEAVE_SOURCE_GROUP": 47, "MCAST_MSFILTER": 48,
    "TCP_NOTSENT_LOWAT": 25, "TCP_INQ": 36, "TCP_DEFER_ACCEPT": 9, "TCP_WINDOW_CLAMP": 10,
}


def _table() -> tuple[dict[tuple[int, int], _Option], dict[tuple[int, int], str]]:
    options: dict[tuple[int, int], _Option] = {}
    names: dict[tuple[int, int], str] = {}
    for level, level_name, group in (
        (s.SOL_SOCKET, "SOL_SOCKET", _SOCKET), (s.IPPROTO_TCP, "IPPROTO_TCP", _TCP), (s.IPPROTO_IP, "IPPROTO_IP", _IP),
        (s.IPPROTO_IPV6, "IPPROTO_IPV6", _IPV6), (s.IPPROTO_UDP, "IPPROTO_UDP", _UDP),
    ):
        own = {name: int(getattr(s, name)) for name in group if hasattr(s, name)}
        for name, option in group.items():
            number = own.get(name, _NUMBERS.get(name))
            if number is None:
                continue
            if name not in own and number in own.values():
                number += _TAKEN
            options[level, number] = option
            names[level, number] = f"{level_name}, {name}"
    return options, names


_TAKEN: Final = 1 << 16
"""Added to Linux's number of an option if this system has another option of that number."""
_OPTIONS, _NAMES = _table()
_BY_NAME: Final = {text.partition(", ")[2]: number for (_, number), text in _NAMES.items()}
_NAMES |= {
    (s.SOL_SOCKET, 60): "SOL_SOCKET, SO_ZEROCOPY", (s.SOL_SOCKET, 37): "SOL_SOCKET, SO_TIMESTAMPING",
    (s.SOL_SOCKET, 65): "SOL_SOCKET, SO_TIMESTAMPING_NEW", (s.IPPROTO_TCP, 35): "IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE",
    (s.IPPROTO_TCP, 14): "IPPROTO_TCP, TCP_MD5SIG", (s.IPPROTO_TCP, 31): "IPPROTO_TCP, TCP_ULP",
}
"""Options of Linux that are not here are named all the same."""
