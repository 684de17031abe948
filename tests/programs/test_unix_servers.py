"""Servers and clients that speak by Unix sockets, as they are, on one host."""

from __future__ import annotations

import logging.handlers
import multiprocessing.connection
import os
import socket
import socketserver
from typing import Any

import aiohttp
import httpx
import pytest
import uvicorn

from estab import Host, Network

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="the machine has no Unix sockets")

PATH = "/run/app.sock"


@pytest.fixture
def a(net: Network) -> Host:
    return net.host("a")


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Say which path was asked for."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


def test_httpx_and_aiohttp_ask_uvicorn_by_a_unix_socket(net: Network, a: Host) -> None:
    def serve() -> None:
        uvicorn.run(app, uds=PATH, log_level="warning", lifespan="off")

    async def ask() -> list[str]:
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=PATH)) as client:
            found = [(await client.get(f"http://app/{number}")).text for number in range(2)]
        session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(PATH))
        async with session, session.get("http://app/aiohttp") as answer:
            return [*found, await answer.text()]

    def ask_blocking() -> str:
        with httpx.Client(transport=httpx.HTTPTransport(uds=PATH)) as client:
            return client.get("http://app/blocking").text

    a.run(serve, daemon=True)
    asked, blocking = a.run(ask, start=1), a.run(ask_blocking, start=1)
    net.run()
    assert asked.result() == ["/0", "/1", "/aiohttp"]
    assert blocking.result() == "/blocking"


def test_a_log_handler_reaches_a_syslog_daemon(net: Network, a: Host) -> None:
    def daemon() -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind("/dev/log")
            return sock.recv(1000)

    def log() -> None:
        handler = logging.handlers.SysLogHandler("/dev/log")
        handler.emit(logging.makeLogRecord({"msg": "out of paper", "levelno": logging.WARNING}))
        handler.close()

    heard = a.run(daemon)
    a.run(log, start=1)
    net.run()
    assert heard.result() == b"<12>out of paper\0"


def test_multiprocessing_connects_by_a_unix_socket_with_its_handshake(net: Network, a: Host) -> None:
    def listen() -> tuple[Any, bool]:
        listening = multiprocessing.connection.Listener(PATH, "AF_UNIX", authkey=b"key")
        with listening as listener, listener.accept() as connection:
            found = connection.recv()
        return found, os.path.exists(PATH)

    def send() -> None:
        with multiprocessing.connection.Client(PATH, "AF_UNIX", authkey=b"key") as connection:
            connection.send({"an": "object"})

    listening = a.run(listen)
    a.run(send, start=1)
    net.run()
    assert listening.result() == ({"an": "object"}, False)


def test_socketserver_serves_a_unix_socket_in_threads(net: Network, a: Host) -> None:
    class Upper(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(self.rfile.readline().upper())

    def serve() -> None:
        with socketserver.ThreadingUnixStreamServer(PATH, Upper) as server:
            server.serve_forever()

    def ask() -> bytes:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(PATH)
            sock.sendall(b"hello\n")
            return sock.makefile("rb").read()

    a.run(serve, daemon=True)
    asking = [a.run(ask, start=1) for _ in range(3)]
    net.run()
    assert [program.result() for program in asking] == [b"HELLO\n"] * 3
