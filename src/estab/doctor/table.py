"""The socket table as ``ss -tanoip`` writes it, column for column (iproute2 6.1)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from estab.abi import LISTEN
from estab.doctor.processes import Holder
from estab.native.sockdiag import STATES, TIMERS, Row

__all__ = ["HEADS", "columns", "info_text", "timer_text"]

HEADS: Final = ("State", "Recv-Q", "Send-Q", "Local Address:Port", "Peer Address:Port", "Process")
_NO_RATE: Final = 0xFFFFFFFFFFFFFFFF
_RTO_UNSET_US: Final = 3_000_000
_SSTHRESH_MAX: Final = 0xFFFF
_REORDERING: Final = 3
_OPTIONS: Final = ((1, "ts"), (2, "sack"), (8, "ecn"), (16, "ecnseen"), (32, "fastopen"))
_WSCALE: Final = 4


def columns(row: Row, holders: Iterable[Holder] = ()) -> list[str]:
    """Write a socket: state, queues, ends, and everything else in the last column."""
    users = ",".join(f'("{one.command}",pid={one.pid},fd={one.fd})' for one in holders)
    parts = [f"users:({users})"] if users else []
    if row.timer:
        parts.append(timer_text(row))
    info = info_text(row)
    if info:
        parts.append(info)
    return [STATES[row.state], str(row.recv_q), str(row.send_q), row.local, row.peer, " ".join(parts)]


def timer_text(row: Row) -> str:
    """Write the timer that runs: its name, when it runs out, and what it counted."""
    name = TIMERS[row.timer] if row.timer < len(TIMERS) else "unknown"
    return f"timer:({name},{_milliseconds(row.expires_ms)},{row.retransmits})"


def _milliseconds(total: int) -> str:
    minutes, seconds, thousandths = total // 60_000, total // 1000 % 60, total % 1000
    text = ""
    if minutes:
        thousandths = 0
        text = f"{minutes}min"
        if minutes > 9:
            seconds = 0
    if seconds:
        if seconds > 9:
            thousandths = 0
        text += f"{seconds}{'.' if thousandths else 'sec'}"
    return text + (f"{thousandths:03d}ms" if thousandths else "")


def info_text(row: Row) -> str:
    """Write ``tcp_info`` in ss's words and order; what is 0 is left out, as there."""
    info = row.info
    if not info:
        return ""
    words = [name for bit, name in _OPTIONS if info["options"] & bit]
    if row.congestion:
        words.append(row.congestion.decode(errors="replace"))
    if info["options"] & _WSCALE:
        words.append(f"wscale:{info['wscales'] & 15},{info['wscales'] >> 4}")
    if info["rto"] and info["rto"] != _RTO_UNSET_US:
        words.append(f"rto:{info['rto'] / 1000:g}")
    _number(words, "backoff", info["backoff"])
    if info["rtt"]:
        words.append(f"rtt:{info['rtt'] / 1000:g}/{info['rttvar'] / 1000:g}")
    if info["ato"]:
        words.append(f"ato:{info['ato'] / 1000:g}")
    for name, field in (("mss", "snd_mss"), ("pmtu", "pmtu"), ("rcvmss", "rcv_mss"), ("advmss", "advmss"),
                        ("cwnd", "snd_cwnd")):
        _number(words, name, info[field])
    if info["snd_ssthresh"] < _SSTHRESH_MAX:
        _number(words, "ssthresh", info["snd_ssthresh"])
    for field in ("bytes_sent", "bytes_retrans", "bytes_acked", "bytes_received", "segs_out", "segs_in",
                  "data_segs_out", "data_segs_in"):
        _number(words, field, info.get(field, 0))
    if row.algorithm:
        words.append(_algorithm(row))
    if info["rtt"] and info["snd_mss"] and info["snd_cwnd"]:
        words.append(f"send {info['snd_cwnd'] * info['snd_mss'] * 8_000_000 / info['rtt']:.0f}bps")
    for name, field in (("lastsnd", "last_data_sent"), ("lastrcv", "last_data_recv"), ("lastack", "last_ack_recv")):
        _number(words, name, info[field])
    words.extend(_rates(info))
    words.extend(_time_spent(info))
    return " ".join([*words, *_rest(info, row.state == LISTEN)])


def _algorithm(row: Row) -> str:
    """Write what BBR or DCTCP tells of itself."""
    if row.congestion == b"dctcp":
        is_on, ce_state, alpha, marked, total = struct.unpack_from("=HHIII", row.algorithm)
        if not is_on:
            return "dctcp:fallback_mode"
        return f"dctcp:(ce_state:{ce_state},alpha:{alpha},ab_ecn:{marked},ab_tot:{total})"
    low, high, min_rtt, pacing_gain, cwnd_gain = struct.unpack_from("=5I", row.algorithm)
    text = f"bbr:(bw:{(high << 32 | low) * 8}bps,mrtt:{min_rtt / 1000:g}"
    for name, gain in (("pacing_gain", pacing_gain), ("cwnd_gain", cwnd_gain)):
        if gain:
            text += f",{name}:{gain / 256:g}"
    return text + ")"


def _number(words: list[str], name: str, value: int) -> None:
    if value:
        words.append(f"{name}:{value}")


def _rates(info: dict[str, int]) -> list[str]:
    words = []
    if info.get("pacing_rate", 0) not in (0, _NO_RATE):
        text = f"pacing_rate {info['pacing_rate'] * 8}bps"
        if info["max_pacing_rate"] not in (0, _NO_RATE):
            text += f"/{info['max_pacing_rate'] * 8}bps"
        words.append(text)
    if info.get("delivery_rate"):
        words.append(f"delivery_rate {info['delivery_rate'] * 8}bps")
    _number(words, "delivered", info.get("delivered", 0))
    _number(words, "delivered_ce", info.get("delivered_ce", 0))
    if info["flags"] & 1:
        words.append("app_limited")
    return words


def _time_spent(info: dict[str, int]) -> list[str]:
    busy = info.get("busy_time", 0)
    if not busy:
        return []
    words = [f"busy:{busy // 1000}ms"]
    for name in ("rwnd_limited", "sndbuf_limited"):
        if info.get(name):
            words.append(f"{name}:{info[name] // 1000}ms({100 * info[name] / busy:.1f}%)")
    return words


def _rest(info: dict[str, int], is_listener: bool) -> list[str]:
    words: list[str] = []
    _number(words, "unacked", info["unacked"])
    if info["retrans"] or info["total_retrans"]:
        words.append(f"retrans:{info['retrans']}/{info['total_retrans']}")
    _number(words, "lost", info["lost"])
    if not is_listener:
        _number(words, "sacked", info["sacked"])
    _number(words, "dsack_dups", info.get("dsack_dups", 0))
    _number(words, "fackets", info["fackets"])
    if info["reordering"] != _REORDERING:
        words.append(f"reordering:{info['reordering']}")
    _number(words, "reord_seen", info.get("reord_seen", 0))
    if info["rcv_rtt"]:
        words.append(f"rcv_rtt:{info['rcv_rtt'] / 1000:g}")
    _number(words, "rcv_space", info["rcv_space"])
    _number(words, "rcv_ssthresh", info["rcv_ssthresh"])
    _number(words, "notsent", info.get("notsent_bytes", 0))
    if info.get("min_rtt", 0) not in (0, 0xFFFFFFFF):
        words.append(f"minrtt:{info['min_rtt'] / 1000:g}")
    _number(words, "rcv_ooopack", info.get("rcv_ooopack", 0))
    _number(words, "snd_wnd", info.get("snd_wnd", 0))
    return words
