"""What a chapter of the tour says was found is so, at fifty seeds: sentences against the raw facts.

What a sentence claims is counted anew, by another way than the chapter's: from frames on the cable rather than from
calls and flights, from every snapshot of the TCB rather than from what was told of changes. Where chance decides (the
chapter ``loss``) no sentence may go unchecked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest

from estab.cli.chapters import CHAPTERS
from estab.cli.chapters.chapter import Played, when
from estab.cli.perform import perform
from estab.events import FrameReceived, FrameSent, LinkDropped, QueueChanged, SegmentSent, StateChanged
from estab.observe.dissect import dissect
from estab.tcp.state import State, has_edge

SEEDS = range(50)
Facts = list[object]


def of(facts: Facts, kind: type, host: str = "") -> list:
    return [fact for fact in facts if isinstance(fact, kind) and (not host or fact.host == host)]  # type: ignore[attr-defined]


def a_path(facts: Facts, host: str, path: str, beside: str | None) -> None:
    """Its edges are the diagram's, and a connection of that host took them, one after the other."""
    states = path.split(" → ")
    numbers = [State[state.replace("-", "_")] for state in states]
    assert all(has_edge(old, new) for old, new in zip(numbers, numbers[1:], strict=False))
    taken: dict[str, list[str]] = {}
    for edge in of(facts, StateChanged, host):
        taken.setdefault("-".join(sorted(edge.connection.split(">"))), []).append(edge.new)
    assert any(" ".join(states[beside is None:]) in " ".join(edges) for edges in taken.values())
    assert (beside is not None) == (states[0] == "SYN-RECEIVED") != (states[0] == "CLOSED")


def losses(facts: Facts, lost: str, packets: str, which: str | None) -> None:
    """What was sent and did not arrive, by the bytes of frames; and how many were sent."""
    sent, arrived = of(facts, FrameSent), of(facts, FrameReceived)
    missing = Counter(fact.data for fact in sent) - Counter(fact.data for fact in arrived)
    assert (missing.total(), len(sent)) == (int(lost), int(packets))
    told = re.findall(r"(client|server)'s at ([\w. ]+?)(?=,|$)", which or "")
    assert told == [(fact.host, when(fact.at_ns)) for fact in of(facts, LinkDropped)]


def repeats(facts: Facts, count: str, rules: str) -> None:
    """Sequence numbers that left a host a second time, counted from the frames on the cable."""
    seen: set[tuple[object, ...]] = set()
    again = 0
    for fact in of(facts, FrameSent):
        frame = dissect(fact.data)
        if frame.protocol == "tcp" and (frame.length or set(frame.flags) & {"S", "F"}):
            numbers = range(frame.seq, frame.seq + frame.length + len(set(frame.flags) & {"S", "F"}))
            marks = {(fact.host, number) for number in numbers}
            again += marks <= seen
            seen |= marks
    assert again == int(count)
    told = {fact.why for fact in of(facts, SegmentSent) if "retransmi" in fact.why}
    assert set(rules.split("; ")) == told


def smallest_window(facts: Facts, smallest: str, at: str, last: str) -> None:
    """No snapshot of the client's TCB has a smaller window, and that one had it."""
    opened = min(fact.at_ns for fact in of(facts, StateChanged, "client") if fact.new == "ESTABLISHED")
    sizes = [(fact.at_ns, size) for fact in facts if getattr(fact, "host", "") == "client"  # type: ignore[attr-defined]
             and (size := getattr(getattr(fact, "tcb", None) or fact, "cwnd_bytes", None)) is not None]
    later = [(moment, size) for moment, size in sizes if moment > opened]
    assert min(size for _, size in later) == int(smallest)
    assert int(smallest) in [size for moment, size in later if when(moment) == at]
    assert later[-1][1] == int(last) or int(last) in [size for moment, size in later if moment == later[-1][0]]


def a_whole_text(facts: Facts, received: str, sent: str, on_the_cable: str) -> None:
    """Every octet of it left the client and came to the server, once in order; the rest are repeats."""
    texts = [(frame.seq, frame.length) for fact in of(facts, FrameSent, "client")
             if (frame := dissect(fact.data)).protocol == "tcp" and frame.length]
    octets = {number for seq, length in texts for number in range(seq, seq + length)}
    assert len(octets) == int(received) == int(sent)
    assert sum(length for _, length in texts) == int(on_the_cable)


def a_queue(facts: Facts, queue: str, most: str, limit: str) -> None:
    """As deep as the queue was told to be at most, and no deeper than its limit, which under ``sum`` both share."""
    changes = [fact for fact in of(facts, QueueChanged) if fact.queue == queue]
    assert max(fact.depth for fact in changes) == int(most) <= int(limit)
    assert max(fact.limit for fact in changes) == int(limit)


CHECKS: list[tuple[str, Callable[..., None]]] = [
    (r"(\w+): ([A-Z][A-Z0-9-]+(?: → [A-Z0-9-]+)+)( \(its listener stays in LISTEN\))?", a_path),
    (r"The cable lost (\d+) of (\d+) packets(?:: (.*))?\.", losses),
    (r"Sent again: (\d+) segments?, by these rules: (.*)\.", repeats),
    (r"The congestion window was (\d+) bytes at its smallest, at (.*), and (\d+) bytes in the end\.", smallest_window),
    (r"The program received (\d+) bytes, equal to the (\d+) that were sent; on the cable were (\d+)\.", a_whole_text),
    (r"The (half-open|accept) queue held at most (\d+) (?:\(limit |of )(\d+)\)?\..*", a_queue),
]


def check(item: Played) -> list[str]:
    """Check what was found in a scene; gives the sentences that no check knows."""
    unknown = []
    for finding in item.findings:
        found = [(call, match) for pattern, call in CHECKS if (match := re.fullmatch(pattern, finding)) is not None]
        for call, match in found:
            call(item.recorder.facts, *match.groups())
        if not found:
            unknown.append(finding)
    return unknown


@pytest.mark.parametrize("seed", SEEDS)
def test_where_chance_decides_every_sentence_is_so(seed: int) -> None:
    chapter = next(chapter for chapter in CHAPTERS if chapter.name == "loss")
    for item in perform(chapter, seed):
        assert check(item) == []


@pytest.mark.parametrize("name", [chapter.name for chapter in CHAPTERS])
def test_states_and_queues_are_as_said_at_every_seed(name: str) -> None:
    chapter = next(chapter for chapter in CHAPTERS if chapter.name == name)
    for seed in SEEDS:
        for item in perform(chapter, seed):
            check(item)


@pytest.mark.parametrize("sentence", [
    "client: CLOSED → ESTABLISHED", "client: CLOSED → SYN-SENT → CLOSED", "server: LISTEN → SYN-RECEIVED",
    "The cable lost 99 of 100 packets.", "Sent again: 99 segments, by these rules: fast retransmission.",
    "The congestion window was 14480 bytes at its smallest, at 1s, and 14480 bytes in the end.",
    "The program received 23999 bytes, equal to the 24000 that were sent; on the cable were 26896.",
])
def test_a_sentence_that_is_not_so_is_found(sentence: str) -> None:
    chapter = next(chapter for chapter in CHAPTERS if chapter.name == "loss")
    item, = perform(chapter, 1)
    item.findings[:] = [sentence]
    with pytest.raises((AssertionError, ValueError)):
        check(item)
