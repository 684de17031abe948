"""Websockets: servers and clients that shout back."""

from __future__ import annotations

import asyncio
from typing import Any

from tools.programs.entry import Family, arest, rest

_family = Family("Websockets")
_RIGHT = ["ONE", "TWO"]


async def serve_websockets() -> None:
    from websockets.asyncio.server import serve

    async def shout(socket: Any) -> None:
        async for text in socket:
            await socket.send(text.upper())

    async with serve(shout, "0.0.0.0", 80) as server:
        await server.serve_forever()


async def ask_websockets() -> list[str]:
    from websockets.asyncio.client import connect

    async with connect("ws://server/") as socket:
        await socket.send("one")
        answers = [str(await socket.recv())]
        await arest()
        await socket.send("two")
        return [*answers, str(await socket.recv())]


_MASKS = "masks are from a generator that was seeded at import"
_family.add(
    "websockets",
    ask_websockets,
    _RIGHT,
    server=serve_websockets,
    ci=True,
    tried="asyncio; pings every 20 s",
    imports="websockets.asyncio.server websockets.asyncio.client",
)


def serve_websockets_sync() -> None:
    from websockets.sync.server import serve

    def shout(socket: Any) -> None:
        for text in socket:
            socket.send(text.upper())

    with serve(shout, "0.0.0.0", 80) as server:
        server.serve_forever()


def ask_websockets_sync() -> list[str]:
    from websockets.sync.client import connect

    with connect("ws://server/") as socket:
        socket.send("one")
        answers = [str(socket.recv())]
        rest()
        socket.send("two")
        return [*answers, str(socket.recv())]


_family.add(
    "websockets, threads",
    ask_websockets_sync,
    _RIGHT,
    server=serve_websockets_sync,
    package="websockets",
    imports="websockets.sync.server websockets.sync.client",
    ci=True,
)


async def ask_aiohttp() -> list[str]:
    import aiohttp

    connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver())
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.ws_connect("http://server/", heartbeat=30) as socket,
    ):
        await socket.send_str("one")
        answers = [await socket.receive_str()]
        await arest()
        await socket.send_str("two")
        return [*answers, await socket.receive_str()]


async def serve_aiohttp() -> None:
    from aiohttp import web

    async def shout(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data.upper())
        return socket

    app = web.Application()
    app.add_routes([web.get("/", shout)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 80).start()
    await asyncio.get_running_loop().create_future()


_family.add(
    "aiohttp, websockets",
    ask_aiohttp,
    _RIGHT,
    server=serve_aiohttp,
    package="aiohttp",
    differs=_MASKS,
    imports="aiohttp aiohttp.web",
    ci=True,
    tried="`heartbeat=30`",
)


def ask_websocket_client() -> list[str]:
    import websocket

    socket = websocket.create_connection("ws://server/")
    socket.send("one")
    answers = [str(socket.recv())]
    rest()
    socket.send("two")
    answers.append(str(socket.recv()))
    socket.close()
    return answers


_family.add(
    "websocket-client",
    ask_websocket_client,
    _RIGHT,
    server=serve_websockets_sync,
    ci=True,
    imports="websocket websockets.sync.server",
    tried="against websockets; no time-out",
)


def run_websocket_app() -> list[str]:
    import threading

    import websocket

    answers: list[str] = []

    def talk(app: Any) -> None:
        def go_on() -> None:
            app.send("one")
            rest()
            app.send("two")

        threading.Thread(target=go_on, daemon=True).start()

    def on_message(app: Any, text: str) -> None:
        answers.append(text)
        if len(answers) == 2:
            app.close()

    errors: list[BaseException] = []
    app = websocket.WebSocketApp(
        "ws://server/", on_open=talk, on_message=on_message, on_error=lambda app, error: errors.append(error)
    )
    app.run_forever(ping_interval=30, ping_timeout=10)
    if errors:
        raise errors[0]
    return answers


_family.add(
    "websocket-client, WebSocketApp",
    run_websocket_app,
    _RIGHT,
    server=serve_websockets_sync,
    package="websocket-client",
    imports="websocket websockets.sync.server",
    tried="`ping_interval=30`",
)


def serve_socketio() -> None:
    import socketio
    import uvicorn

    server = socketio.AsyncServer(async_mode="asgi")

    @server.event
    async def shout(sid: str, text: str) -> str:
        return text.upper()

    uvicorn.run(socketio.ASGIApp(server), host="0.0.0.0", port=80, log_config=None)


def ask_socketio() -> list[str]:
    import socketio

    with socketio.SimpleClient() as client:
        client.connect("http://server")
        answers = [client.call("shout", "one")]
        rest()
        return [*answers, client.call("shout", "two")]


_family.add(
    "python-socketio",
    ask_socketio,
    _RIGHT,
    server=serve_socketio,
    imports="socketio uvicorn",
    tried="by uvicorn; polling, then a websocket; `call` has 60 s",
    differs="session ids, from `secrets` of another order",
)


async def ask_socketio_async() -> list[str]:
    import socketio

    client = socketio.AsyncClient()
    await client.connect("http://server", transports=["polling"])
    answers = [await client.call("shout", "one")]
    await arest()
    answers.append(await client.call("shout", "two"))
    await client.disconnect()
    return answers


_family.add(
    "python-socketio, polling",
    ask_socketio_async,
    _RIGHT,
    server=serve_socketio,
    package="python-socketio",
    imports="socketio uvicorn",
    tried="`AsyncClient` by long polling",
)


def serve_autobahn() -> None:
    from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
    from twisted.internet import reactor

    class Shout(WebSocketServerProtocol):  # type: ignore[misc]
        def onMessage(self, payload: bytes, is_binary: bool) -> None:
            self.sendMessage(payload.upper(), is_binary)

    factory = WebSocketServerFactory("ws://server:80")
    factory.protocol = Shout
    reactor.listenTCP(80, factory)  # type: ignore[attr-defined]
    reactor.run()  # type: ignore[attr-defined]


_family.add(
    "autobahn",
    ask_websockets_sync,
    _RIGHT,
    server=serve_autobahn,
    fresh=("twisted", "autobahn", "txaio"),
    tried="a server on Twisted, asked by websockets",
)


def serve_simple_websocket() -> None:
    import flask
    import simple_websocket

    app = flask.Flask("shop")

    @app.route("/", websocket=True)
    def shout() -> str:
        socket = simple_websocket.Server.accept(flask.request.environ)
        try:
            while True:
                socket.send(socket.receive().upper())
        except simple_websocket.ConnectionClosed:
            return ""

    app.run("0.0.0.0", 80)


def ask_simple_websocket() -> list[str]:
    import simple_websocket

    socket = simple_websocket.Client("ws://server/", ping_interval=20)
    socket.send("one")
    answers = [socket.receive()]
    rest()
    socket.send("two")
    answers.append(socket.receive())
    socket.close()
    return answers


_family.add(
    "simple-websocket",
    ask_simple_websocket,
    _RIGHT,
    server=serve_simple_websocket,
    imports="flask simple_websocket",
    tried="both sides, in Flask; `ping_interval=20`",
)


def serve_tornado() -> None:
    async def main() -> None:
        import tornado.web
        import tornado.websocket

        class Shout(tornado.websocket.WebSocketHandler):
            def on_message(self, text: Any) -> None:
                self.write_message(text.upper())

        tornado.web.Application([("/", Shout)], websocket_ping_interval=10).listen(80)
        await asyncio.get_running_loop().create_future()

    asyncio.run(main())


async def ask_tornado() -> list[Any]:
    from tornado.websocket import websocket_connect

    socket = await websocket_connect("ws://server/", ping_interval=10, ping_timeout=5)
    await socket.write_message("one")
    answers = [await socket.read_message()]
    await arest()
    await socket.write_message("two")
    answers.append(await socket.read_message())
    socket.close()
    return answers


_family.add(
    "tornado, websockets",
    ask_tornado,
    _RIGHT,
    server=serve_tornado,
    package="tornado",
    ci=True,
    imports="tornado.web tornado.websocket",
    tried="`ping_interval=10`, `ping_timeout=5`",
)
