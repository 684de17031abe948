"""The lab's page in Chinese: nothing of a run stays English, whatever composed it, Python or the page's own script."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from estab.errors import DropReason
from estab.observe.languages import words_of
from estab.observe.story import story
from estab.trial.experiment import _run
from estab.trial.shown import first_part, second_part
from tests.kit.chinese import is_english

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools"))

from lessons import cured, read_all

ALL = read_all()


def _left(texts: list[str]) -> set[str]:
    say = words_of("zh").say
    return {text for text in texts if is_english(text, say(text))}


@pytest.mark.parametrize(("name", "what"), [(name, what) for name, lesson in ALL["en"].items()
                                            for what in ("experiment", "cure") if what in lesson])
def test_nothing_that_is_told_of_a_lessons_run_stays_english(name: str, what: str) -> None:
    lesson = ALL["en"][name]
    result, seen = _run(lesson["experiment"] if what == "experiment" else cured(lesson))
    assert seen is not None
    result |= first_part(seen) | second_part(seen)
    texts: list[str] = list(result["waiting"])
    for row in result["rows"]:
        texts += [row[key] for key in ("text", "why", "fate", "reason", "on_link") if row.get(key)]
    for call in result["calls"]:
        texts += [call["result"], *call["waits"], *(text for change in call["changes"] for text in change)]

    def hear(text: str) -> str:
        texts.append(text)
        return text

    story(seen.facts, say=hear)
    assert len(texts) > 5
    assert _left(texts) == set()


def test_every_reason_for_a_drop_is_translated() -> None:
    assert _left([reason.value for reason in DropReason]) == set()


@pytest.fixture(scope="module")
def page(address: str, chromium: Browser) -> Iterator[Page]:
    """The page in Chinese, which plays what was recorded."""
    context = chromium.new_context(locale="zh-CN", viewport={"width": 1280, "height": 900})
    context.add_init_script("delete WebAssembly.Suspending;")
    page = context.new_page()
    page.goto(f"{address}/index.html")
    page.wait_for_selector("body[data-hash]")
    yield page
    context.close()


@pytest.mark.parametrize("name", ALL["zh"])
def test_a_lesson_is_shown_in_chinese_with_each_segments_steps_and_header(name: str, page: Page) -> None:
    page.evaluate("() => { delete document.body.dataset.hash; }")
    page.select_option("#lesson", name)
    page.wait_for_selector("body[data-hash]")
    shown: list[str] = page.evaluate("""() => {
        const words = new Set(), all = chosen => [...document.querySelectorAll(chosen)];
        for (const row of lab.run().rows.filter(row => row.row === "arrow")) {
            lab.choose(row);
            for (const dd of all("#detail dd")) dd.textContent.split(", ").forEach(part => words.add(part));
            for (const one of all("#detail :is(dt, li, p, h3)")) words.add(one.textContent);
        }
        for (const one of all("#views :is(h3, th), #queues span, #calls td:nth-child(n + 4), #break, #outcome, #story"))
            one.textContent.split("\\n").forEach(line => words.add(line));
        for (const one of all("#prose p, #question :is(h3, label)")) words.add(one.textContent);
        return [...words];
    }""")
    assert len(shown) > 20
    assert [text for text in shown if is_english(text, text)] == []


_WRITTEN = """() => {
    const { said, stepsOf, fields } = lab, numbers = [5, 10, 15], steps = [];
    for (const state of ["LISTEN", "CLOSED", "SYN-SENT", "ESTABLISHED"])
        for (const flags of ["S", "S.", ".", "P.", "F.", "R", "R.", "", "FP"])
            for (const seq of numbers) for (const ack of numbers) for (const length of [0, 3, 10]) {
                const at = length === 3 && seq === 5 ? -1 : 10;
                const known = { state, una: at, nxt: 12, rcvNxt: at, rcvWnd: 4 };
                const { steps: found } = stepsOf({ flags, seq, ack, length }, known);
                steps.push(...(Array.isArray(found[0]) ? found : [found]).map(([, text]) => text));
            }
    const number = [0, 0, 0, 1], mac = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    const options = [2, 4, 5, 180, 3, 3, 7, 4, 2, 8, 10, ...number, ...number, 5, 10, ...number, ...number, 99, 3, 0];
    const tcp = [0, 80, 1, 0, ...number, ...number, 208, 18, 1, 0, 0, 0, 0, 0, ...options];
    const damaged = [...tcp.slice(0, 20), 8, 40, ...options.slice(2)], ends = [10, 0, 0, 1, 10, 0, 0, 2];
    const ip4 = (protocol, rest) =>
        [...mac, 8, 0, 69, 1, 0, 20 + rest.length, 0, 1, 64, 0, 64, protocol, 0, 0, ...ends, ...rest];
    const ip6 = [...mac, 134, 221, 96, 0, 0, 0, 0, tcp.length, 6, 64, ...Array(32).fill(1), ...tcp];
    const arp = code => [...mac, 8, 6, 0, 1, 8, 0, 6, 4, 0, code, ...Array(20).fill(1)];
    const frames = [ip4(6, tcp), ip4(6, damaged), ip4(6, tcp.with(13, 0)), ip4(17, [0, 80, 0, 81, 0, 20, 0, 0]),
        ip4(1, [8, 0, 0, 0]), ip6, arp(1), arp(2)];
    const named = frames.flatMap(bytes => fields(Uint8Array.from(bytes), bytes.length));
    const pairs = texts => [...new Set(texts)].map(text => [text, said(text)]);
    return { steps: pairs(steps), fields: pairs(named.flatMap(([name, text]) => [name, ...text.split(", ")])) };
}"""


def test_each_step_and_each_field_that_the_page_can_write_is_translated(page: Page) -> None:
    found: dict[str, list[list[str]]] = page.evaluate(_WRITTEN)
    assert len(found["steps"]) > 30
    assert len(found["fields"]) > 25
    assert [text for text, told in found["steps"] + found["fields"] if is_english(text, told)] == []


def test_the_same_text_is_told_alike_in_python_and_on_the_page(page: Page) -> None:
    rows = page.evaluate("() => lab.run().rows")
    texts = [row[key] for row in rows for key in ("text", "why", "reason") if row.get(key)]
    texts += [reason.value for reason in DropReason] + ["half-open □□ 0/2  accept ■■ 2/2: added, taken"]
    assert page.evaluate("texts => texts.map(lab.said)", texts) == [words_of("zh").say(text) for text in texts]


def test_another_language_tells_the_run_that_is_shown_in_it(page: Page) -> None:
    page.select_option("#language", "en")
    assert "arrives" in str(page.text_content("#story"))
    page.select_option("#language", "zh")
    assert "arrives" not in str(page.text_content("#story"))
    assert "到达" in str(page.text_content("#story"))
