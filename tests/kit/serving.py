"""A client host and a host that serves, on a wire with a virtual clock."""

from __future__ import annotations

import contextlib

from estab.abi import AF_INET, AF_INET6, SOCK_STREAM
from estab.host.sockets.stream import StreamSocket
from estab.serve.services import Service, Services
from estab.tcp.config import Config
from estab.units import MS, SECOND
from tests.kit.engines import Net, Wire

__all__ = ["MS", "SECOND", "Client", "Serving"]


class Serving(Net):
    """``client`` is 10.0.0.1 and fd00::1; ``host``, which serves, is 10.0.0.2 and fd00::2."""

    def __init__(self, config: Config | None = None) -> None:
        super().__init__()
        self.wire = Wire()
        self.client, self.host_served = self.host("client"), self.host("server", config)
        self.join(self.wire, self.client, "10.0.0.1/24", "fd00::1/64")
        self.join(self.wire, self.host_served, "10.0.0.2/24", "fd00::2/64")
        self.services = Services(self.host_served)
        self.others: list[tuple[int, int]] = []

    def add(self, service: Service, port: int, address: str = "", backlog: int = 64) -> None:
        self.services.add(service, address, port, self.now_ns, backlog)

    def flush(self) -> None:
        self.services.on_deadline(self.now_ns)
        for _ in range(100):
            self.others += self.services.drain(self.now_ns)
            before = len(self.wire.passed)
            self._flush_frames()
            if len(self.wire.passed) == before:
                break
        while self.client.poll_event() is not None:
            pass

    def _flush_frames(self) -> None:
        for host in self.hosts:
            while (outbound := host.poll_frame(self.now_ns)) is not None:
                self._carry(host, outbound)

    def connect(self, port: int, address: str = "10.0.0.2") -> Client:
        return Client(self, port, address)


class Client:
    """One connection of the client's, and all that came on it."""

    def __init__(self, net: Serving, port: int, address: str = "10.0.0.2") -> None:
        self.net = net
        made = net.client.socket(AF_INET if "." in address else AF_INET6, SOCK_STREAM, net.now_ns)
        assert isinstance(made, StreamSocket)
        self.socket = made
        self.text = b""
        self.is_eof = False
        with contextlib.suppress(BlockingIOError):
            made.connect((address, port), net.now_ns)
        net.run(10 * MS)

    def send(self, data: bytes) -> None:
        """Send all of it, and let it arrive."""
        while data:
            with contextlib.suppress(BlockingIOError):
                data = data[self.socket.send(data, 0, self.net.now_ns):]
            self.net.run(5 * MS)

    def read(self, duration_ns: int = 50 * MS) -> bytes:
        """Let time pass, and give what came in it."""
        before = len(self.text)
        for _ in range(max(1, duration_ns // (5 * MS))):
            self.net.run(5 * MS)
            with contextlib.suppress(BlockingIOError):
                while data := self.socket.recv(1 << 20, 0, self.net.now_ns):
                    self.text += data
                self.is_eof = True
        return self.text[before:]

    def ask(self, data: bytes, duration_ns: int = 50 * MS) -> bytes:
        """Send, and give what comes back."""
        self.send(data)
        return self.read(duration_ns)

    def shut(self) -> None:
        self.socket.shutdown(1, self.net.now_ns)
        self.net.run(5 * MS)

    def close(self) -> None:
        self.socket.close(self.net.now_ns)
        self.net.run(5 * MS)
