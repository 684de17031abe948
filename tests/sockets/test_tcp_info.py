"""``struct tcp_info`` beside the kernel's own: same size, and the same numbers for the same calls over loopback."""

from __future__ import annotations

import dataclasses
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from estab.lab.network import Network
from estab.sockets.socket.tcp_info import FIELDS, LAYOUT, unpack_tcp_info
from estab.tcp.info import Info

PAGE = Path(__file__).parents[2] / "docs/tcp-info.md"
SAME = (
    "state", "ca_state", "retransmits", "probes", "backoff", "options", "ato", "unacked", "sacked", "lost", "retrans",
    "fackets", "last_ack_sent", "snd_ssthresh", "snd_cwnd", "reordering", "total_retrans", "max_pacing_rate",
    "bytes_acked", "bytes_received", "segs_out", "segs_in", "notsent_bytes", "data_segs_in", "data_segs_out",
    "rwnd_limited", "sndbuf_limited", "delivered", "delivered_ce", "bytes_sent", "bytes_retrans", "dsack_dups",
    "reord_seen", "rcv_ooopack", "rehash", "total_rto", "total_rto_recoveries", "total_rto_time",
)
"""What does not hang on speed, buffers and MTU."""


def fields(sock: Any) -> dict[str, int]:
    return unpack_tcp_info(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1024))


def a_conversation(module: Any, address: str, reno: bytes) -> Iterator[tuple[str, dict[str, int]]]:
    """Do the same calls, whoever's they are, and ask after each what each end knows."""
    with ExitStack() as stack:
        listener = stack.enter_context(module.socket())
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, reno)
        listener.bind((address, 0))
        listener.listen(5)
        yield "fresh listener", fields(listener)
        client = stack.enter_context(module.socket())
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, reno)
        yield "no connection", fields(client)
        client.connect(listener.getsockname())
        yield "one in the queue", fields(listener)
        server = stack.enter_context(listener.accept()[0])
        yield "connected", fields(client)
        yield "accepted", fields(server)
        client.sendall(b"q" * 1000)
        assert len(server.recv(4000)) == 1000
        server.sendall(b"a" * 10)
        assert len(client.recv(4000)) == 10
        yield "asked", fields(client)
        yield "answered", fields(server)
        client.sendall(b"q" * 3000)
        server.sendall(b"a")
        assert len(client.recv(4000)) == 1
        yield "asked again", fields(client)
        assert len(server.recv(4000)) == 3000
        yield "read", fields(server)


LOOPBACK = f"127.42.{os.getpid() >> 8 & 255}.{os.getpid() & 255 or 1}"


def test_the_same_calls_give_the_same_numbers_as_the_kernels_own_loopback() -> None:
    if sys.platform != "linux":
        pytest.skip("struct tcp_info is Linux's")
    # An address of its own: the kernel remembers of each pair of addresses how much its packets were reordered.
    theirs = list(a_conversation(socket, LOOPBACK, b"reno"))
    net = Network(seed=1)
    host = net.host("alone")
    ours: list[tuple[str, dict[str, int]]] = []

    @host.run
    def talk() -> None:
        import socket as module

        ours.extend(a_conversation(module, LOOPBACK, b"reno"))

    net.run()
    talk.result()
    assert [what for what, _ in ours] == [what for what, _ in theirs]
    for (what, mine), (_, kernel) in zip(ours, theirs, strict=True):
        # A kernel older than 6.18 fills less of the structure.
        names = [name for name in SAME if name in kernel]
        assert {name: mine[name] for name in names} == {name: kernel[name] for name in names}, what


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_socket_without_a_peer_has_tcp_info_too(family: int) -> None:
    net = Network()
    host = net.host("a")

    @host.run
    def ask() -> list[int]:
        with socket.socket(family) as fresh, socket.socket(family) as refused:
            states = [fields(fresh)["state"]]
            refused.bind(("", 0))
            states.append(fields(refused)["state"])
            assert refused.connect_ex(("localhost", 9)) != 0
            states.append(fields(refused)["state"])
            return states

    net.run()
    net.close()
    assert ask.result() == [7, 7, 7]


def test_the_structure_is_as_long_as_that_of_linux_6_18_and_a_short_buffer_gets_its_head() -> None:
    assert LAYOUT.size == 280
    net = Network(seed=1)
    host = net.host("alone")
    with host.socket() as one:
        assert len(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1024)) == 280
        assert len(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)) == 104
        assert set(unpack_tcp_info(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8))) == set(FIELDS[:8])


def test_the_page_tells_of_every_field_in_order_and_of_every_name_of_info() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == FIELDS
    told = set(re.findall(r"`(\w+)`", page))
    assert {field.name for field in dataclasses.fields(Info)} <= told


def test_what_accecn_counts_is_told_at_both_ends() -> None:
    net = Network(seed=1)
    server, client = net.host("server", tcp_ecn=5), net.host("client", tcp_ecn=3)
    net.link(client, server, rate="1Mbit", delay="5ms", ecn_mark=3)

    @server.run
    def serve() -> dict[str, int]:
        with socket.create_server(("", 80)) as listener:
            connection, _ = listener.accept()
        with connection:
            while connection.recv(65536):
                pass
            return fields(connection)

    @client.run
    def send() -> dict[str, int]:
        with socket.create_connection(("server", 80)) as connection:
            connection.sendall(bytes(40_000))
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)
            return fields(connection)

    net.run()
    theirs, ours = serve.result(), send.result()
    assert ours["options"] & theirs["options"] & 8
    assert theirs["received_ce"] == ours["delivered_ce"] > 2
    assert theirs["received_ce_bytes"] == ours["delivered_ce_bytes"] > 0
    assert theirs["received_e0_bytes"] == ours["delivered_e0_bytes"] == 40_000 - ours["delivered_ce_bytes"]
    assert (ours["accecn_fail_mode"], ours["accecn_opt_seen"]) == (0, 2)


def test_the_pacing_rates_are_those_that_sending_goes_by(net: Network) -> None:
    a, b = net.hosts["a"], net.hosts["b"]
    with a.socket() as listener, b.socket() as client:
        listener.bind(("", 80))
        listener.listen()
        client.connect((str(a.address), 80))
        before = fields(client)
        assert before["max_pacing_rate"] == 0xFFFFFFFFFFFFFFFF
        # Twice the window in a round trip while it starts slowly.
        expected = 2 * before["snd_cwnd"] * before["snd_mss"] * 1_000_000 // before["rtt"]
        assert before["pacing_rate"] == pytest.approx(expected, rel=0.01)
        client.setsockopt(socket.SOL_SOCKET, 47, 10_000)
        after = fields(client)
        assert (after["pacing_rate"], after["max_pacing_rate"]) == (10_000, 10_000)
