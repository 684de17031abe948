"""asyncio's transports, and what an event loop does to open and accept connections, are what asyncio's own are."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import pytest

from estab import Host, Network
from estab.cpython import make_transport
from estab.sockets.polling import event_loop
from estab.sockets.polling.transports import new_transport


def describe(thing: Any) -> dict[str, Any]:
    """Name what an object keeps, in its dictionary and in slots, and of which kind it is."""
    kept = dict(vars(thing))
    for kind in type(thing).__mro__:
        kept.update({name: getattr(thing, name) for name in vars(kind).get("__slots__", ()) if hasattr(thing, name)})
    plain = (int, bool, str, type(None))
    return {name: value if isinstance(value, plain) and name != "_sock_fd" else type(value).__name__
            for name, value in kept.items()}


async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Keep a connection until its peer closes it."""
    await reader.read()
    writer.close()


def test_a_transport_keeps_what_asyncios_own_does(net: Network, a: Host, b: Host,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(seen: list[Any]) -> None:
        done = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            look(writer, seen)
            writer.write(await reader.read(5))
            writer.close()
            await writer.wait_closed()
            seen.append(describe(transports.pop()))
            done.set()

        async with await asyncio.start_server(answer, port=80):
            await done.wait()

    transports: list[Any] = []

    def look(writer: asyncio.StreamWriter, seen: list[Any]) -> None:
        transport: Any = writer.transport
        transports.append(transport)
        made = transport.get_extra_info("socket")
        seen += [describe(transport), sorted(transport._extra), repr(transport).partition("fd=")[0],
                 made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), transport.get_write_buffer_limits(),
                 isinstance(transport, asyncio.Transport), transport.get_extra_info("peername")[0]]

    async def ask(seen: list[Any]) -> None:
        reader, writer = await asyncio.open_connection("b", 80)
        look(writer, seen)
        writer.write(b"hello")
        seen.append(await reader.read())
        writer.close()
        await writer.wait_closed()
        seen.append(describe(transports.pop()))

    runs: list[list[Any]] = []
    for make in (new_transport, make_transport):
        monkeypatch.setattr(event_loop, "new_transport", make)
        seen_by_server: list[Any] = []
        seen_by_client: list[Any] = []
        b.run(serve, seen_by_server)
        a.run(ask, seen_by_client, start=f"{net.now + 1}s")
        net.run()
        runs.append(seen_by_server + seen_by_client)
    assert len(runs[0]) == 17
    assert runs[0] == runs[1]


def test_a_protocol_that_fails_when_its_connection_is_lost_is_reported_and_the_socket_is_closed(
    net: Network, a: Host, b: Host, caplog: pytest.LogCaptureFixture,
) -> None:
    class Failing(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            raise ValueError("lost")

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Failing, port=80)
        await asyncio.sleep(5)
        server.close()
        await server.wait_closed()

    async def ask() -> None:
        _, writer = await asyncio.open_connection("b", 80)
        writer.close()

    b.run(serve)
    a.run(ask, start="1s")
    with caplog.at_level(logging.ERROR, "asyncio"):
        net.run()
    assert ["_SelectorSocketTransport._call_connection_lost" in record.message for record in caplog.records] == [True]
    assert not [row for row in b.sockets() if row.state not in ("TIME_WAIT", "FIN_WAIT2")]


def test_connections_that_came_at_once_are_all_accepted(net: Network, a: Host, b: Host) -> None:
    peers: list[Any] = []

    async def serve() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peers.append(writer.get_extra_info("peername"))
            assert writer.get_extra_info("socket").gettimeout() == 0
            writer.close()

        async with await asyncio.start_server(answer, port=80, backlog=3):
            await asyncio.sleep(60)

    def call() -> list[Any]:
        made = [socket.create_connection(("b", 80)) for _ in range(4)]
        names = [one.getsockname() for one in made]
        for one in made:
            assert one.recv(1) == b""
            one.close()
        return names

    b.run(serve)
    calling = a.run(call, start="1s")
    net.run()
    assert peers == calling.result()


def test_a_server_without_descriptors_says_so_and_accepts_again_later(caplog: pytest.LogCaptureFixture) -> None:
    with Network() as net:
        a, b = net.host("a"), net.host("b", nofile=9)
        net.link(a, b, delay="1ms")

        async def serve() -> None:
            async with await asyncio.start_server(hold, "0.0.0.0", 80):
                await asyncio.sleep(60)

        async def call() -> float:
            writers = [(await asyncio.open_connection("b", 80))[1] for _ in range(4)]
            await asyncio.sleep(2)
            for writer in writers:
                writer.close()
                await writer.wait_closed()
            return asyncio.get_running_loop().time()

        b.run(serve)
        calling = a.run(call, start="1s")
        with caplog.at_level(logging.ERROR, "asyncio"):
            net.run()
        assert calling.result() < 10
    assert "socket.accept() out of system resource" in caplog.text


@pytest.mark.parametrize("backlog", [3, 100])
def test_a_server_without_descriptors_complains_as_asyncios_own_does(
    backlog: int, monkeypatch: pytest.MonkeyPatch,
) -> None:
    def complain() -> list[float]:
        complaints: list[float] = []
        with Network() as net:
            a, b = net.host("a"), net.host("b", nofile=12)
            net.link(a, b, delay="1ms")

            async def serve() -> None:
                loop = asyncio.get_running_loop()
                loop.set_exception_handler(lambda _, context: complaints.append(loop.time()))

                async with await asyncio.start_server(hold, "0.0.0.0", 80, backlog=backlog):
                    await asyncio.sleep(60)

            async def call() -> None:
                writers = [(await asyncio.open_connection("b", 80))[1] for _ in range(9)]
                await asyncio.sleep(3)
                for writer in writers:
                    writer.close()
                await asyncio.sleep(5)

            b.run(serve)
            calling = a.run(call, start="1s")
            net.run()
            calling.result()
        return complaints

    found = complain()
    monkeypatch.setattr(event_loop, "IS_KNOWN", False)
    assert found == complain()
    assert len(found) > backlog


def test_a_connection_that_fails_at_once_raises_what_a_blocking_socket_does(net: Network, a: Host) -> None:
    def blocking() -> str:
        with socket.socket() as made, pytest.raises(OSError, match="unreachable") as caught:
            made.connect(("203.0.113.1", 80))
        return repr(caught.value)

    async def by_asyncio() -> str:
        with pytest.raises(OSError, match="unreachable") as caught:
            await asyncio.open_connection("203.0.113.1", 80)
        frames = [frame.name for frame in caught.traceback]
        assert frames[-1] == "connect"
        return repr(caught.value)

    programs = [a.run(blocking), a.run(by_asyncio)]
    net.run()
    assert programs[0].result() == programs[1].result()


def test_a_programs_own_class_of_sockets_is_asked_by_its_own_calls(net: Network, a: Host, b: Host) -> None:
    class Own(socket.socket):
        def connect(self, address: Any) -> None:
            asked.append("connect")
            super().connect(address)

        def accept(self) -> tuple[socket.socket, Any]:
            asked.append("accept")
            return super().accept()

    async def serve() -> None:
        listener = Own()
        listener.bind(("", 80))
        async with await asyncio.start_server(hold, sock=listener):
            await asyncio.sleep(5)

    async def ask() -> None:
        with Own() as made:
            made.setblocking(False)
            await asyncio.get_running_loop().sock_connect(made, (b.address, 80))

    asked: list[str] = []
    b.run(serve)
    asking = a.run(ask, start="1s")
    net.run()
    asking.result()
    assert asked == ["connect", "accept", "accept"]


def test_a_connection_whose_text_goes_with_its_syn_is_there_at_once(net: Network, a: Host, b: Host) -> None:
    tcp_fastopen, tcp_fastopen_connect = 23, 30

    def serve() -> list[bytes]:
        with socket.create_server(("", 80)) as listener:
            listener.setsockopt(socket.IPPROTO_TCP, tcp_fastopen, 5)
            got = []
            for _ in range(2):
                with listener.accept()[0] as connection:
                    got.append(connection.recv(10))
            return got

    async def ask() -> list[float]:
        loop, times = asyncio.get_running_loop(), []
        for _ in range(2):
            with socket.socket() as made:
                made.setblocking(False)
                made.setsockopt(socket.IPPROTO_TCP, tcp_fastopen_connect, 1)
                began = loop.time()
                await loop.sock_connect(made, (b.address, 80))
                times.append(loop.time() - began)
                await loop.sock_sendall(made, b"hello")
                await loop.sock_recv(made, 1)
        return times

    b.sysctl["net.ipv4.tcp_fastopen"] = 3
    serving, asking = b.run(serve), a.run(ask, start="1s")
    net.run()
    assert serving.result() == [b"hello", b"hello"]
    assert asking.result()[0] > 0
    assert asking.result()[1] == 0


@pytest.mark.parametrize(("host", "family"), [
    ("b", 0), ("10.0.0.2", 0), ("10.0.0.2", socket.AF_INET), ("10.0.0.2", 2), ("10.0.0.2", socket.AF_INET6),
    ("fd00::2", 0), ("::1%lo", 0), (b"10.0.0.2", 0), ("1.2.3", 0), (None, 0),
])
@pytest.mark.parametrize("port", [80, "80", "http", None, True])
def test_addresses_are_told_from_names_as_asyncio_does(net: Network, a: Host, b: Host, host: Any, family: int,
                                                       port: Any) -> None:
    async def resolve(is_own: bool) -> Any:
        loop: Any = asyncio.get_running_loop()
        resolved = loop._ensure_resolved if is_own else super(event_loop.EventLoop, loop)._ensure_resolved
        try:
            found = await resolved((host, port), family=family, type=socket.SOCK_STREAM, loop=loop)
        except (OSError, TypeError, ValueError) as error:
            return repr(error)
        return [(*row, type(row[0]), type(row[1])) for row in found]

    programs = [a.run(resolve, True), a.run(resolve, False)]
    net.run()
    assert repr(programs[0].result()) == repr(programs[1].result())


def test_a_descriptor_that_a_transport_has_is_refused_to_sock_calls(net: Network, a: Host, b: Host) -> None:
    async def ask() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("", 80)) as listener:
            made = socket.create_connection(("a", 80))
            made.setblocking(False)
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=made)
            with pytest.raises(RuntimeError, match="is used by transport"):
                await loop.sock_recv(made, 1)
            with pytest.raises(RuntimeError, match="is used by transport"):
                loop.add_reader(made, print)
            transport.close()
            listener.close()

    asking = a.run(ask)
    net.run()
    asking.result()
