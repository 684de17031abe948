"""The window that the peer offers: SND.WND, and which segment told of it (RFC 9293 section 3.10.7.4, fifth step)."""

from __future__ import annotations

from mypy_extensions import i32, i64

from estab.tcp.record.tcb import Tcb

__all__ = ["begin", "take"]


def begin(tcb: Tcb, seq: i64) -> None:
    """Let any segment from the peer's SYN on, at ``seq``, tell of the window."""
    tcb.snd_wl1 = seq


def take(tcb: Tcb, window: i64, seq: i64, ack: i64) -> None:
    """Set the window in bytes from a segment with SEG.SEQ ``seq`` and SEG.ACK ``ack``."""
    tcb.snd_wnd = window
    tcb.snd_wl1 = seq
    tcb.snd_wl2 = ack
    tcb.max_snd_wnd = i32(max(i64(tcb.max_snd_wnd), window))
