"""A switch: hosts that find each other by ARP and neighbour discovery, and addresses that move between them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from estab import Host, Network, Switch, drop, ok
from estab.events import Event, FrameReceived, NeighborChanged
from estab.lab.boxes.bridge import ADDRESSES_MAX, Bridge
from estab.units import SECOND

VIRTUAL = "10.9.0.100"


def serve() -> None:
    with socket.create_server(("", 3306), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        while True:
            taken, _ = listener.accept()
            with taken:
                while piece := taken.recv(100):
                    taken.sendall(piece)


def lan(observer: Callable[[Event], None] | None = None, **properties: Any) -> tuple[Network, Switch, list[Host]]:
    net = Network(1, observer)
    hosts = [net.host(name) for name in ("client", "a", "b")]
    segment = net.switch("lan", *hosts, **{"delay": "1ms", **properties})
    for host in hosts[1:]:
        host.run(serve, daemon=True)
    return net, segment, hosts


def test_hosts_on_a_switch_have_one_network_and_find_each_other() -> None:
    facts: list[Event] = []
    net, segment, (client, a, b) = lan(facts.append)
    with net:
        assert [host.address for host in (client, a, b)] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]

        @client.run
        def call() -> list[float]:
            took = []
            for address in ("a", "b", "fd00::3"):
                started = time.monotonic()
                socket.create_connection((address, 3306)).close()
                took.append(time.monotonic() - started)
            return took

        net.run()
        assert call.result() == pytest.approx([0.008, 0.008, 0.012])  # by IPv6 both ends ask
        asked = [fact for fact in facts if isinstance(fact, FrameReceived) and fact.data[12:14] == b"\x08\x06"]
        assert {fact.host for fact in asked if fact.data[:6] == b"\xff" * 6} == {"a", "b"}
        assert segment.table == {"02:00:00:00:00:01": "client", "02:00:00:00:00:02": "a", "02:00:00:00:00:03": "b"}
        assert segment.flooded_count == 0
        assert repr(segment) == "<Switch lan: client, a, b>"


def test_a_switch_is_a_network_among_others() -> None:
    with Network(1) as net:
        client, router, a, b, far = (net.host(name) for name in ("client", "router", "a", "b", "far"))
        router.engine.is_forwarding = True
        net.link(client, router, delay="1ms")
        net.switch("lan", router, a, b, delay="1ms")
        net.link(b, far, delay="1ms")
        b.engine.is_forwarding = True
        for host in (a, far):
            host.run(serve, daemon=True)

        def call(*names: str) -> int:
            for name in names:
                socket.create_connection((name, 3306), timeout=5).close()
            return len(names)

        programs = [client.run(call, "a", "far"), a.run(call, "far"), far.run(call, "a")]
        net.run()
        assert [program.result() for program in programs] == [2, 1, 1]


def test_a_cable_of_a_switch_is_cut_set_and_ruled_as_any_link() -> None:
    net, segment, (client, a, b) = lan()
    with net:
        segment.cable(a).cut()
        segment.cable(b).set(delay="50ms")

        def call(name: str) -> float:
            started = time.monotonic()
            try:
                socket.create_connection((name, 3306), timeout=5).close()
            except OSError:
                return -1
            return time.monotonic() - started

        dead, slow = client.run(call, "10.0.0.2"), client.run(call, "10.0.0.3")
        net.run()
        assert dead.result() == -1
        assert slow.result() == pytest.approx(4 * 0.051)
        with net.rule(lambda p: drop, on=segment):
            parted = client.run(call, "10.0.0.3")
            net.run()
            assert parted.result() == -1
        with net.rule(lambda p: drop if p.arp and p.dst == "10.0.0.2" else ok):
            segment.cable(a).heal()
            again = client.run(call, "10.0.0.2")
            net.run()
            assert again.result() == -1
        with pytest.raises(ValueError, match="host: new is not at lan"):
            segment.cable(net.host("new"))


def moved(*, announce: bool, dies: bool = True, loses_announcement: bool = False) -> tuple[list[Any], list[Event]]:
    """Move the virtual address from a to b at 13.5 s; a died at 10.5 s. Returns what the client notices, and when."""
    facts: list[Event] = []
    net, segment, (client, a, b) = lan(facts.append)
    with net:
        a.add_address(VIRTUAL + "/24", segment)
        if dies:
            net.at(10.5, a.power_off)
        else:
            net.at(13.5, a.remove_address, VIRTUAL)
        if loses_announcement:
            net.rule(lambda p: drop if p.arp and p.src == p.dst else ok)
        net.at(13.5, lambda: b.add_address(VIRTUAL + "/24", segment, announce=announce))

        @client.run(start="100ms")
        def talk() -> list[Any]:
            sock, seen = socket.create_connection((VIRTUAL, 3306)), []
            try:
                while True:
                    sock.sendall(b"q")
                    sock.recv(10)
                    time.sleep(1)
            except OSError as error:
                seen.append((type(error).__name__, time.monotonic()))
            sock.close()
            with socket.create_connection((VIRTUAL, 3306)) as again:
                again.sendall(b"q")
                seen.append((again.recv(10), time.monotonic()))
            return seen

        net.run(until=200, check=False)
        return talk.result(), facts


def test_an_address_that_moves_with_an_announcement_is_reset_by_its_new_holder_at_the_next_transmission() -> None:
    [(error, at_s), (answer, again_s)], facts = moved(announce=True)
    assert (error, answer) == ("ConnectionResetError", b"q")
    assert 13.5 < at_s < 18
    assert again_s < at_s + 0.1
    assert any(isinstance(fact, NeighborChanged) and fact.host == "client" and fact.address == VIRTUAL
               and fact.link_address == "02:00:00:00:00:03" and abs(fact.at_ns - 13_502_000_000) < 2 for fact in facts)


def test_without_the_announcement_the_dead_hosts_entry_must_first_become_stale_and_fail() -> None:
    for words in ({"announce": False}, {"announce": True, "loses_announcement": True}):
        [(error, at_s), (answer, _)], facts = moved(**words)
        assert (error, answer) == ("ConnectionResetError", b"q")
        states = [(fact.state, fact.at_ns / SECOND) for fact in facts
                  if isinstance(fact, NeighborChanged) and fact.host == "client" and fact.address == VIRTUAL]
        names = [state for state, _ in states]
        assert names[:3] == ["INCOMPLETE", "REACHABLE", "STALE"]
        assert "FAILED" in names
        times = dict(reversed(states))
        assert 10.5 < times["STALE"] < 60  # by ReachableTime, or since TCP has no answers (RFC 1122 section 2.3.2.1)
        assert times["PROBE"] - times["DELAY"] == pytest.approx(5)
        assert times["FAILED"] - times["PROBE"] == pytest.approx(3, abs=1.1)
        assert times["FAILED"] < at_s < 120


def test_an_address_of_ipv6_moves_with_an_unsolicited_advertisement() -> None:
    net, segment, (client, a, b) = lan()
    with net:
        a.add_address("fd00:9::100/64", segment)

        @client.run
        def talk() -> list[str]:
            peers = []
            for _ in range(2):
                with socket.create_connection(("fd00:9::100", 3306)) as sock:
                    sock.sendall(b"q")
                    sock.recv(10)
                entry = next(one for one in client.engine.neighbors.all() if one.address[-2:] == b"\x01\x00")
                peers.append(entry.mac.hex(":"))
                time.sleep(4)
            return peers

        net.at(2, a.remove_address, "fd00:9::100")
        net.at(2, b.add_address, "fd00:9::100/64", segment)
        net.run(until=20)
        assert talk.result() == ["02:00:00:00:00:02", "02:00:00:00:00:03"]


def test_an_added_address_is_listed_named_and_gone_after_a_power_loss() -> None:
    net, _, (_, a, b) = lan()
    with net:
        a.add_address(VIRTUAL + "/24")
        assert a.addresses[-1] == VIRTUAL
        with pytest.raises(ValueError, match=r"10\.9\.0\.100/24 is on eth0 already"):
            a.add_address(VIRTUAL + "/24")
        with pytest.raises(ValueError, match=r"address: '10\.9\.0\.100' was not added to b"):
            b.remove_address(VIRTUAL)
        with pytest.raises(ValueError, match=r"address: '10\.0\.0\.2' was not added to a"):
            a.remove_address("10.0.0.2")
        net.run(until=1)
        a.power_off()
        a.power_on()
        assert VIRTUAL not in a.addresses


def test_an_address_is_added_on_a_plain_link_too() -> None:
    with Network(1) as net:
        client, router, server = net.host("client"), net.host("router", forwarding=True), net.host("server")
        net.link(client, router, delay="1ms")
        cable = net.link(router, server, delay="1ms")
        server.run(serve, daemon=True)
        server.add_address("192.0.2.7/32", cable)
        with pytest.raises(ValueError, match="on: router is on 2 links; say on which one"):
            router.add_address("192.0.2.8/32")

        @client.run
        def call() -> None:
            socket.create_connection(("192.0.2.7", 3306), timeout=5).close()

        net.run()
        assert call.done()


def test_a_host_that_was_silent_for_long_is_flooded_for_and_so_is_all_after_the_switch_forgot() -> None:
    net, segment, (client, a, _) = lan()
    with net:
        def call() -> None:
            socket.create_connection(("a", 3306), timeout=5).close()

        client.run(call)
        net.run()
        segment.forget()
        assert segment.table == {}
        client.run(call)
        net.run()
        assert segment.flooded_count == 1
        net.run(until=net.now + 400)
        assert segment.table == {}
        assert a.address == "10.0.0.2"


def test_the_table_of_a_switch_is_bounded() -> None:
    now_ns = 0
    bridge = Bridge(lambda: now_ns)
    out: list[int] = []
    bridge.outputs = [lambda frame, port=port: out.append(port) for port in range(3)]  # type: ignore[misc]
    for number in range(ADDRESSES_MAX + 10):
        bridge.take(0, b"\xff" * 6 + b"\x02" + number.to_bytes(5, "big") + b"\x08\x06")
    assert len(bridge.table()) == ADDRESSES_MAX
    out.clear()
    bridge.take(1, b"\x02" + (5).to_bytes(5, "big") + b"\x02" + b"\xff" * 5 + b"\x08\x00")
    assert out == [0]
    now_ns = 301 * SECOND
    bridge.take(1, b"\x02" + (5).to_bytes(5, "big") + b"\x02" + b"\xff" * 5 + b"\x08\x00")
    assert out == [0, 0, 2]
    assert len(bridge.table()) == 1
    bridge.take(1, b"short")


def test_mistakes_with_a_switch_are_refused() -> None:
    net, segment, (client, _, _) = lan()
    with net:
        with pytest.raises(ValueError, match="plug: client is at lan already"):
            segment.plug(client)
        with pytest.raises(ValueError, match="there is a host or switch 'lan' already"):
            net.switch("lan")
        with pytest.raises(TypeError, match=r"lan is a switch, which has a cable to each host; lan\.plug\(host\)"):
            net.link(net.host("late"), segment)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="a link has no property 'dely'"):
            net.switch("other", dely="1ms")  # type: ignore[call-arg]
        with pytest.raises(ValueError, match="client is a host of another network"):
            Network().switch("other", client)
