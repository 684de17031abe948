"""A run with a bit of everything, its facts and its columns; and Chromium to look at pages with."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

import estab
from estab.events import Event
from estab.report.columns import Columns
from estab.report.page import Scene, page_of


@dataclass
class Run:
    """Facts of a run beside the columns that were filled from them."""

    facts: list[Event]
    columns: Columns

    def of(self, kind: type[Any], host: str = "") -> list[Any]:
        """Give the facts of a kind."""
        return [fact for fact in self.facts if isinstance(fact, kind) and (not host or fact.host == host)]


def transfer(size: int = 400_000, *, seed: int = 7, cut: tuple[str, str] | None = ("900ms", "1500ms"),
             pause_s: float = 0.3, **conditions: Any) -> Run:
    """Send text over a lossy link with a small queue, which is cut for a while; the server's program rests once."""
    facts: list[Event] = []
    columns = Columns()
    net = estab.Network(seed=seed)
    net.observe(facts.append)
    net.observe(columns)
    client, server = net.host("client"), net.host("server")
    link = net.link(client, server, name="cable",
                    **{"delay": "20ms", "loss": "2%", "rate": "10Mbit", "queue": 12, **conditions})

    @server.run
    def serve() -> int:
        got = 0
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 60_000)
            listener.bind(("", 80))
            listener.listen()
            connection, _ = listener.accept()
            with connection:
                while text := connection.recv(65536):
                    if got <= size // 2 < got + len(text):
                        time.sleep(pause_s)
                    got += len(text)
        return got

    @client.run
    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            caller.sendall(bytes(size))

    if cut is not None:
        net.at(cut[0], link.cut)
        net.at(cut[1], link.heal)
    with net:
        net.run()
        columns.is_recording = False
    assert serve.result() == size
    return Run([fact for fact in facts if fact.at_ns <= columns.end_ns], columns)


@pytest.fixture(scope="session")
def run() -> Run:
    """A transfer with losses, a full queue, a cut and a reader that rests."""
    return transfer()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window and without a network.

    While it is open an event loop of Playwright's runs in this thread, so that ``asyncio.run`` is refused: it is closed
    before another file's tests run in the same worker.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[
            "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
        ])
        yield browser
        browser.close()


@dataclass
class Shown:
    """A page in the browser: what it asked for, and what went wrong in it."""

    page: Page
    requests: list[str]
    errors: list[str]

    def ask(self, script: str, argument: object = None) -> Any:
        """Run a function in the page."""
        return self.page.evaluate(script, argument)

    def settle(self) -> None:
        """Wait until what was asked for is drawn."""
        self.ask("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done())))")

    def marks(self, view: str) -> list[list[Any]]:
        """Give what a view draws: each mark with its data and its place on the canvas."""
        found: list[list[Any]] = self.ask("""async view => {
            const panel = estab.panels[view];
            panel.marks = [];
            panel.redraw();
            await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
            const marks = panel.marks;
            panel.marks = null;
            return marks;
        }""", view)
        return found

    def box(self, view: str) -> dict[str, float]:
        """Give the canvas box of a view and the range of its axes."""
        found: dict[str, float] = self.ask("""view => {
            const { plot } = estab.panels[view], { left, top, width, height } = plot.bbox, { x, y } = plot.scales;
            return { left, top, width, height, x0: x.min, x1: x.max, y0: y.min, y1: y.max };
        }""", view)
        return found


@pytest.fixture
def show(chromium: Browser, tmp_path: Path) -> Iterator[Callable[..., Shown]]:
    """Open pages from disk; at the end, nothing was asked for but they themselves, and nothing went wrong in them."""
    opened: list[Shown] = []

    def open_page(*scenes: Scene | Columns, fragment: str = "", text: str | None = None, **options: Any) -> Shown:
        path = tmp_path / f"page-{len(opened)}.html"
        wanted = [scene if isinstance(scene, Scene) else Scene(scene, "a run") for scene in scenes]
        path.write_text(text if text is not None else page_of(*wanted))
        page = chromium.new_page(**{"viewport": {"width": 1280, "height": 800}, **options})
        shown = Shown(page, [], [])
        page.on("request", lambda request: shown.requests.append(request.url))
        page.on("pageerror", lambda error: shown.errors.append(str(error)))
        page.on("console", lambda message: shown.errors.append(message.text) if message.type == "error" else None)
        page.goto(path.as_uri() + fragment)
        page.wait_for_selector("body[data-ready=yes]")
        opened.append(shown)
        return shown

    yield open_page
    for shown in opened:
        assert [url for url in shown.requests if not url.startswith(("file:", "blob:"))] == []
        assert shown.errors == []
        shown.page.close()
