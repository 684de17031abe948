"""HTTP/1.1 for files: GET and HEAD, connections kept alive, ranges, and answers that say that nothing changed.

A ``Store`` says what a path stands for; this file reads no disk and no clock. Bounds:

- ``ends_max`` connections, ``client_ends_max`` of them of one client (an IPv4 address, an IPv6 network of 64 bits);
- a head of ``HEAD_BYTES_MAX`` that is whole ``HEAD_NS`` after its first byte; no request bodies;
- one answer at a time on each connection, of which ``CHUNK_BYTES`` and the send buffer are in memory. It must go on:
  not ``IDLE_NS`` without a byte, and after that time ``RATE_MIN`` bytes a second on the average;
- ``IDLE_NS`` between two requests, ``LINGER_NS`` after the last answer.

If the service is full, a new connection takes the place of another: of one that lingers, else of the one that has
waited longest for a whole request, else of the answer that has made no progress for longest. So clients that are slow
on purpose don't keep others out.
"""

from __future__ import annotations

import errno
from collections import OrderedDict, deque
from typing import Final

from mypy_extensions import i64, mypyc_attr

from estab import abi
from estab.host.sockets.stream import StreamSocket
from estab.serve.request import (
    HEAD_BYTES_MAX,
    UNSATISFIABLE,
    WHOLE,
    BadRequestError,
    Request,
    head_end,
    parse_path,
    parse_range,
    parse_request,
)
from estab.serve.services import Service
from estab.tcp.connection import Connection
from estab.units import NEVER, SECOND

__all__ = ["Content", "Http", "Store"]

CHUNK_BYTES: Final = 262_144
IDLE_NS: Final = 30 * SECOND
HEAD_NS: Final = 20 * SECOND
RATE_MIN: Final = 500
STALLED_NS: Final = 5 * SECOND
"""An answer without progress for so long makes room for a new connection, if the service is full."""
CLIENT_ENDS_MAX: Final = 2_500
_CLIENT_LOOKS_MAX: Final = 64
"""Connections that are looked at for one of a client that has too many."""
_LOOK_NS: Final = 5 * SECOND
"""Each connection is looked at so often: a time-out may come so much later."""
LINGER_NS: Final = 2 * SECOND
"""After the last answer the connection stays half open this long, lest a reset destroy what the peer has not read."""
REASONS: Final[dict[int, str]] = {
    200: "OK", 206: "Partial Content", 301: "Moved Permanently", 304: "Not Modified", 400: "Bad Request",
    403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 413: "Content Too Large",
    416: "Range Not Satisfiable", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
    503: "Service Unavailable", 505: "HTTP Version Not Supported",
}


@mypyc_attr(allow_interpreted_subclasses=True)
class Content:
    """One thing to send: its size and what the header fields say of it. ``moved_to`` is where to ask instead."""

    def __init__(self, size_bytes: i64, kind: str, tag: str, changed: str, moved_to: str = "") -> None:
        self.size_bytes: i64 = size_bytes
        self.kind: str = kind
        self.tag: str = tag
        self.changed: str = changed
        self.moved_to: str = moved_to

    def read(self, offset: i64, count: i64) -> bytes:
        """Give up to ``count`` bytes from ``offset`` on; fewer if there are no more, or reading failed."""
        return b""

    def close(self) -> None:
        """Release what it holds."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Store:
    """What can be requested."""

    def find(self, names: list[str]) -> Content | None:
        """Find what a path (its names, decoded and free of ``..``) stands for; ``None`` if there is nothing.

        ``OSError`` EACCES: it must not be read; EMFILE: not now.
        """
        return None

    def date(self) -> str:
        """Return the Date field's text now."""
        return ""


class _Exchange:
    """The request and the answer of one connection."""

    def __init__(self, end: StreamSocket, client: bytes, now_ns: i64) -> None:
        self.end: StreamSocket = end
        self.client: bytes = client
        self.received: bytes = b""
        self.content: Content | None = None
        self.at: i64 = 0
        self.stop: i64 = 0
        self.head: bytes = b""
        """The part of the answer's head (and of a body that is our own text) that found no room yet."""
        self.is_last: bool = False
        self.is_shut: bool = False
        self.begun_ns: i64 = now_ns
        """When it began what it does now: to wait for a request, to receive its head, to answer."""
        self.moved_ns: i64 = now_ns
        """When the answer last made progress."""
        self.written_bytes: i64 = 0
        """Of the answer."""
        self.is_over: bool = False

    def is_answering(self) -> bool:
        """Tell whether an answer is not written yet."""
        return self.content is not None or len(self.head) > 0

    def is_overdue(self, now_ns: i64) -> bool:
        """Tell whether it takes too long for what it does now."""
        took_ns = now_ns - self.begun_ns
        if not self.is_answering():
            return took_ns >= (HEAD_NS if self.received else IDLE_NS)
        if now_ns - self.moved_ns >= IDLE_NS:
            return True
        return took_ns > IDLE_NS and self.written_bytes < (took_ns - IDLE_NS) // SECOND * RATE_MIN


class Http(Service):
    """Serves what a ``Store`` has."""

    def __init__(self, store: Store, ends_max: i64 = 10_000, client_ends_max: i64 = CLIENT_ENDS_MAX) -> None:
        super().__init__("http", ends_max)
        self.store: Store = store
        self.client_ends_max: i64 = client_ends_max
        self.evicted_count: i64 = 0
        """Connections that were closed to make room for another."""
        self.request_count: i64 = 0
        self.error_count: i64 = 0
        self._exchanges: dict[int, _Exchange] = {}
        self._looks: deque[tuple[int, _Exchange]] = deque()
        """When each exchange is checked next for being overdue. The first one is due first."""
        self._lingering: deque[tuple[int, _Exchange]] = deque()
        """When an exchange that is answered and half closed ends. The first one is due first."""
        self._waiting: OrderedDict[int, _Exchange] = OrderedDict()
        """Exchanges without a whole request; the first one has waited longest."""
        self._answering: OrderedDict[int, _Exchange] = OrderedDict()
        """Exchanges with an answer that is not written yet; the first one has made no progress for longest."""
        self._clients: dict[bytes, int] = {}
        """How many connections each client has."""

    # --- Service

    def on_ready(self, end: StreamSocket, now_ns: i64) -> None:
        """Read requests, and send answers as far as there is room."""
        connection = end.connection
        if connection is None or connection.error != 0 or connection.state == abi.CLOSED:
            self.close(end, now_ns)
            return
        exchange = self._exchanges.get(end.fd)
        if exchange is None:
            exchange = self._begin(end, connection, now_ns)
            if exchange is None:
                return
        if exchange.is_shut:
            connection.discard(now_ns)
        else:
            self._go_on(exchange, connection, now_ns)
        if connection.is_eof() and (exchange.is_shut or not exchange.is_answering()):
            self.close(end, now_ns)
            return
        end.demux.touch(connection)

    def on_gone(self, fd: i64) -> None:
        """Release the file, and the client's place."""
        exchange = self._exchanges.pop(fd, None)
        if exchange is not None:
            exchange.is_over = True
            self._waiting.pop(fd, None)
            self._answering.pop(fd, None)
            left = self._clients[exchange.client] - 1
            if left > 0:
                self._clients[exchange.client] = left
            else:
                del self._clients[exchange.client]
            self._drop_content(exchange)

    def on_deadline(self, now_ns: i64) -> None:
        """Close the connections that linger, and those on which too little happens."""
        lingering = self._lingering
        while lingering and lingering[0][0] <= now_ns:
            exchange = lingering.popleft()[1]
            if not exchange.is_over:
                self.close(exchange.end, now_ns)
        looks = self._looks
        while looks and looks[0][0] <= now_ns:
            exchange = looks.popleft()[1]
            if exchange.is_over or exchange.is_shut:
                continue
            if exchange.is_overdue(now_ns):
                self.close(exchange.end, now_ns)
            else:
                looks.append((now_ns + _LOOK_NS, exchange))

    def next_deadline_ns(self) -> i64:
        """Return when the next connection is to be looked at."""
        return min(_first_due_ns(self._looks), _first_due_ns(self._lingering))

    def make_room(self, now_ns: i64) -> bool:
        """Close the least active connection, for a new one."""
        while self._lingering:
            exchange = self._lingering.popleft()[1]
            if not exchange.is_over:
                return self._evict(exchange, now_ns)
        for fd in self._waiting:
            return self._evict(self._waiting[fd], now_ns)
        for fd in self._answering:
            exchange = self._answering[fd]
            return now_ns - exchange.moved_ns >= STALLED_NS and self._evict(exchange, now_ns)
        return False

    # --- inside

    def _begin(self, end: StreamSocket, connection: Connection, now_ns: i64) -> _Exchange | None:
        """Note a new connection; ``None`` if its client has too many, and none of them can be closed for it."""
        remote = connection.remote
        client = remote if len(remote) == 4 else remote[:8]
        count = self._clients.get(client, 0)
        exchange = _Exchange(end, client, now_ns)
        self._clients[client] = count + 1
        self._exchanges[end.fd] = exchange
        if count >= self.client_ends_max:
            self.evicted_count += 1
            self.close(self._oldest_of(client, exchange).end, now_ns)
            if exchange.is_over:
                return None
        self._waiting[end.fd] = exchange
        self._looks.append((now_ns + _LOOK_NS, exchange))
        return exchange

    def _oldest_of(self, client: bytes, otherwise: _Exchange) -> _Exchange:
        """Find the connection of a client that has waited longest for a request, among the first that wait."""
        for looks, fd in enumerate(self._waiting):
            if looks >= _CLIENT_LOOKS_MAX:
                break
            if self._waiting[fd].client == client:
                return self._waiting[fd]
        return otherwise

    def _evict(self, exchange: _Exchange, now_ns: i64) -> bool:
        self.evicted_count += 1
        self.close(exchange.end, now_ns)
        return True

    def _note_phase(self, exchange: _Exchange, now_ns: i64) -> None:
        """Note that an exchange begins to answer, or to wait for the next request."""
        fd = exchange.end.fd
        exchange.begun_ns = exchange.moved_ns = now_ns
        exchange.written_bytes = 0
        self._waiting.pop(fd, None)
        self._answering.pop(fd, None)
        if exchange.is_answering():
            self._answering[fd] = exchange
        elif not exchange.is_shut:
            self._waiting[fd] = exchange

    def _go_on(self, exchange: _Exchange, connection: Connection, now_ns: i64) -> None:
        """Answer one request after the other, until no text is left or no room."""
        while self._send(exchange, connection, now_ns):
            if exchange.end.fd in self._answering and not exchange.is_last:
                self._note_phase(exchange, now_ns)
            if exchange.is_last:
                connection.shutdown_write()
                exchange.is_shut = True
                exchange.received = b""
                self._note_phase(exchange, now_ns)
                self._lingering.append((now_ns + LINGER_NS, exchange))
                connection.discard(now_ns)
                return
            if not self._read_request(exchange, connection, now_ns):
                return

    def _send(self, exchange: _Exchange, connection: Connection, now_ns: i64) -> bool:
        """Write what is left of the answer; ``True`` when all of it is."""
        while exchange.head or exchange.content is not None:
            room = connection.room()
            if room <= 0 or connection.state == abi.SYN_RECEIVED:
                return False
            content = exchange.content
            if exchange.head:
                written = connection.write(exchange.head, now_ns)
                exchange.head = exchange.head[written:]
                self._note_progress(exchange, written, now_ns)
            elif content is not None:
                if not connection.is_writable():
                    return False
                data = content.read(exchange.at, min(room, CHUNK_BYTES, exchange.stop - exchange.at))
                written = connection.write(data, now_ns)  # that may be less than all of it
                exchange.at += written
                self._note_progress(exchange, written, now_ns)
                if not data:  # it shrank, or can't be read: we can only cut the answer off
                    self.error_count += 1
                    self._drop_content(exchange)
                    exchange.is_last = True
                    connection.abort()
                    return False
            if content is not None and not exchange.head and exchange.at >= exchange.stop:
                self._drop_content(exchange)
        return True

    def _note_progress(self, exchange: _Exchange, written: i64, now_ns: i64) -> None:
        if written > 0:
            exchange.written_bytes += written
            exchange.moved_ns = now_ns
            fd = exchange.end.fd
            if self._answering.pop(fd, None) is not None:
                self._answering[fd] = exchange

    def _drop_content(self, exchange: _Exchange) -> None:
        content = exchange.content
        if content is not None:
            exchange.content = None
            content.close()

    def _read_request(self, exchange: _Exchange, connection: Connection, now_ns: i64) -> bool:
        """Take the next request, and prepare its answer. ``False``: it has not all come."""
        received = exchange.received
        if len(received) < HEAD_BYTES_MAX:
            more = connection.read(HEAD_BYTES_MAX - len(received), is_peek=False, now_ns=now_ns)
            if more:
                if not received:
                    exchange.begun_ns = now_ns
                received += more
        while received[:2] == b"\r\n":
            received = received[2:]  # RFC 9112 section 2.2: empty lines before a request are to be ignored
        exchange.received = received
        try:
            end = head_end(received)
            if end < 0:
                return False
            exchange.received = received[end:]
            self.request_count += 1
            self._answer(exchange, parse_request(received[:end]))
        except BadRequestError as bad:
            exchange.is_last = True
            self._refuse(exchange, bad.status, bad.why)
        self._note_phase(exchange, now_ns)
        return True

    def _answer(self, exchange: _Exchange, request: Request) -> None:
        exchange.is_last = not request.is_kept_alive()
        is_head = request.method == "HEAD"
        if not is_head and request.method != "GET":
            self._refuse(exchange, 405, f"{request.method} is not done here", more="Allow: GET, HEAD\r\n")
            return
        names = parse_path(request.target)
        try:
            content = self.store.find(names)
        except OSError as error:
            status = 503 if error.errno == errno.EMFILE else 403
            self._refuse(exchange, status, "it can't be read", is_head=is_head)
            return
        if content is None:
            self._refuse(exchange, 404, "there is nothing of that name", is_head=is_head)
        elif content.moved_to:
            content.close()
            self._refuse(exchange, 301, "see Location", is_head=is_head, more=f"Location: {content.moved_to}\r\n")
        else:
            self._answer_with(exchange, request, content, is_head)

    def _answer_with(self, exchange: _Exchange, request: Request, content: Content, is_head: bool) -> None:
        fields = request.fields
        about = f'ETag: {content.tag}\r\nLast-Modified: {content.changed}\r\nAccept-Ranges: bytes\r\n'
        if _is_unchanged(fields, content):
            content.close()
            self._head(exchange, 304, about)
            return
        begin, stop = WHOLE
        if not is_head and fields.get("if-range", content.tag) in (content.tag, content.changed):
            begin, stop = parse_range(fields.get("range", ""), content.size_bytes)
        if (begin, stop) == UNSATISFIABLE:
            content.close()
            self._refuse(exchange, 416, "no such range",
                         more=f"Content-Range: bytes */{content.size_bytes}\r\n")
            return
        about += f"Content-Type: {content.kind}\r\n"
        status = 200
        if (begin, stop) == WHOLE:
            begin, stop = 0, content.size_bytes
        else:
            status = 206
            about += f"Content-Range: bytes {begin}-{stop - 1}/{content.size_bytes}\r\n"
        self._head(exchange, status, f"{about}Content-Length: {stop - begin}\r\n")
        if is_head or begin == stop:
            content.close()
        else:
            exchange.content = content
            exchange.at, exchange.stop = begin, stop

    def _refuse(self, exchange: _Exchange, status: int, why: str, *, is_head: bool = False, more: str = "") -> None:
        """Answer with a line of text."""
        if status >= 400:
            self.error_count += 1
        body = f"{status} {REASONS[status]}: {why}\n"
        about = f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        self._head(exchange, status, more + about)
        if not is_head:
            exchange.head += body.encode("ascii", "replace")

    def _head(self, exchange: _Exchange, status: int, fields: str) -> None:
        keep = "close" if exchange.is_last else "keep-alive"
        exchange.head = (
            f"HTTP/1.1 {status} {REASONS[status]}\r\nDate: {self.store.date()}\r\n{fields}Connection: {keep}\r\n\r\n"
        ).encode("latin-1", "replace")


def _first_due_ns(queue: deque[tuple[int, _Exchange]]) -> i64:
    while queue and queue[0][1].is_over:
        queue.popleft()
    return queue[0][0] if queue else NEVER


def _is_unchanged(fields: dict[str, str], content: Content) -> bool:
    """Tell whether the peer has this version already (RFC 9110 sections 13.1.2 and 13.1.3)."""
    tags = fields.get("if-none-match")
    if tags is not None:
        return tags.strip() == "*" or content.tag in [tag.strip().removeprefix("W/") for tag in tags.split(",")]
    return fields.get("if-modified-since", "-") == content.changed
