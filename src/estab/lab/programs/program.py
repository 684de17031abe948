"""Programs: unmodified functions that run on a host of the lab, and what becomes of them."""

from __future__ import annotations

from estab.lab.programs.ends import ExitError, UnfinishedError
from estab.lab.programs.running import AllPrograms, Program
from estab.lab.programs.watch import DeadlockError

__all__ = ["DeadlockError", "ExitError", "Program", "Programs", "UnfinishedError"]


class Programs(AllPrograms):
    """Those of a network. Its hosts refer to them weakly, which they can't to an object of a compiled class."""
