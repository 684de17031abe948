"""Channel over blocking sockets: messages, back-pressure, heartbeats and close, on socket pairs of this machine."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from estab.messages import (
    Channel,
    Delimited,
    EndOfStreamError,
    FrameError,
    FrameFault,
    Heartbeat,
    LengthPrefixed,
    PeerLostError,
    Reaper,
)


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    return near, far


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = tcp_pair()
    with near, far:
        yield near, far


Pair = tuple[socket.socket, socket.socket]


@contextlib.contextmanager
def in_thread(function: Callable[[], Any]) -> Iterator[list[Any]]:
    """Run ``function`` beside the block; its result, or what it raised, is in the list after the block."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(function())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield results
    thread.join(10)
    assert not thread.is_alive()


def line() -> Delimited:
    return Delimited(b"\n")


def test_messages_go_both_ways_and_iteration_ends_with_the_peer(pair: Pair) -> None:
    near, far = (Channel(sock, LengthPrefixed()) for sock in pair)
    for message in (b"one", b"", b"x" * 70_000):
        near.send(message)
    far.send(b"back")
    near.send_eof()
    assert list(far) == [b"one", b"", b"x" * 70_000]
    assert near.receive() == b"back"
    with pytest.raises(EndOfStreamError, match=r"127\.0\.0\.1:\d+ has ended its stream"):
        far.receive()
    far.close()
    assert list(near) == []


def test_a_fault_comes_behind_the_good_messages_of_the_same_chunk(pair: Pair) -> None:
    channel = Channel(pair[0], Delimited(b"\n", max_frame=5))
    pair[1].sendall(b"good\ntoo long\n")
    assert channel.receive() == b"good"
    for _ in range(2):
        with pytest.raises(FrameError) as caught:
            channel.receive()
        assert (caught.value.fault, caught.value.offset) == (FrameFault.TOO_LARGE, 10)


def test_an_end_inside_a_frame_is_not_a_clean_one(pair: Pair) -> None:
    channel = Channel(pair[0], line())
    pair[1].sendall(b"good\nhalf")
    pair[1].close()
    assert channel.receive() == b"good"
    with pytest.raises(FrameError, match="stream ended inside a frame at byte 9"):
        channel.receive()


def test_a_receive_that_timed_out_has_lost_nothing(pair: Pair) -> None:
    channel = Channel(pair[0], line())
    pair[1].sendall(b"ha")
    with pytest.raises(TimeoutError, match="no message in time"):
        channel.receive("2ms")
    pair[1].sendall(b"lf\n")
    assert channel.receive("1s") == b"half"


def test_a_message_that_drips_in_does_not_extend_the_time(pair: Pair) -> None:
    channel = Channel(pair[0], line(), receive_timeout="30ms")
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.005):
            pair[1].send(b".")

    with in_thread(drip):
        with pytest.raises(TimeoutError):
            channel.receive()
        stop.set()


def test_send_waits_while_the_peer_does_not_read(pair: Pair) -> None:
    near, far = Channel(pair[0], LengthPrefixed()), Channel(pair[1], LengthPrefixed())
    message = bytes(1 << 20)
    sent = threading.Event()

    def send_all() -> None:
        for _ in range(24):
            near.send(message)
        sent.set()

    with in_thread(send_all):
        assert far.receive() == message
        assert not sent.wait(0.02), "24 MiB fit in the socket buffers of a peer that does not read"
        for _ in range(23):
            assert far.receive() == message
        assert sent.wait(5)


def test_frames_of_two_senders_do_not_mix(pair: Pair) -> None:
    near, far = Channel(pair[0], line()), Channel(pair[1], line())
    words = [bytes([letter]) * 30_000 for letter in b"abcd"]

    def send(word: bytes) -> None:
        for _ in range(20):
            near.send(word)

    threads = [threading.Thread(target=send, args=(word,), daemon=True) for word in words]
    for thread in threads:
        thread.start()
    found = [far.receive("5s") for _ in range(80)]
    assert sorted(found) == sorted(words * 20)


def test_a_peer_that_takes_nothing_is_lost(pair: Pair) -> None:
    channel = Channel(pair[0], LengthPrefixed(), send_timeout="15ms")
    with pytest.raises(PeerLostError, match="took no byte for") as caught:
        channel.send(bytes(16 << 20))
    assert caught.value.errno == errno.ETIMEDOUT
    assert (caught.value.facts.state, caught.value.facts.last_data_in_ns is None) == ("ESTABLISHED", False)
    assert caught.value.facts.outq_bytes is not None
    assert caught.value.facts.outq_bytes > 0
    with pytest.raises(PeerLostError):
        channel.send(b"more")
    channel.close()
    pair[1].settimeout(5)
    taken = b"."
    with pytest.raises(ConnectionResetError):  # noqa: PT012 - it comes behind what was delivered
        while taken:
            taken = pair[1].recv(1 << 20)


def test_two_threads_may_not_receive_at_once(pair: Pair) -> None:
    channel = Channel(pair[0], line())
    with in_thread(lambda: channel.receive("5s")) as results:
        with pytest.raises(RuntimeError, match="another thread is receiving"):  # noqa: PT012 - until it has begun
            while True:
                channel.receive("1ms")
        pair[1].sendall(b"done\n")
    assert results == [b"done"]


# --- heartbeats


def test_a_silent_peer_is_pinged_and_then_lost(pair: Pair) -> None:
    channel = Channel(pair[0], line(), heartbeat=Heartbeat("5ms", "20ms"))
    with pytest.raises(PeerLostError, match=r"no byte .*a ping unanswered .*the socket: in ESTABLISHED") as caught:
        channel.receive()
    assert pair[1].recv(100) == b"PING\n"
    assert caught.value.silent_ns >= 20_000_000
    with pytest.raises(PeerLostError):
        channel.send(b"too late")


def test_a_peer_that_reads_answers_and_lives(pair: Pair) -> None:
    """Two programs that only wait for each other: many intervals of silence pass, and pings answer for both."""
    beat = Heartbeat("2ms", "5s")
    near, far = Channel(pair[0], line(), heartbeat=beat), Channel(pair[1], line(), heartbeat=beat)
    with in_thread(lambda: far.receive("5s")) as results:
        with pytest.raises(TimeoutError):
            near.receive("40ms")
        near.send(b"still here")
    assert results == [b"still here"]


def test_the_heartbeats_words_are_not_the_programs(pair: Pair) -> None:
    channel = Channel(pair[0], line(), heartbeat=Heartbeat("1s", "2s"))
    with pytest.raises(ValueError, match="is one of the heartbeat's"):
        channel.send(b"PING")
    pair[1].sendall(b"PONG\nPING\nhello\n")
    assert channel.receive() == b"hello"
    assert pair[1].recv(100) == b"PONG\n"


def test_without_a_heartbeat_ping_is_a_message_like_any_other(pair: Pair) -> None:
    channel = Channel(pair[0], line())
    pair[1].sendall(b"PING\n")
    assert channel.receive() == b"PING"


def test_a_heartbeat_that_either_side_declined_is_off_for_both(pair: Pair) -> None:
    near = Channel(pair[0], line(), heartbeat=Heartbeat("2ms", "5s"))
    far = Channel(pair[1], line(), heartbeat=Heartbeat.declined())
    with in_thread(lambda: far.receive("5s")) as results:
        while near.is_heartbeat_on:
            with pytest.raises(TimeoutError):
                near.receive("3ms")
        near.send(b"end")
    assert results == [b"end"]


def test_a_heartbeat_can_be_turned_off_later(pair: Pair) -> None:
    beat = Heartbeat("20s", "60s")
    near, far = Channel(pair[0], line(), heartbeat=beat), Channel(pair[1], line(), heartbeat=beat)
    near.heartbeat_off()
    near.send(b"now quiet")
    assert far.receive() == b"now quiet"
    assert not near.is_heartbeat_on
    assert not far.is_heartbeat_on


def test_a_half_closed_connection_has_no_heartbeat_and_does_not_spin(pair: Pair) -> None:
    beat = Heartbeat("2ms", "10ms")
    near, far = Channel(pair[0], line(), heartbeat=beat), Channel(pair[1], line(), heartbeat=beat)
    near.send_eof()
    with pytest.raises(EndOfStreamError):
        far.receive()
    assert not far.is_heartbeat_on
    pair[1].send(b"PING\n")  # one that crossed our end on its way
    near.sock = counting = CountedCalls(near.sock)  # type: ignore[assignment]
    with pytest.raises(TimeoutError):
        near.receive("20ms")
    assert counting.calls["send"] == 0
    assert counting.calls["recv"] < 10


class CountedCalls:
    """A socket that counts the calls it passes on."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.calls = Counter[str]()

    def __getattr__(self, name: str) -> Any:
        self.calls[name] += 1
        return getattr(self.sock, name)


def test_a_connection_that_tcp_gave_up_is_a_lost_peer_and_no_time_out_of_receive(pair: Pair) -> None:
    class GaveUp(CountedCalls):
        def recv(self, size: int) -> bytes:
            raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

        send = recv

    channel = Channel(pair[0], line())
    channel.sock = GaveUp(pair[0])  # type: ignore[assignment]
    for call in (lambda: channel.receive("1h"), lambda: channel.send(b"more")):
        with pytest.raises(PeerLostError, match=r"TCP gave the connection up \(Connection timed out\)"):
            call()


def test_a_codec_that_cannot_say_ping_is_refused_at_once(pair: Pair) -> None:
    from estab.messages import FixedSize

    with pytest.raises(ValueError, match="every message has size=7"):
        Channel(pair[0], FixedSize(7), heartbeat=Heartbeat("1s", "2s"))


def test_a_ping_is_answered_though_another_thread_is_held_up_in_send(pair: Pair) -> None:
    """The answer waits for the end of the frame that is under way, and goes then."""
    near = Channel(pair[0], LengthPrefixed(max_frame=32 << 20), heartbeat=Heartbeat("60s", "90s"))
    far = LengthPrefixed(max_frame=32 << 20)
    big = bytes(24 << 20)
    stop = threading.Event()

    def receive() -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                near.receive("5ms")

    with in_thread(lambda: near.send(big)), in_thread(receive):
        pair[1].settimeout(5)
        found = far.feed(pair[1].recv(1))
        pair[1].sendall(far.encode(b"PING"))
        while len(found) < 2:
            found += far.feed(pair[1].recv(1 << 20))
        stop.set()
    assert found == [big, b"PONG"]


def test_a_peer_that_pings_and_never_reads_does_not_fill_memory(pair: Pair) -> None:
    near = Channel(pair[0], line(), heartbeat=Heartbeat("60s", "90s"))
    for sock in pair:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    pings = b"PING\n" * 10_000
    for _ in range(10):
        pair[1].sendall(pings)
        with pytest.raises(TimeoutError):
            near.receive("1ms")
    assert len(near._unsent) <= 10


# --- close and release


def test_close_at_end_leaves_nothing_in_close_wait(pair: Pair) -> None:
    channel = Channel(pair[0], line(), close_at_end=True)
    pair[1].sendall(b"last\n")
    pair[1].shutdown(socket.SHUT_WR)
    assert channel.receive() == b"last"
    pair[1].settimeout(5)
    with pytest.raises(EndOfStreamError):
        channel.receive()
    assert pair[1].recv(1) == b"", "our FIN came though the program has not called close"
    assert pair[0].fileno() == -1


def test_what_was_deferred_runs_behind_the_close_last_come_first(pair: Pair) -> None:
    channel = Channel(pair[0], line())
    order: list[tuple[str, int]] = []
    for name in ("first", "second"):
        channel.defer(lambda name=name: order.append((name, pair[0].fileno())))
    channel.close()
    channel.close()
    assert order == [("second", -1), ("first", -1)]


def test_clean_up_that_fails_does_not_stop_the_rest(pair: Pair) -> None:
    channel = Channel(pair[0], line())
    done: list[str] = []
    channel.defer(done.append, "first")
    channel.defer(lambda: 1 // 0)
    channel.defer(done.append, "third")
    with pytest.raises(ZeroDivisionError):
        channel.close()
    assert done == ["third", "first"]


def test_with_a_reaper_close_does_not_wait_for_the_clean_up(pair: Pair) -> None:
    go, done = threading.Event(), threading.Event()

    def slow() -> None:
        go.wait(5)
        done.set()

    with Reaper(workers=1) as reaper:
        channel = Channel(pair[0], line(), reaper=reaper)
        channel.defer(slow)
        channel.close()
        assert not done.is_set()
        go.set()
    assert done.is_set()


def test_stop_receiving_ends_a_receive_that_waits(pair: Pair) -> None:
    channel = Channel(pair[0], line())
    pair[1].sendall(b"half")
    with in_thread(channel.receive) as results:
        channel.stop_receiving()
    assert isinstance(results[0], EndOfStreamError)


def test_abort_resets_and_wakes_who_receives(pair: Pair) -> None:
    channel = Channel(pair[0], line())
    with in_thread(channel.receive) as results:
        channel.abort()
    assert isinstance(results[0], (EndOfStreamError, OSError))
    pair[1].settimeout(5)
    with contextlib.suppress(ConnectionResetError):
        assert pair[1].recv(10) == b""


def test_a_reset_by_the_peer_reaches_the_program(pair: Pair) -> None:
    channel = Channel(pair[0], line())
    pair[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    pair[1].close()
    with pytest.raises(ConnectionResetError):
        channel.receive("5s")
    with channel:
        pass
