"""A bridge for programs that open their sockets in C: bytes go between the system's TCP and a stack of ours."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

import estab

__all__ = ["Bridge"]


class Bridge:
    """Accepts on ``listener``, connects by ``connect`` for each, and carries bytes both ways until both ends close."""

    def __init__(self, listener: socket.socket, connect: Callable[[], socket.socket]) -> None:
        self._listener, self._connect = listener, connect
        self.carried = [0, 0]
        self._threads: list[threading.Thread] = []
        self._ends: list[socket.socket] = [listener]
        self._start(self._accept)

    def __enter__(self) -> Bridge:
        return self

    def __exit__(self, *_: object) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in self._threads:
            thread.join(10)

    @classmethod
    def to_namespace(cls, stack: estab.Stack, address: str, port: int) -> Bridge:
        """Listen on a port of this machine's 127.0.0.1, and connect to the namespace through the stack."""
        listener = socket.create_server(("127.0.0.1", 0))

        def connect() -> socket.socket:
            made = stack.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
            made.connect((address, port))
            return made

        return cls(listener, connect)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._listener.getsockname()[1])

    @classmethod
    def from_namespace(cls, stack: estab.Stack, port: int, connect: Callable[[], socket.socket]) -> Bridge:
        """Listen on a port of the stack, for the namespace, and connect as ``connect`` does."""
        listener = stack.socket(socket.AF_INET6)
        listener.bind(("::", port))
        listener.listen(16)
        return cls(listener, connect)

    def _start(self, call: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=call, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._ends.append(near)
                far = self._connect()
                self._ends.append(far)
                self._start(self._carry, near, far, 0)
                self._start(self._carry, far, near, 1)

    def _carry(self, source: socket.socket, target: socket.socket, way: int) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.carried[way] += len(data)
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
