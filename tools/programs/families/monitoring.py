"""Clients of services: monitoring and chat; they stand in the table after search and clouds."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

from tools.programs.entry import Family, arest, rest, twice
from tools.programs.servers.web import serve_json

_family = Family("Services: search, clouds, monitoring, chat")


# --- monitoring


def serve_prometheus() -> None:
    import prometheus_client

    registry = prometheus_client.CollectorRegistry()
    prometheus_client.Counter("orders", "orders", registry=registry).inc(7)
    prometheus_client.start_http_server(9100, registry=registry)
    threading.Event().wait()


def scrape() -> list[bool]:
    import urllib.request

    return twice(
        lambda: b"orders_total 7.0" in urllib.request.urlopen("http://server:9100/metrics", timeout=10).read()
    )


_family.add(
    "prometheus-client",
    scrape,
    [True, True],
    server=serve_prometheus,
    imports="prometheus_client",
    ci=True,
    tried="its server in a thread, scraped by urllib",
)


def serve_statsd() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", 8125))
        found = []
        while True:
            text, caller = sock.recvfrom(1000)
            found.append(text)
            if len(found) == 2:
                sock.sendto(b" ".join(found), (caller[0], 5000))


def send_statsd() -> bytes:
    import statsd

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", 5000))
        sock.settimeout(10)
        client = statsd.StatsClient("server", 8125, ipv6=False)
        client.incr("orders")
        rest()
        client.incr("orders")
        return sock.recv(100)


_family.add("statsd", send_statsd, b"orders:1|c orders:1|c", server=serve_statsd, imports="statsd", tried="UDP")


def ask_sentry() -> list[bool]:
    import sys

    sys.modules.setdefault("eventlet", None)  # type: ignore[arg-type]  # it asks an eventlet that is installed, and that may be broken
    import sentry_sdk

    sentry_sdk.init("http://key@server:9000/1", default_integrations=False, shutdown_timeout=5)
    sentry_sdk.capture_message("one")
    sentry_sdk.flush(10)
    rest()
    sentry_sdk.capture_message("two")
    sentry_sdk.flush(10)
    import urllib.request

    return [urllib.request.urlopen("http://server:9000/count", timeout=10).read() == b"2"]


def serve_sentry() -> None:
    seen = []

    def answer(method: str, path: str, headers: Any, body: bytes) -> Any:
        if path == "/count":
            return b"%d" % len(seen)
        seen.append(body)
        return {"id": "1"}

    serve_json(answer, 9000)()


_family.add(
    "sentry-sdk",
    ask_sentry,
    [True],
    server=serve_sentry,
    fresh=("sentry_sdk",),
    tried="its worker's thread",
    differs="numbers of threads, and what it knows of the process",
)


def ask_opentelemetry() -> list[Any]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    exporter = OTLPSpanExporter("http://server:4318/v1/traces", timeout=10)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("shop")

    def span() -> bool:
        with tracer.start_as_current_span("order"):
            pass
        return provider.force_flush(5000)

    answers = twice(span)
    import urllib.request

    return [*answers, urllib.request.urlopen("http://server:4318/count", timeout=10).read()]


def serve_otlp() -> None:
    seen = []

    def answer(method: str, path: str, headers: Any, body: bytes) -> Any:
        if path == "/count":
            return b"%d" % len(seen)
        seen.append(body)
        return 200, {"Content-Type": "application/x-protobuf"}, b""

    serve_json(answer, 4318)()


_family.add(
    "opentelemetry",
    ask_opentelemetry,
    [True, True, b"2"],
    server=serve_otlp,
    package="opentelemetry-exporter-otlp-proto-http",
    tried="OTLP over HTTP, `timeout=10`",
    imports="opentelemetry.exporter.otlp.proto.http.trace_exporter opentelemetry.sdk.trace",
    differs="ids of spans, from `random` at import",
)


def ask_fluent() -> list[bool]:
    from fluent import sender

    logger = sender.FluentSender("shop", host="server", port=24224, timeout=5)
    answers = twice(lambda: logger.emit("order", {"number": 7}))
    logger.close()
    with socket.create_connection(("server", 24225), timeout=10) as sock:
        return [*answers, int(sock.recv(10)) > 0]


def serve_fluent() -> None:
    import socketserver

    from tools.programs.families.mail_files import _Threads

    seen: list[bytes] = []

    class Take(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while part := self.request.recv(1000):
                seen.append(part)

    class Tell(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"%d" % sum(map(len, seen)))

    with _Threads(("", 24224), Take) as server, _Threads(("", 24225), Tell) as telling:
        threading.Thread(target=telling.serve_forever, daemon=True).start()
        server.serve_forever()


_family.add(
    "fluent-logger", ask_fluent, [True, True, True], server=serve_fluent, imports="fluent.sender", tried="`timeout=5`"
)


# --- chat


def ask_slack() -> list[bool]:
    from slack_sdk import WebClient

    client = WebClient("t", base_url="http://server/", timeout=5)
    return twice(lambda: client.api_test()["ok"])


_family.add(
    "slack-sdk",
    ask_slack,
    [True, True],
    imports="slack_sdk",
    tried="`timeout=5`",
    server=serve_json(lambda method, path, headers, body: {"ok": True}, 80),
)


async def ask_telegram() -> list[int]:
    import telegram

    async with telegram.Bot("1:t", base_url="http://server/bot") as bot:
        answers = [(await bot.get_me()).id]
        await arest()
        return [*answers, (await bot.get_me()).id]


_family.add(
    "python-telegram-bot",
    ask_telegram,
    [7, 7],
    imports="telegram",
    tried="over httpx, 5 s by default",
    server=serve_json(
        lambda method, path, headers, body: {
            "ok": True,
            "result": {"id": 7, "is_bot": True, "first_name": "shop", "username": "shop"},
        },
        80,
    ),
)


def serve_irc() -> None:
    from irc.server import IRCClient, IRCServer

    server = IRCServer(("0.0.0.0", 6667), IRCClient)
    server.daemon_threads = True
    server.serve_forever()


def ask_irc() -> list[str]:
    import irc.client

    reactor = irc.client.Reactor()
    said: list[str] = []
    ends = []
    for name in ("one", "two"):
        end = reactor.server().connect("server", 6667, name)
        end.set_rate_limit(100)
        ends.append(end)
    reactor.add_global_handler("pubmsg", lambda connection, event: said.append(event.arguments[0]))
    reactor.add_global_handler("disconnect", lambda connection, event: said.append("disconnected"))
    for end in ends:
        end.join("#shop")
    for number in range(2):
        for _ in range(10):
            reactor.process_once(0.2)
        ends[0].privmsg("#shop", f"hello {number}")
        until = time.monotonic() + 60
        while len(said) <= number:
            reactor.process_once(5)
            if time.monotonic() > until:
                raise TimeoutError("nothing was said for 60 s")
        if not number:
            rest()
    return said


_family.add(
    "irc", ask_irc, ["hello 0", "hello 1"], server=serve_irc, imports="irc.client irc.server", tried="both sides"
)
