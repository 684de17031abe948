"""Web servers, unmodified: aiohttp.web, uvicorn with a Starlette app; and websockets, asyncio and threads."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import httpx
import pytest
import requests
import trustme
import uvicorn
import websockets.sync.client
import websockets.sync.server
from aiohttp import web
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from estab import Host, Link, Network

# --- aiohttp


def serve_aiohttp() -> None:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=f"hello {request.match_info['name']}")

    async def talk(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(heartbeat=20)
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data.upper())
        return socket

    app = web.Application()
    app.add_routes([web.get("/hello/{name}", hello), web.get("/talk", talk)])
    web.run_app(app, host="0.0.0.0", port=80, print=lambda *words: None)


def test_aiohttp_serves_aiohttp(net: Network, client: Host, server: Host) -> None:
    server.run(serve_aiohttp)

    @client.run
    async def ask() -> list[str]:
        async with aiohttp.ClientSession() as session:
            texts = []
            for name in "abcde":
                async with session.get(f"http://server/hello/{name}") as response:
                    texts.append(await response.text())
            async with session.ws_connect("http://server/talk") as socket:
                await socket.send_str("over a websocket")
                texts.append(await socket.receive_str())
            return texts

    net.run()
    assert ask.result() == [*(f"hello {name}" for name in "abcde"), "OVER A WEBSOCKET"]
    assert server.counters()["TcpPassiveOpens"] == 1


def test_a_heartbeat_of_aiohttp_notices_a_cut_cable(net: Network, client: Host, server: Host, cable: Link) -> None:
    server.run(serve_aiohttp)
    net.at(100, cable.cut)

    @client.run
    async def listen() -> tuple[float, Any]:
        async with aiohttp.ClientSession() as session, session.ws_connect(
            "http://server/talk", heartbeat=30) as socket:
            message = await socket.receive()
            return time.monotonic(), message.type

    net.run(until=4000)
    noticed_s, kind = listen.result()
    assert kind in (aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSED)
    # Pings go out every 30 s after the last thing heard; the answer is waited for half as long.
    assert 115 < noticed_s < 146


# --- uvicorn


async def index(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"hello {request.query_params['name']} from {request.client.host}")  # type: ignore[union-attr]


async def ticks(request: Request) -> StreamingResponse:
    async def stream() -> AsyncIterator[str]:
        for number in range(60):
            yield f"{number}\n"
            await asyncio.sleep(60)

    return StreamingResponse(stream(), media_type="text/plain")


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_text((await socket.receive_text()).upper())
    except WebSocketDisconnect:
        pass


APP = Starlette(routes=[Route("/", index), Route("/ticks", ticks), WebSocketRoute("/echo", echo)])


def serve_uvicorn(**settings: Any) -> None:
    uvicorn.run(APP, host="0.0.0.0", port=80, log_config=None, **settings)


@pytest.mark.parametrize("settings", [{}, {"http": "h11", "loop": "asyncio"}])
def test_uvicorn_serves_a_starlette_app(net: Network, client: Host, server: Host, settings: dict[str, Any]) -> None:
    server.run(lambda: serve_uvicorn(**settings))

    @client.run
    def ask() -> list[str]:
        time.sleep(1)
        with requests.Session() as session:
            return [session.get("http://server/", params={"name": name}).text for name in "abcde"]

    net.run()
    assert ask.result() == [f"hello {name} from 10.0.0.1" for name in "abcde"]
    assert client.counters()["TcpActiveOpens"] == 1


def test_a_stream_of_an_hour(net: Network, client: Host, server: Host) -> None:
    server.run(serve_uvicorn)

    @client.run
    async def listen() -> list[str]:
        async with httpx.AsyncClient(timeout=61) as session, session.stream("GET", "http://server/ticks") as response:
            return [line async for line in response.aiter_lines()]

    net.run()
    assert listen.result() == [str(number) for number in range(60)]
    assert net.now == pytest.approx(3600, abs=15)


def test_a_stream_that_stops_is_noticed_by_the_read_timeout(net: Network, client: Host, server: Host) -> None:
    server.run(serve_uvicorn)
    net.at(100, server.power_off)

    @client.run
    async def listen() -> tuple[float, int]:
        seen = 0
        try:
            async with httpx.AsyncClient(timeout=61) as session, \
                    session.stream("GET", "http://server/ticks") as response:
                async for _ in response.aiter_lines():
                    seen += 1
        except httpx.ReadTimeout:
            return time.monotonic(), seen
        return 0, seen

    net.run()
    noticed_s, seen = listen.result()
    assert seen == 2
    assert noticed_s == pytest.approx(60 + 61, abs=0.3)


# --- websockets


async def shout() -> None:
    async def on_caller(socket: Any) -> None:
        async for message in socket:
            await socket.send(message.upper())

    async with serve(on_caller, "0.0.0.0", 80):
        await asyncio.get_running_loop().create_future()


def shout_in_threads() -> None:
    def on_caller(socket: Any) -> None:
        for message in socket:
            socket.send(message.upper())

    with websockets.sync.server.serve(on_caller, "0.0.0.0", 80) as listening:
        listening.serve_forever()


@pytest.mark.parametrize("serving", [shout, shout_in_threads, serve_uvicorn])
def test_websockets_talk(net: Network, client: Host, server: Host, serving: Any) -> None:
    server.run(serving)

    @client.run
    async def talk() -> list[str]:
        await asyncio.sleep(1)
        texts = []
        async with connect("ws://server/echo") as socket:
            for text in ("one", "two"):
                await socket.send(text)
                texts.append(str(await socket.recv()))
                await asyncio.sleep(300)
        return texts

    @client.run
    def talk_blocking() -> list[str]:
        time.sleep(1)
        with websockets.sync.client.connect("ws://server/echo") as socket:
            socket.send("three")
            return [str(socket.recv(timeout=3600))]

    net.run()
    assert (talk.result(), talk_blocking.result()) == (["ONE", "TWO"], ["THREE"])


@pytest.mark.parametrize("is_async", [False, True])
def test_websockets_notice_a_server_without_power(
    net: Network, client: Host, server: Host, is_async: bool,
) -> None:
    server.run(shout)
    net.at(100, server.power_off)

    async def wait() -> float:
        async with connect("ws://server/") as socket:
            with pytest.raises(websockets.ConnectionClosedError, match="keepalive ping timeout"):
                await socket.recv()
            return time.monotonic()

    def block() -> float:
        with websockets.sync.client.connect("ws://server/") as socket:
            with pytest.raises(websockets.ConnectionClosedError, match="keepalive ping timeout"):
                socket.recv()
            return time.monotonic()

    program = client.run(wait if is_async else block)
    net.run()
    # A ping every 20 s from 80 ms on; the one at 100.08 s is not answered, and 20 s are waited for that;
    # then websockets gives the dead connection ten more to close.
    noticed_s: Any = program.result()
    assert noticed_s == pytest.approx(130.08, abs=0.3)


def test_a_websocket_survives_a_cut_that_is_shorter_than_its_patience(
    net: Network, client: Host, server: Host, cable: Link,
) -> None:
    server.run(shout)
    net.at(30, cable.cut)
    net.at(45, cable.heal)

    @client.run
    async def talk() -> tuple[float, str]:
        async with connect("ws://server/", ping_timeout=60) as socket:
            await asyncio.sleep(35)
            await socket.send("late")
            return time.monotonic(), str(await socket.recv())

    net.run()
    assert talk.result()[1] == "LATE"
    assert net.now < 70


def test_a_websocket_in_tls(net: Network, client: Host, server: Host, authority: trustme.CA) -> None:
    context, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("server").configure_cert(context)
    authority.configure_trust(trusting)

    @server.run
    def serve_tls() -> None:
        def on_caller(socket: Any) -> None:
            for message in socket:
                socket.send(message.upper())

        with websockets.sync.server.serve(on_caller, "0.0.0.0", 443, ssl=context) as listening:
            listening.serve_forever()

    @client.run
    def talk() -> str:
        with websockets.sync.client.connect("wss://server/", ssl=trusting) as socket:
            socket.send("secret")
            return str(socket.recv())

    net.run()
    assert talk.result() == "SECRET"
