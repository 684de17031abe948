"""A finding: a cause, with its evidence, its period, when the program will notice, and what to do.

- Times are seconds: of a capture, from its first packet; of sockets, ages up to now.
- ``rank`` orders findings: what stops a connection comes before what costs time, and that before what only limits.
- The JSON form is stable: a name may be added, none is taken away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from estab.doctor.causes import CAUSES, Cause

__all__ = ["Finding", "Phase", "Report", "Timeline", "principal"]

_KINDS: Final = ("artefact", "fault", "slow", "harmless", "limit", "note")
_HARMLESS: Final = frozenset({"checksum-offload"})
"""Artefacts that hide nothing: faults of the connection come before them."""
GRAVE: Final = frozenset({"fault", "slow"})


@dataclass(slots=True)
class Finding:
    """What was found. ``subject`` is a connection, a listener or the capture; ``who`` the end that causes it."""

    name: str
    subject: str
    evidence: list[str]
    from_s: float | None = None
    to_s: float | None = None
    who: str = ""
    notices: str = ""
    """When the program will notice, or did."""
    cost_s: float = 0.0
    """Seconds that it cost, as far as that is known."""
    share: float | None = None
    """Of the time that there was something to send."""
    process: str = ""
    cures: list[str] = field(default_factory=list)
    confidence: str = "sure"
    """``sure``, ``likely`` or ``possible``."""
    inode: int = 0
    """Of the socket, if it is one of this machine."""
    periods: list[tuple[float, float]] = field(default_factory=list)
    """From when to when, if the phases of its transfer are known: it may hold more than once."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """What was measured, for the twin of the case: round trip, loss, windows, sizes."""

    @property
    def cause(self) -> Cause:
        """The row of the table of causes."""
        return CAUSES[self.name]

    @property
    def rank(self) -> tuple[int, float]:
        """Lower comes first."""
        kind = "harmless" if self.name in _HARMLESS else self.cause.kind
        return _KINDS.index(kind), -self.cost_s

    def json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "cause": self.name, "kind": self.cause.kind, "title": self.cause.title, "subject": self.subject,
            "who": self.who, "evidence": self.evidence, "from_s": self.from_s, "to_s": self.to_s,
            "notices": self.notices, "cost_s": round(self.cost_s, 6),
            "share": None if self.share is None else round(self.share, 4), "process": self.process,
            "cures": self.cures or list(self.cause.cures), "confidence": self.confidence,
            "terms": list(self.cause.terms), "parameters": self.parameters,
            "periods": [[round(from_s, 6), round(to_s, 6)] for from_s, to_s in self.periods],
        }


@dataclass(frozen=True, slots=True)
class Phase:
    """A time in which one cause held a transfer up more than any other. ``share``: of that time, how much it took."""

    name: str
    from_s: float
    to_s: float
    share: float


@dataclass(slots=True)
class Timeline:
    """The phases of what one end of a connection sent, one after the other."""

    subject: str
    who: str
    side: int
    """0: the first end of ``subject`` sent; 1: the second."""
    phases: list[Phase]
    bytes: int = 0
    is_at_sender: bool = False
    """Captured at the sender; elsewhere its view is made from the times that it must have had."""

    def json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"subject": self.subject, "who": self.who, "bytes": self.bytes,
                "phases": [{"cause": phase.name, "from_s": round(phase.from_s, 6), "to_s": round(phase.to_s, 6),
                            "share": round(phase.share, 4)} for phase in self.phases]}


@dataclass(slots=True)
class Report:
    """All that was found in one place: in a capture, on a machine, in a run."""

    source: str
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What the reader should know: where a capture was taken, what can't be known from there, what was cut."""
    left_out: list[str] = field(default_factory=list)
    """Those of ``notes`` that say what was not looked at."""
    timelines: list[Timeline] = field(default_factory=list)
    """Of captures: the phases of each transfer."""
    looked_at: dict[str, int] = field(default_factory=dict)
    """How much of what was looked at: ``packets``, ``connections``, ``sockets``, ``listeners``."""

    def json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"source": self.source, "looked_at": self.looked_at, "notes": self.notes,
                "findings": [finding.json() for finding in self.findings],
                "timelines": [timeline.json() for timeline in self.timelines]}

    @property
    def has_trouble(self) -> bool:
        """Whether something stops a connection or costs it time."""
        return any(finding.cause.kind in GRAVE for finding in self.findings)


def principal(findings: Iterable[Finding]) -> Finding | None:
    """Return the finding that matters most; ``None`` if none says that something is wrong or slow."""
    ordered = sorted(findings, key=lambda finding: finding.rank)
    return ordered[0] if ordered else None
