"""What a link does to frames by chance stands in flights, in the ladder and in the capture's comments."""

from __future__ import annotations

import socket
from typing import Any

import pytest

import estab
from estab.events import Event, LinkCopied, LinkDamaged, LinkHeld
from estab.observe.capture import describe
from estab.observe.flights import flights
from estab.observe.ladder import ladder
from estab.observe.ladder_text import render_plain


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
])
def test_a_frame_that_chance_met_says_so_everywhere(properties: dict[str, str], kind: type[Event], words: str) -> None:
    facts = facts_of(3, **properties)
    count = sum(isinstance(fact, kind) for fact in facts)
    met = [flight for flight in flights(facts) if words in flight.on_link]
    assert len(met) == count > 0
    assert all(words in describe(flight) for flight in met)
    assert render_plain(ladder(facts), 140).count(words) == count


def test_a_damaged_frame_is_dropped_by_its_receiver_for_its_checksum() -> None:
    met = [flight for flight in flights(facts_of(3, corrupt="20%")) if flight.damaged]
    assert met
    assert all(flight.fate == "dropped" or flight.received_ns is not None for flight in met)
    assert all(len(flight.damaged) == len(flight.data) for flight in met)
