"""Unmodified programs, same seed: the same capture, to the byte, also in another process with another hash seed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import redis.asyncio
import uvicorn

from estab import Network
from estab.observe.capture import write_section
from estab.observe.pcapng import PcapngWriter
from estab.observe.recorder import Recorder
from tests.programs.test_web_servers import APP
from tools.programs.servers.resp import Server


def capture(seed: int, path: Path) -> bytes:
    """Run a web server and a Redis, each with clients, over a bad link. Returns the capture's bytes."""
    recorder = Recorder()
    with Network(seed, recorder) as net:
        client, server = net.host("client"), net.host("server")
        net.link(client, server, delay="20ms", jitter="5ms", loss="2%", reorder="1%", rate="10Mbit")
        server.run(lambda: uvicorn.run(APP, host="0.0.0.0", port=80, log_config=None))
        server.run(Server().serve)

        @client.run(start=1)
        async def count() -> list[int]:
            async with redis.asyncio.Redis(host="server", socket_timeout=60) as database:
                return list(await asyncio.gather(*(database.incr("n") for _ in range(10))))

        @client.run(start=1)
        def fetch() -> list[str]:
            with httpx.Client(timeout=60) as session:
                texts = []
                for number in range(10):
                    texts.append(session.get("http://server/", params={"name": str(number)}).text)
                    time.sleep(0.5)
                return texts

        net.run()
        assert sorted(count.result()) == list(range(1, 11))
        assert len(fetch.result()) == 10
    with path.open("wb") as stream:
        write_section(PcapngWriter(stream), recorder.facts)
    return path.read_bytes()


def test_the_same_seed_gives_the_same_capture_and_another_another(tmp_path: Path) -> None:
    first = capture(1, tmp_path / "first.pcapng")
    assert len(first) > 20_000
    assert first == capture(1, tmp_path / "again.pcapng")
    assert first != capture(2, tmp_path / "other.pcapng")


def test_another_process_with_another_hash_seed_gives_the_same_capture(tmp_path: Path) -> None:
    outputs = set()
    for hash_seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, str(Path(__file__).resolve()), str(tmp_path / f"{hash_seed}.pcapng")]
        outputs.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(outputs) == 1


if __name__ == "__main__":
    print(hashlib.sha256(capture(3, Path(sys.argv[1]))).hexdigest())
