"""HTTP/1.1 for files: GET and HEAD, connections kept alive, ranges, and answers that say that nothing changed.

What a path stands for, a ``Store`` says; this file reads no disk and no clock. Bounds: ``ends_max`` connections, a head
of ``HEAD_BYTES_MAX``, no request bodies, ``IDLE_NS`` without a byte in either direction, one answer at a time on each
connection, of which ``CHUNK_BYTES`` and the send buffer are in memory.
"""

from __future__ import annotations

import errno
from collections import deque
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
        """Give up to ``count`` bytes from ``offset`` on; fewer where there are no more, or reading failed."""
        return b""

    def close(self) -> None:
        """Give back what it holds."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Store:
    """What can be asked for."""

    def find(self, names: list[str]) -> Content | None:
        """Find what a path (its names, decoded and free of ``..``) stands for; ``None`` where there is nothing.

        ``OSError`` EACCES: it must not be read; EMFILE: not now.
        """
        return None

    def date(self) -> str:
        """Give the Date field's text now."""
        return ""


class _Exchange:
    """What is going on on one connection."""

    def __init__(self, end: StreamSocket, now_ns: i64) -> None:
        self.end: StreamSocket = end
        self.received: bytes = b""
        self.content: Content | None = None
        self.at: i64 = 0
        self.stop: i64 = 0
        self.head: bytes = b""
        """What of the answer's head (and body, where it is our own text) found no room yet."""
        self.is_last: bool = False
        self.is_shut: bool = False
        self.due_ns: i64 = now_ns + IDLE_NS
        self.is_over: bool = False


class Http(Service):
    """Serves what a ``Store`` has."""

    def __init__(self, store: Store, ends_max: i64 = 10_000) -> None:
        super().__init__("http", ends_max)
        self.store: Store = store
        self.request_count: i64 = 0
        self.error_count: i64 = 0
        self._exchanges: dict[int, _Exchange] = {}
        self._waiting: deque[tuple[int, _Exchange]] = deque()
        """When to look whether an exchange is idle. Its own time is later when bytes came meanwhile."""

    # --- Service

    def on_ready(self, end: StreamSocket, now_ns: i64) -> None:
        """Read requests, and send answers as far as there is room."""
        connection = end.connection
        if connection is None or connection.error != 0 or connection.state == abi.CLOSED:
            self.close(end, now_ns)
            return
        exchange = self._exchanges.get(end.fd)
        if exchange is None:
            exchange = _Exchange(end, now_ns)
            self._exchanges[end.fd] = exchange
            self._waiting.append((exchange.due_ns, exchange))
        if exchange.is_shut:
            connection.discard(now_ns)
        else:
            self._go_on(exchange, connection, now_ns)
        if connection.is_eof() and (exchange.is_shut or self._is_idle(exchange)):
            self.close(end, now_ns)
            return
        end.demux.touch(connection)

    def on_gone(self, fd: i64) -> None:
        """Give back the file."""
        exchange = self._exchanges.pop(fd, None)
        if exchange is not None:
            exchange.is_over = True
            self._drop_content(exchange)

    def on_deadline(self, now_ns: i64) -> None:
        """Close the connections on which nothing happens."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= now_ns:
            exchange = waiting.popleft()[1]
            if exchange.is_over:
                continue
            if exchange.due_ns <= now_ns:
                self.close(exchange.end, now_ns)
            else:
                waiting.append((max(exchange.due_ns, now_ns + SECOND), exchange))

    def next_deadline_ns(self) -> i64:
        """Give when the connection that was looked at longest ago is to be looked at again."""
        while self._waiting and self._waiting[0][1].is_over:
            self._waiting.popleft()
        return self._waiting[0][0] if self._waiting else NEVER

    # --- inside

    def _is_idle(self, exchange: _Exchange) -> bool:
        return exchange.content is None and not exchange.head

    def _go_on(self, exchange: _Exchange, connection: Connection, now_ns: i64) -> None:
        """Answer one request after the other until text or room is missing."""
        while self._send(exchange, connection, now_ns):
            if exchange.is_last:
                connection.shutdown_write()
                exchange.is_shut = True
                exchange.received = b""
                exchange.due_ns = now_ns + LINGER_NS
                self._waiting.appendleft((exchange.due_ns, exchange))
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
                exchange.head = exchange.head[connection.write(exchange.head, now_ns):]
            elif content is not None:
                if not connection.is_writable():
                    return False
                data = content.read(exchange.at, min(room, CHUNK_BYTES, exchange.stop - exchange.at))
                exchange.at += connection.write(data, now_ns)  # that may be less than all of it
                if not data:  # it shrank, or can't be read: all we can still say is that this answer is cut off
                    self.error_count += 1
                    self._drop_content(exchange)
                    exchange.is_last = True
                    connection.abort()
                    return False
            exchange.due_ns = now_ns + IDLE_NS
            if content is not None and not exchange.head and exchange.at >= exchange.stop:
                self._drop_content(exchange)
        return True

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
                received += more
                exchange.due_ns = now_ns + IDLE_NS
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


def _is_unchanged(fields: dict[str, str], content: Content) -> bool:
    """Tell whether the peer has this version already (RFC 9110 sections 13.1.2 and 13.1.3)."""
    tags = fields.get("if-none-match")
    if tags is not None:
        return tags.strip() == "*" or content.tag in [tag.strip().removeprefix("W/") for tag in tags.split(",")]
    return fields.get("if-modified-since", "-") == content.changed
