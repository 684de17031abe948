"""The kernel's end of a device (Linux): is it there, is it up; and by netlink, its addresses and routes.

``pyroute2`` is imported only to change something, which needs CAP_NET_ADMIN and raises ``PermissionError`` without.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from estab.devices.linux import fcntl

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SystemDevice", "await_running", "configure", "find", "peer_address"]

_IFF_UP: Final = 1
_IFF_RUNNING: Final = 0x40
_RUNNING_WITHIN_S: Final = 1.0
_RUNNING_LOOK_S: Final = 0.001
_SIOCGIFFLAGS: Final = 0x8913
_SIOCGIFADDR: Final = 0x8915


@dataclass(frozen=True, slots=True)
class SystemDevice:
    """An interface of the kernel, as far as a stack on it has to know it."""

    name: str
    is_up: bool
    has_addresses: bool
    """The kernel has an address of its own on it, of either version but IPv6's link-local ones."""


def find(name: str) -> SystemDevice | None:
    """Look at an interface; ``None`` if there is none of that name. Needs no netlink, and so is quick."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            flags = struct.unpack_from("H", _request(probe, _SIOCGIFFLAGS, name), 16)[0]
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return SystemDevice(name, bool(flags & _IFF_UP), _has_v4(probe, name) or _has_v6(name))


def _request(probe: socket.socket, number: int, name: str) -> bytes:
    return fcntl.ioctl(probe.fileno(), number, struct.pack("16s24x", name.encode()))


def _has_v4(probe: socket.socket, name: str) -> bool:
    try:
        _request(probe, _SIOCGIFADDR, name)
    except OSError:
        return False
    return True


def _has_v6(name: str) -> bool:
    try:
        with open("/proc/thread-self/net/if_inet6") as file:
            rows = [line.split() for line in file]
    except OSError:
        return False
    return any(row[5] == name and not row[0].startswith("fe8") for row in rows if len(row) == 6)


def configure(name: str, *, mtu: int = 0, addresses: Sequence[str] = (), routes: Sequence[str] = ()) -> None:
    """Bring an interface up, with an MTU (0: as it is), addresses (``"10.7.0.1/24"``) and routes to prefixes.

    What is there already is left. ``OSError`` names what the kernel refused.
    """
    with _netlink() as netlink:
        found = netlink.link_lookup(ifname=name)
        if not found:
            raise OSError(errno.ENODEV, f"no such device: {name}")
        index = found[0]
        change: dict[str, Any] = {"index": index, "state": "up"}
        if mtu:
            change["mtu"] = mtu
        _ask(f"set {name} up", netlink.link, "set", **change)
        for text in addresses:
            address, _, bits = text.partition("/")
            _ask(f"give {name} the address {text}", netlink.addr, "add", index=index, address=address,
                 prefixlen=int(bits), **({"flags": _NODAD} if ":" in address else {}))
        for prefix in routes:
            _ask(f"route {prefix} to {name}", netlink.route, "add", dst=prefix, oif=index)


_NODAD = 2
"""IFA_F_NODAD: usable at once. No other host on the link could have the address."""


def await_running(name: str) -> None:
    """Wait until the kernel sends by an interface that is up: it notices a TUN's new reader after a while.

    Before that it discards what it sends, silently. After a second this returns in any case.
    """
    give_up_s = time.monotonic() + _RUNNING_WITHIN_S
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        while time.monotonic() < give_up_s:
            try:
                flags = struct.unpack_from("H", _request(probe, _SIOCGIFFLAGS, name), 16)[0]
            except OSError:
                return
            if not flags & _IFF_UP or flags & _IFF_RUNNING:
                return
            time.sleep(_RUNNING_LOOK_S)


def peer_address(prefix: str) -> str | None:
    """Choose the kernel's address in the network of ``prefix``, which is the stack's: the first that is another one.

    ``None`` if the network has no room for two.
    """
    interface = ipaddress.ip_interface(prefix)
    network = interface.network
    if network.prefixlen == network.max_prefixlen:
        return None
    is_pair = network.prefixlen == network.max_prefixlen - 1
    for offset in (0, 1) if is_pair else (1, 2):
        address = network.network_address + offset
        if address != interface.ip:
            return f"{address}/{network.prefixlen}"
    return None


def _ask(what: str, call: Any, *words: Any, **more: Any) -> None:
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        call(*words, **more)
    except NetlinkError as error:
        if error.code == errno.EEXIST:  # as it was asked for
            return
        raise OSError(error.code, f"can't {what}: {error.args[-1]}") from None


@contextmanager
def _netlink() -> Iterator[Any]:
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        yield netlink
