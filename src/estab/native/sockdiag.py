"""Every TCP socket of the machine, read from the kernel by SOCK_DIAG (Linux). Root is not needed.

- A row keeps what a reading of all sockets has to hold: states, queues, timers, and ``struct tcp_info`` as bytes, which
  is unpacked when it is asked for. So 100,000 sockets fit into some dozen megabytes.
- The layout of ``tcp_info`` is estab's own (``sockets.socket.tcp_info``); a kernel that knows fewer fields gives fewer.

Ours, and not pyroute2's: its decoder builds a dictionary of all attributes for each socket, 40 times as slow.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from estab.abi import AF_INET, AF_INET6, ESTABLISHED, LISTEN, SYN_RECEIVED, TIME_WAIT
from estab.native import netlink as kernel
from estab.native.netlink import ATTRIBUTE
from estab.sockets.socket.tcp_info import unpack_tcp_info

__all__ = ["BUSY_SHARE", "EXAMPLES", "REPAIRS_MIN", "STATES", "STREAM_BYTES", "TIMERS", "Before", "Row", "Skipped",
           "ends_key", "open_netlink", "read_busy_sockets", "read_sockets"]

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_ALL_STATES: Final = 0xFFF
_MESSAGE: Final = struct.Struct("=BBBB2s2s16s16sI8sIIIII")
_MEMORY: Final = struct.Struct("=9I")
_INFO, _ALGORITHM, _CONGESTION, _SKMEMINFO = 2, 3, 4, 7
_BBR, _DCTCP = 16, 9
_V6_ONLY: Final = 11
_BUFFER_BYTES: Final = 1 << 18
_SEGMENT_BYTES: Final = 2304
_V4_BYTES: Final = 4

STATES: Final = ("UNKNOWN", "ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "UNCONN",
                 "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING", "NEW-SYN-RECV", "BOUND-INACTIVE")
"""As ``ss`` writes them, by the kernel's number."""
TIMERS: Final = ("off", "on", "keepalive", "timewait", "persist")


@dataclass(slots=True)
class Row:
    """One socket. ``recv_q`` and ``send_q`` of a listener: how many wait for ``accept()``, and how many may."""

    state: int
    timer: int
    retransmits: int
    """Of the timer: timeouts or probes without an answer."""
    source: bytes
    sport: int
    target: bytes
    dport: int
    interface: int
    expires_ms: int
    recv_q: int
    send_q: int
    uid: int
    inode: int
    info_bytes: bytes = b""
    congestion: bytes = b""
    memory: bytes = b""
    algorithm: bytes = b""
    """What BBR or DCTCP tells of itself."""
    is_v6_only: bool = False

    @property
    def info(self) -> dict[str, int]:
        """The fields of ``tcp_info``; empty for a socket that has none (TIME-WAIT, half open)."""
        return unpack_tcp_info(self.info_bytes) if self.info_bytes else {}

    @property
    def buffers(self) -> tuple[int, int, int, int]:
        """Receive memory and limit, send memory and limit (``ss -m``); zeros if the kernel did not say."""
        if len(self.memory) < _MEMORY.size:
            return 0, 0, 0, 0
        values = _MEMORY.unpack_from(self.memory)
        return values[0], values[1], values[2], values[3]

    @property
    def is_send_buffer_full(self) -> bool:
        """Whether the send buffer has no room for another segment, with what the kernel adds to each."""
        if len(self.memory) < _MEMORY.size:
            return False
        values = _MEMORY.unpack_from(self.memory)
        return bool(0 < values[3] < values[5] + _SEGMENT_BYTES)

    def set_buffers(self, receive_bytes: int, send_bytes: int) -> None:
        """Set the limits of both buffers, for a socket that is not the kernel's."""
        self.memory = _MEMORY.pack(0, receive_bytes, 0, send_bytes, 0, 0, 0, 0, 0)

    @property
    def key(self) -> tuple[bytes, int, bytes, int]:
        """What identifies a socket."""
        return self.source, self.sport, self.target, self.dport

    @property
    def is_to_itself(self) -> bool:
        """Whether both ends have one address, or those of the loopback: they are on one machine."""
        return self.source == self.target or (self.source[:1] == self.target[:1] == b"\x7f" and len(self.source) == 4)

    @property
    def is_listener(self) -> bool:
        """Whether it listens."""
        return self.state == LISTEN

    @property
    def local(self) -> str:
        """The local end, as ``ss`` writes it."""
        return self._end(self.source, self.sport)

    @property
    def peer(self) -> str:
        """The peer's end, as ``ss`` writes it."""
        return self._end(self.target, self.dport)

    @property
    def name(self) -> str:
        """The connection, as estab's facts write it."""
        return f"{self.local}>{'*' if self.is_listener else self.peer}"

    def _end(self, address: bytes, port: int) -> str:
        scope = f"%{_interface(self.interface)}" if self.interface else ""
        shown = "*" if not port else str(port)
        if len(address) == _V4_BYTES:
            return f"{socket.inet_ntop(AF_INET, address)}{scope}:{shown}"
        if not any(address) and not self.is_v6_only and self.is_listener:
            return f"*{scope}:{shown}"
        return f"[{socket.inet_ntop(socket.AF_INET6, address)}]{scope}:{shown}"


@lru_cache(maxsize=256)
def _interface(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"if{index}"


def read_sockets(states: int = _ALL_STATES, *, has_details: bool = True, netlink: socket.socket | None = None,
                 protocol: int = socket.IPPROTO_TCP) -> Iterator[Row]:
    """Return all TCP sockets of this network namespace, or of the one in which ``netlink`` was opened.

    ``has_details``: also ask for ``tcp_info``, the congestion control and the buffers. ``OSError`` if the kernel
    refuses.
    """
    for family, data, at, end in _messages(states, has_details, netlink, protocol):
        yield _row(data, at, end, family)


@dataclass(slots=True)
class Skipped:
    """Sockets that were counted and not returned: established ones with nothing to send, to read or to wait for."""

    count: int = 0
    unwatched: int = 0
    """How many are idle for long without a keepalive timer; a few of them are returned, as examples."""
    moved: dict[bytes, bytes] = field(default_factory=dict)
    """Of those that moved text lately: ``tcp_info``, by their ends (``ends_key``), to compare at the next reading."""


@dataclass(frozen=True, slots=True)
class Before:
    """What is known from the reading before, ``elapsed_s`` ago."""

    moved: dict[bytes, bytes]
    known: set[bytes]
    """The ends of the sockets that were returned then: they are returned again."""
    elapsed_s: float


def ends_key(row: Row) -> bytes:
    """Write the ends of a socket as the kernel's messages have them."""
    return b"".join((row.sport.to_bytes(2, "big"), row.dport.to_bytes(2, "big"), row.source.ljust(16, b"\0"),
                     row.target.ljust(16, b"\0")))


def read_busy_sockets(idle_ms: int, skipped: Skipped, before: Before | None = None,
                      is_last: bool = False) -> Iterator[Row]:
    """Return all sockets but those of established connections that have nothing to send, to read, or to wait for.

    What is left out is counted in ``skipped``; a few of those that are idle for ``idle_ms`` and longer without a
    keepalive timer are returned, as examples. Those that moved text lately are kept there in short form, unless
    ``is_last``. With ``before``, those of them are returned that did so much since then that there may be something to
    say of them: they sent again, were busy, or sent a stream.
    """
    busy_us = int(before.elapsed_s * 1e6 * BUSY_SHARE) if before is not None else 0
    places: dict[int, tuple[int, int]] = {}
    for family, data, at, end in _messages(_ALL_STATES, True):
        state, timer, unanswered, recv_q, send_q = _QUICK.unpack_from(data, at)
        if state != ESTABLISHED or recv_q or send_q or unanswered or timer not in (0, 2):
            yield _row(data, at, end, family)
            continue
        place, stop = places.get(end - at, (0, 0))
        if not place or data[at + place - 2:at + place] != _INFO_NAME:
            place, stop = places[end - at] = _find_info(data, at, end)
        if not place:
            yield _row(data, at, end, family)
            continue
        sent_ms, received_ms, heard_ms = _AGES.unpack_from(data, at + place)
        if timer == 0 and sent_ms >= idle_ms and received_ms >= idle_ms and heard_ms >= idle_ms:
            skipped.unwatched += 1
            if skipped.unwatched <= EXAMPLES:
                yield _row(data, at, end, family)
                continue
        elif sent_ms < _MOVING_MS or received_ms < _MOVING_MS:
            key = data[at + 4:at + 40]
            if before is not None and (key in before.known or _did_much(before.moved.get(key), data, at + place,
                                                                        busy_us)):
                yield _row(data, at, end, family)
                continue
            if not is_last:
                skipped.moved[key] = data[at + place:at + stop]
        skipped.count += 1


def _did_much(then: bytes | None, data: bytes, at: int, busy_us: int) -> bool:
    """Tell whether a socket did so much since then that the rules may have something to say of it."""
    if then is None:
        return False
    again, busy, sent = _DOINGS.unpack_from(data, at)
    again_then, busy_then, sent_then = _DOINGS.unpack_from(then)
    return bool(again - again_then >= REPAIRS_MIN or busy - busy_then >= busy_us or sent - sent_then >= STREAM_BYTES)


_QUICK: Final = struct.Struct("=xBBB52xII")
_AGES: Final = struct.Struct("=44xI4xII")
_INFO_NAME: Final = _INFO.to_bytes(2, sys.byteorder)
_MOVING_MS: Final = 5000
_DOINGS: Final = struct.Struct("=100xI64xQ24xQ")
"""``total_retrans``, ``busy_time`` and ``bytes_sent`` of ``tcp_info``; the last of them is there since Linux 4.19."""
_INFO_BYTES: Final = _DOINGS.size
EXAMPLES: Final = 5
BUSY_SHARE: Final = 0.3
REPAIRS_MIN: Final = 3
STREAM_BYTES: Final = 30_000


def _find_info(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Find where ``tcp_info`` begins and ends in a message, from ``at``; zeros if it has none, or an old kernel's."""
    place = at + _MESSAGE.size
    while place + 4 <= end:
        size, name = ATTRIBUTE.unpack_from(data, place)
        if name == _INFO:
            return (place + 4 - at, place + size - at) if size - 4 >= _INFO_BYTES else (0, 0)
        if size < ATTRIBUTE.size:
            break
        place += size + 3 & ~3
    return 0, 0


def open_netlink() -> socket.socket:
    """Open a socket on which the kernel can be asked for sockets."""
    return kernel.open_netlink(_NETLINK_SOCK_DIAG)


def _messages(states: int, has_details: bool, netlink: socket.socket | None = None,
              protocol: int = socket.IPPROTO_TCP) -> Iterator[tuple[int, bytes, int, int]]:
    """Ask for both IP versions; give family, and where in which bytes each socket's message is."""
    extensions = sum(1 << one - 1 for one in (_INFO, _ALGORITHM, _CONGESTION, _SKMEMINFO)) if has_details else 0
    asked = open_netlink() if netlink is None else netlink
    try:
        asked.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * _BUFFER_BYTES)
        for family in (AF_INET, AF_INET6):
            request = struct.pack("=BBBxI", family, protocol, extensions, states) + bytes(48)
            for data, at, end in kernel.dump(asked, _SOCK_DIAG_BY_FAMILY, request, sequence=family):
                yield family, data, at, end
    finally:
        if netlink is None:
            asked.close()


def _row(data: bytes, at: int, end: int, family: int) -> Row:
    (kind, state, timer, retransmits, sport, dport, source, target, interface, _, expires, recv_q, send_q, uid,
     inode) = _MESSAGE.unpack_from(data, at)
    if family == AF_INET or kind == AF_INET:
        source, target = source[:4], target[:4]
    row = Row(state, timer, retransmits, source, int.from_bytes(sport, "big"), target, int.from_bytes(dport, "big"),
              interface, expires, recv_q, send_q, uid, inode)
    at += _MESSAGE.size
    while at + 4 <= end:
        size, name = ATTRIBUTE.unpack_from(data, at)
        if size < ATTRIBUTE.size:
            break
        if name == _INFO:
            row.info_bytes = data[at + 4:at + size]
        elif name == _CONGESTION:
            row.congestion = data[at + 4:at + size].rstrip(b"\0")
        elif name == _SKMEMINFO:
            row.memory = data[at + 4:at + size]
        elif name in (_BBR, _DCTCP):
            row.algorithm = data[at + 4:at + size]
        elif name == _V6_ONLY:
            row.is_v6_only = data[at + 4] != 0
        at += size + 3 & ~3
    if state in (TIME_WAIT, SYN_RECEIVED):
        row.info_bytes = b""
    return row

