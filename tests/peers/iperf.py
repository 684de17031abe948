"""As much of iperf3's protocol as it takes to be its client and its server for one TCP stream."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
from collections.abc import Callable
from typing import Any

__all__ = ["serve_once", "upload"]

TEST_START, TEST_RUNNING, TEST_END = 1, 2, 4
PARAM_EXCHANGE, CREATE_STREAMS, EXCHANGE_RESULTS, DISPLAY_RESULTS, IPERF_DONE = 9, 10, 13, 14, 16
COOKIE_BYTES = 37


def _read(end: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = end.recv(count - len(data))
        if not more:
            raise EOFError(f"{len(data)} of {count} bytes")
        data += more
    return data


def _read_json(end: socket.socket) -> Any:
    (count,) = struct.unpack("!I", _read(end, 4))
    return json.loads(_read(end, count))


def _send_json(end: socket.socket, value: object) -> None:
    text = json.dumps(value).encode()
    end.sendall(struct.pack("!I", len(text)) + text)


def _results(count: int, seconds: float) -> dict[str, Any]:
    stream = {"id": 1, "bytes": count, "retransmits": -1, "jitter": 0, "errors": 0, "packets": 0, "start_time": 0,
              "end_time": seconds}
    return {"cpu_util_total": 0, "cpu_util_user": 0, "cpu_util_system": 0, "sender_has_retransmits": -1,
            "streams": [stream]}


def _state(end: socket.socket, state: int) -> None:
    end.sendall(bytes([state]))


def serve_once(listener: socket.socket) -> int:
    """Serve one test in which the client sends. Returns how many bytes came."""
    control, _ = listener.accept()
    cookie = _read(control, COOKIE_BYTES)
    _state(control, PARAM_EXCHANGE)
    _read_json(control)
    _state(control, CREATE_STREAMS)
    stream, _ = listener.accept()
    assert _read(stream, COOKIE_BYTES) == cookie
    _state(control, TEST_START)
    _state(control, TEST_RUNNING)
    count = 0
    control.setblocking(False)
    stream.settimeout(0.1)
    while True:
        with contextlib.suppress(TimeoutError):
            count += len(stream.recv(1 << 18))
        try:
            if control.recv(1) == bytes([TEST_END]):
                break
        except BlockingIOError:
            pass
    control.setblocking(True)
    control.settimeout(30)
    _state(control, EXCHANGE_RESULTS)
    theirs = _read_json(control)
    sent = theirs["streams"][0]["bytes"]
    stream.settimeout(30)
    while count < sent and (data := stream.recv(1 << 18)):
        count += len(data)
    _send_json(control, _results(count, 1))
    _state(control, DISPLAY_RESULTS)
    _read(control, 1)
    control.close()
    stream.close()
    return count


def upload(control: socket.socket, stream: socket.socket, address: tuple[str, int], count: int,
           settle: Callable[[], None]) -> int:
    """Send ``count`` bytes to an iperf3 server. Returns how many it says came.

    ``settle`` waits until the server has read all: at the test's end it looks at nothing more.
    """
    cookie = bytes(random.Random(1).choice(b"abcdefgh") for _ in range(COOKIE_BYTES - 1)) + b"\0"
    control.connect(address)
    control.sendall(cookie)
    received = 0
    while (state := _read(control, 1)[0]) != DISPLAY_RESULTS:
        if state == PARAM_EXCHANGE:
            _send_json(control, {"tcp": True, "omit": 0, "num": count, "time": 0, "parallel": 1, "len": 131072,
                                 "pacing_timer": 1000, "client_version": "3.12"})
        elif state == CREATE_STREAMS:
            stream.connect(address)
            stream.sendall(cookie)
        elif state == TEST_RUNNING:
            stream.sendall(bytes(count))
            settle()
            _state(control, TEST_END)
        elif state == EXCHANGE_RESULTS:
            _send_json(control, _results(count, 1))
            received = _read_json(control)["streams"][0]["bytes"]
    _state(control, IPERF_DONE)
    return received
