"""Programs on two stacks in real time: names by a name server of one, TLS, HTTP and asyncio over both."""

from __future__ import annotations

import asyncio
import builtins
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dns.message
import pytest
import requests
import trustme

import estab
from tests.names.test_dns import answer

Pair = tuple[estab.Stack, estab.Stack]


@pytest.fixture(name="pair")
def make_pair() -> Iterator[Pair]:
    """Two stacks whose links carry to each other. The first asks the second for names."""
    left = estab.QueueDevice()
    right = estab.QueueDevice(left.deliver)
    left.on_packet = right.deliver
    with (estab.Stack(left, "10.9.0.1/24", name="left", nameservers="10.9.0.2") as here,
          estab.Stack(right, "10.9.0.2/24", name="right") as there):
        yield here, there


@pytest.fixture(name="names")
def serve_names(pair: Pair) -> Iterator[None]:
    """A name server on the second stack."""
    with pair[1].socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("", 53))
        server.settimeout(0.1)
        is_over = threading.Event()

        def serve() -> None:
            while not is_over.is_set():
                try:
                    data, address = server.recvfrom(2000)
                except TimeoutError:
                    continue
                server.sendto(answer(dns.message.from_wire(data)).to_wire(), address)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        is_over.set()
        thread.join()


def test_names_are_asked_of_the_name_server_by_threads_and_loops(pair: Pair, names: None) -> None:
    with pair[0].installed():
        assert socket.gethostbyname("four.example") == "192.0.2.4"
        assert socket.getaddrinfo("localhost", 80)[0][4] == ("127.0.0.1", 80)
        assert socket.gethostbyaddr("192.0.2.1")[0] == "www.example"
        with pytest.raises(socket.gaierror, match=r"none\.example"):
            socket.gethostbyname("none.example")

        async def ask() -> list[Any]:
            loop = asyncio.get_running_loop()
            infos = await loop.getaddrinfo("www.example", 80, type=socket.SOCK_STREAM)
            return [info[4][0] for info in infos] + [(await loop.getnameinfo(("192.0.2.1", 80)))[0]]

        assert asyncio.run(ask()) == ["192.0.2.1", "192.0.2.2", "2001:db8::1", "www.example"]


def test_without_dnspython_a_name_server_is_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "estab.names.dns":
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install estab\[dns\]"):
        estab.Stack(estab.QueueDevice(), "10.9.0.1/24", nameservers="10.9.0.2")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "300000")
        self.end_headers()
        self.wfile.write(b"hello!" * 50_000)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_https_with_a_thread_for_each_caller(pair: Pair, tmp_path: Any) -> None:
    authority = trustme.CA()
    context, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("10.9.0.2").configure_cert(context)
    authority.configure_trust(trusting)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with pair[1].installed():
        server = ThreadingHTTPServer(("", 443), Handler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
    with pair[0].installed():
        connection = http.client.HTTPSConnection("10.9.0.2", context=trusting, timeout=20)
        for _ in range(3):
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"hello!" * 50_000
        assert isinstance(connection.sock, ssl.SSLSocket)
        connection.close()
        got = requests.get("https://10.9.0.2/", verify=str(tmp_path / "ca.pem"), timeout=20)
        assert len(got.content) == 300_000
    server.shutdown()
    thread.join()
    server.server_close()


def test_one_thread_reads_tls_while_another_writes(pair: Pair) -> None:
    authority = trustme.CA()
    context, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("10.9.0.2").configure_cert(context)
    authority.configure_trust(trusting)
    here, there = pair
    size = 2_000_000

    def echo(plain: socket.socket) -> None:
        with context.wrap_socket(plain, server_side=True) as tls:
            while data := tls.recv(30_000):
                tls.sendall(data)

    with there.socket() as listener:
        listener.bind(("", 443))
        listener.listen()
        client = here.socket()
        client.settimeout(30)
        client.connect(("10.9.0.2", 443))
        accepted, _ = listener.accept()
    accepted.settimeout(30)
    with there.installed():
        echoing = threading.Thread(target=echo, args=(accepted,))
        echoing.start()
    with here.installed(), trusting.wrap_socket(client, server_hostname="10.9.0.2") as tls:
        writing = threading.Thread(target=tls.sendall, args=(bytes(size),))
        writing.start()
        count = 0
        while count < size:
            count += len(tls.recv(50_000))
        writing.join()
    echoing.join()
    assert count == size
