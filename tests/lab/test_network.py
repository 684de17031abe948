"""Hosts, links, addresses, routes, names and time of a virtual network."""

from __future__ import annotations

import gc
import socket
import sys
import threading
import time
import traceback
import weakref
from typing import Any

import pytest

from estab.errors import DropReason, explain
from estab.events import Event, FrameReceived, FrameSent, LinkChanged, LinkDropped
from estab.lab.host import Host
from estab.lab.network import Network
from estab.units import SECOND


def two(**properties: Any) -> tuple[Network, Host, Host]:
    net = Network(seed=3)
    a, b = net.host("a"), net.host("b")
    net.link(a, b, **properties)
    return net, a, b


def can_talk(net: Network, server: Host, client: Host, family: int = socket.AF_INET) -> float:
    """Send a line from one host to another and back. Returns how long that took."""
    name = server.name

    @server.run(daemon=True)
    def echo() -> None:
        with socket.create_server(("", 7), family=family) as listener:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(connection.recv(100))

    def ask() -> float:
        started = time.monotonic()
        address = socket.getaddrinfo(name, 7, family, socket.SOCK_STREAM)[0][4]
        with socket.socket(family) as caller:
            caller.connect(address)
            caller.sendall(b"hello")
            assert caller.recv(100) == b"hello"
        return time.monotonic() - started

    program = client.run(ask)
    net.run()
    took_s: float = program.result()
    return took_s


def test_each_link_is_two_networks_of_its_own() -> None:
    net = Network()
    a, b, c = (net.host(name) for name in "abc")
    net.link(a, b)
    net.link(b, c)
    assert a.addresses == ["10.0.0.1", "fd00::1"]
    assert b.addresses == ["10.0.0.2", "10.0.1.1", "fd00::2", "fd00:0:0:1::1"]
    assert c.address == "10.0.1.2"


def test_a_host_without_a_link_has_only_its_loopback() -> None:
    net = Network()
    alone = net.host("alone")
    assert alone.address == "127.0.0.1"
    assert can_talk(net, alone, alone) == 0.0


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("ethernet", [False, True])
def test_two_hosts_talk_by_either_version_of_ip_with_and_without_ethernet(family: int, ethernet: bool) -> None:
    net, a, b = two(delay="10ms", ethernet=ethernet)
    took_s = can_talk(net, a, b, family)
    # Two round trips; with Ethernet the hosts first have to find each other's MAC addresses.
    assert 0.059 < took_s < 0.081 if ethernet else took_s == pytest.approx(0.04)


def test_a_way_over_routers_is_found_and_is_the_shortest() -> None:
    net = Network()
    client, server = net.host("client"), net.host("server")
    near, far, further = (net.host(name, forwarding=True) for name in ("near", "far", "further"))
    net.link(client, far, delay="100ms")
    net.link(far, further, delay="100ms")
    net.link(further, server, delay="100ms")
    net.link(client, near, delay="10ms")
    net.link(near, server, delay="10ms")
    assert can_talk(net, server, client) == pytest.approx(0.08)


def test_a_host_that_does_not_forward_is_no_way() -> None:
    net = Network()
    client, middle, server = (net.host(name) for name in ("client", "middle", "server"))
    net.link(client, middle)
    net.link(middle, server)
    caller = client.socket()
    with pytest.raises(OSError, match="unreachable") as caught, caller:
        caller.connect((server.address, 80))
    assert "no route" in explain(caught.value)


def test_routes_follow_when_a_link_is_added_later() -> None:
    net = Network()
    client, router, server = net.host("client"), net.host("router", forwarding=True), net.host("server")
    net.link(client, router, delay="1ms")
    net.link(router, server, delay="50ms")
    assert can_talk(net, server, client) == pytest.approx(0.204)
    net.link(client, server, delay="2ms")
    assert can_talk(net, server, client) == pytest.approx(0.008)


def test_a_name_gives_the_address_on_a_shared_link_first() -> None:
    net = Network()
    a, b, c = net.host("a"), net.host("b"), net.host("c")
    net.link(a, b)
    net.link(b, c)
    lookups = [node.run(socket.gethostbyname, "b") for node in (a, c)]
    net.run()
    assert [program.result() for program in lookups] == ["10.0.0.2", "10.0.1.1"]


def test_names_are_case_blind_and_known_backwards() -> None:
    net, a, _ = two()
    forward, backward = a.run(socket.gethostbyname, "B"), a.run(socket.gethostbyaddr, "10.0.0.2")
    net.run()
    assert forward.result() == "10.0.0.2"
    assert backward.result() == ("b", [], ["10.0.0.2"])


def test_settings_are_read_in_words_and_wrong_ones_named() -> None:
    net = Network()
    host = net.host("a", tcp_fin_timeout="10s", tcp_syncookies="always", somaxconn=5)
    assert host.engine.config.tcp_fin_timeout_ns == 10 * SECOND
    assert host.engine.config.somaxconn == 5
    with pytest.raises(TypeError, match="did you mean tcp_fin_timeout"):
        net.host("b", tcp_fin_timout="10s")
    with pytest.raises(ValueError, match="backlog_policy: 'none' is not one of"):
        net.host("c", backlog_policy="none")


@pytest.mark.parametrize("name", ["", "a b", "10.0.0.1:80", "x/y"])
def test_a_name_that_is_no_host_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name: "):
        Network().host(name)


def test_names_of_hosts_and_links_are_taken_once() -> None:
    net, a, b = two()
    with pytest.raises(ValueError, match="there is a host 'a' already"):
        net.host("a")
    assert net.link(a, b).name == "a-b-2"
    with pytest.raises(ValueError, match="there is a link 'a-b' already"):
        net.link(a, b, name="a-b")
    with pytest.raises(ValueError, match="both ends are a"):
        net.link(a, a)


# --- time


def test_time_jumps_to_what_happens_next() -> None:
    net, a, _ = two()

    @a.run
    def nap() -> float:
        time.sleep(3600)
        return time.monotonic()

    started = time.perf_counter()
    net.run()
    assert nap.result() == net.now == 3600.0
    assert time.perf_counter() - started < 2


def test_run_until_stops_at_that_time_and_can_go_on() -> None:
    net, a, _ = two()
    nap = a.run(time.sleep, 10)
    net.run(until="4s")
    assert net.now == 4.0
    assert not nap.done()
    net.run(until=10)
    assert nap.done()
    net.run(until="1min")
    assert net.now_ns == 60 * SECOND
    with pytest.raises(ValueError, match="until: 5 is past: it is 60s"):
        net.run(until=5)


def test_actions_happen_at_their_time_and_in_their_order() -> None:
    net, _, _ = two()
    seen: list[tuple[float, str]] = []
    for when, name in (("2s", "c"), (1, "a"), ("1s", "b")):
        net.at(when, lambda name=name: seen.append((net.now, name)))
    net.run()
    assert seen == [(1.0, "a"), (1.0, "b"), (2.0, "c")]
    with pytest.raises(ValueError, match="time: 1 is past"):
        net.at(1, lambda: None)


def test_an_action_that_fails_ends_the_run_and_one_may_not_wait() -> None:
    net, a, b = two()
    net.at(1, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        net.run()
    with a.socket() as caller:
        net.at(2, lambda: caller.connect((b.address, 80)))
        with pytest.raises(RuntimeError, match="only a program may wait"):
            net.run()


def test_every_repeats_and_keeps_no_run_going() -> None:
    net, a, _ = two()
    seen: list[float] = []
    net.every("1s", lambda: seen.append(net.now))
    a.run(time.sleep, 3.5)
    net.run()
    assert seen == [1.0, 2.0, 3.0]
    assert net.now == 3.5


def test_step_lets_one_thing_happen() -> None:
    net, a, b = two(delay="10ms")
    times = []
    with a.socket() as caller:
        caller.setblocking(False)
        assert caller.connect_ex((b.address, 9)) != 0
        while net.step():
            times.append(net.now)
    # The SYN arrives and is refused; the reset arrives.
    assert times[:2] == [0.01, 0.02]


def test_a_blocking_call_outside_of_programs_runs_the_network() -> None:
    net, a, b = two(delay="10ms")
    with b.socket() as listener, a.socket() as caller:
        listener.bind(("", 80))
        listener.listen()
        caller.connect(("b", 80))
        assert net.now == 0.02
        accepted, address = listener.accept()
        with accepted:
            assert address == caller.getsockname()
            caller.settimeout(5)
            with pytest.raises(TimeoutError):
                caller.recv(1)
            assert net.now == pytest.approx(5.03, abs=0.02)


# --- cables


def test_a_cut_is_silence_and_a_healed_cable_carries_again() -> None:
    net, a, b = two(delay="10ms")
    cable = net.links[0]
    net.at("1s", cable.cut)
    net.at("31s", cable.heal)

    @b.run(daemon=True)
    def count() -> None:
        with socket.create_server(("", 80)) as listener:
            connection, _ = listener.accept()
            with connection:
                for number in range(1000):
                    connection.sendall(b"%d\n" % number)
                    time.sleep(0.1)

    @a.run
    def read() -> tuple[int, float]:
        longest, last, lines = 0.0, time.monotonic(), 0
        with socket.create_connection(("b", 80)) as caller, caller.makefile("rb") as file:
            for line in file:
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
                assert int(line) == lines
                lines += 1
        return lines, longest

    net.run()
    lines, longest = read.result()
    assert lines == 1000
    assert 30 < longest < 60


def test_the_observer_hears_of_frames_losses_and_cables() -> None:
    facts: list[Event] = []
    net = Network(seed=3, observer=facts.append)
    a, b = net.host("a"), net.host("b")
    cable = net.link(a, b, loss=("100%", 0))
    with a.socket() as caller:
        caller.setblocking(False)
        caller.connect_ex(("b", 80))
        cable.set(loss=0)
        net.run(until=2)
    kinds = [type(fact) for fact in facts]
    lost = [fact for fact in facts if isinstance(fact, LinkDropped)]
    assert [(fact.host, fact.link, fact.reason) for fact in lost] == [("a", "a-b", DropReason.LINK_LOSS)]
    assert lost[0].data in [fact.data for fact in facts if isinstance(fact, FrameSent) and fact.host == "a"]
    assert [fact.what for fact in facts if isinstance(fact, LinkChanged)] == ["set loss=0"]
    assert FrameReceived in kinds


def test_a_second_observer_hears_the_same_and_the_first_goes_on() -> None:
    net, a, _ = two()
    first: list[Event] = []
    second: list[Event] = []
    net.observe(first.append)
    net.observe(second.append)
    with a.socket() as caller:
        assert caller.connect_ex(("b", 80)) != 0
    assert first == second != []


# --- the end


def test_a_program_that_prints_what_ended_it_prints_nothing_when_its_network_closes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Network() as net:
        a = net.host("a")

        @a.run(daemon=True)
        def serve() -> None:
            try:
                time.sleep(3600)
            except BaseException:
                traceback.print_exc()
                try:
                    raise RuntimeError("while it was about that")
                except RuntimeError:
                    traceback.print_exc()
                raise
            finally:
                print("the end", file=sys.stderr)
                print("the end")

        a.run(lambda: time.sleep(1))
        net.run()
    assert capsys.readouterr() == ("the end\n", "")


def test_closing_ends_programs_and_runs_their_finally_clauses() -> None:
    before = threading.active_count()
    seen: list[str] = []
    with Network() as net:
        a = net.host("a")

        @a.run
        def wait() -> None:
            listener = socket.create_server(("", 80))
            try:
                listener.accept()
            finally:
                seen.append("ended")

        net.run()
        assert not wait.done()
    assert seen == ["ended"]
    assert wait.done()
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="the network is closed"):
        net.run()


def test_a_network_that_nobody_holds_ends_its_programs() -> None:
    before = set(threading.enumerate())
    net = Network()
    node = net.host("a")
    node.run(lambda: socket.create_server(("", 80)).accept())
    net.run()
    assert len(set(threading.enumerate()) - before) == 1
    gone = weakref.ref(net)
    del net, node
    gc.collect()
    assert gone() is None
    assert not set(threading.enumerate()) - before


def test_a_program_that_sleeps_is_not_said_to_wait_on_a_connection_in_a_queue() -> None:
    with Network(seed=1) as net:
        server, client = net.host("server"), net.host("client")
        net.link(server, client)

        @server.run
        def serve() -> None:
            with socket.create_server(("", 80)):
                time.sleep(60)

        client.run(lambda: socket.create_connection(("server", 80)).close())
        net.run(until="1s")
        (line,) = net.waiting()
        assert "sleep(60)" in line
        assert "unread" not in line
