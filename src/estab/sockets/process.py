"""What an operating system keeps of one program: its number, its main thread, and how it handles signals.

Threads of a program share its record. Outside of programs a host has one record for all code that acts on it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Process"]


@dataclass(eq=False, slots=True, weakref_slot=True)
class Process:
    """One program of a host, for calls that ask the operating system about their process."""

    pid: int
    name: str = ""
    main_thread: threading.Thread | None = None
    """The thread that runs the program's function; ``None`` outside of programs."""
    handlers: dict[int, Any] = field(default_factory=dict)
    """What ``signal.signal`` was given, by signal. A signal that is not in it has the system's default action."""
    pending: list[int] = field(default_factory=list)
    """Signals that came, and whose handlers have not run yet."""
    received: list[int] = field(default_factory=list)
    """All signals that came, in order."""
    held: list[int] = field(default_factory=list)
    """Signals that came while it was paused. It gets them when it goes on."""
    open_files: int = 0
    """How many descriptors of its host it has open, those of its event loops among them; the standard streams apart."""
    nofile: tuple[int, int] | None = None
    """RLIMIT_NOFILE, soft and hard, if it has set one."""
    named: dict[str, int] = field(default_factory=dict)
    """The next numbers for names of its tasks, threads and thread pools, as a process of its own counts them."""
    has_ended: bool = False
    """It has ended, and what it had open is closed."""
    wakeup_fd: int = -1
    """The descriptor that ``signal.set_wakeup_fd`` named; -1: none."""
    cpus: set[int] | None = None
    """The CPUs that ``os.sched_setaffinity`` named; ``None``: those of the process of Python."""
    scheduling: tuple[int, int] | None = None
    """The policy and priority that ``os.sched_setscheduler`` named; ``None``: those of the process of Python."""
    alarm: tuple[int, int] = (0, 0)
    """When SIGALRM comes next (0: never) and how often after that, in nanoseconds."""
    alarm_turn: int = 0
    """Counts the alarms that were set, so that a replaced one is recognized."""
