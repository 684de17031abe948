"""HTTP of the standard library, unmodified, as the README and the design show it."""

from __future__ import annotations

import asyncio
import http.client
import socket
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

import estab
from estab import Host, Network


class Handler(BaseHTTPRequestHandler):
    """Answers with the path, and keeps the connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(f"hello {self.path}".encode())

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["content-length"]))[::-1])

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def serve() -> None:
    with HTTPServer(("", 8080), Handler) as server:
        server.serve_forever()


def test_the_designs_example_runs_as_it_is_written() -> None:
    net = estab.Network(seed=7)
    server, phone = net.host("server"), net.host("phone")
    wifi = net.link(server, phone, delay="40ms", jitter="10ms", loss="2%", rate="20Mbit")

    @server.run
    async def serve() -> None:
        async def on_caller(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.0 200 OK\r\n\r\nhello")
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(on_caller, "", 8080) as server:
            await server.serve_forever()

    @phone.run
    def fetch() -> bytes:
        import urllib.request

        body: bytes = urllib.request.urlopen("http://server:8080/").read()
        return body

    net.at("5s", wifi.cut)
    net.at("35s", wifi.heal)
    net.run()
    assert fetch.result() == b"hello"
    assert any(row.state == "LISTEN" for row in server.sockets())
    assert net.now >= 35
    net.close()


def test_urllib_fetches_from_http_server(net: Network, a: Host, b: Host) -> None:
    b.run(serve)

    @a.run
    def fetch() -> tuple[bytes, str, float]:
        with urllib.request.urlopen("http://b:8080/path") as response:
            return response.read(), response.headers["date"], time.monotonic()

    net.run()
    body, date, took_s = fetch.result()
    assert body == b"hello /path"
    assert date == "Thu, 01 Jan 2026 00:00:00 GMT"
    assert took_s == pytest.approx(0.04, abs=0.001)


def test_one_connection_carries_five_requests(net: Network, a: Host, b: Host) -> None:
    b.run(serve)

    @a.run
    def fetch() -> list[bytes]:
        connection = http.client.HTTPConnection("b", 8080)
        bodies = []
        for number in range(5):
            connection.request("POST", "/", body=b"%d" % number * 5000)
            bodies.append(connection.getresponse().read())
        connection.close()
        return bodies

    net.run()
    assert fetch.result() == [b"%d" % number * 5000 for number in range(5)]
    assert b.counters()["TcpPassiveOpens"] == 1


def test_a_request_survives_a_cut_and_a_timeout_ends_one(net: Network, a: Host, b: Host) -> None:
    b.run(serve)

    @a.run
    def fetch() -> bytes:
        time.sleep(1)
        connection = http.client.HTTPConnection("b", 8080)
        connection.connect()
        net.links[0].cut()
        connection.request("GET", "/late")
        body = connection.getresponse().read()
        connection.close()
        return body

    @a.run(start=100)
    def give_up() -> float:
        net.links[0].cut()
        started = time.monotonic()
        with pytest.raises((TimeoutError, urllib.error.URLError)):
            urllib.request.urlopen("http://b:8080/", timeout=5)
        return time.monotonic() - started

    net.at(20, net.links[0].heal)
    net.run()
    assert fetch.result() == b"hello /late"
    assert give_up.result() == pytest.approx(10)  # five seconds for each of b's two addresses


def test_a_server_of_one_host_is_not_reached_from_the_operating_system(net: Network, a: Host) -> None:
    a.run(serve)
    net.run(until=1)
    with pytest.raises(OSError):  # noqa: PT011 - "a" is unknown, or nobody answers
        socket.create_connection(("a", 8080), 0.2)
