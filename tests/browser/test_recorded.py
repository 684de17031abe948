"""The lab's page in a browser without JSPI: each lesson's recorded run plays. And how fast the time slider is."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from estab.trial.experiment import run_experiment

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools"))

from lessons import read_all

ALL = read_all()
MANY = """import socket

with socket.create_connection(("server", 80)) as sock:
    sock.sendall(bytes(2_000_000))
"""
SINK = """import socket

with socket.create_server(("", 80)) as listener:
    sock, _ = listener.accept()
    while sock.recv(65536):
        pass
"""


@pytest.fixture(scope="module")
def large() -> str:
    """A run of some 2,000 segments, as a recorded one."""
    link = {"between": ["server", "client"], "delay": "20ms", "loss": "1%"}
    hosts = [{"name": "server", "code": SINK}, {"name": "client", "code": MANY}]
    run = run_experiment(json.dumps({"seed": 1, "hosts": hosts, "links": [link]}))
    count = sum(row["row"] == "arrow" for row in json.loads(run)["rows"])
    assert count > 2_000
    return f'{{"run": {run}, "answer": 0}}'


@pytest.fixture(scope="module")
def page(large: str, address: str, chromium: Browser) -> Iterator[Page]:
    """The page in a browser that can't suspend WebAssembly."""
    context = chromium.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
    context.add_init_script("delete WebAssembly.Suspending;")
    asked: list[str] = []
    errors: list[str] = []
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{address}/index.html")
    page.wait_for_selector("body[data-hash]")
    yield page
    assert errors == []
    assert [url for url in asked if "pyodide" in url or "estab.snapshot" in url] == []
    context.close()


def _open(page: Page, name: str) -> None:
    page.evaluate("() => { delete document.body.dataset.hash; }")
    page.select_option("#lesson", name)
    page.wait_for_selector("body[data-hash]")


def test_one_sentence_says_which_browser_runs_it_live(page: Page) -> None:
    assert page.inner_text("#unable") == (
        "This browser cannot suspend WebAssembly (JSPI), so recorded runs of the lessons play here; Chrome or Edge "
        "from version 137 on runs them live.")
    page.select_option("#language", "zh")
    assert "Chrome" in page.inner_text("#unable")
    assert "录制" in page.inner_text("#unable")
    page.select_option("#language", "en")


def test_every_lesson_plays_and_its_question_is_answered(page: Page) -> None:
    for name, lesson in ALL["en"].items():
        _open(page, name)
        assert page.evaluate("() => lab.run().story.length > 0 && lab.run().calls.length > 0"), name
        page.check(f"input[name=choice][value='{lesson['right']}']")
        page.click("#question button")
        page.wait_for_selector("#question .right")


def test_the_slider_and_a_segment_work_and_nothing_can_be_changed(page: Page) -> None:
    _open(page, "two-queues")
    assert "2/2 (full)" in page.inner_text("#queues")
    page.locator("#back").click()
    page.locator("#ladder g.hit").first.focus()
    page.keyboard.press("Enter")
    assert "sequence number" in page.inner_text("#detail")
    assert page.locator("#detail button, #break button, #weather input:not([disabled])").count() == 0
    assert page.locator("#compare, #cure, #loading").locator("visible=true").count() == 0
    assert page.locator("#codes .cm-content").first.get_attribute("aria-readonly") == "true"


def test_a_link_of_an_experiment_opens_the_lesson_that_it_came_from(page: Page, address: str) -> None:
    link = page.evaluate("""async () => {
        const text = JSON.stringify({ lesson: "loss", experiment: lab.now(), at: 5 });
        const deflated = new Blob([text]).stream().pipeThrough(new CompressionStream("deflate-raw"));
        const bytes = new Uint8Array(await new Response(deflated).arrayBuffer());
        return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    }""")
    other = page.context.new_page()
    other.goto(f"{address}/index.html#{link}")
    other.wait_for_selector("body[data-hash]")
    assert other.input_value("#lesson") == "loss"
    other.close()


def test_the_time_slider_draws_two_thousand_segments_within_a_tenth_of_a_second(page: Page, large: str) -> None:
    page.route("**/recorded/loss.json", lambda route: route.fulfill(body=large, content_type="application/json"))
    _open(page, "loss")
    took: Any = page.evaluate("""async () => {
        const time = document.querySelector("#time"), took = [];
        for (let part = 0; part <= 40; part++) {
            time.value = +time.max * (part * 17 % 41) / 40;
            const began = performance.now();
            time.dispatchEvent(new Event("input"));
            document.querySelector("#ladder").getBoundingClientRect();
            took.push(performance.now() - began);
            await new Promise(requestAnimationFrame);
        }
        return took.sort((a, b) => a - b);
    }""")
    assert took[len(took) // 2] < 100
    # Whatever the machine: what is in the document does not grow with the run.
    assert page.locator("#ladder g").count() < 120
    page.locator("#ladder g.hit").last.focus()
    page.keyboard.press("Home")
    label = page.evaluate("() => document.activeElement.getAttribute('aria-label')")
    assert label.startswith("0 s client → server: S ")
    assert page.locator("#ladder").evaluate("place => place.scrollTop") == 0
