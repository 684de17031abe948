"""How large a report page of a million frames is, and how long Chromium needs to open it.

``python -m bench.report_page`` (needs ``chromium`` and playwright). A transfer of 50 MB over a bottleneck with CoDel is
repeated until it has as many frames; the page has all that a run of the lab has: windows, buffers, queues, calls.
Times are processor time of the page's main thread, which does all of it one thing after the other: from the start of
its process to the first picture, and until all tables have come. So other work on the machine counts little.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from array import array
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from bench.doctor.score import put_between
from estab.report.page import Scene, write_report
from estab.report.tables import Tables
from tools.shots import codel

_MOVED = ("t", "until")
_COUNTED = ("seq", "ack", "una", "nxt")


def repeat(tables: Tables, frames: int) -> None:
    """Add the rows of a run to themselves, each time later, until there are so many frames."""
    own = tables.count("frame")
    times = -(-frames // own)
    lasts_ns = tables.end_ns - tables.begin_ns + 1_000_000
    highest = max(tables.columns["frame"]["seq"])
    first = {name: {column: array("q", values) for column, values in columns.items()}
             for name, columns in tables.columns.items()}
    for number in range(1, times):
        for name, columns in first.items():
            for column, values in columns.items():
                tables.columns[name][column].extend(
                    _later(name, column, values, number * lasts_ns, number * highest, number * own))
    tables.seen(tables.begin_ns + times * lasts_ns)
    for conn in tables.conns:
        conn.until_ns = tables.end_ns
        conn.frames *= times


def _later(name: str, column: str, values: array[int], more_ns: int, more: int, rows: int) -> array[int]:
    if column in _MOVED:
        return array("q", (value + more_ns if value >= 0 else value for value in values))
    if column in _COUNTED:
        return array("q", (value + more if value > 0 else value for value in values))
    if name == "frame" and column == "from":
        return array("q", (value + rows if value >= 0 else value for value in values))
    if name == "frame" and column == "head":  # the bytes of headers are kept up to their limit only
        return array("q", bytes(8 * len(values)))
    return values


def open_page(path: Path) -> tuple[float, float, float]:
    """Open a page. Gives the main thread's seconds to the first picture and to the whole, the clock's to the first."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"),
                                       args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"])
        found = opened(browser, path)
        browser.close()
    return found


def opened(browser: Browser, path: Path) -> tuple[float, float, float]:
    """Open a page in a browser, in a process of its own."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    browser.start_tracing(page=page, categories=["blink.user_timing"])
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-ready=yes]", timeout=300_000)
    marks = {event["name"]: event for event in json.loads(browser.stop_tracing())["traceEvents"]
             if event["name"].startswith("estab-")}
    started = page.evaluate("performance.getEntriesByName('estab-drawn')[0].startTime")
    page.close()
    drawn, whole = (marks[name]["tts"] / 1e6 for name in ("estab-drawn", "estab-whole"))
    return drawn, whole, started / 1000


def main() -> int:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--page")
    options = parser.parse_args()
    scene = codel()[0]
    assert isinstance(scene.tables, Tables)
    repeat(scene.tables, options.frames)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.html"
        write_report(path, Scene(scene.tables, scene.title, scene.command))
        drawn_s, whole_s, wall_s = min(open_page(path) for _ in range(3))
        size = path.stat().st_size
    text = (f"A run of the lab with {scene.tables.count('frame'):,} frames, with all of its windows, buffers, queues "
            f"and calls, is a page of {size / 1e6:.1f} MB. Chromium's first picture of it takes {drawn_s:.1f} s of the "
            f"main thread's processor time ({wall_s:.1f} s by the clock, on a machine with 2 processors that did other "
            f"work as well), and the tables of the views further down have come after {whole_s:.1f} s "
            "(`python -m bench.report_page`).")
    print(text)
    if options.page:
        put_between(options.page, "million", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
