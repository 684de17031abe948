"""What the lab's page shows of a run: in two parts, the first as soon as the run has ended.

- ``first_part`` is what the page draws: the ladder's rows, and what changed at sockets and queues. ``second_part`` is
  what it shows when asked: the calls, the story, the bytes of frames; and the hash that says whether two runs are one.
- All of it is plain data, for JSON.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import fields, replace
from errno import errorcode
from operator import attrgetter
from typing import Any, Final

from estab.events import (
    BufferChanged,
    ErrorReported,
    Event,
    QueueChanged,
    SegmentReceived,
    SegmentSent,
    StateChanged,
    TcbCreated,
    TcbReleased,
    TimeWaitEnded,
)
from estab.observe.dissect import is_ethernet
from estab.observe.flights import flights
from estab.observe.ladder import Arrow, Note, Row, Skip, ladder
from estab.observe.languages import LANGUAGES, words_of
from estab.observe.story import call_details, story
from estab.observe.text import plain_text
from estab.report.recording import Recording

__all__ = ["facts_hash", "first_part", "frame_digest", "second_part"]

_KINDS: Final = {Arrow: "arrow", Note: "note", Skip: "skip"}
_FIELDS: Final = {kind: tuple(field.name for field in fields(kind)) for kind in _KINDS}
_VALUES: Final = {kind: attrgetter(*names) for kind, names in _FIELDS.items()}
_CHANGING: Final = frozenset((
    BufferChanged, QueueChanged, SegmentReceived, SegmentSent, StateChanged, TcbCreated, TcbReleased, TimeWaitEnded,
))
_CHANGES_MAX: Final = 16
_ETHERNET_BYTES: Final = 14
_HEX_BYTES: Final = 128
"""So many bytes of a frame are shown: its headers, and where its text begins."""


def first_part(seen: Recording, *, is_short: bool = False) -> dict[str, Any]:
    """Make what is drawn.

    ``is_short``, for the page: a row is a list of its kind and its values, whose names ``fields`` has by kind.
    """
    facts = seen.facts
    rows = ladder(facts).rows
    shown: dict[str, Any] = {"changes": _changes(facts), "facts": len(facts), "hosts": seen.hosts()}
    if is_short:
        shown["fields"] = {_KINDS[kind]: names for kind, names in _FIELDS.items()}
        shown["rows"] = [(_KINDS[type(row)], *_VALUES[type(row)](row)) for row in rows]
    else:
        shown["rows"] = [_named(row) for row in rows]
    return shown


def second_part(seen: Recording, language: str = "en") -> dict[str, Any]:
    """Make the rest. ``frames`` has sender, digest, number and bytes for each arrow of the first part's rows.

    ``language`` is that of the story, one of ``estab.observe.languages.LANGUAGES``.
    """
    facts = seen.facts
    return {"hash": facts_hash(facts), "story": _story(seen, language), "calls": _calls(seen), "frames": _frames(facts)}


def _story(seen: Recording, language: str) -> str:
    if language not in LANGUAGES[1:]:
        return seen.story()
    return "\n".join(plain_text(line) for line in story(seen.facts, say=words_of(language).say))


def facts_hash(facts: list[Event]) -> str:
    """Hash the facts of a run: the same run has the same hash, in CPython and in a browser."""
    digest = hashlib.sha256()
    for fact in facts:
        if isinstance(fact, ErrorReported):
            # The number of an error is the platform's own: 111 on Linux, 14 in WebAssembly.
            digest.update(errorcode.get(fact.errno, "").encode())
            fact = replace(fact, errno=0)
        digest.update(repr(fact).encode())
    return digest.hexdigest()


def frame_digest(frame: bytes, header_bytes: int) -> str:
    """Hash a frame without what routers and marks change: from the addresses of its IP header on."""
    return hashlib.sha256(frame[header_bytes + 12:]).hexdigest()[:12]


def _named(row: Row) -> dict[str, Any]:
    kind = type(row)
    return {"row": _KINDS[kind], **dict(zip(_FIELDS[kind], _VALUES[kind](row), strict=True))}


def _frames(facts: list[Event]) -> list[Any]:
    """List the frames of the ladder's arrows; ``None`` for one that was not found."""
    found: dict[tuple[str, int, str], list[bytes]] = {}
    for item in flights(facts):
        found.setdefault((item.sender, item.sent_ns, item.connection), []).append(item.data)
    seen: Counter[tuple[str, str]] = Counter()
    frames: list[Any] = []
    for row in ladder(facts).rows:
        if not isinstance(row, Arrow):
            continue
        waiting = found.get((row.sender, row.sent_ns, row.connection))
        if not waiting:
            frames.append(None)
            continue
        data = waiting.pop(0)
        digest = frame_digest(data, _ETHERNET_BYTES if is_ethernet(data) else 0)
        frames.append([row.sender, digest, seen[row.sender, digest], data[:_HEX_BYTES].hex()])
        seen[row.sender, digest] += 1
    return frames


def _changes(facts: list[Event]) -> list[list[Any]]:
    """List what changed at sockets and queues, in the order of time: each names what it is first."""
    changes: list[list[Any]] = []
    waiting: set[tuple[str, str]] = set()  # in TIME-WAIT: what is left of a connection whose TCB is gone
    for fact in facts:
        if type(fact) not in _CHANGING:
            continue
        match fact:
            case TcbCreated():
                changes.append(["state", fact.at_ns, fact.host, fact.connection, fact.state, fact.why])
            case StateChanged():
                changes.append(["state", fact.at_ns, fact.host, fact.connection, fact.new, fact.why])
                if fact.new == "TIME-WAIT":
                    waiting.add((fact.host, fact.connection))
            case TcbReleased() if (fact.host, fact.connection) in waiting:
                pass
            case TcbReleased() | TimeWaitEnded():
                waiting.discard((fact.host, fact.connection))
                changes.append(["gone", fact.at_ns, fact.host, fact.connection])
            case QueueChanged():
                changes.append(["queue", fact.at_ns, fact.host, fact.connection, fact.queue, fact.depth, fact.limit,
                                fact.what, fact.peer])
            case BufferChanged():
                changes.append(["buffer", fact.at_ns, fact.host, fact.connection, fact.which, fact.size_bytes,
                                fact.limit_bytes])
            case SegmentSent() | SegmentReceived() if fact.tcb is not None:
                tcb = fact.tcb
                changes.append(["tcb", fact.at_ns, fact.host, fact.connection, tcb.snd_nxt - tcb.snd_una,
                                tcb.cwnd_bytes, tcb.send_buffer_bytes, tcb.receive_buffer_bytes, tcb.snd_wnd,
                                tcb.rto_ns, tcb.srtt_ns])
    return changes


def _calls(seen: Recording) -> list[dict[str, Any]]:
    """List the calls, each with what it changed: label and text as in the story, ``more`` of them left out."""
    calls = []
    for call in seen.calls():
        changes = call_details(call)
        calls.append({
            "host": call.host, "fd": call.fd, "name": call.name, "arguments": call.arguments, "at_ns": call.started_ns,
            "until_ns": call.returned_ns, "result": call.error or call.result,
            "waits": [wait.waits_for for wait in call.waits], "changes": changes[:_CHANGES_MAX],
            "more": max(len(changes) - _CHANGES_MAX, 0),
        })
    return calls
