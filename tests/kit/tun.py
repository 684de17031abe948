"""A namespace with a device, stacks of ours on it, and sockets of the kernel in it."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import estab
from estab.devices.namespace import call_in
from tests.kit.namespaces import Namespace

__all__ = ["KERNEL", "STACK", "Net", "Task", "digest_of", "receive_all", "send_all"]

KERNEL = ("10.9.0.1", "fd09::1")
STACK = ("10.9.0.2", "fd09::2")


class Net(Namespace):
    """A namespace whose device ``tun0`` has the kernel's addresses; ``stack`` puts one of ours at its other end."""

    def __init__(self) -> None:
        super().__init__()
        self._open = ExitStack()

    def set_up(self) -> None:
        super().set_up()
        self.ip("tuntap add dev tun0 mode tun")
        self.ip(f"addr add {KERNEL[0]}/24 dev tun0")
        self.ip(f"addr add {KERNEL[1]}/64 dev tun0 nodad")
        self.ip("link set tun0 up mtu 1500")

    def __exit__(self, *error: object) -> None:
        try:
            self._open.close()
        finally:
            super().__exit__(*error)

    def stack(self, offload: bool = True, weather: dict[str, Any] | None = None, **config: Any) -> estab.Stack:
        """Put a stack on the device, with bad weather where there is some. It is closed with the test."""
        link: Any = estab.Tun("tun0", netns=self.name, offload=offload)
        if weather is not None:
            link = estab.Faulty(link, **weather)
        made = estab.Stack(link, [f"{STACK[0]}/24", f"{STACK[1]}/64"], **config)
        made.run_in_thread()
        return self.enter(made)

    def enter(self, stack: estab.Stack) -> estab.Stack:
        """Have a stack closed with the test."""
        return self._open.enter_context(stack)

    def close_stacks(self) -> None:
        """Close all stacks, so that the device is free."""
        self._open.close()

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, proto: int = 0) -> socket.socket:
        """Make a socket of the kernel in the namespace, with a bound to how long it waits."""
        made = call_in(self.name, lambda: socket.socket(family, kind, proto))
        made.settimeout(30)
        return made

    def listener(self, address: str = KERNEL[0], port: int = 0) -> socket.socket:
        """Make a listening socket of the kernel in the namespace."""
        made = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        made.listen(16)
        return made


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
