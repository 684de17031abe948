"""What two ends of a connection say to each other, and a thread for one of them."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable
from typing import Any, Final

__all__ = ["BULK", "Task", "digest_of", "echo_all", "echoed", "exchange", "receive_all", "send_all"]

BULK: Final = bytes(range(256)) * 40_000


def echo_all(connection: socket.socket) -> None:
    """Send everything back until the end of the stream."""
    with connection:
        while data := connection.recv(65_536):
            connection.sendall(data)


def exchange(client: socket.socket, data: bytes) -> bytes:
    """Send all, half-close, and read all, at the same time."""
    got = []

    def read() -> None:
        while part := client.recv(65_536):
            got.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)
    reader.join(20)
    assert not reader.is_alive()
    return b"".join(got)


def echoed(client: socket.socket, listener: socket.socket, host: str, data: bytes) -> bytes:
    """Connect to a listener at ``host`` that sends all back, and return what came back. Both sockets are new."""
    listener.bind(("", 7))
    listener.listen()
    server = threading.Thread(target=lambda: echo_all(listener.accept()[0]))
    server.start()
    client.settimeout(20)
    client.connect((host, 7))
    got = exchange(client, data)
    server.join(20)
    return got


class Task:
    """A function in a thread. ``result`` waits for it, and raises what it raised."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self._call, self._arguments = call, arguments
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._call(*self._arguments)
        except BaseException as error:
            self._error = error

    def result(self, patience: float = 60) -> Any:
        """Give what the function returned."""
        self._thread.join(patience)
        assert not self._thread.is_alive(), f"not within {patience} s: {self._call}"
        if self._error is not None:
            raise self._error
        return self._result


def send_all(end: socket.socket, data: bytes) -> None:
    """Send all, and say that it was all."""
    end.sendall(data)
    end.shutdown(socket.SHUT_WR)


def receive_all(end: socket.socket) -> bytes:
    """Receive until the end of the stream."""
    parts = []
    while data := end.recv(1 << 18):
        parts.append(data)
    return b"".join(parts)


def digest_of(data: bytes) -> str:
    """Name bytes by their checksum, for an error that can be read."""
    return f"{len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}"
