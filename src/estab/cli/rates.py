"""How much passes, and what of it a line can tell: readings of a stack, and rates between two of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from estab.units import format_bytes, format_count

if TYPE_CHECKING:
    from estab.host.engine import Engine

__all__ = ["Reading", "line", "summary"]


@dataclass(frozen=True, slots=True)
class Reading:
    """Numbers of one stack at one time. All but ``open_count`` only grow."""

    in_bytes: int = 0
    out_bytes: int = 0
    in_frames: int = 0
    out_frames: int = 0
    opened: int = 0
    open_count: int = 0
    repeated: int = 0
    dropped: int = 0

    @classmethod
    def of(cls, host: Engine) -> Reading:
        """Read a host's numbers. Each is right; a moment may pass between two."""
        link = host.interfaces[-1]
        counters = host.context.counters
        return cls(link.rx_bytes, link.tx_bytes, link.rx_frames, link.tx_frames,
                   counters.TcpPassiveOpens + counters.TcpActiveOpens, counters.TcpCurrEstab,
                   counters.TcpRetransSegs, counters.drops_count())

    @classmethod
    def sum(cls, readings: Sequence[Reading]) -> Reading:
        """Add up the readings of several stacks."""
        return cls(*(sum(numbers) for numbers in zip(*map(astuple, readings), strict=True)))


def line(before: Reading, now: Reading, seconds: float) -> str:
    """Write what happens now, in one line."""
    seconds = max(seconds, 1e-9)
    parts = [
        format_count(now.open_count, "connection"),
        f"{(now.opened - before.opened) / seconds:,.0f} new/s",
        f"in {_rate(now.in_bytes - before.in_bytes, now.in_frames - before.in_frames, seconds)}",
        f"out {_rate(now.out_bytes - before.out_bytes, now.out_frames - before.out_frames, seconds)}",
    ]
    if now.repeated > before.repeated:
        parts.append(f"{(now.repeated - before.repeated) / seconds:,.0f} sent again/s")
    if now.dropped > before.dropped:
        parts.append(f"{(now.dropped - before.dropped) / seconds:,.0f} dropped/s")
    return " · ".join(parts)


def summary(start: Reading, end: Reading, seconds: float) -> str:
    """Write what happened in all."""
    repeated = end.repeated - start.repeated
    return (f"{seconds:,.1f} s, {format_count(end.opened - start.opened, 'connection')}, "
            f"{format_bytes(end.in_bytes - start.in_bytes)} in, {format_bytes(end.out_bytes - start.out_bytes)} out"
            + (f", {format_count(repeated, 'segment')} sent again" if repeated else ""))


def _rate(count: int, frames: int, seconds: float) -> str:
    return f"{format_bytes(round(count / seconds))}/s {frames / seconds:,.0f} frames/s"
