"""``estab top`` as a command: a table where there is no terminal, the screen on one of 80 by 24, and mistakes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import estab
from tests.doctor.test_live import Namespace, pair, plant
from tests.kit.namespaces import requires_kernel

__all__ = ["pair"]
COMMAND = [sys.executable, "-m", "estab.cli.main", "top"]


@pytest.fixture
def published(tmp_path: Path) -> Iterator[str]:
    with estab.Stack(estab.QueueDevice(name="dev"), "10.9.0.1/24") as stack, stack.socket() as listener:
        listener.bind(("", 8080))
        listener.listen(5)
        yield stack.publish(tmp_path / "a.sock").path


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=60)


def test_where_there_is_no_terminal_it_prints_a_table(published: str) -> None:
    done = run("--stack", published, "--interval", "0.1")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "stack a, 10.9.0.1/24: 0 connections, 1 listener"
    assert lines[2].split()[:4] == ["▼", "STATE", "LOCAL", "PEER"]
    assert lines[3].split() == ["LISTEN", "0.0.0.0:8080", "*", "5"]
    assert run("--stack", published, "--interval", "0.1", "--filter", "estab").stdout.count("\n") == 3


@pytest.mark.parametrize(("words", "status", "said"), [
    (("--filter", "zork>3"), 2, "'zork>3' is no comparison"),
    (("--stack", "/no/such.sock"), 1, "no stack publishes at /no/such.sock"),
    (("--stack", "x", "--pid", "1"), 2, "--stack is about a stack's"),
    (("--netns", "no-such-namespace"), 1, "no network namespace"),
    (("--pid", "4194305"), 1, "there is no process 4194305"),
])
def test_a_mistake_is_one_line(words: tuple[str, ...], status: int, said: str) -> None:
    done = run("--once", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1)
    assert said in done.stderr


@contextmanager
def terminal(*words: str, without: str = "") -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the command on a terminal of 80 by 24. ``without``: a package that can't be imported."""
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    hidden = f"import sys; sys.modules[{without!r}] = None; " if without else "import sys; "
    code = f"{hidden}from estab.cli.main import main; sys.exit(main(['top', *sys.argv[1:]]))"
    process = subprocess.Popen([sys.executable, "-c", code, *words], stdin=other, stdout=other, stderr=other,
                               env={**os.environ, "TERM": "xterm-256color"}, start_new_session=True)
    os.close(other)
    try:
        yield process, main
    finally:
        process.kill()
        process.wait()
        os.close(main)


def read_until(main: int, pattern: str, patience_s: float = 30) -> str:
    """Read what comes until it matches."""
    end = time.monotonic() + patience_s
    text = ""
    while not re.search(pattern, text):
        assert time.monotonic() < end, text[-3000:]
        try:
            text += os.read(main, 65536).decode(errors="replace")
        except OSError:
            break
    assert re.search(pattern, text), text[-3000:]
    return text


@pytest.mark.parametrize(("how", "status"), [(b"q", 0), (b"\x03", 130), (signal.SIGTERM, 143)])
def test_on_a_terminal_it_shows_a_screen_and_ends_cleanly(published: str, how: bytes | signal.Signals,
                                                          status: int) -> None:
    with terminal("--stack", published, "--interval", "0.2") as (process, main):
        read_until(main, "0.0.0.0:8080")
        if isinstance(how, bytes):
            os.write(main, how)
        else:
            process.send_signal(how)
        text = read_until(main, r"\x1b\[\?1049l")  # the terminal has its own screen back
        assert process.wait(20) == status
        assert "Traceback" not in text


def test_without_textual_one_line_says_how_to_install_it(published: str) -> None:
    with terminal("--stack", published, without="textual") as (process, main):
        text = read_until(main, "without it")
        assert process.wait(20) == 1
    assert "pip install 'estab[top]'" in text
    assert text.count("\n") <= 2  # on 80 columns the terminal breaks it


class TestKernel:
    pytestmark = requires_kernel

    def test_the_kernels_sockets_are_shown_with_rates_and_verdicts(self, pair: tuple[Namespace, Namespace]) -> None:
        here, there = pair
        plant(there, "serve_reading", "0.02", "4000")
        plant(here, "window_limited")
        done = run("--netns", here.name, "--interval", "0.5")
        line = next(line for line in done.stdout.splitlines() if "10.99.0.2:80" in line)
        assert line.startswith(". ESTAB")
        assert re.search(r" \d+K +[\d.]+$|K\b", line)

    def test_a_kernel_socket_without_close_is_the_first_line_and_bad(self, pair: tuple[Namespace, Namespace]) -> None:
        here, there = pair
        plant(there, "serve_closing")
        plant(here, "close_wait")
        while "! CLOSE-WAIT" not in (told := run("--netns", here.name, "--interval", "0.1", "--filter", "bad").stdout):
            assert "CLOSE-WAIT" in run("--netns", here.name, "--interval", "0.1").stdout
        assert told.count("! CLOSE-WAIT") == 3
