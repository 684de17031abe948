"""Diagnoses this machine's sockets, or those of one process, port or network namespace."""

from __future__ import annotations

import sys
from collections.abc import Callable

from estab.devices.namespace import call_in
from estab.doctor.finding import Finding, Report
from estab.doctor.live import Thresholds, dropped_locally, judge_machine, refused
from estab.doctor.machine import Machine, observe
from estab.doctor.processes import Holder, find_holders, sockets_of
from estab.doctor.pythons import lines_of
from estab.native.sockdiag import Row

__all__ = ["PAUSE_S", "diagnose_sockets", "report_of", "wanted_rows"]

_IN_PROGRAMS = frozenset({"close-wait", "not-reading", "accept-queue-full"})
"""Causes that lie in this machine's programs: of a Python one, the lines that it runs are evidence."""
_PROCESSES_MAX = 4
_THREADS_MAX = 3
PAUSE_S = 0.3
"""Between the two readings."""


def diagnose_sockets(*, pid: int | None = None, port: int | None = None, netns: str | None = None,
                     pause_s: float = PAUSE_S, limits: Thresholds | None = None) -> Report:
    """Read twice, ``pause_s`` apart, and judge what is stuck, slow or held up.

    ``pid``, ``port``: only those; ``netns``: another network namespace (needs CAP_SYS_ADMIN). ``OSError``.
    """
    if not sys.platform.startswith("linux"):
        raise OSError("the kernel's sockets can be asked for on Linux only; captures can be read anywhere")
    wanted = wanted_rows(pid, port)
    limits = limits or Thresholds()
    idle_s = limits.idle_s
    machine = call_in(netns, lambda: observe(pause_s, wanted, idle_s))
    return report_of(machine, limits, wanted, netns)


def wanted_rows(pid: int | None, port: int | None) -> Callable[[Row], bool] | None:
    """Make the filter of ``--pid`` and ``--port``; ``None``: all."""
    inodes = None if pid is None else sockets_of(pid)
    if inodes is None and port is None:
        return None

    def is_wanted(row: Row) -> bool:
        return (inodes is None or row.inode in inodes) and (port is None or port in (row.sport, row.dport))

    return is_wanted


def report_of(machine: Machine, limits: Thresholds, wanted: Callable[[Row], bool] | None = None,
              netns: str | None = None) -> Report:
    """Judge two readings."""
    if wanted is not None:
        for reading in (machine.first, machine.second):
            reading.listeners = [row for row in reading.listeners if wanted(row)]
    report = Report(f"network namespace {netns}" if netns else "this machine")
    report.findings = judge_machine(machine, limits)
    if wanted is None:
        report.findings += [*refused(machine), *dropped_locally(machine)]
    report.findings.sort(key=lambda finding: finding.rank)
    _name_holders(report.findings)
    reading = machine.second
    report.looked_at = {"sockets": reading.total, "connections": len(reading.rows) + reading.skipped.count,
                        "listeners": len(reading.listeners), "time_wait": sum(reading.time_wait.values())}
    return report


def _name_holders(findings: list[Finding]) -> None:
    """Add the processes whose sockets the findings are about."""
    holders = find_holders({finding.inode for finding in findings if finding.inode})
    lines: dict[int, list[str]] = {}
    for finding in findings:
        held = holders.get(finding.inode, [])
        finding.process = ", ".join(holder.text for holder in held[:3])
        if finding.name not in _IN_PROGRAMS or not held or not held[0].command.startswith("python"):
            continue
        pid = held[0].pid
        if pid not in lines:
            lines[pid] = lines_of(pid) if len(lines) < _PROCESSES_MAX else []
        finding.evidence.extend(f"its thread is at {line}" for line in lines[pid][:_THREADS_MAX])
    _link(findings, holders)


def _link(findings: list[Finding], holders: dict[int, list[Holder]]) -> None:
    """Say of a program that does not read if it may be blocked in a send() whose peer does not read either."""
    blocked = {holder.pid: finding for finding in reversed(findings) if finding.name == "peer-not-reading"
               for holder in holders.get(finding.inode, [])}
    for finding in findings:
        if finding.name == "not-reading":
            causes = [blocked[holder.pid] for holder in holders.get(finding.inode, []) if holder.pid in blocked]
            finding.evidence.extend(f"the same process may be blocked in a send() on {cause.subject}, whose peer does "
                                    "not read" for cause in causes[:1])
