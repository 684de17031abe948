"""The frames by which hosts on a link find each other: ARP's, Neighbor Solicitations and Advertisements."""

from __future__ import annotations

from mypy_extensions import i64

from estab.host.ip.interface import Interface
from estab.wire import arp, ethernet, ip, nd
from estab.wire.address import multicast_mac, solicited_node
from estab.wire.icmp_message import Message

__all__ = ["advertisement_frame", "arp_frame", "solicitation_frame"]


def arp_frame(
    interface: Interface, operation: i64, to: bytes, sender: bytes, target: bytes, target_mac: bytes,
) -> bytes:
    """Build an ARP message from ``interface`` to the MAC address ``to``."""
    message = arp.Arp(operation, interface.mac, sender, target_mac, target)
    return ethernet.emit(to, interface.mac, ethernet.ARP, arp.emit(message))


def solicitation_frame(interface: Interface, source: bytes, target: bytes, mac: bytes) -> bytes:
    """Build a Neighbor Solicitation for ``target``: to its solicited-node group, or to ``mac`` if one is known."""
    destination = target if mac else solicited_node(target)
    to = mac if mac else multicast_mac(destination)
    return _frame(interface, to, nd.NeighborSolicitation(target, interface.mac), source, destination)


def advertisement_frame(interface: Interface, mac: bytes, target: bytes, destination: bytes, is_solicited: bool,
                        is_router: bool) -> bytes:
    """Build a Neighbor Advertisement of our address ``target``."""
    message = nd.NeighborAdvertisement(target, is_router=is_router, is_solicited=is_solicited, is_override=True,
                                       link_address=interface.mac)
    return _frame(interface, mac, message, target, destination)


def _frame(interface: Interface, mac: bytes, message: Message, source: bytes, destination: bytes) -> bytes:
    packet = ip.emit(source, destination, ip.ICMPV6, nd.emit(message, source, destination), nd.HOP_LIMIT)
    return ethernet.emit(mac, interface.mac, ethernet.IPV6, packet)
