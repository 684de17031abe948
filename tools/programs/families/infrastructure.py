"""Names, time, proxies, schedulers, tests: what programs stand on."""

from __future__ import annotations

import asyncio
import datetime
import socket
import struct
import threading
import time
from typing import Any

from tools.programs.entry import Family, arest, rest
from tools.programs.families.standard import ask_urllib, serve_streams
from tools.programs.servers.web import serve_http

_family = Family("Names, time, proxies, schedulers, tests")


# --- names and time


def serve_dnslib() -> None:
    from dnslib import RR
    from dnslib.server import BaseResolver, DNSLogger, DNSServer

    class Resolver(BaseResolver):  # type: ignore[misc]
        def resolve(self, request: Any, handler: Any) -> Any:
            answer = request.reply()
            answer.add_answer(*RR.fromZone(f"{request.q.qname} 60 A 10.0.0.7"))
            return answer

    for tcp in (False, True):
        server = DNSServer(Resolver(), port=53, address="0.0.0.0", tcp=tcp, logger=DNSLogger("-request,-reply"))
        server.start_thread()
    threading.Event().wait()


def ask_dnspython() -> list[str]:
    import dns.resolver

    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.lifetime = ["10.0.0.2"], 10

    def ask(name: str) -> str:
        return str(resolver.resolve(name, "A")[0])

    answers = [ask("till.shop.")]
    rest()
    return [*answers, ask("door.shop.")]


_family.add(
    "dnspython, dnslib",
    ask_dnspython,
    ["10.0.0.7"] * 2,
    server=serve_dnslib,
    package="dnspython",
    imports="dns.resolver dnslib.server",
    tried="UDP, `lifetime=10`",
    differs="query ids, from `SystemRandom`",
    ci=True,
)


async def ask_dnspython_async() -> list[str]:
    import dns.asyncresolver

    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.lifetime = ["10.0.0.2"], 10
    answers = [str((await resolver.resolve("till.shop.", "A", tcp=True))[0])]
    await arest()
    return [*answers, str((await resolver.resolve("door.shop.", "A", tcp=True))[0])]


_family.add(
    "dnspython, asyncio",
    ask_dnspython_async,
    ["10.0.0.7"] * 2,
    server=serve_dnslib,
    package="dnspython",
    imports="dns.asyncresolver dnslib.server",
    tried="TCP, `lifetime=10`",
    differs="query ids, from `SystemRandom`",
)


async def ask_aiodns() -> Any:
    import aiodns

    return await aiodns.DNSResolver().query("server", "A")


_family.add(
    "aiodns",
    ask_aiodns,
    None,
    imports="aiodns",
    is_refused=True,
    ci=True,
    tried="pycares, in C; aiohttp's use of it works",
)


def serve_ntp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", 123))
        while True:
            asked, caller = sock.recvfrom(100)
            now = time.time() + 2208988800 + 5  # five seconds ahead
            stamp = struct.pack("!II", int(now), int(now % 1 * 2**32))
            sock.sendto(
                struct.pack("!BBbb11I", 0x24, 1, 0, -20, 0, 0, 0x47505300, 0, 0, 0, 0, 0, 0, 0, 0)[:24]
                + asked[40:48]
                + stamp
                + stamp,
                caller,
            )


def ask_ntp() -> list[float]:
    import ntplib

    client = ntplib.NTPClient()
    offsets = [round(client.request("server", version=3).offset, 2)]
    rest()
    return [*offsets, round(client.request("server", version=3).offset, 2)]


_family.add("ntplib", ask_ntp, [5.0, 5.0], server=serve_ntp, imports="ntplib", tried="a server 5 s ahead", ci=True)


# --- proxies


def serve_socks() -> None:
    async def main() -> None:
        async def pipe(reader: Any, writer: Any) -> None:
            while data := await reader.read(4096):
                writer.write(data)
            writer.close()

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readexactly((await reader.readexactly(2))[1])
                writer.write(b"\5\0")
                _, _, _, kind = await reader.readexactly(4)
                host = (
                    (await reader.readexactly((await reader.readexactly(1))[0])).decode()
                    if kind == 3
                    else (socket.inet_ntoa(await reader.readexactly(4)))
                )
                port = int.from_bytes(await reader.readexactly(2), "big")
                upstream = await asyncio.open_connection(host, port)
                writer.write(b"\5\0\0\1\0\0\0\0\0\0")
                await asyncio.gather(pipe(reader, upstream[1]), pipe(upstream[0], writer), return_exceptions=True)
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        await asyncio.start_server(talk, "0.0.0.0", 1080)
        await asyncio.to_thread(serve_http)

    asyncio.run(main())


def ask_pysocks() -> list[str]:
    import requests

    with requests.Session() as session:
        session.proxies = {"http": "socks5h://server:1080"}
        answers = [session.get("http://server/0", timeout=5).text]
        rest()
        return [*answers, session.get("http://server/1", timeout=5).text]


_RIGHT = ["hello /0", "hello /1"]
_family.add(
    "PySocks",
    ask_pysocks,
    _RIGHT,
    server=serve_socks,
    imports="socks requests",
    tried="requests through SOCKS5",
    ci=True,
)


async def ask_python_socks() -> list[bytes]:
    from python_socks.async_.asyncio import Proxy

    answers = []
    for number in range(2):
        sock = await Proxy.from_url("socks5://server:1080", rdns=True).connect("server", 80, timeout=10)
        reader, writer = await asyncio.open_connection(sock=sock)
        writer.write(b"GET /%d HTTP/1.0\r\n\r\n" % number)
        answers.append((await asyncio.wait_for(reader.read(), 10)).rpartition(b"\r\n")[2])
        writer.close()
        if not number:
            await arest()
    return answers


_family.add(
    "python-socks",
    ask_python_socks,
    [b"hello /0", b"hello /1"],
    server=serve_socks,
    imports="python_socks.async_.asyncio",
    tried="asyncio, `timeout=10`",
)


async def serve_pproxy() -> None:
    import pproxy

    await pproxy.Server("http+socks5://0.0.0.0:8080").start_server({"rserver": [], "verbose": lambda text: None})
    await asyncio.to_thread(serve_http)


def ask_through_proxy() -> list[str]:
    import requests

    with requests.Session() as session:
        session.proxies = {"http": "http://server:8080"}
        answers = [session.get("http://server/0", timeout=5).text]
        rest()
        return [*answers, session.get("http://server/1", timeout=5).text]


_family.add(
    "pproxy", ask_through_proxy, _RIGHT, server=serve_pproxy, imports="pproxy requests", tried="HTTP, asked by requests"
)


def serve_proxy_py() -> None:
    import proxy

    threading.Thread(target=serve_http, daemon=True).start()
    with proxy.Proxy(
        [
            "--hostname",
            "0.0.0.0",
            "--port",
            "8080",
            "--threadless",
            "--num-workers",
            "1",
            "--num-acceptors",
            "1",
            "--local-executor",
            "0",
        ]
    ):
        threading.Event().wait()


_family.add(
    "proxy.py",
    ask_through_proxy,
    _RIGHT,
    server=serve_proxy_py,
    imports="proxy requests",
    is_refused=True,
    tried="acceptors that are processes",
)


# --- schedulers


def run_apscheduler() -> list[int]:
    """A job each minute, and one by the calendar, that call a server."""
    from apscheduler.schedulers.background import BackgroundScheduler

    scheduler = BackgroundScheduler(timezone=datetime.UTC)
    seen: list[str] = []
    import urllib.request

    def call(path: str) -> None:
        seen.append(urllib.request.urlopen(f"http://server/{path}", timeout=10).read().decode())

    scheduler.add_job(call, "interval", minutes=1, args=["minute"])
    scheduler.add_job(call, "cron", hour=1, args=["one"])
    scheduler.start()
    time.sleep(2 * 3600)
    scheduler.shutdown()
    return [seen.count("hello /minute"), seen.count("hello /one")]


_family.add(
    "APScheduler",
    run_apscheduler,
    [119, 1],
    server=serve_http,
    imports="apscheduler.schedulers.background",
    ci=True,
    tried="two hours: a job each minute, and one at 01:00",
)


def run_schedule() -> int:
    import urllib.request

    import schedule

    seen: list[bytes] = []
    jobs = schedule.Scheduler()
    jobs.every(10).minutes.do(lambda: seen.append(urllib.request.urlopen("http://server/0", timeout=10).read()))
    jobs.every().day.at("01:30").do(lambda: seen.append(b"at half past one"))
    until = time.monotonic() + 2 * 3600
    while time.monotonic() < until:
        jobs.run_pending()
        time.sleep(1)
    return len(seen)


_family.add(
    "schedule",
    run_schedule,
    12,
    server=serve_http,
    imports="schedule",
    ci=True,
    tried="two hours: every ten minutes, and at 01:30",
)


# --- tests


def serve_httpserver() -> None:
    from pytest_httpserver import HTTPServer

    server = HTTPServer("0.0.0.0", 80)
    server.expect_request("/0").respond_with_data("hello /0")
    server.expect_request("/1").respond_with_data("hello /1")
    server.start()
    threading.Event().wait()


_family.add("pytest-httpserver", ask_urllib, _RIGHT, server=serve_httpserver, imports="pytest_httpserver")


def run_locust() -> Any:
    import locust.env

    class Shopper(locust.HttpUser):
        host = "http://server"

    runner = locust.env.Environment(user_classes=[Shopper]).create_local_runner()
    return runner.start(1, 1)


_family.add("locust", run_locust, None, server=serve_http, is_refused=True, tried="gevent patches the library")


async def ask_anyio() -> list[bytes]:
    import anyio

    answers = []
    async with await anyio.connect_tcp("server", 7) as stream:
        for word in (b"one\n", b"two\n"):
            await stream.send(word)
            with anyio.fail_after(10):
                answers.append(await stream.receive())
            if word == b"one\n":
                await arest()
    return answers


_family.add(
    "anyio", ask_anyio, [b"ONE\n", b"TWO\n"], server=serve_streams, imports="anyio", ci=True, tried="on asyncio"
)


def ask_trio() -> Any:
    import trio

    async def main() -> bytes:
        stream = await trio.open_tcp_stream("server", 7)
        await stream.send_all(b"one\n")
        return bytes(await stream.receive_some())

    return trio.run(main)


_family.add(
    "trio", ask_trio, b"ONE\n", server=serve_streams, imports="trio", is_refused=True, tried="its sockets", ci=True
)


def serve_tls() -> None:
    import ssl

    import trustme

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("server").configure_cert(context)
    _certificate.append(authority.cert_pem.bytes())

    async def main() -> None:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                writer.write(line.upper())
            writer.close()

        server = await asyncio.start_server(talk, "0.0.0.0", 443, ssl=context)
        await server.serve_forever()

    asyncio.run(main())


_certificate: list[bytes] = []


def ask_tls() -> list[bytes]:
    import ssl

    context = ssl.create_default_context(cadata=_certificate[-1].decode())
    with context.wrap_socket(socket.create_connection(("server", 443), timeout=10), server_hostname="server") as sock:
        answers = []
        for word in (b"one\n", b"two\n"):
            sock.sendall(word)
            answers.append(sock.recv(100))
            if word == b"one\n":
                rest()
        return answers


_family.add(
    "ssl",
    ask_tls,
    [b"ONE\n", b"TWO\n"],
    server=serve_tls,
    package="",
    imports="trustme",
    ci=True,
    start=5,
    tried="blocking and asyncio, `timeout=10`",
    differs="keys are OpenSSL's; a signature's size differs by a byte or two",
)


async def serve_quic() -> None:
    import tempfile

    import trustme
    from aioquic.asyncio import serve
    from aioquic.quic.configuration import QuicConfiguration

    authority = trustme.CA()
    made = authority.issue_cert("server")
    _certificate.append(authority.cert_pem.bytes())
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["shout"])
    with (
        made.private_key_and_cert_chain_pem.tempfile(tempfile.gettempdir()) as path,
        made.private_key_pem.tempfile(tempfile.gettempdir()) as key,
    ):
        configuration.load_cert_chain(path, key)

    def on_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def shout() -> None:
            writer.write((await reader.read()).upper())
            writer.write_eof()

        tasks.append(asyncio.ensure_future(shout()))

    tasks: list[Any] = []
    await serve("0.0.0.0", 443, configuration=configuration, stream_handler=on_stream)
    await asyncio.get_running_loop().create_future()


async def ask_quic() -> list[bytes]:
    from aioquic.asyncio import connect
    from aioquic.quic.configuration import QuicConfiguration

    configuration = QuicConfiguration(alpn_protocols=["shout"], idle_timeout=30)
    configuration.load_verify_locations(cadata=_certificate[-1])
    async with connect("server", 443, configuration=configuration) as client:
        answers = []
        for word in (b"one", b"two"):
            reader, writer = await client.create_stream()
            writer.write(word)
            writer.write_eof()
            answers.append(await reader.read())
            if word == b"one":
                await arest()
        return answers


_family.add(
    "aioquic",
    ask_quic,
    [b"ONE", b"TWO"],
    server=serve_quic,
    imports="aioquic.asyncio trustme",
    start=5,
    tried="QUIC over UDP, `idle_timeout=30`",
    differs="keys are OpenSSL's",
)


def serve_radius() -> None:
    import io

    from pyrad import dictionary, packet, server

    known = dictionary.Dictionary(io.StringIO("ATTRIBUTE User-Name 1 string\nATTRIBUTE User-Password 2 string\n"))

    class Radius(server.Server):  # type: ignore[misc]
        def HandleAuthPacket(self, pkt: Any) -> None:
            reply = self.CreateReplyPacket(pkt)
            reply.code = packet.AccessAccept
            self.SendReplyPacket(pkt.fd, reply)

    made = Radius(dict=known)
    made.hosts["10.0.0.1"] = server.RemoteHost("10.0.0.1", b"secret", "client")
    made.BindToAddress("0.0.0.0")
    made.Run()


def ask_radius() -> list[int]:
    import io

    from pyrad import client, dictionary, packet

    known = dictionary.Dictionary(io.StringIO("ATTRIBUTE User-Name 1 string\nATTRIBUTE User-Password 2 string\n"))
    made = client.Client("10.0.0.2", secret=b"secret", dict=known, timeout=2, retries=2)

    def ask() -> int:
        asked = made.CreateAuthPacket(code=packet.AccessRequest, User_Name="a")
        asked["User-Password"] = asked.PwCrypt("p")
        return int(made.SendPacket(asked).code)

    answers = [ask()]
    rest()
    return [*answers, ask()]


_family.add(
    "pyrad",
    ask_radius,
    [2, 2],
    server=serve_radius,
    imports="pyrad.server pyrad.client",
    tried="RADIUS, both sides",
    differs="numbers from `SystemRandom`",
)


async def serve_kademlia() -> None:
    from kademlia.network import Server

    node = Server()
    await node.listen(8468)
    await asyncio.get_running_loop().create_future()


async def ask_kademlia() -> list[Any]:
    from kademlia.network import Server

    node = Server()
    await node.listen(8468)
    await node.bootstrap([("10.0.0.2", 8468)])
    await node.set("count", 7)
    answers = [await node.get("count")]
    await arest()
    await node.set("count", 8)
    answers.append(await node.get("count"))
    node.stop()
    return answers


_family.add(
    "kademlia",
    ask_kademlia,
    [7, 8],
    server=serve_kademlia,
    imports="kademlia.network",
    tried="a distributed hash table",
)
