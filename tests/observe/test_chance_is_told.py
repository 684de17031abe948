"""What a link does to frames by chance stands in flights, in the ladder and in the capture's comments."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

import estab
from estab.events import Event, LinkCopied, LinkDamaged, LinkDelayed, LinkHeld
from estab.observe.capture import describe
from estab.observe.flights import flights
from estab.observe.ladder import ladder
from estab.observe.ladder_text import render_plain
from estab.report.columns import Columns


def facts_of(seed: int, **properties: Any) -> list[Event]:
    facts: list[Event] = []
    with estab.Network(seed, facts.append) as net:
        a, b = net.host("a"), net.host("b")
        net.link(a, b, delay="10ms", **properties)

        @b.run
        def serve() -> None:
            with socket.create_server(("", 80)) as listener:
                accepted, _ = listener.accept()
                with accepted:
                    while accepted.recv(5000):
                        pass

        @a.run
        def send() -> None:
            with socket.create_connection(("b", 80)) as end:
                end.sendall(bytes(30_000))

        net.run()
        net.run(until=net.now + 1000)
    return facts


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("properties", [{"reorder": "30%"}, {"corrupt": "20%"}, {"duplicate": "30%"},
                                        {"reorder": "20%", "corrupt": "10%", "duplicate": "20%", "loss": "10%"}])
def test_nothing_is_under_way_after_the_end_whatever_links_did(seed: int, properties: dict[str, str]) -> None:
    found = flights(facts_of(seed, **properties))
    assert [flight for flight in found if flight.fate == "under way"] == []
    assert all(flight.sender for flight in found)


@pytest.mark.parametrize(("properties", "kind", "words"), [
    ({"reorder": "30%"}, LinkHeld, "held back by the link until"),
    ({"corrupt": "20%"}, LinkDamaged, "flipped on the link"),
    ({"duplicate": "30%"}, LinkCopied, "a copy that the link made"),
    ({"jitter": "8ms pareto reorder"}, LinkDelayed, "overtaken: jitter"),
])
def test_a_frame_that_chance_met_says_so_everywhere(properties: dict[str, str], kind: type[Event], words: str) -> None:
    facts = facts_of(3, **properties)
    count = sum(isinstance(fact, kind) for fact in facts)
    met = [flight for flight in flights(facts) if words in flight.on_link]
    assert len(met) == count > 0
    assert all(words in describe(flight) for flight in met)
    assert render_plain(ladder(facts), 140).count(words) == count


def test_what_rules_partitions_and_boxes_do_is_told_in_the_ladder_and_in_the_page() -> None:
    facts: list[Event] = []
    with estab.Network(1, facts.append) as net:
        phone, gateway, server = net.host("phone"), net.host("gateway"), net.host("server")
        home, uplink = net.link(phone, gateway, delay="1ms"), net.link(gateway, server, delay="1ms")
        nat = net.nat(home, uplink, idle="5s")
        net.rule(estab.nth(1, lambda p: p.tcp and p.tcp.length, estab.delay("7ms")), on=home)
        net.at(2, net.partition, phone, server)
        net.at(3, net.heal)
        net.at(9, lambda: nat.flows)

        @server.run
        def serve() -> None:
            with socket.create_server(("", 80)) as listener, listener.accept()[0] as sock:
                sock.recv(100)
                time.sleep(10)

        @phone.run
        def send() -> None:
            with socket.create_connection(("10.0.1.2", 80)) as sock:
                sock.sendall(b"x")
                time.sleep(10)

        net.run(until=9.5)
    text = render_plain(ladder(facts), 140)
    columns = Columns()
    for fact in facts:
        columns(fact)
    for said in ("7ms later by a rule", "phone | server: cut", "phone | server: healed", "nat has forgotten tcp"):
        assert said in text
    bands = [(band.link, band.text, band.until_ns) for band in columns.bands]
    assert ("phone | server", "cut", 3_000_000_000) in bands
    assert any(what == "gateway: nat" for what, _, _ in bands)
    assert all(flight.sender for flight in flights(facts))


def test_a_broadcast_over_a_switch_is_one_frame() -> None:
    facts: list[Event] = []
    with estab.Network(1, facts.append) as net:
        net.switch("lan", *map(net.host, "abc"), delay="1ms")

        @net.hosts["a"].run
        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"x", ("10.0.0.3", 9))
                time.sleep(1)

        net.run()
    found = flights(facts)
    assert all(flight.sender for flight in found)
    assert sum(flight.data[:6] == b"\xff" * 6 for flight in found) == 1


def test_a_damaged_frame_is_dropped_by_its_receiver_for_its_checksum() -> None:
    met = [flight for flight in flights(facts_of(3, corrupt="20%")) if flight.damaged]
    assert met
    assert all(flight.fate == "dropped" or flight.received_ns is not None for flight in met)
    assert all(len(flight.damaged) == len(flight.data) for flight in met)
