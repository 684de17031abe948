"""What users call on a network, a host, a link and a program: few names, which mean the same everywhere."""

from __future__ import annotations

import socket
import time

import pytest

from estab import CongestionControl, Flow, Host, Network, this_host
from estab.events import Event, FrameSent, LinkChanged
from estab.host.engine import Engine
from estab.lab.programs.program import UnfinishedError
from estab.lab.runtime import VirtualTime
from estab.sockets.runtime import Runtime

HOSTS_NAMES = {
    "add_address", "address", "addresses", "attach", "clock", "counters", "engine", "inject", "installed", "is_awake",
    "is_forwarding", "is_powered", "is_spawned", "keep_history", "kill", "name", "namespace_pid", "now", "now_ns",
    "observe", "pause", "power_off", "power_on", "processes", "programs", "reboot", "record", "remove_address",
    "resume", "run", "runtime", "set_backlog", "set_clock", "set_drift", "set_resolver", "socket", "sockets", "spawn",
    "spawn_python", "suspend", "sysctl", "use_kernel",
}


def two() -> tuple[Network, Host, Host]:
    net = Network(seed=3)
    a, b = net.host("a"), net.host("b")
    net.link(a, b, delay="10ms")
    return net, a, b


def ping_pong(net: Network, a: Host, b: Host) -> None:
    """Let something happen on both hosts."""
    with a.socket() as caller:
        assert caller.connect_ex(("b", 80)) != 0


# --- a host has a runtime and an engine; it is neither


def test_a_host_has_what_users_call_and_nothing_else() -> None:
    _, a, _ = two()
    assert {name for name in dir(a) if not name.startswith("_")} == HOSTS_NAMES
    assert not isinstance(a, Runtime)
    assert isinstance(a.runtime, VirtualTime)
    assert isinstance(a.engine, Engine)
    assert a.engine is a.runtime.engine


def test_time_is_a_property_of_the_network_of_hosts_and_of_runtimes() -> None:
    net, a, _ = two()
    net.run(until="1500ms")
    assert (net.now, a.now, a.runtime.now) == (1.5, 1.5, 1.5)
    assert (net.now_ns, a.now_ns, a.runtime.now_ns) == (1_500_000_000,) * 3


# --- observe adds, and gives what takes it away


def test_what_a_host_was_told_to_tell_goes_on_if_the_network_is_observed_too() -> None:
    net, a, b = two()
    by_host: list[Event] = []
    by_network: list[Event] = []
    a.observe(by_host.append)
    net.observe(by_network.append)
    ping_pong(net, a, b)
    assert by_host == [fact for fact in by_network if fact.host == "a" and not hasattr(fact, "link")] != []
    assert any(fact.host == "b" for fact in by_network)


def test_the_same_holds_for_a_link() -> None:
    net, *_ = two()
    link = net.links[0]
    by_link: list[Event] = []
    by_network: list[Event] = []
    link.observe(by_link.append)
    net.observe(by_network.append)
    link.cut()
    assert by_link == by_network
    assert LinkChanged(0, "", "a-b", "cut") in by_link


@pytest.mark.parametrize("part", ["network", "host", "link"])
def test_an_observer_is_taken_away_by_a_call_or_at_the_end_of_a_block(part: str) -> None:
    net, a, b = two()
    link = net.links[0]
    observed = {"network": net, "host": a, "link": link}[part]
    first: list[Event] = []
    second: list[Event] = []
    stop = observed.observe(first.append)
    with observed.observe(second.append):
        link.set(loss=1)
        ping_pong(net, a, b)
    before = list(second)
    assert first == second != []
    link.set(loss=0)
    ping_pong(net, a, b)
    assert second == before
    assert len(first) > len(second)
    stop()
    stop()  # it may be called again
    count = len(first)
    link.set(loss=1)
    ping_pong(net, a, b)
    assert len(first) == count
    assert net.host("later").engine.observer is None
    assert a.engine.observer is None


def test_an_observer_of_the_network_is_told_of_hosts_and_links_that_are_made_later() -> None:
    net, _a, b = two()
    told: list[Event] = []
    stop = net.observe(told.append)
    told.clear()
    c = net.host("c")
    link = net.link(b, c)
    link.cut()
    link.heal()
    with c.socket() as caller:
        assert caller.connect_ex(("b", 80)) != 0
    assert {fact.host for fact in told} == {"", "b", "c"}
    stop()
    told.clear()
    link.cut()
    link.heal()
    with c.socket() as caller:
        assert caller.connect_ex(("b", 80)) != 0
    assert told == []


def test_the_history_of_sockets_is_kept_beside_an_observer() -> None:
    _net, a, _b = two()
    told: list[Event] = []
    a.observe(told.append)
    a.keep_history()
    with a.socket() as caller:
        assert caller.connect_ex(("b", 80)) != 0
        assert [call.name for call in caller.history()] == ["socket", "connect_ex"]
    a.keep_history(0)
    assert any(isinstance(fact, FrameSent) for fact in told)


# --- a program is asked as a future is


def test_a_program_says_whether_it_runs_and_is_done() -> None:
    net, a, _ = two()
    nap = a.run(time.sleep, 2, start=1)
    assert (nap.done(), nap.running(), nap.cancelled(), nap.host) == (False, False, False, "a")
    net.run(until=2)
    assert (nap.done(), nap.running()) == (False, True)
    told = r"sleep on a waits for sleep\(2\) since 1s; Network.run\(\) goes on with it"
    with pytest.raises(UnfinishedError, match=told):
        nap.exception()
    net.run()
    assert (nap.done(), nap.running(), nap.cancelled()) == (True, False, False)
    assert nap.exception() is nap.result() is None


def test_what_a_program_raised_is_given_and_raised() -> None:
    net, a, _ = two()

    @a.run
    def fail() -> None:
        raise KeyError("x")

    net.run(check=False)
    assert isinstance(fail.exception(), KeyError)
    with pytest.raises(KeyError):
        fail.result()


def test_a_program_waits_for_another_for_a_virtual_time_at_most() -> None:
    net, a, b = two()
    nap = b.run(time.sleep, 10)

    @a.run
    def impatient() -> float:
        with pytest.raises(TimeoutError, match=r"sleep on b waits for sleep\(10\) since 0ns; .*2s"):
            nap.result(timeout="2s")
        assert time.monotonic() == 2
        assert nap.exception(timeout=60) is None
        return time.monotonic()

    net.run()
    assert impatient.result() == 10


def test_only_a_program_that_has_not_begun_can_be_cancelled() -> None:
    net, a, _ = two()
    late, early, done = a.run(time.sleep, 1, start=5), a.run(time.sleep, 3, start=1), a.run(int)
    net.run(until=2)
    assert [program.cancel() for program in (late, early, done)] == [True, False, False]
    assert [program.cancelled() for program in (late, early, done)] == [True, False, False]
    net.run()
    assert net.now == 4
    assert late.done()
    with pytest.raises(UnfinishedError, match="sleep on a was cancelled before it began"):
        late.exception()


def test_without_power_a_program_counts_as_cancelled() -> None:
    net, a, _ = two()

    @a.run
    def serve() -> None:
        socket.create_server(("", 80)).accept()

    net.at(1, a.power_off)
    net.run(until=2)
    assert (serve.cancelled(), serve.running(), serve.done()) == (True, False, True)
    with pytest.raises(UnfinishedError, match="the host lost its power"):
        serve.result()


# --- what a program asks of its own host


def test_a_program_finds_the_host_that_it_runs_on() -> None:
    net, a, b = two()
    found = [host.run(lambda: this_host()) for host in (a, b)]
    net.run()
    assert [one.result() for one in found] == [a, b]


def test_outside_of_a_host_there_is_no_this_host() -> None:
    with pytest.raises(RuntimeError, match="this one does not"):
        this_host()


def test_a_program_injects_a_frame_by_its_only_link() -> None:
    net, a, b = two()
    facts: list[Event] = []
    net.observe(facts.append)
    a.run(lambda: this_host().inject(b"not a packet"))
    net.run()
    assert [fact.data for fact in facts if isinstance(fact, FrameSent)] == [b"not a packet"]
    assert b.counters()["drop:PKT_TOO_SMALL"] == 1


def test_a_host_with_two_links_is_told_by_which_one_to_inject() -> None:
    net, a, b = two()
    facts: list[Event] = []
    second = net.link(a, b)
    net.observe(facts.append)
    with pytest.raises(ValueError, match="on 2 links; say on which one"):
        a.inject(b"frame")
    a.inject(b"frame", second)
    assert [fact.interface for fact in facts if isinstance(fact, FrameSent)] == ["eth1"]


class Still(CongestionControl):
    name = "still"

    def on_ack(self, flow: Flow, acked_bytes: int, now_ns: int) -> None:
        flow.cwnd_bytes = flow.full_segment_bytes()


def test_a_program_offers_a_congestion_control_of_its_own_to_its_host() -> None:
    net, a, b = two()

    @b.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as sock:
            while sock.recv(65536):
                pass

    @a.run
    def call() -> float:
        this_host().engine.add_congestion_control(Still())
        with socket.socket() as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"still")
            sock.connect(("b", 80))
            sock.sendall(bytes(50_000))
            sock.shutdown(socket.SHUT_WR)
            sock.recv(1)
        return time.monotonic()

    net.run()
    assert call.result() > 0.4, "one segment each round trip of 20 ms"
