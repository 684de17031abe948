"""A gigabyte over a link that loses, doubles, reorders and damages: every byte right, and how long that takes.

    python -m bench.gigabyte [--megabytes N] [--seed N]

2 % of frames are lost, 1 % come twice, 5 % out of order and 0.1 % with a bit changed, in both directions. The text is
checked by SHA-256. Printed: virtual and real time, and how many frames a second the lab carried.
"""

from __future__ import annotations

import argparse
import hashlib
import socket
import sys
import time
from dataclasses import dataclass

from estab._build import core_line
from estab.lab.network import Network

__all__ = ["Moved", "move"]

WEATHER = {"loss": "2%", "duplicate": "1%", "reorder": "5%", "corrupt": "0.1%"}
PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Moved:
    """What a transfer was like. ``frames`` counts both directions."""

    size_bytes: int
    is_exact: bool
    virtual_s: float
    real_s: float
    frames: int
    retransmitted: int


def piece(number: int) -> bytes:
    """Give a piece of the text: no two are alike, and no run repeats within one."""
    return hashlib.shake_128(number.to_bytes(8, "big")).digest(PIECE_BYTES)


def move(size_bytes: int, seed: int = 1, control: str = "bbr") -> Moved:
    """Move ``size_bytes``, rounded up to pieces of 1 MiB, and compare what arrives."""
    net = Network(seed)
    server, client = net.host("server"), net.host("client", tcp_congestion_control=control)
    cable = net.link(client, server, delay="5ms", rate="1Gbit", queue="8MiB", **WEATHER)
    count = -(-size_bytes // PIECE_BYTES)
    sent = hashlib.sha256()

    @server.run
    def serve() -> bytes:
        digest = hashlib.sha256()
        with socket.create_server(("", 80)) as listener:
            connection, _ = listener.accept()
        with connection:
            buffer = bytearray(1 << 20)
            while length := connection.recv_into(buffer):
                digest.update(memoryview(buffer)[:length])
        return digest.digest()

    @client.run
    def send() -> None:
        with socket.create_connection(("server", 80)) as connection:
            for number in range(count):
                data = piece(number)
                sent.update(data)
                connection.sendall(data)

    started = time.perf_counter()
    net.run()
    real_s = time.perf_counter() - started
    moved = Moved(
        count * PIECE_BYTES, serve.result() == sent.digest(), net.now, real_s,
        cable.there.frames_carried + cable.back.frames_carried, client.counters()["TcpRetransSegs"],
    )
    net.close()
    return moved


def main() -> None:
    """Move, and print a line; exit status 1 where a byte was wrong."""
    parser = argparse.ArgumentParser(description="a transfer over a link with all that goes wrong")
    parser.add_argument("--megabytes", type=int, default=1000, help="how much (default: 1000)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(core_line(), file=sys.stderr)
    moved = move(options.megabytes * 1_000_000, options.seed)
    verdict = "byte-exact" if moved.is_exact else "WRONG"
    print(f"{moved.size_bytes / 1e6:.0f} MB {verdict}: {moved.virtual_s:.1f} virtual seconds in {moved.real_s:.1f} "
          f"real ones ({moved.virtual_s / moved.real_s:.2f} simulated seconds a second), {moved.frames:,} frames "
          f"({moved.frames / moved.real_s:,.0f} a second), {moved.retransmitted:,} segments sent again")
    sys.exit(0 if moved.is_exact else 1)


if __name__ == "__main__":
    main()
