"""A recording has what the kernel says of a spawned host's sockets: sampled, labelled, what inet_diag said."""

from __future__ import annotations

import re
import socket
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

import estab
from estab.events import Event, SocketSampled
from estab.native.sampling import Sampler
from estab.native.sockdiag import Row, read_sockets
from estab.report.columns import Columns
from tests.report.conftest import Shown, chromium, show

__all__ = ["chromium", "show"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="hosts of the kernel are Linux's namespaces")

WAIT = "60s"
SIZE = 600_000


def send_bulk(size: int) -> str:
    """Be the sender: give what ``ss`` says of the connection while it is still there, all of it acknowledged."""
    import subprocess

    with socket.create_connection((socket.gethostbyname("receiver"), 80)) as connection:
        connection.sendall(bytes(size))
        assert connection.recv(4) == b"done"
        said = subprocess.run(["ss", "-tinH", "state", "established"], check=True, capture_output=True, text=True)
        time.sleep(0.5)  # it is sampled meanwhile
        return said.stdout


def receive_bulk(size: int) -> int:
    """Be the receiver, on estab's stack."""
    with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
        left = size
        while left:
            left -= len(connection.recv(65536))
        connection.sendall(b"done")
        assert connection.recv(1) == b""
        return size


class Bulk:
    """A transfer from a spawned process over a lossy link: the facts, the page's columns, and what the kernel said."""

    def __init__(self) -> None:
        self.facts: list[Event] = []
        self.columns = Columns()
        self.said: list[tuple[Row, ...]] = []
        self.ss = ""

    @property
    def samples(self) -> list[SocketSampled]:
        return [fact for fact in self.facts if isinstance(fact, SocketSampled) and not fact.connection.endswith("*")]


@pytest.fixture(scope="module")
def bulk() -> Bulk:
    bulk = Bulk()
    def read_and_note(*args: Any, **words: Any) -> Iterator[Row]:
        rows = list(read_sockets(*args, **words))
        bulk.said.append(tuple(row for row in rows if row.dport))
        return iter(rows)

    with pytest.MonkeyPatch.context() as patch, estab.Network(
            seed=5, clock="real", late_max="60s", sample_every="20ms") as net:
        patch.setattr("estab.native.host.read_sockets", read_and_note)
        sender, receiver = net.host("sender"), net.host("receiver")
        net.link(sender, receiver, delay="10ms", loss="2%", rate="4Mbit")
        sender.spawn(["true"], quiet=True).wait(WAIT)
        net.observe(bulk.facts.append)
        net.observe(bulk.columns)
        got = receiver.run(receive_bulk, SIZE)
        bulk.ss = sender.spawn_python(send_bulk, SIZE, quiet=True).result(WAIT)
        net.run()
        assert got.result() == SIZE
        bulk.columns.is_recording = False
    return bulk


def test_each_sample_is_what_inet_diag_said(bulk: Bulk) -> None:
    told = set()
    for rows in bulk.said:
        for row in rows:
            # struct tcp_info, read here by the kernel's own offsets.
            data = row.info_bytes
            if len(data) < 232 or row.state in (3, 6, 10):
                continue
            rto, _, mss = struct.unpack_from("=3I", data, 8)
            rtt, rttvar, ssthresh, cwnd = struct.unpack_from("=4I", data, 68)
            acked, received = struct.unpack_from("=QQ", data, 120)
            (unsent,) = struct.unpack_from("=I", data, 144)
            told.add((row.name, row.send_q, row.recv_q, cwnd * mss, None if ssthresh >= 0x7FFFFFFF else ssthresh * mss,
                      rtt * 1000 or None, rttvar * 1000, rto * 1000, acked, acked + row.send_q - unsent, unsent,
                      received + 1, data[1], data[2]))
    states = ("Open", "Disorder", "CWR", "Recovery", "Loss")
    compared = 0
    for fact in bulk.samples:
        tcb = fact.tcb
        if tcb is not None:
            assert (fact.connection, fact.send_q, fact.recv_q, tcb.cwnd_bytes, tcb.ssthresh_bytes, tcb.srtt_ns,
                    tcb.rttvar_ns, tcb.rto_ns, tcb.snd_una, tcb.snd_nxt, tcb.unsent_bytes, tcb.rcv_nxt,
                    states.index(tcb.ca_state), tcb.retries) in told
            compared += 1
    assert compared > 20
    assert "ESTABLISHED" in {fact.state for fact in bulk.samples}
    assert max(fact.tcb.snd_una for fact in bulk.samples if fact.tcb is not None) >= SIZE


def test_the_page_has_the_samples_and_says_that_they_are(bulk: Bulk) -> None:
    columns = bulk.columns
    (end, every_ns), = columns.sampled.items()
    assert (every_ns, columns.hosts[columns.conns[end // 2].hosts[end % 2]]) == (20_000_000, "sender")
    table = {name: [value for value, own in zip(cells, columns.columns["cc"]["end"], strict=True) if own == end]
             for name, cells in columns.columns["cc"].items()}
    ca = list(columns.words["ca"])
    drawn = {t: row for t, *row in zip(table["t"], table["cwnd"], table["ssthresh"], table["srtt"], table["rto"],
                                       (ca[number] for number in table["ca"]), strict=True)}
    seen = [fact for fact in bulk.samples if fact.tcb is not None and fact.at_ns in drawn]
    assert len(seen) > 20
    for fact in seen:
        tcb = fact.tcb
        assert tcb is not None
        ssthresh = -1 if tcb.ssthresh_bytes is None else tcb.ssthresh_bytes
        assert drawn[fact.at_ns] == [tcb.cwnd_bytes, ssthresh, tcb.srtt_ns or -1, tcb.rto_ns, tcb.ca_state]
    flow, buffer = columns.columns["flow"], columns.columns["buffer"]
    flights = {t: nxt - una for t, own, una, nxt in zip(flow["t"], flow["end"], flow["una"], flow["nxt"], strict=True)
               if own == end}
    queues = {t: (send, unsent, unread) for t, own, send, unsent, unread in zip(
        buffer["t"], buffer["end"], buffer["send"], buffer["unsent"], buffer["unread"], strict=True) if own == end}
    for fact in seen:
        assert fact.tcb is not None
        assert flights.get(fact.at_ns, 0) in (0, fact.tcb.snd_nxt - fact.tcb.snd_una)
        assert queues.get(fact.at_ns, (fact.send_q, fact.tcb.unsent_bytes, fact.recv_q)) == (
            fact.send_q, fact.tcb.unsent_bytes, fact.recv_q)
    assert max(flights.values()) > 1448
    assert any(note.startswith("sender has a kernel's TCP") and "every 20ms" in note for note in columns.missing)


def test_what_the_wire_acknowledged_is_what_the_samples_say(bulk: Bulk) -> None:
    frame, end = bulk.columns.columns["frame"], next(iter(bulk.columns.sampled))
    acks = [(frame["t"][row] + frame["fly"][row], frame["ack"][row]) for row in range(bulk.columns.count("frame"))
            if frame["conn"][row] == end // 2 and frame["side"][row] == 1 - end % 2 and frame["fly"][row] >= 0]
    slack_ns = 20_000_000  # the kernel gets a frame later than the link delivers it, on a busy machine
    for fact in bulk.samples:
        if fact.tcb is not None and fact.tcb.snd_una > 1:
            before = [ack for at_ns, ack in acks if at_ns <= fact.at_ns + slack_ns]
            assert fact.tcb.snd_una <= max(before)
            assert fact.tcb.snd_una in set(before)


def test_the_last_sample_is_what_ss_says(bulk: Bulk) -> None:
    last = [fact for fact in bulk.samples if fact.tcb is not None and fact.state == "ESTABLISHED"][-1]
    assert last.tcb is not None
    said = {name: int(value) for name, value in re.findall(r" (cwnd|ssthresh|bytes_acked):(\d+)", bulk.ss)}
    assert (said["cwnd"] * last.tcb.mss_bytes, said["bytes_acked"]) == (last.tcb.cwnd_bytes, last.tcb.snd_una)
    if "ssthresh" in said:
        assert said["ssthresh"] * last.tcb.mss_bytes == last.tcb.ssthresh_bytes


def test_the_page_draws_samples_as_dots_and_names_them(bulk: Bulk, show: Any) -> None:
    shown: Shown = show(bulk.columns)
    end = next(iter(bulk.columns.sampled))
    shown.ask("end => { estab.timeline.choose(end >> 1, end & 1); }", end)
    shown.settle()
    cc = bulk.columns.columns["cc"]
    told = [(t - bulk.columns.origin_ns, cwnd) for t, own, cwnd in zip(cc["t"], cc["end"], cc["cwnd"], strict=True)
            if own == end]
    dots = [(round(mark[1] * 1e9), mark[2]) for mark in shown.marks("flight") if mark[0] == "sampled cwnd"]
    assert len(dots) > 20
    assert dots == told
    for view in ("flight", "rtt", "states", "buffers", "held"):
        heading = shown.ask("view => document.querySelector(`#${view} .unit, #view-${view} .unit`).textContent", view)
        assert heading.endswith("sender's kernel sampled every 20.0 ms")


def test_without_an_observer_nothing_is_sampled() -> None:
    calls = []

    def read_and_count(*args: Any, **words: Any) -> Iterator[Row]:
        calls.append(1)
        return read_sockets(*args, **words)

    with pytest.MonkeyPatch.context() as patch, estab.Network(clock="real", late_max="60s", sample_every="5ms") as net:
        patch.setattr("estab.native.host.read_sockets", read_and_count)
        host = net.host("a")
        host.spawn(["true"], quiet=True).wait(WAIT)
        net.run(until=net.now + 0.1)
        assert not calls
        with net.record():
            while len(calls) < 2 and net.now < 60:
                net.run(until=net.now + 0.1)
        sampled = len(calls)
        assert sampled > 1
        net.run(until=net.now + 0.1)
        assert len(calls) == sampled


def _row(state: int = 1, sport: int = 4000, **words: Any) -> Row:
    return Row(state, 0, 0, bytes([10, 0, 0, 1]), sport, bytes([10, 0, 0, 2]), 80, 0, 0, 0, 0, 0, 0, **words)


def test_a_socket_of_which_nothing_changed_is_told_once() -> None:
    sampler = Sampler("a")
    row = _row(info_bytes=bytes(240))
    row.info_bytes = struct.pack("=16xI", 1448).join([b"", bytes(220)])
    assert len(list(sampler.facts([row], 1, 100))) == 1
    assert list(sampler.facts([row], 2, 100)) == []
    row.recv_q = 5
    (fact,) = sampler.facts([row], 3, 100)
    assert (fact.recv_q, fact.connection) == (5, "10.0.0.1:4000>10.0.0.2:80")
    (gone,) = sampler.facts([], 4, 100)
    assert (gone.state, gone.tcb) == ("gone", None)


def test_an_end_on_a_port_that_something_listens_on_did_not_send_the_syn() -> None:
    info = struct.pack("=16xI", 1448) + bytes(220)
    listener = Row(10, 0, 0, bytes(16), 80, bytes(16), 0, 0, 0, 2, 128, 0, 0)
    mapped = bytes(10) + b"\xff\xff"
    row = Row(1, 0, 0, mapped + b"\n\0\0\1", 80, mapped + b"\n\0\0\2", 4000, 0, 0, 0, 0, 0, 0, info)
    told = {fact.connection: fact for fact in Sampler("a").facts([row, listener], 1, 100)}
    assert (told["[::]:80>*"].state, told["[::]:80>*"].recv_q, told["[::]:80>*"].send_q) == ("LISTEN", 2, 128)
    tcb = told["10.0.0.1:80>10.0.0.2:4000"].tcb
    assert tcb is not None
    assert tcb.snd_una == 1
    assert [fact.tcb.snd_una for fact in Sampler("a").facts([row], 1, 100) if fact.tcb is not None] == [0]


def test_listeners_that_share_a_port_are_one_socket_of_which_nothing_changed() -> None:
    sampler = Sampler("a")
    rows = [Row(10, 0, 0, bytes(4), 80, bytes(4), 0, 0, 0, waiting, 128, 0, inode)
            for inode, waiting in ((1, 2), (2, 0), (3, 1))]
    (fact,) = sampler.facts(rows, 1, 100)
    assert (fact.connection, fact.recv_q, fact.send_q) == ("0.0.0.0:80>*", 3, 384)
    assert list(sampler.facts(rows, 2, 100)) == []
    (fact,) = sampler.facts(rows[1:], 3, 100)
    assert (fact.recv_q, fact.send_q) == (1, 256)
