"""TIME-WAIT: what is left of a connection for 2·MSL after both FINs (RFC 9293 section 3.6.1). MUST-13.

It exists for two reasons: the last ACK can be lost, and then the peer sends its FIN again and must get an answer; and
old segments of this connection must not be taken for a new one's on the same ports. A record holds only what these
need.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab import abi
from estab.errors import DropReason
from estab.tcp.arriving import transitions
from estab.tcp.context import Context, flow_text
from estab.tcp.record.tcb import Tcb
from estab.tcp.record.timers import Endpoint
from estab.tcp.window.timestamps import clock, is_older
from estab.wire.seq import unwrap, wrap
from estab.wire.tcp import ACK, FIN, RST, SYN, Segment, segment_length

__all__ = ["KEPT", "KILLED", "REUSED", "TimeWait"]

KEPT: Final = 0
KILLED: Final = 1
REUSED: Final = 2


class TimeWait(Endpoint):
    """The record of one connection in TIME-WAIT, far smaller than a TCB."""

    def __init__(self, tcb: Tcb) -> None:
        super().__init__(tcb.key)
        self.local = tcb.local
        self.local_port = i64(tcb.local_port)
        self.remote = tcb.remote
        self.remote_port = i64(tcb.remote_port)
        self.iss = tcb.iss
        self.irs = tcb.irs
        self.snd_nxt = tcb.snd_nxt
        self.rcv_nxt = tcb.rcv_nxt
        self.rcv_wnd = (tcb.rcv_adv - tcb.rcv_nxt) >> i64(tcb.rcv_wscale) if tcb.rcv_adv > tcb.rcv_nxt else 0
        self.rcv_wscale = i64(tcb.rcv_wscale)
        self.snd_wscale = i64(tcb.snd_wscale)
        self.ts_recent = tcb.ts_recent
        self.ts_recent_ns = tcb.ts_recent_ns
        self.ts_offset = tcb.ts_offset
        self.has_timestamps = tcb.has_timestamps
        self.started_ns = tcb.context.now_ns
        self.expires_ns = self.started_ns + tcb.context.config.tcp_timewait_ns
        self.last_ack_ns: i64 = -1
        self.tos = tcb.options.tos
        self.ttl = tcb.options.ttl
        self.flow_label = i64(tcb.flow_label)
        self.tcb: Tcb | None = tcb if tcb.owner is not None else None
        """The connection, while its program still holds the socket."""

    def name(self) -> str:
        """Write the four-tuple as facts do."""
        return flow_text(self.local, self.local_port, self.remote, self.remote_port)

    def rcv_window(self) -> i64:
        """Return the window that the connection left open, in bytes."""
        return self.rcv_wnd << self.rcv_wscale

    def on_segment(self, context: Context, segment: Segment, has_listener: bool, now_ns: i64) -> i64:
        """Take a segment. ``REUSED``: a SYN that may open a new connection with a listener; ``KILLED``: end this
        record now.

        RFC 9293 section 3.10.7.4 for TIME-WAIT; RFC 6191 for early reuse; RFC 1337 against assassination.
        """
        flags = segment.flags
        seq = unwrap(segment.seq, self.rcv_nxt)
        is_old = False
        if self.has_timestamps and segment.has_timestamps:
            is_old = is_older(segment.ts_val, self.ts_recent)
        is_syn = (flags & (SYN | RST | ACK)) == SYN
        if is_syn and has_listener and not is_old and self._may_reuse(seq, segment):
            return REUSED
        if (flags & RST) != 0:
            if not is_old and seq == self.rcv_nxt and not context.config.tcp_rfc1337:
                return KILLED
            context.drop(DropReason.TCP_TIMEWAIT, self.name(), "reset ignored in TIME-WAIT (RFC 1337)")
            return KEPT
        length = segment_length(segment)
        is_acceptable = seq + length > self.rcv_nxt and seq <= self.rcv_nxt + self.rcv_window()
        is_dropped = ((flags & SYN) == 0 and is_acceptable) or context.config.tcp_timewait_needs_ack
        if (flags & ACK) == 0 and is_dropped:
            context.drop(DropReason.TCP_NO_ACK, self.name(), "")  # RFC 9293 section 3.10.7.4, fifth
            return KEPT
        is_fin_again = (flags & FIN) != 0 and seq + length == self.rcv_nxt
        if is_fin_again and not is_old:
            # The peer did not see our last ACK. It gets another, and 2·MSL begin again.
            self.expires_ns = now_ns + context.config.tcp_timewait_ns
        if length == 0 and seq == self.rcv_nxt and not is_old and (flags & SYN) == 0:
            if segment.has_timestamps:
                self.ts_recent = segment.ts_val
            return KEPT  # a late acknowledgment: nothing to say
        if not is_fin_again:
            context.drop(DropReason.TCP_TIMEWAIT, self.name(), f"{length} octets")
        self._acknowledge(context, now_ns, is_fin_again)
        return KEPT

    def _may_reuse(self, seq: i64, segment: Segment) -> bool:
        """Tell whether a SYN can't be confused with this connection (RFC 6191 section 2; RFC 9293 MAY-2, SHLD-4)."""
        if self.has_timestamps and segment.has_timestamps and segment.ts_val != self.ts_recent:
            return True
        return seq > self.rcv_nxt

    def _acknowledge(self, context: Context, now_ns: i64, is_fin_again: bool) -> None:
        interval = context.config.tcp_invalid_ratelimit_ns
        if not is_fin_again and self.last_ack_ns >= 0 and now_ns - self.last_ack_ns < interval:
            context.counters.TcpExtTCPACKSkippedTimeWait += 1
            return
        self.last_ack_ns = now_ns
        answer = Segment(self.local_port, self.remote_port, wrap(self.snd_nxt), wrap(self.rcv_nxt), ACK, self.rcv_wnd)
        answer.tos = self.tos
        answer.flow_label = self.flow_label
        if self.has_timestamps:
            answer.has_timestamps = True
            answer.ts_val = clock(now_ns, self.ts_offset)
            answer.ts_ecr = self.ts_recent
        context.reply(
            answer, self.local, self.remote, "acknowledgment from TIME-WAIT",
            self.snd_nxt - self.iss, self.rcv_nxt - self.irs, self.ttl, self.rcv_wscale,
        )

    def new_iss(self) -> i64:
        """Return an initial sequence number safely above all that the old connection sent (as Linux: 65535 + 2
        above).
        """
        return (self.snd_nxt + 65537) & 0xFFFFFFFF

    def end(self, why: str) -> None:
        """Tell the connection, if a program still holds it, that TIME-WAIT is over."""
        tcb = self.tcb
        if tcb is not None and tcb.state == abi.TIME_WAIT:
            transitions.finish(tcb, why)
        self.tcb = None
