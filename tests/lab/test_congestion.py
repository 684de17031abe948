"""Congestion control over the lab's links: through the sockets, and the page of the documentation that shows how."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from estab.lab.network import Network

PAGE = Path(__file__).resolve().parents[2] / "docs" / "congestion.md"


def goodput(control: str, seconds: int = 2, **link: Any) -> float:
    """Send as much as fits for some seconds; gives the share of the link's rate that arrived as text."""
    net = Network(seed=1)
    server, client = net.host("server"), net.host("client", tcp_congestion_control=control)
    net.link(client, server, rate="10Mbit", queue="64KiB", **link)
    received = 0

    @server.run
    def serve() -> None:
        nonlocal received
        with socket.create_server(("", 80)) as listener:
            connection, _ = listener.accept()
        with connection:
            while data := connection.recv(1 << 20):
                received += len(data)

    @client.run
    def send() -> None:
        with socket.create_connection(("server", 80)) as connection:
            while time.monotonic() < seconds:
                connection.send(bytes(65536))

    net.run()
    net.close()
    return received * 8 / net.now / 10e6


def test_the_example_of_the_documentation_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "congestion"}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    assert capsys.readouterr().out.startswith("1000000 bytes in ")


@pytest.mark.parametrize("control", ["reno", "cubic"])
def test_a_clean_link_is_filled(control: str) -> None:
    assert goodput(control, delay="10ms") > 0.9


def test_tcp_congestion_chooses_for_one_socket_and_tells_what_is_chosen() -> None:
    net = Network()
    host = net.host("a")

    @host.run
    def choose() -> tuple[bytes, bytes, int | None]:
        with socket.socket() as one:
            before = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
            after = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
            try:
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"vegas")
            except OSError as error:
                return before, after, error.errno
            return before, after, None

    net.run()
    before, after, number = choose.result()
    assert (before.rstrip(b"\0"), after.rstrip(b"\0"), number) == (b"cubic", b"reno", 2)
