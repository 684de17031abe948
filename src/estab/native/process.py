"""``Process``: a process of the operating system on a spawned host of the lab."""

from __future__ import annotations

import codecs
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from estab.units import NEVER, duration_ns

__all__ = ["Driver", "Process", "ProcessFailedError"]

LINES_MAX: Final = 10_000
_LINE_BYTES_MAX: Final = 64 << 10
_READ_BYTES: Final = 1 << 16
_READS_MAX: Final = 16
_LOOK_NS: Final = 5_000_000

# Inside of a program these names mean the host's, so what is the system's is taken here.
_read: Final = os.read
_close: Final = os.close


class ProcessFailedError(Exception):
    """A process did not do what was waited for. The message has the last lines that it wrote."""


class Driver(Protocol):
    """What lets the network go on while a process is waited for, and what tells the process what to do."""

    @property
    def now_ns(self) -> int:
        """The network's time."""

    def pause(self, duration_ns: int) -> None:
        """Let the network run for a while."""

    def signal(self, process: Process, number: int) -> None:
        """Send a signal to the process and its group."""

    def listening_ports(self) -> set[int]:
        """Give the TCP ports on which the host listens."""


class Lines:
    """Bytes of a pipe as lines; the last ``LINES_MAX`` are kept."""

    def __init__(self, told: Callable[[str], None] | None) -> None:
        self.kept: deque[str] = deque(maxlen=LINES_MAX)
        self.count = 0
        self._text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._told = told

    def add(self, data: bytes, *, is_last: bool = False) -> None:
        """Take bytes; the end of the pipe ends a line too."""
        self._text += self._decoder.decode(data, final=is_last)
        *lines, self._text = self._text.split("\n")
        if len(self._text) > _LINE_BYTES_MAX or (is_last and self._text):
            lines.append(self._text)
            self._text = ""
        for line in lines:
            self.count += 1
            self.kept.append(line.rstrip("\r"))
            if self._told is not None:
                self._told(line.rstrip("\r"))


class Process:
    """A process of a spawned host. ``Host.spawn`` makes it.

    What it writes to its standard output and standard error is read while the network runs, kept by lines (the last
    10,000), and shown with the host's name before each line unless ``quiet=True``.
    """

    def __init__(self, number: int, host: str, argv: list[str], driver: Driver, *, is_quiet: bool) -> None:
        self.number = number
        self.host = host
        self.argv = argv
        self.pid = 0
        """The process's id, as this machine sees it."""
        self.returncode: int | None = None
        """The exit status; the negative number of the signal that ended it; ``None`` while it runs."""
        self._driver = driver
        self._lines = Lines(None if is_quiet else self._show)
        self._pipe = -1
        self._result_pipe = -1
        self.result_bytes = b""
        self.is_paused = False
        self._close_pipe: Callable[[int], None] = _close

    # --- what it is

    @property
    def name(self) -> str:
        """The program's name, without its folder."""
        return os.path.basename(self.argv[0])

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.returncode is None

    @property
    def lines(self) -> list[str]:
        """The lines that it wrote, to either of its outputs; the last 10,000."""
        return list(self._lines.kept)

    @property
    def output(self) -> str:
        """What it wrote, as one text."""
        return "\n".join(self._lines.kept)

    # --- waiting for it. Outside of programs that runs the network.

    def wait(self, timeout: int | float | str | None = None) -> int:
        """Wait until it has ended, and return its exit status (negative: the signal), or raise ``TimeoutError``."""
        if not self._await(lambda: self.returncode is not None and self._pipe < 0, timeout):
            raise TimeoutError(f"{self} still runs after {timeout}{self._tail()}")
        assert self.returncode is not None
        return self.returncode

    def check(self, timeout: int | float | str | None = None) -> str:
        """Wait until it has ended, and return its output. ``ProcessFailedError`` if its status is not 0."""
        status = self.wait(timeout)
        if status:
            raise ProcessFailedError(f"{self}{self._tail()}")
        return self.output

    def wait_listening(self, port: int, timeout: int | float | str = "10s") -> None:
        """Wait until the host listens on a TCP port. ``ProcessFailedError`` if the process ends or the time is over."""
        self._wait_for(lambda: port in self._driver.listening_ports(), timeout, f"listens on port {port}")

    def wait_output(self, text: str, timeout: int | float | str = "10s") -> str:
        """Wait until a line that holds ``text`` was written, and return the first. Otherwise as ``wait_listening``."""
        self._wait_for(lambda: any(text in line for line in self._lines.kept), timeout, f"writes {text!r}")
        return next(line for line in self._lines.kept if text in line)

    def _wait_for(self, is_so: Callable[[], bool], timeout: int | float | str, what: str) -> None:
        if self._await(lambda: is_so() or self.returncode is not None, timeout) and is_so():
            return
        why = "ended" if self.returncode is not None else f"did not within {timeout}"
        raise ProcessFailedError(f"{self}: waited until it {what}, and it {why}{self._tail()}")

    def _await(self, is_so: Callable[[], bool], timeout: int | float | str | None) -> bool:
        driver = self._driver
        until_ns = NEVER if timeout is None else driver.now_ns + duration_ns(timeout, "timeout")
        while not is_so():
            left_ns = until_ns - driver.now_ns
            if left_ns <= 0:
                return is_so()
            driver.pause(min(left_ns, _LOOK_NS))
        return True

    # --- what is done to it

    def signal(self, number: int) -> None:
        """Send a signal to it and to the processes that it started. Nothing happens if it has ended."""
        if self.returncode is None:
            self._driver.signal(self, number)

    def terminate(self) -> None:
        """Ask it to end: SIGTERM."""
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once: SIGKILL. The kernel closes its sockets, so its peers get FIN or RST."""
        self.signal(signal.SIGKILL)

    def pause(self) -> None:
        """Let it do nothing until ``resume``: SIGSTOP. Its kernel goes on acknowledging."""
        self.signal(signal.SIGSTOP)
        self.is_paused = True

    def resume(self) -> None:
        """Let it go on: SIGCONT."""
        self.signal(signal.SIGCONT)
        self.is_paused = False

    # --- for the host

    def attach(self, pipe: int, result_pipe: int, close: Callable[[int], None]) -> None:
        """Take the reading ends of its pipes."""
        self._pipe, self._result_pipe, self._close_pipe = pipe, result_pipe, close

    def read_output(self) -> None:
        """Take what it wrote."""
        for _ in range(_READS_MAX):
            try:
                data = _read(self._pipe, _READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self._end_output()
                return
            self._lines.add(data)

    def read_result(self) -> None:
        """Take what ``spawn_python`` gives back."""
        try:
            data = _read(self._result_pipe, _READ_BYTES)
        except BlockingIOError:
            return
        self.result_bytes += data
        if not data:
            fd, self._result_pipe = self._result_pipe, -1
            self._close_pipe(fd)

    @property
    def has_result(self) -> bool:
        """Whether all of the result has come, if there is one."""
        return self._result_pipe < 0

    def await_result(self, timeout: int | float | str | None) -> bytes:
        """Wait until it has ended and all that it gives back is here."""
        if not self._await(lambda: self.returncode is not None and self.has_result, timeout):
            raise TimeoutError(f"{self} still runs after {timeout}{self._tail()}")
        return self.result_bytes

    def exited(self, status: int) -> None:
        """Note its end, after reading what it wrote until then."""
        if self._pipe >= 0:
            self.read_output()
        self.returncode = status

    def close(self) -> None:
        """Close its pipes, after reading what is left in them. Idempotent."""
        if self._pipe >= 0:
            self.read_output()
            if self._pipe >= 0:
                self._end_output()
        if self._result_pipe >= 0:
            fd, self._result_pipe = self._result_pipe, -1
            self._close_pipe(fd)
        if self.returncode is None:
            self.returncode = -signal.SIGKILL

    def _end_output(self) -> None:
        fd, self._pipe = self._pipe, -1
        self._close_pipe(fd)
        self._lines.add(b"", is_last=True)

    def _show(self, line: str) -> None:
        if sys.stdout is not None:
            print(f"{self.host}| {line}")

    def _tail(self) -> str:
        lines = list(self._lines.kept)[-10:]
        return "".join(f"\n  {self.host}| {line}" for line in lines) if lines else "; it wrote nothing"

    def __str__(self) -> str:
        if self.returncode is None:
            state = "paused" if self.is_paused else "running"
        elif self.returncode < 0:
            try:
                state = f"ended by {signal.Signals(-self.returncode).name}"
            except ValueError:
                state = f"ended by signal {-self.returncode}"
        else:
            state = f"ended with status {self.returncode}"
        return f"{self.name} on {self.host} (pid {self.pid}, {state})"

    def __repr__(self) -> str:
        return f"<Process {self}>"
