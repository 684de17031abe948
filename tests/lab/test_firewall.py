"""A firewall on a link: what it lets through, what it forgets, and who notices."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from estab import Host, Network
from estab.errors import DropReason
from estab.events import Event, LinkChanged, LinkDropped
from estab.lab.links.firewall import Firewall


def three(observer: list[Event] | None = None) -> tuple[Network, Host, Host]:
    net = Network(seed=2, observer=None if observer is None else observer.append)
    a, b = net.host("a"), net.host("b")
    net.link(a, b, delay="10ms")
    return net, a, b


def echo() -> None:
    with socket.create_server(("", 7)) as listener:
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(ConnectionResetError):
                while data := connection.recv(100):
                    connection.sendall(data)


def test_an_idle_flow_is_forgotten_and_nobody_is_told() -> None:
    facts: list[Event] = []
    net, a, b = three(facts)
    firewall = net.links[0].firewall(idle="5min")
    b.run(echo)

    @a.run
    def call() -> tuple[bytes, bytes]:
        with socket.create_connection(("b", 7)) as connection:
            connection.sendall(b"one")
            one = connection.recv(10)
            time.sleep(299)
            connection.sendall(b"two")
            two = connection.recv(10)
            assert len(firewall.flows) == 1
            time.sleep(301)
            assert firewall.flows == []
            connection.settimeout(60)
            connection.sendall(b"three")
            with pytest.raises(TimeoutError):
                connection.recv(10)
            return one, two

    net.run(until=700)
    assert call.result() == (b"one", b"two")
    assert firewall.forgotten_count == 1
    assert firewall.dropped_count == net.links[0].there.drops[DropReason.LINK_FIREWALL] > 5
    assert any(isinstance(fact, LinkDropped) and fact.reason is DropReason.LINK_FIREWALL for fact in facts)
    [text] = [fact.what for fact in facts if isinstance(fact, LinkChanged)]
    assert text.startswith("the firewall has forgotten tcp 10.0.0.1:")
    net.close()


def test_keepalive_below_the_limit_keeps_a_flow_known() -> None:
    net, a, b = three()
    net.links[0].firewall(idle="5min")
    b.run(echo)

    @a.run
    def call() -> bytes:
        with socket.create_connection(("b", 7)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 240)
            time.sleep(86_400)
            connection.sendall(b"still here")
            return connection.recv(10)

    net.run()
    assert call.result() == b"still here"
    net.close()


def test_flows_are_opened_from_inside_only() -> None:
    net, a, b = three()
    firewall = net.links[0].firewall(idle="5min", inside=a)
    a.run(echo)
    b.run(echo)

    def call(name: str) -> float:
        try:
            socket.create_connection((name, 7), timeout=10).close()
        except TimeoutError:
            return -1
        return time.monotonic()

    out, back = a.run(call, "b"), b.run(call, "a")
    net.run()
    assert out.result() == pytest.approx(0.02)
    assert back.result() == -1
    assert firewall.dropped_count > 0
    net.close()


def test_datagrams_begin_flows_and_their_answers_pass() -> None:
    net, a, b = three()
    firewall = net.links[0].firewall(idle=30, inside=a)

    @b.run(daemon=True)
    def serve() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("", 53))
            while True:
                data, address = server.recvfrom(100)
                time.sleep(len(data))
                server.sendto(data, address)

    @a.run
    def ask() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
            caller.settimeout(100)
            caller.sendto(b"x" * 29, ("b", 53))
            caller.recv(100)
            caller.sendto(b"x" * 31, ("b", 53))
            with pytest.raises(TimeoutError):
                caller.recv(100)
            return b"late"

    net.run()
    assert ask.result() == b"late"
    assert firewall.dropped_count == 1
    net.close()


def test_a_reset_ends_a_flow_and_a_full_table_refuses() -> None:
    net, a, b = three()
    firewall = net.links[0].firewall(idle="5min")
    firewall.flows_max = 1
    b.run(echo)

    @a.run
    def call() -> int:
        with socket.create_connection(("b", 7)) as first:
            with pytest.raises(TimeoutError):
                socket.create_connection(("b", 7), timeout=5)
            refused_count = firewall.refused_count
            first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        time.sleep(1)
        socket.create_connection(("b", 7)).close()
        return refused_count

    net.run()
    assert call.result() >= 3
    net.close()


def test_what_is_no_tcp_and_no_udp_passes() -> None:
    firewall = Firewall(1, "", 0, lambda: 0, lambda text: None)
    assert firewall("a", b"") is None
    assert firewall("a", b"\x60" + bytes(60)) is None


def test_a_firewall_has_its_inside_at_an_end_of_the_link() -> None:
    net, _, _ = three()
    with pytest.raises(ValueError, match="c is at no end of a-b"):
        net.links[0].firewall(idle=1, inside=net.host("c"))
