"""From facts to a capture file: every frame once, with a comment that says why it was sent and what became of it.

- A frame is written on the interface that sent it (``host:interface``), with the time of sending. If both copies were
  written, the sent and the received one, a protocol analyser would see each segment twice. ``seen_by`` selects what one
  host saw instead.
- Comments come from facts, never from guesses: the rule that sent the segment, the call that caused it, its fate.
"""

from __future__ import annotations

from estab.events import Event
from estab.observe.dissect import is_ethernet
from estab.observe.flights import COPY, Flight, flights
from estab.observe.pcapng import INBOUND, LINKTYPE_ETHERNET, LINKTYPE_RAW, OUTBOUND, PcapngWriter
from estab.observe.recorder import episodes

__all__ = ["describe", "write_section"]


def write_section(
    writer: PcapngWriter, facts: list[Event], *, comment: str = "", seen_by: str = "", after_ns: int = 0
) -> int:
    """Write the frames of a run as one section. Returns how many.

    ``comment`` is the section's: what was run, with which seed, and the command that does it again. ``after_ns`` is
    added to every time, so that one run can follow another in the same file.
    """
    writer.section(comment)
    callers = _callers(facts)
    numbers: dict[str, int] = {}
    rows = sorted(_sightings(flights(facts), seen_by), key=lambda row: row[:2])
    for _, _, name, _, flight in rows:
        if name not in numbers:
            link_type = LINKTYPE_ETHERNET if is_ethernet(flight.data) else LINKTYPE_RAW
            numbers[name] = writer.interface(name, link_type)
    for at_ns, _, name, direction, flight in rows:
        caller = callers.get(id(flight.segment), "") if flight.segment is not None else ""
        text = describe(flight, caller)
        data = (direction == INBOUND and (flight.damaged or flight.marked)) or flight.data
        writer.packet(numbers[name], after_ns + at_ns, data, comment=text, direction=direction)
    return len(rows)


def describe(flight: Flight, caller: str = "") -> str:
    """Say why a frame was sent, by which call, and what became of it if that is not simply its arrival."""
    parts = []
    if flight.is_copy and not flight.on_link:
        parts.append(COPY)
    elif flight.segment is not None and flight.segment.why:
        parts.append(flight.segment.why)
    if flight.is_retransmission and not flight.is_copy and not any("retransmi" in part for part in parts):
        parts.append("sent again")
    if caller and not flight.is_copy:
        parts.append(f"by {caller}")
    if flight.marked:
        parts.append("marked CE on the way")
    if flight.on_link:
        parts.append(flight.on_link)
    if flight.reason is not None:
        where = "never arrived" if flight.fate == "lost" else f"dropped by {flight.receiver}"
        parts.append(f"{where}: {flight.reason.value}" + (f" ({flight.detail})" if flight.detail else ""))
    return "; ".join(parts)


def _callers(facts: list[Event]) -> dict[int, str]:
    """Name the call that caused each segment, by the identity of the ``SegmentSent``."""
    found: dict[int, str] = {}
    for episode in episodes(facts):
        if episode.record is not None:
            for fact in episode.facts:
                found[id(fact)] = f"{episode.record.name}() on fd {episode.record.fd}"
    return found


def _sightings(all_flights: list[Flight], seen_by: str) -> list[tuple[int, int, str, int, Flight]]:
    """Say when and on which interface each frame is to stand in the file."""
    rows = []
    for flight in all_flights:
        if flight.sender and (not seen_by or (seen_by == flight.sender and not flight.is_of_link)):
            rows.append((flight.sent_ns, flight.sent_as, f"{flight.sender}:{flight.interface}", OUTBOUND, flight))
        elif flight.received_ns is not None and seen_by in ("", flight.receiver):
            on = f"{flight.receiver}:{flight.received_on}"
            rows.append((flight.received_ns, flight.received_as, on, INBOUND, flight))
    return rows
