"""Channels over TLS: what the library has read ahead is not waited for, and both sides may be held up at once."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from pathlib import Path

import pytest

from estab.messages import AsyncioChannel, Channel, Delimited, EndOfStreamError, Heartbeat, LengthPrefixed

CERTIFICATE = Path(__file__).with_name("localhost.pem")
"""A key and a certificate for localhost, made for these tests; good until 2126."""


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(CERTIFICATE)
    return server, ssl.create_default_context(cafile=str(CERTIFICATE))


def tls_pair() -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    server, client = contexts()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    done: list[ssl.SSLSocket] = []
    thread = threading.Thread(target=lambda: done.append(server.wrap_socket(far, server_side=True)), daemon=True)
    thread.start()
    near_tls = client.wrap_socket(near, server_hostname="localhost")
    thread.join(5)
    return near_tls, done[0]


def test_messages_go_over_tls_and_what_was_decrypted_ahead_is_not_waited_for() -> None:
    near_sock, far_sock = tls_pair()
    with (
        Channel(near_sock, LengthPrefixed(), heartbeat=Heartbeat("5ms", "5s")) as near,
        Channel(far_sock, LengthPrefixed(), heartbeat=Heartbeat("5ms", "5s")) as far,
    ):
        messages = [b"m" * size for size in (0, 1, 16_000, 16_384, 17_000, 300_000)]

        def send() -> None:
            for message in messages:
                near.send(message)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        assert [far.receive("5s") for _ in messages] == messages
        sender.join(5)
        with pytest.raises(TimeoutError):
            far.receive("12ms")  # pings and pongs go under it
        far.send(b"back")
        assert near.receive("5s") == b"back"


def test_the_end_of_a_tls_stream_ends_the_channel() -> None:
    near_sock, far_sock = tls_pair()
    with Channel(far_sock, LengthPrefixed()) as far:
        far_thread = threading.Thread(target=lambda: far.send(b"last"), daemon=True)
        far_thread.start()
        far_thread.join(5)
    with Channel(near_sock, LengthPrefixed()) as near:
        assert near.receive("5s") == b"last"
        with pytest.raises(EndOfStreamError):
            near.receive("5s")


def test_asyncio_streams_over_tls() -> None:
    async def test() -> None:
        server_context, client_context = contexts()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async with AsyncioChannel(reader, writer, Delimited(b"\n", max_frame=1 << 20)) as channel:
                async for message in channel:
                    await channel.send(message)

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context)
        async with server:
            reader, writer = await asyncio.open_connection(
                *server.sockets[0].getsockname(), ssl=client_context, server_hostname="localhost"
            )
            async with AsyncioChannel(reader, writer, Delimited(b"\n", max_frame=1 << 20)) as channel:
                for message in (b"hello", b"x" * 500_000):
                    await channel.send(message)
                    assert await channel.receive("5s") == message
                assert channel.facts().state == "ESTABLISHED"

    asyncio.run(asyncio.wait_for(test(), 10))
