"""ECN in what is shown of a run: flags, codepoints, and marks that a link put on the way."""

from __future__ import annotations

import io
import socket

import pytest

from estab.events import Event, LinkMarked, SegmentReceived, SegmentSent
from estab.lab.network import Network
from estab.observe.capture import write_section
from estab.observe.flights import flights
from estab.observe.ladder import Arrow, ladder
from estab.observe.pcapng import PcapngWriter
from estab.observe.story import story
from estab.observe.text import plain_text
from estab.wire import ip


@pytest.fixture(scope="module", params=[1, 3], ids=["classic", "accecn"])
def facts(request: pytest.FixtureRequest) -> list[Event]:
    """A client sends twenty segments through a queue that marks."""
    net = Network(seed=3)
    server, client = net.host("server", tcp_ecn=5), net.host("client", tcp_ecn=request.param)
    net.link(client, server, rate="1Mbit", delay="5ms", ecn_mark=3)
    told: list[Event] = []
    net.observe(told.append)

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            connection, _ = listener.accept()
        with connection:
            while connection.recv(65536):
                pass

    @client.run
    def send() -> None:
        with socket.create_connection(("server", 80)) as connection:
            connection.sendall(bytes(30_000))

    net.run()
    net.close()
    return told


def is_accurate(facts: list[Event]) -> bool:
    return next(fact for fact in facts if isinstance(fact, SegmentSent)).flags == "SEWe"


def test_segments_tell_their_flags_and_codepoints(facts: list[Event]) -> None:
    sent = [fact for fact in facts if isinstance(fact, SegmentSent)]
    assert sent[0].flags in ("SEW", "SEWe")
    assert sent[1].flags == ("S.W" if is_accurate(facts) else "S.E")
    assert {fact.ecn for fact in sent if fact.length} == {"ECT(0)"}
    received = {fact.ecn for fact in facts if isinstance(fact, SegmentReceived) and fact.length}
    assert received == {"ECT(0)", "CE"}
    assert any("ECN e1b" in fact.options for fact in sent) is is_accurate(facts)


def test_a_frame_is_followed_through_its_mark(facts: list[Event]) -> None:
    marks = [fact for fact in facts if isinstance(fact, LinkMarked)]
    followed = [flight for flight in flights(facts) if flight.marked]
    assert len(followed) == len(marks) > 2
    for flight in followed:
        assert flight.fate == "arrived"
        assert flight.summary.ecn == "ECT(0)"
        assert ip.parse(flight.marked, 0).tos & 3 == 3


def test_the_ladder_shows_where_a_mark_was_put(facts: list[Event]) -> None:
    labels = [row.label for row in ladder(facts).rows if isinstance(row, Arrow)]
    assert any(label.startswith("SEW") for label in labels)
    assert any(label.endswith("ECT(0) → CE") for label in labels)
    assert any(label.endswith("ECT(0)") for label in labels)
    arrows = [row for row in ladder(facts).rows if isinstance(row, Arrow)]
    assert all(row.received_ns is not None for row in arrows if "CE" in row.label)


def test_the_story_tells_the_mark_the_echo_and_the_reduction(facts: list[Event]) -> None:
    text = "\n".join(plain_text(line) for line in story(facts, width=160))
    assert "frames wait" in text
    assert " CE" in text
    assert "congestion experienced: packets were marked" in text


def test_a_capture_holds_what_was_sent_and_says_what_was_marked(facts: list[Event]) -> None:
    marks = [fact for fact in facts if isinstance(fact, LinkMarked)]
    both, received = io.BytesIO(), io.BytesIO()
    write_section(PcapngWriter(both), facts)
    write_section(PcapngWriter(received), facts, seen_by="server")
    assert both.getvalue().count(b"marked CE on the way") == len(marks)
    assert all(mark.before in both.getvalue() for mark in marks)
    assert all(mark.data in received.getvalue() for mark in marks)
