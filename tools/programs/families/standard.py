"""Python's own: servers and clients of the standard library."""

from __future__ import annotations

import asyncio
import http.client
import logging
import logging.handlers
import multiprocessing.connection
import multiprocessing.managers
import pickle
import selectors
import socket
import socketserver
import struct
import threading
import urllib.request
import wsgiref.simple_server
import xmlrpc.client
import xmlrpc.server
from typing import Any

from tools.programs.entry import Family, arest, rest
from tools.programs.servers.web import serve_http

_family = Family("Python's standard library")


def ask_http_client() -> list[str]:
    connection = http.client.HTTPConnection("server", 80, timeout=10)
    texts = []
    for number in range(2):
        connection.request("GET", f"/{number}")
        texts.append(connection.getresponse().read().decode())
        if not number:
            rest()
    connection.close()
    return texts


_family.add(
    "http.client, http.server", ask_http_client, ["hello /0", "hello /1"], server=serve_http, package="", ci=True
)


def ask_urllib() -> list[str]:
    texts = [urllib.request.urlopen("http://server/0", timeout=10).read().decode()]
    rest()
    return [*texts, urllib.request.urlopen("http://server/1", timeout=10).read().decode()]


_family.add(
    "urllib.request",
    ask_urllib,
    ["hello /0", "hello /1"],
    server=serve_http,
    package="",
    tried="http.server; a connection for each request",
    ci=True,
)


class _Shout(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line.upper())


class _Threads(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


def serve_lines() -> None:
    with _Threads(("", 7), _Shout) as server:
        server.serve_forever()


def ask_lines() -> list[bytes]:
    with socket.create_connection(("server", 7)) as sock, sock.makefile("rb") as lines:
        sock.sendall(b"one\n")
        answers = [lines.readline()]
        rest()
        sock.sendall(b"two\n")
        return [*answers, lines.readline()]


_family.add(
    "socketserver, socket",
    ask_lines,
    [b"ONE\n", b"TWO\n"],
    server=serve_lines,
    package="",
    tried="TCP with threads; no time-out",
    ci=True,
)


class _ShoutUdp(socketserver.DatagramRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.read().upper())


def serve_datagrams() -> None:
    with socketserver.UDPServer(("", 7), _ShoutUdp) as server:
        server.serve_forever()


def ask_datagrams() -> list[bytes]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        answers = []
        for word in (b"one", b"two"):
            sock.sendto(word, ("server", 7))
            answers.append(sock.recvfrom(100)[0])
            if word == b"one":
                rest()
        return answers


_family.add("socketserver, UDP", ask_datagrams, [b"ONE", b"TWO"], server=serve_datagrams, package="", ci=True)


async def serve_streams() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "0.0.0.0", 7)
    await server.serve_forever()


async def ask_streams() -> list[bytes]:
    reader, writer = await asyncio.open_connection("server", 7)
    answers = []
    for word in (b"one\n", b"two\n"):
        writer.write(word)
        answers.append(await asyncio.wait_for(reader.readline(), 10))
        if word == b"one\n":
            await arest()
    writer.close()
    await writer.wait_closed()
    return answers


_family.add(
    "asyncio streams",
    ask_streams,
    [b"ONE\n", b"TWO\n"],
    server=serve_streams,
    package="",
    tried="`wait_for` of 10 s",
    ci=True,
)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.answers: asyncio.Queue[bytes] = asyncio.Queue()
        self.is_server = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self.is_server:
            self.transport.sendto(data.upper(), addr)
        self.answers.put_nowait(data)


async def serve_asyncio_udp() -> None:
    _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(_Datagrams, ("0.0.0.0", 7))
    protocol.is_server = True
    await asyncio.get_running_loop().create_future()


async def ask_asyncio_udp() -> list[bytes]:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        _Datagrams, remote_addr=("server", 7)
    )
    transport.sendto(b"one")
    answers = [await asyncio.wait_for(protocol.answers.get(), 2)]
    await arest()
    transport.sendto(b"two")
    answers.append(await asyncio.wait_for(protocol.answers.get(), 2))
    transport.close()
    return answers


_family.add("asyncio, UDP", ask_asyncio_udp, [b"ONE", b"TWO"], server=serve_asyncio_udp, package="", ci=True)


def serve_selectors() -> None:
    """A chat: what one says, all hear."""
    listening = socket.create_server(("", 7))
    listening.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(listening, selectors.EVENT_READ)
        others: list[socket.socket] = []
        while True:
            for key, _ in selector.select():
                if key.fileobj is listening:
                    other, _ = listening.accept()
                    selector.register(other, selectors.EVENT_READ)
                    others.append(other)
                else:
                    said = key.fileobj.recv(1000)  # type: ignore[union-attr]
                    for other in others:
                        other.send(said)
                    if not said:
                        selector.unregister(key.fileobj)
                        others.remove(key.fileobj)  # type: ignore[arg-type]


def chat() -> bytes:
    one, two = (socket.create_connection(("server", 7), timeout=30) for _ in range(2))
    with one, two:
        one.sendall(b"good ")
        said = two.recv(100)
        rest()
        one.sendall(b"morning")
        return said + two.recv(100)


_family.add(
    "selectors", chat, b"good morning", server=serve_selectors, package="", tried="a chat server in one thread", ci=True
)


def serve_wsgi() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("content-type", "text/plain")])
        return [b"hello " + environ["PATH_INFO"].encode()]

    class Quiet(wsgiref.simple_server.WSGIRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    with wsgiref.simple_server.make_server("", 80, app, handler_class=Quiet) as server:
        server.serve_forever()


_family.add(
    "wsgiref", ask_urllib, ["hello /0", "hello /1"], server=serve_wsgi, package="", ci=True, tried="urllib.request"
)


def serve_xmlrpc() -> None:
    with xmlrpc.server.SimpleXMLRPCServer(("", 8000), logRequests=False) as server:
        server.register_function(pow)
        server.serve_forever()


def ask_xmlrpc() -> list[Any]:
    with xmlrpc.client.ServerProxy("http://server:8000") as proxy:
        answers = [proxy.pow(2, 10)]
        rest()
        return [*answers, proxy.pow(3, 3)]


_family.add("xmlrpc", ask_xmlrpc, [1024, 27], server=serve_xmlrpc, package="", ci=True)


def serve_multiprocessing() -> None:
    with (
        multiprocessing.connection.Listener(("0.0.0.0", 6000), authkey=b"key") as listener,
        listener.accept() as connection,
    ):
        while True:
            try:
                connection.send(sum(connection.recv()))
            except EOFError:
                return


def ask_multiprocessing() -> list[int]:
    with multiprocessing.connection.Client(("server", 6000), authkey=b"key") as connection:
        connection.send([1, 2])
        answers = [connection.recv()]
        rest()
        connection.send([3, 4])
        return [*answers, connection.recv()]


_family.add(
    "multiprocessing.connection",
    ask_multiprocessing,
    [3, 7],
    server=serve_multiprocessing,
    package="",
    ci=True,
    tried="with a key",
)


class _Manager(multiprocessing.managers.BaseManager):
    pass


def serve_manager() -> None:
    numbers: list[int] = []

    class Manager(_Manager):
        pass

    Manager.register("numbers", callable=lambda: numbers, exposed=("append", "__len__"))
    Manager(("", 6000), b"key").get_server().serve_forever()


def ask_manager() -> int:
    class Manager(_Manager):
        pass

    Manager.register("numbers", exposed=("append", "__len__"))
    manager = Manager(("server", 6000), b"key")
    manager.connect()
    numbers: Any = manager.numbers()  # type: ignore[attr-defined]
    numbers.append(1)
    rest()
    numbers.append(2)
    return int(numbers.__len__())


_family.add(
    "multiprocessing.managers",
    ask_manager,
    2,
    server=serve_manager,
    package="",
    ci=True,
    differs="it sends `id()` of objects",
)


def serve_logs() -> None:
    class Records(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while head := self.rfile.read(4):
                record = pickle.loads(self.rfile.read(struct.unpack(">L", head)[0]))
                texts.append(record["msg"])

    class Texts(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(" ".join(texts).encode())

    texts: list[str] = []
    with _Threads(("", 9020), Records) as server, _Threads(("", 9021), Texts) as telling:
        threading.Thread(target=telling.serve_forever, daemon=True).start()
        server.serve_forever()


def log() -> bytes:
    logger = logging.Logger("shop")
    handler = logging.handlers.SocketHandler("server", 9020)
    logger.addHandler(handler)
    logger.warning("one")
    rest()
    logger.warning("two")
    handler.close()
    with socket.create_connection(("server", 9021)) as sock:
        return sock.recv(100)


_family.add(
    "logging.handlers, TCP",
    log,
    b"one two",
    server=serve_logs,
    package="",
    ci=True,
    differs="records have the number of a thread",
    tried="`SocketHandler`",
)


def serve_syslog() -> None:
    texts = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", 514))
        while True:
            text, caller = sock.recvfrom(1000)
            texts.append(text.partition(b">")[2].rstrip(b"\0"))
            if b"two" in text:
                sock.sendto(b" ".join(texts), (caller[0], 5000))


def log_syslog() -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.bind(("", 5000))
        logger = logging.Logger("shop")
        logger.addHandler(logging.handlers.SysLogHandler(("server", 514)))
        logger.warning("one")
        rest()
        logger.warning("two")
        return sock.recv(100)


_family.add("logging.handlers, syslog", log_syslog, b"one two", server=serve_syslog, package="", ci=True)
