"""Effects of the options that name sources of a group (RFC 3678): whom a member hears, and what each call says."""

from __future__ import annotations

import socket
import struct

from tools.option_effects.datagrams import IP, IP6, SOL
from tools.option_effects.ends import Effect, End, Program, result_of
from tools.option_effects.groups import _all_of, _answer, _interface, _level, _own, _sender, _to

__all__ = ["SOURCES"]

_V4, _V6 = socket.AF_INET, socket.AF_INET6
IP_UNBLOCK_SOURCE, IP_BLOCK_SOURCE, IP_ADD_SOURCE_MEMBERSHIP, IP_DROP_SOURCE_MEMBERSHIP, IP_MSFILTER = range(37, 42)
(MCAST_JOIN_GROUP, MCAST_BLOCK_SOURCE, MCAST_UNBLOCK_SOURCE, MCAST_LEAVE_GROUP, MCAST_JOIN_SOURCE_GROUP,
 MCAST_LEAVE_SOURCE_GROUP, MCAST_MSFILTER) = range(42, 49)
_EXCLUDE, _INCLUDE = 0, 1
_GROUP = {_V4: "239.77.2.1", _V6: "ff02::7:7721"}
_OTHER = {_V4: "239.77.2.2", _V6: "ff02::7:7722"}
_STRANGER = {_V4: "192.0.2.{}", _V6: "2001:db8::{}"}
_SOURCES_MAX = {_V4: 10, _V6: 64}
"""Linux's defaults of igmp_max_msf and mld_max_msf."""


def _storage(address: str) -> bytes:
    """Write a ``sockaddr_storage``."""
    if ":" in address:
        return struct.pack("HHI16sI100x", _V6, 0, 0, socket.inet_pton(_V6, address), 0)
    return struct.pack("HH4s120x", _V4, 0, socket.inet_aton(address))


def _group_req(group: str, index: int) -> bytes:
    return struct.pack("I4x", index) + _storage(group)


def _source_req(group: str, index: int, source: str) -> bytes:
    return struct.pack("I4x", index) + _storage(group) + _storage(source)


def _filter(group: str, index: int, mode: int, sources: list[str]) -> bytes:
    head = struct.pack("I4x", index) + _storage(group) + struct.pack("II", mode, len(sources))
    return head + b"".join(map(_storage, sources))


def _by_address(group: str, interface: str, source: str) -> bytes:
    return b"".join(map(socket.inet_aton, (group, interface, source)))


def _filter_by_address(group: str, interface: str, mode: int, sources: list[str]) -> bytes:
    head = socket.inet_aton(group) + socket.inet_aton(interface) + struct.pack("II", mode, len(sources))
    return head + b"".join(map(socket.inet_aton, sources))


class _Members:
    """The sockets of one host, by what was asked of each."""

    def __init__(self, end: End, family: int) -> None:
        self.end, self.family = end, family
        self.index = _interface()
        self.peer, self.own = str(end.address(family)[0]), _own(end, family)
        self.sockets: dict[str, socket.socket] = {}

    def ask(self, what: str, *calls: tuple[int, bytes]) -> None:
        """Make a socket, set options of it, and tell what that gave."""
        one = self.end.make(self.family, socket.SOCK_DGRAM, [(SOL, socket.SO_REUSEADDR, 1)])
        one.bind(("", self.end.port))
        one.settimeout(1.0)
        self.sockets[what] = one
        level = _level(self.family)
        self.end.tell(what, [result_of(lambda name=name, value=value: one.setsockopt(level, name, value))
                             for name, value in calls])

    def join(self, group: str = "") -> tuple[int, bytes]:
        return MCAST_JOIN_GROUP, _group_req(group or _GROUP[self.family], self.index)

    def source(self, name: int, source: str, group: str = "") -> tuple[int, bytes]:
        return name, _source_req(group or _GROUP[self.family], self.index, source)

    def filter(self, mode: int, *sources: str) -> tuple[int, bytes]:
        return MCAST_MSFILTER, _filter(_GROUP[self.family], self.index, mode, list(sources))


def _ask_by_index(all_of: _Members) -> None:
    join, peer, own = all_of.join(), all_of.peer, all_of.own

    def source(name: int, address: str) -> tuple[int, bytes]:
        return all_of.source(name, address)

    all_of.ask("the peer alone", source(MCAST_JOIN_SOURCE_GROUP, peer))
    all_of.ask("itself alone", source(MCAST_JOIN_SOURCE_GROUP, own))
    all_of.ask("both by name", source(MCAST_JOIN_SOURCE_GROUP, own), source(MCAST_JOIN_SOURCE_GROUP, peer))
    all_of.ask("no longer the peer", source(MCAST_JOIN_SOURCE_GROUP, own), source(MCAST_JOIN_SOURCE_GROUP, peer),
               source(MCAST_LEAVE_SOURCE_GROUP, peer))
    all_of.ask("not the peer", join, source(MCAST_BLOCK_SOURCE, peer))
    all_of.ask("the peer again", join, source(MCAST_BLOCK_SOURCE, peer), source(MCAST_UNBLOCK_SOURCE, peer))
    all_of.ask("only once nobody is blocked", join, source(MCAST_BLOCK_SOURCE, peer),
               source(MCAST_UNBLOCK_SOURCE, peer), source(MCAST_JOIN_SOURCE_GROUP, own))
    all_of.ask("joined, then by name", join, source(MCAST_JOIN_SOURCE_GROUP, own))
    all_of.ask("joined, and one left that was not named", join, source(MCAST_LEAVE_SOURCE_GROUP, peer))
    all_of.ask("filter: the peer alone", join, all_of.filter(_INCLUDE, peer))
    all_of.ask("filter: not the peer", join, all_of.filter(_EXCLUDE, peer))
    all_of.ask("filter: all again", join, all_of.filter(_EXCLUDE, peer), all_of.filter(_EXCLUDE))
    all_of.ask("filter: nobody, which leaves", join, all_of.filter(_INCLUDE), all_of.filter(_INCLUDE))
    all_of.ask("left by the last source", source(MCAST_JOIN_SOURCE_GROUP, peer),
               source(MCAST_LEAVE_SOURCE_GROUP, peer), source(MCAST_LEAVE_SOURCE_GROUP, peer))
    all_of.ask("of another group, itself alone", all_of.source(MCAST_JOIN_SOURCE_GROUP, own, _OTHER[all_of.family]))
    all_of.ask("of none")


def _ask_by_address(all_of: _Members) -> None:
    group, peer, own = _GROUP[_V4], all_of.peer, all_of.own

    def source(name: int, address: str) -> tuple[int, bytes]:
        return name, _by_address(group, own, address)

    join = socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + socket.inet_aton(own)
    all_of.ask("by address: the peer alone", source(IP_ADD_SOURCE_MEMBERSHIP, peer))
    all_of.ask("by address: not the peer", join, source(IP_BLOCK_SOURCE, peer))
    all_of.ask("by address: the peer again", join, source(IP_BLOCK_SOURCE, peer), source(IP_UNBLOCK_SOURCE, peer))
    all_of.ask("by address: left", source(IP_ADD_SOURCE_MEMBERSHIP, peer), source(IP_DROP_SOURCE_MEMBERSHIP, peer))
    all_of.ask("by address, filter: not the peer", join,
               (IP_MSFILTER, _filter_by_address(group, own, _EXCLUDE, [peer])))
    all_of.ask("by address, filter: the peer alone", join,
               (IP_MSFILTER, _filter_by_address(group, own, _INCLUDE, [peer])))


def _hears(family: int) -> tuple[Program, Program]:
    """Whom members with different filters hear, of two hosts that send."""

    def near(end: End) -> None:
        one = _sender(end, family, [])
        for group in (_GROUP[family], _OTHER[family]):
            one.sendto(b"from near to " + group.encode(), _to(end, family, group))

    def far(end: End) -> None:
        all_of = _Members(end, family)
        _ask_by_index(all_of)
        if family == _V4:
            _ask_by_address(all_of)
        all_of.ask("door")
        door = all_of.sockets["door"]
        _answer(door)
        one = end.make(family, socket.SOCK_DGRAM)
        one.bind((all_of.own, 0))
        if family == _V4:
            one.setsockopt(IP, socket.IP_MULTICAST_IF, socket.inet_aton(all_of.own))
        else:
            one.setsockopt(IP6, socket.IPV6_MULTICAST_IF, all_of.index)
        for group in (_GROUP[family], _OTHER[family]):
            one.sendto(b"from far to " + group.encode(), _to(end, family, group))
        for what, member in all_of.sockets.items():
            end.tell(what, sorted(_all_of(member)))
            for other in all_of.sockets.values():
                other.settimeout(0.05)  # the first has waited for all of them

    return near, far


def _errors(family: int) -> tuple[Program, Program]:
    """What each wrong call says."""

    def near(end: End) -> None:
        group, index = _GROUP[family], _interface()
        any_index = index if family == _V4 else 0  # a Linux without a route to groups knows no interface for IPv4
        level, own = _level(family), _own(end, family)
        strangers = [_STRANGER[family].format(number) for number in range(1, 100)]
        other = _STRANGER[_V6 if family == _V4 else _V4].format(1)
        of_other = _GROUP[_V6 if family == _V4 else _V4]
        unicast = strangers[0]

        def ask(what: str, *calls: tuple[int, bytes | int]) -> None:
            one = end.make(family, socket.SOCK_DGRAM)
            end.tell(what, [result_of(lambda name=name, value=value: one.setsockopt(level, name, value))
                            for name, value in calls])

        join = MCAST_JOIN_GROUP, _group_req(group, index)
        for name in (MCAST_JOIN_GROUP, MCAST_LEAVE_GROUP):
            ask("group_req", (name, _group_req(group, index)[:-1]), (name, _group_req(of_other, index)), (name, 1),
                (name, _group_req(unicast, index)), (name, _group_req(group, 9999)),
                (name, _group_req(group, any_index)), (name, _group_req(group, any_index)),
                (name, _group_req(group, any_index) + b"x"))
        for name in (MCAST_BLOCK_SOURCE, MCAST_UNBLOCK_SOURCE, MCAST_JOIN_SOURCE_GROUP, MCAST_LEAVE_SOURCE_GROUP):
            good = _source_req(group, index, strangers[0])
            ask("wrong", (name, good[:-1]), (name, good + b"x"), (name, 1), (name, _source_req(group, index, other)),
                (name, _source_req(of_other, index, strangers[0])), (name, _source_req(unicast, index, strangers[0])),
                (name, _source_req(group, 9999, strangers[0])))
            ask("not joined", (name, good), (name, good), (name, _source_req(group, any_index, strangers[0])))
            ask("joined", join, (name, good), (name, good), (name, _source_req(group, any_index, strangers[1])),
                (name, _source_req(group, any_index, strangers[1])))
            ask("blocked before", join, (MCAST_BLOCK_SOURCE, good), (name, _source_req(group, index, strangers[1])),
                (name, good))
            ask("named before", (MCAST_JOIN_SOURCE_GROUP, good), (name, _source_req(group, index, strangers[1])),
                (name, good), (MCAST_LEAVE_GROUP, _group_req(group, index)))
            few = _SOURCES_MAX[family]
            ask("many", join, *((name, _source_req(group, index, source)) for source in strangers[: few + 2]))
        few = _SOURCES_MAX[family]
        good = _filter(group, index, _INCLUDE, strangers[:2])
        ask("filter", (MCAST_MSFILTER, good), (MCAST_MSFILTER, good[:143]), (MCAST_MSFILTER, good[:-1]),
            (MCAST_MSFILTER, 1), (MCAST_MSFILTER, _filter(of_other, index, _INCLUDE, strangers[:1])),
            (MCAST_MSFILTER, _filter(unicast, index, _INCLUDE, strangers[:1])),
            (MCAST_MSFILTER, _filter(group, 9999, _INCLUDE, strangers[:1])),
            (MCAST_MSFILTER, _filter(group, index, 2, strangers[:1])), (MCAST_MSFILTER, _filter(group, index, 0, [])))
        ask("filter of a group that was joined", join, (MCAST_MSFILTER, good), (MCAST_MSFILTER, good + b"x"),
            (MCAST_MSFILTER, _filter(group, index, 2, strangers[:1])),
            (MCAST_MSFILTER, _filter(group, any_index, _INCLUDE, strangers[:1])),
            (MCAST_MSFILTER, _filter(group, index, _EXCLUDE, strangers[:few])),
            (MCAST_MSFILTER, _filter(group, index, _EXCLUDE, strangers[: few + 1])),
            (MCAST_MSFILTER, _filter(group, index, _EXCLUDE, strangers[: few + 1])[:200]),
            (MCAST_JOIN_SOURCE_GROUP, _source_req(group, index, strangers[0])),
            (MCAST_MSFILTER, _filter(group, index, _EXCLUDE, [])),
            (MCAST_JOIN_SOURCE_GROUP, _source_req(group, index, strangers[0])),
            *[(MCAST_MSFILTER, _filter(group, any_index, _INCLUDE, []))] * 2)
        if family == _V6:
            return
        for name in (IP_BLOCK_SOURCE, IP_UNBLOCK_SOURCE, IP_ADD_SOURCE_MEMBERSHIP, IP_DROP_SOURCE_MEMBERSHIP):
            good = _by_address(group, own, strangers[0])
            ask("by address", (name, good[:-1]), (name, good + b"x"), (name, 1),
                (name, _by_address(unicast, own, strangers[0])), (name, _by_address(group, strangers[0], strangers[1])))
            ask("by address, not joined", (name, good), (name, good), (name, _by_address(group, own, strangers[1])))
            ask("by address, joined", join, (name, good), (name, good),
                (name, _by_address(group, own, strangers[1])))
        good = _filter_by_address(group, own, _INCLUDE, strangers[:2])
        ask("filter by address", (IP_MSFILTER, good), (IP_MSFILTER, good[:15]), (IP_MSFILTER, good[:-1]),
            (IP_MSFILTER, 1), (IP_MSFILTER, _filter_by_address(unicast, own, _INCLUDE, strangers[:1])),
            (IP_MSFILTER, _filter_by_address(group, strangers[0], _INCLUDE, strangers[:1])),
            (IP_MSFILTER, _filter_by_address(group, own, 2, strangers[:1])),
            (IP_MSFILTER, _filter_by_address(group, own, _INCLUDE, [])),
            join, (IP_MSFILTER, good), (IP_MSFILTER, _filter_by_address(group, own, _INCLUDE, strangers[:10])),
            (IP_MSFILTER, _filter_by_address(group, own, _INCLUDE, strangers[:11])),
            (IP_MSFILTER, _filter_by_address(group, own, _INCLUDE, strangers[:11])[:20]),
            (IP_MSFILTER, _filter_by_address(group, own, _INCLUDE, [])),
            (IP_MSFILTER, _filter_by_address(group, own, _INCLUDE, [])))
        ask("most groups", *((MCAST_JOIN_SOURCE_GROUP, _source_req(f"239.77.3.{number}", index, strangers[0]))
                             for number in range(1, 23)))

    def far(end: End) -> None:
        """The peer is only there for the interface."""

    return near, far


def _effects(family: int, words: str) -> list[Effect]:
    names: tuple[str, ...] = ("MCAST_JOIN_SOURCE_GROUP", "MCAST_LEAVE_SOURCE_GROUP", "MCAST_BLOCK_SOURCE",
                              "MCAST_UNBLOCK_SOURCE", "MCAST_MSFILTER")
    if family == _V4:
        names += ("IP_ADD_SOURCE_MEMBERSHIP", "IP_DROP_SOURCE_MEMBERSHIP", "IP_BLOCK_SOURCE", "IP_UNBLOCK_SOURCE",
                  "IP_MSFILTER")
    return [Effect(f"whom a member hears{words}", names, *_hears(family)),
            Effect(f"what filters of sources refuse{words}", names, *_errors(family))]


SOURCES: list[Effect] = [*_effects(_V4, ""), *_effects(_V6, ", IPv6")]
