"""The page as text: what is packed comes out again, what is hostile stays data, and what is left out is said."""

from __future__ import annotations

import base64
import gzip
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab.report.pack import pack
from estab.report.page import Scene, page_of, write_report
from estab.report.tables import SCHEMA, Tables
from tests.report.conftest import Run, transfer

ROOT = Path(__file__).resolve().parents[2]


def unpacked(shape: dict[str, Any], packed: bytes) -> tuple[dict[str, dict[str, list[int]]], bytes]:
    """Read what ``pack`` wrote, as web/README.md says it."""
    data = gzip.decompress(packed)
    at = 0
    tables: dict[str, dict[str, list[int]]] = {}
    for table, described in shape.items():
        if table in ("heads", "first"):
            continue
        rows = described["rows"]
        cells: dict[str, list[int]] = tables.setdefault(table, {})
        for name, mode, planes in described["columns"]:
            numbers = [0] * rows
            for plane in range(planes):
                for row, byte in enumerate(data[at:at + rows]):
                    numbers[row] |= byte << 8 * plane
                at += rows
            small = [-(number >> 1) - 1 if number & 1 else number >> 1 for number in numbers]
            cells[name] = grown(small, mode, cells)
    return tables, data[at:]


def grown(small: list[int], mode: str, cells: dict[str, list[int]]) -> list[int]:
    how, _, other = mode.partition(" ")
    if "conn" in cells and "side" in cells:
        cells = {**cells, "end": [2 * conn + side for conn, side in zip(cells["conn"], cells["side"], strict=True)]}
    out: list[int] = []
    last: dict[int, int] = {}
    for row, value in enumerate(small):
        if how == "delta":
            value += out[-1] if out else 0
        elif how == "plus":
            value += cells[other][row]
        elif how == "back":
            value = row - value if value else -1
        elif how in ("by", "seq"):
            key = cells["end" if how == "seq" else other][row]
            value += last.get(key, 0)
            last[key] = value + (cells["len"][row] if how == "seq" else 0)
        out.append(value)
    return out


def plain(tables: Tables) -> dict[str, dict[str, list[int]]]:
    return {table: {name: list(cell) for name, cell in cells.items()} for table, cells in tables.columns.items()}


def test_what_is_packed_comes_out_again(run: Run) -> None:
    shape, data = pack(run.columns.columns, bytes(run.columns.heads))
    tables, heads = unpacked(shape, data)
    assert tables == plain(run.columns)
    assert heads == run.columns.heads


@given(st.lists(st.lists(st.integers(-2**52, 2**52), min_size=19, max_size=19), max_size=20))
def test_any_numbers_come_out_again(rows: list[list[int]]) -> None:
    tables = Tables()
    for number, row in enumerate(rows):
        row[SCHEMA["frame"].index("from")] = max(-1, min(number - 1, row[SCHEMA["frame"].index("from")]))
        tables.add("frame", *row)
    shape, data = pack(tables.columns, b"")
    assert unpacked(shape, data)[0] == plain(tables)


class Blocks(HTMLParser):
    """Collects the scripts of a page, and every tag."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag == "script"
        if self._open:
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)


def blocks(text: str) -> Blocks:
    found = Blocks()
    found.feed(text)
    return found


HOSTILE = '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked = 1"><!--'


def test_hostile_words_stay_inside_their_block_and_are_read_back_as_they_were(run: Run) -> None:
    tables = Tables()
    tables.host(HOSTILE)
    tables.word("why", HOSTILE)
    tables.missing.append(HOSTILE)
    found = blocks(page_of(Scene(tables, HOSTILE, HOSTILE)))
    assert len(found.scripts) == len(blocks(page_of(Scene(run.columns))).scripts) == 3
    meta = json.loads(found.scripts[0][1])
    assert (meta["title"], meta["command"], meta["hosts"], meta["notes"]) == (HOSTILE, HOSTILE, [HOSTILE], [HOSTILE])
    assert [tag for tag, _ in found.tags if tag == "img"] == []


def test_the_page_names_no_address_and_allows_only_its_own_script(run: Run) -> None:
    text = page_of(Scene(run.columns, "a run"))
    found = blocks(text)
    assert not any({"src", "href"} & set(attributes) for _, attributes in found.tags)
    policy = next(attributes["content"] for tag, attributes in found.tags if attributes.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    addresses = set(re.findall(r"https?://[^\s\"'<>)`]+", text)) - {"http://www.w3.org/2000/svg"}
    assert addresses <= {"https://github.com/leeoniya/uPlot"}  # in its licence's line


def test_payload_is_not_in_the_page_unless_it_was_asked_for() -> None:
    run = transfer(20_000, cut=None)
    assert len(run.columns.heads) == sum(run.columns.columns["frame"]["head"])
    assert max(run.columns.columns["frame"]["head"]) <= 80
    whole = type(run.columns)(has_payload=True)
    for fact in run.facts:
        whole(fact)
    assert whole.columns["frame"]["head"] == whole.columns["frame"]["size"]


def test_more_frames_than_a_page_takes_are_sampled_and_the_page_says_so(run: Run) -> None:
    tables = run.columns
    own, other = tables.conns[0], 99
    columns = tables.columns["frame"]
    total = tables.count("frame")
    assert set(columns["conn"]) == {own.number}
    for row in range(0, total, 2):
        columns["conn"][row] = other
    try:
        text = page_of(Scene(tables, connection=0), frames_max=total // 2 + total // 8)
    finally:
        for row in range(0, total, 2):
            columns["conn"][row] = own.number
    found = blocks(text)
    meta = json.loads(found.scripts[0][1])
    table = unpacked(meta["tables"], base64.b64decode(found.scripts[1][1]))[0]["frame"]
    assert table["conn"].count(0) == total // 2
    assert 0 < table["conn"].count(other) <= total // 8
    assert any(f"The run has {total:,} frames." in note and "one in" in note for note in meta["notes"])


def test_a_page_is_of_at_least_one_run() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        page_of()


def test_the_same_run_gives_the_same_page(run: Run, tmp_path: Path) -> None:
    write_report(tmp_path / "a.html", Scene(run.columns))
    write_report(tmp_path / "b.html", Scene(run.columns))
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_the_built_page_is_that_of_its_sources() -> None:
    done = subprocess.run([sys.executable, ROOT / "tools" / "build_page.py", "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
