"""Make the pictures of docs/teaching.md: the views of the lab's page, with a lesson that ran in Chromium.

Usage: lab_shots.py [FOLDER]. FOLDER is the lab's page as ``make lab`` builds it, by default build/lab. Needs chromium,
the test extra (playwright), and a font with Chinese characters. The pictures go to docs/lab/.
"""

from __future__ import annotations

import functools
import http.server
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parent.parent
SHOTS = ROOT / "docs" / "lab"


class _Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map: ClassVar[dict[str, str]] = {**http.server.SimpleHTTPRequestHandler.extensions_map,
                                                ".mjs": "text/javascript", ".wasm": "application/wasm"}

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def at(page: Page, share: float) -> None:
    """Move the time slider to a share of its length."""
    page.evaluate("share => { const time = document.querySelector('#time'); time.value = Math.round(time.max * share);"
                  " time.dispatchEvent(new Event('input')); }", share)


def queues(page: Page) -> None:
    """Look at the moment when the third client's SYN is dropped."""
    at(page, 0.72)


def segment(page: Page) -> None:
    """Look into the first segment."""
    page.locator(".ladder g.hit").first.click()


def pair(page: Page) -> None:
    """Run the lesson without its cure and with it."""
    page.click("#cure")
    page.wait_for_selector("#figures table", timeout=60_000)
    page.wait_for_timeout(2_000)
    at(page, 0.5)


def opened(name: str) -> Callable[[Page], None]:
    """Give what opens a part of the page that is folded."""

    def do(page: Page) -> None:
        page.locator(f"details:has(#{name}) summary").click()

    return do


PICTURES: dict[str, tuple[str, str, Callable[[Page], None], str]] = {
    # picture: lesson, language, what is done after its run, which element is shown
    "experiment": ("two-queues", "en", lambda page: None, "#bench"),
    "run": ("two-queues", "en", queues, "#views"),
    "segment": ("two-queues", "en", segment, "#detail"),
    "flood": ("syn-flood", "en", lambda page: at(page, 0.6), "#views"),
    "cwnd": ("congestion-control", "en", lambda page: at(page, 0.2), "#views"),
    "pair": ("two-queues", "en", pair, "#views"),
    "calls": ("socket-and-fd", "en", opened("calls"), "details:has(#calls)"),
    "story": ("two-queues", "en", opened("story"), "details:has(#story)"),
    "chinese": ("simultaneous-open", "zh", lambda page: at(page, 0.6), "body"),
}


def take(browser: Browser, address: str, name: str) -> Path:
    """Take one picture."""
    lesson, language, do, element = PICTURES[name]
    page = browser.new_page(viewport={"width": 1200, "height": 900}, color_scheme="light")
    page.goto(f"{address}/index.html#lesson={lesson}&lang={language}")
    page.add_style_tag(content="#clock { position: static !important; }")  # a picture is not scrolled
    page.wait_for_selector("body[data-ready]", timeout=120_000)
    page.click("#run")
    page.wait_for_selector("body[data-hash]", timeout=60_000)
    do(page)
    page.wait_for_timeout(300)
    target = SHOTS / f"{name}.png"
    page.locator(element).first.screenshot(path=target)
    page.close()
    return target


def main() -> int:
    """Take all pictures."""
    from playwright.sync_api import sync_playwright

    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "lab"
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None or not (folder / "index.html").exists():
        print(f"lab_shots: there is no {'chromium' if path is None else f'page in {folder}; make lab builds it'}",
              file=sys.stderr)
        return 1
    SHOTS.mkdir(exist_ok=True)
    with served(folder) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for name in PICTURES:
            made = take(browser, address, name)
            print(f"{made.relative_to(ROOT)}: {made.stat().st_size:,} bytes")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
