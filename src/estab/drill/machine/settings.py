"""Options of a run: from the caller, then from the script's top, which wins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from estab.drill.errors import UnsupportedError
from estab.units import US
from estab.wire.address import format_address, parse_address

__all__ = ["IP_VERSIONS", "PROFILES", "Settings"]

IP_VERSIONS: Final = ("ipv4", "ipv4-mapped-ipv6", "ipv6")
PROFILES: Final = ("linux", "estab", "freebsd", "neutral")
_ADDRESSES: Final = {4: ("192.168.0.1", "192.0.2.1"), 6: ("fd3d:a0b:17d6::1", "fd3d:fa7b:d17d::1")}
_IGNORED: Final = (
    "gateway_ip", "netmask_ip", "speed", "so_filename", "so_flags", "code_command", "send_omit_free", "is_anyip",
    "verbose", "wire_client", "wire_server", "wire_server_ip", "wire_client_dev", "wire_server_dev", "wire_server_port",
    "use_expect", "persistent_tun_dev", "debug", "dry_run", "psp_udp_port",
)
"""They say how the real packetdrill reaches a kernel, which is of no matter here."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a script is run. Sizes are bytes, times nanoseconds; addresses are empty for the version's own."""

    ip_version: str = "ipv4"
    profile: str = "linux"
    defines: Mapping[str, str] = field(default_factory=dict)
    local_ip: str = ""
    remote_ip: str = ""
    bind_port: int = 8080
    connect_port: int = 8080
    mtu: int = 0
    """0: 1500, and 1520 over IPv6, so that the MSS is 1460 either way; for FreeBSD 1500, as its scripts expect."""
    tolerance_ns: int = 4000 * US
    tolerance_percent: float = 12.5
    ts_tick_ns: int = 0
    """0: timestamps are not compared."""
    has_scaled_ecr: bool = False
    is_strict: bool = False
    """A segment of the script is one packet, not several that follow each other."""
    is_packet_fatal: bool = True
    is_call_fatal: bool = True
    init_scripts: tuple[str, ...] = ()

    @property
    def is_v6(self) -> bool:
        """Packets are IPv6."""
        return self.ip_version == "ipv6"

    @property
    def is_neutral(self) -> bool:
        """Only what standards fix is compared."""
        return self.profile == "neutral"

    @property
    def local(self) -> str:
        """The address of the host under test. One of the other IP version is left aside: a script may run in both."""
        is_usable = bool(self.local_ip) and (":" in self.local_ip) == self.is_v6
        return self.local_ip if is_usable else _ADDRESSES[6 if self.is_v6 else 4][0]

    @property
    def remote(self) -> str:
        """The script's own address; of the other IP version as for ``local``."""
        is_usable = bool(self.remote_ip) and (":" in self.remote_ip) == self.is_v6
        return self.remote_ip if is_usable else _ADDRESSES[6 if self.is_v6 else 4][1]

    @property
    def link_mtu(self) -> int:
        """The MTU of the link between both."""
        return self.mtu or (1520 if self.is_v6 and self.profile != "freebsd" else 1500)

    def with_option(self, name: str, value: str) -> Settings:
        """Apply ``--name=value`` of a script. ``UnsupportedError`` names an option that is not known."""
        if name in _IGNORED or name == "define":
            return self
        setter = _OPTIONS.get(name)
        if setter is None:
            raise UnsupportedError(f"unknown option --{name}")
        try:
            return setter(self, value)
        except ValueError:
            raise UnsupportedError(f"--{name}: {value!r} is no value for it") from None


def _address(value: str) -> str:
    return format_address(parse_address(value))


def _version(settings: Settings, value: str) -> Settings:
    if value not in IP_VERSIONS:
        raise ValueError(value)
    return replace(settings, ip_version=value)


def _non_fatal(settings: Settings, value: str) -> Settings:
    kinds = value.split(",")
    if not {"packet", "syscall"}.issuperset(kinds):
        raise ValueError
    return replace(settings, is_packet_fatal="packet" not in kinds, is_call_fatal="syscall" not in kinds)


def _count(value: str) -> int:
    if int(value) < 0:
        raise ValueError
    return int(value)


def _share(value: str) -> float:
    if not float(value) >= 0:
        raise ValueError
    return float(value)


def _port(value: str) -> int:
    if not 1 <= int(value) <= 65535:
        raise ValueError
    return int(value)


def _refuse(why: str) -> Callable[[Settings, str], Settings]:
    def refuse(settings: Settings, value: str) -> Settings:
        raise UnsupportedError(why)

    return refuse


_OPTIONS: Final[dict[str, Callable[[Settings, str], Settings]]] = {
    "ip_version": _version,
    "non_fatal": _non_fatal,
    "local_ip": lambda settings, value: replace(settings, local_ip=_address(value)),
    "remote_ip": lambda settings, value: replace(settings, remote_ip=_address(value)),
    "bind_port": lambda settings, value: replace(settings, bind_port=_port(value)),
    "connect_port": lambda settings, value: replace(settings, connect_port=_port(value)),
    "mtu": lambda settings, value: replace(settings, mtu=_count(value)),
    "mss": lambda settings, value: settings,
    "tolerance_usecs": lambda settings, value: replace(settings, tolerance_ns=_count(value) * US),
    "tolerance_percent": lambda settings, value: replace(settings, tolerance_percent=_share(value)),
    "tcp_ts_tick_usecs": lambda settings, value: replace(settings, ts_tick_ns=_count(value) * US),
    "tcp_ts_ecr_scaled": lambda settings, value: replace(settings, has_scaled_ecr=True),
    "strict_segments": lambda settings, value: replace(settings, is_strict=True),
    "init_scripts": lambda settings, value: replace(settings, init_scripts=tuple(value.split(","))),
    "udp_encapsulation": _refuse("UDP encapsulation (--udp_encapsulation): TCP over UDP, RFC 6951's way, is not here"),
    "tcp_md5_secret": _refuse("MD5 signatures (--tcp_md5_secret): RFC 2385 is not here"),
}
