"""The transmission control block: everything TCP knows of one connection (RFC 9293 section 3.3.1).

Sequence numbers here are unwrapped: endless integers whose low 32 bits are on the wire. Invariants:

- ``snd_una <= snd_nxt``; ``sent`` from ``sent_head`` on holds exactly the segments between them, without gaps;
- ``write_end`` is where the next written byte will stand: ``snd_nxt + unsent`` until the FIN is sent;
- ``copied_seq`` to ``rcv_nxt`` is what waits to be read; ``rcv_nxt`` to ``rcv_adv`` is the window the peer was given,
  and ``rcv_adv`` never moves left (RFC 9293 SHLD-14).

Only data lives here. What changes it is in ``arrives``, ``output``, ``scoreboard``, ``recovery``, ``receive`` and
``connection``. Queues are made when first needed and given back when empty: an idle connection holds none.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab import abi
from estab.tcp.context import Context, Owner, flow_text
from estab.tcp.fastopen import FastOpen
from estab.tcp.record.buffers import ByteQueue
from estab.tcp.record.control import CongestionControl, Flow
from estab.tcp.record.ecn_state import Ecn
from estab.tcp.record.inflight import Losses, MtuSearch, SentSegment
from estab.tcp.record.reassembly import Reassembly
from estab.tcp.record.sample import RateSample
from estab.tcp.record.sendqueue import SendQueue
from estab.tcp.state import state_text
from estab.units import NEVER, SECOND

__all__ = [
    "CA_CWR", "CA_DISORDER", "CA_LOSS", "CA_OPEN", "CA_RECOVERY", "NO_SEQ", "TIMER_PROBE", "TIMER_REORDER",
    "TIMER_RTO", "TIMER_SYN_ACK", "SentSegment", "Tcb",
]

NO_SEQ: Final = -1
"""A sequence number that isn't there."""

# Linux's names for where loss recovery stands (tcp_info.tcpi_ca_state).
CA_OPEN: Final = 0
CA_DISORDER: Final = 1
CA_CWR: Final = 2
CA_RECOVERY: Final = 3
CA_LOSS: Final = 4


# What ``retransmit_ns`` is for: one timer serves three ends (RFC 8985 section 6.3).
TIMER_RTO: Final = 0
TIMER_PROBE: Final = 1
TIMER_REORDER: Final = 2
TIMER_SYN_ACK: Final = 3
"""A connection with Fast Open waits for the acknowledgment of its SYN-ACK."""


class Tcb(Flow):
    """One connection's state. Names are RFC 9293's, lowered; units last."""

    def __init__(
        self, context: Context, key: bytes, local: bytes, local_port: i64, remote: bytes, remote_port: i64,
        congestion: CongestionControl,
    ) -> None:
        super().__init__(key)
        config = context.config
        self.context = context
        self.congestion = congestion
        """Its own where ``has_own_congestion``, else the host's, to be asked for one when it is first needed."""
        self.has_own_congestion: bool = False
        self.owner: Owner | None = None
        self.local = context.one_copy(local)
        self.local_port = local_port
        self.remote = context.one_copy(remote)
        self.remote_port = remote_port
        self.state: i64 = abi.CLOSED
        self.is_passive: bool = False
        self.is_first_ack_delayed: bool = False
        """TCP_DEFER_ACCEPT on the side that connects: the third segment waits for text to ride on."""
        self.is_dirty: bool = False
        """On the list of connections that may have something to send."""
        self.is_orphan: bool = False
        """Closed by its program; finishes on its own."""
        self.is_orphan_counted: bool = False
        """Counted among the orphans, of which there may be ``tcp_max_orphans``."""
        self.is_counted: bool = False
        """Counted in CurrEstab."""
        # Sending.
        self.iss: i64 = 0
        self.snd_wnd: i64 = 0
        self.snd_wl1: i64 = 0
        self.snd_wl2: i64 = 0
        self.max_snd_wnd: i64 = 0
        self.snd_up: i64 = NO_SEQ
        self.snd_sml: i64 = 0
        """End of the last small segment sent (Minshall's variant of Nagle's rule)."""
        self.snd_wscale: i64 = 0
        self.mss_base: i64 = 536
        """Largest text plus options of a segment: the peer's MSS or the path's, whichever is less."""
        self.peer_mss: i64 = 536
        self.user_mss: i64 = 0
        self.gso_bytes: i64 = 0
        self.ecn: Ecn | None = None
        """Explicit congestion notification: what was asked for or agreed on, ``None`` without."""
        self.ecn_option_bytes: i64 = 0
        """What every segment keeps free for AccECN's option."""
        self.mtu_search: MtuSearch | None = None
        """A search for the path's MTU (RFC 4821), where one is on."""
        self.unsent: SendQueue | None = None
        self.pushed_seq: i64 = 0
        """End of the last text that was written with PSH."""
        self.is_corked: bool = False
        """TCP_CORK: no partial segments."""
        self.is_more_coming: bool = False
        """MSG_MORE was said of the last write: its partial segment waits for the next, or for an acknowledgment."""
        self.is_push_forced: bool = False
        """What waits in the last piece may go whatever Nagle's rule and TCP_CORK say (TCP_NODELAY was just set)."""
        self.is_out_of_room: bool = False
        """A program found no room in the send buffer; it is told when there is some (Linux's SOCK_NOSPACE)."""
        self.notsent_lowat_bytes: i64 = 0
        """TCP_NOTSENT_LOWAT; 0 is the stack's."""
        self.sent: list[SentSegment] | None = None
        self.sent_head: i64 = 0
        self.send_buffer_bytes: i64 = config.tcp_wmem[1]
        self.is_send_buffer_fixed: bool = False
        self.fin_wanted: bool = False
        self.fin_seq: i64 = NO_SEQ
        """Where our FIN stands, once sent."""
        # Receiving.
        self.irs: i64 = 0
        self.rcv_nxt: i64 = 0
        self.rcv_wup: i64 = 0
        """RCV.NXT as of the last acknowledgment sent."""
        self.rcv_adv: i64 = 0
        """Right edge of the window as the peer knows it."""
        self.rcv_wscale: i64 = 0
        self.copied_seq: i64 = 0
        self.received: ByteQueue | None = None
        self.out_of_order: Reassembly | None = None
        self.receive_buffer_bytes: i64 = config.tcp_rmem[1]
        self.is_receive_buffer_fixed: bool = False
        self.rcv_mss: i64 = 536
        self.peer_fin_seq: i64 = NO_SEQ
        self.is_fin_received: bool = False
        self.is_read_shut: bool = False
        self.urgent_seq: i64 = NO_SEQ
        """Place of the peer's urgent byte, until it is read past."""
        self.is_urgent_new: bool = False
        self.is_urgent_read: bool = False
        # Receive-window tuning: bytes copied in the last round trip.
        self.tune_seq: i64 = 0
        self.tune_ns: i64 = 0
        self.tune_space_bytes: i64 = 0
        self.rcv_rtt_ns: i64 = 0
        """The round trip as a receiver sees it: by echoed timestamps, or by how long a window takes to arrive."""
        self.rcv_rtt_seq: i64 = 0
        self.rcv_rtt_since_ns: i64 = 0
        self.rcv_rtt_echo: i64 = -1
        # Acknowledging.
        self.is_ack_due: bool = False
        """An acknowledgment must go now."""
        self.is_ack_pending: bool = False
        """An acknowledgment may wait until ``delack_ns``."""
        self.duplicate_acks_owed: i64 = 0
        self.quick_acks: i64 = 0
        self.is_interactive: bool = False
        """Requests and answers alternate (Linux's pingpong): hope to put ACKs on data."""
        self.last_text_ns: i64 = 0
        self.last_sent_ns: i64 = 0
        """When text was last sent."""
        self.last_challenge_ns: i64 = -NEVER
        self.dsack_left: i64 = NO_SEQ
        self.dsack_right: i64 = NO_SEQ
        # Options agreed.
        self.has_timestamps: bool = False
        self.has_sack: bool = False
        self.has_wscale: bool = False
        self.ts_recent: i64 = 0
        self.ts_recent_ns: i64 = 0
        self.ts_offset: i64 = 0
        self.fast_open: FastOpen | None = None
        """Where the connection began, or may begin, with TCP Fast Open."""
        # Round trip and retransmission (RFC 6298).
        self.rttvar_ns: i64 = 0
        self.min_rtt_at_ns: i64 = 0
        """When ``min_rtt_ns`` was measured; after it, the least of later times, for when that is too old."""
        self.second_rtt_ns: i64 = 0
        self.second_rtt_at_ns: i64 = 0
        self.third_rtt_ns: i64 = 0
        self.third_rtt_at_ns: i64 = 0
        self.rto_ns: i64 = config.tcp_rto_initial_ns
        self.backoff: i64 = 0
        self.retries: i64 = 0
        self.timeouts: i64 = 0
        """All retransmission timeouts of the connection (``tcpi_total_rto``)."""
        self.first_unanswered_ns: i64 = 0
        # Loss recovery.
        self.ca_state: i64 = CA_OPEN
        self.recover: i64 = 0
        self.duplicate_acks: i64 = 0
        self.reno_sacked_bytes: i64 = 0
        """Without SACK: what duplicate acknowledgments say has arrived (RFC 6582's inflation, from the other end)."""
        self.is_fast_retransmit_due: bool = False
        self.lost_count: i64 = 0
        """Segments taken to be lost that wait to be sent again."""
        # Whether the congestion window is used (``windows``).
        self.usage_seq: i64 = 0
        """SND.NXT when ``max_out_bytes`` and ``is_cwnd_limited`` were noted; they hold until it is acknowledged."""
        self.used_bytes: i64 = 0
        self.used_ns: i64 = 0
        """When the window was last used up, and the most that was in flight since."""
        self.has_sent_text: bool = False
        self.is_round_limited: bool = False
        """Since the host was last drained: text was sent; the congestion window held some back."""
        self.losses: Losses | None = None
        """What is known of losses; ``None`` while nothing went wrong."""
        self.transmission_count: i64 = 0
        """Segments with text, SYN or FIN that were sent, repeats too."""
        self.bytes_retransmitted: i64 = 0
        self.segments_retransmitted: i64 = 0
        self.reordering: i64 = config.tcp_reordering
        """How many segments the path has been seen to bring out of order, from ``tcp_reordering`` up."""
        # What else TCP_INFO counts.
        self.segs_in: i64 = 0
        self.segs_out: i64 = 0
        self.data_segs_in: i64 = 0
        self.data_segs_out: i64 = 0
        self.dsack_dups: i64 = 0
        self.reord_seen: i64 = 0
        self.rcv_ooopack: i64 = 0
        self.rto_recoveries: i64 = 0
        self.rto_since_ns: i64 = 0
        """When the retransmission timer first ran out since the peer last acknowledged something; 0: it did not."""
        self.rto_time_ns: i64 = 0
        self.chrono: i64 = 0
        """What the time since ``chrono_ns`` is spent on (``chrono``), and what was spent before."""
        self.chrono_ns: i64 = 0
        self.busy_ns: i64 = 0
        self.peer_window_ns: i64 = 0
        self.send_buffer_ns: i64 = 0
        # Timers, each a time or NEVER.
        self.retransmit_ns: i64 = NEVER
        self.timer_kind: i64 = TIMER_RTO
        self.persist_ns: i64 = NEVER
        self.delack_ns: i64 = NEVER
        self.keepalive_ns: i64 = NEVER
        self.linger_ns: i64 = NEVER
        """End of FIN-WAIT-2 for a connection without a program."""
        self.pace_ns: i64 = 0
        """When the next text may leave, at ``pacing_rate``."""
        self.max_pacing_rate: i64 = NEVER
        """SO_MAX_PACING_RATE in bytes a second."""
        # Probing a silent or shut peer.
        self.probes_out: i64 = 0
        self.is_probe_due: bool = False
        self.last_received_ns: i64 = 0
        # Options set by the program.
        self.nodelay: bool = False
        self.keepalive: bool = False
        self.keep_idle_ns: i64 = config.tcp_keepalive_time_ns
        self.keep_interval_ns: i64 = config.tcp_keepalive_intvl_ns
        self.keep_count: i64 = config.tcp_keepalive_probes
        self.user_timeout_ns: i64 = 0
        self.syn_retries: i64 = config.tcp_syn_retries
        self.fin_timeout_ns: i64 = config.tcp_fin_timeout_ns
        """How long FIN-WAIT-2 lasts without a program (TCP_LINGER2)."""
        self.is_oob_inline: bool = False
        self.tos: i64 = 0
        self.pmtu_discover: i64 = abi.IP_PMTUDISC_WANT
        """What becomes of packets that the path may not carry whole (IP_MTU_DISCOVER)."""
        self.ttl: i64 = config.ip_default_ttl
        # Ending.
        self.error: i64 = 0
        self.error_text: str = ""
        self.soft_error: i64 = 0
        self.is_reset_due: bool = False
        self.why: str = ""
        """The rule that sent the last segment, for the observer."""
        self.ip_ident: i64 = 0

    def control(self, now_ns: i64) -> CongestionControl:
        """Give the connection's own congestion control, made and started now if there was none."""
        if not self.has_own_congestion:
            self.has_own_congestion = True
            self.congestion = self.congestion.for_flow()
            self.sample = None
            if self.congestion.wants_samples():
                if self.rate is None:
                    self.rate = RateSample(now_ns)
                self.sample = self.rate
            self.congestion.start(self, now_ns)
        return self.congestion

    # --- small questions that several rooms ask

    def name(self) -> str:
        """Write the four-tuple as facts do."""
        return flow_text(self.local, self.local_port, self.remote, self.remote_port)

    def describe(self) -> str:
        """Write the four-tuple and the state, for error texts."""
        return f"{self.name()} in {state_text(self.state)}"

    def is_fast_child(self) -> bool:
        """Tell whether the connection is in use before its handshake is done (Fast Open, at the server)."""
        return self.state == abi.SYN_RECEIVED and self.fast_open is not None and self.fast_open.is_child

    def is_paced(self) -> bool:
        """Tell whether text keeps to the pace."""
        return self.pacing_rate > 0 or self.max_pacing_rate < NEVER or self.context.config.tcp_pacing

    def pace(self) -> i64:
        """Give the pace in bytes a second: congestion control's own, else a multiple of window and round trip.

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
        return min(rate, self.max_pacing_rate)

    def write_end(self) -> i64:
        """Give the number that the next byte written will have."""
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

    def snd_mss(self) -> i64:
        """Give the most text a full segment carries now, options taken off (RFC 9293 MUST-16)."""
        if self.has_timestamps:
            return self.mss_base - 12 - self.ecn_option_bytes
        return self.mss_base - self.ecn_option_bytes

    def full_segment_bytes(self) -> i64:
        """Give the sender's maximum segment size, for congestion control."""
        return self.snd_mss()

    def flight_bytes(self) -> i64:
        """Give RFC 5681's FlightSize."""
        return self.snd_nxt - self.snd_una
