"""Where the sockets come from: the kernel of this machine, or a stack that publishes them.

A source is read again and again, from one thread at a time. Both give what the doctor judges: a ``Reading``.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from estab.abi import ESTABLISHED, LISTEN
from estab.devices.namespace import call_in
from estab.doctor.finding import Report
from estab.doctor.live import Thresholds
from estab.doctor.machine import Machine, Reading, read_machine, read_sysctls
from estab.doctor.sockets import PAUSE_S, report_of, wanted_rows
from estab.native.sockdiag import TIMERS, Row
from estab.stack.publishing import PATIENCE_S, ROWS_MAX, VERSION, check_folder, default_folder

__all__ = ["KernelSource", "Source", "StackSource", "diagnose_stack", "find_stacks"]

_MANY: Final = 20_000
_IDLE_S: Final = 600.0
_ANSWER_BYTES_MAX: Final = 64 << 20


class Source(Protocol):
    """Something whose sockets can be read."""

    name: str
    sysctls: dict[str, str]
    note: str
    """What the reader should know of the last reading: what it left out."""

    def read(self) -> Reading:
        """Read all sockets. ``OSError`` if that fails."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class KernelSource:
    """The sockets of this machine, of one process, port or network namespace. Linux only: ``OSError`` elsewhere."""

    def __init__(self, *, pid: int | None = None, port: int | None = None, netns: str | None = None) -> None:
        if not sys.platform.startswith("linux"):
            raise OSError("the kernel's sockets can be asked for on Linux only; --stack shows a stack's anywhere")
        self.name = f"network namespace {netns}" if netns else "this machine"
        self.note = ""
        self._pid, self._port, self._netns = pid, port, netns
        self._is_many = False
        self._before: Reading | None = None
        self.sysctls = call_in(netns, read_sysctls)

    def read(self) -> Reading:
        """Read all sockets; of very many only those that move, wait or fail, and the note says so."""
        wanted = wanted_rows(self._pid, self._port)  # a process opens and closes: look at it each time
        if wanted is None and not self._is_many:
            reading = call_in(self._netns, lambda: read_machine(_all))
            self._is_many = reading.total > _MANY
            return reading
        before = self._before
        reading = call_in(self._netns, lambda: read_machine(wanted, _IDLE_S, before))
        self._before = reading
        self._is_many = wanted is None and reading.total > _MANY
        self.note = f"{reading.skipped.count:,} quiet ones are not shown" if reading.skipped.count else ""
        if wanted is not None:
            reading.listeners = [row for row in reading.listeners if wanted(row)]
        return reading

    def close(self) -> None:
        """Nothing is open."""


def _all(_row: Row) -> bool:
    return True


_UNNAMED: Final = "estab"
"""What a stack is called that was given no name: then it is called as it is published, for `estab up` by its device."""


def find_stacks(name: str) -> list[Path]:
    """Find where the stack of that name publishes: a path, or the name of a device. ``OSError`` if nowhere."""
    if "/" in name:
        return [Path(name)]
    folder = default_folder()
    if folder.exists():
        check_folder(folder)
    names = sorted(path.name.removesuffix(".sock") for path in folder.glob("*.sock")) if folder.is_dir() else []
    found = [folder / f"{one}.sock" for one in names if one.partition("+")[0] == name]
    if not found:
        there = sorted({one.partition("+")[0] for one in names})
        raise OSError(f"no stack publishes as {name!r} in {folder}"
                      + (f"; there are: {', '.join(there)}" if there else
                         "; `estab up` does, and so does a program that calls stack.publish()"))
    return found


class StackSource:
    """The sockets of a running stack, or of all processes of one with several queues."""

    def __init__(self, paths: list[Path], *, port: int | None = None) -> None:
        self._published = paths[0].name.removesuffix(".sock").partition("+")[0]
        self.name = f"stack {self._published}"
        self.note = ""
        self.sysctls: dict[str, str] = {}
        self._links = [_Link(path) for path in paths]
        self._wanted: Callable[[Row], bool] = _all if port is None else lambda row: port in (row.sport, row.dport)

    def read(self) -> Reading:
        """Ask each process."""
        reading = Reading(time.monotonic())
        left_out = 0
        for link in self._links:
            told = link.ask()
            try:
                left_out += _take(told, reading, self._wanted)
                self.sysctls = {str(name): str(value) for name, value in told["sysctls"].items()}
                name = self._published if told["name"] == _UNNAMED else told["name"]
                self.name = f"stack {name}, {', '.join(map(str, told['addresses']))}"
            except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
                raise OSError(f"{link.path} tells what this version does not understand: {error!r}") from None
        self.note = f"{left_out:,} more are not shown" if left_out else ""
        return reading

    def close(self) -> None:
        """Disconnect."""
        for link in self._links:
            link.close()


def diagnose_stack(name: str, port: int | None, limits: Thresholds) -> Report:
    """Let the doctor look at a running stack's sockets, twice. ``OSError``."""
    source = StackSource(find_stacks(name), port=port)
    try:
        first = source.read()
        time.sleep(PAUSE_S)
        report = report_of(Machine(first, source.read(), source.sysctls), limits)
    finally:
        source.close()
    report.source = source.name
    return report


class _Link:
    """A connection to one publishing process. It is made anew if it broke."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket: socket.socket | None = None

    def ask(self) -> dict[str, Any]:
        """Ask once. ``OSError`` says what is wrong."""
        try:
            line = self._ask()
        except (ConnectionRefusedError, ConnectionResetError, BrokenPipeError):
            self.close()
            raise OSError(f"the stack that published at {self.path} is gone") from None
        except FileNotFoundError:
            raise OSError(f"no stack publishes at {self.path}") from None
        except PermissionError:
            raise OSError(f"{self.path} is another user's: only that user, and root, may connect") from None
        except TimeoutError:
            self.close()
            raise OSError(f"the stack at {self.path} does not answer") from None
        except OSError:
            self.close()
            raise
        try:
            told = json.loads(line)
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict) or told.get("estab") != VERSION:
            self.close()
            raise OSError(f"{self.path} is no socket of a stack of this version")
        if "error" in told:
            raise OSError(f"the stack at {self.path} refuses: {told['error']}")
        return told

    def _ask(self) -> bytes:
        if self._socket is None:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                made.settimeout(PATIENCE_S)
                made.connect(str(self.path))
            except BaseException:
                made.close()
                raise
            self._socket = made
        self._socket.sendall(json.dumps({"rows_max": ROWS_MAX}).encode() + b"\n")
        parts: list[bytes] = []
        size = 0
        while not parts or not parts[-1].endswith(b"\n"):
            part = self._socket.recv(1 << 18)
            if not part:
                self.close()
                raise OSError(f"the stack at {self.path} closed the connection"
                              + ("" if parts else ": it is gone, or has as many clients as it takes"))
            size += len(part)
            if size > _ANSWER_BYTES_MAX:
                raise OSError(f"{self.path} answers with more than {_ANSWER_BYTES_MAX >> 20} MiB")
            parts.append(part)
        return b"".join(parts)

    def close(self) -> None:
        """Disconnect."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _take(told: dict[str, Any], reading: Reading, wanted: Callable[[Row], bool]) -> int:
    """Put what a process tells into a reading. Returns how many sockets it left out."""
    for one in told["sockets"]:
        row = _row(one)
        reading.total += 1
        if wanted(row):
            (reading.listeners if row.state == LISTEN else reading.rows).append(row)
    for port, count, retransmits in told["half_open"]:
        reading.half_open[int(port)] += int(count)
        reading.half_open_retransmits[int(port)] += int(retransmits)
    for local, peer, port, count in told["time_wait"]:
        key = bytes.fromhex(local), bytes.fromhex(peer), int(port)
        reading.time_wait[key] += int(count)
        reading.ports_used[key] += int(count)
    for row in reading.rows:
        if row.state == ESTABLISHED:
            reading.ports_used[row.source, row.target, row.dport] += 1
    for name, value in told["counters"].items():
        reading.counters[str(name)] = reading.counters.get(str(name), 0) + int(value)
    reading.total += sum(reading.half_open.values()) + sum(reading.time_wait.values())
    return int(told["left_out"])


def _row(one: dict[str, Any]) -> Row:
    name = one.get("timer", "")
    row = Row(int(one["state"]), TIMERS.index(name) if name in TIMERS else 0, int(one.get("retransmits", 0)),
              bytes.fromhex(one["local"]), int(one["lport"]), bytes.fromhex(one["peer"]), int(one["pport"]), 0,
              int(one.get("timer_ms", 0)), int(one["recv_q"]), int(one["send_q"]), 0, 0)
    if row.state == LISTEN:
        row.source = row.source or bytes(4)
        row.target = bytes(len(row.source))
        return row
    row.info_bytes = bytes.fromhex(one["tcp_info"])
    row.congestion = str(one["congestion"]).encode()
    row.set_buffers(int(one["rcvbuf"]), int(one["sndbuf"]))
    return row
