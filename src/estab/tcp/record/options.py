"""What a program sets on a TCP socket, in one record.

A socket, its listener and the connections made from it share one ``Options`` until one of them changes an option. So
no option can be forgotten when a connection is made, and an idle connection costs one reference. A record that is in
use never changes: each ``with_...`` function returns another record, and recent records that are equal are one.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab import abi
from estab.tcp.config import Config
from estab.tcp.record.control import CongestionControl
from estab.units import NEVER

__all__ = ["OptionPool", "Options"]

_RECENT_MAX: Final = 16


class Options:
    """The options of a socket or connection. ``copy`` and ``equals`` name every field; a test sees to that."""

    def __init__(self, pool: OptionPool, config: Config, congestion: CongestionControl) -> None:
        self._pool = pool
        self.congestion = congestion
        """TCP_CONGESTION: the host's object for that congestion control; its ``for_flow`` makes one for a flow."""
        self.nodelay: bool = False
        """TCP_NODELAY: small segments leave at once (RFC 9293 section 3.7.4)."""
        self.is_corked: bool = False
        """TCP_CORK: no partial segments."""
        self.notsent_lowat_bytes: i64 = 0
        """TCP_NOTSENT_LOWAT in bytes; 0 is the stack's."""
        self.max_pacing_rate: i64 = NEVER
        """SO_MAX_PACING_RATE in bytes a second."""
        self.send_buffer_bytes: i64 = config.tcp_wmem[1]
        """Bytes that the send buffer holds at first, or for good if ``is_send_buffer_fixed`` (SO_SNDBUF)."""
        self.is_send_buffer_fixed: bool = False
        self.receive_buffer_bytes: i64 = config.tcp_rmem[1]
        """Bytes that the receive buffer holds at first, or for good if ``is_receive_buffer_fixed`` (SO_RCVBUF)."""
        self.is_receive_buffer_fixed: bool = False
        self.keepalive: bool = False
        """SO_KEEPALIVE (RFC 9293 MUST-24, MUST-25: off until asked for)."""
        self.keep_idle_ns: i64 = config.tcp_keepalive_time_ns
        """TCP_KEEPIDLE: silence before the first probe."""
        self.keep_interval_ns: i64 = config.tcp_keepalive_intvl_ns
        """TCP_KEEPINTVL: time between probes."""
        self.keep_count: i64 = config.tcp_keepalive_probes
        """TCP_KEEPCNT: probes without an answer that end the connection."""
        self.user_timeout_ns: i64 = 0
        """TCP_USER_TIMEOUT (RFC 5482): how long text may stay unacknowledged; 0 leaves it to ``tcp_retries2``."""
        self.syn_retries: i64 = config.tcp_syn_retries
        """TCP_SYNCNT: retransmissions of the SYN."""
        self.fin_timeout_ns: i64 = config.tcp_fin_timeout_ns
        """TCP_LINGER2: how long FIN-WAIT-2 lasts without a program."""
        self.user_mss: i64 = 0
        """TCP_MAXSEG in bytes; 0 for no wish."""
        self.window_clamp_bytes: i64 = 0
        """TCP_WINDOW_CLAMP: the largest window to offer; 0 leaves it to the receive buffer."""
        self.is_oob_inline: bool = False
        """SO_OOBINLINE: the urgent byte stays in the stream (RFC 6093)."""
        self.tos: i64 = 0
        """IP_TOS, IPV6_TCLASS; the two ECN bits are TCP's."""
        self.ttl: i64 = config.ip_default_ttl
        """IP_TTL, IPV6_UNICAST_HOPS."""
        self.pmtu_discover: i64 = abi.IP_PMTUDISC_WANT
        """IP_MTU_DISCOVER: what becomes of packets that the path may not carry whole."""

    def copy(self) -> Options:
        """Make a record with the same options. It may be changed until it is shared."""
        made = Options(self._pool, self._pool.config, self.congestion)
        made.nodelay = self.nodelay
        made.is_corked = self.is_corked
        made.notsent_lowat_bytes = self.notsent_lowat_bytes
        made.max_pacing_rate = self.max_pacing_rate
        made.send_buffer_bytes = self.send_buffer_bytes
        made.is_send_buffer_fixed = self.is_send_buffer_fixed
        made.receive_buffer_bytes = self.receive_buffer_bytes
        made.is_receive_buffer_fixed = self.is_receive_buffer_fixed
        made.keepalive = self.keepalive
        made.keep_idle_ns = self.keep_idle_ns
        made.keep_interval_ns = self.keep_interval_ns
        made.keep_count = self.keep_count
        made.user_timeout_ns = self.user_timeout_ns
        made.syn_retries = self.syn_retries
        made.fin_timeout_ns = self.fin_timeout_ns
        made.user_mss = self.user_mss
        made.window_clamp_bytes = self.window_clamp_bytes
        made.is_oob_inline = self.is_oob_inline
        made.tos = self.tos
        made.ttl = self.ttl
        made.pmtu_discover = self.pmtu_discover
        return made

    def equals(self, other: Options) -> bool:
        """Tell whether all options are the same."""
        return (
            self.congestion is other.congestion and self.nodelay == other.nodelay
            and self.is_corked == other.is_corked and self.notsent_lowat_bytes == other.notsent_lowat_bytes
            and self.max_pacing_rate == other.max_pacing_rate
            and self.send_buffer_bytes == other.send_buffer_bytes
            and self.is_send_buffer_fixed == other.is_send_buffer_fixed
            and self.receive_buffer_bytes == other.receive_buffer_bytes
            and self.is_receive_buffer_fixed == other.is_receive_buffer_fixed
            and self.keepalive == other.keepalive and self.keep_idle_ns == other.keep_idle_ns
            and self.keep_interval_ns == other.keep_interval_ns and self.keep_count == other.keep_count
            and self.user_timeout_ns == other.user_timeout_ns and self.syn_retries == other.syn_retries
            and self.fin_timeout_ns == other.fin_timeout_ns and self.user_mss == other.user_mss
            and self.window_clamp_bytes == other.window_clamp_bytes
            and self.is_oob_inline == other.is_oob_inline and self.tos == other.tos and self.ttl == other.ttl
            and self.pmtu_discover == other.pmtu_discover
        )

    # --- the same options with one changed

    def with_congestion(self, congestion: CongestionControl) -> Options:
        """Change TCP_CONGESTION."""
        made = self.copy()
        made.congestion = congestion
        return self._pool.share(made)

    def with_nodelay(self, is_on: bool) -> Options:
        """Change TCP_NODELAY."""
        made = self.copy()
        made.nodelay = is_on
        return self._pool.share(made)

    def with_cork(self, is_on: bool) -> Options:
        """Change TCP_CORK."""
        made = self.copy()
        made.is_corked = is_on
        return self._pool.share(made)

    def with_notsent_lowat(self, lowat_bytes: i64) -> Options:
        """Change TCP_NOTSENT_LOWAT."""
        made = self.copy()
        made.notsent_lowat_bytes = lowat_bytes
        return self._pool.share(made)

    def with_max_pacing_rate(self, rate: i64) -> Options:
        """Change SO_MAX_PACING_RATE: bytes a second, ``NEVER`` for no limit."""
        made = self.copy()
        made.max_pacing_rate = rate
        return self._pool.share(made)

    def with_send_buffer(self, size_bytes: i64) -> Options:
        """Change SO_SNDBUF: the buffer has this size for good."""
        made = self.copy()
        made.send_buffer_bytes = size_bytes
        made.is_send_buffer_fixed = True
        return self._pool.share(made)

    def with_receive_buffer(self, size_bytes: i64) -> Options:
        """Change SO_RCVBUF: the buffer has this size for good."""
        made = self.copy()
        made.receive_buffer_bytes = size_bytes
        made.is_receive_buffer_fixed = True
        return self._pool.share(made)

    def with_keepalive(self, is_on: bool) -> Options:
        """Change SO_KEEPALIVE."""
        made = self.copy()
        made.keepalive = is_on
        return self._pool.share(made)

    def with_keep_idle(self, idle_ns: i64) -> Options:
        """Change TCP_KEEPIDLE."""
        made = self.copy()
        made.keep_idle_ns = idle_ns
        return self._pool.share(made)

    def with_keep_interval(self, interval_ns: i64) -> Options:
        """Change TCP_KEEPINTVL."""
        made = self.copy()
        made.keep_interval_ns = interval_ns
        return self._pool.share(made)

    def with_keep_count(self, count: i64) -> Options:
        """Change TCP_KEEPCNT."""
        made = self.copy()
        made.keep_count = count
        return self._pool.share(made)

    def with_user_timeout(self, timeout_ns: i64) -> Options:
        """Change TCP_USER_TIMEOUT."""
        made = self.copy()
        made.user_timeout_ns = timeout_ns
        return self._pool.share(made)

    def with_syn_retries(self, count: i64) -> Options:
        """Change TCP_SYNCNT."""
        made = self.copy()
        made.syn_retries = count
        return self._pool.share(made)

    def with_fin_timeout(self, timeout_ns: i64) -> Options:
        """Change TCP_LINGER2."""
        made = self.copy()
        made.fin_timeout_ns = timeout_ns
        return self._pool.share(made)

    def with_user_mss(self, mss_bytes: i64) -> Options:
        """Change TCP_MAXSEG."""
        made = self.copy()
        made.user_mss = mss_bytes
        return self._pool.share(made)

    def with_window_clamp(self, bytes_max: i64) -> Options:
        """Change TCP_WINDOW_CLAMP."""
        made = self.copy()
        made.window_clamp_bytes = bytes_max
        return self._pool.share(made)

    def with_oob_inline(self, is_on: bool) -> Options:
        """Change SO_OOBINLINE."""
        made = self.copy()
        made.is_oob_inline = is_on
        return self._pool.share(made)

    def with_tos(self, tos: i64) -> Options:
        """Change IP_TOS; the ECN bits are left out."""
        made = self.copy()
        made.tos = tos & 0xFC
        return self._pool.share(made)

    def with_ttl(self, ttl: i64) -> Options:
        """Change IP_TTL."""
        made = self.copy()
        made.ttl = ttl
        return self._pool.share(made)

    def with_pmtu_discover(self, how: i64) -> Options:
        """Change IP_MTU_DISCOVER."""
        made = self.copy()
        made.pmtu_discover = how
        return self._pool.share(made)


class OptionPool:
    """The records that were made lately, so that many sockets with equal options share one."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._recent: list[Options] = []

    def share(self, made: Options) -> Options:
        """Return a recent record that equals ``made``, or keep ``made`` as one. The oldest of them makes room."""
        for one in self._recent:
            if one.equals(made):
                return one
        if len(self._recent) >= _RECENT_MAX:
            del self._recent[0]
        self._recent.append(made)
        return made

    def clear(self) -> None:
        """Forget them."""
        self._recent.clear()

    def default(self, congestion: CongestionControl) -> Options:
        """Return the options of a new socket, as the host's settings are now."""
        return self.share(Options(self, self.config, congestion))
