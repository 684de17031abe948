"""Servers for the virtual run of a story: as much of redis, PostgreSQL and nginx as a client needs for one question."""

from __future__ import annotations

import asyncio
import struct

__all__ = ["serve_http", "serve_postgres", "serve_redis"]


async def serve_redis(port: int = 6379) -> None:
    """Answer every command with OK, and PING as it should be."""
    server = await asyncio.start_server(_redis, "", port)
    await server.serve_forever()


async def _redis(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while line := await reader.readline():
            words = []
            for _ in range(int(line[1:])):
                size = int((await reader.readline())[1:])
                words.append((await reader.readexactly(size + 2))[:-2])
            writer.write(b"+PONG\r\n" if words[0].upper() == b"PING" else b"+OK\r\n")
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def serve_http(port: int = 80) -> None:
    """Answer every request with a line of text."""
    server = await asyncio.start_server(_http, "", port)
    await server.serve_forever()


async def _http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nfrom nginx\n")
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def serve_postgres(port: int = 5432) -> None:
    """Let anybody in, and answer every query with the number 1."""
    server = await asyncio.start_server(_postgres, "", port)
    await server.serve_forever()


def _message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


_READY = _message(b"Z", b"I")
_COLUMN = _message(b"T", struct.pack("!H", 1) + b"one\0" + struct.pack("!IHIhih", 0, 0, 23, 4, -1, 1))
_ANSWERS = {
    b"P": _message(b"1"), b"D": _message(b"t", struct.pack("!H", 0)) + _COLUMN, b"B": _message(b"2"), b"S": _READY,
    b"C": _message(b"3"), b"H": b"",
    b"E": _message(b"D", struct.pack("!HI", 1, 4) + struct.pack("!i", 1)) + _message(b"C", b"SELECT 1\0"),
}


async def _postgres(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        size, code = struct.unpack("!II", await reader.readexactly(8))
        while code == 80877103:  # SSLRequest
            writer.write(b"N")
            size, code = struct.unpack("!II", await reader.readexactly(8))
        await reader.readexactly(size - 8)
        writer.write(_message(b"R", struct.pack("!I", 0)) + _message(b"S", b"server_version\x0015.0\0")
                     + _message(b"S", b"client_encoding\0UTF8\0") + _message(b"K", struct.pack("!II", 1, 1)) + _READY)
        while True:
            kind, size = struct.unpack("!cI", await reader.readexactly(5))
            await reader.readexactly(size - 4)
            if kind == b"X":
                return
            writer.write(_ANSWERS[kind])
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
