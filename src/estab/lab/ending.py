"""When a run is over that is given no end: all programs are done, or only servers are left, and nothing is under way.

Compiled with the core: that is asked whenever a program began to wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mypy_extensions import i64

from estab.lab.programs.strands import Scheduler
from estab.lab.record.clock import Agenda
from estab.lab.topology import Topology
from estab.units import NEVER

if TYPE_CHECKING:
    from estab.lab.programs.actions import Actions
    from estab.lab.programs.program import Programs

__all__ = ["Ending"]


class Ending:
    """Tells whether the runs of one network are over."""

    def __init__(self, scheduler: Scheduler, topology: Topology, programs: Programs, actions: Actions) -> None:
        self.polling_since_ns: i64 = NEVER
        """Since when servers only poll and everything else is done."""
        self.are_delivering: Callable[[], bool] | None = None
        """Tells whether a host still has something to bring to its peer, if there are hosts with another stack."""
        self._scheduler: Scheduler = scheduler
        self._agenda: Agenda = scheduler.agenda
        self._topology: Topology = topology
        self._programs: Programs = programs
        self._actions: Actions = actions

    def goes_on(self) -> bool:
        """Say that a run is not over: only its time ends it."""
        self._scheduler.sure_turns = self._scheduler.turns
        return False

    def is_finished(self) -> bool:
        """Tell whether a run that only ends with its programs is over."""
        scheduler = self._scheduler
        if self.polling_since_ns == NEVER and self._agenda.frames_under_way:  # whatever programs do
            scheduler.sure_turns, scheduler.ends_at_rest = scheduler.turns, True
            return False
        if self._programs.are_busy():
            if not self._programs.only_poll():
                self.polling_since_ns = NEVER
                scheduler.sure_turns, scheduler.ends_at_rest = scheduler.turns, False
            elif self.polling_since_ns == NEVER and self._is_at_rest():
                self.polling_since_ns = self._agenda.now_ns
            return False
        return self._is_at_rest()

    def _is_at_rest(self) -> bool:
        """Tell whether no action is planned, no frame is under way, and no text waits to be delivered."""
        if self._actions.left and not self._programs.are_done():
            return False
        return self._agenda.frames_under_way == 0 and not self._is_delivering()

    def _is_delivering(self) -> bool:
        """Tell whether a connection still has something to bring to its peer."""
        if self.are_delivering is not None:
            return self.are_delivering()
        for member in self._topology.members.values():
            if member.engine.is_delivering():
                return True
        return False
