"""Rules about sockets of the kernel: what each is stuck in or held up by, now, and for how long.

A healthy machine gets no finding. What only the kernel's other end knows (a peer that is gone while nothing is sent) is
said as what it is: no program would notice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from estab.abi import CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT_1, LAST_ACK, SYN_SENT
from estab.doctor.finding import Finding
from estab.doctor.machine import TIME_WAIT_SHARE, Machine, Reading
from estab.native.sockdiag import BUSY_SHARE, REPAIRS_MIN, STREAM_BYTES, Row
from estab.units import MS, SECOND, format_bytes, format_count, format_duration

__all__ = ["Thresholds", "dropped_locally", "judge_machine", "judge_row", "refused"]

_ON, _KEEPALIVE, _PERSIST = 1, 2, 4
_RTO_MIN_S: Final = 0.2
_RTO_MAX_S: Final = 120.0
_NO_RATE: Final = 0xFFFFFFFFFFFFFFFF
_UNREAD_SHARE: Final = 0.5
_MSS_FULL: Final = 1000
_PROBES_MIN: Final = 2
_STALL_US: Final = 15_000
_ATTEMPTS_MIN: Final = 3
_DROPS_MIN: Final = 3


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From when on something counts, in seconds."""

    close_wait_s: float = 2.0
    unread_s: float = 2.0
    idle_s: float = 600.0


def judge_machine(machine: Machine, limits: Thresholds) -> list[Finding]:
    """Judge everything: listeners, ports, and each connection."""
    listeners = _listeners(machine)
    full = {row.sport: finding for row in machine.second.listeners for finding in listeners
            if finding.name == "accept-queue-full" and finding.subject == row.name}
    waiting: dict[int, list[str]] = {}
    found = [*listeners, *_ports(machine)]
    for row in machine.second.rows:
        judged = judge_row(row, machine.first.find(row), machine, limits)
        if row.is_to_itself and row.dport in full and any(finding.name == "syn-unanswered" for finding in judged):
            waiting.setdefault(row.dport, []).append(row.local)
            continue
        found.extend(judged)
    for port, ends in waiting.items():
        more = f" and {len(ends) - 3} more" if len(ends) > 3 else ""
        full[port].evidence.append(f"{len(ends)} connect() of this machine wait for it: {', '.join(ends[:3])}{more}")
    unwatched = machine.second.skipped.unwatched
    shown = [finding for finding in found if finding.name == "unwatched-idle"]
    if unwatched > len(shown):
        for finding in shown:
            finding.evidence.append(f"{unwatched} connections of this machine are like that")
    return found


def refused(machine: Machine) -> list[Finding]:
    """Find connection attempts that end at once, again and again: their sockets are gone whenever one looks."""
    failed = machine.grown("TcpAttemptFails") - machine.grown("TcpExtEmbryonicRsts")
    if failed < _ATTEMPTS_MIN:
        return []
    return [Finding("refused", "this machine", [
        f"{failed} connect() failed in {machine.elapsed_s:.1f} s (TcpAttemptFails), and no socket of them is left: "
        "that is what a program does that is refused and tries again at once",
    ], -machine.elapsed_s, 0.0, cost_s=machine.elapsed_s, confidence="likely",
        notices="each connect() fails with ECONNREFUSED at once",
        cures=["find the program and its target: tcpdump -ni any 'tcp[tcpflags] & tcp-rst != 0'",
               "start the server, or connect to the port it has (ss -ltn)",
               "pause between attempts, longer each time"])]


def dropped_locally(machine: Machine) -> list[Finding]:
    """Find interfaces whose queues drop packets of this machine."""
    found = []
    again = machine.grown("TcpExtTCPRetransFail")
    for name, count in machine.second.queue_drops.items():
        dropped = count - machine.first.queue_drops.get(name, count)
        if dropped >= _DROPS_MIN:
            evidence = [f"the queue of {name} dropped {format_count(dropped, 'packet')} in {machine.elapsed_s:.1f} s "
                        f"(tc -s qdisc show dev {name})"]
            if again:
                evidence.append(f"{format_count(again, 'retransmission')} of TCP among them (TcpExtTCPRetransFail)")
            found.append(Finding("dropped-locally", f"interface {name}", evidence, -machine.elapsed_s, 0.0,
                                 cost_s=machine.elapsed_s))
    return found


def timeouts_s(count: int, first_s: float = _RTO_MIN_S, linear: int = 0) -> float:
    """Sum so many timeouts, doubled up to 120 s; the first ``linear`` of them are not doubled."""
    total, rto_s = 0.0, first_s
    for number in range(count):
        total += rto_s
        if number >= linear:
            rto_s = min(rto_s * 2, _RTO_MAX_S)
    return total


# --- listeners and ports


def _listeners(machine: Machine) -> list[Finding]:
    found = []
    reading = machine.second
    for row in reading.listeners:
        overflows = machine.grown("TcpExtListenOverflows")
        is_full = row.recv_q > row.send_q
        was_full = any(one.key == row.key and one.recv_q > one.send_q for one in machine.first.listeners)
        if is_full:
            found.append(_finding(row, "accept-queue-full", [
                f"{row.recv_q} connections wait for accept(), {row.send_q} may (Recv-Q over Send-Q of ss)",
                *([f"TcpExtListenOverflows grew by {overflows} in {machine.elapsed_s:.1f} s"] if overflows else []),
                "full at both looks" if was_full else "full at the second look",
            ], age_s=machine.elapsed_s if was_full else 0.0,
                notices="clients' connect() returns and their first recv() waits, or connect() takes 1, 3, 7 s"))
        found.extend(_half_open(row, machine, reading))
    return found


def _half_open(row: Row, machine: Machine, reading: Reading) -> list[Finding]:
    count = reading.half_open[row.sport]
    limit = min(row.send_q or 1, machine.sysctl("tcp_max_syn_backlog", 1024)) if row.send_q else 1
    sent, dropped = machine.grown("TcpExtSyncookiesSent"), machine.grown("TcpExtTCPReqQFullDrop")
    drops = machine.grown("TcpExtListenDrops")
    if count < max(8, 0.75 * limit):
        return []
    cookies = machine.sysctl("tcp_syncookies", 1)
    evidence = [f"{count} handshakes wait for their last ACK, the queue holds about {limit}"]
    found = []
    if cookies:
        evidence.append(f"net.ipv4.tcp_syncookies={cookies}: what does not fit is answered by cookies"
                        + (f"; {sent} sent in {machine.elapsed_s:.1f} s" if sent else ""))
        name = "syn-cookies"
    else:
        evidence.append("net.ipv4.tcp_syncookies=0: new SYNs are dropped" + (f"; {dropped or drops} in "
                        f"{machine.elapsed_s:.1f} s" if dropped or drops else ""))
        name = "syn-queue-full"
    found.append(_finding(row, name, evidence, notices="clients' connect() waits, and ends with ETIMEDOUT"
                          if not cookies else "nobody, if the cookies come back"))
    return found


def _ports(machine: Machine) -> list[Finding]:
    found = []
    size = machine.port_range()
    for key, count in machine.second.time_wait.items():
        source, target, port = key
        if machine.second.ports_used[key] < 0.8 * size or count < TIME_WAIT_SHARE * size:
            continue
        row = Row(6, 0, 0, source, 0, target, port, 0, 0, 0, 0, 0, 0)
        found.append(_finding(row, "time-wait-ports", [
            f"{machine.second.ports_used[key]} of {size} local ports are used towards {row.peer}, {count} by TIME-WAIT",
            f"net.ipv4.tcp_tw_reuse={machine.sysctl('tcp_tw_reuse', 2)}",
        ], notices="connect() fails with EADDRNOTAVAIL when all are used; each comes back after 60 s"))
    return found


# --- connections


def judge_row(row: Row, before: Row | None, machine: Machine, limits: Thresholds) -> list[Finding]:
    """Judge one connection."""
    if row.state == SYN_SENT:
        return _syn_sent(row, machine)
    if not row.info_bytes:
        return []
    # The most common socket is healthy: retransmits, probes and backoff are three bytes of tcp_info.
    is_quiet = not (row.recv_q or row.send_q or row.timer == _ON or row.timer == _PERSIST or any(row.info_bytes[2:5]))
    if is_quiet and row.state == ESTABLISHED:
        return [*_moving(row, before, machine), *_idle(row, limits)]
    info = row.info
    found = _stuck(row, before, info, machine)
    if row.state == CLOSE_WAIT:
        found.extend(_close_wait(row, info, limits))
    if not found:
        found = _unread(row, info, limits)
    if not found:
        found = _moving(row, before, machine)
    return found


def _syn_sent(row: Row, machine: Machine) -> list[Finding]:
    if not row.retransmits:
        return []
    linear = machine.sysctl("tcp_syn_linear_timeouts", 4)
    retries = machine.sysctl("tcp_syn_retries", 6)
    waited_s = timeouts_s(row.retransmits, 1.0, linear)
    total_s = timeouts_s(retries + linear + 1, 1.0, linear)
    return [_finding(row, "syn-unanswered", [
        f"the SYN was sent {row.retransmits + 1} times, the next goes in {format_duration(row.expires_ms * MS)}",
    ], age_s=waited_s, notices=f"connect() fails with ETIMEDOUT about {total_s:.0f} s after the first SYN "
                               f"(tcp_syn_retries={retries}), or by the program's own timeout")]


def _stuck(row: Row, before: Row | None, info: dict[str, int], machine: Machine) -> list[Finding]:
    """Judge text that is not acknowledged, and closed windows."""
    heard_s = min(info["last_ack_recv"], info["last_data_recv"]) / 1000
    is_closing = row.state in (FIN_WAIT_1, LAST_ACK, CLOSING)
    if row.timer == _PERSIST or (info["probes"] and row.timer != _KEEPALIVE and info.get("notsent_bytes", 0)):
        if info.get("snd_wnd", 1) and not info["probes"]:
            return []
        if before is not None and before.info_bytes and _grown(info, before.info, "bytes_acked"):
            return []  # it does read: what it holds up is a limit
        waits_s = info["last_data_sent"] / 1000
        ends = ("send() blocks; never by itself while the probes are answered; TCP_USER_TIMEOUT would end it with "
                "ETIMEDOUT")
        if is_closing:
            retries = machine.sysctl("tcp_orphan_retries", 0) or 8
            ends = ("the program has closed and is told nothing: the kernel keeps what is left until the peer reads; "
                    f"it gives up after tcp_orphan_retries={retries} probes without an answer")
        return [_finding(row, "peer-not-reading", [
            f"the peer's window is {format_bytes(info.get('snd_wnd', 0))}, "
            f"{format_bytes(info.get('notsent_bytes', 0))} wait "
            f"for it; {info['probes']} probes without more room",
        ], age_s=waits_s, notices=ends)]
    if row.timer == _KEEPALIVE and max(row.retransmits, info["probes"]) >= _PROBES_MIN:
        return [_finding(row, "half-open", [
            f"{max(row.retransmits, info['probes'])} keepalive probes are unanswered, the next goes in "
            f"{format_duration(row.expires_ms * MS)}",
            f"last sign of life of the peer {heard_s:.1f} s ago",
        ], age_s=heard_s, confidence="likely",
            notices="recv() fails with ETIMEDOUT once TCP_KEEPCNT probes (by default tcp_keepalive_probes=9) are "
                    "unanswered")]
    if row.timer != _ON or max(row.retransmits, info["retransmits"], info["backoff"]) < 2:
        return []
    times = max(info["retransmits"], info["backoff"])
    if is_closing and not info.get("notsent_bytes", 0) and info["unacked"] <= 1:
        return [_finding(row, "close-unanswered", [
            f"the FIN was sent {times + 1} times; last sign of life {heard_s:.1f} s ago",
        ], age_s=heard_s, notices="the program has closed; the kernel gives up after "
                                  f"tcp_orphan_retries={machine.sysctl('tcp_orphan_retries', 0) or 8}")]
    waits_s = timeouts_s(times, max(_RTO_MIN_S, info["rto"] / 1e6 / 2 ** info["backoff"]))
    if info["sacked"] and info["snd_mss"] >= _MSS_FULL:
        return [_finding(row, "mtu-black-hole", [
            f"a full segment ({info['snd_mss']} bytes) was sent {times + 1} times in vain, while smaller ones arrive "
            f"({info['sacked']} reported by SACK)",
            f"net.ipv4.tcp_mtu_probing={machine.sysctl('tcp_mtu_probing', 0)}, path MTU taken to be {info['pmtu']}",
        ], age_s=waits_s, confidence="likely", notices=_gives_up(machine, waits_s))]
    return [_finding(row, "path-silent", [
        f"{format_count(info['unacked'], 'segment')} unacknowledged, sent {times + 1} times; the timeout is "
        f"{format_duration(info['rto'] * 1000)} by now",
        f"last sign of life of the peer {heard_s:.1f} s ago",
    ], age_s=waits_s, notices=_gives_up(machine, waits_s))]


def _gives_up(machine: Machine, waited_s: float) -> str:
    retries = machine.sysctl("tcp_retries2", 15)
    total_s = timeouts_s(retries + 1)
    return (f"recv() and send() fail with ETIMEDOUT about {total_s:.1f} s after the first sending "
            f"(tcp_retries2={retries}): "
            f"in {max(0.0, total_s - waited_s):.0f} s; sooner only if TCP_USER_TIMEOUT is set")


def _close_wait(row: Row, info: dict[str, int], limits: Thresholds) -> list[Finding]:
    age_s = info["last_ack_recv"] / 1000
    is_sending = row.send_q or info["last_data_sent"] < info["last_ack_recv"]
    if age_s < limits.close_wait_s or (is_sending and row.send_q):
        return []
    unread = max(0, row.recv_q - 1)
    return [_finding(row, "close-wait", [
        f"the peer ended its stream at least {age_s:.1f} s ago, and close() was not called"
        + (f"; {format_bytes(unread)} are unread" if unread else ""),
    ], age_s=age_s, notices="never by itself: no timer ends CLOSE-WAIT")]


def _unread(row: Row, info: dict[str, int], limits: Thresholds) -> list[Finding]:
    age_s = info["last_data_recv"] / 1000
    limit = row.buffers[1]
    is_full = limit and row.recv_q >= _UNREAD_SHARE * limit / 2
    if not row.recv_q or row.state == CLOSE_WAIT:
        return []
    window = info.get("rcv_wnd")
    is_closed = window is not None and window < max(1, info["rcv_mss"])
    if not (age_s >= limits.unread_s or (is_full and (is_closed or age_s >= 0.5))):
        return []
    return [_finding(row, "not-reading", [
        f"{format_bytes(row.recv_q)} are unread (Recv-Q), the last came {age_s:.1f} s ago"
        + ("; the window that this host offers is closed" if is_closed else ""),
    ], age_s=age_s, notices="the peer's send() blocks when the window is closed; nothing ends it")]


def _idle(row: Row, limits: Thresholds) -> list[Finding]:
    """Find idle connections on which no program would notice that the peer is gone."""
    if row.timer:
        return []
    info = row.info
    idle_s = min(info["last_data_sent"], info["last_data_recv"], info["last_ack_recv"]) / 1000
    if idle_s < limits.idle_s:
        return []
    return [_finding(row, "unwatched-idle", [
        f"idle for {format_duration(int(idle_s * SECOND))}, nothing is unacknowledged, no keepalive timer runs",
    ], age_s=idle_s, confidence="possible",
        notices="never, as long as it only waits; if it sends, like a silent path. (A TCP_USER_TIMEOUT without "
                "keepalive "
                "changes nothing while idle.)")]


# --- what holds a transfer up


def _moving(row: Row, before: Row | None, machine: Machine) -> list[Finding]:
    """Judge what a connection did between the two readings."""
    if before is None or not before.info_bytes or row.info_bytes[32:] == before.info_bytes[32:]:
        return []
    now, then = row.info, before.info
    busy = _grown(now, then, "busy_time")
    sent = _grown(now, then, "bytes_sent")
    elapsed_us = machine.elapsed_s * 1e6
    found = _repairs(row, now, then)
    if busy < BUSY_SHARE * elapsed_us:
        is_stream = sent >= STREAM_BYTES and _grown(now, then, "bytes_received") < sent / 10
        if is_stream and _grown(now, then, "data_segs_out") >= 10 and now["flags"] & 1:
            found.append(_limit(row, "application-limited", 1 - busy / elapsed_us, machine, [
                f"{format_bytes(sent)} sent in {machine.elapsed_s:.1f} s, and for {1 - busy / elapsed_us:.0%} of it "
                "there was "
                "nothing to send"]))
        return found
    shares = {"window-limited": _grown(now, then, "rwnd_limited") / busy,
              "send-buffer-limited": _grown(now, then, "sndbuf_limited") / busy}
    name = max(shares, key=lambda key: shares[key])
    if shares[name] >= 0.3:
        what = "the peer's window held text back" if name == "window-limited" else "the send buffer was full"
        found.append(_limit(row, name, shares[name], machine, [
            f"{what} for {shares[name]:.0%} of the time that there was something to send",
            f"since it began: {_lifetime(now, name):.0%}",
        ]))
    elif (nagle := _nagle(row, before, now, then)) is not None:
        found.append(nagle)
    elif now["max_pacing_rate"] != _NO_RATE and now["pacing_rate"] >= now["max_pacing_rate"] > 0 and row.send_q:
        found.append(_limit(row, "pacing-limited", 1.0, machine, [
            f"SO_MAX_PACING_RATE is {format_bytes(now['max_pacing_rate'])}/s; "
            f"{format_bytes(now.get('notsent_bytes', 0))} "
            "wait"]))
    elif _is_buffer_full(row, now, before, then) and busy >= 0.8 * elapsed_us and not found:
        found.append(_limit(row, "send-buffer-limited", 1.0, machine, [
            f"all of the {format_bytes(max(row.send_q, before.send_q))} that the send buffer holds are under way; "
            "window and congestion window have room",
            f"the round trip is {format_duration(now['rtt'] * 1000)}",
        ]))
    elif _is_cwnd_full(now) and _is_cwnd_full(then) and busy >= 0.8 * elapsed_us and not found:
        found.append(_limit(row, "congestion-limited", 1.0, machine, [
            f"all {now['snd_cwnd']} segments of the congestion window are under way at both looks, and "
            f"{format_bytes(now['notsent_bytes'])} wait",
            f"the round trip is {format_duration(now['rtt'] * 1000)}: about "
            f"{format_bytes(now['snd_cwnd'] * now['snd_mss'] * 1_000_000 // max(1, now['rtt']))}/s",
        ]))
    if now["min_rtt"] and now["min_rtt"] < 0xFFFFFFFF and now["rtt"] > max(
            4 * now["min_rtt"], now["min_rtt"] + 100_000) and sent > 10 * now["snd_mss"]:
        found.append(_finding(row, "bufferbloat", [
            f"the round trip is {format_duration(now['rtt'] * 1000)}, the shortest was "
            f"{format_duration(now['min_rtt'] * 1000)}",
        ]))
    return found


def _repairs(row: Row, now: dict[str, int], then: dict[str, int]) -> list[Finding]:
    again = _grown(now, then, "total_retrans")
    segments = _grown(now, then, "data_segs_out")
    dups = _grown(now, then, "dsack_dups")
    if again < REPAIRS_MIN or again < 0.005 * segments:
        return []
    if _grown(now, then, "reord_seen") >= 2 and dups >= 0.5 * again:
        return [_finding(row, "reordering", [
            f"reordering was seen {now['reord_seen']} times, up to {now['reordering']} segments; {dups} of {again} "
            "retransmissions were needless"])]
    if dups >= 0.5 * again:
        return [_finding(row, "spurious-retransmission", [
            f"{dups} of {again} segments that were sent again just now had arrived (DSACK); since it began "
            f"{now['dsack_dups']} of {now['total_retrans']}"])]
    lost = now.get("bytes_retrans", 0) / max(1, now.get("bytes_sent", 1))
    return [_finding(row, "loss", [
        f"{again} of {segments} segments were sent again just now; since it began {lost:.1%} of the text",
        f"congestion window {now['snd_cwnd']} segments" + (
            f", threshold {now['snd_ssthresh']}" if now["snd_ssthresh"] < 0xFFFF else ""),
    ])]


def _nagle(row: Row, before: Row, now: dict[str, int], then: dict[str, int]) -> Finding | None:
    """Tell a small piece that is held back while one small segment is unacknowledged, again and again."""
    def is_held(info: dict[str, int]) -> bool:
        return (0 < info.get("notsent_bytes", 0) < info["snd_mss"] and 0 < info["unacked"] < info["snd_cwnd"]
                and info.get("snd_wnd", 0) > 2 * info["snd_mss"])

    segments = _grown(now, then, "data_segs_out")
    each_us = _grown(now, then, "busy_time") / max(1, segments)
    is_slow = segments >= 2 and each_us >= max(_STALL_US, 3 * now["min_rtt"])
    if not ((is_held(now) and is_held(then)) or (is_slow and (is_held(now) or is_held(then)))):
        return None
    if now["bytes_acked"] == then["bytes_acked"]:
        return None
    return _finding(row, "nagle-delayed-ack", [
        f"{max(now['notsent_bytes'], then['notsent_bytes'])} bytes wait although window and congestion window have "
        "room: a small segment is unacknowledged",
        f"{segments} segments took {format_duration(int(each_us * 1000))} each, the shortest round trip is "
        f"{format_duration(now['min_rtt'] * 1000)}",
    ], confidence="likely", notices="never: each exchange is late by the peer's delayed-ACK timer (40 ms and more)")


def _is_buffer_full(row: Row, now: dict[str, int], before: Row, then: dict[str, int]) -> bool:
    """Tell whether only the send buffer holds text back: all of it is under way at both looks, and it is full at one.

    At the other an acknowledgment may just have made room.
    """
    return (row.is_send_buffer_full or before.is_send_buffer_full) and all(
        info.get("notsent_bytes", 0) < info["snd_mss"] and info["unacked"] < info["snd_cwnd"] for info in (now, then))


def _is_cwnd_full(info: dict[str, int]) -> bool:
    """Tell whether only the congestion window holds text back."""
    return info["unacked"] >= info["snd_cwnd"] and info.get("notsent_bytes", 0) >= info["snd_mss"]


def _grown(now: dict[str, int], then: dict[str, int], name: str) -> int:
    return now.get(name, 0) - then.get(name, 0)


def _lifetime(info: dict[str, int], name: str) -> float:
    field = "rwnd_limited" if name == "window-limited" else "sndbuf_limited"
    return info.get(field, 0) / max(1, info.get("busy_time", 1))


def _limit(row: Row, name: str, share: float, machine: Machine, evidence: list[str]) -> Finding:
    made = _finding(row, name, evidence, age_s=machine.elapsed_s)
    made.share = share
    return made


def _finding(row: Row, name: str, evidence: Iterable[str], age_s: float = 0.0, notices: str = "",
             confidence: str = "sure") -> Finding:
    made = Finding(name, row.name, list(evidence), -age_s if age_s else None, 0.0, row.local, notices, age_s,
                   confidence=confidence)
    made.inode = row.inode
    made.parameters = _parameters(row)
    return made


def _parameters(row: Row) -> dict[str, Any]:
    """Return what a twin of the case needs, as the kernel tells it."""
    info = row.info
    if not info:
        return {"backlog": row.send_q} if row.is_listener else {}
    options = info["options"]
    sent = max(1, info.get("bytes_sent", 1))
    pace = info.get("max_pacing_rate", _NO_RATE)
    return {
        "rtt_ms": round(info["rtt"] / 1000, 3) or 20.0,
        "loss": round(min(0.5, info.get("bytes_retrans", 0) / sent), 5),
        "bytes": min(5_000_000, max(100_000, sent)), "window_bytes": info.get("snd_wnd", 0),
        "flight_bytes": row.buffers[3] or info["snd_cwnd"] * info["snd_mss"], "mss": info["snd_mss"],
        "rate_bps": info.get("delivery_rate", 0) * 8, "has_timestamps": bool(options & 1),
        "has_sack": bool(options & 2), "congestion": row.congestion.decode(errors="replace"),
        "rto_ms": info["rto"] / 1000,
        "pace": 0 if pace == _NO_RATE else pace, "largest": 1000, "backlog": row.send_q,
    }
