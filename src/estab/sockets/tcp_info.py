"""``TCP_INFO`` as bytes: ``struct tcp_info`` of Linux 5.4 and later, for programs that unpack it."""

from __future__ import annotations

import struct
from typing import Final

from estab.tcp.info import Info
from estab.units import MS, US

__all__ = ["pack_tcp_info"]

_HEAD: Final = struct.Struct("=8B24I")
_TAIL: Final = struct.Struct("=4Q6I4Q2I2Q5I")
_CA_STATES: Final = ("Open", "Disorder", "CWR", "Recovery", "Loss")
_OPTION_BITS: Final = {
    "timestamps": 1, "sack": 2, "wscale": 4, "ecn": 8, "ecn-seen": 16, "syn-data": 32, "fast-open-child": 128,
}
_INFINITE_SSTHRESH: Final = 0x7FFFFFFF
_MAX32: Final = 0xFFFFFFFF


def pack_tcp_info(info: Info, state: int) -> bytes:
    """Pack what is known of a connection; fields that the engine does not keep are 0."""
    mss = max(1, info.snd_mss_bytes)
    ssthresh = _INFINITE_SSTHRESH if info.snd_ssthresh_bytes is None else info.snd_ssthresh_bytes // mss
    head = _HEAD.pack(
        state, _CA_STATES.index(info.ca_state),
        min(info.retransmits, 255), min(info.probes, 255), min(info.backoff, 255),
        sum(bit for name, bit in _OPTION_BITS.items() if name in info.options),
        info.snd_wscale & 15 | (info.rcv_wscale & 15) << 4, 0,
        *(min(number, _MAX32) for number in (
            info.rto_ns // US, 0, info.snd_mss_bytes, info.rcv_mss_bytes,
            info.unacked_segments, 0, info.lost_segments, 0, 0,
            0, 0, info.last_data_recv_ns // MS, info.last_received_ns // MS,
            info.pmtu_bytes, info.receive_buffer_bytes, info.rtt_ns // US, info.rttvar_ns // US, ssthresh,
            info.snd_cwnd_bytes // mss, info.advmss_bytes, 3, 0, info.rcv_space_bytes, info.total_retrans_segments,
        )),
    )
    tail = _TAIL.pack(
        _MAX32 << 32 | _MAX32, _MAX32 << 32 | _MAX32, 0, 0,
        0, 0, info.notsent_bytes, min(info.min_rtt_ns // US, _MAX32), 0, 0,
        0, 0, 0, 0,
        min(info.delivered_segments, _MAX32), min(info.delivered_ce_segments, _MAX32),
        0, info.bytes_retrans,
        0, 0, 0, min(info.snd_wnd_bytes, _MAX32), min(info.rcv_wnd_bytes, _MAX32),
    )
    return head + tail
