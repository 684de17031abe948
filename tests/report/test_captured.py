"""A capture from anywhere as a page: numbers, windows and round trips as the packets tell them; the rest is said."""

from __future__ import annotations

import contextlib
import errno
import io
import socket
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import estab
from estab.cli.main import main
from estab.devices.capture_file import read_capture
from estab.doctor.captures import diagnose_capture
from estab.events import Event, FrameReceived, FrameSent, RttMeasured, SegmentSent
from estab.observe.pcapng import PcapngWriter
from estab.report.captured import captured
from estab.report.columns import Columns
from estab.report.ends import Ends
from estab.report.marks import marks
from estab.report.page import Scene, write_report
from tests.report.conftest import Run, Shown

EPOCH_NS = 1_700_000_000 * 10**9


def capture_of(run: Run, host: str, *, link_type: int = 101, front: bytes = b"", kept: int = 65535) -> io.BytesIO:
    """Capture what one host sends and receives."""
    stream = io.BytesIO()
    writer = PcapngWriter(stream)
    writer.section()
    writer.interface("eth0", link_type)
    for fact in run.facts:
        if isinstance(fact, (FrameSent, FrameReceived)) and fact.host == host:
            writer.packet(0, EPOCH_NS + fact.at_ns, (front + fact.data)[:kept])
    stream.seek(0)
    return stream


def plain_pcap(run: Run, host: str, kept: int) -> io.BytesIO:
    """Write a classic pcap in which every packet is cut."""
    out = io.BytesIO()
    out.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, kept, 101))
    for fact in run.facts:
        if isinstance(fact, (FrameSent, FrameReceived)) and fact.host == host:
            seconds, rest = divmod(EPOCH_NS + fact.at_ns, 10**9)
            out.write(struct.pack("<IIII", seconds, rest, min(kept, len(fact.data)), len(fact.data)))
            out.write(fact.data[:kept])
    out.seek(0)
    return out


def segments(tables: Ends, side: int) -> list[tuple[int, ...]]:
    frame = tables.columns["frame"]
    return [tuple(frame[name][row] for name in ("t", "seq", "ack", "len", "wnd"))
            for row in range(tables.count("frame")) if frame["side"][row] == side]


@pytest.fixture(params=["whole", "cut", "ethernet", "cooked"])
def tables(request: pytest.FixtureRequest, run: Run) -> Ends:
    """The client's capture, in several forms."""
    if request.param == "cut":
        return captured(read_capture(plain_pcap(run, "client", 80)))
    if request.param == "ethernet":
        return captured(read_capture(capture_of(run, "client", link_type=1, front=bytes(12) + b"\x08\x00")))
    if request.param == "cooked":
        return captured(read_capture(capture_of(run, "client", link_type=113, front=bytes(14) + b"\x08\x00")))
    return captured(read_capture(capture_of(run, "client")))


def test_segments_have_the_numbers_that_their_sender_gave_them(tables: Ends, run: Run) -> None:
    first_ns = run.of(FrameSent, "client")[0].at_ns
    told = run.of(SegmentSent, "client")
    sent = [(fact.at_ns - first_ns, fact.seq, fact.ack, fact.length, fact.wnd) for fact in told]
    assert segments(tables, 0) == sent  # windows with their scale
    assert tables.epoch_ns == EPOCH_NS + first_ns
    again = {(fact.at_ns - first_ns, fact.seq) for fact in run.of(SegmentSent, "client") if "retransmi" in fact.why}
    frame = tables.columns["frame"]
    marked = {(frame["t"][row], frame["seq"][row]) for row in range(tables.count("frame")) if frame["bits"][row] & 1}
    assert again <= marked


def test_round_trips_at_the_sender_are_mostly_those_that_tcp_measured(tables: Ends, run: Run) -> None:
    rtt = tables.columns["rtt"]
    first_ns = run.of(FrameSent, "client")[0].at_ns
    rows = zip(rtt["t"], rtt["end"], rtt["sample"], strict=True)
    ours = {(t + first_ns, sample) for t, end, sample in rows if end == 0}
    told = {(fact.at_ns, fact.rtt_ns) for fact in run.of(RttMeasured, "client")}
    assert len(ours & told) > 0.7 * len(told)  # the rest: of segments sent twice, by timestamps


def test_the_peers_window_is_unscaled_and_the_acknowledged_edge_is_the_last_one(tables: Ends, run: Run) -> None:
    flow = tables.columns["flow"]
    own = [row for row, end in enumerate(flow["end"]) if end == 0]
    told = [fact.tcb for fact in run.of(SegmentSent, "client") if fact.tcb is not None]
    assert max(flow["una"][row] for row in own) >= max(tcb.snd_una for tcb in told)
    assert max(flow["wnd"][row] for row in own) == max(fact.wnd for fact in run.of(SegmentSent, "server"))


def test_what_a_capture_cannot_know_is_said(tables: Ends, run: Run) -> None:
    said = " ".join(tables.missing)
    assert "Congestion windows" in said
    assert "calls" in said
    late = Run(run.facts[len(run.facts) // 2:], run.columns)
    assert "was not captured" in " ".join(captured(read_capture(capture_of(late, "client"))).missing)


def test_a_port_that_refuses_is_no_connection_whose_syn_was_not_captured() -> None:
    facts: list[Event] = []
    with estab.Network() as net:
        a, b = net.host("a"), net.host("b")
        net.link(a, b)
        net.observe(facts.append)
        with a.socket() as sock:
            assert sock.connect_ex(("b", 80)) == errno.ECONNREFUSED
    said = captured(read_capture(capture_of(Run(facts, Columns()), "a"))).missing
    assert not any("was not captured" in line for line in said)


def test_the_command_writes_a_page_and_says_in_a_line_what_is_wrong(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "run.pcapng"
    path.write_bytes(capture_of(run, "client").read())
    assert main(["report", str(path)]) == 0
    assert (tmp_path / "run.html").read_text().startswith("<!doctype html>")
    assert "1 connection" in capsys.readouterr().out
    (tmp_path / "no.pcapng").write_bytes(b"nothing of the kind, at all, really")
    (tmp_path / "empty.pcapng").write_bytes(b"")
    for words, code in (([str(tmp_path / "no.pcapng")], 2), ([str(tmp_path / "empty.pcapng")], 2),
                        ([str(tmp_path / "gone")], 2), ([str(path), "--out", str(path)], 2),
                        ([str(path), "--out", str(tmp_path / "no" / "x.html")], 1)):
        assert main(["report", *words]) == code
        assert capsys.readouterr().err.count("\n") == 1


def test_times_of_a_file_may_be_any(run: Run, tmp_path: Path) -> None:
    frames = list(read_capture(capture_of(run, "client")))
    frames[-1] = replace(frames[-1], time_ns=2**64 - 1)
    tables = captured(frames)
    assert "By the times in the file 1 frame came more than 146 years after the first" in " ".join(tables.missing)
    write_report(tmp_path / "run.html", Scene(tables, "a run"))


def test_the_line_that_makes_the_page_again_is_one_for_a_shell(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a run.pcapng"
    path.write_bytes(capture_of(run, "client").read())
    assert main(["report", str(path)]) == 0
    assert "estab report 'a run.pcapng'" in (tmp_path / "a run.html").read_text().replace("\\u0027", "'")


def test_the_doctor_s_findings_stand_above_the_views_and_lead_to_their_time(
    run: Run, tmp_path: Path, show: Callable[..., Shown],
) -> None:
    path = tmp_path / "run.pcapng"
    path.write_bytes(capture_of(run, "client").read())
    assert main(["report", str(path)]) == 0
    found = [finding for finding in diagnose_capture(path).findings if finding.from_s]
    shown = show(text=(tmp_path / "run.html").read_text())
    told = shown.page.inner_text(".findings")
    assert all(finding.cause.title in told for finding in found)
    shown.page.locator(".findings summary button").first.click()
    shown.settle()
    first = diagnose_capture(path).findings[0]
    [since, until] = shown.ask("() => estab.timeline.window")
    assert since <= (first.from_s or 0) <= until


def test_a_file_that_ends_in_the_middle_is_shown_as_far_as_it_goes(run: Run, tmp_path: Path) -> None:
    whole = capture_of(run, "client").read()
    (tmp_path / "cut.pcapng").write_bytes(whole[:len(whole) // 2 + 1])
    assert main(["report", str(tmp_path / "cut.pcapng")]) == 0
    assert "The capture ends in the middle" in (tmp_path / "cut.html").read_text()


def test_bookmarks_of_a_capture_are_what_its_packets_show(run: Run) -> None:
    tables = captured(read_capture(capture_of(run, "client")))
    found = {mark.name.partition(",")[0]: mark for mark in marks(tables)}
    assert set(found) == {"first retransmission", "longest stall"}
    frame = tables.columns["frame"]
    again = next(row for row, bits in enumerate(frame["bits"]) if bits & 1 and frame["len"][row])
    assert found["first retransmission"].from_ns <= frame["t"][again] <= found["first retransmission"].until_ns
    stall = found["longest stall"]  # the cable was cut from 900 ms to 1500 ms
    assert stall.from_ns < 1_000_000_000 < stall.until_ns
    assert stall.until_ns - stall.from_ns < 1_500_000_000


def loopback() -> io.BytesIO:
    """Capture a host that writes to itself, to a program that does not read."""
    net = estab.Network(seed=1)
    host, facts = net.host("alone"), list[Event]()
    net.observe(facts.append)

    @host.run
    def talk() -> None:
        with socket.create_server(("127.0.0.1", 80)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with socket.create_connection(("127.0.0.1", 80)) as near, listener.accept()[0]:
                near.settimeout(5)
                with contextlib.suppress(TimeoutError):
                    near.sendall(bytes(10_000_000))

    net.run()
    stream = io.BytesIO()
    writer = PcapngWriter(stream)
    writer.section()
    writer.interface("lo", 101)
    for fact in facts:
        if isinstance(fact, FrameSent):
            writer.packet(0, EPOCH_NS + fact.at_ns, fact.data)
    stream.seek(0)
    return stream


def test_ends_of_the_loopback_are_two_and_a_connection_that_was_stopped_at_once_has_its_reason(
    tmp_path: Path, show: Callable[..., Shown],
) -> None:
    path = tmp_path / "lo.pcapng"
    path.write_bytes(loopback().read())
    tables = captured(read_capture(loopback()))
    near, far = tables.conns[0].names
    assert tables.hosts == [near, far]
    assert main(["report", str(path)]) == 0
    shown = show(text=path.with_suffix(".html").read_text())
    assert shown.page.inner_text(".setting").startswith("1 host · 1 connection")
    assert shown.page.locator("select option").first.inner_text().startswith(f"{near} – {far}, ")
    rows = {mark[4] for mark in shown.marks("ladder")}
    assert len(rows) == 2
    assert "program not reading" in shown.page.inner_text(".verdict")
    assert any("on the machine of both ends" in note for note in diagnose_capture(path).notes)
