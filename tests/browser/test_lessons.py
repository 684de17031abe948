"""Each lesson's question is answered by its run, and each has its translation."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from estab.trial.experiment import answer_of, run_experiment

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from build_lab import LEFT_OUT  # noqa: E402
from lessons import LESSONS, cured, read, read_all  # noqa: E402

ALL = read_all()


@pytest.mark.parametrize("name", ALL["en"])
def test_a_run_gives_the_answer_that_is_marked(name: str) -> None:
    lesson = ALL["en"][name]
    assert int(answer_of(json.dumps(lesson))) == lesson["right"]


CURED = [name for name, lesson in ALL["en"].items() if "cure" in lesson]


def test_seventeen_lessons_have_a_cure() -> None:
    assert len(CURED) >= 17


@pytest.mark.parametrize("name", CURED)
def test_a_run_with_the_cure_shows_that_it_is_one_and_a_run_without_it_does_not(name: str) -> None:
    lesson = ALL["en"][name]
    asked = {"experiment": cured(lesson), "check": lesson["cured"] + "\nanswer = 0"}
    assert answer_of(json.dumps(asked)) == "0"
    with pytest.raises((AssertionError, IndexError)):
        answer_of(json.dumps({**asked, "experiment": lesson["experiment"]}))
    assert ALL["zh"][name]["cure"] == lesson["cure"]
    assert ALL["zh"][name]["told"] != lesson["told"]


def test_what_the_page_calls_needs_no_room_that_the_page_does_not_have() -> None:
    code = (f"import sys\nfor room in {LEFT_OUT!r}: sys.modules['estab.' + room] = None\n"
            "import estab.trial.experiment, estab.report.page")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_lesson_has_its_translation() -> None:
    here, there = ({path.name for path in (LESSONS / language).iterdir()} for language in ("en", "zh"))
    assert here == there


def test_the_lesson_of_the_page_for_teachers_is_one(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    path = tmp_path / "18-unread.md"
    path.write_text(text.partition("````md\n")[2].partition("````")[0], encoding="utf-8")
    lesson = read(path)
    assert int(answer_of(json.dumps(lesson))) == lesson["right"]


def test_a_lesson_without_a_right_answer_is_refused(tmp_path: Path) -> None:
    first = next((LESSONS / "en").glob("*.md"))
    path = tmp_path / first.name
    path.write_text(first.read_text(encoding="utf-8").replace("- [x] ", "- "), encoding="utf-8")
    with pytest.raises(ValueError, match="the right one"):
        read(path)


def test_a_translation_has_the_choices_of_the_original(tmp_path: Path) -> None:
    first = next(iter(sorted((LESSONS / "zh").glob("*.md"))))
    path = tmp_path / first.name
    path.write_text(first.read_text(encoding="utf-8").rpartition("\n- ")[0] + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="choices"):
        read(path, next(iter(ALL["en"].values())))


def test_a_connection_in_time_wait_is_shown_until_that_ends() -> None:
    changes = json.loads(run_experiment(json.dumps(ALL["en"]["time-wait"]["experiment"])))["changes"]
    began = {change[3]: change[1] for change in changes if change[0] == "state" and change[4] == "TIME-WAIT"}
    gone = {change[3]: change[1] for change in changes if change[0] == "gone" and change[2] == "client"}
    assert [gone[connection] - at_ns for connection, at_ns in began.items()] == [60_000_000_000] * 4


@pytest.mark.parametrize("block", ["> ", "```python cured"])
def test_a_cure_without_what_it_is_or_what_it_shows_is_refused(block: str, tmp_path: Path) -> None:
    first = next(iter(sorted((LESSONS / "en").glob("*.md"))))
    path = tmp_path / first.name
    other = "```python note" if block.startswith("`") else ""
    path.write_text(first.read_text(encoding="utf-8").replace(f"\n{block}", f"\n{other}"), encoding="utf-8")
    with pytest.raises(ValueError, match="a cure has"):
        read(path)


def _experiment(**more: Any) -> dict[str, Any]:
    return {**ALL["en"]["loss"]["experiment"], **more}


def test_what_is_wrong_with_an_experiment_is_its_error() -> None:
    broken = json.loads(run_experiment(json.dumps(_experiment(links=[{"between": ["client", "nobody"]}]))))
    assert not broken["is_built"]
    assert "nobody" in broken["error"]
    spoilt = _experiment()
    spoilt["hosts"] = [{"name": "server", "code": ""}, {"name": "client", "code": "x = 1\nraise ValueError('no')\n"}]
    raised = json.loads(run_experiment(json.dumps(spoilt)))
    assert raised["error"].startswith("client.py:2: ValueError: no")
