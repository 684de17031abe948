"""The transmission control block: everything TCP knows of one connection (RFC 9293 section 3.3.1).

Sequence numbers here are unwrapped: endless integers whose low 32 bits are on the wire. Invariants:

- ``snd_una <= snd_nxt``; ``sent`` from ``sent_head`` on holds exactly the segments between them, without gaps;
- ``write_end`` is where the next written byte will stand: ``snd_nxt + unsent`` until the FIN is sent;
- ``copied_seq`` to ``rcv_nxt`` is what waits to be read; ``rcv_nxt`` to ``rcv_adv`` is the window the peer was given,
  and ``rcv_adv`` never moves left (RFC 9293 SHLD-14).

Only data lives here. Below each field stand its unit, its meaning with the RFC's section, and the files that may write
it once the record is made: its owners. Any other file reads the field, and calls a function of the owner to change it.
``tests/test_owners.py`` reads these lines and fails on any other writer. What the program sets is in ``options``.
Queues are made when first needed and released when empty, and so are the parts that only some connections need: an
idle connection holds none of either. Counts that stay small are stored in four bytes or one, and flags stand beside
each other, as a flag between two numbers would take eight bytes.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i32, i64, u8

from estab import abi
from estab.tcp.context import Context, Owner, flow_text
from estab.tcp.record.buffers import ByteQueue
from estab.tcp.record.control import CongestionControl, Flow
from estab.tcp.record.fast_open import FastOpen
from estab.tcp.record.four_tuple import FourTuple
from estab.tcp.record.inflight import Losses, MtuSearch, SentSegment
from estab.tcp.record.measured import LaterMinima, Marks, Traffic
from estab.tcp.record.numbers import DEFAULT_MSS_BYTES, NO_SEQ
from estab.tcp.record.options import Options
from estab.tcp.record.reassembly import Reassembly
from estab.tcp.record.sample import RateSample
from estab.tcp.record.sendqueue import SendQueue
from estab.tcp.record.troubles import Troubles
from estab.tcp.state import state_text
from estab.units import NEVER, SECOND

__all__ = [
    "CA_CWR", "CA_DISORDER", "CA_LOSS", "CA_OPEN", "CA_RECOVERY", "NO_SEQ", "SentSegment", "Tcb",
]

# Linux's names for where loss recovery stands (tcp_info.tcpi_ca_state).
CA_OPEN: Final = 0
CA_DISORDER: Final = 1
CA_CWR: Final = 2
CA_RECOVERY: Final = 3
CA_LOSS: Final = 4


class Tcb(Flow):
    """One connection's state. Names are RFC 9293's, lowered; units last."""

    def __init__(self, context: Context, ends: FourTuple, options: Options) -> None:
        super().__init__(ends.key)
        # Which connection it is.
        self.context = context
        """record: what all connections of the host share. Writers: none."""
        self.options = options
        """record: what the program set, shared with others that set the same. Writers: connection, record/tcb."""
        self.congestion = options.congestion
        """record: its own congestion control if ``has_own_congestion``, else the host's, which makes one when it is
        first needed. Writers: record/tcb.
        """
        self.owner: Owner | None = None
        """record: the socket that is told of news, ``None`` after the program closed it. Writers: connection."""
        self.local = context.one_copy(ends.local)
        """address: ours, 4 or 16 bytes (RFC 9293 section 3.1). Writers: none."""
        self.remote = context.one_copy(ends.remote)
        """address: the peer's, 4 or 16 bytes. Writers: none."""
        self.local_port: i32 = i32(ends.local_port)
        """number: our port. Writers: none."""
        self.remote_port: i32 = i32(ends.remote_port)
        """number: the peer's port. Writers: none."""
        self.flow_label: i32 = i32(context.flow_label(ends.remote, ends.local, ends.remote_port, ends.local_port))
        """number: the label of all packets that are sent, 0 for none (RFC 6437). Writers: record/tcb."""
        self.peer_mss: i32 = DEFAULT_MSS_BYTES
        """bytes: the MSS that the peer named (RFC 9293 section 3.7.1). Writers: recovery/mtu_search."""
        self.charged_bytes: i64 = 0
        """bytes: what the host is charged for what the connection holds (Linux's tcp_mem). Writers: window/memory."""
        # Small numbers and flags, side by side. Of the connection as a whole:
        self.quick_acks: i32 = 0
        """count: acknowledgments that go at once, before delaying begins again. Writers: receiving/acknowledging."""
        self.state: u8 = abi.CLOSED
        """number: the state, as ``abi`` numbers them (RFC 9293 section 3.3.2). Writers: arriving/transitions."""
        self.has_own_congestion: bool = False
        """yes or no: ``congestion`` serves this connection alone. Writers: record/tcb."""
        self.is_passive: bool = False
        """yes or no: a listener made it (RFC 9293 section 3.10.1). Writers: listening/child."""
        self.is_first_ack_delayed: bool = False
        """yes or no: TCP_DEFER_ACCEPT on the side that connects: the third segment waits for text to carry it. Writers:
        connection.
        """
        self.is_orphan: bool = False
        """yes or no: closed by its program; it finishes on its own. Writers: connection."""
        self.is_orphan_counted: bool = False
        """yes or no: counted among the orphans, of which there may be ``tcp_max_orphans``. Writers: connection."""
        self.is_counted: bool = False
        """yes or no: counted in CurrEstab (RFC 4022). Writers: arriving/opening, arriving/transitions."""
        # Of what the handshake agreed on:
        self.has_timestamps: bool = False
        """yes or no: both ends send timestamps (RFC 7323 section 3). Writers: arriving/opening."""
        self.has_sack: bool = False
        """yes or no: both ends speak SACK (RFC 2018 section 2). Writers: arriving/opening."""
        self.has_wscale: bool = False
        """yes or no: windows are scaled (RFC 7323 section 2). Writers: arriving/opening."""
        self.snd_wscale: u8 = 0
        """bits: how far the peer's windows are shifted (RFC 7323 section 2). Writers: arriving/opening."""
        self.rcv_wscale: u8 = 0
        """bits: how far our windows are shifted (RFC 7323 section 2). Writers: receiving/receive."""
        # Of sending:
        self.has_sent_text: bool = False
        """yes or no: text was sent since the host was last drained. Writers: sending/plan."""
        self.is_round_limited: bool = False
        """yes or no: the congestion window held some back since the host was last drained. Writers: sending/plan."""
        self.is_more_coming: bool = False
        """yes or no: MSG_MORE was said of the last write: its partial segment waits for the next, or for an
        acknowledgment. Writers: sending/writing.
        """
        self.is_push_forced: bool = False
        """yes or no: what waits in the last piece may go whatever Nagle's rule and TCP_CORK say (TCP_NODELAY was just
        set). Writers: sending/writing.
        """
        self.is_out_of_room: bool = False
        """yes or no: a program found no room in the send buffer; it is told when there is some (Linux's SOCK_NOSPACE).
        Writers: window/room.
        """
        self.fin_wanted: bool = False
        """yes or no: the program ended sending (RFC 9293 section 3.10.4). Writers: connection."""
        self.is_fin_sent: bool = False
        """yes or no: our FIN was sent, and is the last before SND.NXT. Writers: sending/plan."""
        # Of receiving, and of acknowledging (RFC 9293 section 3.8.6.3):
        self.is_fin_received: bool = False
        """yes or no: the peer's FIN came, and all text before it (RFC 9293 section 3.10.7.4). Writers:
        receiving/receive.
        """
        self.is_read_shut: bool = False
        """yes or no: the program ended reading. Writers: connection."""
        self.is_urgent_new: bool = False
        """yes or no: the program was not told of the urgent byte yet. Writers: receiving/receive."""
        self.is_urgent_read: bool = False
        """yes or no: the program read the urgent byte (MSG_OOB). Writers: receiving/receive."""
        self.pushes_unread: u8 = 0
        """count: segments that end something of the peer's, since the last acknowledgment: 0, 1, or 2 for more (Linux's
        ICSK_ACK_PUSHED). Writers: receiving/acknowledging.
        """
        self.duplicate_acks_owed: u8 = 0
        """count: duplicate acknowledgments to send, one for each segment out of order (RFC 5681 section 4.2). Writers:
        receiving/acknowledging.
        """
        self.is_ack_due: bool = False
        """yes or no: an acknowledgment must go now. Writers: receiving/acknowledging."""
        self.is_ack_pending: bool = False
        """yes or no: an acknowledgment may wait until ``delack_ns``. Writers: receiving/acknowledging."""
        self.is_interactive: bool = False
        """yes or no: requests and answers alternate (Linux's pingpong): acknowledgments wait for text to carry them.
        Writers: receiving/acknowledging.
        """
        # What the handshake agreed on.
        self.ts_recent: i64 = 0
        """ticks: the peer's timestamp to echo (TS.Recent, RFC 7323 section 4.3). Writers: window/timestamps."""
        self.ts_recent_ns: i64 = 0
        """ns, time: when ``ts_recent`` was set. Writers: window/timestamps."""
        self.ts_offset = context.timestamp_offset(ends.key)
        """ticks: where our timestamp clock starts (RFC 7323 section 5.4). Writers: none."""
        self.fast_open: FastOpen | None = None
        """record: TCP Fast Open (RFC 7413), if the connection began, or may begin, with it. Writers: connection,
        listening/child.
        """
        # Sending: numbers (RFC 9293 section 3.3.1).
        self.iss: i64 = 0
        """seq: the initial sequence number (ISS). Writers: record/tcb."""
        self.snd_wnd: i64 = 0
        """bytes: the window that the peer offers (SND.WND). Writers: window/send_window."""
        self.snd_wl1: i64 = 0
        """seq: SEG.SEQ of the segment that last moved the window (SND.WL1). Writers: window/send_window."""
        self.snd_wl2: i64 = 0
        """seq: SEG.ACK of the segment that last moved the window (SND.WL2). Writers: window/send_window."""
        # Sending: sizes of segments.
        self.mtu_search: MtuSearch | None = None
        """record: a search for the path's MTU (RFC 4821), if one is on. Writers: recovery/mtu_search."""
        self.mss_base: i64 = DEFAULT_MSS_BYTES
        """bytes: largest text plus options of a segment: the peer's MSS or the path's, whichever is less (RFC 9293
        MUST-16). Writers: recovery/mtu_search.
        """
        self.gso_bytes: i32 = 0
        """bytes: the largest super-segment that the path's link takes. Writers: recovery/mtu_search."""
        self.max_snd_wnd: i32 = 0
        """bytes: the largest window that the peer ever offered (RFC 9293 section 3.8.6.2.1). Writers:
        window/send_window.
        """
        # Sending: what was written.
        self.unsent: SendQueue | None = None
        """record: what was written and not sent; ``None`` if there is none. Writers: sending/plan, sending/writing."""
        self.sent: list[SentSegment] | None = None
        """record: segments in flight, from ``sent_head`` on, in order; ``None`` if there are none. Writers:
        recovery/scoreboard.
        """
        self.sent_head: i64 = 0
        """count: places at the start of ``sent`` that are acknowledged. Writers: recovery/scoreboard."""
        self.send_buffer_bytes: i64 = options.send_buffer_bytes
        """bytes: size of the send buffer now; it grows unless the program fixed it. Writers: window/room."""
        self.traffic: Traffic | None = None
        """record: what is kept of text; ``None`` while none was sent or came. Writers: record/parts, recovery/cwnd."""
        self.last_sent_ns: i64 = 0
        """ns, time: when text was last sent. Writers: arriving/opening, connection."""
        self.transmission_count: i64 = 0
        """segments: with text, SYN or FIN, that were sent, repeats too. Writers: recovery/scoreboard."""
        # Receiving (RFC 9293 sections 3.3.1 and 3.8.6).
        self.irs: i64 = 0
        """seq: the peer's initial sequence number (IRS). Writers: receiving/receive."""
        self.rcv_nxt: i64 = 0
        """seq: the next number expected (RCV.NXT). Writers: receiving/receive."""
        self.rcv_wup: i64 = 0
        """seq: RCV.NXT as of the last acknowledgment sent. Writers: receiving/acknowledging."""
        self.rcv_adv: i64 = 0
        """seq: right edge of the window as the peer knows it, RCV.NXT + RCV.WND (RFC 9293 SHLD-14). Writers:
        receiving/receive.
        """
        self.copied_seq: i64 = 0
        """seq: the next byte that the program reads. Writers: receiving/receive."""
        self.received: ByteQueue | None = None
        """record: text in order that was not read; ``None`` if there is none. Writers: receiving/receive."""
        self.out_of_order: Reassembly | None = None
        """record: text from beyond a gap (RFC 9293 section 3.10.7.4); ``None`` if there is none. Writers:
        receiving/receive.
        """
        self.receive_buffer_bytes: i64 = options.receive_buffer_bytes
        """bytes: size of the receive buffer now; it grows unless the program fixed it. Writers: receiving/receive."""
        self.marks: Marks | None = None
        """record: places in the text; ``None`` if there is none of note. Writers: record/parts."""
        self.last_text_ns: i64 = 0
        """ns, time: when text last came. Writers: receiving/receive."""
        self.last_received_ns: i64 = 0
        """ns, time: when an acceptable segment last came. Writers: receiving/receive."""
        self.rcv_mss: i64 = DEFAULT_MSS_BYTES
        """bytes: what the peer's full segments seem to be (RFC 9293 section 3.8.6.2.2). Writers: receiving/receive."""
        # Round trip and retransmission (RFC 6298).
        self.rttvar_ns: i64 = 0
        """ns: mean deviation of the round trip (RTTVAR). Writers: window/rtt."""
        self.min_rtt_at_ns: i64 = 0
        """ns, time: when ``min_rtt_ns`` was measured. Writers: window/rtt."""
        self.later_minima: LaterMinima | None = None
        """record: the least round trips after ``min_rtt_ns``; ``None`` while none was longer. Writers: window/rtt."""
        self.rto_ns: i64 = context.config.tcp_rto_initial_ns
        """ns: the retransmission timeout without its back-off (RTO). Writers: window/rtt."""
        self.first_unanswered_ns: i64 = 0
        """ns, time: since when the peer acknowledges nothing new (RFC 9293 section 3.8.3). Writers: window/silence."""
        self.backoff: i32 = 0
        """count: how often the timeout is doubled (RFC 6298 rule 5.5). Writers: window/rtt."""
        self.retries: i32 = 0
        """count: timeouts in a row without an answer (RFC 9293 section 3.8.3). Writers: window/silence."""
        # Loss recovery.
        self.recover: i64 = 0
        """seq: SND.NXT when recovery began (RFC 6582, RecoveryPoint of RFC 6675). Writers: record/tcb,
        recovery/recovery.
        """
        self.reno_sacked_bytes: i64 = 0
        """bytes: without SACK: what duplicate acknowledgments say has arrived (RFC 6582's inflation, from the other
        end). Writers: recovery/delivered, recovery/scoreboard.
        """
        self.losses: Losses | None = None
        """record: what is known of losses; ``None`` while nothing went wrong. Writers: recovery/recovery,
        recovery/scoreboard.
        """
        self.troubles: Troubles | None = None
        """record: what has gone wrong so far; ``None`` if nothing. Writers: record/parts."""
        self.duplicate_acks: i32 = 0
        """count: duplicate acknowledgments in a row (RFC 5681 section 2). Writers: recovery/recovery."""
        self.lost_count: i32 = 0
        """segments: taken to be lost, and waiting to be sent again (RFC 6675, RFC 8985). Writers: recovery/scoreboard.
        """
        self.reordering: i32 = i32(context.config.tcp_reordering)
        """segments: how far the path has been seen to bring them out of order, from ``tcp_reordering`` up (RFC 8985
        section 6.2). Writers: recovery/scoreboard.
        """
        self.ca_state: u8 = CA_OPEN
        """number: where loss recovery stands, ``CA_OPEN`` to ``CA_LOSS`` (RFC 5681, RFC 6675). Writers:
        recovery/recovery, recovery/undo.
        """
        self.is_fast_retransmit_due: bool = False
        """yes or no: the next lost segment goes whatever the window (RFC 5681 section 3.2 step 3). Writers:
        recovery/scoreboard.
        """
        # What must be sent now beside it (RFC 9293 sections 3.6, 3.8.4 and 3.8.6.1).
        self.is_probe_due: bool = False
        """yes or no: a keepalive or window probe must go now. Writers: window/silence."""
        self.is_reset_due: bool = False
        """yes or no: a reset must go now. Writers: arriving/transitions, sending/output."""
        # What else TCP_INFO counts (RFC 4898).
        self.segs_in: i64 = 0
        """segments: received, of any kind. Writers: connection."""
        self.segs_out: i64 = 0
        """segments: sent, of any kind. Writers: connection."""
        self.data_segs_in: i64 = 0
        """segments: received with text. Writers: connection."""
        self.data_segs_out: i64 = 0
        """segments: sent with text. Writers: connection."""
        self.tune_space_bytes: i32 = 0
        """bytes: the most that was read in a round trip. Writers: receiving/rightsizing."""
        self.probes_out: i32 = 0
        """count: keepalive or window probes without an answer. Writers: window/silence."""
        # Ending (RFC 9293 section 3.6), and what is told of it.
        self.error: i32 = 0
        """number: the errno that the program finds (SO_ERROR), 0 for none. Writers: arriving/transitions, connection.
        """
        self.soft_error: i32 = 0
        """number: the errno of an error that ends nothing, but is the reason if the connection times out (RFC 9293
        section 3.9.2.2). Writers: window/silence.
        """
        self.why: str = ""
        """text: the rule that sent the last segment, for the observer. Writers: sending/output, sending/plan."""

    # --- how a connection starts

    def number_from(self, iss: i64) -> None:
        """Let all that is sent be numbered from ``iss`` on: nothing is sent yet (RFC 9293 section 3.4.1)."""
        self.iss = iss
        self.snd_una = iss
        self.snd_nxt = iss
        self.recover = iss

    def count_syn_ack(self, *, is_answered: bool) -> None:
        """A listener sent our SYN: it has its number. ``is_answered``: the scoreboard need not wait for its answer."""
        self.snd_nxt = self.iss + 1
        if is_answered:
            self.snd_una = self.snd_nxt
            self.recover = self.snd_nxt

    def reflect_label(self, label: i64) -> None:
        """Send all with the label that the peer's SYN had (``flowlabel_reflect``)."""
        self.flow_label = i32(label)

    def use_congestion(self, control: CongestionControl) -> None:
        """Let another congestion control decide from now on; it starts when it is first needed."""
        self.options = self.options.with_congestion(control)
        self.congestion = control
        self.has_own_congestion = False
        self.pacing_rate = 0

    def control(self, now_ns: i64) -> CongestionControl:
        """Return the connection's own congestion control, made and started now if there was none."""
        if not self.has_own_congestion:
            self.has_own_congestion = True
            self.congestion = self.congestion.for_flow()
            self.is_sampled = self.congestion.wants_samples()
            if self.is_sampled and self.rate is None:
                self.measure_rate(now_ns)
            self.congestion.start(self, now_ns)
        return self.congestion

    def measure_rate(self, now_ns: i64) -> RateSample:
        """Measure the delivery rate from now on, as something is sent; what was told of it before stays."""
        rate = RateSample(now_ns)
        traffic = self.traffic
        if traffic is not None:
            rate.reported_rate = traffic.reported_rate
            rate.is_reported_limited = traffic.is_reported_limited
        self.rate = rate
        return rate

    def rest_rate(self) -> None:
        """Nothing is in flight: keep of the delivery rate what is told, unless congestion control needs all of it."""
        rate = self.rate
        traffic = self.traffic
        if rate is not None and traffic is not None and not self.is_sampled:
            traffic.is_rated = True
            traffic.reported_rate = rate.reported_rate
            traffic.is_reported_limited = rate.is_reported_limited
            self.rate = None

    # --- what parts tell, if there are any

    def is_rate_resting(self) -> bool:
        """Tell whether the delivery rate is to be measured again when something is sent."""
        return self.rate is None and self.traffic is not None and self.traffic.is_rated

    def reported_rate(self) -> i64:
        """Return the delivery rate in bytes a second, as ``TCP_INFO`` tells it."""
        rate = self.rate
        if rate is not None:
            return rate.reported_rate
        if self.traffic is None:
            return 0
        return self.traffic.reported_rate

    def is_reported_limited(self) -> bool:
        """Tell whether the program limited the delivery rate that is told."""
        rate = self.rate
        if rate is not None:
            return rate.is_reported_limited
        return self.traffic is None or self.traffic.is_reported_limited

    @property
    def snd_up(self) -> i64:
        """SND.UP: the number after our urgent byte, until it is acknowledged."""
        marks = self.marks
        if marks is None:
            return NO_SEQ
        return marks.snd_up

    @property
    def fin_seq(self) -> i64:
        """Where our FIN stands, once sent."""
        if self.is_fin_sent:
            return self.snd_nxt - 1
        return NO_SEQ

    @property
    def peer_fin_seq(self) -> i64:
        """Where the peer's FIN stands, once it came, in order or not."""
        if self.is_fin_received:
            return self.rcv_nxt - 1
        marks = self.marks
        if marks is None:
            return NO_SEQ
        return marks.peer_fin_seq

    @property
    def dsack_left(self) -> i64:
        """The left edge of text that came twice, to be reported."""
        marks = self.marks
        if marks is None:
            return NO_SEQ
        return marks.dsack_left

    @property
    def urgent_seq(self) -> i64:
        """The place of the peer's urgent byte."""
        marks = self.marks
        if marks is None:
            return NO_SEQ
        return marks.urgent_seq

    @property
    def has_urgent_byte(self) -> bool:
        """The segment with the peer's urgent byte came, and the byte was not read past."""
        marks = self.marks
        return marks is not None and marks.has_urgent_byte

    @property
    def shut_since_ns(self) -> i64:
        """Since when text waits for the peer's window and probes go; 0: it does not."""
        troubles = self.troubles
        if troubles is None:
            return 0
        return troubles.shut_since_ns

    @property
    def error_text(self) -> str:
        """What happened, for the message of ``error``."""
        troubles = self.troubles
        return "" if troubles is None else troubles.error_text

    # --- small questions that several rooms ask

    def name(self) -> str:
        """Write the four-tuple as facts do."""
        return flow_text(self.local, i64(self.local_port), self.remote, i64(self.remote_port))

    def describe(self) -> str:
        """Write the four-tuple and the state, for error texts."""
        return f"{self.name()} in {state_text(i64(self.state))}"

    def is_fast_child(self) -> bool:
        """Tell whether the connection is in use before its handshake is done (Fast Open, at the server)."""
        return self.state == abi.SYN_RECEIVED and self.fast_open is not None and self.fast_open.is_child

    def is_paced(self) -> bool:
        """Tell whether text keeps to the pace."""
        return self.pacing_rate > 0 or self.options.max_pacing_rate < NEVER or self.context.config.tcp_pacing

    def pace(self) -> i64:
        """Return the pace in bytes a second: congestion control's own, else a multiple of window and round trip.

        ``tcp_pacing_ss_ratio`` percent of it up to half of ssthresh, ``tcp_pacing_ca_ratio`` percent above; never more
        than SO_MAX_PACING_RATE.
        """
        rate = self.pacing_rate
        if rate == 0:
            config = self.context.config
            ratio = config.tcp_pacing_ca_ratio
            if self.cwnd_bytes < self.ssthresh_bytes // 2:
                ratio = config.tcp_pacing_ss_ratio
            window = max(self.cwnd_bytes, self.snd_nxt - self.snd_una)
            rate = window * (SECOND // 100) // max(self.srtt_ns, 1) * ratio
            if self.srtt_ns == 0:
                rate = NEVER
        return min(rate, self.options.max_pacing_rate)

    def write_end(self) -> i64:
        """Return the number that the next byte written will have."""
        return self.snd_nxt + self.unsent_bytes()

    def notsent_bytes(self) -> i64:
        """Count the bytes written of which nothing was decided yet."""
        unsent = self.unsent
        if unsent is None:
            return 0
        return unsent.size - unsent.planned

    def unsent_bytes(self) -> i64:
        """Count the bytes written and never sent."""
        unsent = self.unsent
        if unsent is None:
            return 0
        return unsent.size

    def in_flight_count(self) -> i64:
        """Count the segments sent and not acknowledged."""
        sent = self.sent
        if sent is None:
            return 0
        return len(sent) - self.sent_head

    def unread_bytes(self) -> i64:
        """Count the bytes received in order and not read."""
        received = self.received
        if received is None:
            return 0
        return received.size

    def outq_bytes(self) -> i64:
        """Count the bytes written and not acknowledged (SIOCOUTQ); SYN and FIN don't count."""
        count: i64 = self.snd_nxt - self.snd_una + self.unsent_bytes()
        if self.fin_seq != NO_SEQ and self.snd_una <= self.fin_seq:
            count -= 1
        if self.snd_una == self.iss and self.snd_nxt > self.iss:
            count -= 1
        return count

    def largest_window(self) -> i64:
        """Return the largest window to offer: half the receive buffer, or TCP_WINDOW_CLAMP if that is less."""
        full = self.receive_buffer_bytes // 2
        return full if self.options.window_clamp_bytes == 0 else min(full, self.options.window_clamp_bytes)

    def snd_mss(self) -> i64:
        """Return the most text a full segment carries now, options taken off (RFC 9293 MUST-16)."""
        mss = self.mss_base
        if self.has_timestamps:
            mss -= 12
        ecn = self.ecn
        return mss if ecn is None else mss - ecn.option_bytes

    def full_segment_bytes(self) -> i64:
        """Return the sender's maximum segment size, for congestion control."""
        return self.snd_mss()

    def flight_bytes(self) -> i64:
        """Return RFC 5681's FlightSize."""
        return self.snd_nxt - self.snd_una
