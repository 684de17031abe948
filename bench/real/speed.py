"""Hosts of the kernel on a link of the lab: bytes a second, and how late packets leave.

``python -m bench.real.speed`` prints both. Bulk is iperf3's. For lateness one host sends 1,000 datagrams a second over
a link with a delay of 20 ms.
"""

from __future__ import annotations

import json
import socket
import time

import estab

__all__ = ["bulk_bytes_s", "lateness_of_datagrams"]


def bulk_bytes_s(may_use_tun: bool, seconds: int = 3) -> float:
    """Measure how many bytes a second pass between two kernels over a link without limits."""
    with estab.Network(clock="real", late_max="60s") as net:
        if not may_use_tun:
            net.avoid_tun()
        server, client = net.host("server"), net.host("client")
        net.link(server, client)
        server.spawn(["iperf3", "-s", "-1"], quiet=True).wait_listening(5201, "30s")
        told = client.spawn(["iperf3", "-c", "server", "-J", "-t", str(seconds)], quiet=True).check("60s")
        return float(json.loads(told)["end"]["sum_received"]["bits_per_second"]) / 8


def send_datagrams(count: int, interval_s: float) -> None:
    """Send small datagrams at a steady pace."""
    began = time.perf_counter()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(count):
            time.sleep(max(0.0, began + number * interval_s - time.perf_counter()))
            sender.sendto(b"%d" % number, ("server", 9))


def lateness_of_datagrams(count: int = 5000) -> tuple[float, float, float]:
    """Measure how late datagrams leave a link with a delay: half of them, 99 %, the latest; in milliseconds."""
    with estab.Network(clock="real", late_max="60s") as net:
        server, client = net.host("server"), net.host("client")
        net.link(server, client, delay="20ms")
        server.spawn(["sleep", "1000"], quiet=True)
        client.spawn_python(send_datagrams, count, 0.001, quiet=True).result("120s")
        late = net.lateness
        return late.share_ns(0.5) / 1e6, late.share_ns(0.99) / 1e6, late.worst_ns / 1e6


def main() -> None:
    """Print both tables."""
    print("| bulk between two kernels, link without limits | GB/s |\n|---|---:|")
    for name, may_use_tun in (("TUN devices (root)", True), ("veth and packet sockets", False)):
        print(f"| {name} | {bulk_bytes_s(may_use_tun) / 1e9:.2f} |")
    half, most, worst = lateness_of_datagrams()
    print("\n| 1,000 datagrams a second, delay 20 ms | late by, at most |\n|---|---:|")
    print(f"| half of them | {half:.3f} ms |\n| 99 % | {most:.3f} ms |\n| all | {worst:.3f} ms |")


if __name__ == "__main__":
    main()
