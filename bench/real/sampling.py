"""What does a sample of a spawned host's sockets cost? ``python -m bench.real.sampling`` prints the table."""

from __future__ import annotations

import socket
import sys
import time

import estab
from estab.native.sampling import Sampler

__all__ = ["cost_ms"]

ROUNDS = 50


def hold(count: int) -> None:
    """Hold so many connections to a server of this host, and say when all are there."""
    listener = socket.create_server(("127.0.0.1", 80), backlog=count)
    held = []
    for _ in range(count // 2):
        held.append(socket.create_connection(("127.0.0.1", 80)))
        held.append(listener.accept()[0])
    print("held", flush=True)
    time.sleep(1000)


def cost_ms(count: int) -> tuple[float, float]:
    """Measure the CPU time of this process for one sample of ``count`` sockets: if all changed, and if none did."""
    with estab.Network(clock="real", late_max="60s") as net:
        host = net.host("host")
        net.link(host, net.host("other"))
        host.spawn_python(hold, count, quiet=True).wait_output("held", "60s")
        native = host._spawned.native  # type: ignore[union-attr]
        sampler = Sampler("host")
        found = []
        for is_new in (True, False):
            began = time.process_time_ns()
            for number in range(ROUNDS):
                if is_new:
                    sampler.forget()
                native.losses()
                for _ in sampler.facts(native.tcp_rows(), number, 1):
                    pass
            found.append((time.process_time_ns() - began) / ROUNDS / 1e6)
        return found[0], found[1]


def main() -> None:
    """Print the table."""
    print("| sockets of the host | a sample in which all changed | none changed |")
    print("|---:|---:|---:|")
    for count in map(int, sys.argv[1:] or ("2", "20", "200", "2000")):
        changed, same = cost_ms(count)
        print(f"| {count:,} | {changed:.2f} ms | {same:.2f} ms |")


if __name__ == "__main__":
    main()
