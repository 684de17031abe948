"""A verdict has a period: phases that the lab made, found in the capture of either end."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

import estab
from bench.doctor.phases import Act, Play
from estab.cli.main import estab as command
from estab.devices.capture_file import read_capture
from estab.doctor import diagnose, packets
from estab.doctor.captures import diagnose_frames
from estab.doctor.recordings import frames_of
from estab.doctor.tell import tell
from estab.events import Event
from estab.observe.text import plain_text
from estab.report.captured import captured
from estab.report.phases import Hold, add_phases
from estab.report.tables import HELD

PLAYS: list[list[Act]] = [
    [("application-limited", 3.0), ("loss", 4.0), ("application-limited", 2.0)],
    [("window-limited", 3.0), ("application-limited", 3.0), ("window-limited", 2.0)],
    [("loss", 4.0), ("window-limited", 3.0)],
]


@pytest.mark.parametrize("acts", PLAYS)
def test_phases_name_what_held_the_transfer_up_and_when(acts: list[Act]) -> None:
    shares = []
    for seed in range(3):
        play = Play(acts, seed)
        for host in (play.client, play.server):
            report = play.look(host)
            assert len(report.timelines) == 1
            timeline = report.timelines[0]
            shares.append(play.right(timeline))
            assert shares[-1] >= 0.8, (host.name, timeline.phases, play.truth)
            assert [phase.to_s for phase in timeline.phases[:-1]] == [phase.from_s for phase in timeline.phases[1:]]
    assert sum(shares) / len(shares) >= 0.92


@pytest.fixture(scope="module")
def lossy() -> Play:
    return Play(PLAYS[0], 1)


def test_a_finding_has_the_times_in_which_it_held(lossy: Play) -> None:
    found = {finding.name: finding for finding in lossy.look(lossy.client).findings}
    limited, lost = found["application-limited"], found["loss"]
    assert [round(edge) for period in limited.periods for edge in period] == [0, 3, 7, 9]
    assert (limited.from_s, limited.to_s) == (limited.periods[0][0], limited.periods[-1][1])
    assert [round(edge) for period in lost.periods for edge in period] == [3, 7]


def test_the_phases_are_told_in_80_columns_and_in_json(lossy: Play) -> None:
    report = lossy.look(lossy.client)
    lines = [plain_text(line) for line in tell(report, 80)]
    at = next(number for number, line in enumerate(lines) if line.startswith("PHASES"))
    assert "of the text of the client 10.0.0.1" in lines[at]
    assert lines[at + 2].strip().startswith("0.0")
    assert "limited by the sending program" in lines[at + 2]
    assert "loss on the path" in lines[at + 3]
    assert max(map(len, lines)) <= 80
    told = json.loads(json.dumps(report.json()))
    assert [phase["cause"] for phase in told["timelines"][0]["phases"]][:2] == ["application-limited", "loss"]
    assert next(one for one in told["findings"] if one["cause"] == "loss")["periods"]


def test_a_recording_tells_each_transfer_once_as_its_sender_saw_it(lossy: Play) -> None:
    timelines = diagnose(lossy.facts).timelines
    assert [(one.side, one.is_at_sender) for one in timelines] == [(0, True)]


def test_a_silent_path_is_the_last_phase_to_the_end_of_the_capture() -> None:
    facts: list[Event] = []
    net = estab.Network(seed=1)
    net.observe(facts.append)
    client, server = net.host("client"), net.host("server")
    link = net.link(client, server, delay="10ms", rate="10Mbit")

    @server.run
    def read() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as sock:
            while sock.recv(65536):
                pass

    @client.run
    def write() -> None:
        with socket.create_connection(("server", 80)) as sock:
            while True:
                sock.sendall(bytes(10_000))

    net.at(2.0, link.cut)
    net.run(until=20.0)
    phases = diagnose_frames(frames_of(facts, "client")).timelines[0].phases
    assert phases[-1].name == "path-silent"
    assert 1.4 < phases[-1].from_s < 2.3  # what was sent last before the cut waits in the queue
    assert phases[-1].to_s > 10


def test_the_page_of_a_capture_shows_the_phases(lossy: Play, tmp_path: Path) -> None:
    path = tmp_path / "lossy.pcapng"
    lossy.seen.pcapng(path)
    done = CliRunner().invoke(command, ["report", str(path)])
    assert done.exit_code == 0, done.output
    with open(path, "rb") as file:
        tables = captured(read_capture(file))
    add_phases(tables, [Hold(one.subject, one.side, round(phase.from_s * 1e9), round(phase.to_s * 1e9), phase.name)
                        for one in diagnose(path).timelines for phase in one.phases])
    rows = [(tables.columns["held"]["t"][at], HELD[tables.columns["held"]["kind"][at]])
            for at in range(tables.count("held"))]
    assert [what for _, what in rows][:2] == ["program not writing", "loss recovery"]
    assert rows[-1][1] == "nothing to send"
    assert "doctor reads off the pauses" in " ".join(tables.missing)


def test_of_a_capture_above_the_bound_the_phases_are_those_of_what_was_looked_at_and_the_page_says_so(
    lossy: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "lossy.pcapng"
    lossy.seen.pcapng(path)
    whole = diagnose(path)
    segments = whole.looked_at["tcp_packets"] * 2 // 3
    monkeypatch.setattr(packets, "SEGMENTS_MAX", segments)
    report = diagnose(path)
    assert report.looked_at["tcp_packets"] == segments
    assert f"of {report.looked_at['frames']:,} frames were not looked at" in report.notes[-1]
    assert report.timelines[0].phases[0].name == whole.timelines[0].phases[0].name
    assert report.timelines[0].phases[-1].to_s < whole.timelines[0].phases[-1].to_s
    done = CliRunner().invoke(command, ["report", str(path)])
    assert done.exit_code == 0, done.output
    assert f"The doctor: {report.notes[-1]}." in path.with_suffix(".html").read_text()
