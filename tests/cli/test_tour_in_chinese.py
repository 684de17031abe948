"""The tour in Chinese: all of it is translated, it fits the terminal, and it tells the same facts."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from rich.cells import cell_len

from estab.cli import main as cli
from estab.cli.chapters import CHAPTERS
from estab.cli.chapters.chapter import Chapter
from estab.cli.chapters.languages import chapter_in
from estab.cli.perform import perform
from estab.cli.tour import told
from estab.observe.languages import Words, words_of
from estab.observe.text import Canvas, cells, clip, plain_text, wrapped
from tests.kit.chinese import is_english

NAMES = [chapter.name for chapter in CHAPTERS]


def _said(chapter: Chapter, seed: int) -> dict[str, str]:
    """What is said in a chapter, and how it is said in Chinese."""
    words = Words("zh")
    said: dict[str, str] = {}
    say = words.say

    def listen(text: str) -> str:
        said[text] = say(text)
        return said[text]

    words.say = listen
    list(told(chapter, perform(chapter, seed), 100, words))
    return said


@pytest.mark.parametrize("chapter", CHAPTERS, ids=NAMES)
def test_nothing_of_a_chapter_stays_english(chapter: Chapter) -> None:
    said: dict[str, str] = {}
    for seed in (1, 2, 3, 7, -4):
        said |= _said(chapter, seed)
    assert [text for text, other in said.items() if is_english(text, other)] == []


@pytest.mark.parametrize("chapter", CHAPTERS, ids=NAMES)
def test_a_chapters_own_texts_are_translated_with_their_numbers(chapter: Chapter) -> None:
    other = chapter_in("zh", chapter)
    pairs = [(chapter.title, other.title), (chapter.question, other.question)]
    for scene, there in zip(chapter.scenes, other.scenes, strict=True):
        pairs += [(scene.name, there.name), (scene.setting, there.setting)]
        assert (scene.play, scene.lanes) == (there.play, there.lanes)
    for english, chinese in pairs:
        assert english != chinese or "(" in english, "a call's name alone is no language's"
        assert set(re.findall(r"\d[\d.,]*\d|\d", english)) <= set(re.findall(r"\d[\d.,]*\d|\d", chinese)), chinese


@pytest.mark.parametrize("chapter", CHAPTERS, ids=NAMES)
def test_a_finding_keeps_its_numbers(chapter: Chapter) -> None:
    words = words_of("zh")
    for played in perform(chapter, 1):
        for finding in played.findings:
            digits = re.findall(r"\d+", finding.replace("once", "1").replace("twice", "2"))
            assert sorted(digits) == sorted(re.findall(r"\d+", words.say(finding))), finding


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120])
@pytest.mark.parametrize("chapter", CHAPTERS, ids=NAMES)
def test_no_line_is_wider_than_the_terminal(chapter: Chapter, width: int) -> None:
    lines = [plain_text(line) for line in told(chapter, perform(chapter, 1), width, words_of("zh"))]
    assert max(cell_len(line) for line in lines) <= width
    lanes = [line for line in lines if line.count("│") == 2 and "×│" not in line]
    assert len({cell_len(line[:line.rindex("│")]) for line in lanes if len(chapter.scenes[0].lanes) == 2}) <= 1


def test_the_command_tells_it_and_names_the_next_chapter_in_the_same_language(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["tour", "close", "--lang", "zh", "--seed", "2"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("━━ close: 连接的结束 ━")
    assert text.splitlines()[-1] == "下一章：estab tour half-close --seed 2 --lang zh   一个方向结束（9/12）"
    assert cli.main(["tour", "--list", "--lang", "zh"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "backlog       listen(backlog) 限制的是什么"


def test_a_language_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tour", "--lang", "fr"]) != 0
    assert "'en', 'zh'" in capsys.readouterr().err


def test_an_output_without_the_characters_is_told_so() -> None:
    done = subprocess.run([sys.executable, "-m", "estab.cli.main", "tour", "--lang", "zh"], capture_output=True,
                          check=False, text=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("estab: --lang zh: the output's encoding, ascii, does not have the characters")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("english", "chinese"), [
    ("retransmit timer: 1 without an answer", "重传定时器：第 1 次没有应答"),
    ("fd 3: recv → ECONNRESET: connection reset by peer (10.0.0.1:1>10.0.0.2:80)",
     "fd 3: recv → ECONNRESET：连接被对端重置（10.0.0.1:1>10.0.0.2:80）"),
    ("half-open □□ 0/2  accept ■■ 2/2: added, taken", "半连接 □□ 0/2  全连接 ■■ 2/2：加入、取走"),
    ("fd 4: accept → (<fd 5>, ('10.0.0.1', 51868))", "fd 4: accept → (<fd 5>, ('10.0.0.1', 51868))"),
])
def test_the_sentence_that_says_most_is_taken(english: str, chinese: str) -> None:
    assert words_of("zh").say(english) == chinese


# --- widths


@pytest.mark.parametrize("text", ["abc", "半连接队列", "（全）", "café", "│──▶│ × → ■□ …", "e\u0301", "：，。", "かな",
                                  "ｶ", "한글"])
def test_cells_are_those_of_a_terminal(text: str) -> None:
    assert cells(text) == cell_len(text)


def test_a_line_is_not_broken_before_a_full_stop_nor_within_a_word() -> None:
    text = "服务器调用 listen，（客户端）调用 connect。"
    for width in range(10, 40):
        lines = wrapped(text, width)
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
        assert max(cells(line) for line in lines) <= width
        assert not any(line[0] in "，。）" or line[-1] == "（" for line in lines)
        assert any("listen" in line for line in lines)
        assert any("connect" in line for line in lines)


def test_what_is_cut_off_fits() -> None:
    assert clip("半连接队列", 10) == "半连接队列"
    assert clip("半连接队列", 9) == "半连接队…"
    assert clip("半连接队列", 8) == "半连接…"


def test_half_of_a_wide_character_is_not_left_on_a_canvas() -> None:
    canvas = Canvas(8)
    canvas.put(0, "连接队列")
    canvas.put(3, "ab")
    assert plain_text(canvas.spans()) == "连 ab 列"
