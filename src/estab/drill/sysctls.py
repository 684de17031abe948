"""System-wide settings by the names of Linux and of FreeBSD, and what they are here.

A name of Linux's TCP that ``Config`` has too is set there, whatever the spelling (dots, slashes, ``/proc/sys``). Those
that say how a kernel does its work, rather than what it does, are known and change nothing. All others fail by name.
"""

from __future__ import annotations

from typing import Final

from estab.drill.errors import Unsupported
from estab.tcp.config import NAMES, Config
from estab.units import MS, SECOND

__all__ = ["Sysctls"]

_SYNCOOKIES: Final = {"0": "never", "1": "when full", "2": "always"}
_FREEBSD: Final = {
    "net.inet.tcp.rfc1323": "tcp_timestamps", "net.inet.tcp.sack.enable": "tcp_sack", "net.inet.tcp.delayed_ack": "",
    "net.inet.tcp.insecure_rst": "tcp_insecure_rst", "net.inet.tcp.insecure_syn": "tcp_insecure_syn",
    "net.inet.tcp.syncookies": "tcp_syncookies", "net.inet.tcp.initcwnd_segments": "tcp_initial_cwnd",
    "net.inet.tcp.msl": "", "net.inet.tcp.cc.algorithm": "tcp_congestion_control",
    "net.inet.tcp.keepidle": "tcp_keepalive_time", "net.inet.tcp.keepintvl": "tcp_keepalive_intvl",
    "net.inet.tcp.keepcnt": "tcp_keepalive_probes", "net.inet.tcp.ecn.enable": "tcp_ecn",
    "net.inet.tcp.path_mtu_discovery": "ip_no_pmtu_disc",
}
_HOW_NOT_WHAT: Final = {
    "tcp_tso_win_divisor": "a kernel's choice of when to gather super-segments",
    "tcp_min_tso_segs": "a kernel's choice of super-segment sizes",
    "tcp_fack": "gone from Linux since 4.15",
    "tcp_autocorking": "waits for a device queue, which is not here",
    "tcp_limit_output_bytes": "bounds a device queue, which is not here",
    "tcp_no_metrics_save": "metrics of old connections are not kept here",
}
_UNIT_NS: Final = {"tcp_delack_ns": MS, "tcp_rto_min_ns": MS, "tcp_rto_max_ns": MS, "tcp_invalid_ratelimit_ns": MS}


class Sysctls:
    """Settings of one host, by name, with what ``restore`` puts back."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._old: dict[str, object] = {}

    def set(self, name: str, value: str) -> None:
        """Set one. ``Unsupported`` names what is not known, or a value that can't be had."""
        attribute = self._attribute(name)
        if attribute is None:
            return
        old: object = getattr(self.config, attribute)
        text = value.strip()
        try:
            self.config.set(attribute, self._read(attribute, text, old))
        except (ValueError, TypeError) as error:
            raise Unsupported(f"sysctl {name}={text}: {error}") from None

    def remember(self, name: str) -> None:
        """Note a setting for ``restore``."""
        attribute = self._attribute(name)
        if attribute is not None:
            self._old.setdefault(attribute, getattr(self.config, attribute))

    def restore(self) -> None:
        """Put back what was noted."""
        for attribute, value in self._old.items():
            self.config.set(attribute, value)
        self._old.clear()

    def _attribute(self, name: str) -> str | None:
        """Find the setting; ``None`` for one that changes nothing here."""
        key = name.removeprefix("/proc/sys/").replace("/", ".")
        if key.startswith("net.inet."):
            short = _FREEBSD.get(key)
            if short is None:
                raise Unsupported(f"unknown sysctl {name}")
        else:
            short = key.rpartition(".")[2]
        if not short or short in _HOW_NOT_WHAT:
            return None
        for candidate in (short, f"{short}_ns"):
            if candidate in NAMES:
                return candidate
        raise Unsupported(f"unknown sysctl {name}")

    def _read(self, attribute: str, text: str, old: object) -> object:
        if attribute == "tcp_syncookies":
            return _SYNCOOKIES.get(text, text)
        if isinstance(old, bool):
            return int(text, 0) != 0
        if isinstance(old, tuple):
            return tuple(int(word, 0) for word in text.split())
        if isinstance(old, int):
            unit = _UNIT_NS.get(attribute, SECOND) if attribute.endswith("_ns") else 1
            return int(text, 0) * unit
        return text
