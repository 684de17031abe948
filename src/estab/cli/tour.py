"""``estab tour``: the life of a TCP connection, told from runs of the real engine.

Every chapter plays its scenes on virtual networks and tells them from the facts of that run: step by step, then as a
ladder of segments, then what was found. Another seed is another run. One chapter is told at a time, and says at its end
which comes next; ``--all`` tells all of them.
"""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import BinaryIO, Final

import click
from click.shell_completion import CompletionItem

from estab import __version__
from estab.cli.ascii import echo
from estab.cli.chapters import CHAPTERS, find
from estab.cli.chapters.chapter import Chapter, Played
from estab.cli.chapters.languages import chapter_in
from estab.cli.perform import perform
from estab.cli.screen import Screen
from estab.cli.written import cannot_write, written
from estab.events import Event, StateChanged
from estab.observe.capture import write_section
from estab.observe.facts import Json, event_json
from estab.observe.ladder import ladder
from estab.observe.ladder_text import render
from estab.observe.languages import LANGUAGES, Words, words_of
from estab.observe.pcapng import PcapngWriter
from estab.observe.story import story
from estab.observe.text import Line, Span, cells, wrapped
from estab.units import SECOND

__all__ = ["told", "tour"]

_SEED: Final = 1
_GAP_NS: Final = 10 * SECOND
"""Time between two scenes in a capture file."""


def _complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the chapters whose names begin so, for the shell's completion."""
    return [CompletionItem(item.name, help=item.title) for item in CHAPTERS if item.name.startswith(incomplete)]


@click.command()
@click.argument("chapter", required=False, shell_complete=_complete)
@click.option("--all", "is_all", is_flag=True, help="Tell every chapter, one after the other.")
@click.option("--seed", type=int, default=_SEED, show_default=True, help="Chance of the run: the same seed, the same "
                                                                         "run.")
@click.option("--pcap", type=click.Path(dir_okay=False), help="Write all packets there (pcapng), with comments.")
@click.option("--report", type=click.Path(dir_okay=False), help="Write a page there that shows the run (HTML).")
@click.option("--json", "as_json", is_flag=True, help="Write all facts as one JSON document instead of the story.")
@click.option("--list", "as_list", is_flag=True, help="List the chapters.")
@click.option("--lang", type=click.Choice(LANGUAGES), default="en", show_default=True,
              help="The language of the story: English, or Simplified Chinese (简体中文).")
def tour(
    chapter: str | None, is_all: bool, seed: int, pcap: str | None, report: str | None, as_json: bool, as_list: bool,
    lang: str,
) -> None:
    """Tell the life of a TCP connection, call by call.

    CHAPTER is one of those that --list shows, by default the first; its last line names the next. Needs no root and no
    network: two hosts and the cable between them are virtual, and so is the time, so that two hours of a pulled cable
    take milliseconds.
    """
    if is_all and chapter is not None:
        raise click.UsageError(f"--all tells every chapter, and {chapter!r} names one")
    chosen = None if chapter is None else _chapter(chapter)
    words = words_of(lang)
    if lang != "en":
        _ensure_written(lang)
    if as_list:
        for item in CHAPTERS if chosen is None else (chosen,):
            echo(f"{item.name:14}{chapter_in(lang, item).title}")
        return
    chapters = CHAPTERS if is_all else (chosen or CHAPTERS[0],)
    with ExitStack() as stack:
        capture = None if pcap is None else _Capture(pcap, stack.enter_context(written(pcap, "--pcap")), seed)
        performances = _performances(chapters, seed, capture)
        if report is not None:
            performances = _reported(performances, report, seed)
        if as_json:
            documents = [_document(item, played) for item, played in performances]
            echo(json.dumps({"estab": __version__, "seed": seed, "chapters": documents}, indent=1))
        else:
            _show(performances, () if is_all else _next(chapters[0], seed, words), words)


def _ensure_written(lang: str) -> None:
    """Refuse a language whose characters the output's encoding does not have."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        chapter_in(lang, CHAPTERS[0]).title.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        raise click.ClickException(f"--lang {lang}: the output's encoding, {encoding}, does not have the characters; "
                                   "choose UTF-8, with PYTHONIOENCODING=utf-8 or the locale") from None


def _performances(
    chapters: Sequence[Chapter], seed: int, capture: _Capture | None
) -> Iterator[tuple[Chapter, list[Played]]]:
    for item in chapters:
        played = perform(item, seed)
        if capture is not None:
            capture.add(item, played)
        yield item, played


def _reported(
    performances: Iterator[tuple[Chapter, list[Played]]], path: str, seed: int
) -> Iterator[tuple[Chapter, list[Played]]]:
    """Let the performances pass, and write their page after the last."""
    from estab.report.columns import Columns
    from estab.report.page import Scene, write_report

    scenes = []
    for chapter, played in performances:
        for item in played:
            columns = Columns()
            for fact in item.recorder.facts:
                columns(fact)
            title = f"{chapter.title}: {item.scene.name}"
            scenes.append(Scene(columns, title, f"estab tour {chapter.name} --seed {seed} --report FILE"))
        yield chapter, played
    try:
        write_report(path, *scenes)
    except OSError as error:
        raise cannot_write(path, "--report", error) from error


def _show(performances: Iterable[tuple[Chapter, list[Played]]], next_line: Line, words: Words) -> None:
    """Write the story. All of it (there is no line about what comes next) goes through the reader's pager, if any."""
    screen = Screen(sys.stdout)
    lines = (line for item, played in performances for line in told(item, played, screen.width, words))
    if next_line:
        screen.lines(lines)
        screen.lines([next_line])
    elif screen.is_terminal and sys.stdin is not None and sys.stdin.isatty():
        click.echo_via_pager(map(screen.dressed, lines))
    else:
        screen.lines(lines)


def _chapter(name: str) -> Chapter:
    found = find(name)
    if found is None:
        names = [item.name for item in CHAPTERS]
        nearest = difflib.get_close_matches(name.lower(), names, 1)
        meant = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise click.BadArgumentUsage(f"no chapter {name!r}.{meant} There are: {', '.join(names)}")
    return found


def _next(chapter: Chapter, seed: int, words: Words) -> Line:
    """Say with which command the story goes on."""
    place = CHAPTERS.index(chapter) + 1
    language = "" if words.language == "en" else f" --lang {words.language}"
    again = ("" if seed == _SEED else f" --seed {seed}") + language
    if place == len(CHAPTERS):
        again = f"estab tour --all --seed {seed + 1}{language}"
        return Span(words.say("This was the last chapter. Another run of them all: "), "rule"), Span(again, "call")
    following = chapter_in(words.language, CHAPTERS[place])
    return (Span(words.say("next: "), "rule"), Span(f"estab tour {following.name}{again}", "call"),
            Span(words.say(f"   {following.title} ({place + 1} of {len(CHAPTERS)})"), "rule"))


class _Capture:
    """The capture file of a tour: a section for each scene, one after the other in time."""

    def __init__(self, path: str, stream: BinaryIO, seed: int) -> None:
        self._path = path
        self._writer = PcapngWriter(stream)
        self._seed = seed
        self._after_ns = 0

    def add(self, chapter: Chapter, played: list[Played]) -> None:
        for item in played:
            comment = f"{chapter.title}: {item.scene.name}\nestab tour {chapter.name} --seed {self._seed} --pcap FILE"
            try:
                write_section(self._writer, item.recorder.facts, comment=comment, after_ns=self._after_ns)
            except OSError as error:
                raise cannot_write(self._path, "--pcap", error) from error
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


def told(chapter: Chapter, played: list[Played], width: int, words: Words | None = None) -> Iterator[Line]:
    """Tell a chapter: its question, then each scene step by step, as a ladder, and what was found in it."""
    words = words or words_of("en")
    chapter = chapter_in(words.language, chapter)
    title = f"{chapter.name}: {chapter.title} "
    yield Span("━━ ", "rule"), Span(title, "chapter"), Span("━" * (width - cells(title) - 3), "rule")
    yield from _paragraph(chapter.question, width)
    for scene, item in zip(chapter.scenes, played, strict=True):
        facts = item.recorder.facts
        since_ns = 0 if chapter.is_about_opening else _opened_ns(facts)
        yield ()
        yield from ((Span(line, "heading"),) for line in wrapped(f"── {scene.name}", width))
        yield from _paragraph(scene.setting, width)
        yield ()
        yield from story(facts, width=width, since_ns=since_ns, say=words.say)
        yield ()
        yield from render(ladder(facts, hosts=scene.lanes).since(since_ns).folded(), width, words.say)
        yield ()
        for finding in item.findings:
            for number, text in enumerate(wrapped(words.say(finding), width - 3)):
                yield Span("   " if number else " ● ", "finding"), Span(text)
    yield ()


def _opened_ns(facts: list[Event]) -> int:
    """Find when a connection was established first, on either side; 0 if none was."""
    return next((fact.at_ns for fact in facts if isinstance(fact, StateChanged) and fact.new == "ESTABLISHED"), 0)


def _paragraph(text: str, width: int) -> Iterator[Line]:
    for line in wrapped(text, width):
        yield (Span(line, "prose"),)
