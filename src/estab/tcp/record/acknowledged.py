"""What one acknowledgment told, for the steps of recovery that look at it."""

from __future__ import annotations

from mypy_extensions import i64, mypyc_attr

__all__ = ["Acknowledged"]


@mypyc_attr(acyclic=True, free_list_len=1)
class Acknowledged:
    """How things stood before an acknowledgment, and what it brought. All sizes are bytes."""

    def __init__(self, acked_bytes: i64, delivered_before: i64, flight_before: i64, lost_before: i64) -> None:
        self.acked_bytes = acked_bytes
        """By how much SND.UNA moved."""
        self.delivered_before = delivered_before
        self.flight_before = flight_before
        """What was in flight and not SACKed."""
        self.lost_before = lost_before
        """All that had been taken to be lost so far."""
        self.is_duplicate: bool = False
        """A duplicate in the sense of RFC 5681 section 2, and not only the bearer of SACK blocks."""
        self.has_mark: bool = False
        """It told of congestion (RFC 3168, RFC 9768)."""
