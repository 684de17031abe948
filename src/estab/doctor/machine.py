"""Reads a machine twice, a moment apart: sockets, listeners, counters and sysctls of one network namespace (Linux).

What a counter shows is what happened between the two readings. A verdict on a connection says for how long, as far as
the kernel tells it.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from estab.abi import LISTEN, SYN_RECEIVED, TIME_WAIT
from estab.native.qdisc import read_queue_drops
from estab.native.sockdiag import Before, Row, Skipped, ends_key, read_busy_sockets, read_sockets

__all__ = ["Machine", "Reading", "observe", "read_machine", "read_sysctls"]


@dataclass(slots=True)
class Reading:
    """A machine at one moment. Sockets in TIME-WAIT and half-open ones are only counted."""

    at_s: float
    rows: list[Row] = field(default_factory=list)
    listeners: list[Row] = field(default_factory=list)
    half_open: Counter[int] = field(default_factory=Counter)
    """By local port: handshakes that wait for their last ACK."""
    half_open_retransmits: Counter[int] = field(default_factory=Counter)
    time_wait: Counter[tuple[bytes, bytes, int]] = field(default_factory=Counter)
    """By local address, and the peer's address and port."""
    ports_used: Counter[tuple[bytes, bytes, int]] = field(default_factory=Counter)
    """The same, in all states; only if many are in TIME-WAIT."""
    skipped: Skipped = field(default_factory=Skipped)
    counters: dict[str, int] = field(default_factory=dict)
    queue_drops: dict[str, int] = field(default_factory=dict)
    """By interface: packets that its queue dropped."""
    _by_key: dict[tuple[bytes, int, bytes, int], Row] = field(default_factory=dict)
    total: int = 0

    def find(self, row: Row) -> Row | None:
        """Find what a socket was at this reading; of one that was only counted, its ``tcp_info``."""
        if not self._by_key:
            self._by_key = {one.key: one for one in self.rows}
        found = self._by_key.get(row.key)
        info = self.skipped.moved.get(ends_key(row)) if found is None and self.skipped.moved else None
        return found if info is None else replace(row, recv_q=0, send_q=0, memory=b"", info_bytes=info)

    def remember(self, now_s: float) -> Before:
        """Say what the next reading, at ``now_s``, must know of this one."""
        return Before(self.skipped.moved, {ends_key(row) for row in self.rows}, now_s - self.at_s)


@dataclass(slots=True)
class Machine:
    """Two readings, and the sysctls that matter."""

    first: Reading
    second: Reading
    sysctls: dict[str, str]

    def grown(self, name: str) -> int:
        """How much a counter grew between the readings."""
        return self.second.counters.get(name, 0) - self.first.counters.get(name, 0)

    def sysctl(self, name: str, default: int) -> int:
        """Return a sysctl's (first) number."""
        words = self.sysctls.get(name, "").split()
        return int(words[0]) if words and words[0].lstrip("-").isdigit() else default

    def port_range(self) -> int:
        """How many ports ``connect`` may choose from."""
        words = self.sysctls.get("ip_local_port_range", "32768 60999").split()
        return int(words[1]) - int(words[0]) + 1

    @property
    def elapsed_s(self) -> float:
        """Between the two readings."""
        return self.second.at_s - self.first.at_s


TIME_WAIT_SHARE = 0.5
"""Share of the local ports in use from which on other users of them are looked for."""
_SYSCTLS = ("tcp_retries2", "tcp_syn_retries", "tcp_syn_linear_timeouts", "tcp_max_syn_backlog", "tcp_syncookies",
            "tcp_keepalive_time", "ip_local_port_range", "tcp_tw_reuse", "tcp_orphan_retries", "tcp_fin_timeout",
            "tcp_mtu_probing")


def read_machine(wanted: Callable[[Row], bool] | None = None, idle_s: float = 600.0, before: Reading | None = None,
                 is_last: bool = False) -> Reading:
    """Read the sockets and counters of this thread's namespace. ``wanted`` leaves connections out.

    Without ``wanted``, established connections that do nothing are only counted, and so are those that did little since
    the reading ``before``. ``is_last``: there is no next one that would need to know of them.
    """
    reading = Reading(time.monotonic())
    if wanted is None:
        known = None if before is None else before.remember(reading.at_s)
        source = read_busy_sockets(int(idle_s * 1000), reading.skipped, known, is_last)
    else:
        source = read_sockets()
    for row in source:
        reading.total += 1
        state = row.state
        if state == TIME_WAIT or (not row.inode and state not in (LISTEN, SYN_RECEIVED) and not row.info_bytes):
            reading.time_wait[row.source, row.target, row.dport] += 1
        elif state in (SYN_RECEIVED, 12):
            reading.half_open[row.sport] += 1
            reading.half_open_retransmits[row.sport] += row.retransmits
        elif state == LISTEN:
            reading.listeners.append(row)
        else:
            if wanted is None or wanted(row):
                reading.rows.append(row)
    reading.total += reading.skipped.count
    reading.counters = read_counters()
    reading.queue_drops = read_queue_drops()
    return reading


def observe(pause_s: float, wanted: Callable[[Row], bool] | None = None, idle_s: float = 600.0) -> Machine:
    """Read a machine twice."""
    first = read_machine(wanted, idle_s)
    time.sleep(pause_s)
    second = read_machine(wanted, idle_s, first, is_last=True)
    machine = Machine(first, second, read_sysctls())
    if max(second.time_wait.values(), default=0) >= TIME_WAIT_SHARE * machine.port_range():
        for row in read_sockets(has_details=False):
            second.ports_used[row.source, row.target, row.dport] += 1
    return machine


def read_counters(files: Iterable[str] = ("netstat", "snmp")) -> dict[str, int]:
    """Read the counters of this thread's namespace, by their names in ``nstat``: ``TcpExtListenOverflows``."""
    found: dict[str, int] = {}
    for name in files:
        try:
            with open(f"/proc/thread-self/net/{name}", encoding="ascii") as file:
                lines = file.read().splitlines()
        except OSError:
            continue
        for heads, values in zip(lines[::2], lines[1::2], strict=False):
            prefix, _, names = heads.partition(":")
            for key, value in zip(names.split(), values.partition(":")[2].split(), strict=False):
                found[prefix + key] = int(value)
    return found


def read_sysctls() -> dict[str, str]:
    """Read the sysctls of this thread's namespace that the rules ask for, by their short names."""
    return {name: _sysctl(name) for name in _SYSCTLS}


def _sysctl(name: str) -> str:
    path = f"/proc/sys/net/ipv4/{name}"
    if not os.path.exists(path):
        return ""
    with open(path, encoding="ascii") as file:
        return file.read().strip()
