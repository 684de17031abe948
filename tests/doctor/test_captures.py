"""What the doctor says of captures made by hand: endings, openings, artefacts, and where a capture was taken."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import estab
from estab.cli.main import main
from estab.devices.capture_file import OUTBOUND, Captured, CaptureError
from estab.doctor import conversation, diagnose
from estab.doctor.captures import diagnose_capture, diagnose_frames
from estab.doctor.causes import CAUSES
from estab.doctor.finding import Report
from estab.explain.table import find
from estab.observe.recorder import Recorder
from estab.wire import ip, tcp
from estab.wire.ip import IpHeader

CLIENT, SERVER = bytes((10, 9, 0, 1)), bytes((10, 9, 0, 2))
S, F, R, A, P = tcp.SYN, tcp.FIN, tcp.RST, tcp.ACK, tcp.PSH


@dataclass
class Trace:
    """A capture, written packet by packet; numbers count from the SYNs."""

    frames: list[Captured] = field(default_factory=list)
    direction: int = 0

    def add(self, at_s: float, is_client: bool, flags: int, seq: int, ack: int = 0, text: bytes = b"",
            wnd: int = 60_000, ttl: int = 64, **options: Any) -> Trace:
        source, target = (CLIENT, SERVER) if is_client else (SERVER, CLIENT)
        ports = (40_000, 80) if is_client else (80, 40_000)
        base, peer = (1000, 5000) if is_client else (5000, 1000)
        segment = tcp.Segment(*ports, tcp.Seq(base + seq), tcp.Seq(peer + ack if flags & A else 0), flags, wnd)
        segment.data, segment.end = text, len(text)
        segment.mss = 1460 if flags & S else 0
        for name, value in options.items():
            setattr(segment, name, value)
        header = IpHeader(source, target, ttl=ttl, ident=len(self.frames) + 1, dont_fragment=True)
        data = tcp.emit_packet(segment, header)
        self.frames.append(Captured(int(at_s * 1e9), 228, data, len(data)))
        return self

    def c(self, at_s: float, flags: int, seq: int, ack: int = 0, text: bytes = b"", **more: Any) -> Trace:
        return self.add(at_s, True, flags, seq, ack, text, **more)

    def s(self, at_s: float, flags: int, seq: int, ack: int = 0, text: bytes = b"", **more: Any) -> Trace:
        return self.add(at_s, False, flags, seq, ack, text, **more)

    def opened(self) -> Trace:
        """The handshake, 20 ms long, as the client sees it."""
        return self.c(0, S, 0).s(0.02, S | A, 0, 1).c(0.0201, A, 1, 1)

    def report(self) -> Report:
        return diagnose_frames(self.frames)

    def said(self) -> list[str]:
        return [finding.name for finding in self.report().findings]


def test_text_after_the_peers_close_is_named() -> None:
    trace = Trace().opened().s(1, F | A, 1, 1).c(1.001, A, 1, 2).c(2, P | A, 1, 2, b"late").s(2.02, R, 2)
    assert trace.said()[0] == "write-after-close"


def test_a_request_that_meets_the_servers_close_is_a_race() -> None:
    trace = Trace().opened().c(0.03, P | A, 1, 1, b"ask").s(0.05, P | A, 1, 4, b"answer").c(0.051, A, 4, 7)
    trace.c(30, P | A, 4, 7, b"ask").s(30.005, F | A, 7, 4).s(30.02, R, 7)
    assert trace.said()[0] == "keepalive-race"


def test_a_client_that_gives_up_before_the_answer_is_named() -> None:
    trace = Trace().c(0, S, 0).c(0.29, F | A, 1, 0).s(0.3, S | A, 0, 1).c(0.301, R, 1)
    assert trace.said()[0] == "closed-while-connecting"


def test_a_fin_that_nobody_acknowledges_is_named() -> None:
    trace = Trace().opened()
    for at_s in (1, 1.3, 1.9, 3.1, 5.5):
        trace.c(at_s, F | A, 1, 1)
    assert "close-unanswered" in trace.said()


def test_a_reset_after_a_long_silence_is_a_note_only() -> None:
    trace = Trace().opened().c(0.03, P | A, 1, 1, b"ask").s(0.05, P | A, 1, 4, b"answer").c(0.051, A, 4, 7)
    assert trace.c(60, R | A, 4, 7).said() == ["idle-reset"]
    assert not trace.report().has_trouble


def test_a_reset_with_a_request_unanswered_and_one_without_are_told_apart() -> None:
    asked = Trace().opened().c(0.03, P | A, 1, 1, b"ask").s(0.05, A, 1, 4).s(0.3, R | A, 1, 4)
    assert asked.said() == ["reset-unread-data"]
    assert Trace().opened().s(0.5, R | A, 1, 1).said() == ["reset"]


def test_a_syn_that_had_to_be_sent_again_is_a_loss() -> None:
    trace = Trace().c(0, S, 0).c(1, S, 0).s(1.02, S | A, 0, 1).c(1.021, A, 1, 1)
    finding = trace.report().findings[0]
    assert (finding.name, finding.confidence) == ("loss", "likely")
    assert finding.cost_s == pytest.approx(1.02)


@pytest.mark.parametrize(("later_s", "said"), [(0.3, "closed-while-connecting"), (5, "accept-queue-full")])
def test_one_syn_without_an_answer_is_a_client_that_gave_up_if_the_port_took_another_soon_after(
    later_s: float, said: str,
) -> None:
    trace = Trace().c(0, S, 0)  # and never again, not even after a second
    other = {"sport": 40_001}
    trace.c(later_s, S, 0, **other).s(later_s + 0.02, S | A, 0, 1, dport=40_001).c(later_s + 0.021, A, 1, 1, **other)
    trace.c(later_s + 2, P | A, 1, 1, b"ask", **other).s(later_s + 2.02, A, 1, 4, dport=40_001)
    assert trace.said()[0] == said


def test_what_was_lost_is_never_more_than_what_was_sent() -> None:
    trace = Trace().opened().c(0.1, P | A, 1, 1, b"ask")
    for at_s in (0.4, 1, 2.2):
        trace.c(at_s, P | A, 1, 1, b"ask")
    trace.s(2.22, A, 1, 4).c(2.3, F | A, 4, 1).c(2.6, F | A, 4, 1).s(2.62, F | A, 1, 5).c(2.621, A, 5, 2)
    finding = next(one for one in trace.report().findings if one.name == "loss")
    assert finding.evidence[1:] == ["1 of 1 segments with text (100.0%)"]


def test_an_icmp_error_says_who_refused() -> None:
    trace = Trace().c(0, S, 0)
    quoted = trace.frames[0].data
    message = struct.pack(">BBHI", 3, 1, 0, 0) + quoted[:28]
    packet = ip.emit(bytes((10, 9, 9, 9)), CLIENT, ip.ICMP, message)
    trace.frames.append(Captured(5_000_000, 228, packet, len(packet)))
    finding = trace.report().findings[0]
    assert finding.name == "port-unreachable"
    assert "10.9.9.9" in finding.evidence[0]


def test_a_capture_of_one_direction_is_no_silent_path() -> None:
    trace = Trace()
    for number in range(8):
        trace.c(number * 0.1, P | A, 1 + number * 100, 1 + number * 50, bytes(100))
    assert trace.said() == ["one-way-capture"]


def test_text_that_is_repeated_in_vain_is_a_silent_path_with_the_time_when_it_is_noticed() -> None:
    trace = Trace().opened().c(1, P | A, 1, 1, b"hello").s(1.02, A, 1, 6)
    for at_s in (2, 2.22, 2.66, 3.54, 5.3):
        trace.c(at_s, P | A, 6, 1, b"again")
    finding = trace.report().findings[0]
    assert finding.name == "path-silent"
    assert "924.6 s" in finding.notices
    assert finding.from_s == pytest.approx(2)


def test_a_forged_segment_is_told_from_a_retransmission_by_its_text() -> None:
    trace = Trace().opened().c(0.03, P | A, 1, 1, b"ask")
    forged = Trace([*trace.frames]).s(0.04, P | A, 1, 4, b"evil", ttl=50).s(0.05, P | A, 1, 4, b"good", ttl=57)
    again = Trace([*trace.frames]).s(0.04, P | A, 1, 4, b"good").s(0.25, P | A, 1, 4, b"good").c(0.251, A, 4, 5)
    assert "injected" in forged.said()
    assert "injected" not in again.said()


def test_packets_that_are_there_twice_are_no_retransmissions() -> None:
    trace = Trace().opened().c(0.03, P | A, 1, 1, b"ask").s(0.05, P | A, 1, 4, b"answer").c(0.051, A, 4, 7)
    trace.frames = [frame for frame in trace.frames for _ in range(2)]
    assert trace.said() == ["captured-twice"]


def test_copies_are_found_although_old_packets_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "_SEEN_MAX", 8)
    trace = Trace().opened()
    for number in range(200):
        at_s = 0.03 + 0.01 * number
        trace.c(at_s, P | A, 1 + 3 * number, 1, b"ask").s(at_s + 0.005, A, 1, 4 + 3 * number)
    trace.frames = [frame for frame in trace.frames for _ in range(2)]
    assert trace.said() == ["captured-twice"]


def test_wrong_checksums_of_one_host_hide_nothing() -> None:
    trace = Trace().c(0, S, 0).s(0.02, R | A, 0, 1).c(1, S, 0).s(1.02, R | A, 0, 1)
    trace.frames = [
        Captured(frame.time_ns, 228, frame.data[:36] + b"\x12\x34" + frame.data[38:], frame.length)
        if frame.data[12:16] == CLIENT else frame for frame in trace.frames
    ]
    assert trace.said() == ["refused", "checksum-offload"]
    assert not any("began before" in note for note in trace.report().notes)


@pytest.mark.parametrize(("to_client_s", "to_server_s", "place"), [
    (0.0001, 0.02, "at the client"), (0.02, 0.0001, "at the server"), (0.01, 0.01, "between the two"),
])
def test_where_a_capture_was_taken_is_guessed_from_the_handshake(
    to_client_s: float, to_server_s: float, place: str,
) -> None:
    trace = Trace().c(0, S, 0).s(to_server_s, S | A, 0, 1).c(to_server_s + to_client_s, A, 1, 1)
    trace.c(1, P | A, 1, 1, b"x").s(1 + to_server_s, A, 1, 2)
    assert place in trace.report().notes[0]


def test_a_file_that_knows_directions_says_where_it_was_taken() -> None:
    trace = Trace().c(0, S, 0).s(0.01, S | A, 0, 1).c(0.02, A, 1, 1)
    trace.frames = [
        Captured(frame.time_ns, 228, frame.data, frame.length, direction=2 if frame.data[12:16] == SERVER else 1)
        for frame in trace.frames
    ]
    assert trace.frames[1].direction == OUTBOUND
    assert "at the server: the file says which packets went out" in trace.report().notes[0]


@given(st.data())
def test_no_packets_trip_the_doctor(data: st.DataObject) -> None:
    trace = Trace()
    for number in range(data.draw(st.integers(0, 25))):
        flags = data.draw(st.sampled_from([S, S | A, A, P | A, F | A, R, R | A, F | P | A, 0]))
        text = bytes(data.draw(st.integers(0, 1460))) if flags & P else b""
        trace.add(number * data.draw(st.sampled_from([0.0, 0.001, 0.3, 7.0])), data.draw(st.booleans()), flags,
                  data.draw(st.integers(0, 5000)), data.draw(st.integers(0, 5000)), text,
                  wnd=data.draw(st.sampled_from([0, 1, 4000, 65_535])))
    report = trace.report()
    assert report.json()["findings"] is not None
    assert all(finding.name in CAUSES for finding in report.findings)


def test_every_cause_has_a_cure_and_its_words_are_explained() -> None:
    assert [cause.name for cause in CAUSES.values() if not cause.cures or not cause.seen_in] == []
    assert [word for cause in CAUSES.values() for word in cause.terms if not find(word)] == []


def run_of_the_lab() -> Recorder:
    net = estab.Network(seed=3)
    seen = Recorder()
    net.observe(seen)
    client, server = net.host("client"), net.host("server")
    net.link(client, server, delay="10ms")

    def call() -> None:
        with client.socket() as caller:
            caller.connect((server.address, 81))

    with net:
        client.run(call)
        net.run(check=False)
    return seen


@pytest.mark.parametrize(("queue_of", "causes"), [("host", ["dropped-locally"]), ("link", [])])
def test_a_recording_tells_of_packets_that_the_hosts_own_queue_dropped(queue_of: str, causes: list[str]) -> None:
    net = estab.Network(seed=3)
    server, client = net.host("server"), net.host("client")
    net.link(client, server, delay="5ms", rate="3Mbit", queue=5, queue_of=queue_of)
    seen = net.record()

    def receive() -> int:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as peer:
            return sum(len(text) for text in iter(lambda: peer.recv(65536), b""))

    def send() -> None:
        with socket.create_connection(("server", 80)) as peer:
            peer.sendall(bytes(500_000))

    server.run(receive)
    client.run(send)
    net.run()
    found = [finding for finding in diagnose(seen).findings if finding.name == "dropped-locally"]
    assert [finding.name for finding in found] == causes
    for finding in found:
        assert (finding.subject[-12:], finding.who) == (">10.0.0.2:80", "client")
        count = client.counters()["drop:QDISC_DROP"]
        assert finding.evidence == [f"{count} packets dropped before leaving the host: the queue of eth0 is full "
                                    "(QDISC_DROP)", "seen from client"]


def test_a_recording_is_diagnosed_from_every_hosts_view() -> None:
    report = diagnose(run_of_the_lab())
    assert [finding.name for finding in report.findings] == ["refused"]
    assert report.findings[0].evidence[-1] == "seen from client"
    assert report.looked_at["hosts"] == 2


@pytest.mark.parametrize(("fault", "causes"), [("nothing", ["close-wait"]), ("power", [])])
def test_a_recording_that_goes_on_after_its_last_packet_shows_who_does_not_close(fault: str, causes: list[str]) -> None:
    net = estab.Network(seed=3)
    client, server = net.host("client"), net.host("server")
    net.link(client, server, delay="5ms")
    seen = net.record()

    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as peer:
            while peer.recv(100):
                pass
            time.sleep(120)

    def call() -> None:
        with socket.create_connection(("server", 80)) as peer:
            peer.sendall(b"hello")
            peer.shutdown(socket.SHUT_WR)
            peer.recv(100)

    server.run(serve)
    client.run(call)
    if fault == "power":
        net.at("1s", server.power_off)
    net.run(until="100s", check=False)
    report = diagnose(seen)
    assert [finding.name for finding in report.findings] == causes
    assert all("no FIN of the server" in finding.evidence[1] and "for 99.98s" in finding.evidence[1]
               for finding in report.findings)
    seen.stop()
    assert seen.end_ns == 100 * 10**9


def test_what_info_of_a_socket_gives_is_diagnosed() -> None:
    net = estab.Network(seed=4)
    client, server = net.host("client"), net.host("server")
    link = net.link(client, server, delay="10ms")

    def serve() -> None:
        with server.socket() as listener:
            listener.bind(("", 80))
            listener.listen()
            with listener.accept()[0] as connection:
                connection.recv(1)

    infos = []

    def call() -> None:
        with client.socket() as caller:
            caller.connect((server.address, 80))
            link.cut()
            caller.send(b"x")
            caller.settimeout(8)
            try:
                caller.recv(1)
            except TimeoutError:
                infos.append(caller.info())

    with net:
        server.run(serve, daemon=True)
        client.run(call)
        net.run(until=10)
    report = diagnose(infos)
    assert [finding.name for finding in report.findings] == ["path-silent"]
    assert diagnose(infos[0]).findings[0].subject == "connection 1 of 1, ESTABLISHED"


def test_a_capture_that_was_cut_says_so_and_one_of_an_unknown_kind_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    trace = Trace().c(0, S, 0).s(0.02, R | A, 0, 1)
    head = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65_535, 228)
    body = b"".join(struct.pack("<IIII", 0, frame.time_ns, frame.length, frame.length) + frame.data
                    for frame in [*trace.frames, trace.frames[0]])
    path = tmp_path / "cut.pcap"
    path.write_bytes((head + body)[:-5])
    assert main(["doctor", str(path)]) == 1
    told = capsys.readouterr().out
    assert "FAULT  refused: nobody listens on the port" in told
    assert "cut short" in " ".join(told.split())
    assert diagnose_capture(path).looked_at["tcp_packets"] == 2
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65_535, 147) + body)
    with pytest.raises(CaptureError, match="link type 147"):
        diagnose_capture(path)
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65_535, 127) + body)
    with pytest.raises(CaptureError, match=r"can be read: Wi-Fi, taken in monitor mode \(link type 127\)"):
        diagnose_capture(path)
    path.write_bytes(head)
    assert main(["doctor", str(path)]) == 0
    told = capsys.readouterr().out
    assert "nothing was judged" in told
    assert "there is no TCP in it" in told
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65_535, 147) + body)
    assert main(["doctor", str(path)]) == 2
    assert main(["doctor", str(path), "--pid", "1"]) == 2
    (tmp_path / "text.pcap").write_text("hello")
    assert main(["doctor", str(tmp_path / "text.pcap")]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("estab: ")
