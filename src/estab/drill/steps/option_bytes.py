"""TCP options between their names and the octets of a header, in the order and padding that they have there."""

from __future__ import annotations

from typing import Final

from estab.drill.errors import UnsupportedError
from estab.drill.language.syntax import TcpOption

__all__ = ["decode", "encode"]

_EOL, _NOP, _MSS, _WSCALE, _SACK_OK, _SACK, _TS, _MD5, _FO, _EXP = 0, 1, 2, 3, 4, 5, 8, 19, 34, 254
_ECN0, _ECN1 = 172, 174
_FOEXP_MAGIC: Final = b"\xf9\x89"
_TARR_MAGIC: Final = b"\x00\xac"
_ECN_MAGIC: Final = {"expECN0": b"\xac\xce", "expECN1": b"\xac\xc1"}
_SIMPLE: Final = {"nop": b"\x01", "eol": b"\x00", "sackOK": b"\x04\x02"}


def encode(option: TcpOption) -> bytes:
    """Write one option. A ``TS`` value that may be anything is written as 0."""
    numbers = [0 if number is None else number for number in option.numbers]
    name = option.name
    if name in _SIMPLE:
        return _SIMPLE[name]
    if name == "raw":
        return option.data
    if name == "mss":
        return _built(_MSS, numbers[0].to_bytes(2, "big"))
    if name == "wscale":
        return _built(_WSCALE, bytes(numbers))
    if name == "sack":
        return _built(_SACK, b"".join(number.to_bytes(4, "big") for number in numbers))
    if name == "TS":
        return _built(_TS, b"".join(number.to_bytes(4, "big") for number in numbers))
    if name in ("ECN0", "ECN1"):
        return _built(_ECN0 if name == "ECN0" else _ECN1, _counters(numbers))
    if name in _ECN_MAGIC:
        return _built(_EXP, _ECN_MAGIC[name] + _counters(numbers))
    if name == "exp-tarr":
        return _built(_EXP, _TARR_MAGIC + bytes(number << 1 for number in numbers))
    if name == "md5 valid":
        raise UnsupportedError("TCP-MD5 signatures (RFC 2385) are not spoken here")
    kind, head = {"FO": (_FO, b""), "FOEXP": (_EXP, _FOEXP_MAGIC), "md5": (_MD5, b""), "exp": (_EXP, b"")}.get(
        name, (option.kind, b""))
    return _built(kind, head + option.data)


def _built(kind: int, value: bytes) -> bytes:
    return bytes([kind, 2 + len(value)]) + value


def _counters(numbers: list[int]) -> bytes:
    return b"".join(number.to_bytes(3, "big") for number in numbers)


def decode(data: bytes) -> tuple[TcpOption, ...]:
    """Read all options of a header in their order, padding included. What is not known keeps its number."""
    options: list[TcpOption] = []
    at = 0
    while at < len(data):
        kind = data[at]
        if kind in (_EOL, _NOP):
            options.append(TcpOption("eol" if kind == _EOL else "nop"))
            at += 1
            continue
        size = data[at + 1] if at + 1 < len(data) else 0
        if size < 2 or at + size > len(data):
            options.append(TcpOption("raw", data=data[at:]))
            break
        options.append(_named(kind, data[at + 2 : at + size]))
        at += size
    return tuple(options)


def _named(kind: int, value: bytes) -> TcpOption:
    if kind == _MSS and len(value) == 2:
        return TcpOption("mss", (int.from_bytes(value, "big"),))
    if kind == _WSCALE and len(value) == 1:
        return TcpOption("wscale", (value[0],))
    if kind == _SACK_OK and not value:
        return TcpOption("sackOK")
    if kind == _SACK and value and len(value) % 8 == 0:
        return TcpOption("sack", _words(value, 4))
    if kind == _TS and len(value) == 8:
        return TcpOption("TS", _words(value, 4))
    if kind in (_ECN0, _ECN1) and len(value) % 3 == 0:
        return TcpOption("ECN0" if kind == _ECN0 else "ECN1", _words(value, 3))
    if kind == _EXP and value.startswith(_FOEXP_MAGIC):
        return TcpOption("FOEXP", data=value[2:])
    if kind == _FO:
        return TcpOption("FO", data=value)
    if kind == _MD5:
        return TcpOption("md5", data=value)
    if kind == _EXP and len(value) >= 2:
        return TcpOption("exp", data=value)
    return TcpOption("gen", data=value, kind=kind)


def _words(value: bytes, size: int) -> tuple[int, ...]:
    return tuple(int.from_bytes(value[at : at + size], "big") for at in range(0, len(value), size))
