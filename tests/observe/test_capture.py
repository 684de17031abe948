"""Captures: every frame once, with its reason, and clean in tshark's eyes."""

from __future__ import annotations

import io
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

import estab
from estab.errors import DropReason
from estab.events import LinkDropped
from estab.observe.capture import write_section
from estab.observe.pcapng import INBOUND, LINKTYPE_RAW, OUTBOUND, Capture, PcapngWriter, read
from estab.observe.recorder import Recorder

from .made_up import BACK, OUT, handshake, packet, received, sent


def capture(events: list, **options: object) -> Capture:
    stream = io.BytesIO()
    write_section(PcapngWriter(stream), events, **options)  # type: ignore[arg-type]
    return read(io.BytesIO(stream.getvalue()))


def test_every_frame_stands_once_on_the_interface_that_sent_it() -> None:
    found = capture(handshake())
    assert [(item.interface.name, item.direction) for item in found.packets] == [
        ("client:eth0", OUTBOUND), ("server:eth0", OUTBOUND), ("client:eth0", OUTBOUND),
    ]
    assert {item.link_type for item in found.interfaces} == {LINKTYPE_RAW}


def test_one_hosts_view_has_what_it_sent_and_what_it_received() -> None:
    found = capture(handshake(), seen_by="server")
    assert [item.direction for item in found.packets] == [INBOUND, OUTBOUND, INBOUND]
    assert {item.interface.name for item in found.packets} == {"server:eth0"}


def test_comments_say_why_and_by_which_call() -> None:
    syn, synack, ack = (item.comment for item in capture(handshake()).packets)
    assert syn == "connection request; by connect() on fd 3"
    assert synack == "SYN-ACK"
    assert ack == "acknowledgment"


def test_comments_say_what_became_of_a_frame_that_did_not_arrive() -> None:
    events = [*sent(0, "client", OUT, "S", 0, 0),
              LinkDropped(0, "client", "cable", DropReason.LINK_DOWN, packet(OUT, "S", 0, 0))]
    item, = capture(events).packets
    assert item.comment.endswith(f"never arrived: {DropReason.LINK_DOWN.value}")


def test_the_section_says_what_was_run() -> None:
    assert capture(handshake(), comment="estab tour x --seed 1").comments == ["estab tour x --seed 1"]


def test_one_run_can_follow_another_in_time() -> None:
    assert capture(handshake(), after_ns=10**10).packets[0].at_ns == 10**10


@pytest.mark.tshark
def test_tcpdump_reads_a_capture_of_two_hosts_and_both_ip_versions(tmp_path: Path) -> None:
    tcpdump = shutil.which("tcpdump")
    if tcpdump is None:
        pytest.skip("needs tcpdump, which is not installed")
    net = estab.Network(seed=1)
    seen = Recorder()
    net.observe(seen)
    client, server = net.host("client"), net.host("server")
    net.link(client, server)

    def serve() -> None:
        with socket.create_server(("", 80), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
            for _ in range(2):
                listener.accept()[0].close()

    def call() -> None:
        for address in server.addresses:
            with socket.create_connection((address, 80)) as caller:
                caller.recv(1)

    server.run(serve)
    client.run(call)
    net.run()
    with (tmp_path / "x.pcapng").open("wb") as file:
        count = write_section(PcapngWriter(file), list(seen.facts))
    done = subprocess.run([tcpdump, "-nr", str(tmp_path / "x.pcapng")], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == count
    assert {" IP " in line or " IP6 " in line for line in lines} == {True}
    assert any(" IP6 fd00::" in line and "Flags [S]" in line for line in lines)


@pytest.mark.tshark
def test_tshark_reads_interfaces_times_and_comments(tmp_path: Path) -> None:
    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("needs tshark, which is not installed")
    path = tmp_path / "x.pcapng"
    with path.open("wb") as stream:
        writer = PcapngWriter(stream)
        write_section(writer, handshake(), comment="one")
        write_section(writer, [*sent(5, "client", OUT.replace("40000", "40001"), "S", 0, 0),
                               *received(9, "server", BACK.replace("40000", "40001"), "S", 0, 0)], after_ns=10**10)
    fields = ("frame.interface_name", "frame.time_epoch", "frame.comment", "ip.checksum.status", "tcp.checksum.status")
    done = subprocess.run(
        [tshark, "-r", str(path), "-n", "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-T", "fields",
         "-E", "separator=|", *(word for field in fields for word in ("-e", field))],
        capture_output=True, text=True, check=True,
    )
    rows = [line.split("|") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["client:eth0", "server:eth0", "client:eth0", "client:eth0"]
    assert float(rows[1][1]) == 0.01
    assert float(rows[3][1]) == pytest.approx(10.000000005)
    assert rows[1][2] == "SYN-ACK"
    assert {(row[3], row[4]) for row in rows} == {("1", "1")}
