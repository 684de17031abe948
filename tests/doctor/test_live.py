"""Ten and more planted problems on the kernel's own sockets, each named within a second; a healthy machine; and ss."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.doctor.many import measure
from estab.devices.namespace import call_in
from estab.doctor import diagnose
from estab.doctor.finding import Report
from estab.doctor.live import Thresholds
from estab.doctor.processes import find_holders
from estab.doctor.sockets import diagnose_sockets
from estab.doctor.table import columns
from estab.native.sockdiag import read_sockets
from tests.doctor.bad_path import BadPath
from tests.kit.namespaces import Namespace, find, needs, requires_kernel

pytestmark = requires_kernel
PLANTED = str(Path(__file__).with_name("planted.py"))
LIMITS = Thresholds(close_wait_s=0.5, unread_s=0.5, idle_s=1.0)


@pytest.fixture
def pair() -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces with a cable between them: 10.99.0.1 here, 10.99.0.2 there."""
    with Namespace() as here, Namespace() as there:
        here.ip(f"link add va type veth peer name vb netns {there.name}")
        here.ip("addr add 10.99.0.1/24 dev va")
        there.ip("addr add 10.99.0.2/24 dev vb")
        here.ip("link set va up")
        there.ip("link set vb up")
        yield here, there


def plant(where: Namespace, *words: str) -> None:
    """Start a program that makes trouble, and wait until it has."""
    process = where.start(sys.executable, PLANTED, *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n", words


def look(where: Namespace, limits: Thresholds = LIMITS) -> tuple[Report, float]:
    """Let the doctor look into a namespace; its CPU time with it, for this machine may be busy."""
    started = time.process_time()
    return diagnose_sockets(netns=where.name, limits=limits), time.process_time() - started


@pytest.mark.parametrize(("server", "client", "seen_from", "cause"), [
    ("serve_full", "accept_queue_full", "server", "accept-queue-full"),
    ("serve_closing", "close_wait", "client", "close-wait"),
    ("serve_nothing", "peer_not_reading", "client", "peer-not-reading"),
    ("serve_nothing", "peer_not_reading", "server", "not-reading"),
    ("serve_nothing", "syn_unanswered", "client", "syn-unanswered"),
    ("serve_nothing", "own_queue_full", "client", "accept-queue-full"),
    ("serve_nothing", "refused", "client", "refused"),
    ("serve_reading", "path_silent", "client", "path-silent"),
    ("serve_reading", "close_unanswered", "client", "close-unanswered"),
    ("serve_reading", "unwatched_idle", "client", "unwatched-idle"),
    ("serve_closing_second", "time_wait_ports", "client", "time-wait-ports"),
    ("serve_small", "send_syns", "server", "syn-queue-full"),
    ("serve_small", "send_syns", "server", "syn-cookies"),
    ("serve_reading 0.02 4000", "window_limited", "client", "window-limited"),
    ("serve_reading", "pacing_limited", "client", "pacing-limited"),
    ("serve_pairs", "nagle", "client", "nagle-delayed-ack"),
])
def test_a_planted_problem_is_named_within_a_second(pair: tuple[Namespace, Namespace], server: str, client: str,
                                                    seen_from: str, cause: str) -> None:
    here, there = pair
    if cause == "time-wait-ports":
        here.sysctl("net.ipv4.ip_local_port_range=40000 40019", "net.ipv4.tcp_tw_reuse=0")
    there.sysctl(f"net.ipv4.tcp_syncookies={int(cause != 'syn-queue-full')}")
    plant(there, *server.split())
    plant(here, client)
    for _ in range(3 if cause == "nagle-delayed-ack" else 1):  # a stall of 40 ms may be over at both looks
        report, took_s = look(here if seen_from == "client" else there)
        found = [finding for finding in report.findings if finding.name == cause]
        if found:
            break
    assert found, [finding.json() for finding in report.findings]
    assert took_s < 1
    finding = found[0]
    assert finding.evidence
    assert finding.cures or finding.cause.cures
    # An end whose program has closed has no process any more, and TIME-WAIT never had one.
    has_process = cause not in ("time-wait-ports", "close-unanswered", "refused")
    assert ("pid" in finding.process) == has_process, finding.process
    if cause in ("close-wait", "not-reading", "accept-queue-full") and find("py-spy"):
        assert any("its thread is at planted.py:" in line for line in finding.evidence), finding.evidence


WINDOWS = {"congestion-limited": 10, "reordering": 20, "spurious-retransmission": 40}
"""Segments, for causes that a queue would hide: in the time that a busy machine takes, a window grows until the path's
queue stands, and then the round trip is so long that what is held back is not late."""


@pytest.mark.parametrize(("path", "server", "client", "cause"), [
    ({"delay_s": 0.005, "loss": 0.03}, "serve_reading", "stream", "loss"),
    ({"delay_s": 0.005, "rate": 3e6, "held": 15, "held_s": (0.002, 0.08)}, "serve_reading", "stream", "reordering"),
    ({"delay_s": 0.005, "rate": 3e6, "held": 40, "held_s": (0.08,)}, "serve_reading", "stream",
     "spurious-retransmission"),
    ({"delay_s": 0.005, "rate": 250_000.0, "queue_bytes": 300_000}, "serve_reading", "stream_for_long", "bufferbloat"),
    ({"delay_s": 0.002, "most_bytes": 1000}, "serve_reading", "full_segments_vanish", "mtu-black-hole"),
    ({"delay_s": 0.001}, "serve_reading", "write_seldom", "application-limited"),
    ({"delay_s": 0.02}, "serve_reading", "small_send_buffer", "send-buffer-limited"),
    ({"delay_s": 0.02}, "serve_reading", "stream", "congestion-limited"),
    ({"delay_s": 0.002}, "serve_reading", "keepalive_unanswered", "half-open"),
])
def test_a_bad_path_and_a_limit_are_named_within_a_second(path: dict[str, Any], server: str, client: str,
                                                          cause: str) -> None:
    with Namespace() as here, Namespace() as there, BadPath(here, there, **path):
        here.sysctl("net.ipv4.tcp_congestion_control=reno")
        if cause in WINDOWS:
            here.ip(f"route replace 10.99.0.2 dev tun0 cwnd lock {WINDOWS[cause]}")
        plant(there, server)
        plant(here, client)
        for _ in range(30):  # of a moving transfer 0.3 s may show nothing; a busy machine needs more
            report, took_s = look(here)
            found = [finding for finding in report.findings if finding.name == cause]
            if found:
                break
    assert found, [finding.json() for finding in report.findings]
    assert took_s < 1
    assert found[0].evidence
    assert found[0].subject.startswith("10.99.0.1:")


def test_an_interface_whose_queue_drops_packets_is_named(pair: tuple[Namespace, Namespace]) -> None:
    here, there = pair
    here.run("tc", "qdisc", "add", "dev", "va", "root", "tbf", "rate", "1mbit", "burst", "2kb", "limit", "3000")
    plant(there, "serve_reading")
    assert "dropped-locally" not in {finding.name for finding in look(here)[0].findings}
    plant(here, "flood_with_datagrams")
    for _ in range(30):  # a busy machine may not have sent any in 0.3 s
        found = [finding for finding in look(here)[0].findings if finding.name == "dropped-locally"]
        if found:
            break
    assert [finding.subject for finding in found] == ["interface va"]
    assert re.fullmatch(r"the queue of va dropped \d[\d,]* packets in \d\.\d s \(tc -s qdisc show dev va\)",
                        found[0].evidence[0])


def test_a_peer_that_reads_slowly_is_no_peer_that_does_not_read(pair: tuple[Namespace, Namespace]) -> None:
    here, there = pair
    plant(there, "serve_reading", "0.02", "4000")
    plant(here, "window_limited")
    for _ in range(6):  # its window is closed at many a look
        assert {finding.name for finding in look(here)[0].findings} <= {"window-limited"}


def test_connects_that_wait_for_a_full_listener_of_this_machine_are_its_evidence(
    pair: tuple[Namespace, Namespace],
) -> None:
    here, _ = pair
    plant(here, "own_queue_full")
    found = look(here, Thresholds())[0].findings
    assert [finding.name for finding in found] == ["accept-queue-full"], [finding.json() for finding in found]
    [finding] = found
    assert any(re.fullmatch(r"\d connect\(\) of this machine wait for it: 127\.0\.0\.1:\d+, .* and \d more", line)
               for line in finding.evidence), finding.evidence


def test_of_text_that_a_closed_program_left_behind_nobody_is_told(pair: tuple[Namespace, Namespace]) -> None:
    here, there = pair
    plant(there, "serve_nothing")
    plant(here, "close_before_it_is_read")
    [finding] = look(here)[0].findings
    assert finding.name == "peer-not-reading"
    assert "the program has closed and is told nothing" in finding.notices
    assert finding.process == ""


def test_a_relay_that_does_not_read_is_told_with_the_peer_that_blocks_it(pair: tuple[Namespace, Namespace]) -> None:
    here, there = pair
    plant(there, "serve_sending_and_nothing")
    plant(here, "relay")
    found = {finding.name: finding for finding in look(here)[0].findings}
    assert set(found) == {"peer-not-reading", "not-reading"}
    assert any(line.startswith(f"the same process may be blocked in a send() on {found['peer-not-reading'].subject}")
               for line in found["not-reading"].evidence)


def test_nothing_is_named_on_a_healthy_machine(pair: tuple[Namespace, Namespace]) -> None:
    here, there = pair
    plant(there, "serve_pairs")
    plant(here, "healthy")
    for where in (here, there):
        report, _ = look(where, Thresholds())
        assert [finding.json() for finding in report.findings] == []
        assert report.looked_at["connections"] >= 3


def test_the_command_says_it_in_80_columns_and_in_json(pair: tuple[Namespace, Namespace]) -> None:
    here, there = pair
    plant(there, "serve_closing")
    plant(here, "close_wait")
    command = [sys.executable, "-m", "estab.cli.main", "doctor", "--stuck", "0.2"]
    told = subprocess.run([*command, "--netns", here.name], capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (1, "")
    assert "FAULT  CLOSE-WAIT: the program does not close" in told.stdout
    assert "python" in told.stdout
    assert max(len(line) for line in told.stdout.splitlines()) <= 100
    data = json.loads(subprocess.run([*command, "--netns", here.name, "--json"], capture_output=True).stdout)
    assert {finding["cause"] for finding in data["findings"]} == {"close-wait"}
    assert data["findings"][0]["cures"]
    other = subprocess.run([*command, "--netns", here.name, "--port", "4"], capture_output=True, text=True)
    assert (other.returncode, "nothing wrong was found" in other.stdout) == (0, True)


def test_watching_tells_each_look_until_ctrl_c(pair: tuple[Namespace, Namespace]) -> None:
    here, there = pair
    plant(there, "serve_closing")
    plant(here, "close_wait")
    command = [sys.executable, "-m", "estab.cli.main", "doctor", "--stuck", "0.2", "--watch", "0.1", "--json"]
    process = subprocess.Popen([*command, "--netns", here.name], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
    assert [look["findings"][0]["cause"] for look in looks] == ["close-wait", "close-wait"]
    assert looks[1]["findings"][0]["from_s"] < looks[0]["findings"][0]["from_s"]
    assert (process.returncode, b"Traceback" in said) == (130, False)


def test_another_namespace_that_is_not_there_is_one_line() -> None:
    done = subprocess.run([sys.executable, "-m", "estab.cli.main", "doctor", "--netns", "no-such-namespace"],
                          capture_output=True, text=True)
    assert done.returncode == 2
    assert "no network namespace" in done.stderr
    assert done.stderr.count("\n") == 1


_VARYING = re.compile(r"^(?:lastsnd|lastrcv|lastack|busy|rwnd_limited|sndbuf_limited|timer)\b")


def _words(line: str) -> list[str]:
    """Split a line of ss; what counts milliseconds keeps its name only."""
    words = line.replace("send ", "send:").replace("pacing_rate ", "pacing_rate:").replace("delivery_rate ",
                                                                                           "delivery_rate:").split()
    return [re.split(r"[:(]", word)[0] if _VARYING.match(word) else word for word in words]


@needs("ss")
def test_the_socket_table_is_that_of_ss_column_for_column(pair: tuple[Namespace, Namespace]) -> None:
    here, there = pair
    plant(there, "serve_pairs")
    plant(there, "many_kinds")
    plant(here, "healthy")
    for where in (here, there):
        theirs = where.run("ss", "-HtanoipO").stdout.splitlines()
        rows = call_in(where.name, lambda: list(read_sockets()))
        holders = find_holders({row.inode for row in rows})
        ours = [" ".join(columns(row, holders.get(row.inode, ()))) for row in rows]
        assert len(theirs) >= 3
        assert sorted(_still(ours)) == sorted(_still(theirs))


def _still(lines: list[str]) -> list[list[str]]:
    """Give the sockets that nothing happens on while the two look one after the other."""
    return [words for words in map(_words, lines) if not any(word.startswith("data_segs_out:") and
                                                             int(word.partition(":")[2]) > 10 for word in words)]


def test_python_asks_the_same_of_this_machine() -> None:
    assert diagnose(pause_s=0.01).source == "this machine"
    with pytest.raises(TypeError, match="neither the path"):
        diagnose(5)


@pytest.mark.slow
@pytest.mark.parametrize("are_moving", [False, True])
def test_a_hundred_thousand_sockets_take_less_than_two_seconds_and_200_mb(are_moving: bool) -> None:
    with Namespace() as crowd:
        found = measure(100_000, ["ip", "netns", "exec", crowd.name], are_moving)
    assert found["sockets"] >= 100_000
    assert found["findings"] == 0
    assert found["cpu_s"] < 2
    assert found["mb"] < 200
