"""What the page says, it says in both languages."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = ROOT / "web" / "lab"
_ENTRY = re.compile(r'\b(\w+): "((?:[^"\\]|\\.)*)"')


def _languages() -> dict[str, dict[str, str]]:
    text = (SOURCES / "src" / "words.js").read_text(encoding="utf-8")
    parts = re.split(r"^  (en|zh): \{$", text, flags=re.MULTILINE)
    return {name: dict(_ENTRY.findall(body)) for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def test_every_word_of_the_page_is_translated() -> None:
    words = _languages()
    assert words["en"].keys() == words["zh"].keys()
    places = re.compile(r"\{\w+\}")
    assert {name for name, text in words["en"].items() if set(places.findall(text)) != set(
        places.findall(words["zh"][name]))} == set()
    same = {name for name, text in words["en"].items() if text == words["zh"][name]}
    assert same == {"cwnd", "rto", "docs"}


def test_every_word_that_is_used_is_there_and_the_other_way_round() -> None:
    page = (SOURCES / "static" / "index.html").read_text(encoding="utf-8")
    sources = [path for path in (SOURCES / "src").glob("*.js") if path.name != "words.js"]
    code = "".join(path.read_text(encoding="utf-8") for path in sources)
    used = set(re.findall(r'data-(?:word|label)="(\w+)"', page))
    known = set(_languages()["en"])
    assert used <= known
    assert set(re.findall(r'\bword\("(\w+)"', code)) | set(re.findall(r'\bsay\("(\w+)"', code)) <= known
    assert {name for name in known - used if f'"{name}"' not in code} == set()


def test_no_english_stands_in_the_page_itself() -> None:
    page = (SOURCES / "static" / "index.html").read_text(encoding="utf-8")
    body = re.sub(r"<[^>]*>", " ", page.partition("<body>")[2])
    assert set(body.split()) == {"estab", "lab", "English", "简体中文", "◀", "▶"}
