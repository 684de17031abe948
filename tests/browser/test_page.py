"""The lab's page, used as a student does, in Debian's Chromium."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from estab.trial.experiment import run_experiment

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools"))

from lessons import read_all

ALL = read_all()


@pytest.fixture(scope="module")
def hashes() -> dict[str, str]:
    """The hash of each lesson's facts in CPython."""
    return {name: json.loads(run_experiment(json.dumps(lesson["experiment"])))["hash"]
            for name, lesson in ALL["en"].items()}


@pytest.fixture(scope="module")
def pages(hashes: dict[str, str], address: str, chromium: Browser) -> Iterator[Callable[..., Page]]:
    """A page by language, with Python loaded; all that it asks for comes from its own folder."""
    made: dict[str, Page] = {}
    asked: list[str] = []
    errors: list[str] = []

    def page(language: str = "en") -> Page:
        if language not in made:
            context = chromium.new_context(locale={"en": "en-US", "zh": "zh-CN"}[language], accept_downloads=True)
            one = made[language] = context.new_page()
            one.on("request", lambda request: asked.append(request.url))
            one.on("pageerror", lambda error: errors.append(str(error)))
            one.goto(f"{address}/index.html")
            one.wait_for_selector("body[data-ready]", timeout=120_000)
        return made[language]

    yield page
    assert errors == []
    assert [url for url in asked if not url.startswith((address, "blob:", "data:"))] == []


def _run(page: Page) -> dict[str, Any]:
    page.evaluate("() => { delete document.body.dataset.hash; }")
    page.click("#run")
    page.wait_for_selector("body[data-hash]", timeout=60_000)
    page.wait_for_selector("#run:not([disabled])")
    found: dict[str, Any] = page.evaluate("() => ({ hash: lab.run().hash, error: lab.run().error })")
    return found


def _open(page: Page, name: str) -> None:
    page.select_option("#lesson", name)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_lesson_runs_with_the_facts_of_cpython(language: str, pages: Any, hashes: dict[str, str]) -> None:
    page = pages(language)
    found = {}
    for name, lesson in ALL[language].items():
        _open(page, name)
        assert lesson["title"] in page.inner_text("#lesson")
        found[name] = _run(page)["hash"]
    assert found == hashes


def test_the_third_client_waits_and_the_full_queue_shows_why(pages: Any) -> None:
    page = pages()
    _open(page, "two-queues")
    _run(page)
    assert "2/2 (full)" in page.inner_text("#queues")
    assert "dropped because it was full: 6" in page.inner_text("#queues")
    assert page.inner_text("#sockets").count("SYN-SENT") == 2
    page.evaluate("() => { const time = document.querySelector('#time'); time.value = 0; "
                  "time.dispatchEvent(new Event('input')); }")
    assert "2/2" not in page.inner_text("#queues")
    assert "dropped" not in page.inner_text("#queues")
    assert "SYN-SENT" not in page.inner_text("#output")


def test_the_right_answer_is_told_from_a_wrong_one_by_running(pages: Any) -> None:
    page = pages()
    _open(page, "two-queues")
    page.check("input[name=choice][value='0']")
    page.click("#question button")
    page.wait_for_selector("#question .wrong")
    assert "two: the accept queue" in page.inner_text("#question .wrong")
    page.check("input[name=choice][value='2']")
    page.click("#question button")
    page.wait_for_selector("#question .right")


def test_a_cut_a_lost_segment_and_a_slider_run_again(pages: Any) -> None:
    page = pages()
    _open(page, "bind-and-ports")
    before = _run(page)
    page.locator("#ladder g.hit").first.click()
    assert "sequence number" in page.inner_text("#detail")
    page.evaluate("() => { delete document.body.dataset.hash; }")
    page.click("#detail button")
    page.wait_for_selector("body[data-hash]")
    assert page.locator("#ladder .lost").count() == 1
    page.click("#plan button")
    page.wait_for_selector(f"body[data-hash='{before['hash']}']")
    page.evaluate("() => { const time = document.querySelector('#time'); time.value = 2; "
                  "time.dispatchEvent(new Event('input')); delete document.body.dataset.hash; }")
    page.locator("#break button").first.click()
    page.wait_for_selector("body[data-hash]")
    assert "client-server.cut" in page.inner_text("#plan")


def _again(page: Page, act: Callable[[], object]) -> None:
    """Do what runs the experiment again, and wait for all of that run."""
    page.evaluate("() => { delete document.body.dataset.hash; }")
    act()
    page.wait_for_selector("body[data-hash]", timeout=60_000)
    page.wait_for_selector("#run:not([disabled])")


def _figures(page: Page) -> dict[str, list[str]]:
    rows = page.locator("#figures tbody tr").all_inner_texts()
    return {name: values for name, *values in (row.split("\t") for row in rows)}


def _go_to(page: Page, place: int) -> None:
    page.evaluate("place => { const time = document.querySelector('#time'); time.value = place; "
                  "time.dispatchEvent(new Event('input')); }", place)


def test_two_runs_stand_side_by_side_on_one_clock(pages: Any, hashes: dict[str, str]) -> None:
    page = pages()
    _open(page, "loss")
    _run(page)
    page.locator("#compare").focus()
    page.keyboard.press("Enter")
    assert "same experiment" in page.inner_text("#differences")
    page.locator("#weather input").nth(2).focus()
    _again(page, lambda: page.keyboard.press("Home"))
    assert page.locator("#differences li").all_inner_texts() == ["client-server Loss: 5% → none"]
    assert page.evaluate("() => lab.kept().hash") == hashes["loss"] != page.evaluate("() => lab.run().hash")
    sent, again, lost, arrived = list(_figures(page).values())[:4]
    assert (int(lost[0]) > 0, int(again[0]) > 0, lost[1], again[1]) == (True, True, "0", "0")
    assert arrived[0] == arrived[1]
    assert int(sent[0]) > int(again[0])
    places = page.evaluate("() => ['ladder', 'kept-ladder'].map(id => document.getElementById(id).scrollTop)")
    assert places[0] == places[1] > 0
    _go_to(page, 0)
    assert page.locator("#ladder g.hit").count() == page.locator("#kept-ladder g.hit").count() == 1
    boxes = [page.locator(one).bounding_box() for one in ("#kept-ladder", "#ladder")]
    assert boxes[0]["x"] < boxes[1]["x"]
    page.set_viewport_size({"width": 360, "height": 780})
    boxes = [page.locator(one).bounding_box() for one in ("#kept-ladder", "#ladder")]
    assert boxes[0]["y"] < boxes[1]["y"]
    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") == 0
    page.set_viewport_size({"width": 1280, "height": 900})
    page.click("#share")
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_selector("#differences li:has-text('5% → none')", timeout=120_000)
    assert other.evaluate("() => lab.kept().rows.length") == page.evaluate("() => lab.kept().rows.length")
    other.close()
    page.locator("#compare").focus()
    page.keyboard.press("Enter")
    assert page.locator("#kept-ladder").is_hidden()


def test_a_long_run_is_shown_while_it_lasts_and_the_slider_stays_where_it_was(pages: Any) -> None:
    page = pages()
    _open(page, "loss")
    page.locator("#codes .cm-content").nth(1).click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text("import socket\nwith socket.create_connection(('server', 80)) as sock:\n"
                              "    sock.sendall(bytes(3_000_000))\n")
    _run(page)
    _go_to(page, 9)
    before = page.inner_text("#now")
    page.locator("#weather input").nth(2).focus()
    _again(page, lambda: page.keyboard.press("Home"))
    first, took = (int(page.get_attribute("body", f"data-{name}") or -1) for name in ("first", "took"))
    assert 0 < first < took / 2
    assert page.inner_text("#now") == before
    assert "The run ended" in page.inner_text("#outcome")


def test_a_cure_runs_beside_what_it_cures(pages: Any) -> None:
    page = pages()
    _open(page, "two-queues")
    page.click("#cure")
    page.wait_for_selector("#differences li:has-text('Program of server')", timeout=60_000)
    assert [page.inner_text(f"#{one}run-title") for one in ("kept-", "")] == ["Without the cure", "With the cure"]
    assert "2/2 (full)" in page.inner_text("#kept-queues")
    assert "full" not in page.inner_text("#queues")
    assert page.inner_text("#output").count("is connected") == 4
    page.wait_for_selector("#run:not([disabled])")


def test_the_backlog_is_changed_at_the_time_of_the_slider(pages: Any) -> None:
    page = pages()
    _open(page, "two-queues")
    _run(page)
    _go_to(page, page.evaluate("() => +document.querySelector('#time').max >> 1"))
    page.locator("#break input").fill("8")
    _again(page, lambda: page.locator("#break input").press("Enter"))
    _go_to(page, 10_000)
    assert "server.set_backlog port=80 backlog=8" in page.inner_text("#plan")
    assert "accept 4/9" in page.inner_text("#queues")
    _again(page, lambda: page.click("#plan button"))
    assert "2/2 (full)" in page.inner_text("#queues")


_RUN_SAVED = """
import sys
from pathlib import Path
from estab.lab.network import Network
from estab.trial.scenario import Scenario
from estab.trial.shown import facts_hash
seen, network, check = [], Scenario.network, Network.check
def recorded(scenario):
    net = network(scenario)
    seen.append(net.record())
    return net
def checked(net):
    check(net)
    seen[0].stop()
Scenario.network, Network.check = recorded, checked
names = {}
exec(Path(sys.argv[1]).read_text(encoding="utf-8"), names)
names["test_experiment"](Path(sys.argv[2]))
print(facts_hash(seen[0].facts))
"""


def test_a_saved_test_gives_in_cpython_the_run_of_the_page(pages: Any, tmp_path: Path) -> None:
    page = pages()
    _open(page, "loss")
    _run(page)
    _go_to(page, 20)
    _again(page, lambda: page.locator("#break button").first.click())
    _go_to(page, 25)
    _again(page, lambda: page.locator("#break button").first.click())
    page.locator("#ladder g.hit:not(:has(.lost))").last.click()
    _again(page, lambda: page.click("#detail button"))
    plan = page.inner_text("#plan")
    assert "client-server.cut" in plan
    assert "client-server.heal" in plan
    assert "Lost: " in plan
    assert "Never sent" not in page.inner_text("#outcome")
    with page.expect_download(timeout=60_000) as waiting:
        page.click("#save-test")
    saved = str(waiting.value.path())
    done = subprocess.run([sys.executable, "-c", _RUN_SAVED, saved, str(tmp_path)], capture_output=True, text=True,
                          check=False, timeout=120)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == page.evaluate("() => lab.run().hash")


def test_a_link_holds_the_experiment(pages: Any, address: str) -> None:
    page = pages()
    _open(page, "loss")
    page.fill("#seed", "23")
    hash_before = _run(page)["hash"]
    page.click("#share")
    page.wait_for_selector("#status:has-text('link')")
    link = page.url
    assert len(link) < 2000
    other = page.context.new_page()
    other.goto(link)
    other.wait_for_selector("body[data-hash]", timeout=120_000)
    assert other.get_attribute("body", "data-hash") == hash_before
    assert other.input_value("#seed") == "23"
    other.close()


def test_a_frame_of_a_documents_page_runs_its_lesson_at_once_in_its_language(
    pages: Any, address: str, hashes: dict[str, str],
) -> None:
    frame = pages().context.new_page()
    frame.goto(f"{address}/index.html#lesson=time-wait&lang=zh&embedded")
    frame.wait_for_selector(f"body[data-hash='{hashes['time-wait']}']", timeout=120_000)
    assert frame.input_value("#lesson") == "time-wait"
    assert frame.inner_text("#run") == "运行"
    assert frame.locator("h1").is_hidden()
    assert "TIME-WAIT 结束：到期" in str(frame.text_content("#story"))
    frame.locator(".ladder g.hit").last.click()
    assert "结局: 到达" in frame.inner_text("#detail")
    frame.close()


def test_a_run_that_is_shown_is_told_again_in_another_language(pages: Any) -> None:
    page = pages()
    _open(page, "bind-and-ports")
    _run(page)
    page.locator("#ladder g.hit").first.click()
    page.select_option("#language", "zh")
    page.wait_for_function("() => document.querySelector('#story').textContent.includes('到达')")
    assert page.inner_text("#detail") == ""
    assert "地址已被使用" in str(page.text_content("#calls"))
    page.select_option("#language", "en")
    page.wait_for_function("() => document.querySelector('#story').textContent.includes('arrives')")


def test_what_is_saved_can_be_opened(pages: Any, tmp_path: Path) -> None:
    page = pages()
    _open(page, "loss")
    for button, start in (("#save-toml", b"seed = "), ("#save-test", b"from estab"), ("#save-pcapng", b"\n\r\r\n"),
                          ("#save-report", b"<!doctype html>")):
        with page.expect_download(timeout=60_000) as waiting:
            page.click(button)
        data = Path(waiting.value.path()).read_bytes()
        assert data[:len(start)].lower() == start


def test_stop_ends_a_run_that_spins_and_the_next_run_works(pages: Any, hashes: dict[str, str]) -> None:
    page = pages()
    _open(page, "two-queues")
    page.locator("#codes .cm-content").first.click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text("while True: pass\n")
    page.click("#run")
    page.wait_for_selector("#stop:not([disabled])")
    page.evaluate("() => { delete document.body.dataset.ready; }")
    page.click("#stop")
    page.wait_for_selector("#run:not([disabled])")
    page.wait_for_selector("body[data-ready]", timeout=120_000)
    _open(page, "two-queues")
    assert _run(page)["hash"] == hashes["two-queues"]


def test_printed_it_has_all_segments_on_white(pages: Any) -> None:
    page = pages()
    _open(page, "loss")
    _run(page)
    arrows = page.evaluate("() => lab.run().rows.filter(row => row.row === 'arrow').length")
    assert page.locator("#ladder g.hit").count() < arrows
    page.emulate_media(media="print", color_scheme="dark")
    page.wait_for_function("count => document.querySelectorAll('#ladder g.hit').length === count", arg=arrows)
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    sheets = page.locator("#ladder .sheet")
    assert sheets.count() > 2
    assert max(sheets.nth(place).bounding_box()["height"] for place in range(sheets.count())) < 700  # fits on a page
    assert page.locator("#break").is_hidden()
    page.emulate_media(media="screen", color_scheme="light")
    page.wait_for_function("() => !document.querySelector('#ladder .sheet')")
    assert 0 < page.locator("#ladder g.hit").count() < arrows


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_shows_all_of_it(scheme: str, pages: Any) -> None:
    page = pages()
    page.set_viewport_size({"width": 360, "height": 780})
    page.emulate_media(color_scheme=scheme)
    _open(page, "two-queues")
    page.evaluate("() => scrollTo(0, 0)")
    _run(page)
    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") == 0
    assert -5 <= page.evaluate("() => document.querySelector('#clock').getBoundingClientRect().top") < 500
    page.locator("#ladder g.hit").last.click()
    assert 0 < page.evaluate("() => document.querySelector('#detail h3').getBoundingClientRect().top") < 700
    page.set_viewport_size({"width": 1280, "height": 900})


def test_what_happened_to_a_queue_has_room_on_a_narrow_screen(pages: Any) -> None:
    page = pages()
    page.set_viewport_size({"width": 360, "height": 780})
    _open(page, "two-queues")
    _run(page)
    notes = page.locator("#ladder text.soft").all_text_contents()
    assert any(note.startswith("overflow: SYN dropped") for note in notes)
    page.set_viewport_size({"width": 1280, "height": 900})


def test_the_keyboard_is_enough(pages: Any) -> None:
    page = pages()
    _open(page, "two-queues")
    page.evaluate("() => { delete document.body.dataset.hash; }")
    page.locator("#seed").focus()
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("body[data-hash]")
    assert page.locator("#ladder g[tabindex='0']").count() == 1  # one stop, whatever the number of segments
    page.locator("#ladder g.hit").first.focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert page.inner_text("#detail h3 >> nth=0").startswith("client → server: S ")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.inner_text("#detail h3 >> nth=0").startswith("server → client: S. ")
    assert "connect" in str(page.text_content("#story"))
