"""Hand-made facts: a run of two hosts as the engine would tell it."""

from __future__ import annotations

from estab.events import (
    CallBlocked,
    CallResumed,
    CallReturned,
    CallStarted,
    Event,
    FdAllocated,
    FrameReceived,
    FrameSent,
    QueueChanged,
    SegmentReceived,
    SegmentSent,
    StateChanged,
    Tcb,
    TcbCreated,
)
from estab.units import MS
from estab.wire.address import parse_address
from estab.wire.ip import IpHeader
from estab.wire.seq import Seq
from estab.wire.tcp import ACK, FIN, PSH, RST, SYN, Segment, emit_packet

A, B = "10.0.0.1", "10.0.0.2"
OUT, BACK = f"{A}:40000>{B}:80", f"{B}:80>{A}:40000"
LISTENER = f"{B}:80>*"
_LETTERS = {"F": FIN, "S": SYN, "R": RST, "P": PSH, ".": ACK}


def tcb(state: str, snd_nxt: int = 0, rcv_nxt: int = 0) -> Tcb:
    return Tcb(state, 0, snd_nxt, 65535, rcv_nxt, 65535, 14600, None, None, 1_000_000_000, 0, 0, 0, 0)


def packet(connection: str, flags: str, seq: int, ack: int, text: bytes = b"", wnd: int = 65535) -> bytes:
    """Write the packet that a connection would send. Its numbers on the wire are a thousand more than the relative
    ones.
    """
    (near, near_port), (far, far_port) = (end.rsplit(":", 1) for end in connection.split(">"))
    bits = sum(_LETTERS[letter] for letter in flags)
    segment = Segment(int(near_port), int(far_port), Seq(1000 + seq), Seq(1000 + ack if "." in flags else 0), bits, wnd)
    segment.data, segment.start, segment.end = text, 0, len(text)
    return emit_packet(segment, IpHeader(parse_address(near), parse_address(far), ident=7, dont_fragment=True))


def sent(
    at_ns: int, host: str, connection: str, flags: str, seq: int, ack: int, text: bytes = b"", why: str = "new data",
    after: Tcb | None = None,
) -> list[Event]:
    """Tell of a segment that leaves TCP and then the host."""
    return [
        SegmentSent(at_ns, host, connection, flags, seq, ack, len(text), 65535, "", why, after),
        FrameSent(at_ns, host, "eth0", packet(connection, flags, seq, ack, text)),
    ]


def received(
    at_ns: int, host: str, connection: str, flags: str, seq: int, ack: int, text: bytes = b"", *between: Event
) -> list[Event]:
    """Tell of a segment that arrives; ``connection`` is the receiver's name of it, ``between`` what it led to."""
    near, _, far = connection.partition(">")
    data = packet(f"{far}>{near}", flags, seq, ack, text)
    return [
        FrameReceived(at_ns, host, "eth0", data),
        *between,
        SegmentReceived(at_ns, host, connection, flags, seq, ack, len(text), 65535, "", None),
    ]


def handshake() -> list[Event]:
    """Tell of a listener, a connect that blocks, three segments 10 ms apart, and an accept that waited."""
    return [
        CallStarted(0, "server", 1, 3, "listen", "1"),
        TcbCreated(0, "server", LISTENER, 3, "CLOSED", "listen"),
        StateChanged(0, "server", LISTENER, "CLOSED", "LISTEN", "passive open"),
        CallReturned(0, "server", 1, 3, "listen", "None", ""),
        CallStarted(0, "server", 2, 3, "accept", ""),
        CallBlocked(0, "server", 2, 3, "a connection in the accept queue"),
        CallStarted(0, "client", 1, 3, "connect", "('10.0.0.2', 80)"),
        TcbCreated(0, "client", OUT, 3, "CLOSED", "connect"),
        StateChanged(0, "client", OUT, "CLOSED", "SYN-SENT", "active open"),
        *sent(0, "client", OUT, "S", 0, 0, why="connection request", after=tcb("SYN-SENT", 1)),
        CallBlocked(0, "client", 1, 3, "the handshake"),
        *received(10 * MS, "server", BACK, "S", 0, 0, b"",
                  QueueChanged(10 * MS, "server", LISTENER, "half-open", 1, 1, "added", f"{A}:40000"),
                  StateChanged(10 * MS, "server", BACK, "LISTEN", "SYN-RECEIVED", "SYN")),
        *sent(10 * MS, "server", BACK, "S.", 0, 1, why="SYN-ACK", after=tcb("SYN-RECEIVED", 1, 1)),
        *received(20 * MS, "client", OUT, "S.", 0, 1, b"",
                  StateChanged(20 * MS, "client", OUT, "SYN-SENT", "ESTABLISHED", "SYN-ACK")),
        *sent(20 * MS, "client", OUT, ".", 1, 1, why="acknowledgment", after=tcb("ESTABLISHED", 1, 1)),
        CallResumed(20 * MS, "client", 1, 3),
        CallReturned(20 * MS, "client", 1, 3, "connect", "None", ""),
        *received(30 * MS, "server", BACK, ".", 1, 1, b"",
                  StateChanged(30 * MS, "server", BACK, "SYN-RECEIVED", "ESTABLISHED", "ACK of SYN"),
                  QueueChanged(30 * MS, "server", LISTENER, "half-open", 0, 1, "completed", f"{A}:40000"),
                  QueueChanged(30 * MS, "server", LISTENER, "accept", 1, 1, "added", f"{A}:40000")),
        CallResumed(30 * MS, "server", 2, 3),
        QueueChanged(30 * MS, "server", LISTENER, "accept", 0, 1, "taken", f"{A}:40000"),
        FdAllocated(30 * MS, "server", 4, "tcp", "accept"),
        CallReturned(30 * MS, "server", 2, 3, "accept", "fd 4", ""),
    ]
