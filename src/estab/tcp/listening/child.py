"""What a listener hands to the connections made from it: its settings, and a TCB that starts where the handshake is."""

from __future__ import annotations

from mypy_extensions import i64

from estab import abi
from estab.events import TcbCreated
from estab.tcp.arriving import fastopen_server
from estab.tcp.arriving.opening import agree_options, begin_transfer
from estab.tcp.connection import Connection, choose_window_scale
from estab.tcp.context import Context
from estab.tcp.ecn import classic as ecn
from estab.tcp.fastopen import FastOpen, FastOpenQueue, PendingSynAck
from estab.tcp.receiving import receive
from estab.tcp.state import state_text
from estab.units import NEVER
from estab.wire.tcp import Segment

__all__ = ["first_window", "inherit", "make_child", "make_fast_child"]


def make_child(
    context: Context, template: Connection, key: bytes, local: bytes, local_port: i64, remote: bytes, remote_port: i64,
    iss: i64, syn: Segment, why: str,
) -> Connection:
    """Make the connection that ``syn`` asked for, in SYN-RECEIVED, with our SYN-ACK numbered ``iss`` on its way."""
    child = Connection(context, key, local, local_port, remote, remote_port, template.congestion, iss)
    inherit(child, template)
    child.is_passive = True
    child.state = abi.SYN_RECEIVED
    child.snd_nxt = iss + 1
    child.irs = syn.seq
    child.rcv_wscale = choose_window_scale(template)
    agree_options(child, syn, context.config.tcp_timestamps)
    receive.start(child)
    child.rcv_adv = child.rcv_nxt + first_window(template)
    child.snd_wl1 = child.irs
    if context.observer is not None:
        context.tell(TcbCreated(context.now_ns, context.name, child.name(), -1, state_text(child.state), why))
    return child


def make_fast_child(
    context: Context, template: Connection, key: bytes, local: bytes, local_port: i64, remote: bytes, remote_port: i64,
    iss: i64, syn: Segment, queue: FastOpenQueue, cookie: bytes | None, now_ns: i64,
) -> Connection:
    """Make a connection that is in use at once: the SYN's text can be read, and text sent (RFC 7413 section 4.2.2).

    ``cookie`` is a new one for the client, where its own is of the older key.
    """
    child = make_child(
        context, template, key, local, local_port, remote, remote_port, iss, syn, "SYN received: Fast Open",
    )
    fast_open = FastOpen()
    fast_open.is_child = True
    pending = PendingSynAck(queue, cookie, syn, now_ns)
    fast_open.pending = pending
    child.fast_open = fast_open
    child.snd_una = child.snd_nxt
    child.snd_sml = child.snd_nxt
    child.recover = child.snd_nxt
    is_ecn_needed = template.congestion.needs_ecn()
    pending.ecn_mode = ecn.answer(context.config, syn, is_ecn_needed)
    ecn.adopt(child, pending.ecn_mode, is_ecn_needed, syn, False)
    child.snd_wnd = syn.wnd  # the window of a SYN is never scaled
    child.max_snd_wnd = syn.wnd
    queue.pending += 1
    begin_transfer(child, now_ns)
    if syn.end > syn.start:
        receive.accept_text(child, child.rcv_nxt, syn, now_ns)
        fast_open.is_text_acknowledged = True
        syn.data = b""  # it is with the connection now
        syn.start = 0
        syn.end = 0
        child.is_ack_due = False  # the SYN-ACK says it
        child.is_ack_pending = False
        child.delack_ns = NEVER
    child.rcv_adv = child.rcv_nxt + first_window(template)
    fast_open.text_end = child.rcv_nxt
    fastopen_server.arm(child, now_ns)
    return child


def first_window(template: Connection) -> i64:
    """Give the window of a SYN-ACK in bytes, which no scale applies to."""
    return min(template.receive_buffer_bytes // 2, 0xFFFF)


def inherit(child: Connection, parent: Connection) -> None:
    """Copy what a program set on the listener to a connection made from it, as Linux does."""
    if not parent.has_own_congestion:
        child.congestion = parent.congestion
    child.nodelay = parent.nodelay
    child.is_corked = parent.is_corked
    child.notsent_lowat_bytes = parent.notsent_lowat_bytes
    child.max_pacing_rate = parent.max_pacing_rate
    child.keepalive = parent.keepalive
    child.keep_idle_ns = parent.keep_idle_ns
    child.keep_interval_ns = parent.keep_interval_ns
    child.keep_count = parent.keep_count
    child.user_timeout_ns = parent.user_timeout_ns
    child.fin_timeout_ns = parent.fin_timeout_ns
    child.is_oob_inline = parent.is_oob_inline
    child.user_mss = parent.user_mss
    child.tos = parent.tos
    child.pmtu_discover = parent.pmtu_discover
    child.ttl = parent.ttl
    child.send_buffer_bytes = parent.send_buffer_bytes
    child.is_send_buffer_fixed = parent.is_send_buffer_fixed
    child.receive_buffer_bytes = parent.receive_buffer_bytes
    child.is_receive_buffer_fixed = parent.is_receive_buffer_fixed
