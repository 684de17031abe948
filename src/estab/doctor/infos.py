"""Judges what ``info()`` of estab's own sockets gives, by the rules for the kernel's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from estab.doctor.finding import Report
from estab.doctor.live import Thresholds, judge_row
from estab.doctor.machine import Machine, Reading
from estab.native.sockdiag import TIMERS, Row
from estab.sockets.socket.tcp_info import pack_tcp_info
from estab.tcp.info import Info
from estab.tcp.state import State
from estab.units import MS

__all__ = ["judge_infos", "row_of"]

_STATES: Final = {str(state): int(state) for state in State}
_NOWHERE: Final = bytes(4)


def row_of(info: Info, number: int = 0) -> Row:
    """Put an ``Info`` into the form of a socket of the kernel. It has no addresses: ``number`` is its port."""
    state = _STATES.get(info.state, 0)
    timer = TIMERS.index(info.timer) if info.timer in TIMERS else 0
    return Row(state, timer, info.retransmits if info.timer == "on" else info.probes, _NOWHERE, number, _NOWHERE, 0, 0,
               info.timer_ns // MS, info.inq_bytes, info.outq_bytes, 0, 0, pack_tcp_info(info, state),
               info.congestion.encode())


def judge_infos(infos: Sequence[Info], limits: Thresholds | None = None) -> Report:
    """Judge connections, each at one instant."""
    machine = Machine(Reading(0.0), Reading(1.0), {})
    report = Report("sockets")
    for number, info in enumerate(infos, 1):
        for finding in judge_row(row_of(info, number), None, machine, limits or Thresholds()):
            finding.subject = f"connection {number} of {len(infos)}, {info.state}"
            finding.who = ""
            report.findings.append(finding)
    report.findings.sort(key=lambda finding: finding.rank)
    report.looked_at = {"connections": len(infos)}
    return report
