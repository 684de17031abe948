"""Facts: frozen records of what happened, reported to an optional observer.

A fact says what changed, when (``at_ns``, the engine's clock), on which host and, if there is one, on which
connection. Without an observer no fact is built. Facts are reported in the order in which they happened; a fact between
a ``CallStarted`` and its ``CallBlocked`` or ``CallReturned`` on the same host was caused by that call, any other by a
frame or a timer.

``connection`` is the four-tuple as seen from the host, ``"10.0.0.1:40000>10.0.0.2:80"``; a listener is
``"10.0.0.2:80>*"``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from estab.errors import DropReason
from estab.frozen import quickly_made

__all__ = [
    "BoxChanged", "BufferChanged", "CallBlocked", "CallResumed", "CallReturned", "CallStarted", "CongestionChanged",
    "CookieChecked", "ErrorReported", "Event", "FdAllocated", "FdReleased", "FrameReceived", "FrameSent", "FramesLost",
    "HostChanged", "LinkChanged", "LinkConditions", "LinkCopied", "LinkDamaged", "LinkDelayed", "LinkDropped",
    "LinkHeld", "LinkMarked", "LinkQueueChanged", "NeighborChanged", "Observer", "PacketDropped", "PathMtuChanged",
    "QueueChanged", "RttMeasured", "SegmentReceived", "SegmentSent", "SocketSampled", "StateChanged", "Tcb",
    "TcbCreated", "TcbReleased", "TimeWaitEnded", "TimerFired",
]


@dataclass(frozen=True, slots=True)
class Event:
    """The root of all facts: when (nanoseconds of the engine's clock) and on which host."""

    at_ns: int
    host: str


Observer = Callable[[Event], None]


@quickly_made
@dataclass(frozen=True, slots=True)
class Tcb:
    """The fields of a TCB at one instant, with RFC 9293's names. Sequence numbers are relative: the SYN is number 0."""

    state: str
    snd_una: int
    snd_nxt: int
    snd_wnd: int
    rcv_nxt: int
    rcv_wnd: int
    cwnd_bytes: int
    ssthresh_bytes: int | None
    srtt_ns: int | None
    rto_ns: int
    send_buffer_bytes: int
    """All that the program wrote and the peer has not acknowledged."""
    unsent_bytes: int
    receive_buffer_bytes: int
    out_of_order_bytes: int
    """-1 for a kernel's socket, which does not report it."""
    pipe_bytes: int = 0
    """What is in flight: sent, and neither acknowledged, SACKed nor taken to be lost (RFC 6675)."""
    rttvar_ns: int = 0
    min_rtt_ns: int = 0
    ca_state: str = ""
    """Where loss recovery stands: ``Open``, ``Disorder``, ``CWR``, ``Recovery``, ``Loss`` (``tcpi_ca_state``)."""
    limited_by: str = ""
    """What a sender's time is spent on now: ``idle`` (nothing is unacknowledged or waits), ``busy``, ``peer window``,
    ``send buffer`` (Linux's tcp_chrono), or ``pacing`` while the pace holds text back."""
    pacing_rate: int = 0
    """Bytes a second; 0: no limit, or no round trip was measured yet."""
    delivery_rate: int = 0
    """Bytes a second at which the path delivered last; 0: not measured yet."""
    is_app_limited: bool = False
    """``delivery_rate`` is of a time when the program had too little to send."""
    retries: int = 0
    """Timeouts in a row without an answer."""
    timer: str = ""
    """The next timer that is armed, as ``ss -o`` names them: ``on``, ``keepalive``, ``persist``, ``delack``,
    ``timewait``; empty for none."""
    timer_due_ns: int = 0
    """When it runs out, on the engine's clock; 0 for none."""
    mss_bytes: int = 0
    """The most text of a segment, options taken off."""
    send_buffer_limit: int = 0
    receive_buffer_limit: int = 0


# --- calls and descriptors


@quickly_made
@dataclass(frozen=True, slots=True)
class CallStarted(Event):
    """A program called a function of the sockets API."""

    call: int
    """Number of the call, from 1, unique on its host."""
    fd: int
    name: str
    arguments: str
    """As Python would write them, long buffers shortened to their length."""


@quickly_made
@dataclass(frozen=True, slots=True)
class CallBlocked(Event):
    """The call can't go on now: the program sleeps."""

    call: int
    fd: int
    waits_for: str


@quickly_made
@dataclass(frozen=True, slots=True)
class CallReturned(Event):
    """The call is over: ``result`` as Python would write it, or ``error`` (``"EAGAIN: …"``), never both."""

    call: int
    fd: int
    name: str
    result: str
    error: str


@dataclass(frozen=True, slots=True)
class FdAllocated(Event):
    """A descriptor was allocated: ``kind`` is ``tcp``, ``tcp6``, ``udp``, ``udp6``, ``u_str``, ``u_dgr``, ``pipe`` …"""

    fd: int
    kind: str
    why: str


@dataclass(frozen=True, slots=True)
class FdReleased(Event):
    """A descriptor was released. Its TCB may live on without it, to finish closing."""

    fd: int


# --- TCP


@dataclass(frozen=True, slots=True)
class TcbCreated(Event):
    """A TCB was created, for the descriptor ``fd`` (-1: none yet). ``connection`` is empty if there is none yet."""

    connection: str
    fd: int
    state: str
    why: str


@dataclass(frozen=True, slots=True)
class TcbReleased(Event):
    """A TCB is gone; nothing of the connection is left but, perhaps, a TIME-WAIT record."""

    connection: str
    why: str


@dataclass(frozen=True, slots=True)
class StateChanged(Event):
    """An edge of RFC 9293's state diagram (section 3.3.2); states as the RFC writes them."""

    connection: str
    old: str
    new: str
    why: str


@quickly_made
@dataclass(frozen=True, slots=True)
class SegmentSent(Event):
    """A segment left TCP. Numbers are relative (the SYN is 0); ``why`` names the rule that sent it."""

    connection: str
    flags: str
    """Letters in tcpdump's order, ``.`` for ACK, ``E``, ``W`` and ``e`` for ECE, CWR and AE: ``S``, ``S.``, ``SEW``."""
    seq: int
    ack: int
    length: int
    wnd: int
    """The window in bytes, unscaled by the option."""
    options: str
    why: str
    """``new data``, ``acknowledgment``, ``delayed ack``, ``retransmission: rto 2 of 15``, ``zero-window probe`` …"""
    tcb: Tcb | None
    ecn: str = ""
    """The ECN field of its packet: ``ECT(0)``, ``ECT(1)``, ``CE``, or nothing (RFC 3168 section 5)."""


@quickly_made
@dataclass(frozen=True, slots=True)
class SegmentReceived(Event):
    """A segment reached its connection, half-open entry, TIME-WAIT record or listener. ``tcb`` is as it is then."""

    connection: str
    flags: str
    seq: int
    ack: int
    length: int
    wnd: int
    options: str
    tcb: Tcb | None
    ecn: str = ""


@dataclass(frozen=True, slots=True)
class PacketDropped(Event):
    """A packet was dropped here, and why. ``connection`` is empty if none was found."""

    connection: str
    reason: DropReason
    detail: str


@dataclass(frozen=True, slots=True)
class QueueChanged(Event):
    """One of a listener's two queues changed: ``queue`` is ``half-open`` or ``accept``."""

    connection: str
    queue: str
    depth: int
    limit: int
    what: str
    """``added``, ``completed``, ``taken``, ``expired``, ``overflow``, ``evicted`` …"""
    peer: str


@quickly_made
@dataclass(frozen=True, slots=True)
class BufferChanged(Event):
    """A send or receive buffer (``which``) now holds ``size_bytes`` of ``limit_bytes``."""

    connection: str
    which: str
    size_bytes: int
    limit_bytes: int
    what: str


@dataclass(frozen=True, slots=True)
class TimerFired(Event):
    """A timer ran out: ``timer`` is ``retransmit``, ``persist``, ``delayed-ack``, ``keepalive``, ``fin-wait-2`` …"""

    connection: str
    timer: str
    detail: str


@quickly_made
@dataclass(frozen=True, slots=True)
class CongestionChanged(Event):
    """The congestion window or its threshold moved."""

    connection: str
    cwnd_bytes: int
    ssthresh_bytes: int | None
    why: str


@quickly_made
@dataclass(frozen=True, slots=True)
class RttMeasured(Event):
    """A round trip was measured (RFC 6298); ``srtt_ns``, ``rttvar_ns`` and ``rto_ns`` are what it made of them."""

    connection: str
    rtt_ns: int
    srtt_ns: int
    rttvar_ns: int
    rto_ns: int


@dataclass(frozen=True, slots=True)
class CookieChecked(Event):
    """An ACK carried a SYN cookie, which was good or not."""

    connection: str
    is_valid: bool
    mss: int
    detail: str


@dataclass(frozen=True, slots=True)
class TimeWaitEnded(Event):
    """A TIME-WAIT record ended: ``expired``, ``reused by a new SYN`` (RFC 6191), ``assassinated``, ``evicted``."""

    connection: str
    why: str


@dataclass(frozen=True, slots=True)
class ErrorReported(Event):
    """An error waits for the program (``SO_ERROR``), or is soft and only noted (RFC 9293 section 3.9.1.8)."""

    connection: str
    errno: int
    text: str
    is_soft: bool


# --- below TCP


@quickly_made
@dataclass(frozen=True, slots=True)
class FrameSent(Event):
    """A frame left an interface."""

    interface: str
    data: bytes


@quickly_made
@dataclass(frozen=True, slots=True)
class FrameReceived(Event):
    """A frame came in at an interface."""

    interface: str
    data: bytes


@dataclass(frozen=True, slots=True)
class NeighborChanged(Event):
    """ARP or ND learnt, lost or is looking for an address."""

    interface: str
    address: str
    state: str
    link_address: str


@dataclass(frozen=True, slots=True)
class PathMtuChanged(Event):
    """The largest packet that reaches a destination is now known to be another."""

    destination: str
    mtu: int
    why: str


@dataclass(frozen=True, slots=True)
class LinkDropped(Event):
    """A link of the lab dropped a frame. ``host`` is the sender."""

    link: str
    reason: DropReason
    data: bytes


@dataclass(frozen=True, slots=True)
class LinkHeld(Event):
    """A link of the lab holds a frame back until ``overtakers`` later ones have passed. ``host`` is the sender."""

    link: str
    overtakers: int
    data: bytes


@dataclass(frozen=True, slots=True)
class LinkDelayed(Event):
    """A frame comes later than the link's delay: by a rule, or overtaken by jitter. ``host`` is the sender."""

    link: str
    by_ns: int
    """How much later than the link's delay."""
    why: str
    """``rule``, or ``jitter``."""
    data: bytes


@dataclass(frozen=True, slots=True)
class LinkCopied(Event):
    """A link of the lab delivers a frame twice. ``host`` is the sender."""

    link: str
    data: bytes


@dataclass(frozen=True, slots=True)
class LinkDamaged(Event):
    """A bit of a frame flipped on a link of the lab. ``host`` is the sender."""

    link: str
    bit: int
    """Counted from the frame's first; the most significant bit of an octet is number 7 of it."""
    before: bytes
    """The frame as it was sent; ``data`` is as it goes on."""
    data: bytes


@dataclass(frozen=True, slots=True)
class LinkMarked(Event):
    """A link of the lab marked a packet CE (RFC 3168 section 5). ``host`` is the sender."""

    link: str
    why: str
    before: bytes
    """The frame as it was sent; ``data`` is as it goes on."""
    data: bytes


@dataclass(frozen=True, slots=True)
class LinkChanged(Event):
    """A link of the lab was cut, healed or given other properties."""

    link: str
    what: str


@dataclass(frozen=True, slots=True)
class LinkConditions(Event):
    """What one direction of a link of the lab does to frames from now on. ``host`` is the sender.

    Reported when the link is made, at each change, and to an observer that is added later. Shares are from 0 to 1.
    """

    link: str
    interface: str
    """The sender's interface on it."""
    receiver: str
    delay_ns: int
    jitter_ns: int
    rate_bps: int
    queue_frames: int
    """The most frames that wait for the rate; 0 if bytes are the limit."""
    queue_bytes: int
    loss: float
    reorder: float
    duplicate: float
    corrupt: float
    mtu: int
    codel_target_ns: int
    codel_interval_ns: int
    ecn_mark_frames: int
    ecn_mark_bytes: int
    is_cut: bool
    is_fair: bool = False
    """Each flow waits for the rate in a queue of its own."""
    jitter_shape: str = "uniform"
    bursts: str = ""
    """How losses follow each other, as ``Bursts`` is written; empty: each frame alone."""


@quickly_made
@dataclass(frozen=True, slots=True)
class LinkQueueChanged(Event):
    """The queue before a link's rate holds another number of frames. ``host`` is the sender."""

    link: str
    waiting_frames: int
    """Without the one that is being sent."""
    waiting_bytes: int
    what: str
    """``added``: the frame that was put on the link last waits. ``left``: the one at ``place`` goes out, or is dropped
    there. ``emptied``: the cable was cut."""
    place: int = 0
    """How many of those that wait had come before the one that left: 0, but in a fair queue."""


@quickly_made
@dataclass(frozen=True, slots=True)
class CallResumed(Event):
    """A blocked call continues; it causes what follows, until its next ``CallBlocked`` or ``CallReturned``."""

    call: int
    fd: int


@dataclass(frozen=True, slots=True)
class HostChanged(Event):
    """Something was done to a host of the lab.

    ``what`` is ``power off``, ``power on``, ``suspended``, ``paused``, ``resumed``, or says how its clock was set, or
    which of its programs got which signal.
    """

    what: str


@dataclass(frozen=True, slots=True)
class BoxChanged(Event):
    """A box on a host of the lab, a NAT or a load balancer, forgot a flow, lost a backend, and so on."""

    box: str
    what: str


@dataclass(frozen=True, slots=True)
class SocketSampled(Event):
    """What the machine's kernel said, by inet_diag, of a TCP socket of a spawned host.

    It is asked every so often while the host is observed; what was between two answers is not known. A socket of which
    nothing changed gives no fact.
    """

    connection: str
    state: str
    """As the RFC names it; ``gone`` if there is no such socket any more."""
    recv_q: int
    """Unread bytes; of a listener: how many wait for ``accept()``."""
    send_q: int
    """Bytes that are not acknowledged; of a listener: how many may wait."""
    tcb: Tcb | None
    """What ``tcp_info`` tells; ``None`` in LISTEN, SYN-RECEIVED, TIME-WAIT and ``gone``."""
    every_ns: int
    """How often the host's sockets are sampled."""


@dataclass(frozen=True, slots=True)
class FramesLost(Event):
    """Frames were lost between the kernel of a spawned host and the lab: no link of the lab had them, or has them now.

    They are counted every so often, so they were lost some time before ``at_ns``.
    """

    interface: str
    frames: int
    where: str
    """What lost them, in words."""

    @property
    def text(self) -> str:
        """The fact in words."""
        return f"{self.frames:,} frames of {self.interface} lost: {self.where}"
