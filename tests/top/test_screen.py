"""The screen of ``estab top`` by Textual's pilot: keys, detail, filter, pause, trouble, and the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from estab.cli.screen import STYLES
from estab.doctor.machine import Reading
from estab.top.screen import Rows, TopApp
from tests.top.test_board import CLOSE_WAIT, connection, listener


class Script:
    """A source of readings that a test wrote. Each reading moves the connections a little."""

    name = "a script"
    note = ""
    sysctls: dict[str, str] = {}

    def __init__(self, count: int = 5, trouble: str = "") -> None:
        self.count = count
        self.trouble = trouble
        self.reads = 0

    def read(self) -> Reading:
        self.reads += 1
        if self.trouble:
            raise OSError(self.trouble)
        rows = [connection(number + 1, bytes_received=number * 1000 * self.reads, rtt=1000 * number)
                for number in range(self.count)]
        rows.append(connection(9999, CLOSE_WAIT, last_ack_recv=30_000))
        return Reading(float(self.reads), rows, [listener(80, 2)])

    def close(self) -> None:
        pass


def play(source: Script, act: Callable[[TopApp, Pilot[int]], Awaitable[None]], size: tuple[int, int] = (80, 24),
         text: str = "") -> TopApp:
    """Run the screen, and have a test press keys once two readings are shown."""
    app = TopApp(source, STYLES, interval_s=0.1, text=text)

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: source.reads > 2)
            await act(app, pilot)

    asyncio.run(run())
    return app


async def until(pilot: Pilot[int], claim: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not claim():
        assert time.monotonic() < end, "not within 30 seconds"
        await pilot.pause(0.01)


def shown(app: TopApp) -> list[str]:
    """What stands on the screen, line by line."""
    return ["".join(segment.text for segment in strip).rstrip() for strip in app.screen._compositor.render_strips()]


def test_all_fits_into_80_by_24_the_worst_first() -> None:
    async def look(app: TopApp, pilot: Pilot[int]) -> None:
        lines = shown(app)
        assert len(lines) == 24
        assert lines[0] == "a script: 6 connections, 1 listener, 2 to accept"
        assert "1 bad" in lines[1]
        assert lines[2].split()[:3] == ["▼", "STATE", "LOCAL"]
        assert lines[3].split()[:2] == ["!", "CLOSE-WAIT"]
        assert lines[-1].startswith("q quit")
        assert len([line for line in lines if "ESTAB" in line]) == 5

    play(Script(), look)


def test_keys_choose_a_line_and_enter_tells_what_the_doctor_finds() -> None:
    async def look(app: TopApp, pilot: Pilot[int]) -> None:
        await pilot.press("enter")
        await until(pilot, lambda: any("CLOSE-WAIT: the program does not close" in line for line in shown(app)))
        await pilot.press("down")
        await until(pilot, lambda: any("finds nothing wrong" in line for line in shown(app)))
        assert any(line.startswith("rtt") for line in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: not app.query_one(Rows).display)
        await pilot.press("escape", "escape")
        await until(pilot, lambda: app.query_one(Rows).display and not app.query_one("#detail").display)

    play(Script(), look)


def test_a_filter_is_typed_and_a_wrong_one_is_told() -> None:
    async def look(app: TopApp, pilot: Pilot[int]) -> None:
        await pilot.press("slash", *"rtt>2", "enter")
        await until(pilot, lambda: len(app.query_one(Rows).entries) == 2)
        await until(pilot, lambda: "filter: rtt>2 (2 of 7)" in shown(app)[-1])
        await pilot.press("slash")
        app.query_one("#filter", Input).value = "zork>2"
        await pilot.press("enter")
        await until(pilot, lambda: "'zork>2' is no comparison" in shown(app)[-1])
        await pilot.press("escape")
        await until(pilot, lambda: len(app.query_one(Rows).entries) == 7)

    play(Script(), look)


def test_order_pause_and_only_bad() -> None:
    async def look(app: TopApp, pilot: Pilot[int]) -> None:
        rows = app.query_one(Rows)
        await pilot.press("less_than_sign", "less_than_sign")
        await until(pilot, lambda: app.sort == "rtt")
        await until(pilot, lambda: rows.entries[0].now.rtt_us == 4000)
        await pilot.press("r")
        await until(pilot, lambda: rows.entries[0].now.rtt_us == 0)
        await pilot.press("b")
        await until(pilot, lambda: [entry.state for entry in rows.entries] == ["CLOSE-WAIT"])
        await pilot.press("space")
        await until(pilot, lambda: "PAUSED" in shown(app)[-1])
        await pilot.pause(0.05)
        reads = app.source.reads  # type: ignore[attr-defined]
        await pilot.pause(0.1)
        assert app.source.reads == reads  # type: ignore[attr-defined]
        await pilot.press("space")
        await until(pilot, lambda: app.source.reads > reads)  # type: ignore[attr-defined]

    play(Script(), look)


def test_the_chosen_socket_stays_chosen_when_the_order_changes() -> None:
    async def look(app: TopApp, pilot: Pilot[int]) -> None:
        rows = app.query_one(Rows)
        await pilot.press("down", "down")
        chosen = rows.chosen
        assert chosen is not None
        await pilot.press("r")
        await until(pilot, lambda: app.is_reversed)
        assert rows.chosen is not None
        assert rows.chosen.row.key == chosen.row.key
        assert rows.at != 2

    play(Script(), look)


def test_thousands_of_sockets_are_drawn_as_they_are_seen() -> None:
    async def look(app: TopApp, pilot: Pilot[int]) -> None:
        await pilot.press("end")
        await until(pilot, lambda: app.query_one(Rows).at == 3_001)
        await until(pilot, lambda: app.query_one(Rows).scroll_offset.y > 2_900)
        assert len(shown(app)) == 24

    play(Script(3_000), look)


def test_trouble_of_the_source_is_told_and_what_was_read_stays() -> None:
    async def look(app: TopApp, pilot: Pilot[int]) -> None:
        source = app.source
        assert isinstance(source, Script)
        source.trouble = "the stack that published at /x is gone"
        await until(pilot, lambda: "is gone" in shown(app)[-1])
        assert len(app.query_one(Rows).entries) == 7
        source.trouble = ""
        await until(pilot, lambda: shown(app)[-1].startswith("q quit"))

    play(Script(), look)


@pytest.mark.parametrize(("key", "status"), [("q", 0), ("ctrl+c", 130)])
def test_q_and_ctrl_c_end_it(key: str, status: int) -> None:
    async def look(app: TopApp, pilot: Pilot[int]) -> None:
        await pilot.press("slash", key) if key == "ctrl+c" else await pilot.press(key)

    app = play(Script(), look)
    assert (app.return_code, app.return_value) == (status, status)


def test_help_tells_the_keys_and_goes_away() -> None:
    async def look(app: TopApp, pilot: Pilot[int]) -> None:
        await pilot.press("question_mark")
        await until(pilot, lambda: any("Enter again" in line for line in shown(app)))
        assert not any("…" in line for line in shown(app))
        await pilot.press("question_mark")
        await until(pilot, lambda: not app.query_one("#detail").display)
        assert app.query_one("#keys", Static).display

    play(Script(), look)


def test_the_heads_follow_the_width() -> None:
    async def look(app: TopApp, pilot: Pilot[int]) -> None:
        await pilot.resize_terminal(130, 30)
        await until(pilot, lambda: "IN+OUT" in shown(app)[2])
        await pilot.resize_terminal(60, 20)
        await until(pilot, lambda: "SENDQ" not in shown(app)[2])

    play(Script(), look)
