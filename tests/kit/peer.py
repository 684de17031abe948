"""A peer played by hand: one engine, and a test that sends it whatever it likes and reads what it answers.

Numbers are relative in both directions: the engine's SYN is its 0, the peer's SYN is the peer's 0. Nothing moves by
itself: ``send`` hands over one segment and returns what the engine answers at once, ``wait`` lets time pass and returns
what its timers send.
"""

from __future__ import annotations

from dataclasses import dataclass

from estab import abi
from estab.tcp.connection import Connection
from estab.tcp.context import Owner
from estab.tcp.listening.listener import Listener
from estab.tcp.record.fast_open import FastOpen
from estab.tcp.record.options import Options
from estab.units import MS, SECOND
from estab.wire import ip
from estab.wire.address import parse_address
from estab.wire.ip import IpHeader
from estab.wire.seq import Seq
from estab.wire.tcp import ACK, RST, SYN, Segment, emit_packet, flags_text, parse
from tests.kit.pair import Side

__all__ = ["Peer", "Seen"]

MASK = 0xFFFFFFFF


@dataclass
class Seen:
    """A segment that the engine sent: ``seq`` and ``ack`` relative, ``flags`` in tcpdump's letters."""

    at_ns: int
    flags: str
    seq: int
    ack: int
    wnd: int
    text: bytes
    sack: list[int]
    """Relative edges: left, right, left, right …"""
    segment: Segment
    data: bytes
    segment_bytes: int
    ttl: int

    @property
    def end(self) -> int:
        """Where the text ends."""
        return self.seq + len(self.text)


def with_options(options: Options, **changed: object) -> Options:
    """Give the same options with some changed, by the names of their fields."""
    made = options.copy()
    for name, value in changed.items():
        assert hasattr(made, name), name
        setattr(made, name, value)
    return made


def set_options(connection: Connection, **changed: object) -> None:
    """Change options of a connection, by the names of their fields."""
    connection.set_options(with_options(connection.options, **changed))


class Peer:
    """The engine under test (``side``, ``demux``) and the hand that plays its peer."""

    def __init__(
        self, *, mtu: int = 1500, is_v6: bool = False, segment_bytes_max: int = 0, iss: int = 1_000_000, port: int = 80,
        now_ns: int = 1000 * SECOND,
    ) -> None:
        self.side = Side("e", "fd00::1" if is_v6 else "10.0.0.1", mtu, segment_bytes_max)
        self.side.observe()
        self.address = parse_address("fd00::2" if is_v6 else "10.0.0.2")
        self.demux = self.side.demux
        self.config = self.side.config
        self.counters = self.side.counters
        self.now_ns = now_ns
        self.side.context.now_ns = now_ns
        self.iss = iss
        self.irs = 0
        self.port = port
        self.peer_port = 5000
        self.seq = 1
        """Where the peer's next segment stands, unless a test says otherwise."""
        self.ack = 1
        """What the peer has of the engine, unless a test says otherwise: it follows what the engine sends."""
        self.ts_offset = 7_000_000
        self.has_timestamps = False
        self.ts_recent = 0
        self.rcv_scale = 0
        """The peer's own window scale: what the engine shifts our window by."""
        self.seen: list[Seen] = []
        self.connection: Connection

    def take_woken(self) -> list[Owner]:
        """Take all owners of the engine's that have news, in order."""
        woken = []
        while (owner := self.side.context.take_woken()) is not None:
            woken.append(owner)
        return woken

    # --- opening

    def listen(self, backlog: int = 16, **template: object) -> Listener:
        """Let the engine listen on ``port``."""
        options = with_options(self.demux.new_options(), **template)
        listener = Listener(
            self.side.context, b"", self.port, backlog, options, False,
            len(self.address) == 16,
        )
        listener.owner = Owner()
        self.demux.listen(listener)
        return listener

    def connect(self, local_port: int = 40000, **settings: object) -> list[Seen]:
        """Let the engine open actively; returns its SYN."""
        self.port = local_port
        self.peer_port = 80
        fast_open = settings.pop("fast_open", None)
        assert fast_open is None or isinstance(fast_open, FastOpen)
        options = with_options(self.demux.new_options(), **settings)
        c = self.demux.new_connection(self.side.address, local_port, self.address, self.peer_port, options, Owner())
        c.prepare_open(fast_open, is_first_ack_delayed=False, is_read_shut=False)
        self.connection = c
        self.demux.connect(c, self.now_ns)
        self.irs = c.iss
        return self.flush()

    def accept(
        self, *, mss: int = 1460, wnd: int = 65535, wscale: int = -1, sack: bool = False, timestamps: bool = False,
        listener: Listener | None = None, wnd_ack: int | None = None, **template: object,
    ) -> Connection:
        """Open a connection from the peer to a listener, and accept it."""
        listener = listener or self.listen(**template)
        answers = self.syn(mss=mss, wnd=wnd, wscale=wscale, sack=sack, timestamps=timestamps)
        assert [s.flags for s in answers] == ["S."], answers
        self.send(ACK, wnd=wnd if wnd_ack is None else wnd_ack)
        connection = listener.accept()
        assert connection is not None
        connection.owner = Owner()
        assert connection.state == abi.ESTABLISHED
        self.connection = connection
        self.seen.clear()
        return connection

    def syn(
        self, *, mss: int = 1460, wnd: int = 65535, wscale: int = -1, sack: bool = False, timestamps: bool = False,
    ) -> list[Seen]:
        """Send a SYN; learn the engine's number from its answer."""
        self.has_timestamps = timestamps
        self.rcv_scale = max(wscale, 0)
        answers = self.send(SYN, seq=0, ack=0, wnd=wnd, mss=mss, wscale=wscale, sack_permitted=sack)
        for answer in answers:
            if answer.flags == "S.":
                self.irs = int(answer.segment.seq)
                answer.seq = 0
                answer.segment.has_timestamps or self._no_timestamps()
        self.seq = 1
        self.ack = 1
        return answers

    def _no_timestamps(self) -> None:
        self.has_timestamps = False

    # --- sending

    def ts_now(self) -> int:
        """Give the peer's timestamp clock."""
        return (self.now_ns // MS + self.ts_offset) & MASK

    def packet(
        self, flags: int, *, seq: int | None = None, ack: int | None = None, wnd: int = 65535, data: bytes = b"",
        ts_val: int | None = None, ts_ecr: int | None = None, source: bytes | None = None,
        destination: bytes | None = None,
        **fields: object,
    ) -> bytes:
        """Build a packet from the peer. ``seq`` and ``ack`` are relative; ``sack`` too."""
        place = self.seq if seq is None else seq
        number = self.ack if ack is None else ack
        segment = Segment(
            self.peer_port, self.port, Seq((self.iss + place) & MASK),
            Seq((self.irs + number) & MASK if flags & ACK else 0), flags, wnd,
        )
        segment.data = data
        segment.end = len(data)
        if self.has_timestamps:
            segment.has_timestamps = True
            segment.ts_val = self.ts_now() if ts_val is None else ts_val & MASK
            segment.ts_ecr = (self.ts_recent if ts_ecr is None else ts_ecr) if flags & ACK else 0
        for name, value in fields.items():
            if name == "sack":
                assert isinstance(value, list)
                value = [(self.irs + edge) & MASK for edge in value]
            setattr(segment, name, value)
        header = IpHeader(source or self.address, destination or self.side.address)
        header.dont_fragment = len(self.address) == 4
        return emit_packet(segment, header)

    def send(
        self, flags: int, *, seq: int | None = None, ack: int | None = None, wnd: int = 65535, data: bytes = b"",
        **fields: object,
    ) -> list[Seen]:
        """Send one segment; returns what the engine answers at once. The peer's own place moves behind what it sent."""
        packet = self.packet(flags, seq=seq, ack=ack, wnd=wnd, data=data, **fields)  # type: ignore[arg-type]
        end = (self.seq if seq is None else seq) + len(data) + (flags & 1) + (flags >> 1 & 1)
        if not flags & RST:
            self.seq = max(self.seq, end)
        return self.inject(packet)

    def text(self, data: bytes, **fields: object) -> list[Seen]:
        """Send text."""
        return self.send(ACK, data=data, **fields)  # type: ignore[arg-type]

    def inject(self, packet: bytes) -> list[Seen]:
        """Hand over a packet; returns what the engine answers at once."""
        parsed = ip.parse(packet, 0)
        self.side.context.now_ns = self.now_ns
        self.demux.on_segment(parsed, parse(parsed, False), self.now_ns)
        return self.flush()

    # --- what comes back

    def flush(self) -> list[Seen]:
        """Take all that the engine wants to send now."""
        result = []
        while (out := self.demux.poll(self.now_ns)) is not None:
            data = emit_packet(out.segment, IpHeader(out.src, out.dst, ttl=out.ttl, dont_fragment=True))
            s = parse(ip.parse(data, 0), False)
            sack = [_relative(edge, self.iss) for edge in s.sack or []]
            seen = Seen(
                self.now_ns, flags_text(s.flags), _relative(int(s.seq), self.irs), _relative(int(s.ack), self.iss),
                s.wnd, s.data[s.start : s.end], sack, s, data, out.segment_bytes, out.ttl,
            )
            if s.has_timestamps:
                self.ts_recent = s.ts_val
            if not s.flags & RST:
                end = seen.end + (s.flags & 1) + (s.flags >> 1 & 1)
                self.ack = max(self.ack, end) if abs(end) < 1 << 30 else self.ack
            result.append(seen)
        self.seen += result
        return result

    def touch(self) -> list[Seen]:
        """Say that the program did something; returns what leaves."""
        self.demux.touch(self.connection)
        return self.flush()

    def write(self, data: bytes) -> list[Seen]:
        """Let the program write all of ``data``."""
        assert self.connection.write(data, self.now_ns) == len(data)
        return self.touch()

    def read(self, size: int = 1 << 30) -> bytes:
        """Let the program read; what leaves is in ``seen``."""
        data: bytes = self.connection.read(size, False, self.now_ns)
        self.touch()
        return data

    def shutdown(self) -> list[Seen]:
        """Let the program shut down writing."""
        self.connection.shutdown_write()
        return self.touch()

    def close(self) -> list[Seen]:
        """Let the program close."""
        self.connection.close(self.now_ns)
        self.demux.forget_owner(self.connection)
        return self.touch()

    def abort(self) -> list[Seen]:
        """Let the program abort."""
        self.connection.abort()
        self.demux.forget_owner(self.connection)
        return self.touch()

    def wait(self, duration_ns: int) -> list[Seen]:
        """Let time pass; returns all that timers sent."""
        end_ns = self.now_ns + duration_ns
        result = []
        while (due_ns := self.demux.next_deadline_ns()) <= end_ns:
            self.now_ns = max(self.now_ns, due_ns)
            self.side.context.now_ns = self.now_ns
            self.demux.on_deadline(self.now_ns)
            result += self.flush()
        self.now_ns = end_ns
        self.side.context.now_ns = end_ns
        return result

    # --- questions

    def drops(self) -> dict[str, int]:
        """Give the drop counters by name."""
        return {reason.name: count for reason, count in self.counters.drops.items()}

    def endpoint(self) -> object:
        """Give what the table holds for the four-tuple."""
        return next(iter(self.demux.table.values()), None)


def _relative(number: int, base: int) -> int:
    distance = (number - base) & MASK
    return distance - (1 << 32) if distance > 0x7FFFFFFF else distance
