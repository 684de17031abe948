"""What other systems choose where the RFCs leave a choice, as settings of a stack.

``profile_config("freebsd")`` gives a ``Config`` that behaves as that system does on the wire: how options are laid out,
how large windows and buffers are, how long things last.
"""

from __future__ import annotations

from estab.tcp.config import Config
from estab.units import MS, SECOND

__all__ = ["PROFILES", "profile_config"]

PROFILES: tuple[str, ...] = ("estab", "linux", "freebsd")
"""Every profile's name; ``estab`` is the stack's own defaults."""


def profile_config(name: str) -> Config:
    """Give the settings of a system. ``ValueError`` where no profile has that name."""
    if name not in PROFILES:
        raise ValueError(f"profile: {name!r} is not one of {', '.join(PROFILES)}")
    config = Config()
    if name == "linux":
        config.tcp_syn_retries = 6
        config.tcp_rfc1337 = False
    elif name == "freebsd":
        config.tcp_rmem = (4096, 65536, 2097152)
        config.tcp_wmem = (4096, 32768, 2097152)
        config.tcp_rto_min_ns = 30 * MS
        config.tcp_rto_max_ns = 64 * SECOND
        config.tcp_timewait_ns = 60 * SECOND
        config.tcp_quick_acks = 0
        config.tcp_syncookies = "when full"
    return config
