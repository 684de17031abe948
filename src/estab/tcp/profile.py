"""What other systems chose where the RFCs leave a choice, as settings of a stack.

``profile_config("freebsd")`` gives a ``Config`` that looks like that system on the wire: the order of options, the
sizes of windows and buffers, how long things last. What a system does by other code than ours is not copied.
"""

from __future__ import annotations

from estab.tcp.config import Config
from estab.units import MS, SECOND

__all__ = ["PROFILES", "check_profile", "profile_config"]

PROFILES: tuple[str, ...] = ("estab", "linux", "freebsd")
"""Every profile's name; ``estab`` is the stack's own defaults."""


def check_profile(name: object) -> None:
    """Raise ``ValueError`` if no profile has that name."""
    if name not in PROFILES:
        raise ValueError(f"profile: {name!r} is not one of {', '.join(PROFILES)}")


def profile_config(name: str) -> Config:
    """Return the settings of a system, fresh each time. ``ValueError`` if no profile has that name."""
    check_profile(name)
    config = Config()
    if name == "linux":
        _set_linux(config)
    elif name == "freebsd":
        _set_freebsd(config)
    return config


def _set_linux(config: Config) -> None:
    """Our defaults are Linux's, except where an RFC asks for more, and for the buffer of 32 MiB since Linux 6.16."""
    config.tcp_rmem = (4096, 131072, 33554432)
    config.tcp_syn_retries = 6
    config.tcp_syn_linear_timeouts = 4
    config.tcp_answer_early_acks = False
    config.tcp_fastopen_negative_ns = 0
    config.cubic_hystart = 1


def _set_freebsd(config: Config) -> None:
    """FreeBSD 14: scale 6 from ``kern.ipc.maxsockbuf``, no quick acknowledgments, the slop in its timeouts."""
    config.tcp_bsd_option_order = True
    config.tcp_rmem = (4096, 131072, 2097152)  # of which half is window: 65535, as recvspace gives there
    config.tcp_wmem = (4096, 32768, 2097152)
    config.rmem_max = 2097152
    config.wmem_max = 2097152
    config.tcp_rto_min_ns = 230 * MS  # rexmit_min and rexmit_slop
    config.tcp_rto_max_ns = 64 * SECOND
    config.tcp_retries2 = 12
    config.tcp_syn_retries = 4  # until keepinit's 75 seconds are over
    config.tcp_synack_retries = 3
    config.tcp_quick_acks = 0
    config.tcp_delack_ns = 40 * MS
    config.tcp_delack_max_ns = 40 * MS
    config.tcp_keepalive_probes = 8
    config.tcp_rfc1337 = True
    config.tcp_drop_synfin = False
    config.tcp_repeat_fin = True
    config.tcp_repeat_syn = False
    config.tcp_round_buffers = True
    config.tcp_fastopen = 0
    config.tcp_fastopen_experimental = False
    config.tcp_fastopen_negative_ns = 900 * SECOND
    config.tcp_timewait_needs_ack = True
    config.ip_local_port_range = (10000, 65535)
