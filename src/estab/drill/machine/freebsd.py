"""FreeBSD's sysctls (tcp(4), and the kernel's defaults) by what they are here.

Three kinds: those that a setting of ours obeys, some in another unit; those that are only checked, because the stack
behaves as one value says and can't behave otherwise; and those that change nothing on the wire. What is in none of
them is named once a run and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from estab.tcp.config import Config
from estab.units import MS

__all__ = ["FIXED", "IDLE", "SET", "is_freebsd"]

Setter = Callable[[Config, int], None]


def is_freebsd(name: str) -> bool:
    """Tell whether a name is one of FreeBSD's."""
    return name.startswith(("net.inet.", "net.inet6.", "kern."))


def _put(setting: str, unit: int = 1) -> Setter:
    def put(config: Config, value: int) -> None:
        old: object = getattr(config, setting)
        config.set(setting, value != 0 if isinstance(old, bool) else value * unit)

    return put


def _window(setting: str, place: int) -> Setter:
    """Sizes of buffers are bytes of text there; here half of a buffer is text."""

    def put(config: Config, value: int) -> None:
        numbers = list(getattr(config, setting))
        numbers[place] = 2 * value
        if place == 1:
            numbers[2] = max(numbers[2], numbers[1])
        config.set(setting, tuple(numbers))

    return put


def _rfc1323(config: Config, value: int) -> None:
    """0 neither, 1 window scaling and timestamps, 2 scaling, 3 timestamps (tcp(4))."""
    config.set("tcp_window_scaling", value in (1, 2))
    config.set("tcp_timestamps", value in (1, 3))


def _maxsockbuf(config: Config, value: int) -> None:
    for setting in ("tcp_rmem", "tcp_wmem"):
        low, first, _ = getattr(config, setting)
        config.set(setting, (low, min(first, value), value))
    config.set("rmem_max", value)
    config.set("wmem_max", value)


def _syncookies(config: Config, value: int) -> None:
    config.set("tcp_syncookies", "when full" if value else "never")


def _only_syncookies(config: Config, value: int) -> None:
    config.set("tcp_syncookies", "always" if value else "when full")


def _keepinit(config: Config, value: int) -> None:
    """The time that a connection may take to open: so many retransmissions of the SYN, a second and then doubled."""
    retries, waited_ms = 0, 1000
    while waited_ms < value and retries < 127:
        retries += 1
        waited_ms += 1000 << retries
    config.set("tcp_syn_retries", retries)


def _fast_open(bit: int) -> Setter:
    def put(config: Config, value: int) -> None:
        config.set("tcp_fastopen", config.tcp_fastopen | bit if value else config.tcp_fastopen & ~bit)

    return put


def _delack(config: Config, value: int) -> None:
    config.set("tcp_delack_ns", value * MS)
    config.set("tcp_delack_max_ns", value * MS)


def _msl(config: Config, value: int) -> None:
    config.set("tcp_timewait_ns", 2 * value * MS)


SET: Final[dict[str, Setter]] = {
    "net.inet.tcp.rfc1323": _rfc1323, "net.inet.tcp.sack.enable": _put("tcp_sack"),
    "net.inet.tcp.insecure_rst": _put("tcp_insecure_rst"), "net.inet.tcp.insecure_syn": _put("tcp_insecure_syn"),
    "net.inet.tcp.blackhole": _put("tcp_blackhole"), "net.inet.tcp.drop_synfin": _put("tcp_drop_synfin"),
    "net.inet.tcp.recvspace": _window("tcp_rmem", 1), "net.inet.tcp.sendspace": _window("tcp_wmem", 1),
    "kern.ipc.maxsockbuf": _maxsockbuf, "net.inet.tcp.ecn.enable": _put("tcp_ecn"),
    "net.inet.tcp.syncookies": _syncookies, "net.inet.tcp.syncookies_only": _only_syncookies,
    "net.inet.tcp.keepinit": _keepinit, "net.inet.tcp.keepidle": _put("tcp_keepalive_time_ns", MS),
    "net.inet.tcp.keepintvl": _put("tcp_keepalive_intvl_ns", MS), "net.inet.tcp.keepcnt": _put("tcp_keepalive_probes"),
    "net.inet.tcp.delacktime": _delack, "net.inet.tcp.msl": _msl,
    "net.inet.tcp.finwait2_timeout": _put("tcp_fin_timeout_ns", MS),
    "net.inet.tcp.rexmit_initial": _put("tcp_rto_initial_ns", MS),
    "net.inet.tcp.rexmit_min": _put("tcp_rto_min_ns", MS),
    "net.inet.tcp.initcwnd_segments": _put("tcp_initial_cwnd"), "net.inet.tcp.minmss": _put("tcp_min_snd_mss"),
    "net.inet.tcp.maxtcptw": _put("tcp_max_tw_buckets"), "net.inet.ip.ttl": _put("ip_default_ttl"),
    "net.inet.tcp.fastopen.client_enable": _fast_open(1), "net.inet.tcp.fastopen.server_enable": _fast_open(2),
    "net.inet.tcp.path_mtu_discovery": lambda config, value: config.set("ip_no_pmtu_disc", value == 0),
    "kern.ipc.somaxconn": _put("somaxconn"), "kern.ipc.soacceptqueue": _put("somaxconn"),
}
"""What a setting of ours obeys."""
FIXED: Final[dict[str, tuple[str, ...]]] = {
    "net.inet.tcp.icmp_may_rst": ("1",), "net.inet.tcp.tolerate_missing_ts": ("0",),
    "net.inet.tcp.mssdflt": ("536",), "net.inet.tcp.v6mssdflt": ("1220", "1024"),
    "net.inet.tcp.rexmit_drop_options": ("0",), "net.inet.tcp.rexmit_slop": ("200",),
    "net.inet.tcp.functions_default": ("freebsd",), "net.inet.tcp.delayed_ack": ("1",),
    "net.inet.tcp.ecn.maxretries": ("1",), "net.inet.tcp.pmtud_blackhole_detection": ("0",),
    "net.inet.tcp.udp_tunneling_port": ("0",), "net.inet.tcp.udp_tunneling_overhead": ("0", "8"),
}
"""What can't be had otherwise: any other value is refused, with its name."""
IDLE: Final = frozenset({
    "net.inet.tcp.hostcache.purgenow", "net.inet.tcp.hostcache.purge", "net.inet.tcp.hostcache.enable",
    "net.inet.tcp.log_debug", "net.inet.tcp.log_in_vain", "net.inet.tcp.tso", "net.inet.tcp.nolocaltimewait",
    "net.inet.tcp.rfc3042", "net.inet.tcp.rfc3390", "net.inet.tcp.rfc3465", "net.inet.tcp.rfc6675_pipe",
    "net.inet.tcp.do_prr", "net.inet.tcp.newreno.beta", "net.inet.tcp.pmtud_blackhole_mss",
    "net.inet.tcp.v6pmtud_blackhole_mss", "net.inet.tcp.fastopen.ccache_bucket_limit", "kern.ipc.nmbclusters",
})
"""What changes nothing here: caches that are not kept, logs, and what is always on."""
