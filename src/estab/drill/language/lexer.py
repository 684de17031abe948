"""From text to tokens, for both dialects.

- The longest token wins. An IPv6 address must hold ``::`` or seven colons, so that ``1:1001`` stays two numbers.
- Names given with ``-D`` are replaced here: a word that has one becomes what it stands for.
- ``#ifdef NAME … #endif`` (nplab's dialect) keeps or leaves out what is between.
- There are no reserved words: the parser knows by place what a word is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from estab.drill.errors import Place, ScriptError
from estab.wire.address import parse_address

__all__ = ["Token", "lex", "place_of"]


@dataclass(frozen=True, slots=True)
class Token:
    """``kind`` is ``option float int hex word string command code ip4 ip6 dots end``, or the character itself.

    ``text`` is without quotes; ``start`` and ``end`` are offsets into the source.
    """

    kind: str
    text: str
    start: int
    end: int


_BLANK: Final = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|/\*.*?\*/)+", re.DOTALL)
_IP6: Final = re.compile(r"[0-9a-fA-F]*:[0-9a-fA-F:]*(?:(?:\.\d+){3})?")
_IFDEF: Final = re.compile(r"#ifdef[ \t]+([a-zA-Z0-9_]+)")
_ENDIF: Final = re.compile(r"#endif\b")
_TOKEN: Final = re.compile(
    r"""
    %\{(?P<code>.*?)\}%
  | "(?P<string>(?:\\.|[^"\\])*)"
  | `(?P<command>(?:\\.|[^`\\])*)`
  | --(?P<option>[a-zA-Z0-9_]+)
  | (?P<ip4>\d+\.\d+\.\d+\.\d+)
  | (?P<hex>0x[0-9a-fA-F]+)(?![a-zA-Z0-9_])
  | (?P<float>-?[0-9]*\.[0-9]+)
  | (?P<int>-?[0-9]+)(?![a-zA-Z0-9_])
  | (?P<word>[a-zA-Z0-9_]+)
  | (?P<dots>\.\.\.)
  | (?P<other>[-+*~<>()\[\]{},=|:.!/])
    """,
    re.VERBOSE | re.DOTALL,
)
_NEVER_ENDS: Final = {
    '"': "a string that does not end", "`": "a command that does not end", "%": "a piece of code that does not end",
    "/": "a comment that does not end",
}


def lex(path: str, source: str, defines: Mapping[str, str], system: str, *, replaces: bool = True) -> list[Token]:
    """Cut a script into tokens; the last is of kind ``end``.

    ``system`` is a name that ``#ifdef`` knows beside ``defines``. Without ``replaces`` defined words stay as they are.
    """
    tokens: list[Token] = []
    at = 0
    while at < len(source):
        if blank := _BLANK.match(source, at):
            at = blank.end()
        elif condition := _IFDEF.match(source, at):
            name = condition.group(1)
            at = condition.end()
            if name not in defines and name.lower() != system.lower():
                at = _end_of_condition(path, source, condition.start())
        elif end := _ENDIF.match(source, at):
            at = end.end()
        else:
            token = _ip6(source, at) or _next(path, source, at)
            at = token.end
            tokens.append(_defined(token, defines) if replaces and token.kind == "word" else token)
    tokens.append(Token("end", "", len(source), len(source)))
    return tokens


def place_of(source: str, offset: int) -> Place:
    """Turn an offset into a line and a column."""
    return Place(source.count("\n", 0, offset) + 1, offset - source.rfind("\n", 0, offset))


def _next(path: str, source: str, at: int) -> Token:
    match = _TOKEN.match(source, at)
    is_cut = match is not None and match.group() == "/" and source.startswith("/*", at)
    if match is None or is_cut:
        message = _NEVER_ENDS.get(source[at], f"{source[at]!r} begins nothing that a script has")
        place = place_of(source, at)
        raise ScriptError(path, place, source.splitlines()[place.line - 1], message)
    kind = match.lastgroup or ""
    text = match.group(kind)
    if kind == "code":
        text = text.strip(" \t")
    return Token(text if kind == "other" else kind, text, match.start(), match.end())


def _ip6(source: str, at: int) -> Token | None:
    """Read an IPv6 address, if there is one: the colon that ends an encapsulation is none of it."""
    match = _IP6.match(source, at)
    if match is None:
        return None
    text = match.group()
    if text.endswith(":") and not text.endswith("::"):
        text = text[:-1]
    if "::" not in text and text.count(":") < 7:
        return None
    try:
        parse_address(text)
    except ValueError:
        return None
    return Token("ip6", text, at, at + len(text))


def _defined(token: Token, defines: Mapping[str, str]) -> Token:
    """Replace a word by what it was defined as: a string, a command, a number or another word."""
    value = defines.get(token.text)
    if value is None:
        return token
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"`":
        return Token("string" if value[0] == '"' else "command", value[1:-1], token.start, token.end)
    if re.fullmatch(r"-?[0-9]+", value):
        return Token("int", value, token.start, token.end)
    if re.fullmatch(r"0x[0-9a-fA-F]+", value):
        return Token("hex", value, token.start, token.end)
    return Token("word", value, token.start, token.end)


def _end_of_condition(path: str, source: str, start: int) -> int:
    found = _ENDIF.search(source, start)
    if found is None:
        place = place_of(source, start)
        raise ScriptError(path, place, source.splitlines()[place.line - 1], "#ifdef without #endif")
    return found.end()
