"""Two hosts' TCP on a virtual wire with a virtual clock: what every test of ``tcp`` stands on.

Segments cross as bytes, through ``emit_packet`` and ``parse``, so that what is tested is what would be on the wire. A
test may lose, hold or forge any of them: ``Pair.filter`` sees each and says whether it goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from estab import abi
from estab.counters import Counters
from estab.events import Event
from estab.host.sockets.demux import Demux
from estab.lab.links.aqm import marked
from estab.tcp.config import Config
from estab.tcp.connection import Connection
from estab.tcp.context import Context, Owner, Paths
from estab.tcp.listening.listener import Listener
from estab.tcp.state import State
from estab.units import MS, SECOND
from estab.wire import ip
from estab.wire.address import parse_address
from estab.wire.ip import IpHeader
from estab.wire.seq import Seq
from estab.wire.tcp import ACK, FIN, PSH, RST, SYN, Segment, emit_packet, flags_text, parse
from tests.kit.agenda import Flight

__all__ = [
    "ACK", "FIN", "MS", "PSH", "RST", "SECOND", "SYN", "Pair", "Passed", "Side", "State", "forge",
]


class FixedPaths(Paths):
    """One link of one MTU."""

    def __init__(self, local: bytes, mtu: int, segment_bytes_max: int) -> None:
        self.local = local
        self.mtu = mtu
        self.super_bytes = segment_bytes_max
        self.suspected: list[bytes] = []

    def source_for(self, destination: bytes) -> bytes:
        return self.local

    def mtu_of(self, destination: bytes) -> int:
        return self.mtu

    def segment_bytes_max(self, destination: bytes) -> int:
        return self.super_bytes

    def suspect(self, destination: bytes) -> None:
        self.suspected.append(destination)


class Side:
    """One host's TCP: a context, a demultiplexer, and an address."""

    def __init__(self, name: str, address: str, mtu: int, segment_bytes_max: int = 0) -> None:
        self.name = name
        self.address = parse_address(address)
        self.config = Config()
        self.config.tcp_congestion_control = "reno"  # its numbers can be told by heart
        self.counters = Counters()
        self.context = Context(name, self.config, self.counters, name.encode() * 16)
        self.paths = FixedPaths(self.address, mtu, segment_bytes_max)
        self.context.paths = self.paths
        self.demux = Demux(self.context)
        self.events: list[Event] = []
        self.next_port = 40000

    def observe(self) -> None:
        self.context.observer = self.events.append


@dataclass
class Passed:
    """A segment that crossed, or did not: ``sender``, when it left, and what it was."""

    sender: str
    at_ns: int
    segment: Segment
    data: bytes
    is_lost: bool

    def __str__(self) -> str:
        s = self.segment
        place = f"{s.seq}:{s.seq + s.end - s.start} ack {s.ack} win {s.wnd}"
        text = f"{self.at_ns / 1e6:10.3f} {self.sender} {flags_text(s.flags):4} {place}"
        return text + (" LOST" if self.is_lost else "")


class Pair:
    """Sides ``a`` and ``b`` and the wire between, ``delay_ns`` each way.

    ``filter(passed)`` says of each segment whether it goes on (``True``, ``False``), or after how many nanoseconds; a
    list of delays makes copies.
    """

    def __init__(
        self, *, delay_ns: int = 5 * MS, mtu: int = 1500, is_v6: bool = False, segment_bytes_max: int = 0,
    ) -> None:
        self.now_ns = SECOND
        self.delay_ns = delay_ns
        self.a = Side("a", "fd00::1" if is_v6 else "10.0.0.1", mtu, segment_bytes_max)
        self.b = Side("b", "fd00::2" if is_v6 else "10.0.0.2", mtu, segment_bytes_max)
        self.passed: list[Passed] = []
        self.filter: Callable[[Passed], bool | int | list[int]] | None = None
        self.marks: Callable[[Passed], bool] | None = None
        """Says of each segment whether a queue on its way marks it, if it is ECN-capable."""
        self._flight: Flight[tuple[Side, bytes]] = Flight()
        for side in (self.a, self.b):
            side.context.now_ns = self.now_ns

    # --- commands

    def listen(self, *, port: int = 80, backlog: int = 16, side: Side | None = None, address: bytes = b"") -> Listener:
        """Listen at ``b``."""
        side = side or self.b
        options = side.demux.new_options()
        listener = Listener(
            side.context, address, port, backlog, options, False, len(side.address) == 16,
        )
        listener.owner = Owner()
        side.demux.listen(listener)
        return listener

    def connect(self, *, port: int = 80, side: Side | None = None, local_port: int = 0) -> Connection:
        """Open from ``a`` and let the SYN leave."""
        side = side or self.a
        other = self.b if side is self.a else self.a
        if not local_port:
            side.next_port += 1
            local_port = side.next_port
        options = side.demux.new_options()
        connection = side.demux.new_connection(side.address, local_port, other.address, port, options, Owner())
        side.demux.connect(connection, self.now_ns)
        self.flush()
        return connection

    def established(self, *, port: int = 80, backlog: int = 16) -> tuple[Connection, Connection]:
        """Give both ends of a connection that a handshake opened."""
        listener = self.listen(port=port, backlog=backlog)
        client = self.connect(port=port)
        self.run_for(4 * self.delay_ns + MS)
        server = listener.accept()
        assert server is not None
        server.owner = Owner()
        assert client.state == abi.ESTABLISHED
        assert server.state == abi.ESTABLISHED
        return client, server

    def side_of(self, connection: Connection) -> Side:
        return self.a if connection.context is self.a.context else self.b

    def write(self, connection: Connection, data: bytes) -> int:
        count = connection.write(data, self.now_ns)
        self.touch(connection)
        return count

    def read(self, connection: Connection, size: int = 1 << 30) -> bytes:
        data = connection.read(size, False, self.now_ns)
        self.touch(connection)
        return data

    def shutdown(self, connection: Connection) -> None:
        connection.shutdown_write()
        self.touch(connection)

    def close(self, connection: Connection) -> None:
        connection.close(self.now_ns)
        self.side_of(connection).demux.forget_owner(connection)
        self.touch(connection)

    def abort(self, connection: Connection) -> None:
        connection.abort()
        self.touch(connection)

    def touch(self, connection: Connection) -> None:
        self.side_of(connection).demux.touch(connection)
        self.flush()

    # --- the wire

    def flush(self) -> None:
        """Let everything that wants to leave now leave."""
        for side in (self.a, self.b):
            while True:
                out = side.demux.poll(self.now_ns)
                if out is None:
                    break
                data = emit_packet(out.segment, IpHeader(out.src, out.dst, ttl=out.ttl, dont_fragment=True))
                self._carry(side, data)

    def _carry(self, side: Side, data: bytes) -> None:
        segment = parse(ip.parse(data, 0), False)
        passed = Passed(side.name, self.now_ns, segment, data, False)
        self.passed.append(passed)
        if self.marks is not None and self.marks(passed):
            data = marked(data, 0) or data
        verdict = True if self.filter is None else self.filter(passed)
        if isinstance(verdict, bool):
            delays = [self.delay_ns] if verdict else []
        else:
            delays = verdict if isinstance(verdict, list) else [verdict]
        passed.is_lost = not delays
        for delay_ns in delays:
            self._flight.push(self.now_ns + delay_ns, (self.b if side is self.a else self.a, data))

    def is_wire_empty(self) -> bool:
        """Tell whether nothing is on its way."""
        return not self._flight

    def inject(self, side: Side, data: bytes) -> None:
        """Hand a packet to a side now, as if it came from the wire."""
        packet = ip.parse(data, 0)
        side.context.now_ns = self.now_ns
        side.demux.on_segment(packet, parse(packet, False), self.now_ns)
        self.flush()

    def run_for(self, duration_ns: int) -> None:
        """Let virtual time pass."""
        self.run_until(self.now_ns + duration_ns)

    def run_until(self, end_ns: int) -> None:
        while True:
            next_ns = min(
                self._flight.next_due_ns(), self.a.demux.next_deadline_ns(), self.b.demux.next_deadline_ns(),
            )
            if next_ns > end_ns:
                break
            self.now_ns = max(self.now_ns, next_ns)
            for side in (self.a, self.b):
                side.context.now_ns = self.now_ns
                side.demux.on_deadline(self.now_ns)
            while self._flight.next_due_ns() <= self.now_ns:
                side, data = self._flight.pop()
                packet = ip.parse(data, 0)
                side.demux.on_segment(packet, parse(packet, False), self.now_ns)
                self.flush()
            self.flush()
        self.now_ns = end_ns
        for side in (self.a, self.b):
            side.context.now_ns = self.now_ns

    # --- questions

    def sent_by(self, side: Side, *, since: int = 0) -> list[Segment]:
        """Give what a side sent, from the ``since``-th segment of the whole trace on."""
        return [p.segment for p in self.passed[since:] if p.sender == side.name]

    def trace(self) -> str:
        return "\n".join(map(str, self.passed))


def forge(
    to: Connection, flags: int, *, seq: int | None = None, ack: int | None = None, wnd: int = 1000, data: bytes = b"",
    ts_val: int | None = None, **options: object,
) -> bytes:
    """Make a packet that claims to come from the peer of ``to``; ``seq`` and ``ack`` default to what is expected.

    Timestamps are put on where the connection has them.
    """
    seq = to.rcv_nxt if seq is None else seq
    ack = to.snd_nxt if ack is None else ack
    segment = Segment(to.remote_port, to.local_port, Seq(seq & 0xFFFFFFFF), Seq(ack & 0xFFFFFFFF), flags, wnd)
    segment.data = data
    segment.start = 0
    segment.end = len(data)
    if to.has_timestamps:
        segment.has_timestamps = True
        segment.ts_val = to.ts_recent if ts_val is None else ts_val
    for name, value in options.items():
        setattr(segment, name, value)
    return emit_packet(segment, IpHeader(to.remote, to.local, dont_fragment=True))
