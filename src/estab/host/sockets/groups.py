"""Multicast groups: which a host has joined on which interface, and what a socket says of them (RFC 1112, RFC 3493,
RFC 3678).

- A socket joins a group on one interface; the host takes packets to it there until the last such socket leaves or is
  closed. Errnos and what decides the interface are Linux's.
- A datagram to a group goes to every socket that has its port and whose address fits. With IP_MULTICAST_ALL off it
  needs to be a member itself, too.
- A socket's own host gets a copy if it has joined (IP_MULTICAST_LOOP of the sender).
- A member takes what comes from all sources but some, or from some alone. The host takes what any of its members takes.
- Groups reach the hosts of one link or switch. We differ: joining tells nobody, there is no IGMP and no MLD. So
  switches flood, and no router forwards groups.
"""

from __future__ import annotations

import errno
from typing import Final

from mypy_extensions import i64

from estab.abi import AF_INET
from estab.errors import os_error
from estab.host.ip.interface import Interface
from estab.host.ip.paths import HostPaths
from estab.wire.address import format_address, is_loopback, is_multicast

__all__ = ["ALL_HOSTS", "Groups", "Multicast"]

ALL_HOSTS: Final = (b"\xe0\0\0\x01", b"\xff\x01" + b"\0" * 13 + b"\x01", b"\xff\x02" + b"\0" * 13 + b"\x01")
"""The groups that every host is in: 224.0.0.1 (RFC 1112 section 4), ff01::1 and ff02::1 (RFC 4291 section 2.7.1)."""


class Membership:
    """One group that a socket has joined. ``given`` is the address by which it named the interface."""

    def __init__(self, group: bytes, index: i64, given: bytes, is_include: bool) -> None:
        self.group: bytes = group
        self.index: i64 = index
        self.given: bytes = given
        self.is_include: bool = is_include
        """Only ``sources`` are heard (MCAST_INCLUDE), or all but them (MCAST_EXCLUDE)."""
        self.sources: list[bytes] = []
        self.is_filter_set: bool = False
        """A source was named: as on Linux, the mode then stays, even if none is left."""

    def hears(self, source: bytes) -> bool:
        """Tell whether the member takes what a source sends to its group."""
        return (source in self.sources) == self.is_include

    def use(self, sources: list[bytes], is_include: bool) -> None:
        """Let the filter be this one."""
        self.is_include = is_include
        self.sources = sources
        self.is_filter_set = len(sources) > 0


class Multicast:
    """What a socket says of multicast."""

    def __init__(self, family: i64) -> None:
        self.memberships: list[Membership] = []
        self.ttl: i64 = 1
        """IP_MULTICAST_TTL; with 0 what is sent to a group that the host has joined does not leave it."""
        self.hops: i64 = 1
        """IPV6_MULTICAST_HOPS."""
        self.is_looped: bool = True
        """IP_MULTICAST_LOOP: members on the own host get a copy."""
        self.is_looped_v6: bool = True
        """IPV6_MULTICAST_LOOP."""
        self.takes_all: bool = family == AF_INET
        """IP_MULTICAST_ALL: it gets what comes to its port for groups that others on this host have joined."""
        self.takes_all_v6: bool = True
        """IPV6_MULTICAST_ALL."""
        self.index: i64 = 0
        """IP_MULTICAST_IF: the interface to send by; 0: the route's."""
        self.source: bytes = b""
        """IP_MULTICAST_IF: the address to send from, if it was named."""
        self.index_v6: i64 = 0
        """IPV6_MULTICAST_IF."""

    def takes(self, group: bytes, index: i64, source: bytes) -> bool:
        """Tell whether the socket wants what came for a group by an interface."""
        for membership in self.memberships:
            if membership.group == group and membership.index == index:
                return membership.hears(source)
        return self.takes_all if len(group) == 4 else self.takes_all_v6

    def loops(self, is_v4: bool) -> bool:
        """Tell whether the own host is to get a copy of what is sent."""
        return self.is_looped if is_v4 else self.is_looped_v6

    def hops_for(self, is_v4: bool) -> i64:
        """Return how far what is sent to a group goes."""
        return self.ttl if is_v4 else self.hops

    def scope_for(self, remote: bytes, scope: i64) -> i64:
        """Return the interface to send by, ``scope`` if that is one; 0: the way there decides."""
        if scope != 0 or not is_multicast(remote):
            return scope
        return self.index if len(remote) == 4 else self.index_v6


class Groups:
    """The groups that one host has joined."""

    def __init__(self, paths: HostPaths) -> None:
        self.paths: HostPaths = paths
        self._members: dict[bytes, list[Membership]] = {}
        """What sockets have joined, by group and interface."""

    def has(self, group: bytes, index: i64, source: bytes) -> bool:
        """Tell whether the host takes what ``source`` sends to a group: some member of it does on that interface. All
        hosts are in the groups of all hosts.
        """
        if group in ALL_HOSTS:
            return True
        members = self._members.get(_key(group, index))
        if members is None:
            return False
        for member in members:
            if member.hears(source):
                return True
        return False

    def join(self, multicast: Multicast, group: bytes, address: bytes, index: i64, is_include: bool = False) -> None:
        """Join on the interface of that index or address; with neither, on that of the route to the group.
        ``is_include``: nothing is heard until sources are named.

        EINVAL if it is no group, ENODEV, EADDRINUSE if the socket has joined there, ENOBUFS.
        """
        interface = self._interface_for(group, address, index)
        for membership in multicast.memberships:
            if membership.group == group and (membership.index == interface.index or (
                    len(group) == 16 and index == 0)):
                raise os_error(errno.EADDRINUSE, f"address already in use: the socket has joined "
                               f"{format_address(group)} on {interface.name} already")
        most = self.paths.context.config.igmp_max_memberships
        if len(multicast.memberships) >= most:
            raise os_error(errno.ENOBUFS, f"no buffer space available: a socket joins {most} groups at most "
                           "(igmp_max_memberships)")
        made = Membership(group, interface.index, address, is_include)
        multicast.memberships.append(made)
        self._members.setdefault(_key(group, interface.index), []).append(made)

    def leave(self, multicast: Multicast, group: bytes, address: bytes, index: i64) -> None:
        """Leave a group on that interface; with neither index nor address, the one that was joined first.

        EADDRNOTAVAIL if the socket has not joined it; ENODEV, EINVAL.
        """
        if len(group) == 16 and not is_multicast(group):
            raise os_error(errno.EINVAL, f"invalid argument: {format_address(group)} is no multicast group")
        if len(group) == 4 and index == 0 and not address and self.find_interface(group, b"", 0) is None:
            raise _no_device(b"", 0)
        for membership in multicast.memberships:
            if membership.group != group:
                continue
            if membership.index == index if index != 0 else not address or membership.given == address:
                multicast.memberships.remove(membership)
                self._forget(membership)
                return
        raise os_error(errno.EADDRNOTAVAIL, f"cannot assign requested address: the socket has not joined "
                       f"{format_address(group)} there")

    def add_source(self, multicast: Multicast, group: bytes, address: bytes, index: i64, source: bytes,
                   is_include: bool) -> None:
        """Name one more source: to be heard, or not to be heard. Linux's order of checks.

        EINVAL if the socket has not joined or named sources of the other kind, ENODEV, ENOBUFS, EADDRNOTAVAIL if the
        source was named before.
        """
        member = self._member(multicast, group, address, index)
        _use_mode(member, is_include)
        if member.is_filter_set:
            self.ensure_few(group, len(member.sources) + 1)
        if source in member.sources:
            raise os_error(errno.EADDRNOTAVAIL, f"cannot assign requested address: {format_address(source)} was named "
                           f"for {format_address(group)} already")
        member.sources.append(source)
        member.is_filter_set = True

    def drop_source(self, multicast: Multicast, group: bytes, address: bytes, index: i64, source: bytes,
                    is_include: bool) -> None:
        """Take a source back. With the last one that is heard, the socket leaves the group.

        Errors as ``add_source``; EADDRNOTAVAIL if it was not named.
        """
        member = self._member(multicast, group, address, index)
        _use_mode(member, is_include)
        if source not in member.sources:
            raise os_error(errno.EADDRNOTAVAIL, f"cannot assign requested address: {format_address(source)} was not "
                           f"named for {format_address(group)}")
        member.sources.remove(source)
        if is_include and not member.sources:
            multicast.memberships.remove(member)
            self._forget(member)

    def set_filter(self, multicast: Multicast, group: bytes, address: bytes, index: i64, sources: list[bytes],
                   is_include: bool) -> None:
        """Name all sources at once (IP_MSFILTER, MCAST_MSFILTER). No sources to be heard: leave the group.

        EINVAL if it is no group, or the socket has not joined it; ENODEV; ENOBUFS; EADDRNOTAVAIL.
        """
        interface = self._interface_for(group, address, index)
        if is_include and not sources:
            self.leave(multicast, group, address, interface.index if len(group) == 4 else index)
        else:
            self._member(multicast, group, address, index, is_anywhere=False).use(sources, is_include)

    def ensure_few(self, group: bytes, count: i64) -> None:
        """Raise ENOBUFS if a filter has more sources than ``igmp_max_msf`` or ``mld_max_msf`` allows."""
        config = self.paths.context.config
        most = config.igmp_max_msf if len(group) == 4 else config.mld_max_msf
        if count > most:
            name = "igmp_max_msf" if len(group) == 4 else "mld_max_msf"
            raise os_error(errno.ENOBUFS, f"no buffer space available: a filter has {most} sources at most ({name})")

    def leave_all(self, multicast: Multicast) -> None:
        """Leave what a socket that is closed had joined."""
        while multicast.memberships:
            self._forget(multicast.memberships.pop())

    def find_interface(self, group: bytes, address: bytes, index: i64) -> Interface | None:
        """Find the interface that a program means."""
        interfaces = self.paths.interfaces
        if index != 0:
            return interfaces[index] if 0 < index < len(interfaces) else None
        if address:
            return interfaces[0] if is_loopback(address) else self.paths.local.get(address)
        path = self.paths.find(group)
        return None if path is None else path.interface

    def _interface_for(self, group: bytes, address: bytes, index: i64) -> Interface:
        if not is_multicast(group):
            raise os_error(errno.EINVAL, f"invalid argument: {format_address(group)} is no multicast group")
        interface = self.find_interface(group, address, index)
        if interface is None:
            raise _no_device(address, index)
        return interface

    def _member(self, multicast: Multicast, group: bytes, address: bytes, index: i64,
                is_anywhere: bool = True) -> Membership:
        """Find what the socket has joined there. For IPv6 without an index: what it joined first, on any interface, or
        nothing, if it is not ``is_anywhere``.
        """
        interface = self._interface_for(group, address, index)
        place = interface.index if len(group) == 4 else index
        for membership in multicast.memberships:
            if membership.group == group and (membership.index == place or (place == 0 and is_anywhere)):
                return membership
        raise os_error(errno.EINVAL, f"invalid argument: the socket has not joined {format_address(group)} there")

    def _forget(self, membership: Membership) -> None:
        key = _key(membership.group, membership.index)
        members = self._members[key]
        members.remove(membership)
        if not members:
            del self._members[key]


def _use_mode(member: Membership, is_include: bool) -> None:
    """As on Linux: a filter that no source was named for may change its mode, even if the call then fails."""
    if member.is_include != is_include:
        if member.is_filter_set:
            words = "to be heard" if member.is_include else "not to be heard"
            raise os_error(errno.EINVAL, f"invalid argument: for {format_address(member.group)} sources {words} were "
                           "named, and a filter has one kind")
        member.is_include = is_include


def _key(group: bytes, index: i64) -> bytes:
    number: int = index
    return group + number.to_bytes(2, "big")


def _no_device(address: bytes, index: i64) -> OSError:
    what = f"of index {index}" if index != 0 else f"with {format_address(address)}" if address else "for it by a route"
    return os_error(errno.ENODEV, f"no such device: this host has no interface {what}")
