"""The connections made from a listener: they get its options, and a TCB in the state that the handshake has reached."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab import abi
from estab.events import TcbCreated
from estab.tcp.arriving import fastopen_server
from estab.tcp.arriving.opening import agree_options, begin_transfer
from estab.tcp.arriving.transitions import begin_in_syn_received
from estab.tcp.connection import Connection
from estab.tcp.context import REFLECT_CONNECTIONS, Context
from estab.tcp.ecn import classic as ecn
from estab.tcp.receiving import acknowledging, receive
from estab.tcp.receiving.receive import first_window
from estab.tcp.record.fast_open import FastOpen, FastOpenQueue, PendingSynAck
from estab.tcp.record.four_tuple import FourTuple
from estab.tcp.record.options import Options
from estab.tcp.state import state_text
from estab.tcp.window import send_window
from estab.wire.seq import unwrap
from estab.wire.tcp import Segment

__all__ = ["keep_text", "make_child", "make_fast_child", "take_kept_text"]

_SYN_TEXT_MAX: Final = 1460


def keep_text(syn: Segment) -> None:
    """Keep the text of a SYN for the connection, and no more of the packet that it came in.

    RFC 9293 section 3.10.7.2, third. More than a segment of Ethernet's is not kept: the peer sends it again.
    """
    has_room = syn.end - syn.start <= _SYN_TEXT_MAX
    syn.data = syn.data[syn.start : syn.end] if has_room else b""
    syn.start = 0
    syn.end = len(syn.data)


def take_kept_text(child: Connection, syn: Segment, third: Segment, now_ns: i64) -> None:
    """Take the text that a SYN brought, if the third segment goes on after it.

    If not, the peer sends the text again, because our SYN-ACK did not acknowledge it (as Linux does).
    """
    seq = unwrap(third.seq, child.irs + 1)
    if syn.end > syn.start and child.rcv_nxt == child.irs + 1 < seq and child.state == abi.ESTABLISHED:
        receive.accept_text(child, child.rcv_nxt, syn, now_ns)
        acknowledging.acknowledge_now(child)
    syn.data = b""
    syn.start = 0
    syn.end = 0


def make_child(
    context: Context, options: Options, ends: FourTuple, iss: i64, syn: Segment, why: str,
) -> Connection:
    """Make the connection that ``syn`` asked for, in SYN-RECEIVED, with our SYN-ACK numbered ``iss`` on its way."""
    child = Connection(context, ends, options, iss)
    child.is_passive = True
    if (context.config.flowlabel_reflect & REFLECT_CONNECTIONS) != 0 and syn.flow_label > 0:
        child.reflect_label(syn.flow_label)
    begin_in_syn_received(child)
    child.count_syn_ack(is_answered=False)
    receive.set_scale(child, receive.window_scale(context.config, options))
    agree_options(child, syn, context.config.tcp_timestamps)
    receive.start(child, syn.seq)
    receive.note_offered(child, first_window(options))
    send_window.begin(child, child.irs)
    if context.observer is not None:
        context.tell(TcbCreated(context.now_ns, context.name, child.name(), -1, state_text(i64(child.state)), why))
    return child


def make_fast_child(
    context: Context, options: Options, ends: FourTuple, iss: i64, syn: Segment, queue: FastOpenQueue,
    cookie: bytes | None, now_ns: i64,
) -> Connection:
    """Make a connection that is in use at once: the SYN's text can be read, and text sent (RFC 7413 section 4.2.2).

    ``cookie`` is a new one for the client, if its own is of the older key.
    """
    child = make_child(context, options, ends, iss, syn, "SYN received: Fast Open")
    fast_open = FastOpen()
    fast_open.is_child = True
    pending = PendingSynAck(queue, cookie, syn, now_ns)
    fast_open.pending = pending
    child.fast_open = fast_open
    child.count_syn_ack(is_answered=True)
    is_ecn_needed = options.congestion.needs_ecn()
    pending.ecn_mode = ecn.answer(context.config, syn, is_ecn_needed)
    ecn.adopt(child, pending.ecn_mode, syn, is_needed=is_ecn_needed, is_ect_off=False)
    send_window.take(child, syn.wnd, child.irs, child.snd_wl2)  # the window of a SYN is never scaled
    queue.begin()
    begin_transfer(child, now_ns)
    if syn.end > syn.start:
        receive.accept_text(child, child.rcv_nxt, syn, now_ns)
        fast_open.is_text_acknowledged = True
        syn.data = b""  # it is with the connection now
        syn.start = 0
        syn.end = 0
        acknowledging.leave_to_syn_ack(child)
    receive.note_offered(child, first_window(options))
    fast_open.text_end = child.rcv_nxt
    fastopen_server.arm(child, now_ns)
    return child
