"""Effects of the options of multicast: who gets what is sent to a group, from where, and how far it goes."""

from __future__ import annotations

import socket
import struct
from typing import Any

from tools.option_effects.datagrams import IP, IP6, IP_RECVTTL, SOL, _to_far
from tools.option_effects.ends import Effect, End, Program, result_of

__all__ = ["GROUPS"]

_V4, _V6 = socket.AF_INET, socket.AF_INET6
IP_MULTICAST_ALL, IPV6_MULTICAST_ALL = 49, 29
IPV6_RECVHOPLIMIT = 51
_GROUP = {_V4: "239.77.1.1", _V6: "ff02::7:7701"}
_OTHER = {_V4: "239.77.1.2", _V6: "ff02::7:7702"}
_REUSE = [(SOL, socket.SO_REUSEADDR, 1)]
_SHORT_S = 1.0


def _level(family: int) -> int:
    return IP if family == _V4 else IP6


def _asked(family: int, group: str) -> bytes:
    """Make what joins a group: on the interface of the route to it."""
    packed = socket.inet_pton(family, group)
    return packed + bytes(4) if family == _V4 else packed + struct.pack("i", _interface())


def _interface() -> int:
    """Return the number of the interface that is not lo: the hosts have one."""
    return next(number for number, name in socket.if_nameindex() if name != "lo")


def _joins(family: int) -> tuple[int, int]:
    if family == _V4:
        return socket.IP_ADD_MEMBERSHIP, socket.IP_DROP_MEMBERSHIP
    return socket.IPV6_JOIN_GROUP, socket.IPV6_LEAVE_GROUP


def _own(end: End, family: int) -> str:
    """Return the address by which the peer knows this host."""
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.connect(end.address(family))
        return str(one.getsockname()[0])


def _member(end: End, family: int, group: str | None, bound_to: str = "") -> socket.socket:
    """Make a UDP socket on the port of the effect, one of several, that has joined a group."""
    one = end.make(family, socket.SOCK_DGRAM, _REUSE)
    if family == _V4 and bound_to:
        one.bind((bound_to, end.port))
    else:
        one.bind((bound_to, end.port, 0, _interface()) if bound_to else ("", end.port))
    if group is not None:
        if family == _V4:
            mreq = socket.inet_aton(group) + socket.inet_aton(_own(end, family))
            one.setsockopt(IP, socket.IP_ADD_MEMBERSHIP, mreq)
        else:
            one.setsockopt(IP6, socket.IPV6_JOIN_GROUP, _asked(family, group))
    one.settimeout(_SHORT_S)
    return one


def _sender(end: End, family: int, options: list[tuple[int, int, Any]]) -> socket.socket:
    """Make a socket that sends to groups by the link, once the peer says that it is ready."""
    one = _to_far(end, family, options)
    if family == _V4:
        one.setsockopt(IP, socket.IP_MULTICAST_IF, socket.inet_aton(_own(end, family)))
    else:
        one.setsockopt(IP6, socket.IPV6_MULTICAST_IF, _interface())
    return one


def _to(end: End, family: int, group: str) -> Any:
    return (group, end.port) if family == _V4 else (group, end.port, 0, 0)


def _all_of(one: socket.socket) -> list[bytes]:
    """Collect what comes until nothing does for a second. A question of the peer's is answered."""
    found: list[bytes] = []
    while True:
        try:
            text, source = one.recvfrom(4096)
        except TimeoutError:
            return found
        if text == b"?":
            one.sendto(b"!", source)
        else:
            found.append(text)


def _answer(door: socket.socket) -> None:
    """Wait until the peer has asked whether this host is ready, and tell it."""
    door.settimeout(20)
    while True:
        text, source = door.recvfrom(100)
        if text == b"?":
            door.sendto(b"!", source)
            door.settimeout(_SHORT_S)
            return


def _members(family: int) -> tuple[Program, Program]:
    """Two members, one that is none but takes all, one that does not, and one that has joined another group."""

    def near(end: End) -> None:
        one = _sender(end, family, [])
        for text, group in ((b"to the group", _GROUP[family]), (b"to another", _OTHER[family])):
            one.sendto(text, _to(end, family, group))

    def far(end: End) -> None:
        door = end.make(family, socket.SOCK_DGRAM, _REUSE)
        door.bind(("", end.port))
        members = [_member(end, family, _GROUP[family]) for _ in range(2)]
        members += [_member(end, family, _OTHER[family]), _member(end, family, None), _member(end, family, None)]
        name = IP_MULTICAST_ALL if family == _V4 else IPV6_MULTICAST_ALL
        for member in (*members[:3], members[4]):
            member.setsockopt(_level(family), name, 0)
        bound = _member(end, family, _GROUP[family], bound_to=_GROUP[family])
        end.tell("joined again", result_of(lambda: members[0].setsockopt(
            _level(family), _joins(family)[0], _joined(end, family))))
        members[1].setsockopt(_level(family), _joins(family)[1], _joined(end, family))
        # The newest socket of the port gets what is sent to the host alone.
        _answer(members[4])
        for what, member in (("member", members[0]), ("left", members[1]), ("of another group", members[2]),
                             ("of none", members[3]), ("of none, not all", members[4]), ("bound to it", bound)):
            end.tell(what, _all_of(member))

    return near, far


def _joined(end: End, family: int) -> bytes:
    if family == _V4:
        return socket.inet_aton(_GROUP[_V4]) + socket.inet_aton(_own(end, _V4))
    return _asked(_V6, _GROUP[_V6])


def _hops(family: int) -> tuple[Program, Program]:
    """How far: the default, other numbers, and 0 with and without a member on the own host."""
    level = _level(family)
    name = socket.IP_MULTICAST_TTL if family == _V4 else socket.IPV6_MULTICAST_HOPS

    def near(end: End) -> None:
        one = _sender(end, family, [])
        for number in (None, 7, 0, 255):
            if number is not None:
                one.setsockopt(level, name, number)
            one.sendto(str(number).encode(), _to(end, family, _GROUP[family]))
        one.setsockopt(level, name, 0)
        _member(end, family, _GROUP[family])
        one.sendto(b"0, joined here", _to(end, family, _GROUP[family]))
        one.setsockopt(level, socket.IP_MULTICAST_LOOP if family == _V4 else socket.IPV6_MULTICAST_LOOP, 0)
        one.sendto(b"0, joined here, no copies", _to(end, family, _GROUP[family]))
        one.sendto(b"to the host", end.address(family))

    def far(end: End) -> None:
        one = _member(end, family, _GROUP[family])
        one.setsockopt(level, IP_RECVTTL if family == _V4 else IPV6_RECVHOPLIMIT, 1)
        _answer(one)
        while True:
            try:
                text, items, _, _ = one.recvmsg(100, 100)
            except TimeoutError:
                return
            if text == b"?":
                continue
            end.tell(text, [struct.unpack("i", data)[0] for _, _, data in items])

    return near, far


def _loop(family: int) -> tuple[Program, Program]:
    """Whether the own host gets a copy."""
    level = _level(family)
    name = socket.IP_MULTICAST_LOOP if family == _V4 else socket.IPV6_MULTICAST_LOOP

    def near(end: End) -> None:
        one = _sender(end, family, [])
        member = _member(end, family, _GROUP[family])
        for number in (1, 0):
            one.setsockopt(level, name, number)
            one.sendto(f"loop {number}".encode(), _to(end, family, _GROUP[family]))
        one.setsockopt(level, name, 1)
        one.sendto(b"not joined", _to(end, family, _OTHER[family]))
        end.tell("here", _all_of(member))

    def far(end: End) -> None:
        one = _member(end, family, _GROUP[family])
        _answer(one)
        end.tell("there", _all_of(one))

    return near, far


def _source() -> tuple[Program, Program]:
    """The address that it comes from, by IP_MULTICAST_IF, and by a peer that is connected to the group."""

    def near(end: End) -> None:
        one = _sender(end, _V4, [])
        own = _own(end, _V4)
        one.sendto(b"by interface", _to(end, _V4, _GROUP[_V4]))
        one.connect(_to(end, _V4, _GROUP[_V4]))
        end.tell("its own address", one.getsockname()[0] == own, one.getpeername()[0])
        one.send(b"by connect")

    def far(end: End) -> None:
        one = _member(end, _V4, _GROUP[_V4])
        peer = end.address(_V4)[0]
        _answer(one)
        while True:
            text, source = one.recvfrom(100)
            if text != b"?":
                end.tell(text, source[0] == peer)
            if text == b"by connect":
                return

    return near, far


def _effects(family: int, words: str) -> list[Effect]:
    names = (("IP_ADD_MEMBERSHIP", "IP_DROP_MEMBERSHIP", "IP_MULTICAST_ALL"), ("IP_MULTICAST_TTL",),
             ("IP_MULTICAST_LOOP",)) if family == _V4 else (
             ("IPV6_JOIN_GROUP", "IPV6_LEAVE_GROUP", "IPV6_MULTICAST_ALL"),
             ("IPV6_MULTICAST_HOPS", "IPV6_MULTICAST_IF"), ("IPV6_MULTICAST_LOOP", "IPV6_MULTICAST_IF"))
    return [Effect(f"who gets what is sent to a group{words}", names[0], *_members(family)),
            Effect(f"how far groups reach{words}", names[1], *_hops(family)),
            Effect(f"copies for the own host{words}", names[2], *_loop(family))]


GROUPS: list[Effect] = [
    *_effects(_V4, ""), *_effects(_V6, ", IPv6"),
    Effect("where it comes from", ("IP_MULTICAST_IF",), *_source()),
]
