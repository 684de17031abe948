"""The twin of a case: a scenario of the lab, as a Python program, with the same parameters."""
from __future__ import annotations

from estab.doctor.finding import Report


def write_replay(report: Report, path: str) -> str:
    """Write it."""
    raise ValueError("not yet")
