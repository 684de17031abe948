"""A small server of PostgreSQL's protocol: it answers ``select $1::text`` with its argument, and what clients ask first."""

from __future__ import annotations

import asyncio
import struct

__all__ = ["serve_postgres"]

_TEXT = 25
_ANSWERS = {
    "select pg_catalog.version()": "PostgreSQL 16.0 on x86_64", "select current_schema()": "public",
    "show standard_conforming_strings": "on", "show transaction isolation level": "read committed",
    "show transaction_isolation": "read committed",
}
_TAGS = ("begin", "commit", "rollback", "set", "discard", "deallocate", "reset", "unlisten", "close")


def _message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack(">I", len(body) + 4) + body


def _text(text: str) -> bytes:
    return text.encode() + b"\0"


def _columns() -> bytes:
    return _message(b"T", struct.pack(">H", 1) + _text("answer") + struct.pack(">IHIhih", 0, 0, _TEXT, -1, -1, 0))


def _row(value: bytes) -> bytes:
    return _message(b"D", struct.pack(">HI", 1, len(value)) + value)


def _has_rows(query: str) -> bool:
    return not query.lower().strip().startswith(_TAGS)


def _answer(query: str, arguments: list[bytes]) -> bytes:
    known = _ANSWERS.get(query.lower().strip(" ;\n"))
    if known is not None:
        return known.encode()
    if arguments:
        return arguments[0].upper()
    return query.partition("'")[2].partition("'")[0].upper().encode() or b"1"


async def _talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async def read(size: int) -> bytes:
        return await reader.readexactly(size)

    statements: dict[bytes, str] = {}
    query, arguments, is_open = "", list[bytes](), False
    while True:
        size, version = struct.unpack(">II", await read(8))
        await read(size - 8)
        if version == 196608:
            break
        writer.write(b"N")  # no TLS
    writer.write(_message(b"R", struct.pack(">I", 0)))
    for name, value in (("server_version", "16.0"), ("client_encoding", "UTF8"), ("TimeZone", "UTC"),
                        ("server_encoding", "UTF8"), ("standard_conforming_strings", "on"), ("DateStyle", "ISO, MDY"),
                        ("integer_datetimes", "on")):
        writer.write(_message(b"S", _text(name) + _text(value)))
    writer.write(_message(b"K", struct.pack(">II", 1, 2)) + _message(b"Z", b"I"))
    while True:
        kind, size = struct.unpack(">cI", await read(5))
        body = await read(size - 4)
        if kind == b"X":
            return
        if kind == b"Q":
            query = body[:-1].decode()
            for part in [text for text in query.split(";") if text.strip()]:
                word = part.split()[0].lower()
                is_open = word == "begin" if word in ("begin", "commit", "rollback") else is_open
                rows = _columns() + _row(_answer(part, [])) if _has_rows(part) else b""
                writer.write(rows + _message(b"C", _text("SELECT 1" if rows else word.upper())))
        elif kind == b"P":
            name, _, rest = body.partition(b"\0")
            statements[name] = rest.partition(b"\0")[0].decode()
            writer.write(_message(b"1"))
        elif kind == b"D":
            name = body[1:-1]
            query = statements.get(name, query)
            if body[:1] == b"S":
                count = query.count("$1")
                writer.write(_message(b"t", struct.pack(">H", count) + struct.pack(">I", _TEXT) * count))
            writer.write(_columns() if _has_rows(query) else _message(b"n"))
        elif kind == b"B":
            _, _, rest = body.partition(b"\0")
            name, _, rest = rest.partition(b"\0")
            query = statements[name]
            formats = struct.unpack(">H", rest[:2])[0]
            at = 2 + 2 * formats
            count = struct.unpack(">H", rest[at : at + 2])[0]
            at, arguments = at + 2, []
            for _ in range(count):
                length = struct.unpack(">i", rest[at : at + 4])[0]
                arguments.append(rest[at + 4 : at + 4 + max(length, 0)])
                at += 4 + max(length, 0)
            writer.write(_message(b"2"))
        elif kind == b"E":
            word = query.split()[0].lower()
            is_open = word == "begin" if word in ("begin", "commit", "rollback") else is_open
            rows = _row(_answer(query, arguments)) if _has_rows(query) else b""
            writer.write(rows + _message(b"C", _text("SELECT 1" if rows else word.upper())))
        elif kind == b"C":
            writer.write(_message(b"3"))
        if kind in b"QS":
            writer.write(_message(b"Z", b"T" if is_open else b"I"))
        await writer.drain()


async def serve_postgres() -> None:
    """Serve on port 5432."""
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(talk, "0.0.0.0", 5432) as server:
        await server.serve_forever()


