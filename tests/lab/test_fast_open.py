"""TCP Fast Open between programs on virtual hosts: through Python's sockets, and as the page of the docs shows it."""

from __future__ import annotations

import errno
import re
import select
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from estab.events import Event, SegmentReceived, SegmentSent
from estab.lab.host import Host
from estab.lab.network import Network
from estab.observe.capture import write_section
from estab.observe.ladder import ladder
from estab.observe.ladder_text import render_plain
from estab.observe.pcapng import PcapngWriter
from estab.observe.recorder import Recorder
from estab.observe.story import story

PAGE = Path(__file__).resolve().parents[2] / "docs" / "fast-open.md"
TCP_FASTOPEN_CONNECT = 30
TCP_FASTOPEN_KEY = 33


def test_the_example_of_the_documentation_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "fast_open"}
    text = PAGE.read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    [shown] = re.findall(r"```\n(HELLO.*?)```", text, re.DOTALL)
    assert capsys.readouterr().out == shown


def pair(*, exchanges: int = 2, limit: int = 8, **link: Any) -> tuple[Network, Host, Host]:
    """Two hosts; the server answers each connection with what it read, turned around."""
    net = Network(seed=4)
    server, client = net.host("server"), net.host("client")
    net.link(client, server, delay="10ms", **link)
    server.sysctl["net.ipv4.tcp_fastopen"] = 2

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            if limit:
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, limit)
            for _ in range(exchanges):
                connection, _ = listener.accept()
                with connection:
                    received = b""
                    while not received.endswith(b"."):
                        received += connection.recv(65536)
                    connection.sendall(received[::-1])

    return net, server, client


def exchange(text: bytes) -> bytes:
    """Open with ``text`` on the SYN, and read the answer to its end."""
    with socket.socket() as connection:
        assert connection.sendto(text, socket.MSG_FASTOPEN, ("server", 80)) == len(text)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


def syns(facts: list[Event], host: str) -> list[SegmentSent]:
    return [fact for fact in facts if isinstance(fact, SegmentSent) and fact.host == host and fact.flags == "S"]


@pytest.mark.parametrize("size", [10, 1500, 200_000])
def test_texts_of_any_size_arrive_whole(size: int) -> None:
    net, server, client = pair()
    text = bytes(number % 40 for number in range(size - 1)) + b"."

    @client.run
    def ask() -> list[bytes]:
        return [exchange(text), exchange(text)]

    net.run()
    net.close()
    assert ask.result() == [text[::-1]] * 2
    assert client.engine.counters()["TcpExtTCPFastOpenActive"] == 1
    assert server.engine.counters()["TcpExtTCPFastOpenPassive"] == 1


@pytest.mark.parametrize("loss", ["10%", "30%"])
def test_on_a_network_that_loses_it_all_falls_back_and_arrives_once(loss: str) -> None:
    net, _, client = pair(exchanges=12, loss=loss)
    texts = [b"%d is the number." % number for number in range(12)]

    @client.run
    def ask() -> list[bytes]:
        return [exchange(text) for text in texts]

    net.run()
    net.close()
    assert ask.result() == [text[::-1] for text in texts]


def test_a_server_without_fast_open_is_served_all_the_same() -> None:
    net, server, client = pair(limit=0)

    @client.run
    def ask() -> list[bytes]:
        return [exchange(b"one."), exchange(b"two.")]

    net.run()
    net.close()
    assert ask.result() == [b".eno", b".owt"]
    assert "TcpExtTCPFastOpenPassive" not in server.engine.counters()


def test_facts_ladder_and_story_show_cookie_and_text_on_the_syn() -> None:
    net, _, client = pair()
    recorder = Recorder()
    net.observe(recorder)

    @client.run
    def ask() -> None:
        exchange(b"one.")
        exchange(b"two.")

    net.run()
    net.close()
    facts = list(recorder.facts)
    first, second = syns(facts, "client")
    assert "tfo cookiereq" in first.options
    assert first.length == 0
    assert "tfo cookie" in second.options
    assert second.length == 4
    assert "Fast Open" in second.why
    [taken] = [fact for fact in facts if isinstance(fact, SegmentReceived) and fact.host == "server"
               and fact.flags == "S" and fact.length]
    assert "tfo cookie" in taken.options
    told = "\n".join("".join(span.text for span in line) for line in story(facts, width=140))
    assert "tfo cookiereq" in told
    assert re.search(r"tfo cookie [0-9a-f]{16}", told)
    drawn = render_plain(ladder(facts), 140)
    assert drawn.count("Fast Open") >= 2


def test_connect_may_leave_the_syn_to_the_first_write() -> None:
    net, _, client = pair(exchanges=2)

    @client.run
    def ask() -> list[object]:
        exchange(b"one.")
        with socket.socket() as connection:
            connection.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
            connection.connect(("server", 80))
            writable = bool(select.select([], [connection], [], 0)[1])
            connection.sendall(b"two.")
            return [writable, connection.recv(100)]

    net.run()
    net.close()
    assert ask.result() == [True, b".owt"]
    assert client.engine.counters()["TcpExtTCPFastOpenActive"] == 1


def test_a_socket_that_does_not_wait_is_told_how_much_rides() -> None:
    net, _, client = pair(exchanges=2)

    @client.run
    def ask() -> list[object]:
        seen: list[object] = []
        with socket.socket() as connection:
            connection.setblocking(False)
            with pytest.raises(BlockingIOError) as error:
                connection.sendto(b"one.", socket.MSG_FASTOPEN, ("server", 80))
            seen.append(error.value.errno)
            with pytest.raises(BlockingIOError) as error:
                connection.sendto(b"one.", socket.MSG_FASTOPEN, ("server", 80))
            seen.append(error.value.errno)
            select.select([], [connection], [])
            seen.append(connection.sendto(b"one.", socket.MSG_FASTOPEN, ("server", 80)))
            select.select([connection], [], [])
            seen.append(connection.recv(100))
        with socket.socket() as connection:
            connection.setblocking(False)
            seen.append(connection.sendmsg([bytes(4000), b"."], [], socket.MSG_FASTOPEN, ("server", 80)))
            select.select([], [connection], [])
            connection.send(b".")
            connection.setblocking(True)
            seen.append(len(connection.recv(100)))
            seen.append(connection.recv(10000)[:0])
        return seen

    net.run()
    net.close()
    assert ask.result()[:5] == [errno.EINPROGRESS, errno.EALREADY, 4, b".eno", 1420]


def test_options_read_back_and_are_refused_as_on_linux() -> None:
    net = Network()
    host = net.host("a")

    @host.run
    def ask() -> None:
        level = socket.IPPROTO_TCP
        with socket.socket() as s:
            assert s.getsockopt(level, socket.TCP_FASTOPEN) == 0
            s.setsockopt(level, socket.TCP_FASTOPEN, 7)
            assert s.getsockopt(level, socket.TCP_FASTOPEN) == 7
            s.setsockopt(level, socket.TCP_FASTOPEN, 1 << 20)
            assert s.getsockopt(level, socket.TCP_FASTOPEN) == 4096, "no more than somaxconn"
            s.setsockopt(level, TCP_FASTOPEN_KEY, bytes(range(32)))
            assert s.getsockopt(level, TCP_FASTOPEN_KEY, 64) == bytes(range(32))
            with pytest.raises(OSError, match="-1") as error:
                s.setsockopt(level, socket.TCP_FASTOPEN, -1)
            assert error.value.errno == errno.EINVAL
            for key in (b"", b"x" * 15, b"x" * 17, b"x" * 33):
                with pytest.raises(OSError, match="16 or 32 bytes") as error:
                    s.setsockopt(level, TCP_FASTOPEN_KEY, key)
                assert error.value.errno == errno.EINVAL
            s.bind(("", 80))
            s.listen()
            with pytest.raises(OSError, match="TCP_FASTOPEN_CONNECT"):
                s.setsockopt(level, TCP_FASTOPEN_CONNECT, 1)

    net.run()
    net.close()
    ask.result()


def test_keys_are_a_sysctl_of_the_host_that_shows_the_one_in_use() -> None:
    net = Network()
    host = net.host("a")
    made = str(host.sysctl["net.ipv4.tcp_fastopen_key"])
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{8}){3}", made)
    assert made != str(net.host("b").sysctl["net.ipv4.tcp_fastopen_key"])
    host.sysctl["net.ipv4.tcp_fastopen_key"] = "1-2-3-4"
    assert host.sysctl["net.ipv4.tcp_fastopen_key"] == "00000001-00000002-00000003-00000004"
    with pytest.raises(ValueError, match="tcp_fastopen_key"):
        host.sysctl["net.ipv4.tcp_fastopen_key"] = "1-2-3"
    net.close()


@pytest.mark.tshark
def test_tshark_reads_the_option_and_the_text_of_the_syn(tmp_path: Path) -> None:
    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("needs tshark, which is not installed")
    net, _, client = pair()
    recorder = Recorder()
    net.observe(recorder)

    @client.run
    def ask() -> None:
        exchange(b"one.")
        exchange(b"two.")

    net.run()
    net.close()
    path = tmp_path / "x.pcapng"
    with path.open("wb") as stream:
        write_section(PcapngWriter(stream), list(recorder.facts))
    fields = ("tcp.options.tfo.request", "tcp.options.tfo.cookie", "tcp.len", "_ws.malformed", "tcp.checksum.status")
    command = [tshark, "-r", str(path), "-n", "-o", "tcp.check_checksum:TRUE", "-T", "fields", "-E", "separator=|",
               "-Y", "tcp.flags.syn == 1 && tcp.flags.ack == 0"]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.split("|") for line in done.stdout.splitlines()]
    assert [row[2] for row in rows] == ["0", "4"]
    assert rows[0][0]
    assert len(rows[1][1].replace(":", "")) == 16
    assert all(not row[3] and row[4] == "1" for row in rows)
