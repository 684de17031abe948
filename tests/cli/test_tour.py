"""The tour: every chapter tells its run, fast, the same for the same seed, and clean in tshark's eyes."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import estab
from estab.cli import main as cli
from estab.cli.chapters import CHAPTERS
from estab.cli.chapters.chapter import Chapter
from estab.cli.perform import perform
from estab.cli.screen import Screen
from estab.cli.tour import told
from estab.observe.ladder import Note, ladder
from estab.observe.pcapng import read
from estab.observe.story import story
from estab.observe.text import Span, plain_text

NAMES = [chapter.name for chapter in CHAPTERS]
ROOT = Path(__file__).resolve().parents[2]
SOURCES = str(Path(estab.__file__).parent.parent)
"""Where the estab under test is: installed, and then compiled where there was a compiler, or the source tree."""
TOLD = ("handshake", "backlog", "flood", "data", "loss", "frames", "cable", "close", "half-close", "simultaneous",
        "time-wait", "close-wait")


def tour(*arguments: str, **environment: str) -> bytes:
    done = subprocess.run(
        [sys.executable, "-m", "estab.cli.main", "tour", *arguments], capture_output=True, check=True,
        env={**os.environ, "PYTHONPATH": SOURCES, **environment},
    )
    return done.stdout


def test_there_is_a_chapter_for_each_part_of_the_story() -> None:
    assert tuple(NAMES) == TOLD


@pytest.mark.parametrize("name", NAMES)
def test_a_chapter_tells_calls_segments_and_states(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tour", name]) == 0
    text = capsys.readouterr().out
    assert "▸ " in text
    assert "sends " in text
    assert "──▶│" in text or "◀──" in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("name", NAMES)
def test_a_chapter_is_the_same_for_the_same_seed(name: str) -> None:
    chapter = next(item for item in CHAPTERS if item.name == name)
    first, second = ([item.recorder.facts for item in perform(chapter, 5)] for _ in range(2))
    assert first == second


@pytest.mark.parametrize("seed", [0, 2, 3, 77, -4])
def test_every_chapter_can_be_told_for_any_seed(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tour", "--all", "--seed", str(seed)]) == 0
    assert capsys.readouterr().out


def test_another_seed_is_another_story(capsys: pytest.CaptureFixture[str]) -> None:
    stories = []
    for seed in ("1", "2"):
        assert cli.main(["tour", "loss", "--seed", seed]) == 0
        stories.append(capsys.readouterr().out)
    assert stories[0] != stories[1]


def test_all_chapters_together_take_under_two_seconds() -> None:
    best = 99.0
    for _ in range(3):
        before = os.times()
        tour("--all")
        after = os.times()
        # The process is one thread at a time: on a machine with nothing else to do this is the time on the wall.
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        best = min(best, spent)
    assert best < 2.0


def test_the_list_names_every_chapter(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tour", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == NAMES


def test_a_chapters_name_is_forgiving() -> None:
    assert cli.main(["tour", "Half_Close"]) == 0


def test_without_a_chapter_the_first_is_told_and_each_names_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tour"]
    for place, name in enumerate(NAMES, 1):
        assert cli.main(words) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith(f"━━ {name}: ")
        assert sum(line.startswith("━━ ") for line in lines) == 1
        if place < len(NAMES):
            following = CHAPTERS[place]
            place_text = f"({place + 1} of {len(NAMES)})"
            assert lines[-1] == f"next: estab tour {following.name}   {following.title} {place_text}"
            words = lines[-1].removeprefix("next: estab ").split("   ")[0].split()
        else:
            assert lines[-1] == "This was the last chapter. Another run of them all: estab tour --all --seed 2"


def test_the_next_chapter_keeps_the_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tour", "data", "--seed", "7"]) == 0
    assert "next: estab tour loss --seed 7   " in capsys.readouterr().out


def test_all_tells_every_chapter(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tour", "--all"]) == 0
    text = capsys.readouterr().out
    assert [line.split()[1] for line in text.splitlines() if line.startswith("━━ ")] == [f"{name}:" for name in NAMES]
    assert "next: " not in text


def test_a_listener_is_in_listen_in_its_own_ladder_whatever_its_connections_do() -> None:
    chapter, = (item for item in CHAPTERS if item.name == "handshake")
    first = perform(chapter, 1)[0]
    rows = ladder(first.recorder.facts, hosts=first.scene.lanes).rows
    notes = [row for row in rows if isinstance(row, Note) and row.host == "server"]
    beside = [note.state for note in notes if "fd 3: accept" in note.text]
    assert beside == ["LISTEN", "LISTEN"]
    assert "server: SYN-RECEIVED → ESTABLISHED (its listener stays in LISTEN)" in first.findings
    told = [plain_text(line) for line in story(first.recorder.facts)]
    assert not any("LISTEN → " in line for line in told)
    assert any("new: SYN-RECEIVED; the listener stays in LISTEN" in line for line in told)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120])
@pytest.mark.parametrize("chapter", CHAPTERS, ids=NAMES)
def test_no_line_is_wider_than_the_terminal(chapter: Chapter, width: int) -> None:
    assert max(len(plain_text(line)) for line in told(chapter, perform(chapter, 1), width)) <= width


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
@pytest.mark.parametrize(("columns", "width"), [(20, 40), (40, 40), (64, 64), (80, 80), (300, 120)])
def test_a_screen_is_as_wide_as_the_terminal_within_bounds(columns: int, width: int) -> None:
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    code = "import sys; from estab.cli.screen import Screen; print(Screen(sys.stdout).width)"
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    environment |= {"PYTHONPATH": SOURCES, "TERM": "xterm"}
    command = [sys.executable, "-c", code]
    subprocess.run(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, check=True)
    os.close(theirs)
    assert int(os.read(ours, 100)) == width
    os.close(ours)


@pytest.mark.parametrize(("goes_to", "width"), [("pipe", 80), ("file", 100)])
def test_before_a_pager_a_screen_is_as_wide_as_the_terminal_and_in_a_file_it_is_not(
    goes_to: str, width: int, tmp_path: Path,
) -> None:
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    code = "import sys; from estab.cli.screen import Screen; print(Screen(sys.stdout).width)"
    with (tmp_path / "out").open("w") as file:
        output = subprocess.PIPE if goes_to == "pipe" else file
        done = subprocess.run([sys.executable, "-c", code], stdout=output, stderr=theirs, check=True, text=True,
                              env=os.environ | {"PYTHONPATH": SOURCES})
    os.close(theirs)
    os.close(ours)
    assert int(done.stdout if goes_to == "pipe" else (tmp_path / "out").read_text()) == width


# --- as data


def test_json_is_one_document_with_all_facts(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tour", "close", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    chapter, = document["chapters"]
    assert (document["seed"], chapter["chapter"]) == (1, "close")
    for scene in chapter["scenes"]:
        assert scene["facts_not_kept"] == 0
        kinds = Counter(fact["fact"] for fact in scene["facts"])
        assert kinds["CallStarted"] == kinds["CallReturned"] == len(scene["calls"])
        assert kinds["SegmentSent"] <= kinds["FrameSent"]


def test_json_and_captures_depend_on_the_seed_alone(tmp_path: Path) -> None:
    """Not on the hash seed, and not on whether the core is compiled: the source tree's never is."""
    outputs = []
    for number, sources in enumerate((SOURCES, SOURCES, str(ROOT / "src"))):
        path = tmp_path / f"{number}.pcapng"
        text = tour("--all", "--json", "--pcap", str(path), PYTHONHASHSEED=str(number), PYTHONPATH=sources)
        outputs.append((text, path.read_bytes()))
    assert outputs[0] == outputs[1] == outputs[2]


def test_a_capture_says_how_to_make_it_again(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    assert cli.main(["tour", "close", "--seed", "9", "--pcap", str(path)]) == 0
    with path.open("rb") as stream:
        capture = read(stream)
    assert len(capture.comments) == 3
    assert all("estab tour close --seed 9" in comment for comment in capture.comments)
    assert {item.name for item in capture.interfaces} == {"client:eth0", "server:eth0"}
    assert all(packet.comment for packet in capture.packets)


# --- as others see it


def tshark(path: Path, *arguments: str) -> str:
    program = shutil.which("tshark")
    if program is None:
        pytest.skip("needs tshark, which is not installed")
    done = subprocess.run(
        [program, "-n", "-r", str(path), "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o",
         "udp.check_checksum:TRUE", *arguments],
        capture_output=True, text=True, check=True,
    )
    return done.stdout


@pytest.mark.tshark
@pytest.mark.parametrize("chapter", CHAPTERS, ids=NAMES)
def test_tshark_finds_in_a_chapter_only_what_it_did_on_purpose(chapter: Chapter, tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    assert cli.main(["tour", chapter.name, "--pcap", str(path)]) == 0
    bad = "_ws.malformed || ip.checksum.status == 0 || tcp.checksum.status == 0 || udp.checksum.status == 0"
    assert tshark(path, "-Y", bad) == ""
    layers = json.loads(tshark(path, "-T", "json", "--no-duplicate-keys", "-J", "tcp", "-Y", "tcp.analysis.flags"))
    assert flags_in(layers) == chapter.analysis


_NUMBERS = {"tcp.analysis.rto", "tcp.analysis.rto_frame"}
"""What tshark adds to a retransmission: how long it took and since which frame. No findings."""


def flags_in(layers: object) -> frozenset[str]:
    """Collect the names of the expert findings of tshark's TCP analysis, wherever they stand."""
    prefix = "tcp.analysis."
    found: set[str] = set()
    waiting = [layers]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            inside = item.get("tcp.analysis.flags")
            if isinstance(inside, dict):
                found |= {name.removeprefix(prefix) for name in _names(inside) - _NUMBERS if name.startswith(prefix)}
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    return frozenset(found)


def _names(item: dict) -> set[str]:
    names = set(item)
    for value in item.values():
        if isinstance(value, dict):
            names |= _names(value)
        elif isinstance(value, list):
            names |= {name for part in value if isinstance(part, dict) for name in _names(part)}
    return names


# --- the screen


def test_colours_are_for_terminals_only() -> None:
    stream = io.StringIO()
    Screen(stream).lines([(Span("lost", "lost"), Span(" and found"))])
    assert stream.getvalue() == "lost and found\n"


def test_a_stream_that_knows_no_arrows_gets_ascii() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Screen(stream).lines([(Span("│──S──▶│ ×", "arrow"),)])
    stream.flush()
    assert raw.getvalue() == b"|--S-->| x\n"

