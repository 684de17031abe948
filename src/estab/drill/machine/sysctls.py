"""System-wide settings by the names of Linux and of FreeBSD, and what they are here.

The stack's own table (``estab.host.sysctls``) takes Linux's names, whatever the spelling (dots, slashes,
``/proc/sys``). FreeBSD's are aliases, some in another unit. Those that say how a kernel does its work, rather than what
it does, are known and change nothing. All others fail by name.
"""

from __future__ import annotations

from typing import Final

from estab.drill.errors import UnsupportedError
from estab.drill.machine import freebsd
from estab.host.sysctls import Sysctls as HostSysctls
from estab.tcp.config import Config

__all__ = ["Sysctls"]

_FREEBSD: Final = {"net.inet.tcp.cc.algorithm": "tcp_congestion_control"}
_CONTROLS: Final = {"newreno": "reno"}
"""FreeBSD's names of congestion controls that have another one here."""
_HOW_NOT_WHAT: Final = {
    "tcp_fack": "gone from Linux since 4.15",
    "tcp_autocorking": "waits for a device queue, which is not here",
    "tcp_limit_output_bytes": "bounds a device queue, which is not here",
    "tcp_no_metrics_save": "metrics of old connections are not kept here",
}


class Sysctls:
    """Settings of one host, by name, with what ``restore`` puts back."""

    def __init__(self, table: HostSysctls, config: Config) -> None:
        self._table = table
        self._config = config
        self.unknown: dict[str, None] = {}
        """FreeBSD's settings that are not known, in order: they changed nothing."""
        self._old: dict[str, object] = {}

    def set(self, name: str, value: str) -> None:
        """Set one. ``UnsupportedError`` names what is not known, or a value that can't be had."""
        text = value.strip()
        if freebsd.is_freebsd(name) and name not in _FREEBSD:
            self._set_freebsd(name, text)
            return
        known = self._known(name)
        if known is None:
            return
        try:
            self._table[known] = _CONTROLS.get(text, text)
        except ValueError as error:
            raise UnsupportedError(f"sysctl {name}={text}: {error}") from None

    def _set_freebsd(self, name: str, text: str) -> None:
        setter = freebsd.SET.get(name)
        if setter is not None:
            try:
                setter(self._config, int(text, 0))
            except (ValueError, TypeError) as error:
                raise UnsupportedError(f"sysctl {name}={text}: {error}") from None
        elif name in freebsd.FIXED:
            if text not in freebsd.FIXED[name]:
                raise UnsupportedError(f"sysctl {name}={text}: here it is {freebsd.FIXED[name][0]}, always")
        elif name not in freebsd.IDLE:
            self.unknown.setdefault(name)

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
