"""Network namespaces with programs in them: what every test against a real peer stands on.

A test's stack lives in the test's own process; the kernel's end of its device, and the peers, live in a namespace that
is made for it and removed with all that runs there.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Namespace", "await_that", "find", "namespace", "needs", "requires_kernel"]

_numbers = itertools.count()


def _why_not() -> str:
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    if not os.path.exists("/dev/net/tun"):
        return "there is no /dev/net/tun"
    return ""


requires_kernel = [pytest.mark.kernel, pytest.mark.skipif(bool(_why_not()), reason=_why_not() or "-")]


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip a test, with the reason, where a program is not installed."""
    missing = [name for name in programs if find(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def find(name: str) -> str | None:
    """Find a program, also where only root's PATH or the distribution's own folders lead."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", *map(str, _postgres_folders())])
    return shutil.which(name, path=path)


def _postgres_folders() -> list[Path]:
    return sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


class Namespace:
    """A namespace, and the processes started in it. A context manager: at its end both are gone."""

    def __init__(self) -> None:
        self.name = f"estab-test-{os.getpid()}-{next(_numbers)}"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.is_there = False

    def __enter__(self) -> Namespace:
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.is_there = True
        self.ip("link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            self.end(process)
        self.delete()

    def delete(self) -> None:
        """Remove the namespace; processes that are in it keep it alive until they end."""
        if self.is_there:
            self.is_there = False
            subprocess.run(["ip", "netns", "del", self.name], check=True)

    def ip(self, *words: str) -> None:
        """Run iproute2's ``ip`` on the namespace."""
        done = subprocess.run(["ip", "-n", self.name, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"

    def pids(self) -> list[int]:
        """List the processes that are in the namespace."""
        done = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=True)
        return [int(pid) for pid in done.stdout.split()]

    def sysctl(self, *settings: str) -> None:
        """Set sysctls of the namespace."""
        self.run("sysctl", "-qw", *settings)

    def run(self, *command: str, check: bool = True, timeout: float = 30, binary: bytes = b"",
            **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, with ``binary`` for its input."""
        words = self._inside(command)
        done = subprocess.run(words, capture_output=True, timeout=timeout, input=binary, check=False, **more)
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        told = f"{err[-2000:]}{out[-500:]}"
        assert not check or done.returncode == 0, f"{command[0]}: exit status {done.returncode}: {told}"
        return subprocess.CompletedProcess(words, done.returncode, out, err)

    def start(self, *command: str, **more: Any) -> subprocess.Popen[bytes]:
        """Start a program that is ended with the namespace, together with its children."""
        more.setdefault("stdout", subprocess.DEVNULL)
        more.setdefault("stderr", subprocess.DEVNULL)
        more.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen(self._inside(command), start_new_session=True, **more)
        self.processes.append(process)
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """End a program that ``start`` started, and what it started."""
        for number, patience in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0)):
            if process.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
        process.wait(5)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()

    def wait_for_port(self, port: int, patience: float = 10) -> None:
        """Wait until something listens on a port in the namespace."""
        await_that(lambda: f":{port} " in self.run("ss", "-Hltn").stdout, f"something listens on {port}", patience)

    def _inside(self, command: Sequence[str]) -> list[str]:
        program = find(command[0])
        assert program is not None, f"{command[0]} is not installed"
        return ["ip", "netns", "exec", self.name, program, *command[1:]]


def await_that(claim: Callable[[], bool], what: str, patience: float = 10) -> None:
    """Look until a claim about another process is true. Real peers give no event for it; the wait is bounded."""
    end = time.monotonic() + patience
    while not claim():
        assert time.monotonic() < end, f"not within {patience} s: {what}"
        threading.Event().wait(0.02)


@contextlib.contextmanager
def namespace() -> Iterator[Namespace]:
    """Make a namespace for the length of a block."""
    with Namespace() as made:
        yield made
