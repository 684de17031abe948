"""What a user does to a network at a virtual time. An action is no program: it can't wait."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from estab.lab.record.clock import Agenda
from estab.sockets.runtime import act
from estab.sockets.standin import module
from estab.units import SECOND

__all__ = ["Actions", "fault_of"]

_FAULTS: Final = frozenset({
    "cut", "heal", "set", "power_off", "power_on", "reboot", "suspend", "pause", "resume", "kill", "terminate",
    "signal", "set_clock", "set_drift", "set_resolver", "add_address", "remove_address", "set_backlog",
    "partition",
})


class Actions:
    """Actions on the agenda. ``left`` counts those that are still to come, without repeated ones."""

    def __init__(self, agenda: Agenda, skipped: frozenset[str] = frozenset()) -> None:
        self.left = 0
        self.are_over = False
        """The network is being closed: nothing that was planned happens any more."""
        self.faults: list[str] = []
        """The actions that are faults, methods of a link or a host, as ``"5s wifi.cut"``."""
        self._agenda = agenda
        self._skipped = skipped
        """Faults that are left out, in the same words."""

    def at(self, due_ns: int, action: Callable[..., object], args: tuple[Any, ...]) -> None:
        """Call ``action(*args)`` once."""
        fault = fault_of(due_ns, action, args)
        if fault:
            self.faults.append(fault)
            if fault in self._skipped:
                return
        self.left += 1
        self._agenda.at(due_ns, self._act, (action, args))

    def every(self, interval_ns: int, action: Callable[..., object], args: tuple[Any, ...]) -> None:
        """Call ``action(*args)`` again and again, first after one interval."""
        self._agenda.at(self._agenda.now_ns + interval_ns, self._act_again, (interval_ns, action, args))

    def _act(self, what: tuple[Callable[..., object], tuple[Any, ...]]) -> None:
        self.left -= 1
        action, args = what
        if not self.are_over:
            contextvars.Context().run(act, module.stand_in_for(action), *args)

    def _act_again(self, what: tuple[int, Callable[..., object], tuple[Any, ...]]) -> None:
        interval_ns, action, args = what
        if not self.are_over:
            self.every(interval_ns, action, args)
            contextvars.Context().run(act, module.stand_in_for(action), *args)


def fault_of(due_ns: int, action: Callable[..., object], args: tuple[Any, ...]) -> str:
    """Name an action that is a fault of a link, a host or a program, as ``"5s wifi.cut"``; ``""`` for any other.

    A program is named with its host, ``"5s serve@server.pause"``.
    """
    words: dict[str, Any] = {}
    given: Any = action
    if isinstance(given, partial):
        action, args, words = given.func, (*given.args, *args), given.keywords
    owner = getattr(action, "__self__", None)
    method = getattr(action, "__name__", "")
    is_net = hasattr(owner, "calm")
    name = "net" if is_net else getattr(owner, "place", None) or getattr(owner, "name", None)
    if owner is None or method not in _FAULTS or not isinstance(name, str):
        return ""
    told = [*map(_named, args), *(f"{word}={_named(value)}" for word, value in words.items())]
    return f"{due_ns / SECOND:g}s {name}.{method}" + (f"({', '.join(told)})" if told else "")


def _named(argument: object) -> str:
    """Write an argument of a fault: hosts by their names."""
    if isinstance(argument, (list, tuple)):
        return f"[{', '.join(map(_named, argument))}]"
    name = getattr(argument, "name", None)
    return name if isinstance(name, str) else repr(argument)
