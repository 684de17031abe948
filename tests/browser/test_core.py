"""The core that is compiled to WebAssembly: what the page has of it, and what it does without."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from estab.trial.experiment import run_experiment

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import wasm_core  # noqa: E402
from lessons import read_all  # noqa: E402

LOSS = json.dumps(read_all()["en"]["loss"]["experiment"])
_ASK = """async ([source, given]) => {
    const worker = new Worker("./worker.js", { type: "module" }), said = [];
    try {
        return await new Promise((done, failed) => {
            setTimeout(() => failed(new Error(`no answer, but ${said.join(" ")}`)), 240000);
            worker.onmessage = ({ data: { kind, value } }) => {
                if (kind === "ready") worker.postMessage({ number: 1, source, given });
                else if (kind === "answer") done([value, said]);
                else if (kind === "error" || kind === "failed" || kind === "unable") failed(new Error(value));
                else said.push(kind === "out" ? value : kind);
            };
        });
    } finally {
        worker.terminate();
    }
}"""
_KIND = "from estab._build import core_kind\nmain = lambda given: core_kind()"
_HASH = ("import json\nfrom estab._build import core_kind\nfrom estab.trial.experiment import run_experiment\n"
         "main = lambda given: core_kind() + ' ' + json.loads(run_experiment(given))['hash']")


@pytest.fixture
def page(address: str, chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{address}/LICENSE.txt")
    yield page
    context.close()


@pytest.fixture(scope="module")
def here() -> str:
    """The hash of a run in CPython, made before Playwright's event loop is there."""
    return str(json.loads(run_experiment(LOSS))["hash"])


def test_the_page_runs_the_core_that_was_built_with_the_facts_of_cpython(here: str, folder: Path, page: Page) -> None:
    kind = "compiled" if (folder / "estab.core.wasm").exists() else "interpreted"
    answer, said = page.evaluate(_ASK, [_HASH, LOSS])
    assert answer == f"{kind} {here}"
    assert "slow" not in said


def test_a_page_whose_core_does_not_arrive_runs_interpreted_with_the_same_facts(here: str, page: Page) -> None:
    page.context.route("**/estab.core.wasm", lambda route: route.fulfill(status=404, body=""))
    answer, _ = page.evaluate(_ASK, [_HASH, LOSS])
    assert answer == f"interpreted {here}"


def test_the_core_is_compiled_too_if_the_kept_memory_does_not_arrive(folder: Path, page: Page) -> None:
    page.context.route("**/estab.snapshot", lambda route: route.fulfill(status=404, body=""))
    answer, said = page.evaluate(_ASK, [_KIND, ""])
    assert answer == ("compiled" if (folder / "estab.core.wasm").exists() else "interpreted")
    assert "slow" in said


def test_it_is_made_of_the_files_that_setup_compiles() -> None:
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    tree.body.pop()  # what would build
    names: dict[str, Any] = {"__file__": str(ROOT / "setup.py"), "__name__": "setup"}
    exec(compile(tree, "setup.py", "exec"), names)
    assert wasm_core.core_sources() == names["core_sources"]()


def test_a_build_without_a_compiler_says_so_in_one_line_and_leaves_the_core_interpreted(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def missing() -> None:
        raise wasm_core.NoToolsError("no compiler is here")

    (tmp_path / "pyodide-lock.json").write_text('{"info": {"python": "3.14.2"}}')
    monkeypatch.delenv("ESTAB_COMPILE", raising=False)
    monkeypatch.setattr(wasm_core, "KEPT", tmp_path)
    monkeypatch.setattr(wasm_core, "bring_tools", missing)
    assert wasm_core.core(tmp_path) is None
    assert capsys.readouterr().out == "build_lab: the page's core stays interpreted: no compiler is here\n"
    monkeypatch.setenv("ESTAB_COMPILE", "0")
    assert wasm_core.core(tmp_path) is None
    assert capsys.readouterr().out == "build_lab: the page's core stays interpreted: ESTAB_COMPILE=0\n"
