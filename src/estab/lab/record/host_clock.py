"""The clocks of one host: a monotonic one, and a calendar. They need not run as the network's time does.

- The monotonic clock counts from the network's start. Drift makes it fast or slow. While its host sleeps or is paused
  it stands still.
- The calendar runs at the same speed from a date of its own. It is set (``step``), and goes on while its host sleeps;
  while its host is paused it stands still, too.
- All is integers of nanoseconds: the same changes at the same times give the same readings.

Compiled with the core.
"""

from __future__ import annotations

from typing import Final

from estab.lab.record.clock import Agenda
from estab.units import NEVER

__all__ = ["EPOCH_NS", "HostClock"]

EPOCH_NS: Final = 1_767_225_600_000_000_000
"""What the calendar says when a network starts: 2026-01-01 00:00 UTC."""
_BILLION: Final = 1_000_000_000


class HostClock:
    """What time it is on a host. ``due_ns`` says when that will be, in the network's time."""

    def __init__(self, agenda: Agenda, wall_ns: int = EPOCH_NS, drift_ppb: int = 0) -> None:
        self._agenda: Agenda = agenda
        self._since_ns: int = agenda.now_ns
        """The network's time when any of the rest was changed last."""
        self._monotonic_ns: int = agenda.now_ns
        """What the monotonic clock said then."""
        self._wall_ns: int = wall_ns + agenda.now_ns
        """What the calendar said then."""
        self._asleep_ns: int = 0
        """For how long the host had slept until then, as its calendar had it."""
        self._drift_ppb: int = drift_ppb
        self._is_stopped: bool = False
        self._is_calendar_stopped: bool = False
        self.is_true: bool = drift_ppb == 0
        """The monotonic clock says what the network's time is, and always did."""

    # --- what it says

    @property
    def now_ns(self) -> int:
        """The monotonic clock."""
        if self.is_true:
            return self._agenda.now_ns
        return self._monotonic_ns if self._is_stopped else self._monotonic_ns + self._gone_ns()

    @property
    def wall_ns(self) -> int:
        """The calendar: nanoseconds since 1970."""
        return self._wall_ns if self._is_calendar_stopped else self._wall_ns + self._gone_ns()

    @property
    def boot_ns(self) -> int:
        """CLOCK_BOOTTIME: the monotonic clock, and the time that the host has slept."""
        is_asleep = self._is_stopped and not self._is_calendar_stopped
        return self.now_ns + self._asleep_ns + (self._gone_ns() if is_asleep else 0)

    @property
    def drift_ppb(self) -> int:
        """How much faster than the network's time it runs, in parts of a billion; negative: slower."""
        return self._drift_ppb

    @property
    def is_stopped(self) -> bool:
        """Whether the monotonic clock stands still."""
        return self._is_stopped

    def due_ns(self, at_ns: int) -> int:
        """Say when, in the network's time, the monotonic clock will say ``at_ns``; ``NEVER`` if it stands still."""
        if self.is_true or at_ns >= NEVER:
            return at_ns
        if self._is_stopped:
            return NEVER
        missing_ns = at_ns - self._monotonic_ns
        return self._since_ns + -(-missing_ns * _BILLION // (_BILLION + self._drift_ppb))

    # --- what is done to it

    def step(self, by_ns: int) -> None:
        """Set the calendar forward, or back by less than nothing."""
        self._wall_ns += by_ns

    def drift(self, ppb: int) -> None:
        """Run faster by that share from now on."""
        self._rebase()
        self._drift_ppb = ppb
        self.is_true = self.is_true and ppb == 0

    def stop(self, *, is_calendar_stopped: bool) -> None:
        """Stand still from now on."""
        self._rebase()
        self._is_stopped, self._is_calendar_stopped = True, is_calendar_stopped
        self.is_true = False

    def start(self) -> None:
        """Go on after ``stop``."""
        self._rebase()
        self._is_stopped = self._is_calendar_stopped = False

    def _gone_ns(self) -> int:
        """Say how far a clock with this drift went since the last change."""
        gone_ns: int = self._agenda.now_ns - self._since_ns  # times a share it needs more than 64 bits
        return gone_ns + gone_ns * self._drift_ppb // _BILLION

    def _rebase(self) -> None:
        """Count from now on."""
        asleep_ns = self.boot_ns - self.now_ns
        self._monotonic_ns, self._wall_ns, self._asleep_ns = self.now_ns, self.wall_ns, asleep_ns
        self._since_ns = self._agenda.now_ns
