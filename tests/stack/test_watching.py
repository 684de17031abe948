"""What a stack tells: facts, captures, sockets and counters."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import estab
from estab.devices.capture_file import read_capture
from estab.devices.decapsulate import ip_packet
from estab.events import Event, FrameReceived, FrameSent, StateChanged


def joined() -> tuple[estab.Stack, estab.Stack]:
    """Make two stacks whose links carry to each other."""
    left = estab.QueueDevice()
    right = estab.QueueDevice(left.deliver)
    left.on_packet = right.deliver
    return estab.Stack(left, "10.9.0.1/24", name="left"), estab.Stack(right, "10.9.0.2/24", name="right")


def say_hello(here: estab.Stack, there: estab.Stack, port: int) -> None:
    """Connect, send a few bytes, and close both ends."""
    with there.socket() as listener, here.socket() as client:
        listener.bind(("", port))
        listener.listen()
        client.settimeout(20)
        client.connect(("10.9.0.2", port))
        assert "ESTAB" in [row.state for row in here.sockets()]
        with listener.accept()[0] as server:
            client.sendall(b"hello")
            assert server.recv(100) == b"hello"


def test_observers_are_told_side_by_side_and_each_frame_is_captured_once(tmp_path: Path) -> None:
    here, there = joined()
    with here, there:
        facts: list[Event] = []
        others: list[Event] = []
        here.observe(facts.append)
        with here.capture(tmp_path / "a.pcapng") as capture:
            here.observe(others.append)
            say_hello(here, there, 7)
            capture.flush()
            frames = [fact.data for fact in facts if isinstance(fact, (FrameSent, FrameReceived))]
            with open(tmp_path / "a.pcapng", "rb") as file:
                captured = list(read_capture(file))
        before = capture.frame_count
        say_hello(here, there, 8)
    assert [ip_packet(frame) for frame in captured] == frames[: len(captured)]
    assert len(captured) >= 4  # three of the handshake, and the text
    assert capture.frame_count == before
    assert facts[-len(others):] == others
    assert any(isinstance(fact, StateChanged) for fact in facts)


def test_an_observer_of_a_stack_is_taken_away_by_a_call_or_at_the_end_of_a_block() -> None:
    here, there = joined()
    with here, there:
        first: list[Event] = []
        second: list[Event] = []
        stop = here.observe(first.append)
        with here.observe(second.append):
            say_hello(here, there, 7)
        told = len(second)
        say_hello(here, there, 8)
        assert len(second) == told > 0
        stop()
        with here.runtime.lock:
            assert here.engine.observer is None
            assert len(first) > told


def test_the_time_of_a_stack_is_a_property() -> None:
    here, there = joined()
    with here, there:
        before_ns = time.monotonic_ns()
        assert before_ns <= here.now_ns <= here.runtime.now_ns <= time.monotonic_ns()
        assert before_ns / 1e9 <= here.now <= here.runtime.now


def test_counters_and_settings_are_linuxs(tmp_path: Path) -> None:
    link = estab.QueueDevice()
    with estab.Stack(link, ["10.9.0.1/24", "fd00:9::1/64"], profile="freebsd", tcp_syn_retries=1) as stack:
        stack.run_in_thread()
        assert stack.engine.config.tcp_bsd_option_order
        assert stack.engine.config.tcp_syn_retries == 1
        assert stack.counters().get("TcpActiveOpens", 0) == 0


def test_a_full_disk_ends_the_capture_and_not_the_stack(caplog: pytest.LogCaptureFixture) -> None:
    here, there = joined()
    with here, there:
        capture = there.capture("/dev/full")
        for port in range(100, 110):
            say_hello(here, there, port)
        capture.flush()
        assert "No space left on device, after" in capture.ended
        assert there.failure is None
        say_hello(here, there, 20)
        capture.close()
    assert [record.message for record in caplog.records] == [f"capture /dev/full ended: {capture.ended}"]


def test_a_capture_stays_within_its_limit_and_says_when_it_is_reached(tmp_path: Path) -> None:
    here, there = joined()
    told: list[str] = []
    with here, there:
        capture = there.capture(tmp_path / "a.pcapng", bytes_max=2000, on_end=told.append)
        for port in range(100, 105):
            say_hello(here, there, port)
        capture.close()
    assert told == [f"its limit of 2000 bytes is reached, after {capture.frame_count} frames"]
    assert (tmp_path / "a.pcapng").stat().st_size <= 2500
    with open(tmp_path / "a.pcapng", "rb") as file:
        assert len(list(read_capture(file))) == capture.frame_count > 3
