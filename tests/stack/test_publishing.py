"""A stack tells this user's other programs of its sockets, by a Unix socket with bounds."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import estab
from estab.doctor.live import Thresholds
from estab.stack import publishing
from estab.stack.publishing import CLIENTS_MAX, REQUEST_BYTES_MAX, default_folder
from estab.top.board import Board
from estab.top.sources import StackSource, diagnose_stack, find_stacks
from tests.kit.namespaces import await_that


@pytest.fixture
def pair() -> Iterator[tuple[estab.Stack, estab.Stack]]:
    left = estab.QueueDevice(name="left")
    right = estab.QueueDevice(left.deliver, name="right")
    left.on_packet = right.deliver
    there = estab.Stack(right, "10.9.0.2/24", name="right")
    with estab.Stack(left, "10.9.0.1/24", name="left") as here, there:
        yield here, there


def connected(here: estab.Stack, there: estab.Stack, port: int = 80) -> list[Any]:
    listener = there.socket()
    listener.bind(("", port))
    listener.listen(3)
    client = here.socket()
    client.settimeout(20)
    client.connect(("10.9.0.2", port))
    return [listener, client, listener.accept()[0]]


def ask(path: str, request: bytes = b"{}\n") -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(path)
        client.sendall(request)
        with client.makefile("rb") as answers:
            told: dict[str, Any] = json.loads(answers.readline())
    return told


def test_only_its_user_may_connect_and_the_file_goes_with_the_stack(pair: tuple[estab.Stack, estab.Stack],
                                                                    tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.sock"
    with pair[0].publish(path) as published:
        assert published.path == str(path)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(path.parent).st_mode) == 0o700
    assert not path.exists()
    pair[0].publish(path)
    pair[0].close()
    assert not path.exists()


def test_sockets_are_told_with_tcp_info_as_the_stack_has_it(pair: tuple[estab.Stack, estab.Stack],
                                                            tmp_path: Path) -> None:
    here, there = pair
    listener, client, server = connected(here, there)
    client.sendall(b"hello")
    assert server.recv(100) == b"hello"
    path = there.publish(tmp_path / "b.sock").path
    told = ask(path)
    assert (told["estab"], told["name"], told["addresses"], told["left_out"]) == (1, "right", ["10.9.0.2/24"], 0)
    first, second = told["sockets"]
    assert (first["state"], first["lport"], first["send_q"]) == (10, 80, 3)
    assert first["fd"] in [row.fd for row in there.sockets() if row.state == "LISTEN"]
    assert (second["state"], second["lport"], second["congestion"]) == (1, 80, "cubic")
    source = StackSource([Path(path)])
    reading = source.read()
    source.close()
    row = reading.rows[0]
    assert (row.local, row.peer.partition(":")[0]) == ("10.9.0.2:80", "10.9.0.1")
    assert row.info["bytes_received"] == server.info().bytes_received == 5
    assert reading.listeners[0].name == "0.0.0.0:80>*"
    assert source.sysctls["tcp_retries2"] == "15"
    for one in (client, server, listener):
        one.close()


def test_rates_and_verdicts_of_a_stack_are_shown(pair: tuple[estab.Stack, estab.Stack], tmp_path: Path) -> None:
    here, there = pair
    listener, client, server = connected(here, there)
    held = []
    for _ in range(4):  # nobody accepts any more
        held.append(here.socket())
        held[-1].setblocking(False)
        held[-1].connect_ex(("10.9.0.2", 80))
    await_that(lambda: any(row.state == "LISTEN" and row.recv_q == 4 for row in there.sockets()), "the queue is full")
    source = StackSource([Path(there.publish(tmp_path / "b.sock").path)])
    board = Board()
    board.take(source.read(), source.sysctls)
    client.sendall(bytes(5000))
    received = 0
    while received < 5000:
        received += len(server.recv(5000))
    view = board.take(source.read(), source.sysctls)
    moved = next(entry for entry in view.entries if entry.now.in_rate)
    assert moved.now.in_rate * view.elapsed_s == pytest.approx(5000)
    assert [finding.name for finding in view.entries[0].findings] == ["accept-queue-full"]
    report = diagnose_stack(str(tmp_path / "b.sock"), None, Thresholds())
    assert [finding.name for finding in report.findings] == ["accept-queue-full"]
    assert report.source == "stack right, 10.9.0.2/24"
    source.close()
    for one in (client, server, listener, *held):
        one.close()


@pytest.mark.parametrize("request_line", [b"x\n", b"[]\n", b'{"rows_max": -1}\n', b'{"rows_max": true}\n',
                                          b"x" * (REQUEST_BYTES_MAX + 10) + b"\n", b"[" * 1000 + b"\n"])
def test_a_request_that_makes_no_sense_gets_an_error_and_harms_nobody(pair: tuple[estab.Stack, estab.Stack],
                                                                      tmp_path: Path, request_line: bytes) -> None:
    path = pair[0].publish(tmp_path / "a.sock").path
    assert "error" in ask(path, request_line)
    assert ask(path)["name"] == "left"


def test_rows_are_bounded_and_what_is_left_out_is_counted(pair: tuple[estab.Stack, estab.Stack],
                                                          tmp_path: Path) -> None:
    kept = [connected(*pair, port) for port in (80, 81, 82)]
    told = ask(pair[1].publish(tmp_path / "b.sock").path, b'{"rows_max": 4}\n')
    assert (len(told["sockets"]), told["left_out"]) == (4, 2)
    for one in [one for several in kept for one in several]:
        one.close()


def test_clients_are_bounded_and_one_that_does_not_read_is_dropped(pair: tuple[estab.Stack, estab.Stack],
                                                                   tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "PATIENCE_S", 0.1)
    path = pair[0].publish(tmp_path / "a.sock").path
    clients = [socket.socket(socket.AF_UNIX) for _ in range(CLIENTS_MAX + 1)]
    for client in clients:
        client.settimeout(20)
        client.connect(path)
        if client is not clients[-1]:
            client.sendall(b"{}\n")
            assert client.recv(1) == b"{"
    assert clients[-1].recv(1) == b""
    clients[0].sendall(b"{}\n" * 2000)  # far more than the buffers hold, and it reads nothing of it
    while True:  # until it is dropped, and so there is room for another
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(path)
            other.settimeout(20)
            try:
                other.sendall(b"{}\n")
                if other.recv(1):
                    break
            except OSError:
                continue
    for client in clients:
        client.close()


def test_a_path_that_is_taken_is_refused_and_one_that_is_left_over_is_used(pair: tuple[estab.Stack, estab.Stack],
                                                                           tmp_path: Path) -> None:
    here, there = pair
    path = tmp_path / "a.sock"
    here.publish(path)
    with pytest.raises(OSError, match="in use"):
        there.publish(path)
    left_over = tmp_path / "old.sock"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(left_over))
    there.publish(left_over)
    assert ask(str(left_over))["name"] == "right"
    (tmp_path / "text").write_text("mine")
    with pytest.raises(OSError, match="in use"):
        here.publish(tmp_path / "text")
    assert (tmp_path / "text").read_text() == "mine"
    with pytest.raises(OSError, match="too long"):
        here.publish(tmp_path / ("x" * 200))


def test_a_default_folder_that_others_may_enter_is_refused(pair: tuple[estab.Stack, estab.Stack], tmp_path: Path,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "estab").mkdir(mode=0o755)
    assert default_folder() == tmp_path / "estab"
    with pytest.raises(OSError, match="not permitted"):
        pair[0].publish()
    with pytest.raises(OSError, match="not permitted"):
        find_stacks("left")
    (tmp_path / "estab").chmod(0o700)
    pair[0].publish()
    assert find_stacks("left") == [tmp_path / "estab" / "left.sock"]
    with pytest.raises(OSError, match="there are: left"):
        find_stacks("lfet")


def test_a_program_of_the_stack_may_publish_it(pair: tuple[estab.Stack, estab.Stack], tmp_path: Path) -> None:
    with pair[0].installed():
        path = pair[0].publish(tmp_path / "a.sock").path
    assert ask(path)["name"] == "left"


def test_a_stack_that_is_gone_is_told_in_a_sentence(pair: tuple[estab.Stack, estab.Stack], tmp_path: Path) -> None:
    source = StackSource([Path(pair[0].publish(tmp_path / "a.sock").path)])
    source.read()
    pair[0].close()
    for _ in range(2):
        with pytest.raises(OSError, match=r"closed the connection|is gone|no stack publishes"):
            source.read()
    source.close()
