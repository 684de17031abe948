"""A firewall on a link: what it lets through, what it forgets, and who notices."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any

import pytest

from estab import Host, Network, PacketView, nth, ok
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
    net, _, _ = three()
    firewall = net.links[0].firewall(idle=1)
    for frame in (b"", b"\x60" + bytes(60)):
        assert firewall(PacketView("a-b", "a", frame, 0)) is ok


def test_a_firewall_has_its_inside_at_an_end_of_the_link() -> None:
    net, _, _ = three()
    with pytest.raises(ValueError, match="c is at no end of a-b"):
        net.links[0].firewall(idle=1, inside=net.host("c"))


def siege(firewall_words: dict[str, Any], until: float = 700) -> tuple[list[tuple[int, float]], int]:
    """Connect and close every half second, 105 times. Returns which took longer, and how many packets were refused."""
    with Network(seed=1) as net:
        client, server = net.host("client", tcp_syn_retries=20), net.host("server")
        firewall = net.link(client, server, delay="1ms").firewall(idle="10min", flows_max=100, **firewall_words)

        @server.run(daemon=True)
        def serve() -> None:
            with socket.create_server(("", 80)) as listener:
                while True:
                    listener.accept()[0].close()

        @client.run
        def besiege() -> list[tuple[int, float]]:
            slow = []
            for count in range(1, 106):
                started = time.monotonic()
                with contextlib.suppress(ConnectionRefusedError):
                    socket.create_connection(("server", 80), timeout=900).close()
                if time.monotonic() - started > 0.5:
                    slow.append((count, round(time.monotonic(), 1)))
                time.sleep(0.5)
            return slow

        net.run(until=until)
        return besiege.result(), firewall.refused_count


def test_a_full_table_refuses_until_closed_flows_are_forgotten() -> None:
    slow, refused = siege({"closed": "120s"})
    assert slow == [(101, 177.2)]
    assert refused == 7
    assert siege({}, 1000)[0] == [(101, 657.2)]


def test_a_full_table_that_rejects_is_known_at_once() -> None:
    slow, refused = siege({"closed": "120s", "unknown": "reject"})
    assert (slow, refused) == ([], 10)  # by IPv4, and then by IPv6


def test_a_half_open_flow_has_a_time_of_its_own() -> None:
    net, a, b = three()
    firewall = net.links[0].firewall(idle="1h", half_open="30s", inside=a)
    b.power_off()

    @a.run
    def call() -> None:
        with pytest.raises(TimeoutError):
            socket.create_connection(("10.0.0.2", 7), timeout=10)
        assert len(firewall.flows) == 1
        time.sleep(30)
        assert firewall.flows == []

    net.run(until=60)
    assert call.done()
    net.close()


@pytest.mark.parametrize("is_ethernet", [False, True])
def test_a_flow_that_was_idle_for_too_long_is_reset_at_both_ends_if_asked(is_ethernet: bool) -> None:
    with Network(seed=2) as net:
        a, b = net.host("a"), net.host("b")
        net.link(a, b, delay="10ms", ethernet=is_ethernet).firewall(idle="5min", when_idle="reset")

        @b.run
        def serve() -> float:
            with socket.create_server(("", 7)) as listener, listener.accept()[0] as connection:
                assert connection.recv(10) == b"one"
                with pytest.raises(ConnectionResetError):
                    connection.recv(10)
            return time.monotonic()

        @a.run
        def call() -> float:
            with socket.create_connection(("b", 7)) as connection:
                connection.sendall(b"one")
                with pytest.raises(ConnectionResetError):
                    connection.recv(10)
            return time.monotonic()

        net.run()
        assert 300 < call.result() < 300.2
        assert 300 < serve.result() < 300.2


def test_an_unknown_flow_is_rejected_if_asked() -> None:
    net, a, b = three()
    firewall = net.links[0].firewall(idle="5min", unknown="reject")
    b.run(echo, daemon=True)

    @a.run
    def call() -> float:
        with socket.create_connection(("b", 7)) as connection:
            connection.sendall(b"one")
            connection.recv(10)
            time.sleep(10)
            firewall.forget()
            started = time.monotonic()
            connection.sendall(b"two")
            with pytest.raises(ConnectionResetError):
                connection.recv(10)
            return time.monotonic() - started

    net.run()
    assert call.result() < 0.1
    assert firewall.dropped_count == 1
    net.close()


def test_a_loose_firewall_takes_up_a_connection_in_the_middle() -> None:
    for loose, sees in ((True, b"two"), (False, b"")):
        net, a, b = three()
        firewall = net.links[0].firewall(idle="5min", loose=loose)
        b.run(echo, daemon=True)

        @a.run
        def call(firewall: Firewall = firewall) -> bytes:
            with socket.create_connection(("b", 7)) as connection:
                connection.sendall(b"one")
                connection.recv(10)
                firewall.forget()
                connection.sendall(b"two")
                connection.settimeout(5)
                with contextlib.suppress(TimeoutError):
                    return connection.recv(10)
                return b""

        net.run()
        assert call.result() == sees
        net.close()


def test_a_segment_out_of_its_window_is_invalid() -> None:
    for invalid, arrive in (("pass", 1), ("drop", 0)):
        with Network(seed=2) as net:
            a, b = net.host("a"), net.host("b", tcp_rmem=(4096, 131_072, 131_072))
            link = net.link(a, b, delay="10ms")
            old: list[bytes] = []
            link.rule(nth(1, lambda p, old=old: p.tcp and p.tcp.length and old.append(p.data)))
            firewall = link.firewall(idle="5min", invalid=invalid)  # type: ignore[arg-type]

            @b.run
            def serve() -> int:
                with socket.create_server(("", 7)) as listener, listener.accept()[0] as connection:
                    return len(connection.recv(3_000_000, socket.MSG_WAITALL))

            @a.run
            def call() -> None:
                with socket.create_connection(("b", 7)) as connection:
                    connection.sendall(bytes(3_000_000))
                    time.sleep(5)

            net.run(until=4)
            delivered = link.there.frames_delivered
            link.inject(a, old[0])
            net.run()
            assert serve.result() == 3_000_000
            assert firewall.invalid_count == 1
            assert link.there.drops.get(DropReason.LINK_FIREWALL, 0) == 1 - arrive
            assert link.there.frames_delivered >= delivered + arrive


def test_words_that_mean_nothing_to_a_firewall_are_refused() -> None:
    net, _, _ = three()
    with pytest.raises(ValueError, match="unknown: 'reset' is not 'drop' or 'reject'"):
        net.links[0].firewall(idle=1, unknown="reset")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="flows_max: 0 is not more than nothing"):
        net.links[0].firewall(idle=1, flows_max=0)
