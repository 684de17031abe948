"""asyncio's interface on a stack: arguments, datagrams, sockets that don't block, servers."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

import estab
from estab.stack.connecting import interleaved
from tests.kit.two_stacks import LEFT, RIGHT, Gate, run

PEM = Path(__file__).parent.parent / "messages" / "localhost.pem"
NODELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send everything back until the end of the stream."""
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


class Collect(asyncio.Protocol):
    """Keeps what comes."""

    def __init__(self) -> None:
        self.data = b""
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: bytes) -> bytes:
    """Send, end, read what comes back, and close."""
    writer.write(text)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def test_both_ends_have_tcp_nodelay_as_asyncio_sets_it() -> None:
    async def program(left: estab.Stack, right: estab.Stack) -> None:
        found: list[int] = []

        async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            found.append(writer.get_extra_info("socket").getsockopt(*NODELAY))
            await echo(reader, writer)

        await right.start_server(look, port=7)
        reader, writer = await left.open_connection(RIGHT, 7)
        found.append(writer.get_extra_info("socket").getsockopt(*NODELAY))
        assert await ask(reader, writer, b"x") == b"x"
        assert found == [1, 1]

    run(program)


def test_a_connection_has_the_local_address_and_port_that_were_asked_for() -> None:
    async def program(left: estab.Stack, right: estab.Stack) -> None:
        await right.start_server(echo, port=7)
        reader, writer = await left.open_connection(RIGHT, 7, local_addr=(LEFT, 4000))
        assert writer.get_extra_info("sockname") == (LEFT, 4000)
        assert await ask(reader, writer, b"x") == b"x"
        with pytest.raises(OSError, match="Cannot assign requested address"):
            await left.open_connection(RIGHT, 7, local_addr=("10.9.0.9", 0))

    run(program)


def test_happy_eyeballs_take_the_second_address_while_the_first_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def program(left: estab.Stack, right: estab.Stack) -> None:
        await right.start_server(echo, port=7)
        reader, writer = await left.open_connection("two", 7, happy_eyeballs_delay=0.01)
        assert writer.get_extra_info("peername") == (RIGHT, 7)
        assert await ask(reader, writer, b"x") == b"x"
        assert [row.peer for row in left.sockets() if row.state == "SYN-SENT"] == []

    there = Gate()
    monkeypatch.setattr("estab.names.hosts_file.resolve", lambda name, family: [
        socket.inet_aton("10.9.0.77"), socket.inet_aton(RIGHT)])
    run(program, there)


def test_without_happy_eyeballs_addresses_are_tried_in_order_and_all_errors_are_told(
        monkeypatch: pytest.MonkeyPatch) -> None:
    async def program(left: estab.Stack, right: estab.Stack) -> None:
        with pytest.raises(OSError, match="Connection refused"):
            await left.open_connection("two", 9)
        with pytest.raises(ExceptionGroup) as caught:
            await left.open_connection("two", 9, all_errors=True)
        assert [error.errno for error in caught.value.exceptions if isinstance(error, OSError)] == [
            errno.ECONNREFUSED] * 2
        await right.start_server(echo, "fd00::2", port=7)
        reader, writer = await left.open_connection("two", 7)
        assert writer.get_extra_info("peername")[0] == "fd00::2"
        assert await ask(reader, writer, b"x") == b"x"

    monkeypatch.setattr("estab.names.hosts_file.resolve", lambda name, family: [
        socket.inet_aton(RIGHT), socket.inet_pton(socket.AF_INET6, "fd00::2")])
    run(program)


def test_interleave_counts_addresses_of_the_first_family_before_another() -> None:
    def infos(*families: int) -> list[Any]:
        return [(family, 1, 6, "", (f"address {place}", 7)) for place, family in enumerate(families)]

    four, six = socket.AF_INET, socket.AF_INET6
    given = infos(four, four, four, six, six)
    assert [info[4][0][-1] for info in interleaved(given, 1)] == ["0", "3", "1", "4", "2"]
    assert [info[4][0][-1] for info in interleaved(given, 2)] == ["0", "1", "3", "2", "4"]


@pytest.mark.parametrize(("arguments", "message"), [
    ({"server_hostname": "x"}, "only meaningful with ssl"),
    ({"ssl_handshake_timeout": 1}, "only meaningful with ssl"),
    ({"sock": object()}, "can not be specified at the same time"),
    ({"happy_eyeball_delay": 1}, "unexpected keyword argument"),
])
def test_arguments_that_mean_nothing_are_refused_as_by_asyncio(arguments: Any, message: str) -> None:
    async def program(left: estab.Stack, right: estab.Stack) -> None:
        with pytest.raises((ValueError, TypeError), match=message):
            await left.create_connection(asyncio.Protocol, RIGHT, 7, **arguments)

    run(program)


def test_sockets_that_the_program_made_become_connections_and_servers() -> None:
    async def program(left: estab.Stack, right: estab.Stack) -> None:
        listener = right.socket()
        listener.bind((RIGHT, 7))
        server = await right.start_server(echo, sock=listener)
        assert server.sockets == (listener,)
        sock = left.socket()
        sock.setblocking(False)
        await left.sock_connect(sock, (RIGHT, 7))
        reader, writer = await left.open_connection(sock=sock)
        assert await ask(reader, writer, b"by hand") == b"by hand"
        with socket.socket() as foreign, pytest.raises(ValueError, match=r"make it by stack\.socket"):
            await left.open_connection(sock=foreign)

    run(program)


def test_the_sock_methods_move_bytes_both_ways(tmp_path: Path) -> None:
    async def program(left: estab.Stack, right: estab.Stack) -> None:
        big = bytes(range(256)) * 4000
        (tmp_path / "big").write_bytes(big)
        with right.socket() as listener, left.socket() as sock:
            for each in (listener, sock):
                each.setblocking(False)
            listener.bind((RIGHT, 7))
            listener.listen()
            accepting = asyncio.ensure_future(right.sock_accept(listener))
            await left.sock_connect(sock, (RIGHT, 7))
            taken, address = await accepting
            assert address == sock.getsockname()
            with taken:
                sending = asyncio.ensure_future(left.sock_sendall(sock, big))
                got = bytearray()
                while len(got) < len(big):
                    got += await right.sock_recv(taken, 65_536)
                await sending
                assert bytes(got) == big
                with (tmp_path / "big").open("rb") as file:
                    sending_file = asyncio.ensure_future(right.sock_sendfile(taken, file, 100, 1_000_000))
                    buffer, count = bytearray(65_536), 0
                    while count < 1_000_000:
                        count += await left.sock_recv_into(sock, buffer)
                    assert await sending_file == count == 1_000_000

    run(program)


def test_a_wait_for_a_socket_that_is_closed_ends_with_ebadf() -> None:
    async def program(left: estab.Stack, right: estab.Stack) -> None:
        sock = left.socket(type=socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind((LEFT, 53))
        receiving = asyncio.ensure_future(left.sock_recvfrom(sock, 100))
        await asyncio.sleep(0)
        sock.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            await receiving

    run(program)


class Datagrams(asyncio.DatagramProtocol):
    """Keeps what comes, and answers with it."""

    def __init__(self, *, answers: bool) -> None:
        self.answers = answers
        self.got: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()
        self.errors: asyncio.Queue[Exception] = asyncio.Queue()
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.got.put_nowait((data, addr))
        if self.answers:
            self.transport.sendto(data, addr)

    def error_received(self, exc: Exception) -> None:
        self.errors.put_nowait(exc)


def test_a_datagram_endpoint_sends_receives_and_hears_of_errors() -> None:
    async def program(left: estab.Stack, right: estab.Stack) -> None:
        await right.create_datagram_endpoint(lambda: Datagrams(answers=True), local_addr=(RIGHT, 53))
        transport, asker = await left.create_datagram_endpoint(lambda: Datagrams(answers=False), local_addr=(LEFT, 0),
                                                               remote_addr=(RIGHT, 53))
        assert isinstance(asker, Datagrams)
        transport.sendto(b"who?")
        assert await asker.got.get() == (b"who?", (RIGHT, 53))
        assert transport.get_extra_info("peername") == (RIGHT, 53)
        with pytest.raises(ValueError, match="Invalid address"):
            transport.sendto(b"x", (RIGHT, 54))
        transport.close()
        refused, hearer = await left.create_datagram_endpoint(lambda: Datagrams(answers=False), remote_addr=(RIGHT, 99))
        assert isinstance(hearer, Datagrams)
        refused.sendto(b"nobody")
        assert isinstance(await hearer.errors.get(), ConnectionRefusedError)
        with pytest.raises(ValueError, match="unexpected address family"):
            await left.create_datagram_endpoint(lambda: Datagrams(answers=False))

    run(program)


def test_two_servers_share_a_port_with_reuse_port_and_not_without() -> None:
    async def program(left: estab.Stack, right: estab.Stack) -> None:
        async with (await right.start_server(echo, RIGHT, 7, reuse_port=True),
                    await right.start_server(echo, RIGHT, 7, reuse_port=True)):
            pass
        async with await right.start_server(echo, RIGHT, 7):
            with pytest.raises(OSError, match="Address already in use"):
                await right.start_server(echo, RIGHT, 7)

    run(program)


def test_a_server_starts_when_it_is_told_to_and_a_limit_bounds_its_readers() -> None:
    async def program(left: estab.Stack, right: estab.Stack) -> None:
        overrun: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

        async def line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readline()
            except ValueError as error:
                overrun.set_result(error)
            writer.close()

        server = await right.start_server(line, [RIGHT, "fd00::2"], 7, limit=16, start_serving=False)
        assert len(server.sockets) == 2
        assert not server.is_serving()
        with pytest.raises(ConnectionRefusedError):
            await left.open_connection(RIGHT, 7)
        await server.start_serving()
        _, writer = await left.open_connection("fd00::2", 7)
        writer.write(b"x" * 100)
        assert "limit" in str(await overrun)
        writer.close()

    run(program)


def test_closing_a_server_cancels_serve_forever_and_its_clients_go_on() -> None:
    async def program(left: estab.Stack, right: estab.Stack) -> None:
        server = await right.start_server(echo, port=7)
        forever = asyncio.ensure_future(server.serve_forever())
        reader, writer = await left.open_connection(RIGHT, 7)
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        server.close()
        with pytest.raises(asyncio.CancelledError):
            await forever
        assert await ask(reader, writer, b"two") == b"two"
        await server.wait_closed()
        with pytest.raises(RuntimeError, match="is closed"):
            await server.serve_forever()

    run(program)


def test_a_protocol_that_raises_is_told_and_loses_its_connection() -> None:
    async def program(left: estab.Stack, right: estab.Stack) -> None:
        told: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["message"]))

        class Broken(Collect):
            def data_received(self, data: bytes) -> None:
                raise KeyError("broken")

        broken: list[Broken] = []
        await right.create_server(lambda: broken.append(Broken()) or broken[0], RIGHT, 7)  # type: ignore[func-returns-value]
        reader, writer = await left.open_connection(RIGHT, 7)
        writer.write(b"x")
        await reader.read()
        assert isinstance(await broken[0].lost, KeyError)
        assert told == ["protocol.data_received() failed"]
        writer.close()

    run(program)


def test_a_tls_handshake_that_nobody_answers_ends_after_its_timeout() -> None:
    async def program(left: estab.Stack, right: estab.Stack) -> None:
        context = ssl.create_default_context(cafile=str(PEM))

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        await right.start_server(silent, port=7)
        with pytest.raises(ConnectionAbortedError, match="SSL handshake is taking longer"):
            await left.open_connection(RIGHT, 7, ssl=context, server_hostname="localhost", ssl_handshake_timeout=0.05)

    run(program)
