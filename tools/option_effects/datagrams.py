"""Effects of options on datagrams, and of those of IP."""

from __future__ import annotations

import select
import socket
import struct
import time
from typing import Any

from tools.option_effects.ends import Effect, End, Program, result_of

__all__ = ["DATAGRAMS"]

SOL, UDP, IP, IP6 = socket.SOL_SOCKET, socket.IPPROTO_UDP, socket.IPPROTO_IP, socket.IPPROTO_IPV6
UDP_CORK = 1
IP_MTU_DISCOVER, IP_RECVERR, IP_MTU, IP_RECVTTL, IP_PKTINFO, IP_RECVTOS = 10, 11, 14, 12, 8, 13
IPV6_MTU_DISCOVER, IPV6_MTU, IPV6_RECVERR = 23, 24, 25
_DONT, _WANT, _DO, _PROBE = 0, 1, 2, 3
_V4, _V6 = socket.AF_INET, socket.AF_INET6
_WAIT_S = 3.0
_TRIES = 4


def _to_far(end: End, family: int, options: list[tuple[int, int, Any]]) -> socket.socket:
    """Make a UDP socket whose peer has said that it is there."""
    one = end.make(family, socket.SOCK_DGRAM, options)
    one.settimeout(0.1)
    for _ in range(200):
        one.sendto(b"?", end.address(family))
        try:
            one.recvfrom(100)
        except OSError:
            continue
        break
    while True:  # answers to what was asked twice
        try:
            one.recvfrom(100)
        except OSError:
            break
    one.settimeout(_WAIT_S)
    return one


def _serve(end: End, family: int, options: list[tuple[int, int, Any]]) -> tuple[socket.socket, list[tuple[Any, ...]]]:
    """Answer questions, and collect what else comes until nothing does for some seconds."""
    one = end.bound(family, options)
    found: list[tuple[Any, ...]] = []
    while True:
        text, ancillary, flags, source = one.recvmsg(65536, 512)
        if text == b"?":
            one.sendto(b"!", source)
        elif text == b"end":
            return one, found
        else:
            found.append((text, sorted((level, kind, data) for level, kind, data in ancillary), flags & ~0x80000000))


def _marks(family: int) -> tuple[Program, Program]:
    level = IP if family == _V4 else IP6
    ttl, tos = (socket.IP_TTL, socket.IP_TOS) if family == _V4 else (socket.IPV6_UNICAST_HOPS, socket.IPV6_TCLASS)
    asks = ((IP_RECVTTL, IP_RECVTOS, IP_PKTINFO) if family == _V4 else
            (socket.IPV6_RECVHOPLIMIT, socket.IPV6_RECVTCLASS, socket.IPV6_RECVPKTINFO))

    def near(end: End) -> None:
        one = _to_far(end, family, [(level, ttl, 42), (level, tos, 0x28)])
        one.sendto(b"marked", end.address(family))
        one.setsockopt(level, ttl, -1 if family == _V6 else 64)
        one.setsockopt(level, tos, 0)
        one.sendto(b"plain", end.address(family))
        one.sendto(b"end", end.address(family))

    def far(end: End) -> None:
        _, found = _serve(end, family, [(level, name, 1) for name in asks])
        for text, ancillary, _ in found:
            end.tell(text, [(kind, _without_index(kind, family, data)) for _, kind, data in ancillary])

    return near, far


def _without_index(kind: int, family: int, data: bytes) -> bytes:
    """Leave out the interface's number, which each world chooses for itself, and the address that went with it."""
    if family == _V4 and kind == IP_PKTINFO:
        return data[8:]
    return data[:16] if family == _V6 and kind == socket.IPV6_PKTINFO else data


def _not_asked(family: int) -> tuple[Program, Program]:
    def near(end: End) -> None:
        one = _to_far(end, family, [])
        one.sendto(b"text", end.address(family))
        one.sendto(b"end", end.address(family))

    def far(end: End) -> None:
        end.tell(_serve(end, family, [])[1])

    return near, far


def _discovery(family: int) -> tuple[Program, Program]:
    level, name, mtu = (IP, IP_MTU_DISCOVER, IP_MTU) if family == _V4 else (IP6, IPV6_MTU_DISCOVER, IPV6_MTU)

    def near(end: End) -> None:
        one = _to_far(end, family, [])
        for value in (_DONT, _WANT, _DO, _PROBE):
            one.setsockopt(level, name, value)
            end.tell_of(f"3,000 bytes with {value}", lambda: one.sendto(bytes(3000), end.address(family)))
            end.tell_of(f"1,000 bytes with {value}", lambda: one.sendto(bytes(1000), end.address(family)))
        one.connect(end.address(family))
        end.tell("MTU", one.getsockopt(level, mtu))
        one.send(b"end")

    def far(end: End) -> None:
        end.tell([len(text) for text, _, _ in _serve(end, family, [])[1]])

    return near, far


def _errors(family: int, *, is_asked: bool) -> tuple[Program, Program]:
    level, name = (IP, IP_RECVERR) if family == _V4 else (IP6, IPV6_RECVERR)

    def near(end: End) -> None:
        one = _to_far(end, family, [])
        one.setsockopt(level, name, int(is_asked))
        one.settimeout(1.2)  # hosts send so many errors a second, and others of these effects ask for some
        closed = end.address(family, at=1)
        results = [result_of(lambda: (one.sendto(b"text", closed), one.recv(10))) for _ in range(_TRIES)]
        end.tell("recv tells of an error", "ECONNREFUSED" in results)
        end.tell("queue", _error_queue(one, level, name))
        one.connect(closed)
        results = [result_of(lambda: (one.send(b"text"), time.sleep(1.2))) for _ in range(_TRIES)]
        end.tell("send tells of an error if connected", "ECONNREFUSED" in results)
        last = end.make(family, socket.SOCK_DGRAM)
        last.sendto(b"end", end.address(family))

    def far(end: End) -> None:
        _serve(end, family, [])

    return near, far


def _error_queue(one: socket.socket, level: int, name: int) -> Any:
    try:
        text, ancillary, flags, address = one.recvmsg(100, 512, socket.MSG_ERRQUEUE)
    except OSError as error:
        return type(error).__name__
    told = [struct.unpack("=IBBB", data[:7]) for lvl, kind, data in ancillary if (lvl, kind) == (level, name)]
    return text, told, (flags & socket.MSG_ERRQUEUE) != 0, address[1] > 0


def _broadcast_near(end: End) -> None:
    one = _to_far(end, _V4, [])
    everybody = (end.address()[0].rpartition(".")[0] + ".255", end.port)
    end.tell_of("without it", lambda: one.sendto(b"text", everybody))
    one.setsockopt(SOL, socket.SO_BROADCAST, 1)
    end.tell_of("with it", lambda: one.sendto(b"text", everybody))
    one.sendto(b"end", end.address())


def _plain_far(end: End) -> None:
    for text, _, _ in _serve(end, _V4, [])[1]:
        end.tell(text)


def _cork_near(end: End) -> None:
    one = _to_far(end, _V4, [])
    one.connect(end.address())
    one.setsockopt(UDP, UDP_CORK, 1)
    one.send(b"one ")
    one.send(b"datagram")
    one.setsockopt(UDP, UDP_CORK, 0)
    one.send(b"two")
    one.send(b"end")


def _share_far(end: End) -> None:
    both = [end.make(_V4, socket.SOCK_DGRAM, [(SOL, socket.SO_REUSEPORT, 1)]) for _ in range(2)]
    for one in both:
        end.tell_of("bind", lambda one=one: one.bind(("", end.port)))
    without = end.make(_V4, socket.SOCK_DGRAM)
    end.tell_of("bind without it", lambda: without.bind(("", end.port)))
    counts = [0, 0]
    while sum(counts) < 40:
        ready = select.select(both, [], [], 10)[0]
        if not ready:
            break
        for one in ready:
            text, source = one.recvfrom(10)
            one.sendto(text, source)
            counts[both.index(one)] += 1
    end.tell("both get datagrams", min(counts) > 0)


def _share_near(end: End) -> None:
    for _ in range(40):
        one = end.make(_V4, socket.SOCK_DGRAM)
        one.settimeout(0.3)
        for _ in range(30):
            one.sendto(b"x", end.address())
            try:
                one.recv(10)
            except OSError:
                continue
            break


def _wait_near(end: End) -> None:
    one = end.make(_V4, socket.SOCK_DGRAM, [(SOL, socket.SO_RCVTIMEO, struct.pack("@ll", 1, 0))])
    one.bind(("", 0))
    one.setblocking(True)
    end.tell_seconds("recv", lambda: one.recv(10))


def _nothing(end: End) -> None:
    """Do nothing: the other side alone has a story."""


def _effect(name: str, options: str, programs: tuple[Program, Program]) -> Effect:
    return Effect(name, tuple(options.split()), programs[0], programs[1])


DATAGRAMS: list[Effect] = [
    _effect("TTL, TOS and where to", "IP_TTL IP_TOS IP_RECVTTL IP_RECVTOS IP_PKTINFO", _marks(_V4)),
    _effect("hop limit, traffic class and where to",
            "IPV6_UNICAST_HOPS IPV6_TCLASS IPV6_RECVHOPLIMIT IPV6_RECVTCLASS IPV6_RECVPKTINFO", _marks(_V6)),
    _effect("nothing that was not asked for", "IP_RECVTTL IP_RECVTOS IP_PKTINFO", _not_asked(_V4)),
    _effect("nothing that was not asked for, IPv6", "IPV6_RECVHOPLIMIT IPV6_RECVTCLASS IPV6_RECVPKTINFO",
            _not_asked(_V6)),
    _effect("large datagrams", "IP_MTU_DISCOVER IP_MTU", _discovery(_V4)),
    _effect("large datagrams, IPv6", "IPV6_MTU_DISCOVER IPV6_MTU", _discovery(_V6)),
    _effect("errors are queued", "IP_RECVERR", _errors(_V4, is_asked=True)),
    _effect("errors are not queued", "IP_RECVERR", _errors(_V4, is_asked=False)),
    _effect("errors are queued, IPv6", "IPV6_RECVERR", _errors(_V6, is_asked=True)),
    _effect("errors are not queued, IPv6", "IPV6_RECVERR", _errors(_V6, is_asked=False)),
    _effect("broadcasts", "SO_BROADCAST", (_broadcast_near, _plain_far)),
    _effect("datagrams in parts", "UDP_CORK", (_cork_near, _plain_far)),
    _effect("a UDP port for two", "SO_REUSEPORT", (_share_near, _share_far)),
    _effect("a call that waits for a datagram gives up", "SO_RCVTIMEO", (_wait_near, _nothing)),
]
