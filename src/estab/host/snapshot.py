"""What ``ss -a`` would print: every socket, half-open entry and TIME-WAIT record of a host, at one instant.

``is_delivering`` answers the question that is asked most often about all of them, without a row of any.
"""

from __future__ import annotations

from dataclasses import dataclass

from mypy_extensions import i64

from estab import abi
from estab.host.sockets.demux import Demux
from estab.host.sockets.files import Files
from estab.host.sockets.local import LocalSocket
from estab.host.sockets.local_names import name_text
from estab.host.sockets.stream import StreamSocket
from estab.host.sockets.udp import DatagramSocket, Udp
from estab.tcp.arriving.timewait import TimeWait
from estab.tcp.connection import Connection
from estab.tcp.context import endpoint_text
from estab.tcp.listening.listener import HalfOpen

__all__ = ["SocketRow", "is_delivering", "rows"]

_STATES = (
    "", "ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSED", "CLOSE-WAIT", "LAST-ACK",
    "LISTEN", "CLOSING",
)


@dataclass(frozen=True, slots=True)
class SocketRow:
    """One row. ``recv_q`` and ``send_q`` are bytes, a listener's the accept queue's depth and limit, as in ``ss``."""

    netid: str
    """``tcp``, ``tcp6``, ``udp`` or ``udp6``; of Unix sockets ``u_str``, ``u_dgr`` or ``u_seq``."""
    state: str
    """As ``ss`` writes it: ``ESTAB``, ``SYN-RECV``, ``UNCONN`` …; ``CLOSED`` is a TCP socket with no connection."""
    recv_q: int
    send_q: int
    local: str
    peer: str
    fd: int
    """-1 if no program has it: an orphan, a queued connection, a half-open entry, a TIME-WAIT record."""
    timer: str
    """``on`` (retransmission), ``keepalive``, ``persist``, ``delack``, ``timewait``, or empty."""
    timer_ns: int
    """Until the timer runs out."""
    retransmits: int
    detail: str
    """What the row is, if the state does not say it: ``orphan``, ``in the accept queue``, ``half-open`` …"""


def rows(demux: Demux, udp: Udp, files: Files, now_ns: i64) -> list[SocketRow]:
    """List descriptors in their order, then what lives without one, in the order in which it came."""
    result: list[SocketRow] = []
    for descriptor in files.open_descriptors():
        if isinstance(descriptor, StreamSocket):
            result.append(_stream_row(descriptor, now_ns))
        elif isinstance(descriptor, DatagramSocket):
            result.append(_datagram_row(descriptor))
        elif isinstance(descriptor, LocalSocket):
            result.append(_local_row(descriptor))
    for endpoint in demux.table.values():
        if isinstance(endpoint, Connection):
            if endpoint.owner is None:
                what = "orphan" if endpoint.is_orphan else "in the accept queue"
                result.append(_connection_row(endpoint, _netid("tcp", endpoint.local), -1, what, now_ns))
        elif isinstance(endpoint, HalfOpen):
            result.append(SocketRow(
                _netid("tcp", endpoint.ends.local), "SYN-RECV", 0, 0,
                endpoint_text(endpoint.ends.local, endpoint.ends.local_port),
                endpoint_text(endpoint.ends.remote, endpoint.ends.remote_port), -1, "on",
                max(0, endpoint.due_ns - now_ns), endpoint.retransmissions, "half-open",
            ))
        elif isinstance(endpoint, TimeWait) and endpoint.tcb is None:
            result.append(_time_wait_row(endpoint, -1, now_ns))
    return result


def is_delivering(demux: Demux, files: Files) -> bool:
    """Tell whether a connection waits for an acknowledgment: of text, or of the SYN or the FIN that it sent."""
    for descriptor in files.open_descriptors():
        if isinstance(descriptor, StreamSocket) and descriptor.listener is None:
            connection = descriptor.connection
            if connection is not None and _has_to_deliver(connection):
                endpoint = demux.table.get(connection.key)
                if not isinstance(endpoint, TimeWait) or endpoint.tcb is not connection:
                    return True
    for endpoint in demux.table.values():
        if isinstance(endpoint, Connection) and endpoint.owner is None and _has_to_deliver(endpoint):
            return True
    return False


def _has_to_deliver(connection: Connection) -> bool:
    state = i64(connection.state)
    return (state == abi.SYN_SENT or state == abi.FIN_WAIT_1 or state == abi.CLOSING or state == abi.LAST_ACK
            or connection.outq_bytes() > 0)


def _netid(name: str, address: bytes) -> str:
    return f"{name}6" if len(address) == 16 else name


def _stream_row(socket: StreamSocket, now_ns: i64) -> SocketRow:
    netid = socket.netid
    local = endpoint_text(socket.local, socket.local_port)
    listener = socket.listener
    if listener is not None:
        return SocketRow(netid, "LISTEN", listener.waiting, listener.backlog, local, "*:*", socket.fd, "", 0, 0, "")
    connection = socket.connection
    if connection is None:
        return SocketRow(netid, "CLOSED", 0, 0, local, "*:*", socket.fd, "", 0, 0, "")
    endpoint = socket.demux.table.get(connection.key)
    if isinstance(endpoint, TimeWait) and endpoint.tcb is connection:
        return _time_wait_row(endpoint, socket.fd, now_ns)
    return _connection_row(connection, netid, socket.fd, "", now_ns)


def _connection_row(connection: Connection, netid: str, fd: i64, detail: str, now_ns: i64) -> SocketRow:
    info = connection.info(now_ns)
    return SocketRow(
        netid, _STATES[connection.state], info.inq_bytes, info.outq_bytes,
        endpoint_text(connection.local, i64(connection.local_port)),
        endpoint_text(connection.remote, i64(connection.remote_port)), fd, info.timer, info.timer_ns,
        info.retransmits, detail,
    )


def _time_wait_row(record: TimeWait, fd: i64, now_ns: i64) -> SocketRow:
    return SocketRow(
        _netid("tcp", record.local), _STATES[abi.TIME_WAIT], 0, 0, endpoint_text(record.local, record.local_port),
        endpoint_text(record.remote, record.remote_port), fd, "timewait", max(0, record.expires_ns - now_ns), 0, "",
    )


def _local_row(socket: LocalSocket) -> SocketRow:
    peer = socket.peer
    if socket.backlog >= 0:
        recv_q, send_q = len(socket.pending), int(socket.backlog)
    else:
        recv_q, send_q = int(socket.readable_bytes), int(socket.charged_bytes)
    return SocketRow(socket.netid, socket.state(), recv_q, send_q, name_text(socket.name),
                     "*" if peer is None else name_text(peer.name), socket.fd, "", 0, 0, "")


def _datagram_row(socket: DatagramSocket) -> SocketRow:
    peer = endpoint_text(socket.remote, socket.remote_port) if socket.remote else "*:*"
    state = "ESTAB" if socket.remote else "UNCONN"
    local = endpoint_text(socket.local, socket.local_port)
    return SocketRow(socket.netid, state, socket.queue_bytes, 0, local, peer, socket.fd, "", 0, 0, "")
