"""What an operating system keeps of one program: its number, its main thread, and how it handles signals.

Threads of a program share its record. Outside of programs a host has one record for all code that acts on it.
Compiled with the core.
"""

from __future__ import annotations

import threading
from typing import Any, Final

__all__ = ["STANDARD_STREAMS", "Process"]

STANDARD_STREAMS: Final = 3
"""Descriptors that every program has from its start."""


class Process:
    """One program of a host, for calls that ask the operating system about their process."""

    __slots__ = (
        "alarm", "alarm_turn", "cpus", "handlers", "has_ended", "held", "main_thread", "name", "named", "nofile",
        "open_files", "pending", "pid", "pools", "received", "scheduling", "wakeup_fd",
    )

    def __init__(self, pid: int, name: str = "") -> None:
        self.pid: int = pid
        self.name: str = name
        self.main_thread: threading.Thread | None = None
        """The thread that runs the program's function; ``None`` outside of programs."""
        self.handlers: dict[int, Any] = {}
        """What ``signal.signal`` was given, by signal. A signal that is not in it has the system's default action."""
        self.pending: list[int] = []
        """Signals that came, and whose handlers have not run yet."""
        self.received: list[int] = []
        """All signals that came, in order."""
        self.held: list[int] = []
        """Signals that came while it was paused. It gets them when it goes on."""
        self.open_files: int = 0
        """How many descriptors of its host it has open, those of its event loops among them; the standard streams
        apart.
        """
        self.nofile: tuple[int, int] | None = None
        """RLIMIT_NOFILE, soft and hard, if it has set one."""
        self.named: dict[str, int] = {}
        """The next numbers for names of its tasks, threads and thread pools, as a process of its own counts them."""
        self.pools: Any = None
        """Its own thread pools, in the place of those of the process of Python; see ``standin.executors``."""
        self.has_ended: bool = False
        """It has ended, and what it had open is closed."""
        self.wakeup_fd: int = -1
        """The descriptor that ``signal.set_wakeup_fd`` named; -1: none."""
        self.cpus: set[int] | None = None
        """The CPUs that ``os.sched_setaffinity`` named; ``None``: those of the process of Python."""
        self.scheduling: tuple[int, int] | None = None
        """The policy and priority that ``os.sched_setscheduler`` named; ``None``: those of the process of Python."""
        self.alarm: tuple[int, int] = (0, 0)
        """When SIGALRM comes next (0: never) and how often after that, in nanoseconds."""
        self.alarm_turn: int = 0
        """Counts the alarms that were set, so that a replaced one is recognized."""

    def files_max(self, nofile: int, most: int) -> int:
        """Return how many descriptors it may have beside the standard streams. ``nofile`` is the limit of a program
        that has set none itself, and ``most`` what the host has for all.
        """
        own = self.nofile
        return (min(nofile, most) if own is None else own[0]) - STANDARD_STREAMS
