"""Calls told as facts: who called what, when it waited, and what came of it."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from estab import Host, Network
from estab.events import CallBlocked, CallResumed, CallReturned, CallStarted, Event, FdAllocated, SegmentSent

CALLS = (CallStarted, CallBlocked, CallResumed, CallReturned)


def told(net: Network) -> list[Event]:
    facts: list[Event] = []
    net.observe(facts.append)
    return facts


def calls_of(facts: list[Event], host: str) -> list[Event]:
    return [fact for fact in facts if isinstance(fact, CALLS) and fact.host == host]


def test_a_call_is_told_from_start_to_result(net: Network, a: Host) -> None:
    facts = told(net)
    sock = a.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("", 80))
    sock.listen(5)
    sock.close()
    assert calls_of(facts, "a") == [
        CallStarted(0, "a", 1, -1, "socket", "AF_INET, SOCK_STREAM, 0"),
        CallReturned(0, "a", 1, 3, "socket", "<fd 3>", ""),
        CallStarted(0, "a", 2, 3, "setsockopt", "SOL_SOCKET, SO_REUSEADDR, 1"),
        CallReturned(0, "a", 2, 3, "setsockopt", "None", ""),
        CallStarted(0, "a", 3, 3, "bind", "('', 80)"), CallReturned(0, "a", 3, 3, "bind", "None", ""),
        CallStarted(0, "a", 4, 3, "listen", "5"), CallReturned(0, "a", 4, 3, "listen", "None", ""),
        CallStarted(0, "a", 5, 3, "close", ""), CallReturned(0, "a", 5, 3, "close", "None", ""),
    ]
    # What a call did lies between its start and its return.
    kinds = [type(fact) for fact in facts]
    assert kinds.index(CallStarted) < kinds.index(FdAllocated) < kinds.index(CallReturned)


def test_a_call_that_waits_is_blocked_and_resumed(net: Network, a: Host, b: Host) -> None:
    facts = told(net)

    @b.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            assert connection.recv(100) == b"hello"

    @a.run
    def call() -> None:
        with socket.create_connection(("b", 80)) as connection:
            connection.sendall(b"hello")

    net.run()
    accept = [fact for fact in calls_of(facts, "b") if getattr(fact, "name", "accept") == "accept"]
    assert [type(fact).__name__ for fact in accept[:4]] == ["CallStarted", "CallBlocked", "CallResumed", "CallReturned"]
    started, blocked, resumed, returned = accept[:4]
    assert isinstance(blocked, CallBlocked)
    assert blocked.waits_for == "accept() on *:80>* (LISTEN)"
    assert (started.at_ns, blocked.at_ns, resumed.at_ns, returned.at_ns) == (0, 0, 30_000_000, 30_000_000)
    assert isinstance(returned, CallReturned)
    assert returned.result.startswith("(<fd 4>, ('10.0.0.1', ")


def test_segments_lie_within_the_call_that_caused_them(net: Network, a: Host, b: Host) -> None:
    facts = told(net)
    with a.socket() as caller:
        with contextlib.suppress(ConnectionRefusedError):
            caller.connect(("b", 9))
        syn = next(index for index, fact in enumerate(facts) if isinstance(fact, SegmentSent))
        blocked = next(index for index, fact in enumerate(facts) if isinstance(fact, CallBlocked))
        assert syn < blocked


@pytest.mark.parametrize("failing", ["connect", "recv"])
def test_errors_are_told_with_their_names(net: Network, a: Host, failing: str) -> None:
    facts = told(net)
    with a.socket() as sock, pytest.raises(OSError):  # noqa: PT011 - its text is checked below
        sock.connect(("b", 9)) if failing == "connect" else sock.recv(1)
    errors = [fact.error for fact in facts if isinstance(fact, CallReturned) and fact.error]
    assert len(errors) == 1
    assert errors[0].startswith(
        "ECONNREFUSED: connection refused" if failing == "connect" else "ENOTCONN: transport endpoint")


def test_long_buffers_are_told_by_their_length(net: Network, a: Host, b: Host) -> None:
    facts = told(net)

    @b.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            connection.recv(100, socket.MSG_WAITALL)

    @a.run
    def call() -> None:
        with socket.create_connection(("b", 80)) as connection:
            connection.sendall(b"x" * 100)

    net.run()
    arguments = {fact.name: fact.arguments for fact in facts if isinstance(fact, CallStarted)}
    results = {fact.name: fact.result for fact in facts if isinstance(fact, CallReturned)}
    assert arguments["sendall"] == "<100 bytes>"
    assert results["recv"] == "<100 bytes>"


def test_a_call_inside_of_a_call_is_not_told(net: Network, a: Host) -> None:
    facts = told(net)
    with a.socket(type=socket.SOCK_DGRAM) as sock:
        sock.connect(("b", 9))
        sock.sendall(b"x")
    assert [fact.name for fact in facts if isinstance(fact, CallStarted)] == ["socket", "connect", "sendall", "close"]


def test_calls_of_two_programs_on_one_host_keep_their_numbers(net: Network, a: Host, b: Host) -> None:
    facts = told(net)

    def receive(port: int) -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.bind(("", port))
            sock.recv(10)

    for port in (1, 2):
        b.run(receive, port)
    net.run(until=1)
    for port in (2, 1):
        with a.socket(type=socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", ("b", port))
    net.run()
    started = {fact.call: fact.fd for fact in facts if isinstance(fact, CallStarted) and fact.name == "recv"}
    returned = {fact.call: fact.fd for fact in facts if isinstance(fact, CallReturned) and fact.name == "recv"}
    resumed = {fact.call: fact.fd for fact in facts if isinstance(fact, CallResumed)}
    assert started == returned == resumed
    assert len(started) == 2


def test_nothing_is_told_without_an_observer(a: Host) -> None:
    with a.socket() as sock:
        sock.bind(("", 80))
    assert a.runtime.calls == 0


def test_calls_on_pipes_and_pairs_are_told_by_the_numbers_of_the_host() -> None:
    with Network() as net:
        facts = told(net)

        @net.host("a").run
        def program() -> None:
            left, right = socket.socketpair()
            reader, writer = os.pipe()
            os.write(writer, b"hello")
            os.read(reader, 9)
            os.close(writer)
            os.close(reader)
            left.close()
            right.close()

        net.run()
    returned = [(fact.fd, fact.name, fact.result) for fact in facts if isinstance(fact, CallReturned)]
    assert returned == [
        (3, "socketpair", "(<fd 3>, <fd 4>)"), (5, "pipe", "(<fd 5>, <fd 6>)"), (6, "write", "5"),
        (5, "read", "b'hello'"), (6, "close", "None"), (5, "close", "None"), (3, "close", "None"), (4, "close", "None"),
    ]


def test_arguments_of_a_wrong_type_are_refused_as_the_kernels_socket_refuses_them(a: Host) -> None:
    level, option = socket.SOL_SOCKET, socket.SO_REUSEADDR
    calls: list[Callable[[Any], object]] = [
        lambda sock: sock.settimeout("5"),
        lambda sock: sock.setsockopt(level, option, "x"),
        lambda sock: sock.setsockopt(level, option, [1, 0, 0, 0]),
        lambda sock: sock.setsockopt(level, option, None, 4),
        lambda sock: sock.setsockopt(level, option, None, 1),
        lambda sock: sock.getsockopt(level, option, -5),
        lambda sock: sock.getsockopt(level, option, 2000),
        lambda sock: sock.getsockopt(level, option, 0),
    ]
    with socket.socket() as kernel, a.socket() as ours:
        for call in calls:
            assert _outcome(call, ours) == _outcome(call, kernel)
    with a.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours, pytest.raises(TypeError, match="must be a pair"):
        ours.sendto(b"x", ("b", 2, 3))


def _outcome(call: Callable[[Any], object], sock: Any) -> tuple[object, ...]:
    try:
        return (call(sock),)
    except (OSError, TypeError, ValueError) as error:
        return type(error), getattr(error, "errno", None), str(error)
