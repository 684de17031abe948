"""The command itself: its version, its errors in one line, its quiet ends."""

from __future__ import annotations

import errno
import io
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import estab
from estab._build import core_kind
from estab.cli import main as cli
from estab.cli.ascii import ASCII, HANDLER
from tests.native.test_gone import alive, below

ESTAB = [sys.executable, "-m", "estab"]
SOURCES = str(Path(estab.__file__).parent.parent)
ENVIRONMENT = {**os.environ, "PYTHONPATH": SOURCES}
SCRIPT = next((Path(__file__).resolve().parent.parent / "drill" / "scripts" / "close").glob("*.pkt"))


class FullDisk(io.TextIOWrapper):
    """A file on a disk that becomes full while it is written."""

    def __init__(self, path: str, mode: str, **options: Any) -> None:
        super().__init__(io.FileIO(path, mode), **options)

    def write(self, text: str) -> int:
        super().write(text[: len(text) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")


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
    (["turo"], 2, ["'turo'", "Did you mean 'tour'?", "estab --help"]),
    (["nothing-like-it"], 2, ["'nothing-like-it'"]),
    (["tour", "hand-shake"], 2, ["'hand-shake'. Did you mean 'handshake'?"]),
    (["tour", "--all", "data"], 2, ["--all", "'data'"]),
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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [["tour"], ["tour", "--json"], ["tour", "--list"], ["--version"], ["--help"],
                                   ["drill", "--help"], ["drill", str(SCRIPT)], ["drill", "-v", str(SCRIPT)],
                                   ["explain", "--all"], ["doctor"], ["doctor", "--table"], ["doctor", "--watch", "1"],
                                   ["top", "--once"]])
def test_a_full_output_is_said_in_one_line(words: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*ESTAB, *words], stdout=full, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
                              check=False)
    assert (done.returncode, done.stderr) == (1, "estab: cannot write to standard output: No space left on device\n")


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
@pytest.mark.parametrize("words", ["tour", "--version", "--help", "tour nosuch"])
def test_a_closed_output_is_said_in_one_line(words: str) -> None:
    done = subprocess.run(["sh", "-c", f'"$0" -m estab {words} >&-', sys.executable], capture_output=True, text=True,
                          env=ENVIRONMENT, check=False)
    assert (done.returncode, done.stderr) == (
        1, "estab: standard output is closed; send it to /dev/null if you want none\n")


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
@pytest.mark.parametrize(("words", "status"), [("tour --list >/dev/null 2>&-", 0), ("tour nosuch 2>&-", 2),
                                               ("tour >&- 2>&-", 1)])
def test_with_errors_closed_the_status_alone_tells(words: str, status: int) -> None:
    done = subprocess.run(["sh", "-c", f'"$0" -m estab {words}', sys.executable], capture_output=True, text=True,
                          env=ENVIRONMENT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGKILL", -9)])
def test_a_signal_that_ends_it_ends_its_workers_too(name: str, status: int, tmp_path: Path) -> None:
    (tmp_path / "ends.pkt").write_text("0.0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n")
    os.mkfifo(tmp_path / "fifo")
    waits = f"import threading; print('up', file=open({str(tmp_path / 'fifo')!r}, 'w')); threading.Event().wait(60)"
    (tmp_path / "stays.pkt").write_text(f"0.0 %{{ {waits} }}%\n")
    command = [*ESTAB, "drill", "--jobs", "2", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT,
                          start_new_session=True, text=True) as process:
        assert process.stdout is not None
        assert (tmp_path / "fifo").read_text() == "up\n"
        started = below([process.pid])
        assert len(started) >= 3  # itself and two workers
        process.send_signal(getattr(signal, name))
        assert process.wait(20) == status
        deadline = time.monotonic() + 20
        while left := alive(started):
            assert time.monotonic() < deadline, f"{left} are still there"
        assert process.stdout.read() == ""


# --- completion


def completed(words: str) -> list[str]:
    """What bash is offered after these words, the last of which is being written."""
    parts = words.split(" ")
    asked = {"_ESTAB_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(parts) - 1)}
    done = subprocess.run(ESTAB, capture_output=True, text=True, check=True, env=ENVIRONMENT | asked)
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("words", "offered"), [
    ("estab ", ["drill", "tour", "up"]),
    ("estab to", ["tour"]),
    ("estab --v", ["--version"]),
    ("estab tour ha", ["handshake", "half-close"]),
    ("estab tour --a", ["--all"]),
    ("estab drill --profile ", ["linux", "freebsd", "neutral"]),
    ("estab drill --ip all --ip ", ["ipv4", "ipv4-mapped-ipv6", "ipv6", "all"]),
])
def test_a_shell_is_offered_what_fits(words: str, offered: list[str]) -> None:
    assert set(offered) <= set(completed(words))
    assert all(name.startswith(words.rpartition(" ")[2]) for name in completed(words))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str) -> None:
    done = subprocess.run(ESTAB, capture_output=True, text=True, check=True,
                          env=ENVIRONMENT | {"_ESTAB_COMPLETE": f"{shell}_source"})
    assert f"_ESTAB_COMPLETE={shell}_complete" in done.stdout
    program = shutil.which(shell)
    if program is not None:
        subprocess.run([program, "-n"], input=done.stdout, text=True, check=True)


def test_completing_commands_does_not_load_the_engine() -> None:
    asked = {"_ESTAB_COMPLETE": "bash_complete", "COMP_WORDS": "estab ", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from estab.cli.main import main; main([]); "
         "print([name for name in sys.modules if name.startswith(('estab.tcp.', 'estab.lab.', 'rich'))])"],
        capture_output=True, text=True, check=True, env=ENVIRONMENT | asked,
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("words", [["tour", "--all"], ["doctor", "--watch", "0.1", "--json"]])
def test_a_reader_that_goes_away_ends_it_quietly(words: list[str]) -> None:
    with subprocess.Popen([*ESTAB, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 141
        assert process.stderr.read() == b""


@pytest.mark.parametrize("words", [["top", "--once"], ["tour", "handshake"], ["drill", "-v", str(SCRIPT)],
                                   ["doctor", "--table"], ["explain", "ETIMEDOUT"]])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_an_encoding_lacks_is_written_in_ascii(words: list[str], encoding: str) -> None:
    done = subprocess.run([*ESTAB, *words], capture_output=True, check=False, env=ENVIRONMENT | {
        "PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stderr) == (0, b"")
    assert "\\u" not in done.stdout.decode(encoding)
    if encoding == "ascii":
        assert done.stdout.isascii()


@pytest.mark.parametrize("words", [[], ["--help"], *([name, "--help"] for name in (
    "doctor", "drill", "lab", "report", "run", "sweep", "explain", "up", "top", "tour"))])
def test_help_is_written_in_the_encoding_of_the_locale(words: list[str]) -> None:
    done = subprocess.run([*ESTAB, *words], capture_output=True, check=False, timeout=60, env=ENVIRONMENT | {
        "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()
    assert b"--help" in done.stdout


@pytest.mark.parametrize("command", ["doctor", "report"])
@pytest.mark.parametrize(("text", "words"), [(b"", "it is empty"), (b"GET / HTTP/1.1", "neither pcap nor pcapng")])
def test_a_file_that_is_no_capture_is_wrong_input(
    command: str, text: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(text)
    assert cli.main([command, str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.count("\n") == 1


def test_each_character_that_is_written_in_ascii_is_one() -> None:
    for character, nearest in ASCII.items():
        assert len(nearest) == 1
        assert nearest.isascii()
        assert chr(character).encode("ascii", HANDLER) == nearest.encode()
    assert "naïve ☃ 漢".encode("latin-1", HANDLER) == b"na\xefve ? ?"
    assert "\udce9.pcap".encode("utf-8", HANDLER) == b"\xe9.pcap"  # a file's name that is no text


def test_a_file_that_cannot_be_written_is_said_alike_and_half_a_page_is_not_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["tour", "handshake", "--pcap", "a.pcap"]) == 0
    for words, option in ((["report", "a.pcap", "--out"], "--out"), (["doctor", "a.pcap", "--replay"], "--replay"),
                          (["tour", "handshake", "--pcap"], "--pcap"), (["tour", "handshake", "--report"], "--report")):
        capsys.readouterr()
        assert cli.main([*words, "absent/x"]) == 1
        assert capsys.readouterr().err == f"estab: {option}: cannot write 'absent/x': No such file or directory\n"

    with monkeypatch.context() as patch:
        patch.setattr("estab.report.page.open", lambda *a, **k: FullDisk(*a, **k), raising=False)
        assert cli.main(["report", "a.pcap"]) == 1
    assert capsys.readouterr().err.endswith("estab: --out: cannot write 'a.html': No space left on device\n")
    assert not Path("a.html").exists()


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal")
@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_a_capture_that_is_read_at_once_shows_no_progress(tmp_path: Path, term: str) -> None:
    path = str(tmp_path / "a.pcap")
    assert cli.main(["tour", "handshake", "--pcap", path]) == 0
    near, far = os.openpty()
    subprocess.run([*ESTAB, "doctor", path], stdout=subprocess.DEVNULL, stderr=far, check=False,
                   env=ENVIRONMENT | {"TERM": term})
    os.write(far, b"end\n")
    assert os.read(near, 1000) == b"end\r\n"
    os.close(far)
    os.close(near)


def test_a_system_s_word_for_an_error_stands_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--netns", "nosuch"]) == 2
    assert capsys.readouterr().err.startswith("estab: there is no network namespace /var/run/netns/nosuch; ")


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
