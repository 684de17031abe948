"""What is done to hosts and programs is left out, one by one, until only what makes the run fail is left."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

from estab import Network
from estab.trial.attempt import attempt
from estab.trial.shrink import minimal_weather


def serve() -> None:
    with socket.create_server(("", 80)) as listener:
        while True:
            with listener.accept()[0] as sock, suppress(OSError):
                while text := sock.recv(100):
                    sock.sendall(text)


def shop(net: Network) -> None:
    """Fail if the answer takes longer than five seconds: only the pause of the server's program does that."""
    client, server = net.host("client"), net.host("server")
    link = net.link(client, server, delay="10ms", loss="5%")
    serving = server.run(serve, daemon=True, name="serve")
    for when, fault in (("1s", link.cut), ("1.1s", link.heal), ("2s", client.suspend), ("3s", client.resume),
                        ("4s", serving.pause), ("14s", serving.resume)):
        net.at(when, fault)
    net.at("1.5s", client.set_clock, "+1h")
    net.at("2.5s", server.set_drift, "100ppm")

    @client.run
    def ask() -> None:
        with socket.create_connection(("server", 80)) as sock:
            for _ in range(20):
                started = time.monotonic()
                sock.sendall(b"order")
                sock.recv(100)
                assert time.monotonic() - started < 5, "slow"
                time.sleep(0.2)

    net.run()


def test_only_the_pause_that_made_it_fail_is_left() -> None:
    failed = attempt(shop, 1, logs_chance=True)
    assert failed.is_failure
    assert len(failed.faults) == 8
    found = minimal_weather(shop, failed)
    assert found.is_minimal
    # Without the second it fails in another way: the run waits for ever.
    assert found.lines() == ["at 4s serve@server.pause", "at 14s serve@server.resume"]
    assert f"{len(failed.happenings)} events and 8 actions shrunk to 0 events and 2 actions in" in found.footer()
