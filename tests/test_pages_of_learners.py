"""The pages for learners: each misconception has its twin in Chinese, and each has a lesson of the lab that runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from estab.cli.chapters import CHAPTERS

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import chinese_pages  # noqa: E402
import tour_page  # noqa: E402
import translations  # noqa: E402
from lab_in_docs import MARK, embedded  # noqa: E402
from lessons import read_all  # noqa: E402

LESSONS = read_all()
TITLES = {language: {name: lesson["title"] for name, lesson in lessons.items()}
          for language, lessons in LESSONS.items()}
PAGES = sorted(path for path in chinese_pages.ORIGINALS.glob("*.md") if path.name != "index.md")
FOLDERS = {"en": chinese_pages.ORIGINALS, "zh": chinese_pages.TWINS}
_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_every_page_has_its_twin() -> None:
    assert {path.name for path in FOLDERS["zh"].iterdir()} == {path.name for path in FOLDERS["en"].iterdir()}
    assert len(PAGES) == 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_twin_has_the_programs_and_the_numbers_of_its_original(page: Path) -> None:
    original, twin = _read(page), _read(FOLDERS["zh"] / page.name)
    assert twin == chinese_pages.twin_text(original, twin), "run tools/chinese_pages.py"
    assert _BLOCK.findall(twin) == _BLOCK.findall(original)
    prose, other = (MARK.sub("", _BLOCK.sub("", text)) for text in (original, twin))
    assert set(re.findall(r"\d[\d.,]*\d|\d", other)) == set(re.findall(r"\d[\d.,]*\d|\d", prose))
    named = {re.sub(r"\s+", " ", code) for code in re.findall(r"`([^`]+)`", prose)}
    kept = {code.removesuffix(" --lang zh") for code in re.findall(r"`([^`]+)`", other)}
    assert named == kept, "calls, options and errors are no language's"
    assert re.findall(r"\]\(([\w-]+\.md)\)", other) == re.findall(r"\]\(([\w-]+\.md)\)", prose)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_twin_is_written_in_chinese(page: Path) -> None:
    text = MARK.sub("", _BLOCK.sub("", _read(FOLDERS["zh"] / page.name)))
    assert [line for line in text.splitlines() if line.startswith("#")][1:4] == [
        "## 常见的说法", "## 实际情况", "## 看一看"]
    assert re.findall(r"\b[a-z]{3,} [a-z]{3,} [a-z]{3,}\b", re.sub(r"`[^`]*`|\([^)]*\)|（[^）]*）", "", text)) == []


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_one_lesson_that_is_named_in_its_language(page: Path, language: str) -> None:
    (lesson, told), = MARK.findall(_read(FOLDERS[language] / page.name))
    assert TITLES[language][lesson] in told


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_of_the_tour_has_its_chapters_and_a_lesson_each(language: str) -> None:
    text = _read(tour_page.PAGES[language])
    assert text == tour_page.page(language, TITLES[language]), "run tools/tour_page.py"
    assert len(MARK.findall(text)) == len(CHAPTERS)


def test_a_mark_becomes_a_frame_with_its_lesson() -> None:
    text = f"<p>a</p>\n{tour_page.mark('loss', 'Loss', 'en')}<p>b</p>"
    made = embedded(text, "../../lab", "zh")
    assert 'src="../../lab/index.html#lesson=loss&amp;lang=zh&amp;embedded"' in made
    assert 'loading="lazy"' in made
    assert 'title="In the lab (estab lab): Loss"' in made
    assert made.startswith("<p>a</p>")
    assert made.endswith("<p>b</p>")
    assert embedded("<p>none</p>", "lab", "en") == "<p>none</p>"


def test_no_original_has_changed_since_its_translation_was_compared_with_it() -> None:
    assert translations.due() == []


def test_every_chinese_page_is_compared_with_an_original() -> None:
    folders = ("docs/zh/misconceptions", "web/lab/lessons/zh")
    there = {f"{folder}/{path.name}" for folder in folders for path in (ROOT / folder).glob("*.md")}
    assert there < set(translations.originals())
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "zh").rglob("*.md")}
    assert pages - there == {"docs/zh/index.md", "docs/zh/tour.md"}, "the tour's page is written by tools/tour_page.py"


def test_an_english_text_that_changed_names_its_translation(monkeypatch: pytest.MonkeyPatch) -> None:
    known = translations.originals()
    original, text = known["README.zh-CN.md"]
    known["README.zh-CN.md"] = (original, lambda: text().replace("unmodified", "as they are", 1))
    monkeypatch.setattr(translations, "originals", lambda: known)
    assert translations.due() == ["README.zh-CN.md: README.md has changed: compare the two, then run "
                                  "tools/translations.py README.zh-CN.md"]


def test_the_readme_in_chinese_has_the_parts_the_commands_and_the_links_of_the_english_one() -> None:
    english, chinese = _read(ROOT / "README.md"), _read(ROOT / "README.zh-CN.md")
    assert len(re.findall(r"^## ", chinese, re.MULTILINE)) == len(re.findall(r"^## ", english, re.MULTILINE))
    links = [set(re.findall(r"\]\(([^)]+)\)", text)) for text in (english, chinese)]
    there = {link.replace("docs/zh/", "docs/") for link in links[1]}
    assert there - {"README.md", "docs/tour.md"} == links[0] - {"README.zh-CN.md"}
    blocks = [[re.sub(r" +#.*| --lang zh", "", block) for block in _BLOCK.findall(text)] for text in (english, chinese)]
    assert blocks[0] == blocks[1]
