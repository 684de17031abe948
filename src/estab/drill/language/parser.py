"""The grammar of scripts: options, first command, events, last command."""

from __future__ import annotations

from collections.abc import Mapping

from estab.drill.language.cursor import Cursor
from estab.drill.language.lexer import lex, place_of
from estab.drill.language.parse_call import at_time, system_call, time_ns
from estab.drill.language.parse_packet import packet
from estab.drill.language.syntax import Action, Code, Command, Event, Option, PacketAction, Script, When

__all__ = ["parse"]


def parse(
    source: str, path: str = "<script>", defines: Mapping[str, str] | None = None, system: str = "linux",
) -> Script:
    """Read a script. ``defines`` are names and what they stand for, ``system`` what ``#ifdef`` knows besides.

    ``ScriptError`` shows what is wrong and where.
    """
    known = dict(defines or {})
    cursor = Cursor(path, source, lex(path, source, known, system, replaces=False))
    options = _options(cursor)
    for option in options:
        if option.name == "define":
            name, _, value = option.value.partition("=")
            known.setdefault(name, value)
    cursor.tokens = lex(path, source, known, system)  # one for one the same, with the script's own names replaced
    first = Command(cursor.next().text) if cursor.at("command") else None
    events: list[Event] = []
    last = None
    while not cursor.at("end"):
        if cursor.at("command") and events:
            last = Command(cursor.next().text)
            if not cursor.at("end"):
                cursor.fail("a command without a time ends the script, and this comes after it")
            break
        events.append(_event(cursor))
    if not events:
        cursor.fail("a script has at least one event")
    return Script(path, source, options, first, tuple(events), last)


def _options(cursor: Cursor) -> tuple[Option, ...]:
    options: list[Option] = []
    while cursor.at("option"):
        token = cursor.next()
        value = _option_value(cursor) if cursor.skip("=") else ""
        options.append(Option(place_of(cursor.source, token.start), token.text, value))
    return tuple(options)


def _option_value(cursor: Cursor) -> str:
    token = cursor.take("int", "float", "hex", "word", "string", "ip4", "ip6")
    if token.kind != "word":
        return token.text
    value = token.text
    while cursor.at("-", ",", "word", "int") and cursor.token.start == cursor.tokens[cursor.index - 1].end:
        value += cursor.next().text  # ipv4-mapped-ipv6; packet,syscall
    if not cursor.skip("="):
        return value
    right = cursor.take("word", "string", "command", "int", "hex")
    quote = {"string": '"', "command": "`"}.get(right.kind, "")
    return f"{value}={quote}{right.text}{quote}"


def _event(cursor: Cursor) -> Event:
    start = cursor.token
    when = _when(cursor)
    action = _action(cursor)
    if (when.kind == "any" or when.end_ns is not None) and not _is_expectation(action):
        cursor.fail("only packets that are expected can be at any time, or in a range of times", start)
    return Event(place_of(cursor.source, start.start), when, action)


def _is_expectation(action: Action) -> bool:
    return isinstance(action, PacketAction) and not action.is_inbound


def _when(cursor: Cursor) -> When:
    """Read ``1.5``, ``+.1``, ``*``, ``1~2`` or ``+1~+2``."""
    if cursor.skip("*"):
        return When("any")
    is_relative = cursor.skip("+")
    if not at_time(cursor):
        cursor.fail(f"an event begins with a time, not with {cursor.described()}")
    start_ns = time_ns(cursor)
    end_ns = None
    if cursor.skip("~"):
        if is_relative:
            cursor.take("+")
        last = cursor.token
        end_ns = time_ns(cursor)
        if end_ns < start_ns:
            cursor.fail("the range ends before it begins", last)
    return When("relative" if is_relative else "absolute", start_ns, end_ns)


def _action(cursor: Cursor) -> Action:
    if cursor.at("<", ">"):
        return packet(cursor)
    if cursor.at("command"):
        return Command(cursor.next().text)
    if cursor.at("code"):
        return Code(cursor.next().text)
    if cursor.at("word", "dots"):
        return system_call(cursor)
    return cursor.fail(f"expected a packet, a call, a command or code, not {cursor.described()}")
