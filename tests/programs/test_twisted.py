"""Twisted on hosts: its reactors over select, poll, epoll and asyncio, and one on each side at once."""

from __future__ import annotations

import asyncio
import socket
from importlib import import_module
from typing import Any

import pytest

from estab import Host, Network

REACTORS = {
    "select": "SelectReactor", "poll": "PollReactor", "epoll": "EPollReactor", "asyncio": "AsyncioSelectorReactor",
}


def new_reactor(how: str) -> Any:
    make = getattr(import_module(f"twisted.internet.{how}reactor"), REACTORS[how])
    return make(asyncio.SelectorEventLoop()) if how == "asyncio" else make()


@pytest.mark.parametrize("how", list(REACTORS))
def test_a_reactor_serves_and_hears_its_threads(net: Network, server: Host, client: Host, how: str) -> None:
    @server.run
    def serve() -> None:
        from twisted.internet import protocol
        reactor = new_reactor(how)

        class Hello(protocol.Protocol):
            def connectionMade(self) -> None:
                self.transport.write(b"hello")
                self.transport.loseConnection()
                reactor.callLater(1, reactor.stop)

        # A thread of its pool wakes it by its pipe.
        reactor.callInThread(reactor.callFromThread, reactor.listenTCP, 7, protocol.Factory.forProtocol(Hello))
        reactor.run(installSignalHandlers=False)

    @client.run(start=1)
    def ask() -> bytes:
        with socket.create_connection(("server", 7), timeout=5) as sock:
            return sock.recv(10)

    net.run()
    assert ask.result() == b"hello"
    assert serve.done()
    assert net.now < 3


def test_a_reactor_of_its_own_on_each_side(net: Network, server: Host, client: Host) -> None:
    def serve() -> None:
        from twisted.internet import protocol, reactor

        class Echo(protocol.Protocol):
            def dataReceived(self, data: bytes) -> None:
                self.transport.write(data.upper())
                self.transport.loseConnection()
                reactor.callLater(1, reactor.stop)

        reactor.listenTCP(7, protocol.Factory.forProtocol(Echo))
        reactor.run()

    def ask() -> list[bytes]:
        from twisted.internet import protocol, reactor
        found: list[bytes] = []

        class Ask(protocol.Protocol):
            def connectionMade(self) -> None:
                self.transport.write(b"hello")

            def dataReceived(self, data: bytes) -> None:
                found.append(data)
                reactor.stop()

        reactor.connectTCP("server", 7, protocol.ClientFactory.forProtocol(Ask))
        reactor.run()
        return found

    server.run(serve, fresh=("twisted",))
    asked = client.run(ask, start=1, fresh=("twisted",))
    net.run()
    assert asked.result() == [b"HELLO"]
