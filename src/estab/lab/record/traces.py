"""Links as they were measured: a profile from a file, a mahimahi trace or a capture.

- A mahimahi trace has a line for each chance to send: the millisecond at which 1500 bytes may leave. It gives the
  link's rate, and nothing else. A frame that is larger than what is left of one goes on in the next; what nobody uses
  is lost, as on the radio. After its last line it begins again.
- A capture (pcap, pcapng, also gzipped) of TCP gives delay and losses, and no rate: see ``read_capture_profile``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from estab.errors import WireError
from estab.lab.record.shapes import Bursts
from estab.units import MS
from estab.wire import ip, tcp

__all__ = ["DelayProfile", "Opportunities", "Profile", "read_profile"]

OPPORTUNITY_BYTES: Final = 1500
"""What may leave at each line of a mahimahi trace, without link-layer headers."""
_WINDOW_NS: Final = 100 * MS
_MAGIC: Final = (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d",
                 b"\x34\xcd\xb2\xa1", b"\xa1\xb2\xcd\x34", b"\x0a\x0d\x0d\x0a")


@dataclass(frozen=True, slots=True)
class Opportunities:
    """When 1500 bytes may leave, in nanoseconds from the network's start, again and again after ``period_ns``."""

    times_ns: tuple[int, ...]
    period_ns: int

    def at(self, index: int) -> int:
        """Return the time of a chance, counted from the first of all rounds."""
        rounds, place = divmod(index, len(self.times_ns))
        return rounds * self.period_ns + self.times_ns[place]

    def first_from(self, time_ns: int) -> int:
        """Return the number of the first chance that does not come before a time."""
        rounds, within_ns = divmod(time_ns, self.period_ns)
        if within_ns == 0 and rounds > 0 and self.times_ns[-1] == self.period_ns:
            rounds, within_ns = rounds - 1, self.period_ns
        return rounds * len(self.times_ns) + bisect_left(self.times_ns, within_ns)


@dataclass(frozen=True, slots=True)
class DelayProfile:
    """One direction's delay over time, from the network's start, again and again after ``period_ns``."""

    times_ns: tuple[int, ...]
    delays_ns: tuple[int, ...]
    period_ns: int

    def at(self, time_ns: int) -> int:
        """Return the delay of what is sent at a time."""
        place = bisect_right(self.times_ns, time_ns % self.period_ns) - 1
        return self.delays_ns[max(place, 0)]


@dataclass(frozen=True, slots=True)
class Profile:
    """What a file says of a link: when it may send, or its delay, and the losses of each direction."""

    opportunities: Opportunities | None = None
    delay: DelayProfile | None = None
    losses: tuple[Bursts | None, Bursts | None] = (None, None)
    """From the link's first host, and from its second."""


def read_profile(path: str) -> Profile:
    """Read a trace or a capture. ``ValueError`` if it is neither or says nothing, ``OSError``."""
    with Path(path).open("rb") as file:
        start = file.read(4)
    if start[:4] in _MAGIC or start[:2] == b"\x1f\x8b":
        return read_capture_profile(path)
    return Profile(_read_mahimahi(path))


def _read_mahimahi(path: str) -> Opportunities:
    times: list[int] = []
    for number, line in enumerate(Path(path).read_bytes().splitlines(), 1):
        text = line.strip()
        if not text:
            continue
        if not text.isdigit():
            shown = line[:40].decode("utf-8", "replace")
            raise ValueError(f"trace: {path}:{number}: {shown!r} is no number of milliseconds, and the file is no "
                             "capture")
        times.append(int(text) * MS)
        if len(times) > 1 and times[-1] < times[-2]:
            raise ValueError(f"trace: {path}:{number}: {text.decode()} comes before the line above it")
    if not times or not times[-1]:
        raise ValueError(f"trace: {path}: a trace has lines, each a number of milliseconds, and lasts longer than 0")
    return Opportunities(tuple(times), times[-1])


# --- captures


@dataclass(slots=True)
class _Side:
    """What was seen of the segments of one direction of a connection."""

    highest: int = -1
    waiting: list[tuple[int, int]] = field(default_factory=list)
    """Ends of segments that wait for their acknowledgment, and when they passed; none that was sent again."""


@dataclass(slots=True)
class _Tally:
    """What was counted of one direction, over all connections."""

    samples: list[tuple[int, int]] = field(default_factory=list)
    """When a segment of this direction passed, and after how long its acknowledgment did."""
    segments: int = 0
    again: int = 0
    runs: int = 0
    is_in_run: bool = False

    def count(self, is_again: bool) -> None:
        self.segments += 1
        self.again += is_again
        self.runs += is_again and not self.is_in_run
        self.is_in_run = is_again

    def losses(self) -> Bursts | None:
        if not self.again:
            return None
        length = max(1.0, self.again / self.runs)
        return Bursts(min(self.again / self.segments, length / (length + 1.0)), length)


def read_capture_profile(path: str) -> Profile:
    """Read delay and losses from a capture of TCP, taken anywhere on the way.

    Taken is this, and nothing else:

    - the way's delay: in windows of 100 ms the least time from a segment to the acknowledgment that covers it, to the
      server and to the client, each kept until there is another; both together are a round trip, and half of that is
      the delay of either direction. Segments that were sent again count for nothing;
    - the losses of each direction: the share of segments with text, SYN or FIN that begin below the highest number seen
      before, which are those sent again, in vain or not; and how many of these follow each other on average, as the
      length of bursts.

    The client, which sent the first SYN (else the first segment), is at the link's first host. Time begins with the
    first segment of TCP, and after the last one again.
    """
    from estab.devices.capture_file import CaptureError, read_capture
    from estab.devices.decapsulate import ip_packet

    tallies = (_Tally(), _Tally())
    first_ns = last_ns = -1
    clients: dict[tuple[bytes, int, bytes, int], int] = {}
    sides: dict[tuple[bytes, int, bytes, int], _Side] = {}
    with Path(path).open("rb") as file:
        try:
            for captured in read_capture(file):
                data = ip_packet(captured)
                try:
                    packet = None if data is None else ip.parse(data, 0)
                    if packet is None or packet.protocol != ip.TCP or packet.fragment_offset or captured.time_ns < 0:
                        continue
                    segment = tcp.parse(packet, True)
                except WireError:
                    continue
                first_ns = captured.time_ns if first_ns < 0 else first_ns
                last_ns = max(last_ns, captured.time_ns)
                _follow(packet, segment, captured.time_ns - first_ns, clients, sides, tallies)
        except CaptureError as error:
            raise ValueError(f"trace: {path}: {error}") from None
    delay = _delay_of(tallies, last_ns - first_ns)
    if delay is None:
        raise ValueError(f"trace: {path}: no segment of TCP and its acknowledgment are in this capture")
    return Profile(None, delay, (tallies[0].losses(), tallies[1].losses()))


def _follow(
    packet: ip.Packet, segment: tcp.Segment, now_ns: int, clients: dict[tuple[bytes, int, bytes, int], int],
    sides: dict[tuple[bytes, int, bytes, int], _Side], tallies: tuple[_Tally, _Tally],
) -> None:
    """Take one segment into account."""
    here = (packet.src, int(segment.sport), packet.dst, int(segment.dport))
    there = (here[2], here[3], here[0], here[1])
    is_syn_only = segment.flags & (tcp.SYN | tcp.ACK) == tcp.SYN
    if here not in clients or is_syn_only:
        if is_syn_only and sides.get(here, _Side()).highest != (int(segment.seq) + 1) & 0xFFFFFFFF:
            sides.pop(here, None)
            sides.pop(there, None)
        clients[here], clients[there] = 0, 1
    direction = clients[here]
    side = sides.setdefault(here, _Side())
    length = int(tcp.segment_length(segment))
    if length and not segment.flags & tcp.RST:
        end = (int(segment.seq) + length) & 0xFFFFFFFF
        is_again = side.highest >= 0 and (int(segment.seq) - side.highest) & 0xFFFFFFFF >= 0x80000000
        tallies[direction].count(is_again)
        if is_again:
            side.waiting.clear()  # whose acknowledgment comes next is not known (Karn)
        else:
            side.highest = end
            side.waiting.append((end, now_ns))
    if segment.flags & tcp.ACK:
        other = sides.get(there)
        ack = int(segment.ack)
        while other is not None and other.waiting and (ack - other.waiting[0][0]) & 0xFFFFFFFF < 0x80000000:
            end, sent_ns = other.waiting.pop(0)
            if ack == end:
                tallies[1 - direction].samples.append((now_ns, now_ns - sent_ns))


def _delay_of(tallies: tuple[_Tally, _Tally], period_ns: int) -> DelayProfile | None:
    """Make the delay over time from the samples of both directions."""
    least: dict[int, list[int | None]] = {}
    for direction, tally in enumerate(tallies):
        for at_ns, took_ns in tally.samples:
            window = least.setdefault(at_ns // _WINDOW_NS, [None, None])
            before = window[direction]
            window[direction] = took_ns if before is None else min(before, took_ns)
    times, delays = [], []
    known = [next((window[side] for _, window in sorted(least.items()) if window[side] is not None), 0) or 0
             for side in (0, 1)]
    for number, window in sorted(least.items()):
        known = [known[side] if found is None else found for side, found in enumerate(window)]
        times.append(number * _WINDOW_NS)
        delays.append(sum(known) // 2)
    return DelayProfile(tuple(times), tuple(delays), max(period_ns, 1)) if times else None
