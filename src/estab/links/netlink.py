"""The kernel's end of a link, by netlink (Linux): is it there, is it up, its addresses and routes.

By ``pyroute2``. What changes something needs CAP_NET_ADMIN, and raises ``PermissionError``
without.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Device", "configure", "find", "peer_address"]

_IFF_UP = 1
_IFF_LOOPBACK = 8
_ARPHRD_ETHER = 1


@dataclass(frozen=True, slots=True)
class Device:
    """An interface of the kernel. ``kind`` is ``tun``, ``veth`` …, ``""`` for a card; ``addresses`` with prefixes."""

    index: int
    name: str
    kind: str
    mtu: int
    mac: bytes
    is_up: bool
    is_ethernet: bool
    is_loopback: bool
    addresses: list[str] = field(default_factory=list)


def find(name: str) -> Device | None:
    """Look at an interface; ``None`` where there is none of that name."""
    with _netlink() as netlink:
        for message in netlink.get_links():
            if message.get("ifname") == name or message.get_attr("IFLA_IFNAME") == name:
                return _device(netlink, message)
    return None


def configure(name: str, *, mtu: int = 0, addresses: Sequence[str] = (), routes: Sequence[str] = ()) -> None:
    """Bring an interface up, with an MTU (0: as it is), addresses (``"10.7.0.1/24"``) and routes to prefixes.

    What is there already is left. ``OSError`` names what the kernel refused.
    """
    with _netlink() as netlink:
        found = netlink.link_lookup(ifname=name)
        if not found:
            raise OSError(19, f"no such device: {name}")
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
"""IFA_F_NODAD: usable at once. Nobody else is on the link who could have the address."""


def peer_address(prefix: str) -> str | None:
    """Choose the kernel's address in the network of ``prefix``, which is the stack's: the first that is another one.

    ``None`` where the network has no room for two.
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
        if error.code == 17:  # EEXIST: as it was asked for
            return
        raise OSError(error.code, f"can't {what}: {error.args[-1]}") from None


def _device(netlink: Any, message: Any) -> Device:
    index = message["index"]
    info = message.get_attr("IFLA_LINKINFO")
    kind = info.get_attr("IFLA_INFO_KIND") if info is not None else None
    mac = message.get_attr("IFLA_ADDRESS") or ""
    return Device(
        index, message.get_attr("IFLA_IFNAME"), kind or "", message.get_attr("IFLA_MTU"),
        bytes.fromhex(mac.replace(":", "")) if mac else b"", bool(message["flags"] & _IFF_UP),
        message["ifi_type"] == _ARPHRD_ETHER, bool(message["flags"] & _IFF_LOOPBACK),
        [f"{one.get_attr('IFA_ADDRESS')}/{one['prefixlen']}" for one in netlink.get_addr(index=index)],
    )


@contextmanager
def _netlink() -> Iterator[Any]:
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        yield netlink
