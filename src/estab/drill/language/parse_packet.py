"""The grammar of packets, for both dialects."""

from __future__ import annotations

import re
from typing import Final

from estab.drill.language.cursor import Cursor
from estab.drill.language.lexer import Token
from estab.drill.language.parse_options import tcp_options
from estab.drill.language.syntax import (
    Encapsulation,
    IcmpPacket,
    IpInfo,
    PacketAction,
    Quote,
    Sequence,
    TcpPacket,
    UdpPacket,
)
from estab.wire.tcp import ACK, AE, CWR, ECE, FIN, PSH, RST, SYN, URG

__all__ = ["packet"]

_FLAGS: Final = {"F": FIN, "S": SYN, "R": RST, "P": PSH, "U": URG, "E": ECE, "W": CWR, "A": AE}
_ECN: Final = {"noecn": "noecn", "ect0": "ect0", "ect1": "ect1", "ce": "ce", "ect01": "ect01"}
_U8, _U16, _U20, _U32 = 0xFF, 0xFFFF, 0xFFFFF, 0xFFFFFFFF
_DSCP: Final = {
    "cs0": 0, "cs1": 8, "cs2": 16, "cs3": 24, "cs4": 32, "cs5": 40, "cs6": 48, "cs7": 56,
    "af11": 10, "af12": 12, "af13": 14, "af21": 18, "af22": 20, "af23": 22, "af31": 26, "af32": 28, "af33": 30,
    "af41": 34, "af42": 36, "af43": 38, "ef": 46,
}


def packet(cursor: Cursor) -> PacketAction:
    """Read ``< …`` or ``> …``."""
    is_inbound = cursor.take("<", ">").kind == "<"
    outer: list[Encapsulation] = []
    while (found := _encapsulation(cursor)) is not None:
        outer.append(found)
    ip = _ip_info(cursor)
    if ip.ecn == "ect01" and is_inbound:
        cursor.fail("[ect01] stands for either, and can only be expected")
    if cursor.skip_word("icmp"):
        return PacketAction(is_inbound, tuple(outer), ip, _icmp(cursor))
    if cursor.skip_word("udp"):
        return PacketAction(is_inbound, tuple(outer), ip, _udp(cursor))
    if cursor.at_word("sctp", "udplite"):
        cursor.fail(f"{cursor.token.text} packets are not spoken here")
    return PacketAction(is_inbound, tuple(outer), ip, _tcp(cursor, is_inbound))


def _encapsulation(cursor: Cursor) -> Encapsulation | None:
    if cursor.at_word("ipv4", "ipv6"):
        kind = cursor.next().text
        info = _ip_info(cursor)
        source = cursor.take("ip4" if kind == "ipv4" else "ip6").text
        cursor.take(">")
        destination = cursor.take("ip4" if kind == "ipv4" else "ip6").text
        cursor.take(":")
        details = (("tos", info.tos or 0), ("ttl", info.ttl or 0))
        return Encapsulation(kind, source, destination, details)
    if cursor.at_word("gre", "GREv0"):
        cursor.next()
        return Encapsulation("gre", details=_until_colon(cursor))
    if cursor.skip_word("mpls"):
        return Encapsulation("mpls", details=_mpls(cursor))
    return None


def _until_colon(cursor: Cursor) -> tuple[tuple[str, int], ...]:
    """Read GRE's ``flags [...], sum 1, off 2, key = 3, seq 4`` up to the colon."""
    details: list[tuple[str, int]] = []
    while not cursor.skip(":"):
        cursor.skip(",")
        name = cursor.take("word").text
        if name == "flags" and cursor.skip("["):
            number = 0
            while not cursor.skip("]"):
                word = cursor.take("word", ",").text
                number |= {"checksum": 0x8000, "key": 0x2000, "sequence": 0x1000}.get(word, 0)
        else:
            cursor.skip("=")
            number = cursor.take_number(0, _U32, name)
        details.append((name, number))
    return tuple(details)


def _mpls(cursor: Cursor) -> tuple[tuple[str, int], ...]:
    details: list[tuple[str, int]] = []
    while cursor.skip("("):
        cursor.take_word("label")
        details.append(("label", cursor.take_number(0, _U20, "label")))
        cursor.take(",")
        cursor.take_word("tc")
        details.append(("tc", cursor.take_number(0, 7, "traffic class")))
        cursor.take(",")
        if cursor.skip("["):
            cursor.take_word("S")
            cursor.take("]")
            cursor.take(",")
            details.append(("bottom", 1))
        cursor.take_word("ttl")
        details.append(("ttl", cursor.take_number(0, _U8, "ttl")))
        cursor.take(")")
    cursor.take(":")
    return tuple(details)


# --- the IP header


def _ip_info(cursor: Cursor) -> IpInfo:
    if not cursor.at("(", "["):
        return IpInfo()
    closing = ")" if cursor.next().kind == "(" else "]"
    found: dict[str, int | str] = {}
    while True:
        name, value = _ip_item(cursor)
        if name in found:
            cursor.fail(f"{name} is given twice")
        found[name] = value
        if not cursor.skip(","):
            break
    cursor.take(closing)
    ecn = found.get("ecn")
    numbers = {name: value for name, value in found.items() if isinstance(value, int)}
    return IpInfo(
        ecn if isinstance(ecn, str) else None, numbers.get("tos"), numbers.get("dscp"), numbers.get("flow_label"),
        numbers.get("ttl"),
    )


def _ip_item(cursor: Cursor) -> tuple[str, int | str]:
    word = cursor.take("word").text
    if word in _ECN:
        return "ecn", word
    if word == "ecn":
        return "ecn", cursor.take_word(*_ECN)
    if word in ("tos", "class"):
        return "tos", cursor.take_number(0, _U8, word)
    if word in ("ttl", "hlim"):
        return "ttl", cursor.take_number(0, _U8, word)
    if word == "flowlabel":
        return "flow_label", cursor.take_number(0, _U20, word)
    if word == "dscp":
        if cursor.at_word(*_DSCP):
            return "dscp", _DSCP[cursor.next().text]
        return "dscp", cursor.take_number(0, 63, word)
    return cursor.fail(f"{word!r} says nothing of an IP header", cursor.tokens[cursor.index - 1])


# --- TCP


def _tcp(cursor: Cursor, is_inbound: bool) -> TcpPacket:
    spi = None
    if cursor.skip_word("encap"):
        cursor.take_word("psp")
        cursor.take_word("spi")
        spi = cursor.take_number(0, _U32, "spi")
    ports = _ports(cursor)
    flags, ace = _tcp_flags(cursor)
    sequence = _sequence(cursor, is_inbound)
    ack = _after_word(cursor, "ack", _U32)
    win = _after_word(cursor, "win", _U16)
    urg = _after_word(cursor, "urg", _U16)
    start = cursor.token
    options = tcp_options(cursor)
    if options is None and is_inbound:
        cursor.fail("<...> for options can only be expected", start)
    diagnosis = udp_ports = None
    if cursor.skip("["):
        cursor.take_word("code")
        code = cursor.take_number(0, _U16, "code")
        cursor.take(",")
        cursor.take_word("pen")
        diagnosis = (code, cursor.take_number(0, _U32, "pen"))
        cursor.take("]")
    if cursor.skip("/"):
        cursor.take_word("udp")
        cursor.take("(")
        udp_ports = _ports(cursor)
        cursor.take(")")
    return TcpPacket(flags, ace, sequence, ack, win, urg, options, ports, spi, diagnosis, udp_ports)


def _ports(cursor: Cursor) -> tuple[int, int] | None:
    if not cursor.at("int") or cursor.ahead().kind != ">":
        return None
    source = cursor.take_number(0, _U16, "source port")
    cursor.take(">")
    return source, cursor.take_number(0, _U16, "destination port")


def _after_word(cursor: Cursor, word: str, high: int) -> int | None:
    return cursor.take_number(0, high, word) if cursor.skip_word(word) else None


def _tcp_flags(cursor: Cursor) -> tuple[int, int | None]:
    """Read ``S.``, ``-``, ``SEWA``, or with AccECN's counter ``P.5`` or ``P5.``. nplab has letters after the dot."""
    if cursor.skip("-"):
        return 0, None
    flags = 0
    ace = None
    start = cursor.token
    counted = re.fullmatch(r"([A-Z]+)([0-7])", cursor.token.text) if cursor.at("word") else None
    if counted is not None:
        ace = int(counted[2])
        for letter in counted[1]:
            flags |= _letter(cursor, letter, cursor.token)
        cursor.next()
    elif cursor.at("word"):
        flags |= _letters(cursor)
    if cursor.skip("."):
        flags |= ACK
    elif ace is None and cursor.at("float") and re.fullmatch(r"\.[0-7]", cursor.token.text):
        ace = int(cursor.next().text[1:])
        flags |= ACK
    if cursor.at("word") and flags & ACK:
        flags |= _letters(cursor)
    if flags == 0 or (ace is not None and flags & (ECE | CWR | AE)):
        cursor.fail(f"expected TCP flags, like S, P. or F., not {cursor.described()}", start)
    return flags, ace


def _letters(cursor: Cursor) -> int:
    token = cursor.take("word")
    flags = 0
    for letter in token.text:
        flags |= _letter(cursor, letter, token)
    return flags


def _letter(cursor: Cursor, letter: str, token: Token) -> int:
    if letter not in _FLAGS:
        cursor.fail(f"{letter!r} in {token.text!r} is no TCP flag: those are {' '.join(_FLAGS)} and the dot", token)
    return _FLAGS[letter]


def _sequence(cursor: Cursor, is_inbound: bool) -> Sequence:
    if cursor.at("dots"):
        if is_inbound:
            cursor.fail("'...' for a sequence number can only be expected")
        cursor.next()
        return Sequence(0, _length(cursor), is_checked=False)
    first = cursor.token
    start = cursor.take_number(0, _U32, "sequence number")
    cursor.take(":")
    end = cursor.take_number(0, _U32, "sequence number")
    length = _length(cursor)
    if (start + length) & _U32 != end:
        cursor.fail(f"{start} and {length} octets make {(start + length) & _U32}, not {end}", first)
    return Sequence(start, length, is_absolute=cursor.skip("!"))


def _length(cursor: Cursor) -> int:
    cursor.take("(")
    length = cursor.take_number(0, _U16, "length")
    cursor.take(")")
    return length


# --- UDP and ICMP


def _udp(cursor: Cursor) -> UdpPacket:
    ports = _ports(cursor)
    return UdpPacket(_length(cursor), ports)


def _icmp(cursor: Cursor) -> IcmpPacket:
    kind = cursor.take("word").text
    code = ""
    if cursor.at("word") and not cursor.at_word("mtu", "id"):
        code = cursor.next().text
    mtu = _after_word(cursor, "mtu", _U32)
    ident = _after_word(cursor, "id", _U16)
    quote = _quote(cursor) if cursor.skip("[") else None
    return IcmpPacket(kind, code, mtu, ident, quote)


def _quote(cursor: Cursor) -> Quote:
    if cursor.at_word("udp", "raw"):
        protocol = cursor.next().text
        quote = Quote(protocol, 0, _length(cursor))
    else:
        sequence = _sequence(cursor, True)
        quote = Quote("tcp", sequence.start, sequence.length)
    cursor.take("]")
    return quote
