"""The grammar of TCP options, for both dialects."""

from __future__ import annotations

import re
from typing import Final

from estab.drill.language.cursor import Cursor
from estab.drill.language.syntax import TcpOption

__all__ = ["tcp_options"]

_U8, _U16, _U24, _U32 = 0xFF, 0xFFFF, 0xFFFFFF, 0xFFFFFFFF
_NO_VALUE: Final = ("nop", "eol", "sackOK")
_OCTETS: Final = ("md5", "FO", "FOEXP")
_COUNTERS: Final = {"e0b": "ECN0", "e1b": "ECN1", "ee0b": "ECN0", "ee1b": "ECN1"}
_NAMED_COUNTERS: Final = {"AccECN0": "ECN0", "AccECN1": "ECN1"}


def tcp_options(cursor: Cursor) -> tuple[TcpOption, ...] | None:
    """Read ``<option,…>``; ``None`` for ``<...>``, nothing for nothing."""
    if not cursor.skip("<"):
        return ()
    if cursor.skip("dots"):
        cursor.take(">")
        return None
    options = [_option(cursor)]
    while cursor.skip(","):
        options.append(_option(cursor))
    cursor.take(">")
    return tuple(options)


def _option(cursor: Cursor) -> TcpOption:
    if cursor.at("word", "int", "hex") and _is_octets(cursor.token.text) and cursor.ahead().kind == ">":
        return TcpOption("raw", data=_octets(cursor))
    token = cursor.take("word")
    name = token.text
    if name in _NO_VALUE:
        return TcpOption(name)
    if name == "mss":
        return TcpOption(name, (cursor.take_number(0, _U16, name),))
    if name == "wscale":
        return TcpOption(name, (cursor.take_number(0, _U8, name),))
    if name == "sack":
        return _sack(cursor)
    if name == "TS":
        return _timestamps(cursor)
    if name in _OCTETS:
        if name == "md5" and cursor.skip_word("valid"):
            return TcpOption("md5 valid")
        return TcpOption(name, data=_octets(cursor))
    if name == "ECN" or name in _NAMED_COUNTERS:
        return _ecn_counters(cursor, name)
    if name in ("exp", "gen") and cursor.at("-", "int"):
        return _numbered(cursor, name)
    return cursor.fail(f"{name!r} is no TCP option that scripts have", token)


def _sack(cursor: Cursor) -> TcpOption:
    edges: list[int] = []
    while cursor.at("int") or not edges:
        edges.append(cursor.take_number(0, _U32, "left edge"))
        cursor.take(":")
        edges.append(cursor.take_number(0, _U32, "right edge"))
    return TcpOption("sack", tuple(edges))


def _timestamps(cursor: Cursor) -> TcpOption:
    cursor.take_word("val")
    value = None if cursor.skip("dots") else cursor.take_number(0, _U32, "val")
    cursor.take_word("ecr")
    echo = cursor.take_number(0, _U32, "ecr")
    return TcpOption("TS", (value, echo), is_absolute=cursor.skip("!"))


def _ecn_counters(cursor: Cursor, name: str) -> TcpOption:
    """Read AccECN's counters, up to three; which comes first decides the kind (RFC 9768 section 3.2.3)."""
    numbers: list[int | None] = []
    kind = _NAMED_COUNTERS.get(name, "")
    while cursor.at_word("e0b", "ceb", "e1b", "ee0b", "eceb", "ee1b"):
        word = cursor.next().text
        if not numbers and not kind:
            kind = _COUNTERS.get(word, "")
        numbers.append(cursor.take_number(0, _U24, word))
    if not kind or len(numbers) > 3:
        cursor.fail("AccECN's counters are e0b, ceb, e1b or e1b, ceb, e0b, of which the last may be left out")
    return TcpOption(kind, tuple(numbers))


def _numbered(cursor: Cursor, name: str) -> TcpOption:
    """Read nplab's ``exp-FO``, ``exp-tarr``, ``exp-AccECN0``, ``exp-HEXID`` and ``gen-KIND``."""
    cursor.skip("-")
    token = cursor.take("word", "int", "hex")
    text = token.text.lstrip("-")
    if name == "gen":
        if not text.isdecimal() or int(text) > _U8:
            cursor.fail("gen- takes the number of an option's kind", token)
        return TcpOption("gen", data=_octets(cursor), kind=int(text))
    if text == "FO":
        return TcpOption("FOEXP", data=_octets(cursor))
    if text in _NAMED_COUNTERS:
        counters = _ecn_counters(cursor, text)
        return TcpOption("exp" + counters.name, counters.numbers)
    if text == "tarr":
        rate = (cursor.take_number(0, _U8, text),) if cursor.at("int") else ()
        return TcpOption("exp-tarr", rate)
    if not re.fullmatch(r"(?:0x)?(?:[0-9a-fA-F]{4}|[0-9a-fA-F]{8})", text):
        cursor.fail("exp- takes FO, tarr, AccECN0, AccECN1, or an experiment's number of 4 or 8 hex digits", token)
    return TcpOption("exp", data=bytes.fromhex(text.removeprefix("0x")) + _octets(cursor))


def _is_octets(text: str) -> bool:
    text = text.removeprefix("0x")
    return len(text) % 2 == 0 and re.fullmatch(r"[0-9a-fA-F]+", text) is not None


def _octets(cursor: Cursor) -> bytes:
    """Read octets written as hexadecimal digits, if there are any."""
    if not cursor.at("word", "int", "hex"):
        return b""
    token = cursor.next()
    if not _is_octets(token.text):
        cursor.fail(f"{token.text!r} is not an even number of hexadecimal digits", token)
    return bytes.fromhex(token.text.removeprefix("0x"))
