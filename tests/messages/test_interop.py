"""Our frames, other people's code at the other end: pg8000, kafka-python, grpclib, protobuf, cobs, redis, smtplib."""

from __future__ import annotations

import asyncio
import io
import smtplib
import socket
import struct
import threading
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pg8000.exceptions
import pg8000.native
import pytest
import redis
from cobs import cobs
from google.protobuf import proto
from google.protobuf.wrappers_pb2 import BytesValue
from grpclib.encoding.proto import ProtoCodec
from grpclib.stream import recv_message, send_message
from hypothesis import given
from hypothesis import strategies as st

from estab.messages import (
    COBS,
    AsyncioChannel,
    Channel,
    Delimited,
    LengthPrefixed,
    Server,
    VarintPrefixed,
    serve,
    serve_asyncio,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it reads its schemas by a call that Python deprecated
    from kafka.protocol.metadata.api_versions import ApiVersionsRequest
    from kafka.protocol.parser import KafkaProtocol

ANY = ("127.0.0.1", 0)


# --- Postgres: a type byte, then a length that counts itself


def postgres(sock: socket.socket) -> None:
    """Serve one session: no TLS, no password, and the text of a simple query as the only column of its only row."""
    # The first frames have no type byte; the client waits for an answer behind each, so none shares a chunk.
    startup = LengthPrefixed(4, includes_header=True)
    while True:
        for message in startup.feed(sock.recv(1000)):
            if message[:4] == struct.pack("!I", 80877103):  # SSLRequest
                sock.sendall(b"N")
            else:
                return answer_queries(Channel(sock, LengthPrefixed(4, includes_header=True, tag_bytes=1)))


def answer_queries(channel: Channel) -> None:
    with channel:
        channel.send(b"R" + struct.pack("!I", 0))
        channel.send(b"ZI")
        for message in channel:
            if message[:1] == b"X":
                return
            query = message[1:-1]
            if query == b"fail":
                channel.send(b"ESERROR\0C22012\0Mdivision by zero\0\0")
            else:
                channel.send(b"T" + struct.pack("!H", 1) + b"said\0" + struct.pack("!IHIHIH", 0, 0, 25, 65535, 0, 0))
                channel.send(b"D" + struct.pack("!HI", 1, len(query)) + query)
                channel.send(b"CSELECT 1\0")
            channel.send(b"ZI")


def test_pg8000_speaks_to_a_server_of_our_frames() -> None:
    with socket.create_server(ANY) as listener:
        def accept() -> None:
            sock, _ = listener.accept()
            postgres(sock)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        connection = pg8000.native.Connection("me", host=ANY[0], port=listener.getsockname()[1], timeout=5)
        long = "select '" + "x" * 100_000 + "'"
        for query in ("select 1", "", long):
            assert connection.run(query) == [[query]]
        with pytest.raises(pg8000.exceptions.DatabaseError, match="division by zero"):
            connection.run("fail")
        assert connection.run("still here") == [["still here"]]
        connection.close()
        thread.join(5)
        assert not thread.is_alive()


# --- Kafka: a length of four bytes


def kafka_broker(channel: Channel) -> None:
    """Answer every ApiVersions request (key 18, version 0) with the versions of one other."""
    for request in channel:
        key, version, correlation = struct.unpack_from("!hhi", request)
        assert (key, version) == (18, 0)
        channel.send(struct.pack("!ihi hhh", correlation, 0, 1, 3, 0, 12))


def test_kafka_python_reads_our_header_and_we_read_its() -> None:
    with serve(kafka_broker, ANY, LengthPrefixed) as server, socket.create_connection(server.address) as sock:
        sock.settimeout(5)
        client = KafkaProtocol(client_id="test")
        for _ in range(3):
            client.send_request(ApiVersionsRequest(version=0))
        sock.sendall(client.send_bytes())
        answers: list[Any] = []
        while len(answers) < 3:
            answers += client.receive_bytes(sock.recv(7))
        assert [correlation for correlation, _ in answers] == [1, 2, 3]
        versions = answers[0][1].api_keys[0]
        assert (versions.api_key, versions.min_version, versions.max_version) == (3, 0, 12)


# --- gRPC: a flag byte, then a length of four


class Pipe:
    """What grpclib wants of a stream, over asyncio's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def recv_data(self, size: int) -> bytes:
        try:
            return await self.reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            return error.partial

    async def send_data(self, data: bytes, end_stream: bool = False) -> None:
        self.writer.write(data)
        if end_stream:
            self.writer.write_eof()


def test_grpclib_reads_our_header_and_we_read_its() -> None:
    async def echo(channel: AsyncioChannel) -> None:
        async for message in channel:
            assert message[:1] == b"\0", "not compressed"
            await channel.send(message)

    async def test() -> None:
        async with await serve_asyncio(echo, ANY, partial(LengthPrefixed, 4, tag_bytes=1)) as server:
            pipe: Any = Pipe(*await asyncio.open_connection(*server.address))
            sent = [BytesValue(value=value) for value in (b"one", b"", b"x" * 100_000)]
            for i, value in enumerate(sent):
                await send_message(pipe, ProtoCodec(), value, BytesValue, end=i == 2)
            for value in sent:
                assert await recv_message(pipe, ProtoCodec(), BytesValue) == value
            assert await recv_message(pipe, ProtoCodec(), BytesValue) is None
            pipe.writer.close()

    asyncio.run(asyncio.wait_for(test(), 10))


# --- protobuf's delimited messages, and COBS


@given(st.lists(st.integers(0, 70_000), max_size=5))
def test_protobuf_reads_our_varints_and_we_read_its(sizes: list[int]) -> None:
    values = [BytesValue(value=b"v" * size) for size in sizes]
    theirs, codec = io.BytesIO(), VarintPrefixed()
    for value in values:
        proto.serialize_length_prefixed(value, theirs)
    ours = b"".join(codec.encode(value.SerializeToString()) for value in values)
    assert ours == theirs.getvalue()
    assert codec.feed(ours) == [value.SerializeToString() for value in values]
    stream = io.BytesIO(ours)
    assert [proto.parse_length_prefixed(BytesValue, stream) for _ in values] == values


blocks = st.sampled_from([b"\0", b"\xff", b"a" * 253, b"b" * 254, b"c" * 255, b"d" * 508])
runs = st.lists(blocks | st.binary(max_size=9))


@given(runs.map(b"".join))
def test_the_cobs_package_makes_the_same_frames(message: bytes) -> None:
    codec = COBS()
    assert codec.encode(message) == cobs.encode(message) + b"\0"
    assert codec.feed(cobs.encode(message) + b"\0") == [message]


@given(st.binary(max_size=600))
def test_the_cobs_package_refuses_what_we_refuse(garbage: bytes) -> None:
    piece = garbage.replace(b"\0", b"") or b"\1"

    def outcome(decode: Callable[[], bytes]) -> bytes | None:
        try:
            return decode()
        except (ValueError, cobs.DecodeError):
            return None

    assert outcome(lambda: COBS().feed(piece + b"\0")[0]) == outcome(lambda: cobs.decode(piece))


# --- \r\n


def redis_server(store: dict[bytes, bytes], channel: Channel) -> None:
    """Answer GET, SET and PING. A command is an array of bulk strings: a line with a length before each line."""
    for head in channel:
        words = []
        for _ in range(int(head[1:])):
            size = int(channel.receive()[1:])
            words.append(channel.receive())
            assert len(words[-1]) == size
        match [words[0].upper(), *words[1:]]:
            case [b"PING"]:
                channel.send(b"+PONG")
            case [b"SET", key, value]:
                store[key] = value
                channel.send(b"+OK")
            case [b"GET", key] if key in store:
                channel.send(b"$%d" % len(store[key]))
                channel.send(store[key])
            case [b"GET", _]:
                channel.send(b"$-1")
            case _:
                channel.send(b"-ERR unknown command")


def test_redis_py_speaks_to_a_server_of_our_lines() -> None:
    server: Server = serve(partial(redis_server, {}), ANY, partial(Delimited, b"\r\n", max_frame=1 << 20))
    with server:
        client = redis.Redis(host=server.address[0], port=server.address[1], socket_timeout=5, protocol=2)
        assert client.ping()
        assert client.set("key", b"v" * 300_000)
        assert client.get("key") == b"v" * 300_000
        assert client.get("none") is None
        assert client.set("empty", b"")
        assert client.get("empty") == b""
        with client.pipeline(transaction=False) as pipeline:
            for i in range(500):
                pipeline.set(f"key{i}", i)
            assert pipeline.execute() == [True] * 500
        with pytest.raises(redis.ResponseError, match="unknown command"):
            client.flushall()
        client.close()


def smtp_server(letters: list[list[bytes]], channel: Channel) -> None:
    channel.send(b"220 ready")
    for line in channel:
        match line.split(b" ")[0].upper():
            case b"EHLO":
                channel.send(b"250-here")
                channel.send(b"250 8BITMIME")
            case b"DATA":
                channel.send(b"354 go on")
                letter = []
                while (text := channel.receive()) != b".":
                    letter.append(text[1:] if text[:1] == b"." else text)
                letters.append(letter)
                channel.send(b"250 taken")
            case b"QUIT":
                channel.send(b"221 bye")
                return
            case _:
                channel.send(b"250 fine")


def test_smtplib_sends_a_letter_to_a_server_of_our_lines() -> None:
    letters: list[list[bytes]] = []
    body = "Subject: hi\r\n\r\nfirst\r\n.hidden dot\r\n" + "line\r\n" * 5000
    with (
        serve(partial(smtp_server, letters), ANY, partial(Delimited, b"\r\n")) as server,
        smtplib.SMTP(server.address[0], server.address[1], timeout=5) as client,
    ):
        assert client.sendmail("a@example.org", ["b@example.org"], body) == {}
    assert letters == [[b"Subject: hi", b"", b"first", b".hidden dot", *[b"line"] * 5000]]
