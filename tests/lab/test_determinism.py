"""Same seed, same frames, to the byte: in one process and across processes with different hash seeds."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

from estab import Network
from estab.events import Event, FrameReceived, FrameSent, LinkDropped


def digest(seed: int, with_spare_link: bool = False) -> str:
    """Run a busy network and digest every frame with its time and place."""
    state = hashlib.sha256()

    def note(fact: Event) -> None:
        if isinstance(fact, (FrameSent, FrameReceived, LinkDropped)):
            state.update(repr((type(fact).__name__, fact.at_ns, fact.host, fact.data)).encode())

    with Network(seed, note) as net:
        client, router, server = net.host("client"), net.host("router", forwarding=True), net.host("server")
        net.link(client, router, delay="5ms", jitter="3ms", loss="3%", duplicate="1%", ethernet=True)
        net.link(router, server, delay="20ms", rate="5Mbit", queue=30, reorder="2%", corrupt="1%")
        if with_spare_link:
            net.link(server, net.host("spare"), loss="50%")

        @server.run
        async def serve() -> None:
            async def on_caller(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                while text := await reader.read(4096):
                    writer.write(text)
                    await writer.drain()
                writer.close()

            async with await asyncio.start_server(on_caller, "", 80) as listener:
                await listener.serve_forever()

        def call(size: int) -> None:
            time.sleep(random.random())
            text = os.urandom(size)
            with socket.create_connection(("server", 80)) as connection:
                connection.sendall(text)
                connection.shutdown(socket.SHUT_WR)
                with connection.makefile("rb") as file:
                    assert file.read() == text

        programs = [client.run(call, size) for size in (1, 5000, 20_000)]
        net.run()
        assert all(program.done() for program in programs)
        return f"{state.hexdigest()} {net.now_ns}"


def test_the_same_seed_gives_the_same_frames_and_another_gives_others() -> None:
    assert digest(1) == digest(1)
    assert digest(1) != digest(2)


def test_a_link_more_changes_nothing_elsewhere() -> None:
    assert digest(3) == digest(3, with_spare_link=True)


def test_the_hash_seed_of_the_process_changes_nothing() -> None:
    outputs = set()
    for hash_seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, str(Path(__file__).resolve()), "5"]
        outputs.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert outputs == {digest(5) + "\n"}


if __name__ == "__main__":
    print(digest(int(sys.argv[1])))
