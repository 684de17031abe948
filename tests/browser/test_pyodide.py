"""estab in a browser: the same engine, the same facts."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

PROGRAMS = Path(__file__).with_name("programs_anywhere.py")
_START = """() => {
    globalThis.worker = new Worker("./worker.js", { type: "module" });
    globalThis.said = [];
    globalThis.ready = new Promise((done, failed) => {
        worker.onmessage = ({ data }) => {
            said.push(data);
            if (data.kind === "ready") done();
            if (data.kind === "failed" || data.kind === "unable") failed(new Error(data.value));
        };
    });
}"""
_RUN = """async ([source, given]) => {
    await ready;
    const { value, kind } = await new Promise(done => {
        worker.onmessage = ({ data }) => data.kind === "out" ? said.push(data) : done(data);
        worker.postMessage({ number: 1, source, given });
    });
    return [kind, value];
}"""


def _main_here(given: str) -> Any:
    spec = importlib.util.spec_from_file_location("programs_anywhere", PROGRAMS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return json.loads(module.main(given))


NAMES = ("blocking", "event_loops", "threads", "deadlock")


@pytest.fixture(scope="module")
def here() -> dict[str, Any]:
    """What CPython says, before Playwright's event loop is there."""
    return {name: _main_here(name) for name in NAMES}


@pytest.fixture(scope="module")
def page(here: dict[str, Any], address: str, chromium: Browser) -> Iterator[Page]:
    """A page with a worker in which estab is ready."""
    page = chromium.new_page()
    page.goto(f"{address}/LICENSE.txt")
    page.evaluate(_START)
    yield page
    page.close()


def test_python_starts_from_the_memory_that_was_kept_or_without_it(
        page: Page, address: str, chromium: Browser) -> None:
    def kinds(one: Page) -> list[str]:
        found: list[str] = one.evaluate("async () => { await ready; return said.map(({ kind }) => kind); }")
        return found

    assert "slow" not in kinds(page)
    context = chromium.new_context()
    context.route("**/estab.snapshot", lambda route: route.fulfill(status=404, body=""))
    other = context.new_page()
    other.goto(f"{address}/LICENSE.txt")
    other.evaluate(_START)
    assert "slow" in kinds(other)
    assert other.evaluate(_RUN, ["main = str.upper", "ready"]) == ["answer", "READY"]
    context.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_program_gives_in_pyodide_the_facts_of_cpython(name: str, page: Page, here: dict[str, Any]) -> None:
    kind, value = page.evaluate(_RUN, [PROGRAMS.read_text(encoding="utf-8"), name])
    assert kind == "answer", value
    assert json.loads(value) == here[name]
