"""``Recording``: what a network, a host or a stack did from ``record()`` on, in words, ladders and files.

It holds at most ``facts_max`` facts and ``frame_bytes_max`` bytes of frames. What comes after is counted and forgotten,
and whatever is made of the recording says so: the beginning of a run explains its end, not the other way round.

What draws and writes is imported when it is first asked for: a network without a recording does not load it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Final

from estab._version import __version__
from estab.events import Event, Observer
from estab.observe.recorder import CallRecord, Recorder, calls_among, episodes
from estab.observe.text import Line, Span, plain_text
from estab.observers import Observation
from estab.units import format_bytes, format_count

if TYPE_CHECKING:
    from estab.report.columns import Columns

__all__ = ["FACTS_MAX", "FRAME_BYTES_MAX", "Recording"]

FACTS_MAX: Final = 1_000_000
FRAME_BYTES_MAX: Final = 256 * 1024 * 1024


class Recording(AbstractContextManager["Recording"]):
    """Records until ``stop``, or the end of its ``with`` block; then it can still be looked at.

    ``title`` says what was recorded. ``start_ns`` is the time, by the facts' clock, from which all times are counted
    but those of ``facts`` and of capture files; ``epoch_ns`` is what is added to the clock for capture files.
    """

    def __init__(self, observe: Callable[[Observer], Observation], title: str, *, start_ns: int = 0, epoch_ns: int = 0,
                 clock: Callable[[], int] | None = None, facts_max: int = FACTS_MAX,
                 frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._recorder = Recorder(facts_max=facts_max, frame_bytes_max=frame_bytes_max)
        self._columns: Columns | None = None
        """What a page is made from, once there are more facts than are kept: it goes on where they end."""
        self.title = title
        self._start_ns = start_ns
        self._epoch_ns = epoch_ns
        self._clock = clock
        self._stopped_ns: int | None = None
        self._stop = observe(self._hear)

    def _hear(self, event: Event) -> None:
        not_kept = self._recorder.not_kept
        if self._columns is not None:
            self._columns(event)
        self._recorder(event)
        if not_kept == 0 and self._recorder.not_kept:
            self._columns = _columns(self._recorder.facts)
            self._columns(event)

    def stop(self) -> None:
        """Record no more. Idempotent."""
        if self._stopped_ns is None:
            self._stopped_ns = self.end_ns
        self._stop()

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def facts(self) -> list[Event]:
        """The facts (``estab.events``) so far, in the order in which they came to be."""
        return list(self._recorder.facts)

    @property
    def not_kept(self) -> int:
        """How many facts came after the recording was full."""
        return self._recorder.not_kept

    @property
    def end_ns(self) -> int:
        """Until when it recorded, by the facts' clock: now, its ``stop``, or its last fact if it became full."""
        if self._stopped_ns is not None:
            return self._stopped_ns
        if self._clock is None or self.not_kept:
            return self._recorder.facts[-1].at_ns if self._recorder.facts else self._start_ns
        return self._clock()

    def hosts(self) -> list[str]:
        """Return the names of the hosts, in the order of their first facts."""
        return self._recorder.hosts()

    def calls(self, host: str = "", fd: int | None = None, name: str = "") -> list[CallRecord]:
        """Return the calls of programs in the order in which they began, with what each changed.

        Of one ``host``, one descriptor or one ``name`` (``"connect"``), if that is given.
        """
        return calls_among(episodes(self._counted()), host, fd, name)

    # --- to read

    def ladder(self, *, width: int = 100, hosts: Sequence[str] = ()) -> str:
        """Draw the segments between hosts as a ladder, with the calls, states and timers beside it.

        ``hosts`` are the lanes from left to right: all, if not given. ``ValueError`` for a width below 60.
        """
        return _text(self.ladder_lines(width=width, hosts=hosts))

    def story(self, *, width: int = 100, hosts: Collection[str] = ()) -> str:
        """Tell each step, and which descriptors, queues, buffers and segments it changed."""
        return _text(self.story_lines(width=width, hosts=hosts))

    def ladder_lines(self, *, width: int = 100, hosts: Sequence[str] = ()) -> list[Line]:
        """Draw the ladder as lines whose parts have roles, for a caller that colours them."""
        from estab.observe.ladder import ladder
        from estab.observe.ladder_text import render

        return [*render(ladder(self._counted(), hosts=hosts).folded(), width), *self._rest()]

    def story_lines(self, *, width: int = 100, hosts: Collection[str] = ()) -> list[Line]:
        """Tell the story as lines whose parts have roles."""
        from estab.observe.story import story

        return [*story(self._counted(), width=width, hosts=hosts), *self._rest()]

    # --- to keep

    def report(self, path: str | PathLike[str], *, title: str = "", payload: bool = False) -> None:
        """Write a page that shows the run: what held it up, ladder, plots, queues and calls on one clock, in one file.

        ``title`` is its heading. Payload of frames is not on it, only their headers, unless ``payload``. It has all of
        the run, also what came after ``facts_max``; then without payload. ``OSError`` if the file can't be written.
        """
        from estab.report.page import Scene, write_report

        tables = self._columns or _columns(self._recorder.facts, has_payload=payload)
        tables.origin_ns, tables.epoch_ns = self._start_ns, self._epoch_ns
        write_report(path, Scene(tables, title or self.title))

    def pcapng(self, path: str | PathLike[str], *, host: str = "") -> int:
        """Write every frame once to a capture file, with why it was sent and what became of it. Returns how many.

        With ``host`` it has the frames that tcpdump would have written there: each when the host sent it, or when it
        came, as it came; none that was lost on its way to it. ``ValueError`` for a host that is not in the recording,
        ``OSError`` if the file can't be written.
        """
        from estab.observe.capture import write_section
        from estab.observe.pcapng import PcapngWriter

        known = self.hosts()
        if host and host not in known:
            raise ValueError(f"host: there is no {host!r} in this recording, only {', '.join(known) or 'nobody'}")
        comment = "\n".join([f"{self.title}, as host {host} saw it" if host else self.title,
                             *(plain_text(line) for line in self._rest())])
        with open(path, "wb") as file:
            return write_section(PcapngWriter(file), self.facts, comment=comment, seen_by=host, after_ns=self._epoch_ns)

    def json(self, path: str | PathLike[str]) -> None:
        """Write calls, ladder and facts as one JSON document. ``OSError`` if the file can't be written."""
        from estab.observe.facts import event_json
        from estab.observe.ladder import ladder

        facts = self._counted()
        document = {
            "estab": __version__,
            "title": self.title,
            "calls": [record.to_json() for record in self.calls()],
            "ladder": ladder(facts).to_json(),
            "facts": [event_json(fact) for fact in facts],
            "facts_not_kept": self.not_kept,
        }
        with open(path, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.write("\n")

    def __len__(self) -> int:
        return len(self._recorder.facts)

    def __repr__(self) -> str:
        return f"<Recording {self.title}, {format_count(len(self), 'fact')}>"

    # --- inside

    def _counted(self) -> list[Event]:
        """Return the facts with their times counted from the start of the recording."""
        if self._start_ns == 0:
            return self.facts
        return [replace(fact, at_ns=fact.at_ns - self._start_ns) for fact in self.facts]

    def _rest(self) -> list[Line]:
        """Say what is missing, if anything is."""
        if self.not_kept == 0:
            return []
        limits = f"{format_count(self._recorder.facts_max, 'fact')} and {format_bytes(self._recorder.frame_bytes_max)}"
        more = format_count(self.not_kept, "fact")
        return [(Span(f"{more} more came after the recording was full: it holds {limits} of frames at most", "error"),)]


def _columns(facts: list[Event], *, has_payload: bool = False) -> Columns:
    """Fill columns from facts that were kept."""
    from estab.report.columns import Columns

    columns = Columns(has_payload=has_payload)
    for fact in facts:
        columns(fact)
    return columns


def _text(lines: list[Line]) -> str:
    return "\n".join(map(plain_text, lines))
