"""Connections and their ends, as facts report them: which there are, what their TCBs say, what holds each up."""

from __future__ import annotations

from estab.events import Tcb
from estab.report.held import End, held_by
from estab.report.tables import Conn, Tables, Way

__all__ = ["Ends"]


class Ends(Tables):
    """Tables with the ends of connections beside them."""

    def __init__(self, *, has_payload: bool = False) -> None:
        super().__init__(has_payload=has_payload)
        self.ends: list[End] = []
        self.cut_ways: set[int] = set()
        self._way_at: dict[tuple[str, str], int] = {}

    def end(self, host: str, connection: str, at_ns: int) -> End | None:
        """Find a connection's end on a host, or add it; nothing for a listener or no connection."""
        near, _, far = connection.partition(">")
        if not near or not far or far == "*":
            return None
        conn, side = self.find(near, far) or self.open(near, far, -1, at_ns)
        if conn.hosts[side] < 0 and host:
            conn.hosts[side] = self.host(host)
        conn.until_ns = max(conn.until_ns, at_ns)
        return self.ends[2 * conn.number + side]

    def open(self, near: str, far: str, host: int, at_ns: int) -> tuple[Conn, int]:
        """Add a connection that ``near`` opens, or was seen of first."""
        found = super().open(near, far, host, at_ns)
        first, second = End(2 * found[0].number), End(2 * found[0].number + 1)
        first.peer, second.peer = second, first
        self.ends += [first, second]
        return found

    def opened(self, host: str, connection: str, at_ns: int) -> None:
        """Note a SYN without ACK: it opens another connection if the one of these ends is over."""
        near, _, far = connection.partition(">")
        found = self.find(near, far)
        if found is None or found[0].is_over:
            self.open(near, far, self.host(host), at_ns)

    def over(self, connection: str) -> None:
        """Note that a connection is over: the next SYN between its ends opens another."""
        near, _, far = connection.partition(">")
        found = self.find(near, far)
        if found is not None:
            found[0].is_over = True

    def way(self, host: str, interface: str) -> int:
        """Return the number of the way that leaves a host by an interface."""
        number = self._way_at.get((host, interface))
        if number is None:
            number = self._way_at[host, interface] = len(self.ways)
            self.ways.append(Way("", self.host(host), interface=interface))
        return number

    def follow(self, end: End, tcb: Tcb, at_ns: int) -> None:
        """Write what changed in a TCB."""
        end.tcb = tcb
        flow = (tcb.snd_una, tcb.snd_nxt, tcb.snd_wnd, tcb.pipe_bytes)
        if flow != end.flow:
            end.flow = flow
            self.put("flow", at_ns, end.number, *flow)
        cc = (
            tcb.cwnd_bytes, -1 if tcb.ssthresh_bytes is None else tcb.ssthresh_bytes, tcb.srtt_ns or -1, tcb.rttvar_ns,
            tcb.rto_ns, tcb.pacing_rate, -1 if tcb.is_app_limited else tcb.delivery_rate, self.word("ca", tcb.ca_state),
            tcb.retries, self.word("timer", tcb.timer), tcb.timer_due_ns,
        )
        if cc != end.cc:
            end.cc = cc
            self.put("cc", at_ns, end.number, *cc[:-1], tcb.timer_due_ns - at_ns if tcb.timer else -1)
        buffer = (
            tcb.send_buffer_bytes, tcb.unsent_bytes, tcb.send_buffer_limit, tcb.receive_buffer_bytes,
            tcb.out_of_order_bytes, tcb.receive_buffer_limit, tcb.rcv_wnd,
        )
        if buffer != end.buffer:
            end.buffer = buffer
            self.put("buffer", at_ns, end.number, *buffer)
        self.judge(end, at_ns)
        if end.peer is not None and end.peer.tcb is not None:
            self.judge(end.peer, at_ns)

    def judge(self, end: End, at_ns: int) -> None:
        """Write what holds an end up, if that changed."""
        is_cut = not self.cut_ways.isdisjoint(self.conns[end.conn].ways)
        if is_cut and end.tcb is not None and end.tcb.snd_nxt > end.tcb.snd_una:
            end.is_unheard = True
        kind = held_by(end, is_cut)
        if kind == end.held:
            return
        held = self.columns["held"]
        if not (held["t"] and held["t"][-1] == at_ns and held["end"][-1] == end.number):
            end.held_before = end.held
            self.add("held", at_ns, end.number, kind)
        elif kind == end.held_before:
            for cell in held.values():
                cell.pop()
        else:
            held["kind"][-1] = kind
        end.held = kind

    def judge_all(self, at_ns: int) -> None:
        """Look at every connection again, after a link changed."""
        for end in self.ends:
            if end.tcb is not None:
                self.judge(end, at_ns)
