"""Weather by name: what chance did can be told, and happens again without chance."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping
from typing import Any

import pytest

import estab
from estab.events import Event, LinkCopied, LinkDamaged, LinkDropped, LinkHeld
from estab.lab.links.weather import Happening, Weather, ordinal

BAD: Mapping[str, Any] = {
    "delay": "20ms", "loss": "8%", "reorder": "5%", "jitter": "3ms", "duplicate": "3%", "corrupt": "1%",
}


def three_transfers(net: estab.Network, **properties: Any) -> str:
    """Fetch 20 kB three times over one link. Returns how it went and when it was over."""
    server, phone = net.host("server"), net.host("phone")
    net.link(server, phone, **{**BAD, **properties})

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            for _ in range(3):
                accepted, _ = listener.accept()
                with accepted:
                    accepted.settimeout(60)
                    accepted.recv(100)
                    accepted.sendall(b"x" * 20_000)

    @phone.run
    def fetch() -> None:
        for _ in range(3):
            with socket.create_connection(("server", 80), timeout=2) as end:
                end.sendall(b"get")
                while end.recv(4096):
                    pass

    try:
        net.run()
    except OSError as error:
        return f"{type(error).__name__} at {net.now_ns}"
    return f"done at {net.now_ns}"


class Told:
    """Collects the facts of a run, and their digest."""

    def __init__(self) -> None:
        self.facts: list[Event] = []
        self._digest = hashlib.sha256()

    def __call__(self, fact: Event) -> None:
        self.facts.append(fact)
        self._digest.update(repr(fact).encode())

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("ethernet", [False, True])
def test_a_chance_log_changes_nothing_and_its_weather_repeats_the_run_to_the_fact(seed: int, ethernet: bool) -> None:
    told = [Told(), Told(), Told()]
    with estab.Network(seed, told[0]) as net:
        outcome = three_transfers(net, ethernet=ethernet)
    with estab.Network(seed, told[1]) as net:
        chance_log = net.log_chance()
        assert three_transfers(net, ethernet=ethernet) == outcome
    with estab.Network(seed, told[2], weather=Weather.of(chance_log.happenings)) as net:
        assert three_transfers(net, ethernet=ethernet) == outcome
        assert net.fixed_weather is not None
        assert net.fixed_weather.missed() == []
    assert told[0].digest == told[1].digest == told[2].digest
    assert {one.kind for one in chance_log.happenings} >= {"lost", "held", "late"}


def test_weather_on_a_calm_link_loses_the_frame_that_it_names_and_no_other() -> None:
    name = "phone > server:80, connection 2: SYN, 1st transmission"
    told = Told()
    with estab.Network(1, told, weather={"lost": [name]}) as net:
        assert three_transfers(net, loss=0, reorder=0, jitter=0, duplicate=0, corrupt=0).startswith("done")
        assert net.fixed_weather is not None
        assert net.fixed_weather.met == {name}
    lost = [fact for fact in told.facts if isinstance(fact, LinkDropped)]
    assert len(lost) == 1
    assert net.now > 1  # the SYN went again after a second


@pytest.mark.parametrize("ethernet", [False, True])
def test_weather_with_chance_draws_what_is_drawn_without_it(ethernet: bool) -> None:
    told = [Told(), Told()]
    with estab.Network(4, told[0]) as net:
        outcome = three_transfers(net, ethernet=ethernet)
    with estab.Network(4, told[1], weather={"chance": True}) as net:
        assert three_transfers(net, ethernet=ethernet) == outcome
    assert told[0].digest == told[1].digest


def test_weather_with_chance_does_what_it_names_besides() -> None:
    names = [f"phone > server:80, connection {number}: SYN, 1st transmission" for number in (1, 2, 3)]
    words = {"chance": True, "lost": [names[0]], "copied": [names[1]], "late": {names[1]: "300ms"},
             "damaged": {names[2]: 7}, "held": {"phone > server:80, connection 2: ACK of 1, 1st transmission": 1}}
    told = Told()
    with estab.Network(4, told, weather=words) as net:
        three_transfers(net)
        assert net.fixed_weather is not None
        assert net.fixed_weather.missed() == []
        assert net.fixed_weather.weather.words() == {**words, "late": {names[1]: "300000000ns"}}
    assert next(fact.at_ns for fact in told.facts if isinstance(fact, LinkDropped)) == 0
    assert next(fact.bit for fact in told.facts if isinstance(fact, LinkDamaged) if len(fact.data) == 60) == 7
    assert sum(isinstance(fact, LinkDropped) for fact in told.facts) > 2  # chance goes on


def test_given_weather_leaves_nothing_to_the_chance_that_links_ask_for() -> None:
    told = Told()
    with estab.Network(3, told, weather=Weather()) as net:
        assert three_transfers(net).startswith("done")
    assert not [fact for fact in told.facts if isinstance(fact, (LinkDropped, LinkCopied, LinkHeld, LinkDamaged))]


def test_a_frame_that_weather_names_and_that_never_came_is_told() -> None:
    with estab.Network(weather={"lost": ["phone > server:80, connection 9: SYN, 1st transmission"]}) as net:
        three_transfers(net)
        assert net.fixed_weather is not None
        assert net.fixed_weather.missed() == ["phone > server:80, connection 9: SYN, 1st transmission"]


def test_what_chance_does_to_frames_is_told_as_facts() -> None:
    told = Told()
    with estab.Network(2, told) as net:
        chance_log = net.log_chance()
        three_transfers(net, corrupt="5%")
    kinds = {"lost": LinkDropped, "copied": LinkCopied, "held": LinkHeld, "damaged": LinkDamaged}
    for kind, fact_type in kinds.items():
        noted = sum(one.kind == kind for one in chance_log.happenings)
        assert noted == sum(isinstance(fact, fact_type) for fact in told.facts) > 0
    damaged = next(fact for fact in told.facts if isinstance(fact, LinkDamaged))
    flipped = [a ^ b for a, b in zip(damaged.before, damaged.data, strict=True)]
    assert flipped[damaged.bit // 8] == 1 << damaged.bit % 8
    assert sum(map(bool, flipped)) == 1


def test_names_say_the_link_if_there_are_several_and_have_arp_too() -> None:
    with estab.Network() as net:
        a, router, b = net.host("a"), net.host("router", forwarding=True), net.host("b")
        net.log_chance()
        for one, other in ((a, router), (router, b)):
            net.link(one, other, delay="1ms", loss="100%" if one is router else 0, ethernet=True)

        @a.run
        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
                for _ in range(2):
                    end.sendto(b"hello", (b.address, 53))

        net.run()
        assert net.chance_log is not None
        assert [str(one) for one in net.chance_log.happenings] == [
            "router: ARP who has b, on router-b from router, 1st time, lost",
        ]
        assert net.links[0].there.frames_delivered == 3  # the question for the router, and both datagrams


def test_datagrams_and_echoes_have_names() -> None:
    with estab.Network(1) as net:
        phone, server = net.host("phone"), net.host("server")
        chance_log = net.log_chance()
        net.link(phone, server, loss="100%")

        @phone.run
        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
                for size in (5, 5, 7):
                    end.sendto(bytes(size), ("server", 53))

        net.run()
    assert [str(one) for one in chance_log.happenings] == [
        "phone > server:53: datagram of 5 bytes, 1st time, lost",
        "phone > server:53: datagram of 5 bytes, 2nd time, lost",
        "phone > server:53: datagram of 7 bytes, 1st time, lost",
    ]


def test_connections_of_both_ip_versions_are_counted_together() -> None:
    with estab.Network(1) as net:
        phone, server = net.host("phone"), net.host("server")
        chance_log = net.log_chance()
        net.link(phone, server, loss="100%")

        @phone.run
        def connect() -> None:
            with pytest.raises(TimeoutError):
                socket.create_connection(("server", 80), timeout=0.5)  # IPv4, then IPv6

        net.run()
    assert [str(one) for one in chance_log.happenings] == [
        "phone > server:80, connection 1: SYN, 1st transmission, lost",
        "phone > server:80, connection 2: SYN, 1st transmission, lost",
    ]


def test_transmissions_that_share_a_fate_are_told_in_one_line() -> None:
    syn = "phone > server:80, connection 3: SYN, {} transmission"
    weather = Weather.of([*(Happening("lost", syn.format(ordinal(n))) for n in (1, 2, 3)),
                          Happening("late", syn.format("4th"), -3_000_000)])
    assert weather.lines() == [
        "phone > server:80, connection 3: SYN, 1st, 2nd and 3rd transmission, lost",
        "phone > server:80, connection 3: SYN, 4th transmission, 3ms earlier than the link's delay",
    ]


def test_words_are_read_back_and_wrong_ones_are_named() -> None:
    weather = Weather.of([Happening("lost", "a"), Happening("damaged", "b", 7), Happening("held", "c", 2),
                          Happening("late", "d", -1_500), Happening("copied", "e")], ["5s wifi.cut"])
    assert weather.words()["late"] == {"d": "-1500ns"}
    assert Weather.read(weather.words()) == weather
    with pytest.raises(TypeError, match="there is no 'los'"):
        Weather.read({"los": []})
    with pytest.raises(TypeError, match="is not a list of frames"):
        Weather.read({"lost": "SYN"})
    for wrong in ([3], {"a": 1}, 7, True, [["a"]]):
        with pytest.raises(TypeError, match=r"lost: .* is not a list of frames, each by its name"):
            Weather.read({"lost": wrong})
    with pytest.raises(TypeError, match=r"skipped: \[5\] is not a list of actions"):
        Weather.read({"skipped": [5]})
    for numbers in ({"a": -1}, {3: 1}):
        with pytest.raises(TypeError, match="is not a table of frames and numbers"):
            Weather.read({"held": numbers})
    with pytest.raises(ValueError, match="late"):
        Weather.read({"late": {"a": "soon"}})


def test_a_fault_of_the_agenda_has_a_name_and_can_be_skipped() -> None:
    def run(skipped: list[str]) -> tuple[list[str], bool]:
        with estab.Network(weather={"skipped": skipped}) as net:
            wifi = net.link(net.host("a"), net.host("b"), name="wifi")
            net.at("5s", wifi.cut)
            net.at("6s", lambda: None)
            net.run(until="7s")
            return net.faults, wifi.is_cut

    assert run([]) == (["5s wifi.cut"], True)
    assert run(["5s wifi.cut"]) == (["5s wifi.cut"], False)


def test_a_chance_log_comes_before_the_first_link() -> None:
    with estab.Network() as net:
        net.link(net.host("a"), net.host("b"))
        with pytest.raises(RuntimeError, match="links were made already"):
            net.log_chance()


def test_an_action_to_skip_that_was_never_planned_is_missed() -> None:
    with estab.Network(weather={"skipped": ["1s a-b.cut", "at 1s a-b.cut"]}) as net:
        link = net.link(net.host("a"), net.host("b"))
        net.at("1s", link.cut)
        net.run(until="2s")
        assert not link.is_cut
        assert net.fixed_weather is not None
        assert net.fixed_weather.missed() == ["at 1s a-b.cut"]
