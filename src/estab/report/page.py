"""Tables into one HTML file that opens from disk: nothing of it comes from elsewhere, nothing of the data is code.

- The page's own text is built from ``web/`` (``make web``) and ships as ``page.html``. Its policy allows its own script
  and style by their hashes, and nothing else.
- Data go into two blocks that no browser runs: what is text as JSON in which ``<`` never stands, the numbers in base64.
"""

from __future__ import annotations

import base64
import html
import json
import os
from array import array
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from os import PathLike
from typing import Any, Final

from estab.report.marks import marks, question
from estab.report.pack import pack
from estab.report.rest import Rest
from estab.report.tables import HELD, Tables

__all__ = ["FRAMES_MAX", "Found", "Scene", "page_of", "write_report"]

FRAMES_MAX: Final = 1_000_000
"""Frames of a page. Beyond, the connection in question is whole and the others are sampled, and the page says so."""

_FORMAT: Final = 2
_Chosen = tuple[dict[str, Mapping[str, Sequence[int]]], bytes, str]


@dataclass(frozen=True, slots=True)
class Found:
    """A finding about a run, from the doctor for instance. ``subject`` is a connection, ``near>far``, or empty.

    Times are those of the tables; ``until_ns`` may be that of ``from_ns``.
    """

    title: str
    subject: str
    from_ns: int
    until_ns: int
    evidence: tuple[str, ...] = ()
    notices: str = ""
    cures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """One run on a page. ``title`` says what was run, ``command`` how to do it again.

    ``connection`` is the number of the one to be shown first, -1 for the one that carried most. ``findings`` stand
    above the views, the gravest first.
    """

    tables: Tables
    title: str = ""
    command: str = ""
    connection: int = -1
    findings: Sequence[Found] = ()


def write_report(path: str | PathLike[str], *scenes: Scene) -> None:
    """Write the page of one run, or of several to choose from, to a file. Raises ``OSError`` if it can't be written."""
    text = page_of(*scenes)
    stream = open(path, "w", encoding="utf-8", newline="\n")  # noqa: SIM115 (what fails here leaves the file as it is)
    try:
        with stream:
            stream.write(text)
    except OSError:
        if os.path.isfile(path):  # half a page shows nothing; not a device
            with suppress(OSError):
                os.unlink(path)
        raise


def page_of(*scenes: Scene, frames_max: int = FRAMES_MAX) -> str:
    """Return the page of one run, or of several to choose from, as text."""
    if not scenes:
        raise ValueError("scenes: a page is of at least one run")
    before, _, rest = _template().partition("<!--estab:title-->")
    middle, _, after = rest.partition("<!--estab:data-->")
    parts = [before, html.escape(scenes[0].title or "estab: a run"), middle]
    for scene in scenes:
        parts += _blocks(scene, frames_max)
    return "".join([*parts, after])


def _blocks(scene: Scene, frames_max: int) -> tuple[str, ...]:
    """Write the two blocks of a run: words and numbers."""
    tables = scene.tables
    chosen = scene.connection if 0 <= scene.connection < len(tables.conns) else question(tables)
    columns, heads, sampled = _chosen_rows(tables, chosen, frames_max)
    shape, data = pack(columns, heads)
    meta = _meta(tables, scene, chosen, sampled)
    meta["tables"] = shape
    return (
        '<script class="estab-meta" type="application/json">', _inert(meta), "</script>\n",
        '<script class="estab-data" type="text/plain">', base64.b64encode(data).decode(), "</script>\n",
    )


def _template() -> str:
    return resources.files("estab.report").joinpath("page.html").read_text(encoding="utf-8")


def _inert(meta: Mapping[str, Any]) -> str:
    """Write JSON that can't end the block it stands in, whatever the words in it."""
    text = json.dumps(meta, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _meta(tables: Tables, scene: Scene, chosen: int, sampled: str) -> dict[str, Any]:
    notes = list(tables.missing)
    if sampled:
        notes.append(sampled)
    if tables.not_kept:
        notes.append(f"{tables.not_kept:,} events came after the tables were full and are not in this page.")
    if tables.heads_not_kept:
        notes.append(f"The headers of {tables.heads_not_kept:,} frames are not kept: they have no bytes here, and are "
                     "not in a capture that this page saves.")
    origin = tables.origin_ns
    return {
        "format": _FORMAT, "title": scene.title, "command": scene.command, "begin": max(0, tables.begin_ns - origin),
        "end": max(0, tables.end_ns - origin), "origin": origin, "epoch": str(tables.epoch_ns + origin),
        "capture": tables.is_capture or tables.epoch_ns > 0, "real": tables.epoch_ns > 0 and not tables.is_capture,
        "hosts": tables.hosts, "switches": sorted(tables.switches), "chosen": chosen, "notes": notes,
        "held": list(HELD), "payload": tables.has_payload,
        "ways": [{"link": way.link, "source": way.source, "target": way.target, "interface": way.interface,
                  "conditions": way.conditions} for way in tables.ways],
        "conns": [[*conn.names, *conn.hosts, conn.since_ns - origin, conn.until_ns - origin, *conn.bytes, conn.frames]
                  for conn in tables.conns],
        "listeners": [list(pair) for pair in tables.listeners],
        "bands": [{"link": band.link, "text": band.text, "from": band.from_ns - origin,
                   "until": band.until_ns - origin if band.until_ns >= 0 else -1} for band in tables.bands],
        "marks": [[mark.name, mark.from_ns - origin, mark.until_ns - origin, mark.conn, mark.side]
                  for mark in marks(tables)],
        "sampled": [[end, every_ns] for end, every_ns in tables.sampled.items()],
        "findings": [_finding(tables, found) for found in scene.findings],
        "words": {kind: list(words) for kind, words in tables.words.items()},
    }


def _finding(tables: Tables, found: Found) -> list[Any]:
    near, _, far = found.subject.partition(">")
    place = tables.find(near, far)
    conn, side = (place[0].number, place[1]) if place is not None else (-1, 0)
    origin = tables.origin_ns
    return [found.title, found.subject, conn, side, found.from_ns - origin, found.until_ns - origin,
            list(found.evidence), found.notices, list(found.cures)]


def _chosen_rows(tables: Tables, chosen: int, frames_max: int) -> _Chosen:
    """Return the rows that the page gets, with the bytes of frames and what to say of those that are left out."""
    columns: dict[str, Mapping[str, Sequence[int]]] = dict(tables.columns)
    if isinstance(tables, Rest):
        for table, rows in tables.unfinished().items():
            columns[table] = {name: array("q", [*tables.columns[table][name], *rows[name]]) for name in rows}
    total = tables.count("frame")
    if total <= frames_max:
        return columns, bytes(tables.heads), ""
    return _sampled(columns, tables, chosen, frames_max)


def _sampled(
    columns: dict[str, Mapping[str, Sequence[int]]], tables: Tables, chosen: int, frames_max: int,
) -> _Chosen:
    """Keep the connection in question whole, and of the others one frame in so many."""
    frame = columns["frame"]
    total = len(frame["t"])
    own = sum(conn == chosen for conn in frame["conn"])
    step = max(2, -(-(total - own) // max(1, frames_max - own)))
    kept: list[int] = []
    passed = 0
    for row, conn in enumerate(frame["conn"]):
        if conn != chosen:
            passed += 1
            if passed % step:
                continue
        kept.append(row)
    place = {row: number for number, row in enumerate(kept)}
    heads, at = bytearray(), 0
    starts = []
    for size in frame["head"]:
        starts.append(at)
        at += size
    for row in kept:
        heads += tables.heads[starts[row]:starts[row] + frame["head"][row]]
    columns["frame"] = {
        name: array("q", [place.get(cell[row], -1) for row in kept] if name == "from" else [cell[row] for row in kept])
        for name, cell in frame.items()
    }
    for table in ("flow", "cc", "buffer", "rtt", "sack"):
        rows = [row for row, end in enumerate(columns[table]["end"]) if end // 2 == chosen or row % step == 0]
        columns[table] = {name: array("q", [cell[row] for row in rows]) for name, cell in columns[table].items()}
    return columns, bytes(heads), (
        f"The run has {total:,} frames. All {own:,} of connection {' – '.join(tables.conns[chosen].names)} are here; "
        f"of the others one in {step} is."
    )
