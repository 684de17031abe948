"""What a user does to a network at a virtual time. An action is no program: it can't wait."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

from estab.lab.clock import Agenda

__all__ = ["Actions"]


class Actions:
    """Actions on the agenda. ``left`` counts those that are still to come, repeated ones apart."""

    def __init__(self, agenda: Agenda) -> None:
        self.left = 0
        self._agenda = agenda

    def at(self, due_ns: int, action: Callable[..., object], args: tuple[Any, ...]) -> None:
        """Call ``action(*args)`` once."""
        self.left += 1
        self._agenda.at(due_ns, self._act, (action, args))

    def every(self, interval_ns: int, action: Callable[..., object], args: tuple[Any, ...]) -> None:
        """Call ``action(*args)`` again and again, first after one interval."""
        self._agenda.at(self._agenda.now_ns + interval_ns, self._act_again, (interval_ns, action, args))

    def _act(self, what: tuple[Callable[..., object], tuple[Any, ...]]) -> None:
        self.left -= 1
        action, args = what
        contextvars.Context().run(action, *args)

    def _act_again(self, what: tuple[int, Callable[..., object], tuple[Any, ...]]) -> None:
        interval_ns, action, args = what
        self.every(interval_ns, action, args)
        contextvars.Context().run(action, *args)
