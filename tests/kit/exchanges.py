"""What tests on the real kernel send to and fro."""

from __future__ import annotations

import socket
import threading
from typing import Final

from estab.devices.namespace import call_in
from tests.kit.namespaces import Namespace

__all__ = ["BULK", "echo_all", "exchange", "kernel_socket"]

BULK: Final = bytes(range(256)) * 40_000


def kernel_socket(net: Namespace, family: int = socket.AF_INET) -> socket.socket:
    """Make a socket of the kernel's in the namespace."""
    made = call_in(net.name, lambda: socket.socket(family, socket.SOCK_STREAM))
    made.settimeout(20)
    return made


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
