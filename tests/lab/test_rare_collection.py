"""The garbage collector looks less often while a network is open, as before when none is, and finds nothing of it."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from estab.lab.network import Network
from estab.lab.programs.rare_collection import OBJECTS, RareCollection
from estab.lab.programs.strands import Strand

BEFORE = 700


@pytest.fixture(autouse=True)
def _thresholds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process that has made no network yet: other tests may have left some open."""
    gc.collect()
    monkeypatch.setattr(RareCollection, "_open", 0)
    monkeypatch.setattr(RareCollection, "_kept", 0)
    monkeypatch.setattr(RareCollection, "_before", 0)
    kept = gc.get_threshold()
    gc.set_threshold(BEFORE, 7, 5)
    yield
    gc.set_threshold(*kept)


def test_it_looks_rarely_while_a_network_is_open_and_as_before_when_it_is_closed_and_released() -> None:
    before = gc.get_threshold()
    with Network(seed=1):
        assert gc.get_threshold() == (OBJECTS, *before[1:])
    assert gc.get_threshold() == before


def test_the_last_of_several_networks_puts_the_threshold_back() -> None:
    first, second = Network(seed=1), Network(seed=2)
    first.close()
    first.close()
    del first
    assert gc.get_threshold()[0] == OBJECTS
    second.close()
    del second
    assert gc.get_threshold()[0] == BEFORE


def test_a_network_that_is_kept_once_closed_lets_the_collector_put_the_threshold_back() -> None:
    kept, other = Network(seed=1), Network(seed=2)
    kept.close()
    gc.collect()
    assert gc.get_threshold()[0] == OBJECTS, "one is open"
    other.close()
    gc.collect()
    assert gc.get_threshold()[0] == BEFORE
    assert kept.now == 0


def exchange(net: Network) -> None:
    """Let two hosts exchange a word, as blocking programs."""

    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            connection.sendall(connection.recv(64))

    def ask() -> bytes:
        with socket.create_connection(("b", 80)) as connection:
            connection.sendall(b"hello")
            return connection.recv(64)

    a, b = net.host("a"), net.host("b")
    net.link(a, b, delay="1ms", loss="1%")
    b.run(serve)
    asked = a.run(ask)
    net.run()
    assert asked.result() == b"hello"


def exchange_by_asyncio(net: Network) -> None:
    """Let two hosts exchange a word over a router, by asyncio's streams, with a server that never ends."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    async def serve() -> None:
        async with await asyncio.start_server(answer, "", 80) as listener:
            await listener.serve_forever()

    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection("b", 80)
        writer.write(b"hello\n")
        said = await reader.readline()
        writer.close()
        return said

    a, router, b = net.host("a"), net.host("router", forwarding=True), net.host("b")
    net.link(a, router, delay="1ms", jitter="500us", rate="10Mbit")
    net.link(router, b, delay="1ms")
    b.run(serve, daemon=True)
    asked = a.run(ask, start="1s")
    net.run()
    assert asked.result() == b"hello\n"


def record_and_power(net: Network) -> None:
    """Do to a network what is seldom done: it is recorded, a host has no power for a while, a cable is cut."""
    a, b = net.host("a"), net.host("b")
    cable = net.link(a, b)
    seen = net.record()
    a.run(time.sleep, 5)
    net.at("1s", b.reboot, "1s")
    net.at("2s", cable.cut)
    net.at("3s", net.heal)
    net.every("1s", lambda: None)
    net.always(lambda: True, "it is true")
    net.run("10s")
    seen.stop()
    assert seen.facts


@pytest.mark.parametrize("scenario", [exchange, exchange_by_asyncio, record_and_power])
def test_a_closed_network_is_released_when_it_is_dropped_and_leaves_nothing_to_the_collector(
    scenario: Callable[[Network], None],
) -> None:
    with Network(seed=0) as net:
        scenario(net)  # what is made once for a process is made now
    del net
    gc.collect()
    gc.disable()
    try:
        with Network(seed=1) as net:
            scenario(net)
        released = weakref.ref(net)
        del net
        assert released() is None
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_network_stays_open_while_a_host_of_it_is_kept() -> None:
    host = Network(seed=1).host("a")
    gc.collect()
    assert host.run(lambda: 5).name == "<lambda>"


def test_what_is_kept_of_a_network_can_still_be_looked_at() -> None:
    with Network(seed=1) as net:
        exchange(net)
        hosts, links = list(net.hosts.values()), net.links
    del net
    gc.collect()
    assert hosts[0].address == "10.0.0.1"
    assert [program.result() for program in hosts[0].programs] == [b"hello"]
    assert hosts[0].counters()["TcpActiveOpens"] == 1
    assert {row.state for host in hosts for row in host.sockets()} == {"TIME-WAIT"}
    assert links[0].there.frames_delivered > 3
    assert links[0].there.in_flight_frames == 0
    assert links[0].there.queue.waiting_frames == 0


def test_a_socket_of_a_network_that_is_gone_says_so() -> None:
    with Network(seed=1) as net:
        a, b = net.host("a"), net.host("b")
        net.link(a, b)
        kept = a.socket(type=socket.SOCK_DGRAM)
        stream = a.socket()
    del net, a, b
    gc.collect()
    with pytest.raises(RuntimeError, match="the network is closed"):
        stream.connect(("b", 80))
    with pytest.raises(OSError, match="unreachable"):
        kept.sendto(b"hello", ("10.0.1.2", 80))
    assert kept.sendto(b"hello", ("10.0.0.2", 80)) == 5, "it is on the cable, which is gone"
    kept.close()
    stream.close()


def test_a_network_that_nobody_closed_puts_it_back_when_it_is_released() -> None:
    net = Network(seed=1)
    net.host("a")
    released = weakref.ref(net)
    del net
    gc.collect()
    assert released() is None
    assert gc.get_threshold()[0] == BEFORE


@pytest.mark.parametrize("objects", [0, OBJECTS + 1])
def test_a_collector_that_looks_never_or_more_rarely_stays_as_it_is(objects: int) -> None:
    gc.set_threshold(objects)
    with Network(seed=1):
        assert gc.get_threshold()[0] == objects
    assert gc.get_threshold()[0] == objects


def test_what_is_set_meanwhile_stays() -> None:
    with Network(seed=1):
        gc.set_threshold(1234)
    assert gc.get_threshold()[0] == 1234


def test_cycles_that_programs_leave_are_released_during_the_run() -> None:
    gc.set_threshold(100)
    alive: list[weakref.ref[Cycle]] = []

    def leave_cycles() -> int:
        for _ in range(2 * OBJECTS):
            alive.append(weakref.ref(Cycle()))
        return sum(made() is not None for made in alive)

    with Network(seed=1) as net:
        left = net.host("a").run(leave_cycles)
        net.run()
    assert left.result() <= OBJECTS + 1000


def test_a_program_that_has_ended_leaves_no_strand_for_the_collector() -> None:
    gc.disable()
    try:
        with Network(seed=1) as net:
            program = net.host("a").run(lambda: None, name="released")
            waits = net.host("b").run(lambda: None, name="goes-on", start="2s")
            net.run("1s")
            left = [found.name for found in gc.get_objects() if type(found) is Strand]
            assert program.done()
            assert not waits.done()
            assert "goes-on@b" in left
            assert "released@a" not in left
    finally:
        gc.enable()


def test_a_host_keeps_its_attributes_in_no_dictionary_of_its_own() -> None:
    with Network(seed=1) as net:
        assert not hasattr(net.host("a").runtime, "__dict__")


class Cycle:
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.itself = self
