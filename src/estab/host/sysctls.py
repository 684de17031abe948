"""Linux's sysctls of one stack: names, units and text as there, over the ``Config`` of a host.

``Sysctls`` is a dictionary whose keys are always the same: ``net.ipv4.tcp_rmem`` and the rest of ``TABLE``. A value is
what the number means in Linux's unit (``tcp_fin_timeout`` is seconds, ``tcp_rto_min_us`` microseconds): an integer, a
tuple of integers, or text. What Linux does not have stands below ``estab.``, by the name and in the unit of ``Config``.
Only what has an effect here is in the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mypy_extensions import i64

from estab.host.arriving.input import Input
from estab.tcp.config import NAMES, Config
from estab.tcp.congestion.registry import Registry
from estab.tcp.context import Context
from estab.tcp.fastopen import key_bytes, key_text
from estab.units import MS, NEVER, SECOND, US

__all__ = ["TABLE", "Sysctl", "Sysctls"]

_INT_MAX: Final = 2147483647


class Sysctl:
    """One row: ``name`` of Linux, ``setting`` of ``Config``, the unit, and what the setting does."""

    def __init__(self, name: str, setting: str, unit: str, effect: str, low: i64 = 0, high: i64 = _INT_MAX) -> None:
        self.name: str = name
        self.setting: str = setting
        self.unit: str = unit
        """``bytes``, ``segments``, ``s``, ``ms`` …; ``flag`` for 0 and 1; ``choice`` for a few numbers."""
        self.effect: str = effect
        self.low: i64 = low
        self.high: i64 = high


_UNITS_NS: Final = {"s": SECOND, "ms": MS, "µs": US}
_CHOICES: Final = {"tcp_syncookies": ("never", "when full", "always")}
"""Settings that are words here and numbers in Linux, from 0."""
_IP4: Final = "net.ipv4."
_CORE: Final = "net.core."
_OURS: Final = "estab."


def _tcp(name: str, unit: str, effect: str, low: i64 = 0, high: i64 = _INT_MAX, setting: str = "") -> Sysctl:
    return Sysctl(_IP4 + name, setting or name, unit, effect, low, high)


def _cubic(name: str, unit: str, effect: str, low: i64 = 0, high: i64 = _INT_MAX, setting: str = "") -> Sysctl:
    """Parameters of Linux's module, by their names on the kernel's command line."""
    return Sysctl("tcp_cubic." + name, setting or "cubic_" + name, unit, effect, low, high)


TABLE: Final[tuple[Sysctl, ...]] = (
    # Opening.
    _tcp("tcp_syn_retries", "count", "Retransmissions of a SYN before `connect` gives up", 1, 127),
    _tcp("tcp_synack_retries", "count", "Retransmissions of a SYN-ACK before it is given up", 0, 255),
    _tcp("tcp_syn_linear_timeouts", "count", "So many timeouts of a SYN come without exponential back-off", 0, 127),
    _tcp("tcp_max_syn_backlog", "entries", "Most half-open connections of a listener"),
    _tcp("tcp_syncookies", "choice", "SYN cookies: 0 never, 1 when the half-open queue is full, 2 always", 0, 2),
    _tcp("tcp_abort_on_overflow", "flag", "Reset instead of ignoring a handshake that finds the accept queue full"),
    Sysctl(_CORE + "somaxconn", "somaxconn", "entries", "Most that `listen` may ask for", 0, _INT_MAX),
    # Fast Open.
    _tcp("tcp_fastopen", "bits",
         "1: clients send text on SYNs; 2: servers take it; 4, 0x200: without cookies; 0x400: without TCP_FASTOPEN"),
    _tcp("tcp_fastopen_key", "text", "Key of the servers' cookies, as four groups of hexadecimal digits; or two keys"),
    _tcp("tcp_fastopen_blackhole_timeout_sec", "s",
         "How long clients pause Fast Open when the network drops it, doubled each time; 0: never",
         setting="tcp_fastopen_blackhole_timeout_ns"),
    # Options.
    _tcp("tcp_timestamps", "flag", "Offer and take the timestamps option (RFC 7323)"),
    _tcp("tcp_sack", "flag", "Offer and take selective acknowledgments (RFC 2018)"),
    _tcp("tcp_dsack", "flag", "Report text that came twice (RFC 2883)"),
    _tcp("tcp_window_scaling", "flag", "Offer and take the window scale option (RFC 7323)"),
    # Buffers.
    _tcp("tcp_mem", "pages", "What all connections hold, in pages of 4,096 bytes: pressure ends, begins, no more", 1),
    _tcp("tcp_rmem", "bytes", "Receive buffer of a connection: least, first, most by auto-tuning", 1),
    _tcp("tcp_wmem", "bytes", "Send buffer of a connection: least, first, most by auto-tuning", 1),
    _tcp("tcp_moderate_rcvbuf", "flag", "Let the receive buffer grow with what a program reads in a round trip"),
    Sysctl(_CORE + "rmem_max", "rmem_max", "bytes", "Most that `SO_RCVBUF` may ask for", 2304),
    Sysctl(_CORE + "wmem_max", "wmem_max", "bytes", "Most that `SO_SNDBUF` may ask for", 4608),
    # Retransmission and recovery.
    _tcp("tcp_retries1", "count", "After so many timeouts the next hop is doubted and a soft error noted", 0, 255),
    _tcp("tcp_retries2", "count", "After so many timeouts an established connection is given up"),
    _tcp("tcp_orphan_retries", "count",
         "After so many timeouts a connection that its program has closed is given up; 0 means 8"),
    _tcp("tcp_thin_linear_timeouts", "flag",
         "With less than four segments in flight the first six timeouts come without back-off"),
    _tcp("tcp_rto_min_us", "µs", "Least retransmission timeout above the round trip", 1, _INT_MAX, "tcp_rto_min_ns"),
    _tcp("tcp_rto_max_ms", "ms", "Most that a retransmission timeout grows to", 1000, 120000, "tcp_rto_max_ns"),
    _tcp("tcp_min_rtt_wlen", "s", "Over how long the shortest round trip is taken", 0, 86400, "tcp_min_rtt_wlen_ns"),
    _tcp("tcp_reordering", "segments", "Segments above a hole that show a loss, until reordering is seen", 1, 300),
    _tcp("tcp_max_reordering", "segments", "Most reordering that a path is believed to have", 1),
    _tcp("tcp_recovery", "bits",
         "1: RACK (RFC 8985), always on with SACK; 2: its reordering window does not grow with DSACKs; 4: three "
         "segments above a hole are no reason to wait for none", 0, 255),
    _tcp("tcp_early_retrans", "choice", "3 and 4: tail loss probes (RFC 8985 section 7); below: none", 0, 4),
    _tcp("tcp_frto", "choice", "0: no F-RTO; above: false timeouts are found out (RFC 5682)", 0, 2),
    _tcp("tcp_congestion_control", "name", "Congestion control of new connections"),
    _cubic("hystart", "choice",
           "How CUBIC leaves slow start: 0 only at a loss; 1 by Linux's HyStart; 2 by HyStart++ (RFC 9406)", 0, 2),
    _cubic("hystart_detect", "bits", "What ends slow start with 1: 1 a train of acknowledgments, 2 delay", 0, 3),
    _cubic("hystart_low_window", "segments", "With 1, a smaller window is left alone"),
    _cubic("hystart_ack_delta_us", "µs", "With 1, acknowledgments further apart are no train",
           setting="cubic_hystart_ack_delta_ns"),
    # Sending.
    _tcp("tcp_slow_start_after_idle", "flag", "A window that was not used shrinks, one that rested begins again"),
    _tcp("tcp_notsent_lowat", "bytes", "Unsent text from which on a socket is not writable (TCP_NOTSENT_LOWAT)",
         1, 4294967295),
    _tcp("tcp_pacing_ss_ratio", "percent", "Pace in slow start, of window over round trip", 0, 1000),
    _tcp("tcp_pacing_ca_ratio", "percent", "Pace in congestion avoidance, of window over round trip", 0, 1000),
    _tcp("tcp_min_tso_segs", "segments", "Least size of a super-segment", 1, 65535),
    _tcp("tcp_tso_win_divisor", "count", "The share of the window worth a super-segment of its own; 0 never waits",
         0, 255),
    _tcp("tcp_available_congestion_control", "names", "Those that there are (to be read only)", setting="-algorithms"),
    # Explicit congestion notification.
    _tcp("tcp_ecn", "choice",
         "ECN: 0 none; 1 ask for it and answer; 2 answer; 3 ask for AccECN and answer; 4 ask for ECN, answer "
         "AccECN too; 5 answer AccECN too", 0, 5),
    _tcp("tcp_ecn_fallback", "flag", "A SYN that asked for ECN in vain is repeated without, and mangled marks end ECT"),
    _tcp("tcp_ecn_option", "choice", "AccECN's option: 0 never sent, 1 if something changed, 2 on every segment",
         0, 2),
    _tcp("tcp_ecn_option_beacon", "count", "With 1, the option is sent at least so often in a round trip", 0, 3),
    # Closing.
    _tcp("tcp_fin_timeout", "s", "How long FIN-WAIT-2 lasts once the program has closed", setting="tcp_fin_timeout_ns"),
    _tcp("tcp_max_tw_buckets", "entries", "Most TIME-WAIT records of a host"),
    _tcp("tcp_tw_reuse", "choice",
         "`connect` may take over a TIME-WAIT port: 0 never, 1 if timestamps tell old from new, 2 on loopback only",
         0, 2),
    _tcp("tcp_tw_reuse_delay", "ms", "How old a TIME-WAIT record must be for that", 1, 60000, "tcp_tw_reuse_delay_ns"),
    _tcp("tcp_rfc1337", "flag", "Resets don't end TIME-WAIT (RFC 1337)"),
    _tcp("tcp_max_orphans", "entries", "Most connections that their programs have closed; one more is reset"),
    # Keepalive.
    _tcp("tcp_keepalive_time", "s", "Silence before the first probe", 1, 32767, "tcp_keepalive_time_ns"),
    _tcp("tcp_keepalive_intvl", "s", "Time between probes", 1, 32767, "tcp_keepalive_intvl_ns"),
    _tcp("tcp_keepalive_probes", "count", "Probes without answer that end the connection", 1, 127),
    # Defences.
    _tcp("tcp_challenge_ack_limit", "per second", "Challenge ACKs of a host (RFC 5961 section 7)"),
    _tcp("tcp_invalid_ratelimit", "ms", "Least time between answers to segments out of the window of one connection",
         setting="tcp_invalid_ratelimit_ns"),
    # Path MTU.
    _tcp("tcp_min_snd_mss", "bytes", "Least segment that a peer or a path can make us send", 48, 65535),
    _tcp("tcp_mtu_probing", "choice",
         "Search for the path's MTU by probes (RFC 4821): 0 never, 1 when a black hole shows, 2 always", 0, 2),
    _tcp("tcp_base_mss", "bytes", "Segment that a search takes to get through, at first", 48),
    _tcp("tcp_mtu_probe_floor", "bytes", "Least segment that a search goes down to", 48),
    _tcp("tcp_probe_threshold", "bytes", "A search ends when it knows the MTU as closely as this"),
    _tcp("tcp_probe_interval", "s", "After so long a search begins again", setting="tcp_probe_interval_ns"),
    _tcp("ip_no_pmtu_disc", "flag", "Don't set DF: routers may cut packets, and path MTU discovery is off"),
    # IP.
    _tcp("ip_default_ttl", "hops", "TTL and hop limit of packets", 1, 255),
    Sysctl("net.ipv6.auto_flowlabels", "auto_flowlabels", "choice",
           "0: packets have no flow label; else each flow has one", 0, 3),
    Sysctl("net.ipv6.flowlabel_reflect", "flowlabel_reflect", "bits",
           "Answers take the peer's flow label: 1 connections of a listener, 2 resets, 4 echo replies", 0, 7),
    _tcp("ip_local_port_range", "ports", "Ports that `connect` and `bind` to port 0 choose from", 1, 65535),
    _tcp("route.mtu_expires", "s", "How long a reported path MTU is believed", 1, setting="route_mtu_expires_ns"),
    _tcp("route.min_pmtu", "bytes", "IPv4: a reported path MTU below this is not believed; packets may be cut instead",
         68, setting="route_min_pmtu"),
    _tcp("ipfrag_time", "s", "How long the fragments of an IPv4 packet wait for each other", 1,
         setting="ipfrag_time_ns"),
    Sysctl("net.ipv6.ip6frag_time", "ip6frag_time_ns", "s",
           "How long the fragments of an IPv6 packet wait for each other", 1),
    _tcp("ipfrag_high_thresh", "bytes", "Most that all fragments may hold, of both versions"),
    _tcp("icmp_ratelimit", "ms", "Least time between ICMP errors to one receiver, beyond a burst of 6; 0: none",
         setting="icmp_ratelimit_ns"),
    _tcp("icmp_msgs_per_sec", "per second", "ICMP errors of a host, with `icmp_msgs_burst` more at once", 1,
         1000000000),
    _tcp("icmp_msgs_burst", "count", "ICMP errors of a host that may go out at once, beyond `icmp_msgs_per_sec`", 1),
    _tcp("igmp_max_memberships", "groups", "Most groups that a socket joins, here of both versions together"),
    _tcp("igmp_max_msf", "sources", "Most sources that a socket names for an IPv4 group (RFC 3678)"),
    Sysctl("net.ipv6.mld_max_msf", "mld_max_msf", "sources", "Most sources that a socket names for an IPv6 group"),
    _tcp("ip_forward", "flag", "The host is a router", setting="-forward"),
)
"""Every sysctl of Linux that has an effect here."""


def _all_rows() -> dict[str, Sysctl]:
    """Return all rows by name: those of Linux, and a row of ours for each setting that has none there."""
    rows = {row.name: row for row in TABLE}
    covered = {row.setting for row in TABLE}
    for name in NAMES:
        if name not in covered:
            rows[_OURS + name] = Sysctl(_OURS + name, name, "", "", 0, NEVER)
    return rows


_ROWS: Final = _all_rows()
_SHORT: Final = {name.rpartition(".")[2]: name for name in _ROWS}
"""Full names by their last part. All hosts share both tables."""


class Sysctls:
    """The sysctls of one host. Reading and writing is by full name, ``net/ipv4/…``, a path, or the last part alone."""

    def __init__(self, context: Context, arrivals: Input, algorithms: Registry) -> None:
        self._context: Context = context
        self._algorithms: Registry = algorithms
        self._config: Config = context.config
        self._input: Input = arrivals

    # --- as a dictionary

    def __getitem__(self, name: str) -> object:
        """Read one. ``KeyError`` names what is not known."""
        row = self.row(name)
        if row.setting == "-algorithms":
            return " ".join(self._algorithms.names())
        if row.setting == "-forward":
            return int(self._input.is_forwarding)
        if row.setting == "tcp_fastopen_key":
            return key_text(self._context.fast_open.keys())
        raw: object = getattr(self._config, row.setting)
        if row.setting in _CHOICES and isinstance(raw, str):
            return _CHOICES[row.setting].index(raw)
        if isinstance(raw, bool):
            return int(raw)
        unit: i64 = _UNITS_NS.get(row.unit, 1)
        if isinstance(raw, int) and unit > 1:
            return raw // unit
        return raw

    def __setitem__(self, name: str, value: object) -> None:
        """Write one: a number, a sequence of numbers, or the text that Linux would take.

        ``KeyError`` names what is not known, ``ValueError`` a value that makes no sense.
        """
        row = self.row(name)
        if row.setting == "-algorithms":
            raise ValueError(f"{row.name}: can only be read")
        if row.setting == "-forward":
            is_on = self._number(row, value, 0, 1) == 1
            self._input.is_forwarding = is_on
            self._input.neighbors.is_router = is_on
            return
        raw: object = getattr(self._config, row.setting)
        if row.setting in _CHOICES:
            words = _CHOICES[row.setting]
            at = words.index(value) if isinstance(value, str) and value in words else self._number(row, value, 0, 2)
            self._config.set(row.setting, words[at])
        elif isinstance(raw, bool):
            self._config.set(row.setting, self._number(row, value, 0, 1) == 1)
        elif isinstance(raw, tuple):
            self._config.set(row.setting, self._numbers(row, value, len(raw)))
        elif isinstance(raw, int):
            unit: i64 = _UNITS_NS.get(row.unit, 1)
            self._config.set(row.setting, self._number(row, value, row.low, row.high) * unit)
        else:
            self._set_text(row, value)

    def __contains__(self, name: object) -> bool:
        """Tell whether there is one of that name."""
        return isinstance(name, str) and self._find(name) is not None

    def __iter__(self) -> Iterator[str]:
        """Go through the full names, in order."""
        return iter(self.keys())

    def __len__(self) -> int:
        """Count them."""
        return len(_ROWS)

    def keys(self) -> list[str]:
        """List the full names, in order."""
        return sorted(_ROWS)

    def items(self) -> list[tuple[str, object]]:
        """List full names and values, in order."""
        return [(name, self[name]) for name in self.keys()]

    def get(self, name: str, default: object = None) -> object:
        """Read one, or give ``default`` if there is none."""
        try:
            return self[name]
        except KeyError:
            return default

    def update(self, values: dict[str, object]) -> None:
        """Write several."""
        for name, value in values.items():
            self[name] = value

    # --- more

    def text(self, name: str) -> str:
        """Read one as Linux's file shows it: several numbers with tabs between them."""
        value = self[name]
        return "\t".join(str(number) for number in value) if isinstance(value, tuple) else str(value)

    def row(self, name: str) -> Sysctl:
        """Return what is known of one. ``KeyError`` names what is not."""
        full = self._find(name)
        if full is None:
            raise KeyError(f"{name}: no such sysctl here; list(…sysctl) gives all")
        return _ROWS[full]

    def _find(self, name: str) -> str | None:
        key = name.removeprefix("/proc/sys/").strip("/").replace("/", ".")
        if key in _ROWS:
            return key
        return _SHORT.get(key)

    def _number(self, row: Sysctl, value: object, low: i64, high: i64) -> int:
        if isinstance(value, str):
            try:
                number = int(value.strip(), 0)
            except ValueError:
                raise ValueError(f"{row.name}: {value!r} is not a number") from None
        elif isinstance(value, int):
            number = int(value)
        else:
            raise ValueError(f"{row.name}: {value!r} is not a number")
        if not low <= number <= high:
            raise ValueError(f"{row.name}: {number} is not from {low} to {high}")
        return number

    def _numbers(self, row: Sysctl, value: object, count: int) -> tuple[int, ...]:
        parts: list[object] = []
        if isinstance(value, str):
            parts.extend(value.split())
        elif isinstance(value, (tuple, list)):
            parts.extend(value)
        if len(parts) != count:
            raise ValueError(f"{row.name}: {value!r} is not {count} numbers")
        numbers = tuple([self._number(row, part, row.low, row.high) for part in parts])
        if list(numbers) != sorted(numbers):
            raise ValueError(f"{row.name}: {value!r} does not rise")
        return numbers

    def _set_text(self, row: Sysctl, value: object) -> None:
        if not isinstance(value, str):
            raise ValueError(f"{row.name}: {value!r} is not text")
        text = value.strip()
        if row.setting == "tcp_congestion_control" and text not in self._algorithms.names():
            known = ", ".join(self._algorithms.names())
            raise ValueError(f"{row.name}: no congestion control {text!r} among {known}")
        if row.setting == "tcp_fastopen_key" and text:
            try:
                text = key_text(key_bytes(text))
            except ValueError as error:
                raise ValueError(f"{row.name}: {error}") from None
        self._config.set(row.setting, text)
