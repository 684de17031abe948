"""A small server of Cassandra's protocol, version 4: one node, its system tables, and ``SELECT now``."""

from __future__ import annotations

import asyncio
import struct

__all__ = ["serve_cql"]

_ERROR, _STARTUP, _READY, _OPTIONS, _SUPPORTED, _QUERY, _RESULT, _REGISTER = 0, 1, 2, 5, 6, 7, 8, 11
_VARCHAR, _INT, _INET, _UUID, _SET = 13, 9, 16, 12, 34
_VERSION = 4
_INVALID, _PROTOCOL = 0x2200, 0x0A


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack(">H", len(data)) + data


def _octets(value: bytes | None) -> bytes:
    return struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value


def _rows(table: str, columns: list[tuple[str, bytes, bytes | None]], is_empty: bool = False) -> bytes:
    """Write a result of one row, or of none: name, type and value of each column."""
    head = struct.pack(">iii", 2, 1, len(columns)) + _text("system") + _text(table)
    names = b"".join(_text(name) + kind for name, kind, _ in columns)
    count = struct.pack(">i", 0 if is_empty else 1)
    return head + names + count + (b"" if is_empty else b"".join(_octets(value) for _, _, value in columns))


def _kind(number: int) -> bytes:
    return struct.pack(">H", number)


def _local(address: bytes) -> list[tuple[str, bytes, bytes | None]]:
    word = _kind(_VARCHAR)
    token = b"0"
    return [
        ("key", word, b"local"), ("cluster_name", word, b"lab"), ("data_center", word, b"dc1"), ("rack", word, b"r1"),
        ("partitioner", word, b"org.apache.cassandra.dht.Murmur3Partitioner"), ("release_version", word, b"4.0.0"),
        ("host_id", _kind(_UUID), b"\1" * 16), ("schema_version", _kind(_UUID), b"\2" * 16),
        ("broadcast_address", _kind(_INET), address), ("rpc_address", _kind(_INET), address),
        ("tokens", _kind(_SET) + word, struct.pack(">i", 1) + _octets(token)),
    ]


def _answer(query: str, address: bytes, asked: list[int]) -> tuple[int, bytes]:
    if "system.local" in query:
        return _RESULT, _rows("local", _local(address))
    if "system.peers" in query and "peers_v2" not in query:
        peer = [("peer", _kind(_INET), address), *_local(address)[2:-1]]
        return _RESULT, _rows("peers", peer, is_empty=True)
    if query.startswith("SELECT now"):
        asked[0] += 1
        return _RESULT, _rows("counter", [("now", _kind(_INT), struct.pack(">i", asked[0]))])
    return _ERROR, struct.pack(">i", _INVALID) + _text(f"there is no answer to {query}")


async def serve_cql() -> None:
    """Serve on port 9042."""
    asked = [0]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = bytes(int(part) for part in writer.get_extra_info("sockname")[0].split("."))
        try:
            while True:
                version, _, stream, code, size = struct.unpack(">BBhBi", await reader.readexactly(9))
                body = await reader.readexactly(size)
                answer: tuple[int, bytes] = (_READY, b"")
                if version != _VERSION:
                    answer = _ERROR, struct.pack(">i", _PROTOCOL) + _text("only version 4 is spoken here")
                elif code == _OPTIONS:
                    spoken = _text("CQL_VERSION") + struct.pack(">H", 1) + _text("3.4.5")
                    answer = _SUPPORTED, struct.pack(">H", 2) + spoken + _text("COMPRESSION") + struct.pack(">H", 0)
                elif code == _QUERY:
                    length = struct.unpack_from(">i", body)[0]
                    answer = _answer(body[4 : 4 + length].decode(), address, asked)
                writer.write(struct.pack(">BBhBi", 0x80 | _VERSION, 0, stream, answer[0], len(answer[1])) + answer[1])
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(talk, "0.0.0.0", 9042) as server:
        await server.serve_forever()
