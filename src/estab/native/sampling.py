"""``Sampler``: what the kernel tells of a spawned host's TCP sockets, now and then, as facts.

- A fact says what inet_diag said at one instant; between two of them nothing is known. A socket of which nothing
  changed since gives none.
- The kernel does not tell which end sent the SYN. An end is taken for the passive one if a socket listens on its port,
  or did at an earlier sample; an error shifts its relative numbers by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from estab.abi import LISTEN, SYN_SENT, TIME_WAIT
from estab.events import SocketSampled, Tcb
from estab.native.sockdiag import TIMERS, Row
from estab.tcp.context import endpoint_text
from estab.tcp.state import state_text
from estab.units import MS, US
from estab.wire.address import is_v4_mapped, unmap_v4

__all__ = ["GONE", "Sampler"]

GONE: Final = "gone"
"""The state of a socket that is not there any more."""
_CA_STATES: Final = ("Open", "Disorder", "CWR", "Recovery", "Loss")
_STATES_MAX: Final = 11
_INFINITE_SSTHRESH: Final = 0x7FFFFFFF
_NO_RATE: Final = 0xFFFFFFFFFFFFFFFF
_NOT_KNOWN: Final = -1
_AGES_AT, _AGES_BYTES = 44, 16
"""Where ``tcp_info`` has the times since something was sent and received."""


class Sampler:
    """The samples of one host's sockets. ``forget`` makes the next one tell of all of them again."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._told: dict[str, SocketSampled] = {}
        self._raw: dict[tuple[int, bytes, int, bytes], tuple[str, tuple[object, ...]]] = {}
        """The name of each socket, and what the kernel said of it last, without how long things are ago."""
        self._times: dict[str, tuple[int, int, int]] = {}
        """How long each was busy, held by the peer's window, and by its send buffer, in microseconds."""
        self._passive: dict[str, bool] = {}
        self._listened: set[int] = set()

    def forget(self) -> None:
        """Tell of every socket at the next sample."""
        self._told.clear()
        self._raw.clear()

    def facts(self, rows: Iterable[Row], at_ns: int, every_ns: int) -> Iterator[SocketSampled]:
        """Make facts of those sockets that changed since they were told of last."""
        seen = _merged(row for row in rows if row.state <= _STATES_MAX and (row.state == LISTEN or row.dport))
        self._listened.update(row.sport for row in seen if row.state == LISTEN)
        gone = dict(self._told)
        raw_before, self._raw = self._raw, {}
        for row in seen:
            key, raw = (row.sport, row.source, row.dport, row.target), _raw(row)
            name, before = raw_before.get(key) or (_name(row), ())
            self._raw[key] = name, raw
            told = gone.pop(name, None)
            if raw == before and told is not None and (told.tcb is None or told.tcb.limited_by == "idle"):
                continue
            tcb = self._tcb(row, name, at_ns) if row.info_bytes and row.state not in (LISTEN, TIME_WAIT) else None
            fact = SocketSampled(at_ns, self._host, name, state_text(row.state), row.recv_q, row.send_q, tcb, every_ns)
            if _told(fact) != _told(told):
                self._told[name] = fact
                yield fact
        for name, fact in gone.items():
            del self._told[name]
            self._times.pop(name, None)
            self._passive.pop(name, None)
            yield SocketSampled(at_ns, self._host, name, GONE, 0, 0, None, fact.every_ns)

    def _is_passive(self, row: Row, name: str) -> bool:
        known = self._passive.get(name)
        if known is None:
            known = self._passive[name] = row.state != SYN_SENT and row.sport in self._listened
        return known

    def _limited_by(self, name: str, info: dict[str, int]) -> str:
        """Say what most of the time since the sample before was spent on."""
        now = info.get("busy_time", 0), info.get("rwnd_limited", 0), info.get("sndbuf_limited", 0)
        before = self._times.get(name, (0, 0, 0))
        self._times[name] = now
        busy, window, buffer = (new - old for new, old in zip(now, before, strict=True))
        if busy <= 0:
            return "idle"
        most = max(window, buffer, busy - window - buffer)
        return "peer window" if most == window else "send buffer" if most == buffer else "busy"

    def _tcb(self, row: Row, name: str, at_ns: int) -> Tcb:
        info = row.info
        mss = info["snd_mss"]
        una = info.get("bytes_acked", 0) + self._is_passive(row, name)
        unsent = min(info.get("notsent_bytes", 0), row.send_q)
        in_flight = row.send_q - unsent
        pipe = (info["unacked"] - info["sacked"] - info["lost"] + info["retrans"]) * mss
        timer = TIMERS[row.timer] if 0 < row.timer < len(TIMERS) else ""
        _, receive_limit, _, send_limit = row.buffers
        pacing = info.get("pacing_rate", 0)
        return Tcb(
            state_text(row.state), una, una + in_flight, info.get("snd_wnd", _NOT_KNOWN),
            info.get("bytes_received", 0) + 1, info.get("rcv_wnd", _NOT_KNOWN), info["snd_cwnd"] * mss,
            None if info["snd_ssthresh"] >= _INFINITE_SSTHRESH else info["snd_ssthresh"] * mss,
            info["rtt"] * US or None, info["rto"] * US, row.send_q, unsent, row.recv_q, _NOT_KNOWN,
            pipe_bytes=max(0, min(pipe, in_flight)), rttvar_ns=info["rttvar"] * US,
            min_rtt_ns=info.get("min_rtt", 0) * US, ca_state=_CA_STATES[info["ca_state"]],
            limited_by=self._limited_by(name, info), pacing_rate=0 if pacing == _NO_RATE else pacing,
            delivery_rate=info.get("delivery_rate", 0), is_app_limited=bool(info["flags"] & 1),
            retries=info["retransmits"], timer=timer, timer_due_ns=at_ns + row.expires_ms * MS if timer else 0,
            mss_bytes=mss, send_buffer_limit=send_limit, receive_buffer_limit=receive_limit,
        )


def _merged(rows: Iterable[Row]) -> list[Row]:
    """Make one row of the listeners that share a port by SO_REUSEPORT: all that wait in their queues, and may."""
    found: list[Row] = []
    listeners: dict[str, int] = {}
    for row in rows:
        if row.state == LISTEN:
            at = listeners.setdefault(_name(row), len(found))
            if at < len(found):
                first = found[at]
                found[at] = replace(first, recv_q=first.recv_q + row.recv_q, send_q=first.send_q + row.send_q)
                continue
        found.append(row)
    return found


def _raw(row: Row) -> tuple[object, ...]:
    """Give what the kernel said of a socket, without the four times that grow while nothing happens."""
    info = row.info_bytes
    return row.state, row.recv_q, row.send_q, row.memory, info[:_AGES_AT], info[_AGES_AT + _AGES_BYTES:]


def _told(fact: SocketSampled | None) -> tuple[object, ...]:
    """Give what makes a sample worth telling: all but the time, and when a timer runs out."""
    if fact is None:
        return ()
    tcb = None if fact.tcb is None else replace(fact.tcb, timer_due_ns=0)
    return fact.state, fact.recv_q, fact.send_q, tcb


def _name(row: Row) -> str:
    """Write a socket's ends as they are on the wire: an IPv4 connection of an IPv6 socket is an IPv4 connection."""
    near = endpoint_text(_plain(row.source), row.sport)
    return f"{near}>*" if row.state == LISTEN else f"{near}>{endpoint_text(_plain(row.target), row.dport)}"


def _plain(address: bytes) -> bytes:
    return unmap_v4(address) if is_v4_mapped(address) else address
