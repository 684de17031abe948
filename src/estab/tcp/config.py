"""The settings of a whole stack. Names are those of Linux's sysctls if Linux has one, with the unit last.

A ``Config`` belongs to one host and may be changed while it runs. A setting that a connection copies at its start says
so.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.units import MS, SECOND

__all__ = ["NAMES", "Config"]


class Config:
    """All settings of one host's stack, with defaults close to Linux's. Durations are nanoseconds, sizes bytes."""

    def __init__(self) -> None:
        # Opening.
        # We differ: Linux's 6 retries give up after 131 s, or 127 s before 6.5; RFC 9293 MUST-23 wants three minutes.
        self.tcp_syn_retries: i64 = 7
        self.tcp_synack_retries: i64 = 5
        self.tcp_syn_linear_timeouts: i64 = 0
        self.tcp_abort_on_overflow: bool = False
        self.somaxconn: i64 = 4096
        self.tcp_max_syn_backlog: i64 = 1024
        self.backlog_policy: str = "accept"
        self.tcp_syncookies: str = "when full"
        self.tcp_syn_recycle: bool = False
        self.tcp_max_orphans: i64 = 65536
        # Fast Open (RFC 7413).
        self.tcp_fastopen: i64 = 1
        self.tcp_fastopen_key: str = ""
        self.tcp_fastopen_blackhole_timeout_ns: i64 = 0
        # We differ: Linux offers text on the SYN again at once to a server that did not take it (RFC 7413 section
        # 4.1.3.1).
        self.tcp_fastopen_negative_ns: i64 = 600 * SECOND
        self.tcp_fastopen_experimental: bool = True
        # Options.
        self.tcp_timestamps: bool = True
        self.tcp_sack: bool = True
        self.tcp_dsack: bool = True
        self.tcp_window_scaling: bool = True
        self.tcp_bsd_option_order: bool = False
        # Buffers: least, default, most. All together, in pages of 4,096 bytes: pressure ends, begins, no more.
        self.tcp_mem: tuple[int, int, int] = (49152, 65536, 98304)
        self.tcp_rmem: tuple[int, int, int] = (4096, 131072, 6291456)
        self.tcp_wmem: tuple[int, int, int] = (4096, 16384, 4194304)
        self.tcp_moderate_rcvbuf: bool = True
        self.rmem_max: i64 = 4194304
        self.wmem_max: i64 = 4194304
        # Retransmission (RFC 6298).
        self.tcp_rto_initial_ns: i64 = SECOND
        self.tcp_rto_min_ns: i64 = 200 * MS
        self.tcp_rto_max_ns: i64 = 120 * SECOND
        self.tcp_retries1: i64 = 3
        self.tcp_retries2: i64 = 15
        self.tcp_orphan_retries: i64 = 8
        self.tcp_thin_linear_timeouts: bool = False
        self.tcp_initial_cwnd: i64 = 10
        self.tcp_reordering: i64 = 3
        self.tcp_max_reordering: i64 = 300
        self.tcp_recovery: i64 = 1
        self.tcp_min_rtt_wlen_ns: i64 = 300 * SECOND
        self.tcp_early_retrans: i64 = 3
        self.tcp_frto: i64 = 2
        self.tcp_congestion_control: str = "cubic"
        # How CUBIC leaves slow start: 0 at a loss; 1 by Linux's HyStart, which the other three are for; 2 by HyStart++.
        self.cubic_hystart: i64 = 2
        self.cubic_hystart_detect: i64 = 3
        self.cubic_hystart_low_window: i64 = 16
        self.cubic_hystart_ack_delta_ns: i64 = 2 * MS
        # Explicit congestion notification (RFC 3168, RFC 9768). tcp_ecn: 0 none; 1 ask for ECN and answer it; 2 answer
        # it; 3 ask for AccECN and answer it; 4 ask for ECN, answer AccECN too; 5 answer AccECN too.
        self.tcp_ecn: i64 = 2
        self.tcp_ecn_fallback: bool = True
        self.tcp_ecn_option: i64 = 2
        self.tcp_ecn_option_beacon: i64 = 3
        self.tcp_abe: bool = False
        # Sending.
        self.tcp_slow_start_after_idle: bool = True
        self.tcp_notsent_lowat: i64 = 4294967295
        self.tcp_pacing: bool = False
        self.tcp_pacing_ss_ratio: i64 = 200
        self.tcp_pacing_ca_ratio: i64 = 120
        self.tcp_min_tso_segs: i64 = 2
        self.tcp_tso_win_divisor: i64 = 3
        # Acknowledging.
        self.tcp_delack_ns: i64 = 40 * MS
        self.tcp_delack_max_ns: i64 = 200 * MS
        self.tcp_quick_acks: i64 = 16
        # Closing.
        self.tcp_fin_timeout_ns: i64 = 60 * SECOND
        self.tcp_timewait_ns: i64 = 60 * SECOND
        self.tcp_max_tw_buckets: i64 = 262144
        self.tcp_tw_reuse: i64 = 2
        self.tcp_tw_reuse_delay_ns: i64 = SECOND
        self.tcp_rfc1337: bool = False
        # Keepalive (RFC 9293 section 3.8.4).
        self.tcp_keepalive_time_ns: i64 = 7200 * SECOND
        self.tcp_keepalive_intvl_ns: i64 = 75 * SECOND
        self.tcp_keepalive_probes: i64 = 9
        # Defences (RFC 5961).
        self.tcp_challenge_ack_limit: i64 = 1000
        self.tcp_invalid_ratelimit_ns: i64 = 500 * MS
        self.tcp_insecure_rst: bool = False
        self.tcp_insecure_syn: bool = False
        self.tcp_answer_early_acks: bool = True
        self.tcp_drop_synfin: bool = True
        # As Linux: a SYN that met an old connection goes again at once.
        self.tcp_repeat_syn: bool = True
        # 1: a SYN to a port without a socket is not answered; 2: nothing is (FreeBSD's net.inet.tcp.blackhole).
        self.tcp_blackhole: i64 = 0
        # As FreeBSD: an acknowledgment bears our FIN again while it is unacknowledged; buffers are whole segments, and
        # a window is all the room there is, what came out of order left aside.
        self.tcp_repeat_fin: bool = False
        # As FreeBSD: TIME-WAIT answers no segment without ACK, wherever its number is.
        self.tcp_timewait_needs_ack: bool = False
        self.tcp_round_buffers: bool = False
        # Path MTU.
        self.tcp_min_snd_mss: i64 = 48
        self.tcp_mtu_probing: i64 = 0
        self.tcp_base_mss: i64 = 1024
        self.tcp_mtu_probe_floor: i64 = 48
        self.tcp_probe_threshold: i64 = 8
        self.tcp_probe_interval_ns: i64 = 600 * SECOND
        self.ip_no_pmtu_disc: bool = False
        self.route_mtu_expires_ns: i64 = 600 * SECOND
        self.route_min_pmtu: i64 = 552
        # Fragments (RFC 791, RFC 8200 section 4.5).
        self.ipfrag_time_ns: i64 = 30 * SECOND
        self.ip6frag_time_ns: i64 = 60 * SECOND
        self.ipfrag_high_thresh: i64 = 4_194_304
        # ICMP (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 f).
        self.icmp_ratelimit_ns: i64 = SECOND
        self.icmp_msgs_per_sec: i64 = 1000
        self.icmp_msgs_burst: i64 = 50
        # Multicast (RFC 3678).
        self.igmp_max_memberships: i64 = 20
        self.igmp_max_msf: i64 = 10
        self.mld_max_msf: i64 = 64
        # Ports (RFC 6056).
        self.ip_local_port_range: tuple[int, int] = (32768, 60999)
        self.ip_default_ttl: i64 = 64
        # Flow labels (RFC 6437). flowlabel_reflect is bits: 1 connections of a listener, 2 resets, 4 echo replies.
        self.auto_flowlabels: i64 = 1
        self.flowlabel_reflect: i64 = 0
        # Bounds of ours.
        self.reply_queue_max: i64 = 256
        self.fastopen_cookies_max: i64 = 1024

    def set(self, name: str, value: object) -> None:
        """Set one setting by name. ``ValueError`` names what is wrong with the name or the value."""
        if name not in NAMES:
            raise ValueError(f"{name}: no such setting; see estab.tcp.config.Config")
        old: object = getattr(self, name)
        if type(old) is not type(value):
            raise TypeError(f"{name}: expected {type(old).__name__}, not {value!r}")
        if isinstance(value, int) and not isinstance(value, bool):
            low, high = _RANGES.get(name, _TIMES if name.endswith("_ns") else _NUMBERS)
            if not low <= value <= high:
                raise ValueError(f"{name}: {value!r} is not in {low} to {high}")
        if name in _ASCENDING:
            count, low, high = _ASCENDING[name]
            _check_ascending(name, value, count, low, high)
        if name in _CHOICES and value not in _CHOICES[name]:
            raise ValueError(f"{name}: {value!r} is not one of {', '.join(_CHOICES[name])}")
        setattr(self, name, value)


_NUMBERS: Final = (0, 2**32 - 1)
_TIMES: Final = (0, 366 * 86_400 * SECOND)
_RANGES: dict[str, tuple[int, int]] = {
    "tcp_ecn": (0, 5), "tcp_ecn_option": (0, 2), "tcp_ecn_option_beacon": (0, 3), "cubic_hystart": (0, 2),
    "tcp_blackhole": (0, 2), "auto_flowlabels": (0, 3), "flowlabel_reflect": (0, 7),
    "cubic_hystart_detect": (0, 3), "ip_default_ttl": (1, 255), "icmp_msgs_per_sec": (1, 1_000_000),
    "tcp_syn_retries": (0, 127), "tcp_synack_retries": (0, 255), "tcp_reordering": (1, 300),
    "tcp_quick_acks": (0, 2**31 - 1), "tcp_min_snd_mss": (0, 65_535),
    "tcp_max_reordering": (1, 2**31 - 1), "tcp_min_tso_segs": (1, 65_535), "tcp_rto_min_ns": (1, 120 * SECOND),
    "tcp_rto_max_ns": (SECOND, 120 * SECOND), "route_min_pmtu": (68, 65_535), "rmem_max": (2304, 2**31 - 1),
    "wmem_max": (4608, 2**31 - 1),
}
"""Other numbers than these are refused when they are given, because nothing could work with them."""
_ASCENDING: dict[str, tuple[int, int, int]] = {
    "tcp_mem": (3, 1, 2**40), "tcp_rmem": (3, 1, 2**30), "tcp_wmem": (3, 1, 2**30),
    "ip_local_port_range": (2, 1, 65_535),
}
"""So many numbers, none below the one before, from the least to the most."""


def _check_ascending(name: str, value: object, count: int, low: int, high: int) -> None:
    numbers = list(value) if isinstance(value, tuple) else []
    if len(numbers) != count or not all(type(number) is int for number in numbers):
        raise ValueError(f"{name}: {value!r} is not {count} numbers")
    if not low <= numbers[0] or not numbers[-1] <= high or numbers != sorted(numbers):
        raise ValueError(f"{name}: {value!r} does not ascend from {low} at least to {high} at most")


_CHOICES: dict[str, tuple[str, ...]] = {
    "backlog_policy": ("accept", "sum", "syn"),
    "tcp_syncookies": ("never", "when full", "always"),
}

NAMES: tuple[str, ...] = tuple(name for name in dir(Config()) if name[0] != "_" and name != "set")
"""Every setting's name, in alphabetical order."""
