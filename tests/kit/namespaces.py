"""Network namespaces with programs in them: what every test against the real kernel stands on.

A test's stack lives in the test's own process; the kernel's end of its device, and the peers, live in a namespace that
is made for the test, under a name that no other has, and removed with all that runs there, however the test ends.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from estab.devices.namespace import call_in

__all__ = ["Namespace", "await_that", "find", "needs", "requires_kernel"]

_numbers = itertools.count()


def _why_not() -> str:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
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
    of_postgres = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", *map(str, of_postgres)])
    return shutil.which(name, path=path)


class Namespace:
    """A namespace with its loopback up, and the programs started in it. A context manager: at its end all are gone."""

    def __init__(self) -> None:
        self.name = f"estab-test-{os.getpid()}-{next(_numbers)}"
        self.processes: list[subprocess.Popen[Any]] = []
        self._is_there = False

    def __enter__(self) -> Self:
        _finish(["ip", "netns", "add", self.name])
        self._is_there = True
        try:
            self.set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def set_up(self) -> None:
        """Prepare what is in it. Where this fails, the namespace is removed."""
        self.ip("link set lo up")

    def __exit__(self, *_: object) -> None:
        try:
            self.end_all()
        finally:
            self.delete()

    def delete(self) -> None:
        """Remove the namespace; processes that are in it keep it alive until they end."""
        if self._is_there:
            self._is_there = False
            _finish(["ip", "netns", "del", self.name])

    def ip(self, words: str) -> str:
        """Run iproute2's ``ip`` on the namespace, and give what it writes."""
        return _finish(["ip", "-n", self.name, *words.split()]).stdout

    def pids(self) -> list[int]:
        """List the processes that are in the namespace."""
        return [int(pid) for pid in _finish(["ip", "netns", "pids", self.name]).stdout.split()]

    def sysctl(self, *settings: str) -> None:
        """Set sysctls of the namespace."""
        self.run("sysctl", "-qw", *settings)

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program to its end. Options: ``check``, ``timeout``, ``binary`` (its input), and those of ``Popen``."""
        return _finish(self._inside(command), **options)

    def start(self, *command: str, **options: Any) -> subprocess.Popen[Any]:
        """Start a program that is ended with the namespace, together with its children. Options: those of ``Popen``."""
        silent = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        process = subprocess.Popen(self._inside(command), start_new_session=True, **silent | options)
        self.processes.append(process)
        return process

    def end(self, process: subprocess.Popen[Any]) -> None:
        """End a program that ``start`` started, and what it started."""
        for number, patience in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0)):
            if process.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
        process.wait(5)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()

    def end_all(self) -> None:
        """End all that was started in the namespace, and what those left behind in it."""
        while self.processes:
            self.end(self.processes.pop())
        for pid in self.pids() if self._is_there else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, proto: int = 0) -> socket.socket:
        """Make a socket of the kernel in the namespace, with a bound to how long it waits."""
        made = call_in(self.name, lambda: socket.socket(family, kind, proto))
        made.settimeout(30)
        return made

    def wait_for_port(self, port: int, patience: float = 10) -> None:
        """Wait until something listens on a port in the namespace."""
        await_that(lambda: f":{port} " in self.run("ss", "-Hltn").stdout, f"something listens on {port}", patience)

    def _inside(self, command: tuple[str, ...]) -> list[str]:
        program = find(command[0])
        assert program is not None, f"{command[0]} is not installed"
        return ["ip", "netns", "exec", self.name, program, *command[1:]]


def await_that(claim: Callable[[], bool], what: str, patience: float = 10) -> None:
    """Look until a claim about another process is true. Real peers give no event for it; the wait is bounded."""
    end = time.monotonic() + patience
    while not claim():
        assert time.monotonic() < end, f"not within {patience} s: {what}"
        threading.Event().wait(0.02)


def _finish(words: list[str], check: bool = True, timeout: float = 30, binary: bytes = b"",
            **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(words, capture_output=True, timeout=timeout, input=binary, check=False, **options)
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    said = f"{err[-2000:]}{out[-500:]}"
    assert not check or done.returncode == 0, f"{' '.join(words)}: exit status {done.returncode}: {said}"
    return subprocess.CompletedProcess(words, done.returncode, out, err)
