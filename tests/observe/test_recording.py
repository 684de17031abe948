"""``record()`` of a network, a host and a stack: what the tour shows, of any run."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import estab
from estab.devices.capture_file import read_capture
from estab.events import FrameReceived, FrameSent
from estab.observe import pcapng

ROOT = Path(__file__).resolve().parents[2]


def network() -> tuple[estab.Network, estab.Host, estab.Host]:
    net = estab.Network(seed=3)
    a, b = net.host("a"), net.host("b")
    net.link(a, b, delay="10ms")

    @b.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as sock:
            sock.sendall(sock.recv(100).upper())

    @a.run
    def call() -> bytes:
        with socket.create_connection(("b", 80)) as sock:
            sock.sendall(b"hello")
            return sock.recv(100)

    return net, a, b


def test_a_recording_shows_a_run_as_a_ladder_a_story_and_calls(tmp_path: Path) -> None:
    net, _a, _b = network()
    seen = net.record()
    net.run()
    assert "──S seq=0 len=0 wnd=65535──" in seen.ladder()
    assert "a  ▸ socket(AF_INET, SOCK_STREAM, 6)" in seen.story()
    assert "more came after" not in seen.ladder() + seen.story()
    connect, = seen.calls(name="connect")
    assert (connect.host, connect.started_ns, connect.returned_ns) == ("a", 0, 20_000_000)
    assert [row.host for row in seen.calls(name="sendall")] == ["a", "b"]
    assert seen.hosts() == ["a", "b"]
    assert len(seen) == len(seen.facts)

    frames = sum(isinstance(fact, FrameSent) for fact in seen.facts)
    assert seen.pcapng(tmp_path / "run.pcapng") == frames
    with open(tmp_path / "run.pcapng", "rb") as file:
        assert len(list(read_capture(file))) == frames

    with pytest.raises(ValueError, match="host: there is no 'c' in this recording, only a, b"):
        seen.pcapng(tmp_path / "none.pcapng", host="c")
    assert not (tmp_path / "none.pcapng").exists()
    seen.json(tmp_path / "run.json")
    document = json.loads((tmp_path / "run.json").read_text())
    assert (len(document["facts"]), document["facts_not_kept"], document["title"]) == (
        len(seen), 0, "network with seed 3")
    assert [each["name"] for each in document["calls"]] == [call.name for call in seen.calls()]


def test_a_capture_of_one_host_has_what_reached_it_as_it_came(tmp_path: Path) -> None:
    """What a link loses or holds back looks otherwise at its two ends."""
    net = estab.Network(3)
    a, b = net.host("a"), net.host("b")
    net.link(a, b, delay="10ms", reorder="30%", loss="10%", duplicate="20%", corrupt="5%")

    @b.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as sock:
            while sock.recv(5000):
                pass

    @a.run
    def send() -> None:
        with socket.create_connection(("b", 80)) as sock:
            sock.sendall(bytes(20_000))

    seen = net.record()
    net.run()
    for host in ("a", "b"):
        count = seen.pcapng(tmp_path / f"{host}.pcapng", host=host)
        with open(tmp_path / f"{host}.pcapng", "rb") as file:
            capture = pcapng.read(file)
        expected = [(fact.at_ns, fact.data) for fact in seen.facts
                    if isinstance(fact, (FrameSent, FrameReceived)) and fact.host == host]
        assert count == len(expected)
        assert [(packet.at_ns, packet.data) for packet in capture.packets] == expected
        assert {packet.interface.name for packet in capture.packets} == {f"{host}:eth0"}
        assert f"as host {host} saw it" in capture.comments[0]
    sent = [packet for packet in seen.facts if isinstance(packet, FrameSent) and packet.host == "a"]
    came = [packet for packet in seen.facts if isinstance(packet, FrameReceived) and packet.host == "b"]
    assert len(came) < len(sent)
    order = [sent_data for fact in sent if (sent_data := fact.data) in {got.data for got in came}]
    assert [fact.data for fact in came] != order


def test_a_ladder_can_be_of_some_hosts_and_of_any_width() -> None:
    net, _a, _b = network()
    seen = net.record()
    net.run()
    assert seen.ladder(hosts=["b", "a"]).splitlines()[0].split()[1:3] == ["b", "a"]
    assert max(map(len, seen.ladder(width=80).splitlines())) == 80
    with pytest.raises(ValueError, match="width: 10 is too narrow"):
        seen.ladder(width=10)


def test_a_recording_of_a_host_is_of_that_host_alone() -> None:
    net, a, _b = network()
    seen = a.record()
    net.run()
    assert {fact.host for fact in seen.facts} == {"a"}
    assert [call.name for call in seen.calls()][:2] == ["socket", "connect"]


def test_a_recording_ends_with_its_block_and_can_be_looked_at_after_it() -> None:
    net, a, b = network()
    with net.record() as seen:
        net.run(until="15ms")
    count = len(seen)
    net.run()
    assert len(seen) == count > 0
    assert a.engine.observer is b.engine.observer is None
    seen.stop()


def test_what_a_full_recording_does_not_keep_is_said_everywhere(tmp_path: Path) -> None:
    net, _a, _b = network()
    whole, seen = net.record(), net.record(facts_max=20)
    net.run()
    more = len(whole) - 20
    assert (len(seen), seen.not_kept) == (20, more)
    said = f"{more} facts more came after the recording was full: it holds 20 facts and 256.0 MiB of frames at most"
    assert seen.ladder().splitlines()[-1] == seen.story().splitlines()[-1] == said
    seen.pcapng(tmp_path / "run.pcapng")
    assert said.encode() in (tmp_path / "run.pcapng").read_bytes()
    seen.json(tmp_path / "run.json")
    assert json.loads((tmp_path / "run.json").read_text())["facts_not_kept"] == more


def test_frames_are_bounded_by_their_bytes() -> None:
    net, _a, _b = network()
    seen = net.record(frame_bytes_max=100)
    net.run()
    assert sum(len(fact.data) for fact in seen.facts if isinstance(fact, FrameSent)) <= 100
    assert seen.not_kept > 0


@pytest.mark.parametrize(("limits", "text"), [
    ({"facts_max": 0}, "facts_max: 0 is too few; give 1 or more"),
    ({"frame_bytes_max": -1}, "frame_bytes_max: -1 is negative"),
])
def test_limits_that_make_no_sense_are_refused(limits: dict[str, int], text: str) -> None:
    net, a, _b = network()
    for record in (net.record, a.record):
        with pytest.raises(ValueError, match=text):
            record(**limits)
    assert a.engine.observer is None


def test_the_times_of_a_stacks_recording_count_from_its_start() -> None:
    with estab.Stack(estab.QueueDevice(), "10.9.0.1/24") as here:
        seen = here.record()
        with here.socket() as sock:
            sock.bind(("", 80))
            sock.listen()
        seen.stop()
    assert [call.name for call in seen.calls()] == ["socket", "bind", "listen", "close"]
    assert all(0 <= call.started_ns < 60 * 10**9 for call in seen.calls())
    assert "bind(('', 80))" in seen.story()
    assert seen.facts[0].at_ns > seen.calls()[0].started_ns


@pytest.mark.parametrize(("page", "picture"), [
    ("docs/observing.md", "docs/observing.svg"), ("README.md", "docs/first-run.svg"),
])
def test_the_picture_of_a_page_is_that_of_its_program(page: str, picture: str, tmp_path: Path) -> None:
    made = tmp_path / "made.svg"
    subprocess.run([sys.executable, ROOT / "tools" / "ladder_picture.py", ROOT / page, made], check=True)
    assert made.read_text() == (ROOT / picture).read_text()
    assert "@font-face" not in made.read_text()
