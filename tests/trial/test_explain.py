"""What an explanation shows of a run in which programs wait for ever."""

from __future__ import annotations

import pickle
import socket
import threading
import time

import pytest

import estab
from estab.lab.programs.watch import DeadlockError
from estab.trial.attempt import one_line


def both_send_first(net: estab.Network) -> None:
    """Two programs send more than the buffers between them take, and neither reads before its own is sent."""
    one, other = net.host("one"), net.host("other")
    net.link(one, other, delay="20ms")

    def exchange(sock: socket.socket) -> None:
        with sock:
            sock.sendall(bytes(10_000_000))
            sock.recv(1)

    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            exchange(listener.accept()[0])

    other.run(serve)
    one.run(lambda: exchange(socket.create_connection(("other", 80))))
    net.run()


def test_hours_of_probes_are_one_row_after_what_was_new() -> None:
    with pytest.raises(DeadlockError) as raised, estab.checked() as net:
        both_send_first(net)
    shown = raised.value.__notes__[-1].partition("the last that happened:")[2]
    assert "len=1448" in shown  # the data that fills the buffers, not what was sent four hours later
    assert "more rows, until 4h" in shown
    assert 0 < raised.value.since_ns < 1_000_000_000
    assert pickle.loads(pickle.dumps(raised.value)).since_ns == raised.value.since_ns  # from a sweep's worker


def test_a_lock_made_outside_is_told_in_one_sentence_with_the_program_s_line() -> None:
    lock = threading.Lock()
    net = estab.Network()

    def hold() -> None:
        with lock:
            time.sleep(5)

    def take() -> None:
        with lock:
            pass

    net.host("a").run(hold)
    net.host("b").run(take, start=1)
    with net, pytest.raises(DeadlockError) as raised:
        net.run()
    told = one_line(raised.value)
    assert "in take (test_explain.py:" in told
    assert told.endswith("or don't hold it while waiting")
    assert str(raised.value).count("  File ") == 1  # neither estab's lines nor those of Python's threads
