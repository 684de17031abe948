"""``estab drill`` and the collector for pytest: what they print, write and return."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from estab.cli import main as cli
from estab.observe import pcapng

SOURCES = str(Path(__file__).resolve().parent.parent.parent / "src")
GOOD = """\
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 1000 <mss 1000>
+0 > S. 0:0(0) ack 1 <mss 1460>
"""
BAD = GOOD.replace("ack 1 <mss 1460>", "ack 2 <mss 1460>")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deeper").mkdir()
    (tmp_path / "good.pkt").write_text(GOOD)
    (tmp_path / "deeper" / "bad-v6.pkt").write_text(BAD)
    (tmp_path / "notes.txt").write_text("no script")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = cli.main(["drill", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out + err


def test_all_that_passes_is_one_line_and_status_0(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run(capsys, folder / "good.pkt")
    assert code == 0
    assert text.startswith("1 of 1 passed in ")


def test_a_failure_is_one_line_with_both_packets_and_status_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run(capsys, folder)
    bad = folder / "deeper" / "bad-v6.pkt"
    assert code == 1
    assert text.splitlines()[0] == (
        f"{bad}:5: (ipv6) ack: expected 2, got 1 | expected: > S. 0:0(0) ack 2 <mss 1460>"
        " | got: > S. 0:0(0) ack 1 <mss 1460>"
    )
    assert text.splitlines()[1].startswith("1 of 2 passed in ")


def test_each_ip_version_that_the_name_allows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run(capsys, folder, "--ip", "all")
    assert code == 1
    assert "bad-v6.pkt:5: (ipv6) ack" in text
    assert "3 of 4 passed" in text


def test_jobs_share_the_work_and_change_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = run(capsys, folder, "--ip", "all")
    two = run(capsys, folder, "--ip", "all", "--jobs", "2")
    lines = [[line.split(" in ")[0] for line in text.splitlines()] for _, text in (one, two)]
    assert lines[0] == lines[1]


def test_a_script_that_can_not_be_read_shows_the_caret_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.pkt").write_text("0 close(3 = 0\n")
    code, text = run(capsys, tmp_path)
    assert code == 2
    assert text.splitlines()[0].endswith("x.pkt:1:11: expected ')', not '='")
    assert text.splitlines()[2] == "            ^"


def test_verbose_draws_the_ladder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run(capsys, folder / "good.pkt", "--verbose")
    assert code == 0
    assert "listen(3, 1) → 0" in text
    assert "S. seq=0 ack=1" in text


def test_pcap_and_junit_are_written(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, folder, "--pcap", tmp_path / "x.pcapng", "--junit", tmp_path / "x.xml")
    with open(tmp_path / "x.pcapng", "rb") as stream:
        assert len(pcapng.read(stream).packets) == 4
    suite = ElementTree.parse(tmp_path / "x.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "ack: expected 2, got 1"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["/nonexistent.pkt"], 2, ["/nonexistent.pkt", "does not exist"]),
        ([SOURCES + "/estab/drill"], 2, ["no .pkt file below"]),
        (["{good}", "--define", "x"], 2, ["'x' is not NAME=VALUE"]),
        (["{good}", "--profile", "plan9"], 2, ["plan9"]),
        (["{good}", "--option", "bogus=1"], 2, ["unknown option --bogus"]),
        (["{good}", "--option", "mtu=big"], 2, ["--mtu: 'big' is no value for it"]),
        (["{good}", "--option", "tolerance_usecs=-5"], 2, ["--tolerance_usecs: '-5' is no value for it"]),
        (["{good}", "--option", "tolerance_percent=nan"], 2, ["--tolerance_percent: 'nan' is no value for it"]),
        (["{good}", "--option", "connect_port=70000"], 2, ["--connect_port: '70000' is no value for it"]),
        (["{good}", "--option", "non_fatal=packets"], 2, ["--non_fatal: 'packets' is no value for it"]),
        (["{good}", "--jobs", "0"], 2, ["0"]),
        (["{good}", "--pcap", "/nonexistent/x"], 1, ["--pcap: cannot write", "No such file"]),
        (["{good}", "--junit", "/nonexistent/x"], 1, ["--junit: cannot write", "No such file"]),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    arguments: list[str], code: int, words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, text = run(capsys, *(word.format(good=folder / "good.pkt") for word in arguments))
    assert found == code
    assert text.count("\n") == 1
    assert all(word in text for word in words)


def test_defines_reach_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.pkt").write_text(GOOD.replace("mss 1000", "mss SIZE"))
    assert run(capsys, tmp_path, "-D", "SIZE=1000")[0] == 0


def test_options_count_unless_the_script_has_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.pkt").write_text(GOOD.replace("mss 1460", "mss 1360"))
    assert run(capsys, tmp_path, "--option", "mtu=1400")[0] == 0
    (tmp_path / "x.pkt").write_text("--mtu=1500\n" + GOOD)
    assert run(capsys, tmp_path, "--option", "mtu=1400")[0] == 0


@pytest.mark.parametrize(("profile", "options"), [
    ("linux", "mss 1460,sackOK,TS val 100 ecr 0,nop,wscale 7"),
    ("freebsd", "mss 1460,nop,wscale 6,sackOK,TS val 100 ecr 0"),
    ("neutral", "wscale 7,mss 1460,TS val 100 ecr 0,sackOK"),
])
def test_profiles_lay_out_options_as_their_systems_do(
    profile: str, options: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.pkt").write_text(
        "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0\n"
        f"+0 connect(3, ..., ...) = -1 EINPROGRESS\n+0 > S 0:0(0) win 65535 <{options}>\n")
    assert run(capsys, tmp_path, "--profile", profile)[0] == 0


# --- pytest


def collected(*arguments: object, where: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": SOURCES, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "estab.pytest_plugin", "-p", "no:cacheprovider"]
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, env=environment, cwd=where,
                          check=False)


def test_pytest_runs_a_script_that_is_named(folder: Path) -> None:
    done = collected("good.pkt", "deeper/bad-v6.pkt", where=folder)
    assert "1 failed, 3 passed" in done.stdout
    assert "bad-v6.pkt:5: ack: expected 2, got 1" in done.stdout
    assert "Traceback" not in done.stdout


def test_pytest_leaves_scripts_alone_that_lie_about_unless_told(folder: Path) -> None:
    assert "no tests ran" in collected(".", where=folder).stdout
    done = collected(".", "-o", "drill_collect=true", "--drill-ip", "ipv4", where=folder)
    assert "1 failed, 1 passed" in done.stdout
