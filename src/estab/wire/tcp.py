"""TCP segments (RFC 9293 section 3.1) and their options.

Rules:

- ``parse`` gives a ``Segment`` or raises ``WireError``; ``emit_packet`` writes IP header, TCP header, options and text;
- every option that is in use is a field: MSS, window scale, SACK-permitted, SACK, timestamps, Fast Open, AccECN. All
  others are kept in ``unknown``, as are these with a length that is not theirs;
- options go out in Linux's order and padding, so that a trace looks like a trace;
- a segment is one object of plain numbers, because one is made for each packet.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from estab.errors import DropReason, WireError
from estab.wire import ip
from estab.wire.checksum import add, fold, pseudo_header
from estab.wire.octets import Writer, put8, put16, put32, put64, s64, u8, u16, u32
from estab.wire.seq import Seq

__all__ = [
    "ACCECN0_KIND", "ACCECN1_KIND", "ACK", "AE", "CWR", "ECE", "FIN", "HEADER_BYTES", "OPTIONS_BYTES_MAX", "PSH", "RST",
    "SYN", "URG", "WSCALE_MAX", "AccEcnOption", "Segment", "ecn_text", "emit", "emit_headers", "emit_packet",
    "flags_text", "flow_key", "make_key", "options_length", "options_text", "parse", "segment_length", "text_length",
]

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
URG: Final = 0x20
ECE: Final = 0x40
CWR: Final = 0x80
AE: Final = 0x100

HEADER_BYTES: Final = 20
OPTIONS_BYTES_MAX: Final = 40
WSCALE_MAX: Final = 14

EOL_KIND: Final = 0
NOP_KIND: Final = 1
MSS_KIND: Final = 2
WSCALE_KIND: Final = 3
SACK_PERMITTED_KIND: Final = 4
SACK_KIND: Final = 5
TIMESTAMPS_KIND: Final = 8
FAST_OPEN_KIND: Final = 34
ACCECN0_KIND: Final = 172
ACCECN1_KIND: Final = 174
_ACCECN_FIELDS: Final = 3
_ACCECN_FIELD_BYTES: Final = 3
EXPERIMENT_KIND: Final = 254
FAST_OPEN_MAGIC: Final = 0xF989
"""The experiment's number (RFC 6994) that Fast Open had before it had a kind of its own; some systems still use it."""

_NOP_NOP_TIMESTAMPS: Final = 0x0101080A
_SACK_AND_TIMESTAMPS: Final = 0x0402080A
_NOP_WSCALE: Final = 0x010303  # the shift follows
_SYN_OPTIONS_BYTES: Final = 20
"""MSS, SACK-permitted, timestamps, window scale: what nearly all SYNs and SYN-ACKs have, in Linux's order."""
_LETTERS: Final = "FSRP.UEWe"
"""tcpdump's letters for the flags, from bit 0 up."""
_SMALL_TEXT_BYTES: Final = 160
"""Text up to here goes through the writer, whose built-in buffer it fits; longer text is put after the header."""


@mypyc_attr(acyclic=True)
class AccEcnOption:
    """An AccECN option (RFC 9768 section 3.2.3): up to three counters of octets, 24 bits each.

    ``kind`` says in which order: 172 EE0B, ECEB, EE1B; 174 EE1B, ECEB, EE0B. The last may be left out.
    """

    def __init__(self, kind: i64, fields: list[int]) -> None:
        self.kind = kind
        self.fields = fields


@mypyc_attr(acyclic=True, free_list_len=1)  # one is made for each packet, and most are gone before the next
class Segment:
    """A TCP segment: header fields, options, and its text ``data[start:end]``.

    ``mss`` is 0, ``wscale`` -1, ``sack``, ``fast_open``, ``accecn`` and ``unknown`` ``None`` if the option is not
    there. ``sack`` holds left and right edges alternately, 32 bits each; an empty ``fast_open`` asks for a cookie.
    ``unknown`` is a list of ``(kind, value)``. ``tos`` is the traffic class byte of the IP header, with the ECN bits,
    and ``flow_label`` the label of an IPv6 header (0: none).
    ``has_bsd_order``: the options are to be written in the order that BSD systems have them.
    """

    def __init__(self, sport: i64, dport: i64, seq: Seq, ack: Seq, flags: i64, wnd: i64) -> None:
        self.sport: i64 = sport
        self.dport: i64 = dport
        self.seq: Seq = seq
        self.ack: Seq = ack
        self.flags: i64 = flags
        self.wnd: i64 = wnd
        self.urg: i64 = 0
        self.data: bytes = b""
        self.start: i64 = 0
        self.end: i64 = 0
        self.mss: i64 = 0
        self.wscale: i64 = -1
        self.ts_val: i64 = 0
        self.ts_ecr: i64 = 0
        self.tos: i64 = 0
        self.flow_label: i64 = 0
        self.sack_permitted: bool = False
        self.has_timestamps: bool = False
        self.has_bsd_order: bool = False
        self.sack: list[int] | None = None
        self.fast_open: bytes | None = None
        self.accecn: AccEcnOption | None = None
        self.is_fast_open_experimental: bool = False
        self.unknown: list[tuple[int, bytes]] | None = None

    def __repr__(self) -> str:
        options = options_text(self)
        return (
            f"<Segment {self.sport}>{self.dport} [{flags_text(self.flags)}] seq {self.seq} ack {self.ack} "
            f"win {self.wnd} length {self.end - self.start}{' <' + options + '>' if options else ''}>"
        )


def text_length(segment: Segment) -> i64:
    """Count the octets of text."""
    return segment.end - segment.start


def segment_length(segment: Segment) -> i64:
    """Return SEG.LEN: the octets of text, and one each for SYN and FIN (RFC 9293 section 3.4)."""
    flags = segment.flags
    return segment.end - segment.start + (flags & FIN) + ((flags & SYN) >> 1)


def flags_text(flags: i64) -> str:
    """Write flags as tcpdump does: ``S``, ``S.``, ``P.``, ``F.``, ``R``; ``none`` if no flag is set."""
    return "".join([letter for bit, letter in enumerate(_LETTERS) if flags >> bit & 1]) or "none"


def ecn_text(tos: i64) -> str:
    """Name the ECN field of a traffic class byte: ``ECT(0)``, ``ECT(1)``, ``CE``, nothing for Not-ECT."""
    codepoint = tos & 3
    if codepoint == 0:
        return ""
    return "CE" if codepoint == 3 else "ECT(0)" if codepoint == 2 else "ECT(1)"


def options_text(segment: Segment) -> str:
    """Write the options as tcpdump does, without the padding: ``mss 1460,sackOK,TS val 7 ecr 0,wscale 7``."""
    parts: list[str] = []
    if segment.mss != 0:
        parts.append(f"mss {segment.mss}")
    if segment.sack_permitted:
        parts.append("sackOK")
    if segment.has_timestamps:
        parts.append(f"TS val {segment.ts_val} ecr {segment.ts_ecr}")
    accecn = segment.accecn
    if accecn is not None:
        names = ("e0b", "ceb", "e1b") if accecn.kind == ACCECN0_KIND else ("e1b", "ceb", "e0b")
        pairs = [f" {name} {number}" for name, number in zip(names, accecn.fields, strict=False)]
        parts.append(f"ECN{''.join(pairs)}")
    if segment.wscale >= 0:
        parts.append(f"wscale {segment.wscale}")
    sack = segment.sack
    if sack:
        blocks = "".join([f"{{{sack[i]}:{sack[i + 1]}}}" for i in range(0, len(sack) - 1, 2)])
        parts.append(f"sack {len(sack) // 2} {blocks}")
    if segment.fast_open is not None:
        name = "exp-tfo" if segment.is_fast_open_experimental else "tfo"
        parts.append(f"{name} cookie {segment.fast_open.hex()}" if segment.fast_open else f"{name} cookiereq")
    for kind, value in segment.unknown or []:
        parts.append(f"unknown-{kind} 0x{value.hex()}" if value else f"unknown-{kind}")
    return ",".join(parts)


# --- in


def parse(packet: ip.Packet, is_checksum_known_good: bool) -> Segment:
    """Read the segment that an IP packet carries.

    ``is_checksum_known_good`` skips the checksum, for packets that a link's offload vouches for. Raises ``WireError``:
    ``TCP_INVALID_HEADER`` or ``TCP_CSUM``. An option whose length is 0, 1 or runs out of the header ends the options;
    those before it count.
    """
    data = packet.data
    start = packet.start
    end = packet.end
    if end - start < HEADER_BYTES:
        raise WireError(DropReason.TCP_INVALID_HEADER, f"{end - start} bytes of a TCP header")
    # Eight octets at a time: to take a field out of a number costs less than to read it.
    middle = s64(data, start + 8)
    text = start + ((middle >> 26) & 0x3C)
    if text < start + HEADER_BYTES or text > end:
        words = (text - start) >> 2
        raise WireError(DropReason.TCP_INVALID_HEADER, f"data offset of {words} words in {end - start} bytes")
    if not is_checksum_known_good:  # RFC 9293 MUST-3
        acc = pseudo_header(packet.src, packet.dst, ip.TCP, end - start)
        if fold(add(data, start, end, acc)) != 0xFFFF:
            raise WireError(DropReason.TCP_CSUM)
    first = s64(data, start)
    segment = Segment(
        (first >> 48) & 0xFFFF, (first >> 32) & 0xFFFF, Seq(first & 0xFFFFFFFF), Seq((middle >> 32) & 0xFFFFFFFF),
        (middle >> 16) & 0x1FF, middle & 0xFFFF,
    )
    segment.urg = u16(data, start + 18)
    segment.data = data
    segment.start = text
    segment.end = end
    segment.tos = packet.tos
    segment.flow_label = packet.flow_label
    options = start + HEADER_BYTES
    if text != options:
        size = text - options
        if size == 12 and u32(data, options) == _NOP_NOP_TIMESTAMPS:
            _set_timestamps(segment, s64(data, options + 4))
        elif (size == _SYN_OPTIONS_BYTES and u16(data, options) == (MSS_KIND << 8 | 4)
              and u32(data, options + 4) == _SACK_AND_TIMESTAMPS and u32(data, options + 16) >> 8 == _NOP_WSCALE):
            segment.mss = u16(data, options + 2)
            segment.sack_permitted = True
            _set_timestamps(segment, s64(data, options + 8))
            segment.wscale = min(u8(data, options + 19), WSCALE_MAX)
        else:
            _parse_options(segment, data, options, text)
    return segment


def _set_timestamps(segment: Segment, both: i64) -> None:
    segment.has_timestamps = True
    segment.ts_val = (both >> 32) & 0xFFFFFFFF
    segment.ts_ecr = both & 0xFFFFFFFF


def _parse_options(segment: Segment, data: bytes, index: i64, end: i64) -> None:
    while index < end:
        kind = u8(data, index)
        if kind == EOL_KIND:
            return
        if kind == NOP_KIND:
            index += 1
            continue
        if index + 1 >= end:
            return
        size = u8(data, index + 1)
        if size < 2 or index + size > end:
            return  # RFC 9293 MUST-7: what was read so far counts, as on Linux and the BSDs
        if not _read_known(segment, data, kind, index + 2, size):
            unknown = segment.unknown
            if unknown is None:
                unknown = []
                segment.unknown = unknown
            unknown.append((kind, data[index + 2 : index + size]))  # RFC 9293 MUST-6: no option of ours, no harm
        index += size


def _read_known(segment: Segment, data: bytes, kind: i64, value: i64, size: i64) -> bool:
    """Read one option into its field; ``False`` if the kind is not known or the length is not the kind's."""
    if kind == TIMESTAMPS_KIND and size == 10:
        _set_timestamps(segment, s64(data, value))
    elif kind == SACK_KIND and size >= 10 and ((size - 2) & 7) == 0:
        edges: list[int] = []
        end = value + size - 2
        while value < end:
            edges.append(u32(data, value))
            value += 4
        segment.sack = edges
    elif kind == MSS_KIND and size == 4:
        segment.mss = u16(data, value)
    elif kind == WSCALE_KIND and size == 3:
        wscale = u8(data, value)
        segment.wscale = wscale if wscale < WSCALE_MAX else WSCALE_MAX  # RFC 7323 section 2.3
    elif kind == SACK_PERMITTED_KIND and size == 2:
        segment.sack_permitted = True
    elif kind == FAST_OPEN_KIND and _is_cookie_length(size - 2):
        segment.fast_open = data[value : value + size - 2]
        segment.is_fast_open_experimental = False
    elif kind == EXPERIMENT_KIND and size >= 4 and u16(data, value) == FAST_OPEN_MAGIC and _is_cookie_length(size - 4):
        segment.fast_open = data[value + 2 : value + size - 2]
        segment.is_fast_open_experimental = True
    elif kind == ACCECN0_KIND or kind == ACCECN1_KIND:
        # RFC 9768 section 3.2.3: of any other length, the whole fields that fit.
        counters: list[int] = []
        end = value + size - 2
        while value + _ACCECN_FIELD_BYTES <= end and len(counters) < _ACCECN_FIELDS:
            counters.append(u8(data, value) << 16 | u16(data, value + 1))
            value += _ACCECN_FIELD_BYTES
        segment.accecn = AccEcnOption(kind, counters)
    else:
        return False
    return True


def _is_cookie_length(size: i64) -> bool:
    """Tell whether a Fast Open cookie may have so many octets, or none: a request (RFC 7413 section 4.1.1)."""
    return size == 0 or (4 <= size <= 16 and (size & 1) == 0)


# --- out


def options_length(segment: Segment) -> i64:
    """Count the octets that the options take in the header, padding included: a multiple of 4."""
    if _is_in_bsd_order(segment):
        return _bsd_options_length(segment)
    size: i64 = 0
    if segment.has_timestamps:
        size = 12
    if segment.mss != 0:
        size += 4
    accecn = segment.accecn
    if accecn is not None:
        size += 2 + _ACCECN_FIELD_BYTES * len(accecn.fields)
    # What follows an AccECN option takes the place of padding, as far as it has some.
    if segment.sack_permitted and not segment.has_timestamps:
        size += ((2 - size) & 3) + 2
    if segment.wscale >= 0:
        size += ((1 - size) & 3) + 3
    sack = segment.sack
    if sack is not None and len(sack) != 0:
        size += ((2 - size) & 3) + 2 + len(sack) * 4
    size = (size + 3) & -4
    cookie = segment.fast_open
    if cookie is not None:
        size += ((4 if segment.is_fast_open_experimental else 2) + len(cookie) + 3) & -4
    if segment.unknown is not None:
        size += _unknown_length(segment.unknown)
    return size


def _is_in_bsd_order(segment: Segment) -> bool:
    return segment.has_bsd_order and segment.mss != 0 and segment.accecn is None


def _bsd_options_length(segment: Segment) -> i64:
    size: i64 = 4
    if segment.wscale >= 0:
        size += 4
    if segment.sack_permitted:
        size += 2
    if segment.has_timestamps:
        size += 10 if segment.sack_permitted else 12
    cookie = segment.fast_open
    if cookie is not None:
        size += (4 if segment.is_fast_open_experimental else 2) + len(cookie)
    if segment.unknown is not None:
        for _kind, value in segment.unknown:
            size += 2 + len(value)
    return (size + 3) & -4


def _unknown_length(unknown: list[tuple[int, bytes]]) -> i64:
    size: i64 = 0
    for _kind, value in unknown:
        size += 2 + len(value)
    return (size + 3) & -4


def _options(segment: Segment) -> bytes:
    """Write the options in Linux's order and padding, or in BSD's."""
    writer = Writer()
    if _is_in_bsd_order(segment):
        _put_bsd_options(writer, segment)
        return writer.getvalue()
    if segment.mss != 0:
        put32(writer, MSS_KIND << 24 | 4 << 16 | (segment.mss & 0xFFFF))
    if segment.has_timestamps:
        if segment.sack_permitted:
            put32(writer, SACK_PERMITTED_KIND << 24 | 2 << 16 | TIMESTAMPS_KIND << 8 | 10)
        else:
            put32(writer, _NOP_NOP_TIMESTAMPS)
        put32(writer, segment.ts_val)
        put32(writer, segment.ts_ecr)
    accecn = segment.accecn
    if accecn is not None:
        _put_accecn(writer, accecn)
    if segment.sack_permitted and not segment.has_timestamps:
        _pad_to(writer, 2)
        put16(writer, SACK_PERMITTED_KIND << 8 | 2)
    if segment.wscale >= 0:
        _pad_to(writer, 1)
        put8(writer, WSCALE_KIND)
        put8(writer, 3)
        put8(writer, segment.wscale)
    _put_late_options(writer, segment)
    return writer.getvalue()


def _put_accecn(writer: Writer, option: AccEcnOption) -> None:
    fields = option.fields
    put8(writer, option.kind)
    put8(writer, 2 + _ACCECN_FIELD_BYTES * len(fields))
    for counter in fields:
        put8(writer, (counter >> 16) & 0xFF)
        put16(writer, counter & 0xFFFF)


def _put_bsd_options(writer: Writer, segment: Segment) -> None:
    """Write a SYN's options as BSD does: MSS, scale, SACK-permitted, timestamps, Fast Open, then end-of-list to fill
    up.
    """
    put32(writer, MSS_KIND << 24 | 4 << 16 | (segment.mss & 0xFFFF))
    if segment.wscale >= 0:
        put32(writer, NOP_KIND << 24 | WSCALE_KIND << 16 | 3 << 8 | segment.wscale)
    if segment.sack_permitted:
        put16(writer, SACK_PERMITTED_KIND << 8 | 2)
    if segment.has_timestamps:
        if not segment.sack_permitted:
            put16(writer, NOP_KIND << 8 | NOP_KIND)
        put16(writer, TIMESTAMPS_KIND << 8 | 10)
        put32(writer, segment.ts_val)
        put32(writer, segment.ts_ecr)
    if segment.fast_open is not None:
        _put_fast_open(writer, segment, segment.fast_open)
    if segment.unknown is not None:
        for kind, value in segment.unknown:
            _put_option(writer, kind, value)
    while (len(writer) & 3) != 0:
        put8(writer, EOL_KIND)


def _put_late_options(writer: Writer, segment: Segment) -> None:
    sack = segment.sack
    if sack is not None and len(sack) != 0:
        _pad_to(writer, 2)
        put16(writer, SACK_KIND << 8 | (2 + len(sack) * 4))
        for edge in sack:
            put32(writer, edge)
    _pad_to(writer, 0)
    if segment.fast_open is not None:
        _put_fast_open(writer, segment, segment.fast_open)
        _pad_to(writer, 0)
    if segment.unknown is not None:
        for kind, value in segment.unknown:
            _put_option(writer, kind, value)
        _pad_to(writer, 0)


def _put_fast_open(writer: Writer, segment: Segment, cookie: bytes) -> None:
    if segment.is_fast_open_experimental:
        _put_option(writer, EXPERIMENT_KIND, FAST_OPEN_MAGIC.to_bytes(2, "big") + cookie)
    else:
        _put_option(writer, FAST_OPEN_KIND, cookie)


def _put_option(writer: Writer, kind: i64, value: bytes) -> None:
    put8(writer, kind)
    put8(writer, 2 + len(value))
    writer.write(value)


def _pad_to(writer: Writer, place: i64) -> None:
    """Write no-operations until the next octet stands at ``place`` of a word."""
    while (len(writer) & 3) != place:
        put8(writer, NOP_KIND)


def _put_segment(
    writer: Writer, segment: Segment, src: bytes, dst: bytes, header_bytes: i64, is_checksum_partial: bool
) -> bytes:
    """Write header, options and text after what ``writer`` holds, and give it all."""
    _put_header(writer, segment, src, dst, header_bytes, is_checksum_partial)
    data = segment.data
    start = segment.start
    end = segment.end
    if start == end:
        return writer.getvalue()
    text = data if start == 0 and end == len(data) else data[start:end]
    if end - start > _SMALL_TEXT_BYTES:
        return writer.getvalue() + text
    writer.write(text)
    return writer.getvalue()


def _put_header(
    writer: Writer, segment: Segment, src: bytes, dst: bytes, header_bytes: i64, is_checksum_partial: bool
) -> None:
    """Write header and options after what ``writer`` holds."""
    data = segment.data
    start = segment.start
    end = segment.end
    ports = segment.sport << 16 | segment.dport
    fourth = header_bytes << 26 | (segment.flags & 0x1FF) << 16 | (segment.wnd & 0xFFFF)
    urg = segment.urg & 0xFFFF
    has_only_timestamps = header_bytes == HEADER_BYTES + 12 and segment.has_timestamps and not segment.sack_permitted
    is_syn_usual = header_bytes == HEADER_BYTES + _SYN_OPTIONS_BYTES and _has_usual_syn_options(segment)
    options = b""
    if header_bytes != HEADER_BYTES and not has_only_timestamps and not is_syn_usual:
        options = _options(segment)
    mss = MSS_KIND << 24 | 4 << 16 | (segment.mss & 0xFFFF)
    wscale = _NOP_WSCALE << 8 | (segment.wscale & 0xFF)
    acc = pseudo_header(src, dst, ip.TCP, header_bytes + end - start)
    checksum: i64
    if is_checksum_partial:
        checksum = fold(acc)
    else:  # RFC 9293 MUST-2
        acc += ports + segment.seq + segment.ack + fourth + urg
        if has_only_timestamps:
            acc += _NOP_NOP_TIMESTAMPS + segment.ts_val + segment.ts_ecr
        elif is_syn_usual:
            acc += mss + _SACK_AND_TIMESTAMPS + segment.ts_val + segment.ts_ecr + wscale
        elif options:
            acc = add(options, 0, len(options), acc)
        checksum = 0xFFFF - fold(add(data, start, end, acc))
    put64(writer, ports, segment.seq)
    put64(writer, segment.ack, fourth)
    last = checksum << 16 | urg
    if has_only_timestamps:
        put64(writer, last, _NOP_NOP_TIMESTAMPS)
        put64(writer, segment.ts_val, segment.ts_ecr)
    elif is_syn_usual:
        put64(writer, last, mss)
        put64(writer, _SACK_AND_TIMESTAMPS, segment.ts_val)
        put64(writer, segment.ts_ecr, wscale)
    else:
        put32(writer, last)
        if options:
            writer.write(options)


def _has_usual_syn_options(segment: Segment) -> bool:
    """Tell whether there are MSS, SACK-permitted, timestamps and window scale, and none else, in Linux's order."""
    if not segment.sack_permitted or not segment.has_timestamps or segment.has_bsd_order:
        return False
    if segment.mss == 0 or segment.wscale < 0 or segment.accecn is not None or segment.sack is not None:
        return False
    return segment.fast_open is None and segment.unknown is None


def emit_packet(
    segment: Segment, header: ip.IpHeader, is_checksum_partial: bool = False, writer: Writer | None = None,
    before: bytes = b"",
) -> bytes:
    """Build the whole IP packet, IPv4 or IPv6 as its source address says. The traffic class is ``segment.tos``.

    With ``is_checksum_partial`` the checksum field holds the pseudo-header's sum only, for a link that completes it.
    ``writer`` is one that the caller keeps for all of its packets; what it holds is forgotten. ``before``, a device's
    header, comes first. More than 40 octets of options, or a packet that its length can't tell, are the caller's bugs.
    """
    src, dst = header.src, header.dst
    header_bytes = HEADER_BYTES + options_length(segment)
    segment_bytes = header_bytes + segment.end - segment.start
    assert header_bytes <= HEADER_BYTES + OPTIONS_BYTES_MAX, "more options than a TCP header holds"
    assert segment_bytes <= ip.PACKET_BYTES_MAX - (ip.V4_HEADER_BYTES if len(src) == 4 else 0), "too long for IP"
    if writer is None:
        writer = Writer()
    else:
        writer.truncate(0)
    if len(before) > 0:
        writer.write(before)
    ip.emit_header(writer, header, segment.tos, ip.TCP, segment_bytes)
    return _put_segment(writer, segment, src, dst, header_bytes, is_checksum_partial)


def emit_headers(segment: Segment, header: ip.IpHeader) -> bytes:
    """Build what stands before the text in ``emit_packet(segment, header, is_checksum_partial=True)``."""
    header_bytes = HEADER_BYTES + options_length(segment)
    segment_bytes = header_bytes + segment.end - segment.start
    assert header_bytes <= HEADER_BYTES + OPTIONS_BYTES_MAX, "more options than a TCP header holds"
    assert segment_bytes <= ip.PACKET_BYTES_MAX - (ip.V4_HEADER_BYTES if len(header.src) == 4 else 0), "too long for IP"
    writer = Writer()
    ip.emit_header(writer, header, segment.tos, ip.TCP, segment_bytes)
    _put_header(writer, segment, header.src, header.dst, header_bytes, is_checksum_partial=True)
    return writer.getvalue()


def emit(segment: Segment, src: bytes, dst: bytes) -> bytes:
    """Build the TCP segment alone, with its checksum: what goes into an IP packet from ``src`` to ``dst``."""
    header_bytes = HEADER_BYTES + options_length(segment)
    assert header_bytes <= HEADER_BYTES + OPTIONS_BYTES_MAX, "more options than a TCP header holds"
    return _put_segment(Writer(), segment, src, dst, header_bytes, is_checksum_partial=False)


# --- whose segment it is


def flow_key(packet: ip.Packet) -> bytes:
    """Cut a connection's key out of a received packet: source, destination, source port, destination port.

    The packet has been through ``parse``. IPv4 gives 12 bytes, IPv6 36.
    """
    data = packet.data
    start = packet.start
    addresses = packet.header_start + (12 if packet.version == 4 else 8)
    addresses_end = packet.header_start + (20 if packet.version == 4 else 40)
    if addresses_end == start:
        return data[addresses : start + 4]
    return data[addresses:addresses_end] + data[start : start + 4]


def make_key(remote: bytes, local: bytes, remote_port: i64, local_port: i64) -> bytes:
    """Build the same key as ``flow_key`` gives for a segment from ``remote`` to ``local``."""
    writer = Writer()
    writer.write(remote)
    writer.write(local)
    put32(writer, remote_port << 16 | local_port)
    return writer.getvalue()
