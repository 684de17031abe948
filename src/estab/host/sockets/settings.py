"""The options of a TCP socket, one attribute each.

The options that TCP itself reads are in one record, ``Options``: the connection's, or the socket's before there is one,
which ``connect`` and ``listen`` pass on. A setter does at once what the option asks for, as on Linux.
"""

from __future__ import annotations

import errno
from typing import Final

from mypy_extensions import i16, i64

from estab.abi import AF_INET, CLOSED, SOCK_STREAM, TIME_WAIT
from estab.errors import os_error
from estab.host.sockets.bound import BoundDescriptor
from estab.host.sockets.demux import Demux
from estab.host.sockets.extras import NO_EXTRAS
from estab.host.sockets.stream_tables import StreamTables
from estab.tcp.congestion.registry import name_of
from estab.tcp.connection import Connection
from estab.tcp.fastopen import CLIENT
from estab.tcp.record.fast_open import FastOpenOptions
from estab.tcp.record.numbers import DEFAULT_MSS_BYTES
from estab.tcp.record.options import Options
from estab.undeletable import undeletable
from estab.units import NEVER, SECOND

__all__ = ["StreamSettings"]

_WINDOW_CLAMP_MIN: Final = 1152
_DEFERRALS_MAX: Final = 255
_DEFER_FIRST_S: Final = 1
_DEFER_MAX_S: Final = 120


class StreamSettings(BoundDescriptor):
    """What a TCP socket is made of, and its options. Durations are nanoseconds; ``linger`` is seconds or ``None``."""

    def __init__(
        self, tables: StreamTables, family: i64, options: Options | None, connection: Connection | None,
    ) -> None:
        super().__init__(family, SOCK_STREAM, "tcp")
        self.tells_inq: bool = False
        """TCP_INQ: ``recvmsg`` says beside the bytes how many more there are."""
        self._is_quickack: bool = True
        """What TCP_QUICKACK says while there is no connection."""
        self._defer_accept: i16 = 0
        self.tables: StreamTables = tables
        self.connection: Connection | None = connection
        self._options: Options | None = options
        """The options of a socket that has no connection."""

    @property
    def demux(self) -> Demux:
        """The table that the connection is in."""
        return self.tables.demux

    @property
    def linger(self) -> int | None:
        """SO_LINGER: seconds, ``None`` for off."""
        extras = self.extras
        return NO_EXTRAS.linger if extras is None else extras.linger

    @linger.setter
    def linger(self, value: int | None) -> None:
        self.own_extras().linger = value

    @property
    def options(self) -> Options:
        """What the program set: the connection's options, or the socket's while there is none."""
        connection = self.connection
        if connection is not None:
            return connection.options
        options = self._options
        assert options is not None
        return options

    def _set(self, options: Options) -> None:
        """Take options that need nothing done at once."""
        connection = self.connection
        if connection is not None:
            connection.set_options(options)
        else:
            self._options = options
            self._apply_options(options)

    def _apply_options(self, options: Options) -> None:
        """Tell the listener, if there is one."""

    @property
    def fast_open(self) -> FastOpenOptions:
        """What the socket wants of TCP Fast Open; its listener shares it. Made when it is first asked for."""
        extras = self.own_extras()
        found = extras.fast_open
        if found is None:
            found = extras.fast_open = FastOpenOptions()
        return found

    # --- of TCP

    @property
    def nodelay(self) -> bool:
        """TCP_NODELAY: send small segments at once (RFC 9293 section 3.7.4)."""
        return self.options.nodelay

    @nodelay.setter
    def nodelay(self, value: bool) -> None:
        connection = self.connection
        if connection is None:
            self._set(self.options.with_nodelay(value))
        else:
            connection.set_nodelay(value)
            self.demux.touch(connection)

    @property
    def cork(self) -> bool:
        """TCP_CORK: hold back partial segments, at most until a retransmission timeout has passed."""
        return self.options.is_corked

    @cork.setter
    def cork(self, value: bool) -> None:
        connection = self.connection
        if connection is None:
            self._set(self.options.with_cork(value))
        else:
            connection.set_cork(value)
            self.demux.touch(connection)

    @property
    def notsent_lowat_bytes(self) -> int:
        """TCP_NOTSENT_LOWAT: not writable while so much waits unsent; 0 is the stack's ``tcp_notsent_lowat``."""
        return self.options.notsent_lowat_bytes

    @notsent_lowat_bytes.setter
    def notsent_lowat_bytes(self, value: int) -> None:
        self._set(self.options.with_notsent_lowat(value))
        self._touch()

    @property
    def max_pacing_rate(self) -> int:
        """SO_MAX_PACING_RATE: bytes a second that sending keeps to; 2**32 - 1 or more: no limit."""
        rate = self.options.max_pacing_rate
        return rate if rate < NEVER else 0xFFFFFFFF

    @max_pacing_rate.setter
    def max_pacing_rate(self, value: int) -> None:
        self._set(self.options.with_max_pacing_rate(max(value, 1) if value < 0xFFFFFFFF else NEVER))
        self._touch()

    @property
    def keepalive(self) -> bool:
        """SO_KEEPALIVE: ask an idle peer whether it is there."""
        return self.options.keepalive

    def set_keepalive(self, is_on: bool, now_ns: i64) -> None:
        """Switch SO_KEEPALIVE."""
        connection = self.connection
        if connection is None:
            self._set(self.options.with_keepalive(is_on))
        else:
            connection.set_keepalive(now_ns, is_on=is_on)
            self.demux.touch(connection)

    @property
    def keep_idle_ns(self) -> int:
        """TCP_KEEPIDLE: silence before the first probe."""
        return self.options.keep_idle_ns

    @keep_idle_ns.setter
    def keep_idle_ns(self, value: int) -> None:
        connection = self.connection
        if connection is None:
            self._set(self.options.with_keep_idle(value))
        else:
            connection.set_keep_idle(value, self.demux.context.now_ns)
            self.demux.touch(connection)

    @property
    def keep_interval_ns(self) -> int:
        """TCP_KEEPINTVL: time between probes."""
        return self.options.keep_interval_ns

    @keep_interval_ns.setter
    def keep_interval_ns(self, value: int) -> None:
        self._set(self.options.with_keep_interval(value))

    @property
    def keep_count(self) -> int:
        """TCP_KEEPCNT: probes without answer that end the connection."""
        return self.options.keep_count

    @keep_count.setter
    def keep_count(self, value: int) -> None:
        self._set(self.options.with_keep_count(value))

    @property
    def user_timeout_ns(self) -> int:
        """TCP_USER_TIMEOUT: how long what was sent may stay unacknowledged; 0 leaves it to ``tcp_retries2``."""
        return self.options.user_timeout_ns

    @user_timeout_ns.setter
    def user_timeout_ns(self, value: int) -> None:
        self._set(self.options.with_user_timeout(value))

    @property
    def fin_timeout_ns(self) -> int:
        """TCP_LINGER2: how long FIN-WAIT-2 lasts once the program has closed, at most 120 seconds; 0 is
        ``tcp_fin_timeout``, below 0 not at all.
        """
        return self.options.fin_timeout_ns

    @fin_timeout_ns.setter
    def fin_timeout_ns(self, value: int) -> None:
        timeout_ns: i64 = max(-SECOND, min(value, 120 * SECOND))
        if timeout_ns == 0:
            timeout_ns = self.demux.context.config.tcp_fin_timeout_ns
        self._set(self.options.with_fin_timeout(timeout_ns))

    @property
    def syn_retries(self) -> int:
        """TCP_SYNCNT: retransmissions of the SYN before ``connect`` gives up; 1 to 127, or EINVAL."""
        return self.options.syn_retries

    @syn_retries.setter
    def syn_retries(self, value: int) -> None:
        if not 1 <= value <= 127:
            raise os_error(errno.EINVAL, f"invalid argument: TCP_SYNCNT is 1 to 127, not {value}")
        self._set(self.options.with_syn_retries(value))

    @property
    def defer_accept_s(self) -> int:
        """TCP_DEFER_ACCEPT, seconds: how long a connection waits for its first text before ``accept``; 0: not at all.

        As on Linux it counts in timeouts of the SYN-ACK, which double: what is set is rounded up to the sum of some.
        """
        return _seconds_of(i64(self._defer_accept))

    @defer_accept_s.setter
    def defer_accept_s(self, value: int) -> None:
        count = 0
        while count < _DEFERRALS_MAX and value > _seconds_of(count):
            count += 1
        self._defer_accept = i16(count)
        self._apply_defer_accept()

    def _apply_defer_accept(self) -> None:
        """Tell the listener, if there is one."""

    @property
    def maxseg(self) -> int:
        """TCP_MAXSEG: the largest text of a segment now, or the limit that was set before; 0 or 88 to 32767."""
        connection = self.connection
        if connection is not None:
            return connection.snd_mss()
        return self.options.user_mss or DEFAULT_MSS_BYTES

    @maxseg.setter
    def maxseg(self, value: int) -> None:
        if value != 0 and not 88 <= value <= 32767:
            raise os_error(errno.EINVAL, f"invalid argument: TCP_MAXSEG is 0 or 88 to 32767, not {value}")
        self._set(self.options.with_user_mss(value))

    @property
    def window_clamp_bytes(self) -> int:
        """TCP_WINDOW_CLAMP: the largest window that is offered. 0: none was set, and there is no connection."""
        connection = self.connection
        if self.options.window_clamp_bytes == 0 and connection is not None:
            return connection.largest_window()
        return self.options.window_clamp_bytes

    @window_clamp_bytes.setter
    def window_clamp_bytes(self, value: int) -> None:
        connection = self.connection
        if value == 0 and not self._is_closed(may_listen=False):
            raise os_error(errno.EINVAL, "invalid argument: TCP_WINDOW_CLAMP of a connection is not 0")
        if connection is not None and value >= connection.largest_window():
            return  # as on Linux, where the clamp grows with the buffer
        self._set(self.options.with_window_clamp(0 if value == 0 else max(value, _WINDOW_CLAMP_MIN)))

    @property
    def quickack(self) -> bool:
        """TCP_QUICKACK: acknowledge at once for now; as on Linux TCP may leave the mode again by itself."""
        connection = self.connection
        return self._is_quickack if connection is None else not connection.is_interactive

    @quickack.setter
    def quickack(self, value: bool) -> None:
        connection = self.connection
        if connection is None:
            self._is_quickack = value
        else:
            connection.set_quickack(value)
            self.demux.touch(connection)

    @property
    def oob_inline(self) -> bool:
        """SO_OOBINLINE: leave the urgent byte in the stream."""
        return self.options.is_oob_inline

    @oob_inline.setter
    def oob_inline(self, value: bool) -> None:
        self._set(self.options.with_oob_inline(value))

    @property
    def congestion(self) -> str:
        """TCP_CONGESTION: the name of the congestion control."""
        return name_of(self.options.congestion)

    @congestion.setter
    def congestion(self, name: str) -> None:
        control = self.demux.algorithms.find(name)
        connection = self.connection
        if connection is None:
            self._set(self.options.with_congestion(control))
        else:
            connection.set_congestion(control, self.demux.context.now_ns)

    # --- of Fast Open (RFC 7413)

    @property
    def fast_open_backlog(self) -> int:
        """TCP_FASTOPEN: how many connections of a listener may be in use before their handshake is done; 0: none."""
        return self.fast_open.queue.limit

    @fast_open_backlog.setter
    def fast_open_backlog(self, value: int) -> None:
        if value < 0 or self.connection is not None:
            raise os_error(errno.EINVAL, f"invalid argument: TCP_FASTOPEN is for listeners and not below 0: {value}")
        self.fast_open.queue.bound(min(value, self.demux.context.config.somaxconn))

    @property
    def fast_open_connect(self) -> bool:
        """TCP_FASTOPEN_CONNECT: ``connect`` leaves the SYN to the first write, whose text it carries."""
        return self.fast_open.is_on_connect

    @fast_open_connect.setter
    def fast_open_connect(self, value: bool) -> None:
        if (self.demux.context.config.tcp_fastopen & CLIENT) == 0:
            raise os_error(errno.EOPNOTSUPP, "operation not supported: tcp_fastopen is off for clients")
        self._ensure_closed("TCP_FASTOPEN_CONNECT", may_listen=False)
        self.fast_open.is_on_connect = value

    @property
    def fast_open_no_cookie(self) -> bool:
        """TCP_FASTOPEN_NO_COOKIE: put text on SYNs, and take it, without any cookie."""
        return self.fast_open.is_cookie_free

    @fast_open_no_cookie.setter
    def fast_open_no_cookie(self, value: bool) -> None:
        self._ensure_closed("TCP_FASTOPEN_NO_COOKIE", may_listen=True)
        self.fast_open.is_cookie_free = value

    @property
    def fast_open_keys(self) -> bytes:
        """TCP_FASTOPEN_KEY: 16 bytes, or 32 for a second key that is still good; the host's if none was set."""
        return self.fast_open.keys or self.demux.context.fast_open.keys()

    @fast_open_keys.setter
    def fast_open_keys(self, value: bytes) -> None:
        if len(value) != 16 and len(value) != 32:
            raise os_error(errno.EINVAL, f"invalid argument: TCP_FASTOPEN_KEY is 16 or 32 bytes, not {len(value)}")
        self.fast_open.keys = value

    def _ensure_closed(self, name: str, *, may_listen: bool) -> None:
        if not self._is_closed(may_listen=may_listen):
            raise os_error(errno.EINVAL, f"invalid argument: {name} is set before the connection is opened")

    def _is_closed(self, *, may_listen: bool) -> bool:
        connection = self.connection
        is_open = connection is not None and connection.state != CLOSED and connection.state != TIME_WAIT
        return not is_open and (may_listen or not self.is_listening())

    def is_listening(self) -> bool:
        """Tell whether the socket takes connections."""
        return False

    @property
    def ttl(self) -> int:
        """IP_TTL, IPV6_UNICAST_HOPS: 1 to 255, or EINVAL; of a socket for IPv6 0, too."""
        return self.options.ttl

    @ttl.setter
    def ttl(self, value: int) -> None:
        if not (1 if self.family == AF_INET else 0) <= value <= 255:
            raise os_error(errno.EINVAL, f"invalid argument: a TTL is 1 to 255, not {value}")
        self._set(self.options.with_ttl(value))

    @property
    def tos(self) -> int:
        """IP_TOS, IPV6_TCLASS. The ECN bits are TCP's."""
        return self.options.tos

    @tos.setter
    def tos(self, value: int) -> None:
        self._set(self.options.with_tos(value))

    @property
    def pmtu_discover(self) -> int:
        """IP_MTU_DISCOVER, IPV6_MTU_DISCOVER: whether packets have DF, and reports of a path's MTU are believed."""
        return self.options.pmtu_discover

    @pmtu_discover.setter
    def pmtu_discover(self, value: int) -> None:
        connection = self.connection
        if connection is None:
            self._set(self.options.with_pmtu_discover(value))
        else:
            connection.set_pmtu_discover(value)

    # --- buffers

    @property
    def receive_lowat_bytes(self) -> int:
        """SO_RCVLOWAT: how much makes the socket readable. At most half of what its buffer may be; below 0 that."""
        extras = self.extras
        return 1 if extras is None else extras.receive_lowat_bytes

    @receive_lowat_bytes.setter
    def receive_lowat_bytes(self, value: int) -> None:
        options = self.options
        most: i64 = self.demux.context.config.tcp_rmem[2]
        if options.is_receive_buffer_fixed:
            most = options.receive_buffer_bytes
        self.own_extras().receive_lowat_bytes = max(1, min(value, most // 2)) if value >= 0 else most // 2

    @property
    def receive_buffer_bytes(self) -> int:
        """SO_RCVBUF: bytes of the receive buffer, as they are (Linux's doubling is the caller's)."""
        connection = self.connection
        return self.options.receive_buffer_bytes if connection is None else connection.receive_buffer_bytes

    @receive_buffer_bytes.setter
    def receive_buffer_bytes(self, value: int) -> None:
        size_bytes = max(2304, min(value, 2 * self.demux.context.config.rmem_max))
        connection = self.connection
        if connection is None:
            self._set(self.options.with_receive_buffer(size_bytes))
        else:
            connection.set_receive_buffer(size_bytes)

    @property
    def send_buffer_bytes(self) -> int:
        """SO_SNDBUF: bytes of the send buffer, as they are (Linux's doubling is the caller's)."""
        connection = self.connection
        return self.options.send_buffer_bytes if connection is None else connection.send_buffer_bytes

    @send_buffer_bytes.setter
    def send_buffer_bytes(self, value: int) -> None:
        size_bytes = max(4608, min(value, 2 * self.demux.context.config.wmem_max))
        connection = self.connection
        if connection is None:
            self._set(self.options.with_send_buffer(size_bytes))
        else:
            connection.set_send_buffer(size_bytes)

    def _touch(self) -> None:
        connection = self.connection
        if connection is not None:
            self.demux.touch(connection)


def _seconds_of(timeouts: i64) -> i64:
    """Return how long so many timeouts of a SYN-ACK take together: 1, 2, 4 … at most 120 seconds."""
    total: i64 = 0
    wait: i64 = _DEFER_FIRST_S
    for _ in range(timeouts):
        total += wait
        wait = min(2 * wait, _DEFER_MAX_S)
    return total


undeletable(
    StreamSettings, "linger", "nodelay", "cork", "notsent_lowat_bytes", "max_pacing_rate", "keep_idle_ns",
    "keep_interval_ns", "keep_count", "user_timeout_ns", "fin_timeout_ns", "syn_retries", "defer_accept_s", "maxseg",
    "quickack", "window_clamp_bytes",
    "oob_inline", "congestion", "fast_open_backlog", "fast_open_connect", "fast_open_no_cookie", "fast_open_keys",
    "ttl", "tos", "pmtu_discover", "receive_buffer_bytes", "send_buffer_bytes", "receive_lowat_bytes",
)
