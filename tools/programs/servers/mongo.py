"""A small server of MongoDB's protocol (OP_MSG): insert and find in memory, and what drivers ask first."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

__all__ = ["serve_mongo"]


async def serve_mongo() -> None:
    """Serve on port 27017."""
    import bson
    kept: dict[str, list[Any]] = {}

    def answer(command: dict[str, Any]) -> dict[str, Any]:
        verb = next(iter(command))
        if verb.lower() in ("hello", "ismaster"):
            return {"isWritablePrimary": True, "ismaster": True, "maxBsonObjectSize": 16777216, "maxWireVersion": 21,
                    "minWireVersion": 0, "maxMessageSizeBytes": 48000000, "maxWriteBatchSize": 100000,
                    "readOnly": False, "helloOk": True, "ok": 1.0}
        if verb == "insert":
            kept.setdefault(command["insert"], []).extend(command["documents"])
            return {"n": len(command["documents"]), "ok": 1.0}
        if verb == "find":
            wanted = command.get("filter", {})
            found = [item for item in kept.get(command["find"], [])
                     if all(item.get(key) == value for key, value in wanted.items())]
            return {"cursor": {"firstBatch": found, "id": 0, "ns": f"shop.{command['find']}"}, "ok": 1.0}
        return {"ok": 1.0}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        try:
            while True:
                size, request, _, code = struct.unpack("<iiii", await reader.readexactly(16))
                body = await reader.readexactly(size - 16)
                number += 1
                if code == 2004:  # OP_QUERY, the first hello
                    at = body.index(b"\0", 4) + 1 + 8
                    document = bson.encode(answer(bson.decode(body[at:])))
                    head = struct.pack("<iqii", 8, 0, 0, 1)
                    writer.write(struct.pack("<iiii", 16 + len(head) + len(document), number, request, 1) + head + document)
                    continue
                at, command = 4, dict[str, Any]()
                while at < len(body) - 1:
                    kind = body[at]
                    length = struct.unpack("<i", body[at + 1 : at + 5])[0]
                    if kind == 0:
                        command.update(bson.decode(body[at + 1 : at + 1 + length]))
                    else:
                        name, _, rest = body[at + 5 : at + 1 + length].partition(b"\0")
                        command[name.decode()] = bson.decode_all(rest)
                    at += 1 + length
                document = bson.encode(answer(command))
                writer.write(struct.pack("<iiiiIB", 21 + len(document), number, request, 2013, 0, 0) + document)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(talk, "0.0.0.0", 27017) as server:
        await server.serve_forever()
