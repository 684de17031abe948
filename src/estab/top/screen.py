"""The screen of ``estab top``, by Textual (``estab[top]``).

- A thread of its own reads the source; what is shown is a ``View``, which does not change. So keys answer at once,
  however long a reading takes, and Ctrl-C ends at once.
- Lines are drawn when they are seen: thousands of sockets cost no more than the screen has lines.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Input, Static

from estab.doctor.processes import find_holders
from estab.errors import explain
from estab.observe.text import Line
from estab.top.board import Board, Entry, Key, View
from estab.top.lines import detail, heads, overview, row_line
from estab.top.order import COLUMNS, Filter, ordered
from estab.top.sources import Source

__all__ = ["TopApp"]

_INTERRUPTED: Final = 130
_TERMINATED: Final = 143
_KEYS: Final = "q quit  Enter detail  / filter  < > sort  r reverse  b bad  Space pause  ? help"
_HELP: Final = """\
Sockets of a machine or a stack, read every second and judged by the doctor.

  Up Down k j PgUp PgDn Home End   choose a socket
  Enter            its detail: history, the doctor's verdict, all that is known
  Enter again      the detail on the whole screen; Esc goes back
  /                filter; Enter keeps it, Esc takes it away
  < >              sort by the next column to the left or right
  r                sort the other way round
  b                only what the doctor calls wrong or slow; again: all
  Space            pause, and go on
  + -              read more often, or less
  q  Ctrl-C        end

Marks: ! the doctor says that something is wrong or slow   . something limits it
Filters: words, all must match
  :443  10.0.0.  close-wait  rtt>50  out>=1M  again>0  bad  path-silent  !:22"""
_INTERVALS: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Taken(Message):
    """A reading was taken, or failed: ``trouble`` says why."""

    def __init__(self, view: View | None, trouble: str = "") -> None:
        super().__init__()
        self.view = view
        self.trouble = trouble


class Rows(ScrollView, can_focus=True):
    """The lines of the sockets; one is chosen."""

    DEFAULT_CSS = "Rows { height: 1fr; scrollbar-size: 1 1; overflow-x: hidden; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False), Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False), Binding("pagedown", "page(1)", show=False),
        Binding("home,g", "move(-1000000)", show=False), Binding("end,G", "move(1000000)", show=False),
    ]
    at: reactive[int] = reactive(0)

    def __init__(self, styles: Mapping[str, Style]) -> None:
        super().__init__()
        self._role_styles = styles
        self.entries: list[Entry] = []

    @property
    def chosen(self) -> Entry | None:
        """The chosen socket."""
        return self.entries[self.at] if self.at < len(self.entries) else None

    def show(self, entries: list[Entry]) -> None:
        """Show these; the chosen socket stays chosen, wherever it now stands."""
        key = self.chosen.row.key if self.chosen is not None else None
        self.entries = entries
        place = self.at
        if self.chosen is None or self.chosen.row.key != key:  # processes with a queue each have listeners alike
            place = next((at for at, entry in enumerate(entries) if entry.row.key == key), self.at)
        self.at = max(0, min(place, len(entries) - 1))
        self.virtual_size = Size(self.size.width, len(entries))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw one line of the screen."""
        width = self.size.width
        number = y + self.scroll_offset.y
        if number >= len(self.entries):
            return Strip.blank(width, self.rich_style)
        is_chosen = number == self.at
        segments = [Segment(span.text, self._role_styles.get(span.role, Style.null()) + Style(reverse=is_chosen))
                    for span in row_line(self.entries[number], width)]
        return Strip(segments).adjust_cell_length(width, Style(reverse=is_chosen)).apply_style(self.rich_style)

    def watch_at(self) -> None:
        """Keep the chosen line on the screen."""
        top, height = self.scroll_offset.y, max(1, self.size.height)
        if self.at < top:
            self.scroll_to(y=self.at, animate=False)
        elif self.at >= top + height:
            self.scroll_to(y=self.at - height + 1, animate=False)
        self.refresh()
        self.post_message(Rows.Chosen())

    def on_resize(self) -> None:
        """Have the heads follow the width, which is less by a scrollbar than the screen's."""
        self.virtual_size = Size(self.size.width, len(self.entries))
        self.post_message(Rows.Resized())

    class Chosen(Message):
        """Another line was chosen."""

    class Resized(Message):
        """The lines are of another width."""

    def action_move(self, lines: int) -> None:
        """Choose another line."""
        self.at = max(0, min(self.at + lines, len(self.entries) - 1))

    def action_page(self, pages: int) -> None:
        """Go on by a screen."""
        self.action_move(pages * max(1, self.size.height - 1))

    def on_click(self, event: events.Click) -> None:
        """Choose what was clicked on."""
        self.action_move(event.y + self.scroll_offset.y - self.at)


class TopApp(App[int]):
    """Shows a source. ``run`` returns the exit status."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: $background; }
    #overview, #heads, #keys, #detail-text { text-wrap: nowrap; text-overflow: ellipsis; }
    #overview { height: 2; }
    #heads { height: 1; background: $surface; }
    #detail { display: none; height: auto; max-height: 60%; border-top: solid $primary; scrollbar-size: 1 1; }
    #detail.open { display: block; }
    #detail.whole { height: 1fr; max-height: 100%; }
    Rows.hidden, #heads.hidden { display: none; }
    #filter { display: none; height: 1; border: none; padding: 0; }
    #filter.open { display: block; }
    #keys { height: 1; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "end(0)", "quit"), Binding("ctrl+c", f"end({_INTERRUPTED})", priority=True, show=False),
        Binding("enter", "open", priority=False), Binding("escape", "close"), Binding("slash", "filter"),
        Binding("less_than_sign", "sort(-1)"), Binding("greater_than_sign", "sort(1)"), Binding("r", "reverse"),
        Binding("b", "bad"), Binding("space", "pause"), Binding("plus", "faster"), Binding("minus", "slower"),
        Binding("question_mark,h", "help"),
    ]

    def __init__(self, source: Source, styles: Mapping[str, str], *, interval_s: float = 1.0, sort: str = "found",
                 text: str = "") -> None:
        super().__init__()
        self.source = source
        self.view = View()
        self.trouble = ""
        self.sort, self.is_reversed, self.filter = sort, False, Filter(text)
        self.interval_s = interval_s
        self.is_paused = threading.Event()
        self.only_bad = False
        self._styles = {role: Style.parse(style) for role, style in styles.items()}
        self._board = Board()
        self._ended = threading.Event()
        self._hurried = threading.Event()
        self._holders: dict[Key, str] = {}
        self._shows_help = False
        self._notice, self._notice_until_s = "", 0.0

    def compose(self) -> ComposeResult:
        """Make the parts."""
        yield Static(id="overview")
        yield Static(id="heads")
        yield Rows(self._styles)
        yield VerticalScroll(Static(id="detail-text"), id="detail")
        yield Input(id="filter", placeholder="filter, like: :443 close-wait rtt>50 bad", select_on_focus=False)
        yield Static(id="keys")

    def on_mount(self) -> None:
        """Begin to read."""
        with suppress(NotImplementedError, RuntimeError, ValueError):  # no main thread, or a system without signals
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.action_end, _TERMINATED)
        self.rows.focus()
        threading.Thread(target=self._read, name="estab-top", daemon=True).start()
        self._draw()

    def on_unmount(self) -> None:
        """Read no more."""
        self._ended.set()
        self._hurried.set()

    def _read(self) -> None:
        """Read again and again; a thread of its own runs it."""
        while not self._ended.is_set():
            started = time.monotonic()
            if not self.is_paused.is_set():
                try:
                    view, trouble = self._board.take(self.source.read(), self.source.sysctls), ""
                except OSError as error:
                    view, trouble = None, explain(error)
                if self._ended.is_set():
                    return
                self.post_message(Taken(view, trouble))
            # A reading that takes long is not followed by the next at once: half of the time is for others.
            took_s = time.monotonic() - started
            self._hurried.wait(max(self.interval_s - took_s, took_s))
            self._hurried.clear()

    @property
    def rows(self) -> Rows:
        """The lines."""
        return self.query_one(Rows)

    def on_taken(self, message: Taken) -> None:
        """Show what was read, unless the screen is being taken down."""
        if not self.query(Rows):
            return
        self.trouble = message.trouble
        if message.view is not None:
            self.view = message.view
        self._draw()

    def on_rows_resized(self) -> None:
        """Write the heads anew."""
        self._draw_heads()

    def on_rows_chosen(self) -> None:
        """Show the detail of the line that is chosen now."""
        self._draw_detail()

    def on_resize(self) -> None:
        """Draw anew for another width, once the parts have theirs."""
        self.call_after_refresh(self._draw)

    # --- drawing

    def _draw(self) -> None:
        width = self.size.width
        shown = [entry for entry in self.view.entries if self.filter(entry) and (not self.only_bad or
                                                                                 entry.gravity == 2)]
        self.rows.show(ordered(shown, self.sort, self.is_reversed))
        self.query_one("#overview", Static).update(self._text(overview(self.view, self.source.name, self.source.note,
                                                                       width)))
        self._draw_heads()
        self._draw_keys(len(shown))
        self._draw_detail()

    def _draw_heads(self) -> None:
        width = self.rows.size.width or self.size.width
        self.query_one("#heads", Static).update(self._text([heads(width, self.sort, self.is_reversed)]))

    def _draw_keys(self, shown: int) -> None:
        states = []
        told = self.trouble or (self._notice if time.monotonic() < self._notice_until_s else "")
        if told:
            states.append(told)
        if self.is_paused.is_set():
            states.append("PAUSED")
        if self.only_bad:
            states.append("only bad ones (b)")
        if self.filter.text:
            states.append(f"filter: {self.filter.text} ({shown:,} of {len(self.view.entries):,})")
        text = Text(" | ".join(states) or _KEYS, "bold red" if told else "bold" if states else "dim")
        self.query_one("#keys", Static).update(text)

    def _draw_detail(self) -> None:
        pane = self.query_one("#detail")
        if not pane.has_class("open"):
            return
        if self._shows_help:
            self.query_one("#detail-text", Static).update(Text(_HELP))
            return
        entry = self.rows.chosen
        lines: list[Line] = [()] if entry is None else detail(entry, max(40, self.size.width - 1), self._process(entry))
        self.query_one("#detail-text", Static).update(self._text(lines))

    def _process(self, entry: Entry) -> str:
        """Say whose socket it is. Looking for it reads /proc: once for each socket that is looked at."""
        key = entry.row.key
        if not entry.row.inode:
            return ""
        if key not in self._holders:
            held = find_holders({entry.row.inode}).get(entry.row.inode, [])
            self._holders = {key: ", ".join(one.text for one in held[:2])}
        return self._holders[key]

    def _text(self, lines: list[Line]) -> Text:
        made = Text()
        for number, line in enumerate(lines):
            if number:
                made.append("\n")
            for span in line:
                made.append(span.text, self._styles.get(span.role))
        return made

    # --- keys

    def action_end(self, status: int) -> None:
        """End."""
        self._ended.set()
        self._hurried.set()
        self.exit(status, return_code=status)

    def action_open(self) -> None:
        """Open the detail; the second time on the whole screen."""
        pane = self.query_one("#detail")
        if self._shows_help:
            self._show_whole(False)
        elif pane.has_class("open"):
            self._show_whole(True)
        self._shows_help = False
        pane.add_class("open")
        self._draw_detail()

    def action_close(self) -> None:
        """Close what was opened last: the filter's line, the whole screen, the detail; then the filter itself."""
        pane, line = self.query_one("#detail"), self.query_one("#filter", Input)
        if line.has_class("open"):
            self._close_filter("")
        elif self._shows_help:
            self.action_help()
        elif pane.has_class("whole"):
            self._show_whole(False)
        elif pane.has_class("open"):
            pane.remove_class("open")
        else:
            self.filter, self.only_bad = Filter(), False
        self._draw()

    def action_filter(self) -> None:
        """Ask for a filter."""
        line = self.query_one("#filter", Input)
        line.value = self.filter.text
        line.add_class("open")
        self.screen.set_focus(line)  # at once: the next key is the filter's

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the filter, or say what is wrong with it."""
        try:
            Filter(event.value)
        except ValueError as error:
            self._tell(str(error), float("inf"))
            return
        self._close_filter(event.value)
        self._draw()

    def on_input_changed(self) -> None:
        """Forget what was wrong: the user mends it."""
        self._notice = ""

    def _close_filter(self, text: str) -> None:
        self._notice = ""
        self.filter = Filter(text)
        self.query_one("#filter").remove_class("open")
        self.rows.focus()

    def action_sort(self, columns: int) -> None:
        """Sort by another column of those that are shown."""
        names = list(COLUMNS)
        self.sort = names[(names.index(self.sort) + columns) % len(names)]
        self._draw()

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self.is_reversed = not self.is_reversed
        self._draw()

    def action_bad(self) -> None:
        """Show only what the doctor calls wrong or slow, or all."""
        self.only_bad = not self.only_bad
        self._draw()

    def action_pause(self) -> None:
        """Read no more, or go on."""
        if self.is_paused.is_set():
            self.is_paused.clear()
            self._hurried.set()
        else:
            self.is_paused.set()
        self._draw()

    def action_faster(self) -> None:
        """Read more often."""
        self._set_interval(max((one for one in _INTERVALS if one < self.interval_s), default=_INTERVALS[0]))

    def action_slower(self) -> None:
        """Read less often."""
        self._set_interval(min((one for one in _INTERVALS if one > self.interval_s), default=_INTERVALS[-1]))

    def _set_interval(self, seconds: float) -> None:
        self.interval_s = seconds
        self._hurried.set()
        self._tell(f"every {seconds:g} s", 2.0)

    def _tell(self, text: str, seconds: float) -> None:
        """Tell something in the last line, for a while."""
        self._notice, self._notice_until_s = text, time.monotonic() + seconds
        self._draw()

    def action_help(self) -> None:
        """Explain the keys."""
        pane = self.query_one("#detail")
        if self._shows_help:
            self._show_whole(False)
            pane.remove_class("open")
        else:
            pane.add_class("open")
            self._show_whole(True)
        self._shows_help = not self._shows_help
        self._draw_detail()

    def _show_whole(self, is_whole: bool) -> None:
        """Give the detail the whole screen, or the lines their place again."""
        pane = self.query_one("#detail")
        pane.set_class(is_whole, "whole")
        for one in (self.rows, self.query_one("#heads")):
            one.set_class(is_whole, "hidden")
        (pane if is_whole else self.rows).focus()
