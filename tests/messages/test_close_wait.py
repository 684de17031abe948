"""The watch names each socket in CLOSE-WAIT: how long, how much unread, and the line that saw the end of the stream."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from estab.messages import Channel, CloseWaitWatch, Delimited, Stuck
from estab.messages.end_trace import EndTrace
from estab.units import SECOND

HERE = Path(__file__).name
linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's sockets are watched on Linux only")


@dataclass
class Row:
    state: str
    local: str = "10.0.0.2:80"
    peer: str = "10.0.0.1:40000"
    fd: int = 7
    recv_q: int | None = 0


class World:
    """Rows and a clock that a test sets."""

    def __init__(self, threshold: str = "10s") -> None:
        self.now_ns = 1000 * SECOND
        self.rows: list[Row] = []
        self.watch = CloseWaitWatch(threshold, lambda: self.rows, clock_ns=lambda: self.now_ns)

    def at(self, seconds: float, *rows: Row) -> list[Stuck]:
        self.now_ns = 1000 * SECOND + int(seconds * SECOND)
        self.rows = list(rows)
        return self.watch.check()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    near.settimeout(5)
    with near, far:
        yield near, far


def test_a_socket_is_named_when_it_has_been_there_for_the_threshold() -> None:
    world = World()
    assert world.at(0, Row("ESTAB"), Row("CLOSE-WAIT")) == []
    assert world.at(9.999, Row("CLOSE-WAIT")) == []
    (stuck,) = world.at(10, Row("CLOSE-WAIT", recv_q=2048))
    assert (stuck.peer, stuck.fd, stuck.age_ns, stuck.unread_bytes) == ("10.0.0.1:40000", 7, 10 * SECOND, 2048)
    assert str(stuck) == (
        "10.0.0.2:80 < 10.0.0.1:40000 (fd 7): in CLOSE-WAIT for 10s, 2.0 KiB unread; "
        "which line has read the end of the stream was not traced"
    )


def test_a_socket_that_was_closed_meanwhile_begins_anew() -> None:
    world = World()
    world.at(0, Row("CLOSE-WAIT"))
    world.at(9, Row("LAST-ACK"))
    assert world.at(11, Row("CLOSE-WAIT")) == []
    assert len(world.at(21, Row("CLOSE-WAIT"))) == 1


@pytest.mark.parametrize("state", ["CLOSE-WAIT", "CLOSE_WAIT", "close-wait"])
def test_the_state_may_be_written_as_ss_psutil_or_proc_do(state: str) -> None:
    world = World("0s")
    assert len(world.at(0, Row(state))) == 1


def test_the_oldest_comes_first() -> None:
    world = World("1s")
    world.at(0, Row("CLOSE-WAIT", peer="a"))
    world.at(1, Row("CLOSE-WAIT", peer="a"), Row("CLOSE-WAIT", peer="b"))
    assert [one.peer for one in world.at(2, Row("CLOSE-WAIT", peer="b"), Row("CLOSE-WAIT", peer="a"))] == ["a", "b"]


# --- the line that read the end


def row_of(sock: socket.socket) -> Row:
    def text(address: tuple[str, int]) -> str:
        return f"{address[0]}:{address[1]}"

    return Row("CLOSE-WAIT", text(sock.getsockname()), text(sock.getpeername()))


def handle(sock: socket.socket) -> bytes:
    return sock.recv(100)  # the line


LINE = handle.__code__.co_firstlineno + 1


def traced(sock: socket.socket, *classes: type[Any]) -> Stuck:
    world = World("0s")
    with world.watch.tracing(*classes):
        handle(sock)
        (stuck,) = world.at(1, row_of(sock))
    return stuck


def test_the_line_that_read_the_end_is_named(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].close()
    stuck = traced(pair[0])
    assert stuck.read_at == f"{__file__}:{LINE} in handle"
    assert str(stuck).endswith(f"{HERE}:{LINE} in handle read the end of the stream and did not close")


def test_age_begins_when_the_end_was_read_if_that_is_known(pair: tuple[socket.socket, socket.socket]) -> None:
    world = World("5s")
    pair[1].close()
    with world.watch.tracing():
        handle(pair[0])
        (stuck,) = world.at(7, row_of(pair[0]))
    assert stuck.age_ns == 7 * SECOND


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.recv(9), lambda s: s.recv_into(bytearray(9)), lambda s: s.recvfrom(9),
        lambda s: s.recvfrom_into(bytearray(9)), lambda s: s.recvmsg(9), lambda s: s.recvmsg_into([bytearray(9)]),
        lambda s: s.makefile("rb").read(), lambda s: list(Channel(s, Delimited(b"\n"))),
    ],
    ids=["recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into", "makefile", "Channel"],
)
def test_all_ways_to_receive_are_seen(pair: tuple[socket.socket, socket.socket], call: Any) -> None:
    world = World("0s")
    pair[1].close()
    with world.watch.tracing():
        call(pair[0])
        (stuck,) = world.at(1, row_of(pair[0]))
    assert HERE in stuck.read_at


def test_an_end_that_nobody_read_is_said_to_be_so(pair: tuple[socket.socket, socket.socket]) -> None:
    world = World("0s")
    pair[1].sendall(b"data")
    pair[1].close()
    with world.watch.tracing():
        assert pair[0].recv(100) == b"data"
        assert pair[0].recv(0) == b""
        assert pair[0].recv_into(bytearray()) == 0
        (stuck,) = world.at(1, row_of(pair[0]))
    assert (stuck.read_at, stuck.how) == ("", "no line of the program has read the end of the stream")


def test_an_empty_datagram_is_no_end() -> None:
    trace = EndTrace(lambda: 0)
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        one.connect(two.getsockname())
        two.connect(one.getsockname())
        two.send(b"")
        with trace.installed(()):
            assert one.recv(10) == b""
    assert trace._ends == {}


def test_another_stacks_socket_class_can_be_traced(pair: tuple[socket.socket, socket.socket]) -> None:
    class Other(socket.socket):
        def recv(self, *args: Any) -> bytes:
            return b""

    with Other(fileno=pair[0].detach()) as other:
        pair[1].close()
        assert traced(other, Other).read_at == f"{__file__}:{LINE} in handle"
        assert "recv" in vars(Other)
        assert other.recv.__code__.co_name == "recv"


def test_the_classes_are_as_before_afterwards() -> None:
    before = [dict(vars(one)) for one in (socket.socket, ssl.SSLSocket, asyncio.StreamReader)]
    with pytest.raises(KeyError), CloseWaitWatch().tracing(), CloseWaitWatch().tracing():
        raise KeyError
    assert [dict(vars(one)) for one in (socket.socket, ssl.SSLSocket, asyncio.StreamReader)] == before


def test_what_is_noted_is_bounded_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("estab.messages.end_trace._ENDS_MAX", 3)
    trace = EndTrace(lambda: 0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(5):
            with socket.create_connection(listener.getsockname()) as near:
                listener.accept()[0].close()
                with trace.installed(()):
                    handle(near)
                last = row_of(near)
    assert len(trace._ends) == 3
    assert trace.find(last.local, last.peer) is not None
    trace.forget_all_but(set())
    assert trace._ends == {}


def test_under_asyncio_the_line_is_the_coroutines_and_not_the_loops() -> None:
    async def reader_line(how: str) -> tuple[Stuck, Stuck]:
        world = World("0s")
        with socket.create_server(("127.0.0.1", 0)) as listener, world.watch.tracing():
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            sock = writer.get_extra_info("socket")
            listener.accept()[0].close()
            while not reader._eof:  # type: ignore[attr-defined]
                await asyncio.sleep(0.001)
            (before,) = world.at(1, row_of(sock))
            if how == "readexactly":
                with pytest.raises(asyncio.IncompleteReadError):
                    await reader.readexactly(4)
            else:
                assert await getattr(reader, how)() == b""
            (after,) = world.at(2, row_of(sock))
            writer.close()
        return before, after

    for how in ("read", "readline", "readexactly"):
        before, after = asyncio.run(reader_line(how))
        assert before.read_at == ""
        assert before.how.startswith("the event loop has read the end of the stream; no line of the program")
        assert HERE in after.read_at
        assert "reader_line" in after.read_at
        assert after.age_ns == 2 * SECOND


# --- the sockets of this process


@linux
def test_this_process_sockets_are_watched(pair: tuple[socket.socket, socket.socket]) -> None:
    now_ns = 0
    watch = CloseWaitWatch("10s", clock_ns=lambda: now_ns)
    pair[1].sendall(b"unread")
    pair[1].close()
    with watch.tracing():
        mine = row_of(pair[0])
        found: list[Stuck] = watch.check()
        now_ns = 10 * SECOND
        found = [one for one in watch.check() if one.fd == pair[0].fileno()]
    (stuck,) = found
    assert (stuck.local, stuck.peer, stuck.unread_bytes) == (mine.local, mine.peer, 6)
    assert stuck.how == "no line of the program has read the end of the stream"
    pair[0].close()
    assert not [one for one in watch.check() if one.peer == mine.peer]


@linux
def test_watching_reports_each_once(pair: tuple[socket.socket, socket.socket]) -> None:
    told: list[Stuck] = []
    reported = threading.Event()

    def report(one: Stuck) -> None:
        told.append(one)
        reported.set()

    rows = [row_of(pair[0])]
    checks = 0

    def source() -> list[Row]:
        nonlocal checks
        checks += 1
        return rows

    with CloseWaitWatch("0s", source).watching(report, every="1ms"):
        assert reported.wait(5)
        seen = checks
        while checks < seen + 3:
            reported.wait(0.001)
            threading.Event().wait(0.001)
    assert len(told) == 1


def test_without_psutil_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['psutil'] = None\n"
        "from estab.messages import CloseWaitWatch\n"
        "try: CloseWaitWatch().check()\n"
        "except ImportError as error: print(error)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install estab[watch]" in output
