"""Libraries that connect and listen by the loop's methods, in the user's own loop, on a stack and beside it."""

from __future__ import annotations

import asyncio
import importlib
import socket
import urllib.request
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import aiohttp
import httpx
import pytest
import uvicorn
from aiohttp import web

import estab
from tests.kit.two_stacks import LEFT, RIGHT, joined

URL = f"http://{RIGHT}"


async def hello(request: web.Request) -> web.Response:
    """Say who asks, and what."""
    return web.Response(text=f"{request.remote} says {await request.text()}")


async def serve(stack: estab.Stack) -> web.AppRunner:
    """Serve with aiohttp."""
    app = web.Application()
    app.router.add_route("*", "/", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    with stack.installed():
        await web.TCPSite(runner, RIGHT, 80).start()
    return runner


async def by_httpx(left: estab.Stack, right: estab.Stack) -> None:
    with left.installed():
        async with httpx.AsyncClient() as client:
            for _ in range(3):
                assert (await client.post(URL, content=b"hi")).text == f"{LEFT} says hi"
            assert [row.state for row in left.sockets()] == ["ESTAB"]  # one connection for three requests


async def by_aiohttp(left: estab.Stack, right: estab.Stack) -> None:
    with left.installed():
        async with aiohttp.ClientSession() as session:
            for _ in range(3):
                async with session.post(URL, data=b"hi") as answer:
                    assert await answer.text() == f"{LEFT} says hi"


async def by_urllib_in_a_thread(left: estab.Stack, right: estab.Stack) -> None:
    def ask() -> bytes:
        with urllib.request.urlopen(URL, b"hi", timeout=20) as answer:
            data: bytes = answer.read()
        return data

    with left.installed():
        assert await asyncio.to_thread(ask) == f"{LEFT} says hi".encode()


async def by_sockets_and_add_writer(left: estab.Stack, right: estab.Stack) -> None:
    loop = asyncio.get_running_loop()
    with left.installed(), socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, (RIGHT, 80))
        writable = loop.create_future()
        loop.add_writer(sock, writable.set_result, None)
        await writable
        assert loop.remove_writer(sock)
        assert not loop.remove_writer(sock)
        await loop.sock_sendall(sock, b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi")
        got = b""
        while data := await loop.sock_recv(sock, 1000):
            got += data
        assert got.endswith(f"{LEFT} says hi".encode())


CLIENTS = (by_httpx, by_aiohttp, by_urllib_in_a_thread, by_sockets_and_add_writer)


def run_in(module: str, main: Coroutine[Any, Any, None]) -> None:
    """Run in a loop of asyncio's or of uvloop's."""
    importlib.import_module(module).run(main)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_library_uses_the_stack_in_the_users_own_loop(
        client: Callable[[estab.Stack, estab.Stack], Awaitable[None]], loop: str) -> None:
    async def main() -> None:
        left, right = joined()
        async with left, right:
            runner = await serve(right)
            await asyncio.wait_for(client(left, right), 30)  # type: ignore[arg-type]
            await runner.cleanup()

    run_in(loop, main())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_task_outside_of_the_block_uses_the_systems_network_meanwhile(loop: str) -> None:
    async def main() -> None:
        left, right = joined()
        async with left, right:
            runner = await serve(right)

            async def outside() -> str:
                async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                    writer.write(b"from the system")
                    writer.close()

                server = await asyncio.start_server(greet, "127.0.0.1", 0)
                host, port = server.sockets[0].getsockname()
                reader, writer = await asyncio.open_connection(host, port)
                text = (await reader.read()).decode()
                writer.close()
                server.close()
                return text

            apart = asyncio.create_task(outside())
            with left.installed():
                async with httpx.AsyncClient() as client:
                    inside, text = await asyncio.gather(client.post(URL, content=b"hi"), apart)
            assert (inside.text, text) == (f"{LEFT} says hi", "from the system")
            await runner.cleanup()

    run_in(loop, main())


def test_the_loop_is_as_it_was_after_the_block() -> None:
    async def main() -> None:
        left, right = joined()
        loop = asyncio.get_running_loop()
        before = dict(vars(loop))
        async with left, right:
            with left.installed():
                assert "create_connection" in vars(loop)
            assert vars(loop).keys() == before.keys()

    asyncio.run(main())


def test_uvicorn_serves_by_a_stack_in_the_users_own_loop() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"asgi"})

    async def main() -> None:
        left, right = joined()
        async with left, right:
            server = uvicorn.Server(uvicorn.Config(app, RIGHT, 80, lifespan="off", log_level="warning"))
            with right.installed():
                serving = asyncio.create_task(server.serve())
                while not server.started:
                    await asyncio.sleep(0)
                reader, writer = await left.open_connection(RIGHT, 80)
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                assert (await reader.read()).endswith(b"asgi")
                writer.close()
                server.should_exit = True
                await serving

    asyncio.run(main())
