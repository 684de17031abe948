"""Make the pictures of docs/report.md: pages of real runs, opened in Chromium.

Usage: shots.py [NAME ...]. Needs `chromium` and the test extra (playwright). The pages stay in build/report/ to be
looked at; the pictures go to docs/report/.
"""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import estab
from estab.cli.chapters import find
from estab.cli.perform import perform
from estab.report.columns import Columns
from estab.report.page import Scene, write_report

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "build" / "report"
SHOTS = ROOT / "docs" / "report"
MEGABYTE = 1_000_000


def chapter(name: str) -> list[Scene]:
    """Play a chapter of the tour."""
    found = find(name)
    assert found is not None
    scenes = []
    for played in perform(found, 1):
        columns = Columns()
        for fact in played.recorder.facts:
            columns(fact)
        scenes.append(Scene(columns, f"{found.title}: {played.scene.name}", f"estab tour {name} --report FILE"))
    return scenes


def codel() -> list[Scene]:
    """Send 50 MB over 20 Mbit/s with CoDel before it."""
    columns = Columns()
    net = estab.Network(seed=1)
    net.observe(columns)
    client, server = net.host("client"), net.host("server")
    net.link(client, server, name="bottleneck", delay="15ms", rate="20Mbit", queue=1000, aqm="codel")

    @server.run
    def serve() -> int:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            return sum(map(len, iter(lambda: connection.recv(1 << 18), b"")))

    @client.run
    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            for _ in range(50):
                caller.sendall(bytes(MEGABYTE))

    with net:
        net.run()
        columns.is_recording = False
    assert serve.result() == 50 * MEGABYTE
    return [Scene(columns, "50 MB over 20 Mbit/s, 15 ms each way, CoDel", "python tools/shots.py codel")]


RUNS: dict[str, Callable[[], list[Scene]]] = {
    "loss": lambda: chapter("loss"), "flood": lambda: chapter("flood"), "close-wait": lambda: chapter("close-wait"),
    "codel": codel,
}
PICTURES: dict[str, list[tuple[str, str, str, str]]] = {
    # picture: where in the page, from the top of which element to the bottom of which
    "loss": [("loss", "", "header", "#view-sequence")],
    "flood": [("flood", "#s=0", "header", "#view-ladder"), ("flood-queues", "#s=0", "#view-states", "#view-weather")],
    "close-wait": [("close-wait", "", "#view-ladder", "#view-ladder"),
                   ("close-wait-states", "", "#view-states", "#view-calls")],
    "codel": [("codel", "", "header", "#view-held"), ("codel-start", "#t=0,2.5", "#view-sequence", "#view-rates"),
              ("codel-queues", "#t=0,2.5", "#view-states", "#view-weather")],
}


def main() -> int:
    """Make the pages, and the pictures of them."""
    from playwright.sync_api import sync_playwright

    names = sys.argv[1:] or list(RUNS)
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        print("shots: there is no chromium", file=sys.stderr)
        return 1
    PAGES.mkdir(parents=True, exist_ok=True)
    SHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for name in names:
            file = PAGES / f"{name}.html"
            write_report(file, *RUNS[name]())
            print(f"{file.relative_to(ROOT)}: {file.stat().st_size:,} bytes")
            for picture, fragment, top, bottom in PICTURES[name]:
                page = browser.new_page(viewport={"width": 1200, "height": 4000}, color_scheme="light")
                page.goto(file.as_uri() + fragment)
                page.wait_for_selector("body[data-ready=yes]")
                page.wait_for_timeout(600)
                first, last = (page.locator(place).first.bounding_box() for place in (top, bottom))
                assert first is not None
                assert last is not None
                target = SHOTS / f"{picture}.png"
                page.screenshot(path=target, clip={
                    "x": 0, "y": first["y"] - 8, "width": 1200, "height": last["y"] + last["height"] - first["y"] + 16,
                })
                page.close()
                print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
