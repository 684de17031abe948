"""``estab tour``: the life of a TCP connection, told from runs of the real engine.

Every chapter plays its scenes on virtual networks and tells them from the facts of that run: step by step, then as a
ladder of segments, then what was found. Another seed is another run.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from typing import BinaryIO, Final

import click

from estab import __version__
from estab.cli.chapters import CHAPTERS, find
from estab.cli.chapters.chapter import Chapter, Played
from estab.cli.perform import perform
from estab.cli.screen import Screen
from estab.events import Event, StateChanged
from estab.observe.capture import write_section
from estab.observe.facts import Json, event_json
from estab.observe.ladder import ladder
from estab.observe.ladder_text import render
from estab.observe.pcapng import PcapngWriter
from estab.observe.story import story
from estab.observe.text import Span, wrapped
from estab.units import SECOND

__all__ = ["tour"]

_SEED: Final = 1
_GAP_NS: Final = 10 * SECOND
"""Time between two scenes in a capture file."""


@click.command()
@click.argument("chapter", required=False)
@click.option("--seed", type=int, default=_SEED, show_default=True, help="Chance of the run: the same seed, the same "
                                                                         "run.")
@click.option("--pcap", type=click.Path(dir_okay=False), help="Write all packets there (pcapng), with comments.")
@click.option("--json", "as_json", is_flag=True, help="Write all facts as one JSON document instead of the story.")
@click.option("--list", "as_list", is_flag=True, help="List the chapters.")
def tour(chapter: str | None, seed: int, pcap: str | None, as_json: bool, as_list: bool) -> None:
    """Tell the life of a TCP connection, call by call.

    CHAPTER is one of those that --list shows; without it, all are told. Needs no root and no network: two hosts and
    the cable between them are virtual, and so is the time, so that two hours of a pulled cable take milliseconds.
    """
    chapters = CHAPTERS if chapter is None else (_chapter(chapter),)
    if as_list:
        for item in chapters:
            click.echo(f"{item.name:14}{item.title}")
        return
    with ExitStack() as stack:
        capture = None if pcap is None else _Capture(_opened(pcap, stack), seed)
        screen = None if as_json else Screen(sys.stdout)
        documents: list[Json] = []
        for number, item in enumerate(chapters):
            played = perform(item, seed)
            if capture is not None:
                capture.add(item, played)
            if screen is None:
                documents.append(_document(item, played))
            else:
                _tell(screen, item, played, is_first=number == 0)
        if as_json:
            click.echo(json.dumps({"estab": __version__, "seed": seed, "chapters": documents}, indent=1))


def _chapter(name: str) -> Chapter:
    found = find(name)
    if found is None:
        known = ", ".join(item.name for item in CHAPTERS)
        raise click.BadArgumentUsage(f"no chapter {name!r}; there are: {known}")
    return found


def _opened(path: str, stack: ExitStack) -> BinaryIO:
    try:
        return stack.enter_context(open(path, "wb"))
    except OSError as error:
        raise click.ClickException(f"--pcap: cannot write {path!r}: {error.strerror}") from error


class _Capture:
    """The capture file of a tour: a section for each scene, one after the other in time."""

    def __init__(self, stream: BinaryIO, seed: int) -> None:
        self._writer = PcapngWriter(stream)
        self._seed = seed
        self._after_ns = 0

    def add(self, chapter: Chapter, played: list[Played]) -> None:
        for item in played:
            comment = f"{chapter.title}: {item.scene.name}\nestab tour {chapter.name} --seed {self._seed} --pcap FILE"
            write_section(self._writer, item.recorder.facts, comment=comment, after_ns=self._after_ns)
            self._after_ns += -(-(item.ended_ns + _GAP_NS) // _GAP_NS) * _GAP_NS


# --- as JSON


def _document(chapter: Chapter, played: list[Played]) -> dict[str, Json]:
    return {
        "chapter": chapter.name,
        "title": chapter.title,
        "scenes": [_scene_document(item) for item in played],
    }


def _scene_document(item: Played) -> dict[str, Json]:
    return {
        "scene": item.scene.name,
        "setting": item.scene.setting,
        "ended_ns": item.ended_ns,
        "found": list(item.findings),
        "calls": [record.to_json() for record in item.recorder.calls()],
        "ladder": ladder(item.recorder.facts, hosts=item.scene.lanes).to_json(),
        "facts": [event_json(fact) for fact in item.recorder.facts],
        "facts_not_kept": item.recorder.not_kept,
    }


# --- as a story


def _tell(screen: Screen, chapter: Chapter, played: list[Played], *, is_first: bool) -> None:
    if not is_first:
        screen.line()
        screen.line()
    screen.line(Span("━━ ", "rule"), Span(f"{chapter.name}: {chapter.title} ", "chapter"),
                Span("━" * max(screen.width - len(chapter.name) - len(chapter.title) - 6, 0), "rule"))
    _paragraph(screen, chapter.question)
    for item in played:
        screen.line()
        screen.line(Span(f"── {item.scene.name}", "heading"))
        _paragraph(screen, item.scene.setting)
        screen.line()
        facts = item.recorder.facts
        since_ns = 0 if chapter.is_about_opening else _opened_ns(facts)
        screen.lines(story(facts, width=screen.width, since_ns=since_ns))
        screen.line()
        screen.lines(render(ladder(facts, hosts=item.scene.lanes).since(since_ns).folded(), screen.width))
        if item.findings:
            screen.line()
        for finding in item.findings:
            first, *rest = wrapped(finding, screen.width - 3)
            screen.line(Span(" ● ", "finding"), Span(first))
            for line in rest:
                screen.line("   " + line)


def _opened_ns(facts: list[Event]) -> int:
    """Find when a connection was established first, on either side; 0 where none was."""
    return next((fact.at_ns for fact in facts if isinstance(fact, StateChanged) and fact.new == "ESTABLISHED"), 0)


def _paragraph(screen: Screen, text: str) -> None:
    for line in wrapped(text, screen.width):
        screen.line(Span(line, "prose"))
