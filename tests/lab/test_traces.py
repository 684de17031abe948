"""Links as they were measured: what a mahimahi trace and a capture make of a link."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from estab import Network
from estab.lab.links.frame import FunctionReceiver
from estab.lab.links.way import Way
from estab.lab.record.chance import Chance
from estab.lab.record.clock import Agenda
from estab.lab.record.conditions import Conditions, read_conditions
from estab.lab.record.traces import read_profile
from estab.units import MS, NEVER, SECOND


class Cable:
    """A way with its agenda; when frames arrived, in milliseconds."""

    def __init__(self, path: Path, **words: Any) -> None:
        self.agenda = Agenda()
        self.arrived: list[float] = []
        conditions = read_conditions(Conditions(), "a", True, {"trace": path, **words})
        self.way = Way("cable", "a", conditions, 0, self.agenda, Chance(5),
                       lambda frame: self.arrived.append(self.agenda.now_ns / MS))

    def send(self, at_ms: int, *sizes: int) -> None:
        while self.agenda.next_due_ns() <= at_ms * MS:
            self.agenda.take()
        self.agenda.now_ns = at_ms * MS
        for size in sizes:
            self.way.carry(bytes(size))

    def run(self) -> list[float]:
        while self.agenda.next_due_ns() < NEVER:
            self.agenda.take()
        return self.arrived


def trace(folder: Path, *lines: object) -> Path:
    path = folder / "up.trace"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_each_line_of_a_mahimahi_trace_lets_1500_bytes_leave(tmp_path: Path) -> None:
    cable = Cable(trace(tmp_path, 10, 20, 20, 50))
    cable.send(0, 1500, 1500, 1500, 1500)
    assert cable.run() == [10, 20, 20, 50]


def test_small_frames_share_a_line_and_a_large_one_takes_several(tmp_path: Path) -> None:
    cable = Cable(trace(tmp_path, 10, 20, 30, 40))
    cable.send(0, 700, 700, 700)
    assert cable.run() == [10, 10, 20]  # the third begins in the first line
    cable = Cable(trace(tmp_path, 10, 20, 30, 40), mtu=9000)
    cable.send(0, 4000, 100)
    assert cable.run() == [30, 30]


def test_a_line_that_nobody_uses_is_lost_and_the_trace_begins_again(tmp_path: Path) -> None:
    cable = Cable(trace(tmp_path, 10, 20, 30))
    cable.send(15, 100)
    cable.send(25, 1500)
    cable.send(31, 1500, 1500, 1500, 1500)
    assert cable.run() == [20, 30, 40, 50, 60, 70]


def test_a_frame_at_the_moment_of_a_line_uses_it_once(tmp_path: Path) -> None:
    cable = Cable(trace(tmp_path, 10, 20))
    cable.send(10, 1500)
    cable.send(10, 1500)
    assert cable.run() == [10, 20]


def test_what_waits_for_a_trace_waits_in_the_queue_and_delay_is_added(tmp_path: Path) -> None:
    cable = Cable(trace(tmp_path, 10, 20, 30), queue=1, delay="5ms")
    cable.send(0, 1500, 1500, 1500)
    assert cable.run() == [15, 25]


def test_a_transfer_takes_as_long_as_the_trace_says(tmp_path: Path) -> None:
    lines = [number for number in range(1, 1001) if number % 5 == 0]  # 200 packets a second: 2.4 Mbit/s
    with Network(1) as net:
        client, server = net.host("client"), net.host("server")
        net.link(client, server, delay="10ms", trace={"server": trace(tmp_path, *lines)})

        @server.run
        def serve() -> None:
            with socket.create_server(("", 80)) as listener, listener.accept()[0] as sock:
                sock.sendall(bytes(1_000_000))

        @client.run
        def fetch() -> int:
            with socket.create_connection(("server", 80)) as sock:
                return len(sock.recv(1_000_000, socket.MSG_WAITALL))

        net.run()
        assert fetch.result() == 1_000_000
        assert net.now == pytest.approx(1_000_000 * 1500 / 1448 * 8 / 2.4e6, rel=0.1)


@pytest.mark.parametrize(("text", "said"), [
    ("1\n2\nx\n", "up.trace:3: 'x' is no number of milliseconds"), ("5\n3\n", "up.trace:2: 3 comes before"),
    ("", "a trace has lines"), ("0\n0\n", "lasts longer than 0"),
])
def test_a_file_that_is_no_trace_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "up.trace").write_text(text)
    with pytest.raises(ValueError, match=r"trace: .*up\.trace") as caught:
        read_profile(str(tmp_path / "up.trace"))
    assert said in str(caught.value)


# --- captures


def captured(folder: Path, seen_by: str = "", **words: Any) -> Path:
    """Capture an exchange over a link: the client sends much, the server answers each piece."""
    path = folder / "run.pcapng"
    with Network(7) as net:
        client, server = net.host("client"), net.host("server")
        link = net.link(client, server, **words)
        seen = (net.hosts[seen_by] if seen_by else net).record()
        net.at("3s", lambda: link.set(delay="60ms"))

        @server.run
        def serve() -> None:
            with socket.create_server(("", 80)) as listener, listener.accept()[0] as sock:
                while piece := sock.recv(1000, socket.MSG_WAITALL):
                    sock.sendall(piece)

        @client.run
        def ask() -> None:
            with socket.create_connection(("server", 80)) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while net.now < 6:
                    sock.sendall(bytes(1000))
                    sock.recv(1000, socket.MSG_WAITALL)

        net.run()
        seen.pcapng(str(path))
    return path


@pytest.mark.parametrize("seen_by", ["", "client", "server"])
def test_a_capture_gives_the_delay_over_time_wherever_it_was_taken(tmp_path: Path, seen_by: str) -> None:
    profile = read_profile(str(captured(tmp_path, seen_by, delay="20ms")))
    assert profile.opportunities is None
    assert profile.delay is not None
    assert profile.losses == (None, None)
    for at_s, delay_ms in ((0.5, 20), (2.5, 20), (4, 60), (5.5, 60)):
        assert profile.delay.at(int(at_s * SECOND)) / MS == pytest.approx(delay_ms, rel=0.1)
    assert profile.delay.at(profile.delay.period_ns + SECOND) == profile.delay.at(SECOND)  # it begins again


def test_a_capture_gives_the_losses_of_each_direction(tmp_path: Path) -> None:
    profile = read_profile(str(captured(tmp_path, "client", delay="5ms", loss={"client": "10%"})))
    there, back = profile.losses
    assert there is not None
    assert there.loss == pytest.approx(0.1, rel=0.6)
    assert back is None or back.loss < there.loss


def test_a_link_takes_delay_and_losses_from_a_capture_and_what_is_said_beside_it_counts_more(tmp_path: Path) -> None:
    path = captured(tmp_path, "client", delay="5ms", loss={"client": "10%"})
    with Network(1) as net:
        a, b = net.host("a"), net.host("b")
        link = net.link(a, b, trace=path, delay="100ms")
        there, back = link.there.conditions, link.back.conditions
        assert there.loss > 0.02
        assert there.delay_profile == back.delay_profile is not None
        assert "trace" in repr(link)
        times: list[float] = []
        link.there.set(read_conditions(there, "a", True, {"loss": 0}))
        link.there.end = FunctionReceiver(lambda octets: times.append(net.now))
        for at in (1, 4):
            net.at(at, link.inject, a, b"frame")
        net.run(until=6)
        assert times == pytest.approx([1.105, 4.160], rel=0.01)
        link.set(trace=None, loss="1%")
        assert link.there.conditions.delay_profile is None
    with Network(1) as net:
        link = net.link(net.host("a"), net.host("b"), loss=0, trace=path)
        assert link.there.conditions.loss == 0


def test_a_capture_without_tcp_says_nothing_and_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.pcapng"
    with Network(1) as net:
        net.record().pcapng(str(path))
    with pytest.raises(ValueError, match=r"no segment of TCP and its acknowledgment|trace: "):
        read_profile(str(path))
