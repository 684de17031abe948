"""anyio on asyncio, and what asyncio itself has that only a host can show: its other doors, and those that are shut."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
import time
from typing import Any

import anyio
import anyio.to_thread
import pytest
import trustme
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.tls import TLSListener, TLSStream

from estab import Host, Link, Network


async def shout(stream: SocketStream) -> None:
    async with stream:
        try:
            while True:
                await stream.send((await stream.receive()).upper())
        except anyio.EndOfStream:
            pass


def test_anyio_streams_names_and_threads(net: Network, client: Host, server: Host) -> None:
    @server.run
    async def serve() -> None:
        await (await anyio.create_tcp_listener(local_port=7)).serve(shout)

    @client.run
    def call() -> tuple[bytes, Any, str, float]:
        async def main() -> tuple[bytes, Any, str, float]:
            async with await anyio.connect_tcp("server", 7) as stream:
                await stream.send(b"abc")
                text = await stream.receive()
                await anyio.to_thread.run_sync(time.sleep, 600)
                infos = await anyio.getaddrinfo("server", 7, family=socket.AF_INET)
                return text, stream.extra(SocketAttribute.remote_address)[1], infos[0][4][0], anyio.current_time()

        return anyio.run(main)

    net.run()
    text, port, address, now_s = call.result()
    assert (text, port, address) == (b"ABC", 7, "10.0.1.2")
    assert now_s == pytest.approx(600, abs=1)


def test_anyio_notices_a_host_without_power_when_its_scope_ends(net: Network, client: Host, server: Host) -> None:
    @server.run
    async def serve() -> None:
        await (await anyio.create_tcp_listener(local_port=7)).serve(shout)

    net.at(10, server.power_off)

    @client.run
    def call() -> float:
        async def main() -> float:
            async with await anyio.connect_tcp("server", 7) as stream:
                started = anyio.current_time()
                with anyio.move_on_after(3600):
                    await stream.receive()
                return anyio.current_time() - started

        return anyio.run(main)

    net.run()
    assert call.result() == 3600


def test_anyio_speaks_tls(net: Network, client: Host, server: Host, authority: trustme.CA) -> None:
    context, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("server").configure_cert(context)
    authority.configure_trust(trusting)

    @server.run
    async def serve() -> None:
        async def on_caller(stream: TLSStream) -> None:
            async with stream:
                await stream.send((await stream.receive()).upper())

        listener = await anyio.create_tcp_listener(local_port=7)
        await TLSListener(listener, context, standard_compatible=False).serve(on_caller)

    @client.run
    async def call() -> bytes:
        async with await anyio.connect_tcp("server", 7, ssl_context=trusting, tls_standard_compatible=False) as stream:
            await stream.send(b"secret")
            return await stream.receive()

    net.run()
    assert call.result() == b"SECRET"


def test_asyncio_begins_tls_in_the_middle_and_survives_a_cut(
    net: Network, client: Host, server: Host, cable: Link, authority: trustme.CA,
) -> None:
    context, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("server").configure_cert(context)
    authority.configure_trust(trusting)
    net.at(10, cable.cut)
    net.at(20, cable.heal)

    @server.run
    async def serve() -> None:
        async def on_caller(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readline() == b"STARTTLS\n"
            writer.write(b"go\n")
            await writer.start_tls(context)
            writer.write((await reader.readline()).upper())
            await reader.read()
            writer.close()

        async with await asyncio.start_server(on_caller, "", 25) as listening:
            await listening.serve_forever()

    @client.run
    async def call() -> tuple[bytes, str]:
        reader, writer = await asyncio.open_connection("server", 25)
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"go\n"
        await writer.start_tls(trusting, server_hostname="server")
        await asyncio.sleep(12)
        writer.write(b"secret\n")
        text = await reader.readline()
        version = writer.get_extra_info("ssl_object").version()
        writer.close()
        await writer.wait_closed()
        return text, version

    net.run()
    assert call.result() == (b"SECRET\n", "TLSv1.3")
    assert net.now > 20


def test_low_level_calls_of_the_loop(net: Network, client: Host, server: Host) -> None:
    @server.run
    async def serve() -> bytes:
        loop = asyncio.get_running_loop()
        with socket.create_server(("", 7)) as listener:
            listener.setblocking(False)
            connection, _ = await loop.sock_accept(listener)
            with connection:
                await loop.sock_sendall(connection, bytes(200_000))
                return await loop.sock_recv(connection, 10)

    @client.run
    async def call() -> int:
        loop = asyncio.get_running_loop()
        with socket.socket() as connection:
            connection.setblocking(False)
            await loop.sock_connect(connection, ("10.0.1.2", 7))
            buffer, count = bytearray(50_000), 0
            while count < 200_000:
                count += await loop.sock_recv_into(connection, buffer)
            await loop.sock_sendall(connection, b"done")
            return count

    @client.run
    async def ask() -> tuple[Any, Any]:
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo("server", 80, type=socket.SOCK_STREAM)
        return infos[0][4], await loop.getnameinfo(("10.0.1.2", 80))

    net.run()
    assert (serve.result(), call.result()) == (b"done", 200_000)
    assert ask.result() == (("10.0.1.2", 80), ("server", "http"))


def test_what_only_the_operating_system_could_do_says_so(net: Network, client: Host) -> None:
    @client.run
    async def attempt() -> list[str]:
        loop = asyncio.get_running_loop()
        texts = []
        for doing in (
            lambda: asyncio.create_subprocess_exec("true"), lambda: asyncio.create_subprocess_shell("true"),
            lambda: loop.connect_read_pipe(asyncio.Protocol, sys.__stdout__),
            lambda: loop.connect_write_pipe(asyncio.Protocol, sys.__stdout__),
        ):
            with pytest.raises(NotImplementedError) as caught:
                await doing()  # type: ignore[func-returns-value]
            texts.append(str(caught.value))
        return texts

    net.run()
    assert all(" host" in text for text in attempt.result())
