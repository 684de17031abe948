"""The command itself: its version, its errors in one line, its quiet ends."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import estab
from estab._build import core_kind
from estab.cli import main as cli

ESTAB = [sys.executable, "-m", "estab.cli.main"]
SOURCES = str(Path(estab.__file__).parent.parent)


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": SOURCES}
    return subprocess.run([*ESTAB, *arguments], capture_output=True, text=True, env=environment, **options)  # type: ignore[call-overload, no-any-return]


def test_version_says_which_core_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    python = platform.python_version()
    assert capsys.readouterr().out == f"estab {estab.__version__} (core: {core_kind()}, Python {python})\n"


def test_without_a_command_it_helps(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    assert "tour" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (["turo"], 2, ["'turo'"]),
    (["tour", "nosuch"], 2, ["'nosuch'", "handshake", "close-wait", "estab tour --help"]),
    (["tour", "--seed", "x"], 2, ["--seed", "'x'"]),
    (["tour", "--sed", "1"], 2, ["--sed"]),
    (["tour", "handshake", "more"], 2, ["more"]),
    (["tour", "handshake", "--pcap", "/nonexistent/x.pcapng"], 1, ["/nonexistent/x.pcapng", "No such file"]),
])
def test_what_is_wrong_is_said_in_one_line(
    arguments: list[str], code: int, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("estab: ")
    assert err.count("\n") == 1
    assert all(word in err for word in words)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_is_full_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tour", "handshake", "--pcap", "/dev/full"]) == 1
    err = capsys.readouterr().err
    assert err == "estab: --pcap: cannot write '/dev/full': No space left on device\n"


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    environment = {**os.environ, "PYTHONPATH": SOURCES}
    with subprocess.Popen([*ESTAB, "tour"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 141
        assert process.stderr.read() == b""


def test_ctrl_c_ends_it_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("estab.cli.tour.perform", interrupt)
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs have it ignored
    try:
        assert cli.main(["tour", "handshake"]) == 130
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert "Traceback" not in capsys.readouterr().err


def test_version_does_not_load_the_engine() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from estab.cli.main import main; main(['--version']); "
         "print([name for name in sys.modules if name.startswith(('estab.tcp.', 'estab.lab.', 'rich'))])"],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": SOURCES},
    )
    assert done.stdout.splitlines()[1] == "[]"
