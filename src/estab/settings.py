"""Settings of a stack as users write them: by name, durations as seconds or words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, TypedDict

from estab.tcp.config import NAMES, Config
from estab.tcp.profile import profile_config
from estab.units import SECOND, US, duration_ns

__all__ = [
    "BacklogPolicy", "Calendar", "Drift", "Duration", "Settings", "SynCookies", "read_calendar", "read_config",
    "read_drift",
]

Duration: TypeAlias = int | float | str
"""A number of seconds, or words: ``"40ms"``, ``"1.5s"``, ``"2h"``."""

Calendar: TypeAlias = int | float | str | datetime
"""What a calendar is set to: a date (``"2026-03-01 12:00"``, in UTC if it names no zone, or a ``datetime``), or by how
much it is set forward or back: ``"+1h"``, ``"-90s"``, or seconds."""

Drift: TypeAlias = int | float | str
"""By how much a clock is fast or, below 0, slow: ``"50ppm"``, ``"-0.1%"``, or a share of one."""

BacklogPolicy: TypeAlias = Literal["accept", "sum", "syn"]
"""What a listener's backlog counts: established connections that wait, those and half-open ones, or half-open ones."""
SynCookies: TypeAlias = Literal["never", "when full", "always"]


class Settings(TypedDict, total=False):
    """The settings of a stack, as keywords of ``Network.host`` and ``Stack``. ``estab.tcp.config.Config`` says more."""

    tcp_syn_retries: int
    tcp_synack_retries: int
    tcp_syn_linear_timeouts: int
    tcp_abort_on_overflow: bool
    somaxconn: int
    tcp_max_syn_backlog: int
    backlog_policy: BacklogPolicy
    tcp_syncookies: SynCookies
    tcp_syn_recycle: bool
    tcp_max_orphans: int
    tcp_fastopen: int
    tcp_fastopen_key: str
    tcp_fastopen_blackhole_timeout: Duration
    tcp_fastopen_negative: Duration
    tcp_fastopen_experimental: bool
    tcp_timestamps: bool
    tcp_sack: bool
    tcp_dsack: bool
    tcp_window_scaling: bool
    tcp_bsd_option_order: bool
    tcp_drop_synfin: bool
    tcp_blackhole: int
    tcp_repeat_fin: bool
    tcp_repeat_syn: bool
    tcp_timewait_needs_ack: bool
    tcp_round_buffers: bool
    tcp_rmem: tuple[int, int, int]
    tcp_mem: tuple[int, int, int]
    tcp_wmem: tuple[int, int, int]
    tcp_moderate_rcvbuf: bool
    rmem_max: int
    wmem_max: int
    tcp_rto_initial: Duration
    tcp_rto_min: Duration
    tcp_rto_max: Duration
    tcp_retries1: int
    tcp_retries2: int
    tcp_orphan_retries: int
    tcp_thin_linear_timeouts: bool
    tcp_initial_cwnd: int
    tcp_reordering: int
    tcp_max_reordering: int
    tcp_recovery: int
    tcp_min_rtt_wlen: Duration
    tcp_early_retrans: int
    tcp_frto: int
    tcp_congestion_control: str
    cubic_hystart: int
    cubic_hystart_detect: int
    cubic_hystart_low_window: int
    cubic_hystart_ack_delta: Duration
    tcp_ecn: int
    tcp_ecn_fallback: bool
    tcp_ecn_option: int
    tcp_ecn_option_beacon: int
    tcp_abe: bool
    tcp_slow_start_after_idle: bool
    tcp_notsent_lowat: int
    tcp_pacing: bool
    tcp_pacing_ss_ratio: int
    tcp_pacing_ca_ratio: int
    tcp_min_tso_segs: int
    tcp_tso_win_divisor: int
    tcp_delack: Duration
    tcp_delack_max: Duration
    tcp_quick_acks: int
    tcp_fin_timeout: Duration
    tcp_timewait: Duration
    tcp_max_tw_buckets: int
    tcp_tw_reuse: int
    tcp_tw_reuse_delay: Duration
    tcp_rfc1337: bool
    tcp_keepalive_time: Duration
    tcp_keepalive_intvl: Duration
    tcp_keepalive_probes: int
    tcp_challenge_ack_limit: int
    tcp_invalid_ratelimit: Duration
    tcp_insecure_rst: bool
    tcp_insecure_syn: bool
    tcp_answer_early_acks: bool
    tcp_min_snd_mss: int
    tcp_mtu_probing: int
    tcp_base_mss: int
    tcp_mtu_probe_floor: int
    tcp_probe_threshold: int
    tcp_probe_interval: Duration
    ip_no_pmtu_disc: bool
    route_mtu_expires: Duration
    route_min_pmtu: int
    ipfrag_time: Duration
    ip6frag_time: Duration
    ipfrag_high_thresh: int
    auto_flowlabels: int
    flowlabel_reflect: int
    icmp_ratelimit: Duration
    icmp_msgs_per_sec: int
    icmp_msgs_burst: int
    igmp_max_memberships: int
    igmp_max_msf: int
    mld_max_msf: int
    ip_local_port_range: tuple[int, int]
    ip_default_ttl: int
    reply_queue_max: int
    fastopen_cookies_max: int


def read_config(words: Mapping[str, object], profile: str = "estab") -> Config:
    """Read settings by their names in ``estab.tcp.config.Config``, on top of a profile's.

    ``TypeError`` for a name that there is not; ``ValueError`` for a value that it can't have.
    """
    config = profile_config(profile)
    value: Any
    for name, value in words.items():
        full = f"{name}_ns" if f"{name}_ns" in NAMES else name
        if full not in NAMES:
            near = difflib.get_close_matches(name, NAMES, 1)
            hint = f"; did you mean {near[0].removesuffix('_ns')}?" if near else ""
            raise TypeError(f"a host has no setting {name!r}{hint}")
        is_words = full.endswith("_ns") and (full != name or isinstance(value, str))
        if isinstance(value, int) and value < 0:
            raise ValueError(f"{name}: {value} is negative")
        config.set(full, duration_ns(value, name) if is_words else value)
    return config


def read_calendar(value: Calendar, wall_ns: int, name: str = "clock") -> int:
    """Give what a calendar that says ``wall_ns`` (nanoseconds since 1970) is to say instead.

    ``TypeError``, ``ValueError`` for what is neither a date nor a length of time with its sign.
    """
    if type(value) is int and value == 0:
        return wall_ns
    if isinstance(value, str) and re.match(r"\s*[+-]", value):
        text = value.strip()
        return _calendar(wall_ns + duration_ns(text[1:], name) * (-1 if text[0] == "-" else 1), value, name)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _calendar(wall_ns + duration_ns(abs(value), name) * (-1 if value < 0 else 1), value, name)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise ValueError(f'{name}: cannot read {value!r}; write a date like "2026-03-01 12:00", or by how much to '
                             'set the clock, like "+1h"') from None
    if not isinstance(value, datetime):
        raise TypeError(f'{name}: {value!r} is neither a date like "2026-03-01 12:00" nor a length of time like "+1h"')
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    gone = value - datetime(1970, 1, 1, tzinfo=UTC)
    return _calendar((gone.days * 86_400 + gone.seconds) * SECOND + gone.microseconds * US, value, name)


def _calendar(wall_ns: int, value: object, name: str) -> int:
    if not 0 <= wall_ns < 1 << 62:
        raise ValueError(f"{name}: {value!r} is no time from 1970 to 2115")
    return wall_ns


def read_drift(value: Drift, name: str = "drift") -> int:
    """Read how fast or slow a clock is. Returns parts of a billion. ``TypeError``, ``ValueError``."""
    if type(value) is int and value == 0:
        return 0
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError(f'{name}: {value!r} is neither a number nor a text like "50ppm"')
    if value == 0:
        return 0
    text = str(value).strip().lower()
    scale = next((size for unit, size in (("ppm", 1_000), ("ppb", 1), ("%", 10_000_000)) if text.endswith(unit)), 0)
    try:
        ppb = round(float(text.rstrip("pbm%")) * (scale or 1_000_000_000))
    except ValueError:
        raise ValueError(f'{name}: cannot read {value!r}; write it like "50ppm" or "-0.1%"') from None
    if abs(ppb) > 500_000_000:
        raise ValueError(f"{name}: {value!r}: a clock that is off by more than half can't be had")
    return ppb
