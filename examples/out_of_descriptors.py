"""A hundred clients, and a server that may have 64 descriptors.

Its kernel goes on to accept: all hundred are ESTABLISHED. asyncio's server fails with EMFILE, complains a hundred times
at once, stops listening for a second, and complains again. The clients that it can't take wait in silence, for as long
as the others stay.
"""

from __future__ import annotations

import asyncio

import estab


def story(nofile: int, stay_s: float) -> str:
    """Say how many clients are served, and how often the server complains."""
    complaints: list[float] = []
    waits: list[float] = []
    with estab.Network(seed=1) as net:
        server, client = net.host("server", nofile=nofile), net.host("client")
        net.link(client, server, delay="1ms")

        @server.run(daemon=True)
        async def serve() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: complaints.append(loop.time()))

            async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(b"hello")
                await reader.read()
                writer.close()

            async with await asyncio.start_server(greet, "", 80) as listener:
                await listener.serve_forever()

        async def visit() -> None:
            reader, writer = await asyncio.open_connection("server", 80)
            started = asyncio.get_running_loop().time()
            await reader.read(5)
            waits.append(asyncio.get_running_loop().time() - started)
            await asyncio.sleep(stay_s)
            writer.close()

        @client.run
        async def visitors() -> None:
            await asyncio.gather(*(visit() for _ in range(100)))

        net.run()
    served_at_once = sum(wait_s < 1 for wait_s in waits)
    return f"{served_at_once} served at once, the last after {max(waits):.1f} s; {len(complaints)} complaints"


if __name__ == "__main__":
    for nofile in (64, 128):
        print(f"nofile {nofile:3}, clients stay 5 s: {story(nofile, 5)}")
