"""What one direction of a link does to frames: delay, rate, queue, and everything by chance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from estab.errors import DropReason
from estab.events import Event, LinkDropped
from estab.lab.links.way import Way
from estab.lab.record.chance import Chance
from estab.lab.record.clock import Agenda
from estab.lab.record.conditions import Conditions, read_both, read_conditions
from estab.units import MS, NEVER


class Cable:
    """A way with its agenda; what arrived, with its time."""

    def __init__(self, header_bytes: int = 0, **words: Any) -> None:
        self.agenda = Agenda()
        self.arrived: list[tuple[int, bytes]] = []
        self.facts: list[Event] = []
        conditions = read_conditions(Conditions(), "a", True, words)
        self.way = Way("cable", "a", conditions, header_bytes, self.agenda, Chance(5), self._deliver)
        self.way.observer = self.facts.append

    def _deliver(self, frame: bytes) -> None:
        self.arrived.append((self.agenda.now_ns, frame))

    def send(self, *frames: bytes) -> None:
        for frame in frames:
            self.way.carry(frame)

    def run(self, until_ns: int = NEVER - 1) -> None:
        while self.agenda.next_due_ns() <= until_ns:
            self.agenda.take()

    @property
    def frames(self) -> list[bytes]:
        return [frame for _, frame in self.arrived]

    @property
    def reasons(self) -> list[DropReason]:
        return [fact.reason for fact in self.facts if isinstance(fact, LinkDropped)]


def numbered(count: int, size: int = 100) -> list[bytes]:
    return [number.to_bytes(4, "big").ljust(size, b".") for number in range(count)]


def test_a_frame_arrives_after_the_delay_and_never_while_it_is_sent() -> None:
    cable = Cable(delay="40ms")
    cable.send(b"hello")
    assert cable.arrived == []
    cable.run()
    assert cable.arrived == [(40 * MS, b"hello")]


def test_without_delay_a_frame_arrives_in_the_same_instant_but_later() -> None:
    cable = Cable()
    cable.send(b"hello")
    assert cable.arrived == []
    cable.run()
    assert cable.arrived == [(0, b"hello")]


def test_jitter_spreads_arrivals_and_never_reorders() -> None:
    cable = Cable(delay="40ms", jitter="30ms")
    frames = numbered(500)
    for frame in frames:
        cable.send(frame)
        cable.run(cable.agenda.now_ns)
        cable.agenda.now_ns += MS
    cable.run()
    assert cable.frames == frames
    delays = {time_ns - index * MS for index, (time_ns, _) in enumerate(cable.arrived)}
    assert len(delays) > 20
    assert min(delays) >= 10 * MS


def test_a_rate_sends_one_frame_after_the_other() -> None:
    cable = Cable(rate="8Mbit", delay="1ms")
    cable.send(bytes(1000), bytes(1000), bytes(500))
    cable.run()
    assert [time_ns for time_ns, _ in cable.arrived] == [2 * MS, 3 * MS, 3 * MS + MS // 2]


def test_the_queue_drops_what_does_not_fit_and_says_so() -> None:
    cable = Cable(rate="8Mbit", queue=2)
    frames = numbered(5)
    cable.send(*frames)
    assert cable.way.in_flight_frames == 3
    cable.run()
    assert cable.frames == frames[:3]
    assert cable.reasons == [DropReason.LINK_QUEUE_FULL] * 2
    assert cable.way.drops == {DropReason.LINK_QUEUE_FULL: 2}


def test_a_queue_in_bytes_counts_bytes() -> None:
    cable = Cable(rate="8Mbit", queue="250B")
    cable.send(*numbered(5, size=100))
    cable.run()
    assert len(cable.frames) == 3


def test_a_changed_rate_holds_for_what_still_waits() -> None:
    cable = Cable(rate="8kbit")
    cable.send(bytes(1000), bytes(1000))
    cable.way.set(read_conditions(cable.way.conditions, "a", True, {"rate": None}))
    cable.run()
    assert [time_ns for time_ns, _ in cable.arrived] == [1000 * MS, 1000 * MS]


def test_loss_takes_its_share_and_tells_of_each() -> None:
    cable = Cable(loss="10%")
    cable.send(*numbered(2000))
    cable.run()
    lost = 2000 - len(cable.frames)
    assert 150 < lost < 250
    assert cable.reasons == [DropReason.LINK_LOSS] * lost


def test_loss_hits_the_same_frames_whatever_else_the_link_does() -> None:
    plain, busy = Cable(loss="10%"), Cable(loss="10%", delay="5ms", jitter="4ms", corrupt="5%")
    for cable in (plain, busy):
        cable.send(*numbered(300))
        cable.run()
    lost = [fact.data for fact in plain.facts if isinstance(fact, LinkDropped)]
    assert [fact.data for fact in busy.facts if isinstance(fact, LinkDropped)] == lost


def test_a_stage_draws_from_a_stream_that_has_its_name() -> None:
    cable = Cable(loss="30%", duplicate="40%")
    frames = numbered(100)
    cable.send(*frames)
    cable.run()
    loss, duplicate = (Chance(5, "link", "cable", "a", what) for what in ("loss", "duplicate"))
    kept = [frame for frame in frames if not loss.happens(0.3)]
    assert cable.frames == [copy for frame in kept for copy in [frame] * (2 if duplicate.happens(0.4) else 1)]


def test_conditions_say_what_they_ask_for() -> None:
    assert Conditions().asked == ("mtu",)
    asked = Conditions(ecn_mark_bytes=5, rate_bps=1, reorder=0.5)
    assert asked.asked == ("mtu", "ecn_mark_limit", "rate_bps", "reorder")
    assert replace(asked, rate_bps=0, loss=1.0).asked == ("mtu", "ecn_mark_limit", "loss", "reorder")


def test_a_corrupted_frame_differs_in_one_bit() -> None:
    cable = Cable(corrupt="100%")
    cable.send(bytes(100))
    cable.run()
    (frame,) = cable.frames
    assert sum(octet.bit_count() for octet in frame) == 1


def test_ethernet_drops_what_is_corrupted_by_its_frame_check() -> None:
    cable = Cable(corrupt="100%", header_bytes=14)
    cable.send(bytes(100))
    cable.run()
    assert cable.frames == []
    assert cable.reasons == [DropReason.LINK_CORRUPTED]


def test_a_duplicated_frame_arrives_twice() -> None:
    cable = Cable(duplicate="100%", delay="3ms")
    cable.send(b"once")
    cable.run()
    assert cable.frames == [b"once", b"once"]


def test_a_reordered_frame_is_overtaken_by_at_most_four() -> None:
    cable = Cable(reorder="20%", delay="50ms")
    frames = numbered(1000)
    for frame in frames:
        cable.send(frame)
        cable.run(cable.agenda.now_ns)
        cable.agenda.now_ns += MS
    cable.run()
    assert sorted(cable.frames) == frames
    assert cable.frames != frames
    places = {frame: index for index, frame in enumerate(cable.frames)}
    late = [places[frame] - index for index, frame in enumerate(frames)]
    assert 0 < max(late) <= 10


def test_a_frame_held_for_reordering_arrives_even_when_none_follows() -> None:
    cable = Cable(reorder="100%", delay="50ms")
    cable.send(b"alone")
    cable.run()
    assert cable.arrived == [(100 * MS, b"alone")]


def test_a_frame_larger_than_the_mtu_is_dropped_and_an_ethernet_header_does_not_count() -> None:
    cable = Cable(mtu=1000)
    cable.send(bytes(1001), bytes(1000))
    cable.run()
    assert cable.frames == [bytes(1000)]
    assert cable.reasons == [DropReason.LINK_MTU]
    tagged = Cable(mtu=1000, header_bytes=14)
    tagged.send(bytes(1014), bytes(1015))
    tagged.run()
    assert tagged.frames == [bytes(1014)]


def test_a_cut_takes_what_is_queued_and_in_flight_and_tells_at_once() -> None:
    cable = Cable(rate="8Mbit", delay="10ms")
    frames = numbered(5, size=1000)
    cable.send(*frames)
    cable.run(2 * MS)
    cable.way.cut()
    assert cable.reasons == [DropReason.LINK_DOWN] * 5
    assert [fact.data for fact in cable.facts if isinstance(fact, LinkDropped)] == frames
    assert cable.way.in_flight_frames == 0
    cable.send(b"into the void")
    cable.run()
    assert cable.frames == []
    cable.way.heal()
    cable.send(b"back")
    cable.run()
    assert cable.frames == [b"back"]


def test_what_a_cut_link_was_sending_does_not_come_back_when_it_heals() -> None:
    cable = Cable(rate="8Mbit")
    cable.send(bytes(1000))
    cable.way.cut()
    cable.way.heal()
    cable.send(b"x" * 1000)
    cable.run()
    assert cable.arrived == [(MS, b"x" * 1000)]


@pytest.mark.parametrize(("words", "error", "text"), [
    ({"los": "2%"}, TypeError, "did you mean loss"),
    ({"delay": "fast"}, ValueError, "delay: cannot read 'fast'"),
    ({"loss": "120%"}, ValueError, "loss: '120%' is more than 100%"),
    ({"loss": ("1%", "2%", "3%")}, ValueError, "loss: ('1%', '2%', '3%') has 3 values"),
    ({"rate": 0}, ValueError, "rate: 0 is not more than nothing"),
    ({"queue": 0}, ValueError, "queue: 0 is not more than nothing"),
    ({"queue": 1.5}, TypeError, "queue: 1.5 is neither"),
    ({"mtu": 20}, ValueError, "mtu: 20"),
])
def test_a_bad_property_is_named_with_what_would_be_right(
    words: dict[str, Any], error: type[Exception], text: str,
) -> None:
    with pytest.raises(error) as caught:
        read_conditions(Conditions(), "a", True, words)
    assert text in str(caught.value)


def test_a_pair_is_for_each_direction_and_a_dict_for_the_sender_it_names() -> None:
    words: dict[str, object] = {"loss": ("1%", 0), "delay": {"b": "5ms"}}
    there = read_conditions(Conditions(), "a", True, words)
    back = read_conditions(Conditions(), "b", False, words)
    assert (there.loss, back.loss) == (0.01, 0.0)
    assert (there.delay_ns, back.delay_ns) == (0, 5 * MS)
    assert read_both(words, "a", "b", "a-b") == (there, back)


def test_what_is_the_same_for_both_directions_is_read_once() -> None:
    there, back = read_both({"delay": "5ms", "loss": 0.01}, "a", "b", "a-b")
    assert there is back
    assert there == read_conditions(Conditions(), "a", True, {"delay": "5ms", "loss": 0.01})
