"""What is said of a run that only repeats itself: it is a deadlock, only servers are left, or it just goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from estab.host.engine import Engine
from estab.lab.programs.actions import Actions
from estab.lab.programs.program import DeadlockError, Programs
from estab.lab.programs.repetition import Place, Repetition
from estab.tcp.connection import Connection
from estab.units import SECOND

__all__ = ["Verdict"]

_MUCH_BYTES: Final = 1460
"""A heartbeat is smaller."""


class _Member(Protocol):
    engine: Engine


class Verdict:
    """Judges the repetition that a run's scheduler has noticed."""

    def __init__(self, programs: Programs, actions: Actions, repetition: Repetition,
                 members: Mapping[str, _Member]) -> None:
        self._programs = programs
        self._actions = actions
        self._repetition = repetition
        self._members = members
        self._stuck: list[str] = []
        repetition.transfers = self._transfers
        repetition.has_keepalive = self._has_keepalive
        repetition.verdict = self._judge

    def ended_ns(self) -> int:
        """Return when the last program ended; 0 if none has."""
        return max(0, max((program.ended_ns for program in self._programs.all), default=0))

    def is_over(self) -> bool:
        """Tell whether only servers that repeat themselves are left.

        Raises ``DeadlockError`` if a program waits for ever while others only repeat themselves.
        """
        if not self._repetition.is_found:
            return False
        if self._stuck:
            raise DeadlockError(
                f"nothing new has happened since {self._repetition.since_ns / SECOND:g}s: heartbeats and the like "
                f"come again and again, from the same lines, and {', '.join(self._stuck)} for ever:\n"
                f"{self._programs.report()}\n"
                "If they count for hours, in what is no local variable, and then go on: Network.run(until=…)",
                self._repetition.since_ns)
        return True

    def _transfers(self) -> list[Place]:
        """List how far each connection is that has much to send, so that a long transfer is no repetition."""
        return [("transfer", one.context.name, one.local_port, one.remote_port, int(one.snd_una))
                for one in self._connections() if one.info(one.context.now_ns).outq_bytes > _MUCH_BYTES]

    def _has_keepalive(self) -> bool:
        return any(one.options.keepalive for one in self._connections())

    def _connections(self) -> Iterator[Connection]:
        for member in self._members.values():
            for endpoint in member.engine.demux.table.values():
                if isinstance(endpoint, Connection):
                    yield endpoint

    def _judge(self) -> bool:
        if self._actions.left or any(program.process.alarm[0] for program in self._programs.all):
            return False
        self._stuck.clear()
        servers = 0
        busy = self._programs.busy()
        for program in busy:
            if any(self._repetition.serves(strand) for strand in program.strands):
                servers += 1
                continue
            line = self._repetition.waits_for_ever(program.strands[0]) if program.strands else ""
            if line:
                self._stuck.append(f"{program.name} on {program.host} waits in {line}")
        return bool(self._stuck) or servers == len(busy)
