"""A large run: the first picture needs some of its tables only, and does not wait for the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from bench.report_page import opened, repeat
from estab.report.page import Scene, write_report
from tests.report.conftest import transfer

FRAMES = 150_000
AT_FIRST = ["held", "ladder", "sequence"]
LATER = ["flight", "rtt", "rates", "states", "buffers", "calls", "weather"]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    columns = transfer(200_000, cut=None, pause_s=0).columns
    repeat(columns, FRAMES)
    path = tmp_path_factory.mktemp("large") / "run.html"
    write_report(path, Scene(columns, "a large run"))
    return path


def test_the_first_picture_comes_before_the_tables_that_it_does_not_need(page: Path, chromium: Browser) -> None:
    shown = chromium.new_page(viewport={"width": 1300, "height": 2400})
    shown.add_init_script("""new MutationObserver(() => {
        if (!document.body?.dataset.drawn || window.atFirst) return;
        const painted = Object.values(estab.panels).filter(panel => panel.paints > 0);
        window.atFirst = [estab.store.isWhole, painted.map(panel => panel.view.id)];
    }).observe(document, { subtree: true, attributes: true, attributeFilter: ["data-drawn"] })""")
    shown.goto(page.as_uri())
    shown.wait_for_selector("body[data-ready=yes]")
    assert shown.evaluate("window.atFirst") == [False, AT_FIRST]
    assert shown.evaluate("estab.store.isWhole")
    for view in LATER:
        shown.locator(f"#view-{view}").scroll_into_view_if_needed()
        shown.wait_for_function("view => !estab.panels[view].isStale && estab.panels[view].paints > 0", arg=view)
    assert "RTO" in shown.inner_text(".reading")
    shown.locator("#segments").scroll_into_view_if_needed()
    shown.wait_for_selector("#segments tbody tr")
    shown.close()


def test_an_address_into_a_large_run_waits_for_all_that_it_may_need(page: Path, chromium: Browser) -> None:
    shown = chromium.new_page()
    shown.goto(page.as_uri() + "#t=0,0.4&f=7")
    shown.wait_for_selector("body[data-ready=yes]")
    assert shown.is_visible("#detail")
    assert "seq " in shown.inner_text("#detail")
    shown.close()


def test_the_trace_of_a_large_run_has_all_of_it_and_says_meanwhile_how_far_it_is(
    page: Path, chromium: Browser, tmp_path: Path,
) -> None:
    trace_pb2 = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    shown = chromium.new_page()
    shown.goto(page.as_uri())
    shown.wait_for_selector("body[data-ready=yes]")
    shown.evaluate("""() => {
        window.told = [];
        new MutationObserver(() => told.push(document.querySelector(".reading").textContent))
            .observe(document.querySelector(".reading"), { childList: true, characterData: true, subtree: true });
    }""")
    with shown.expect_download(timeout=120_000) as download:
        shown.get_by_text("save Perfetto trace").click()
    download.value.save_as(tmp_path / "run.pftrace")
    told = shown.evaluate("told")
    rows = shown.evaluate("estab.store.tables.frame.rows")
    assert any(line.startswith("run.pftrace: frame ") and line.endswith(f" of {rows:,}") for line in told)
    trace = trace_pb2.Trace.FromString((tmp_path / "run.pftrace").read_bytes())
    instants = sum(packet.track_event.type == packet.track_event.TYPE_INSTANT for packet in trace.packet)
    assert instants == rows
    shown.close()


def test_a_large_run_costs_its_main_thread_little(page: Path, chromium: Browser) -> None:
    # Processor time, not that of the clock. A million frames have 2 s (bench/report_page.py), and part of it is the
    # same for all.
    drawn_s, whole_s, _ = min(opened(chromium, page) for _ in range(3))
    assert drawn_s < 1.0
    assert whole_s < 1.4
