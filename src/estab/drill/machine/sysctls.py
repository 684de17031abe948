"""System-wide settings by the names of Linux and of FreeBSD, and what they are here.

The stack's own table (``estab.host.sysctls``) takes Linux's names, whatever the spelling (dots, slashes,
``/proc/sys``). FreeBSD's are aliases, some in another unit. Those that say how a kernel does its work, rather than what
it does, are known and change nothing. All others fail by name.
"""

from __future__ import annotations

from typing import Final

from estab.drill.errors import UnsupportedError
from estab.host.sysctls import Sysctls as HostSysctls

__all__ = ["Sysctls"]

_FREEBSD: Final = {
    "net.inet.tcp.rfc1323": "tcp_timestamps", "net.inet.tcp.sack.enable": "tcp_sack",
    "net.inet.tcp.insecure_rst": "tcp_insecure_rst", "net.inet.tcp.insecure_syn": "tcp_insecure_syn",
    "net.inet.tcp.syncookies": "tcp_syncookies", "net.inet.tcp.initcwnd_segments": "tcp_initial_cwnd",
    "net.inet.tcp.cc.algorithm": "tcp_congestion_control",
    "net.inet.tcp.keepidle": "tcp_keepalive_time", "net.inet.tcp.keepintvl": "tcp_keepalive_intvl",
    "net.inet.tcp.keepcnt": "tcp_keepalive_probes", "net.inet.tcp.ecn.enable": "tcp_ecn",
    "net.inet.tcp.path_mtu_discovery": "ip_no_pmtu_disc",
}
_MILLISECONDS: Final = ("net.inet.tcp.keepidle", "net.inet.tcp.keepintvl")
"""What FreeBSD counts in milliseconds and Linux in seconds."""
_INVERTED: Final = ("net.inet.tcp.path_mtu_discovery",)
_HOW_NOT_WHAT: Final = {
    "tcp_fack": "gone from Linux since 4.15",
    "tcp_autocorking": "waits for a device queue, which is not here",
    "tcp_limit_output_bytes": "bounds a device queue, which is not here",
    "tcp_no_metrics_save": "metrics of old connections are not kept here",
    "net.inet.tcp.delayed_ack": "acknowledgments are always delayed here, as TCP_QUICKACK says",
    "net.inet.tcp.msl": "TIME-WAIT lasts as long as Linux's",
}


class Sysctls:
    """Settings of one host, by name, with what ``restore`` puts back."""

    def __init__(self, table: HostSysctls) -> None:
        self._table = table
        self._old: dict[str, object] = {}

    def set(self, name: str, value: str) -> None:
        """Set one. ``UnsupportedError`` names what is not known, or a value that can't be had."""
        known = self._known(name)
        if known is None:
            return
        text = value.strip()
        try:
            if name in _MILLISECONDS:
                self._table[known] = int(text) // 1000
            elif name in _INVERTED:
                self._table[known] = int(text == "0")
            else:
                self._table[known] = text
        except ValueError as error:
            raise UnsupportedError(f"sysctl {name}={text}: {error}") from None

    def remember(self, name: str) -> None:
        """Note a setting for ``restore``."""
        known = self._known(name)
        if known is not None:
            self._old.setdefault(known, self._table[known])

    def restore(self) -> None:
        """Put back what was noted."""
        for name, value in self._old.items():
            self._table[name] = value
        self._old.clear()

    def text(self, name: str) -> str:
        """Return the line that ``sysctl NAME`` prints."""
        known = self._known(name)
        if known is None:
            raise UnsupportedError(f"sysctl {name}: it changes nothing here, and so has no value")
        return f"{known} = {self._table.text(known)}\n"

    def _known(self, name: str) -> str | None:
        """Find the setting's name in the stack's table; ``None`` for one that changes nothing here."""
        key = name.removeprefix("/proc/sys/").replace("/", ".")
        if key in _HOW_NOT_WHAT or (key.startswith("net.ipv4.") and key[9:] in _HOW_NOT_WHAT):
            return None
        key = _FREEBSD.get(key, key)
        if key not in self._table:
            raise UnsupportedError(f"unknown sysctl {name}")
        return self._table.row(key).name
