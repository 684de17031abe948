"""The grammar of system calls and of the expressions in them, for both dialects."""

from __future__ import annotations

from estab.drill.language.cursor import Cursor
from estab.drill.language.syntax import (
    Array,
    Blank,
    Call,
    Expression,
    Field,
    FunctionCall,
    Or,
    Structure,
    Text,
    Word,
)
from estab.units import SECOND

__all__ = ["at_time", "expression", "system_call", "time_ns"]

_FUNCTIONS = ("htons", "htonl", "ntohs", "ntohl", "inet_addr", "inet6_addr")


def at_time(cursor: Cursor) -> bool:
    """Tell whether a time comes next."""
    return cursor.at("int", "float")


def time_ns(cursor: Cursor) -> int:
    """Read seconds, with a fraction or without."""
    token = cursor.take("float", "int")
    if token.text.startswith("-"):
        cursor.fail("a time is not negative", token)
    whole, _, fraction = token.text.partition(".")
    return int(whole or "0") * SECOND + int(fraction[:9].ljust(9, "0") or "0")


def system_call(cursor: Cursor) -> Call:
    """Read ``[...end] name(arguments) = result [ERRNO] [(note)]``."""
    end_ns = time_ns(cursor) if cursor.skip("dots") else None
    start = cursor.token.start
    name = cursor.take("word").text
    cursor.take("(")
    arguments: list[Expression] = []
    while not cursor.at(")"):
        arguments.append(expression(cursor))
        if not cursor.skip(","):
            break
    cursor.take(")")
    cursor.take("=")
    result = expression(cursor)
    number = ""
    end = cursor.tokens[cursor.index - 1].end
    if cursor.at("word"):
        token = cursor.next()
        number, end = token.text, token.end
    if cursor.at("("):
        _note(cursor)
    text = " ".join(cursor.source[start:end].split())
    return Call(name, tuple(arguments), result, number, end_ns, text)


def _note(cursor: Cursor) -> None:
    """Pass over ``(Human text)``."""
    cursor.take("(")
    depth = 1
    while depth > 0:
        if cursor.at("end"):
            cursor.fail("a note that does not end")
        kind = cursor.next().kind
        depth += (kind == "(") - (kind == ")")


def expression(cursor: Cursor) -> Expression:
    """Read an expression: ``|`` binds loosest."""
    left = _term(cursor)
    while cursor.skip("|"):
        left = Or(left, _term(cursor))
    return left


def _term(cursor: Cursor) -> Expression:
    token = cursor.token
    if token.kind == "dots":
        cursor.next()
        return Blank()
    if token.kind in ("int", "hex"):
        cursor.next()
        return int(token.text, 0 if token.kind == "hex" else 10)
    if token.kind == "string":
        return _string(cursor)
    if token.kind == "[":
        return Array(_items(cursor, "[", "]"))
    if token.kind == "{":
        return _structure(cursor)
    if token.kind != "word":
        cursor.fail(f"expected an expression, not {cursor.described()}")
    cursor.next()
    if cursor.at("("):
        cursor.next()
        argument = expression(cursor)
        cursor.take(")")
        return FunctionCall(token.text, argument)
    if cursor.skip("="):
        return Field(token.text, expression(cursor))
    return Word(token.text)


def _string(cursor: Cursor) -> Text:
    raw = cursor.next().text
    while cursor.at("string"):
        raw += cursor.next().text
    return Text(raw, cursor.skip("dots"))


def _items(cursor: Cursor, opening: str, closing: str) -> tuple[Expression, ...]:
    cursor.take(opening)
    items: list[Expression] = []
    while not cursor.at(closing):
        items.append(expression(cursor))
        if not cursor.skip(","):
            break
    cursor.take(closing)
    return tuple(items)


def _structure(cursor: Cursor) -> Structure:
    """Read ``{name=value, name(size)=value, value}``."""
    cursor.take("{")
    fields: list[Field] = []
    while not cursor.at("}"):
        fields.append(_field(cursor))
        if not cursor.skip(","):
            break
    cursor.take("}")
    return Structure(tuple(fields))


def _field(cursor: Cursor) -> Field:
    if cursor.at("word") and cursor.ahead().kind == "=":
        name = cursor.next().text
        cursor.next()
        return Field(name, expression(cursor))
    if cursor.at("word") and cursor.ahead().kind == "(" and not cursor.at_word(*_FUNCTIONS):
        name = cursor.next().text
        cursor.next()
        size = expression(cursor)
        cursor.take(")")
        cursor.take("=")
        return Field(name, expression(cursor), size)
    if cursor.at("word") and cursor.ahead().kind in ("word", "int", "hex", "["):
        return _named_words(cursor)
    return Field("", expression(cursor))


def _named_words(cursor: Cursor) -> Field:
    """Read what gre and mpls structures have: a name and a value with a blank between, ``flags [checksum present]``."""
    name = cursor.next().text
    if not cursor.at("["):
        return Field(name, expression(cursor))
    cursor.take("[")
    words: list[Expression] = []
    while not cursor.at("]"):
        word = cursor.take("word").text
        while cursor.at("word"):
            word += " " + cursor.next().text
        words.append(Word(word))
        if not cursor.skip(","):
            break
    cursor.take("]")
    return Field(name, Array(tuple(words)))
