"""``TCP_INFO`` as bytes: ``struct tcp_info`` of Linux 6.18, for programs that unpack it.

A field is what Linux fills in, in Linux's unit: times in microseconds or milliseconds, windows of congestion control
in segments. docs/tcp-info.md has them all. What means nothing here is 0, as what a kernel does not fill in.
"""

from __future__ import annotations

import struct
from typing import Final

from estab.abi import CLOSED, TIME_WAIT
from estab.tcp.info import AccEcnInfo, Info
from estab.tcp.record.fast_open import FAIL_NAMES
from estab.units import MS, US

__all__ = ["FIELDS", "LAYOUT", "pack_tcp_info", "unpack_tcp_info"]

LAYOUT: Final = struct.Struct("=8B24I4Q6I4Q2I2Q6I2HI7I2H")
FIELDS: Final = (
    "state", "ca_state", "retransmits", "probes", "backoff", "options", "wscales", "flags", "rto", "ato", "snd_mss",
    "rcv_mss", "unacked", "sacked", "lost", "retrans", "fackets", "last_data_sent", "last_ack_sent", "last_data_recv",
    "last_ack_recv", "pmtu", "rcv_ssthresh", "rtt", "rttvar", "snd_ssthresh", "snd_cwnd", "advmss", "reordering",
    "rcv_rtt", "rcv_space", "total_retrans", "pacing_rate", "max_pacing_rate", "bytes_acked", "bytes_received",
    "segs_out", "segs_in", "notsent_bytes", "min_rtt", "data_segs_in", "data_segs_out", "delivery_rate", "busy_time",
    "rwnd_limited", "sndbuf_limited", "delivered", "delivered_ce", "bytes_sent", "bytes_retrans", "dsack_dups",
    "reord_seen", "rcv_ooopack", "snd_wnd", "rcv_wnd", "rehash", "total_rto", "total_rto_recoveries", "total_rto_time",
    "received_ce", "delivered_e1_bytes", "delivered_e0_bytes", "delivered_ce_bytes", "received_e1_bytes",
    "received_e0_bytes", "received_ce_bytes", "accecn_fail_mode", "accecn_opt_seen",
)
"""The members of ``struct tcp_info`` in order, without ``tcpi_``; bit fields by the byte: ``wscales``, ``flags``."""
_CA_STATES: Final = ("Open", "Disorder", "CWR", "Recovery", "Loss")
_OPTION_BITS: Final = {
    "timestamps": 1, "sack": 2, "wscale": 4, "ecn": 8, "ecn-seen": 16, "syn-data": 32, "fast-open-child": 128,
}
_INFINITE_SSTHRESH: Final = 0x7FFFFFFF
_NO_RATE: Final = 0xFFFFFFFFFFFFFFFF
_BITS: Final = {"B": 8, "H": 16, "I": 32, "Q": 64}


def pack_tcp_info(info: Info, state: int) -> bytes:
    """Pack what is known of a connection. What does not fit a field becomes its largest number."""
    values = _values(info, state)
    fields = (min(values.get(name, 0), most) for name, most in zip(FIELDS, _MOST, strict=True))
    return LAYOUT.pack(*fields)


def unpack_tcp_info(data: bytes) -> dict[str, int]:
    """Name the fields of a ``struct tcp_info``; those that a shorter one lacks are left out."""
    fields: dict[str, int] = {}
    numbers = LAYOUT.unpack(data[: LAYOUT.size].ljust(LAYOUT.size, b"\0"))
    offset = 0
    for name, most, number in zip(FIELDS, _MOST, numbers, strict=True):
        offset += most.bit_length() // 8
        if offset <= len(data):
            fields[name] = number
    return fields


def _values(info: Info, state: int) -> dict[str, int]:
    mss = max(1, info.snd_mss_bytes)
    ssthresh = _INFINITE_SSTHRESH if info.snd_ssthresh_bytes is None else info.snd_ssthresh_bytes // mss
    return {
        "state": CLOSED if state == TIME_WAIT else state,  # as on Linux, whose sockets are closed then
        "ca_state": _CA_STATES.index(info.ca_state), "retransmits": info.retransmits,
        "probes": info.probes, "backoff": info.backoff,
        "options": sum(bit for name, bit in _OPTION_BITS.items() if name in info.options),
        "wscales": info.snd_wscale & 15 | (info.rcv_wscale & 15) << 4,
        "flags": int(info.is_delivery_rate_app_limited) | FAIL_NAMES.index(info.fast_open_fail) << 1,
        "rto": info.rto_ns // US, "ato": info.ato_ns // US, "snd_mss": info.snd_mss_bytes,
        "rcv_mss": info.rcv_mss_bytes, "unacked": info.unacked_segments, "sacked": info.sacked_segments,
        "lost": info.lost_segments, "retrans": info.retrans_segments, "last_data_sent": info.last_data_sent_ns // MS,
        "last_data_recv": info.last_data_recv_ns // MS, "last_ack_recv": info.last_received_ns // MS,
        "pmtu": info.pmtu_bytes, "rcv_ssthresh": info.rcv_ssthresh_bytes, "rtt": info.rtt_ns // US,
        "rttvar": info.rttvar_ns // US, "snd_ssthresh": ssthresh, "snd_cwnd": info.snd_cwnd_bytes // mss,
        "advmss": info.advmss_bytes, "reordering": info.reordering_segments, "rcv_rtt": info.rcv_rtt_ns // US,
        "rcv_space": info.rcv_space_bytes, "total_retrans": info.total_retrans_segments,
        "pacing_rate": info.pacing_rate or _NO_RATE, "max_pacing_rate": info.max_pacing_rate or _NO_RATE,
        "bytes_acked": info.bytes_acked,
        "bytes_received": info.bytes_received, "segs_out": info.segs_out, "segs_in": info.segs_in,
        "notsent_bytes": info.notsent_bytes, "min_rtt": info.min_rtt_ns // US, "data_segs_in": info.data_segs_in,
        "data_segs_out": info.data_segs_out, "delivery_rate": info.delivery_rate, "busy_time": info.busy_ns // US,
        "rwnd_limited": info.rwnd_limited_ns // US, "sndbuf_limited": info.sndbuf_limited_ns // US,
        "delivered": info.delivered_segments, "delivered_ce": info.delivered_ce_segments,
        "bytes_sent": info.bytes_sent, "bytes_retrans": info.bytes_retrans,
        "dsack_dups": info.dsack_dups_segments, "reord_seen": info.reord_seen,
        "rcv_ooopack": info.rcv_ooopack_segments, "snd_wnd": info.snd_wnd_bytes, "rcv_wnd": info.rcv_wnd_bytes,
        "total_rto": info.total_rto, "total_rto_recoveries": info.total_rto_recoveries,
        "total_rto_time": info.total_rto_time_ns // MS, **_accecn(info.accecn),
    }


def _accecn(info: AccEcnInfo | None) -> dict[str, int]:
    """Return AccECN's fields. The failure bits are Linux's: 2 marks are mangled, 4 our option is lost, 8 theirs is."""
    if info is None:
        return {}
    counts = {
        "received_ce": info.received_ce_segments, "delivered_e1_bytes": info.delivered_ect1_bytes,
        "delivered_e0_bytes": info.delivered_ect0_bytes, "delivered_ce_bytes": info.delivered_ce_bytes,
        "received_e1_bytes": info.received_ect1_bytes, "received_e0_bytes": info.received_ect0_bytes,
        "received_ce_bytes": info.received_ce_bytes,
    }
    # They wrap, and what a peer reports may fall below the first value.
    return {
        **{name: count & 0xFFFFFFFF for name, count in counts.items()},
        "accecn_fail_mode": 2 * info.is_ect_off + 4 * info.is_option_blocked + 8 * info.is_option_zeroed,
        "accecn_opt_seen": info.option_seen,
    }


def _limits() -> tuple[int, ...]:
    """Return the largest number of each field."""
    kinds: list[str] = []
    count = ""
    for letter in LAYOUT.format[1:]:
        if letter.isdecimal():
            count += letter
        else:
            kinds += letter * int(count or "1")
            count = ""
    return tuple((1 << _BITS[kind]) - 1 for kind in kinds)


_MOST: Final = _limits()
