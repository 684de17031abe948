"""What every ICMP message has (RFC 792, RFC 4443 section 2): type, code, checksum, a word, and a body.

The floor under ``icmp`` (echo and errors) and ``nd`` (neighbour discovery).
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from estab.wire import ip
from estab.wire.checksum import add, fold, pseudo_header
from estab.wire.octets import Writer, put32

__all__ = ["HEADER_BYTES", "Message", "Unknown", "build"]

HEADER_BYTES: Final = 8


@mypyc_attr(acyclic=True)
class Message:
    """One ICMP message; ``version`` is 4 or 6. The subclasses say what it is."""

    def __init__(self, version: i64, type: i64, code: i64) -> None:
        self.version: i64 = version
        self.type: i64 = type
        self.code: i64 = code


@mypyc_attr(acyclic=True)
class Unknown(Message):
    """A message of another type: ``word`` are the 4 bytes after the checksum, ``body`` is the rest."""

    def __init__(self, version: i64, type: i64, code: i64, word: i64, body: bytes) -> None:
        super().__init__(version, type, code)
        self.word: i64 = word
        self.body: bytes = body


def build(src: bytes, dst: bytes, type: i64, code: i64, word: i64, body: bytes) -> bytes:
    """Build a message with its checksum: ICMPv4, or ICMPv6 if the addresses have 16 bytes."""
    first = type << 24 | code << 16
    acc = first + word
    if len(src) == 16:
        acc += pseudo_header(src, dst, ip.ICMPV6, HEADER_BYTES + len(body))
    writer = Writer()
    put32(writer, first | (0xFFFF - fold(add(body, 0, len(body), acc))))
    put32(writer, word)
    writer.write(body)
    return writer.getvalue()
