"""Libraries that open sockets in C: a program of a host is told by a sentence, and nobody else notices anything."""

from __future__ import annotations

import asyncio
import importlib
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import grpc._channel
import grpc.aio
import psycopg
import pycurl
import pytest
import uvloop
import zmq
from OpenSSL import SSL
from pycurl import Curl

import estab
from estab import Host, Network

DATABASE = "host=10.0.0.2 connect_timeout=1"


def refusal(net: Network, client: Host, call: Callable[[], Any]) -> str:
    """Run a call on a host, and give what it was told."""

    @client.run
    def work() -> str:
        with pytest.raises(NotImplementedError) as caught:
            call()
        return str(caught.value)

    net.run()
    return work.result()


async def open_channel() -> None:
    grpc.aio.insecure_channel("10.0.0.2:50051")


def connect_by_zmq() -> None:
    with zmq.Context() as context, context.socket(zmq.REQ) as end:
        end.connect("tcp://10.0.0.2:5555")


CALLS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "psycopg": (lambda: psycopg.connect(DATABASE), "psycopg", "pg8000"),
    "psycopg's class": (lambda: psycopg.Connection.connect(DATABASE), "psycopg", "pg8000"),
    "psycopg with asyncio": (lambda: asyncio.run(psycopg.AsyncConnection.connect(DATABASE)), "psycopg", "asyncpg"),
    "grpcio": (lambda: grpc.insecure_channel("10.0.0.2:50051"), "grpcio", "grpclib"),
    "grpcio's server": (lambda: grpc.server(ThreadPoolExecutor(1)), "grpcio", "grpclib"),
    "grpcio with asyncio": (lambda: asyncio.run(open_channel()), "grpcio", "grpclib"),
    "pycurl": (lambda: pycurl.Curl(), "pycurl", "httpx"),
    "pycurl, taken by name": (lambda: Curl(), "pycurl", "httpx"),
    "zmq": (lambda: connect_by_zmq(), "zmq", "inproc"),
    "pyOpenSSL": (lambda: SSL.Connection(SSL.Context(SSL.TLS_METHOD), socket.socket()), "pyOpenSSL", "Use ssl"),
    "uvloop's class": (uvloop.Loop, "uvloop", "asyncio"),
}


@pytest.mark.parametrize("what", CALLS)
def test_a_program_that_uses_one_is_told_which_why_and_what_instead(
    net: Network, client: Host, server: Host, what: str,
) -> None:
    call, library, instead = CALLS[what]
    told = refusal(net, client, call)
    assert told.startswith(f"{library} can't be used on host client: it ")
    assert instead in told


def test_what_does_not_touch_the_network_goes_on_working(net: Network, client: Host, server: Host) -> None:
    @client.run
    def work() -> tuple[bytes, bytes]:
        ends = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
        ends.set_connect_state()
        with pytest.raises(SSL.WantReadError):
            ends.do_handshake()
        with zmq.Context() as context, context.socket(zmq.PAIR) as one, context.socket(zmq.PAIR) as other:
            one.bind("inproc://here")
            other.connect("inproc://here")
            one.send(b"hello")
            return ends.bio_read(3), other.recv()

    net.run()
    assert work.result() == (b"\x16\x03\x01", b"hello")


def test_uvloop_gives_a_program_the_hosts_own_event_loop(net: Network, client: Host, server: Host) -> None:
    async def wait() -> float:
        loop = asyncio.get_running_loop()
        start = loop.time()
        await asyncio.sleep(3600)
        return loop.time() - start

    @client.run
    def work() -> tuple[float, bool]:
        loop = uvloop.new_event_loop()
        loop.close()
        return uvloop.run(wait()), isinstance(loop, asyncio.SelectorEventLoop)

    net.run()
    assert work.result() == (3600, True)


def test_outside_of_hosts_they_are_what_they_were(net: Network, client: Host, server: Host) -> None:
    kinds = [pycurl.Curl, uvloop.Loop.__init__, psycopg.connect, grpc._channel.Channel.__init__]
    paths = list(sys.meta_path)

    @client.run
    def work() -> None: ...

    with ThreadPoolExecutor(1) as outside, estab.Stack(estab.QueueDevice(), "10.9.0.2/24") as stack:
        outside.submit(int).result()  # its thread is there before
        with stack.installed():
            with pytest.raises(NotImplementedError, match="on host estab"):
                pycurl.Curl()
            made = outside.submit(pycurl.Curl).result()
            assert outside.submit(isinstance, made, pycurl.Curl).result()
    net.run()
    assert [pycurl.Curl, uvloop.Loop.__init__, psycopg.connect, grpc._channel.Channel.__init__] == kinds
    assert sys.meta_path == paths
    loop = uvloop.new_event_loop()
    assert isinstance(loop, uvloop.Loop)
    loop.close()


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Have a module of a known library's name, which nobody has imported yet."""
    (tmp_path / "pyodbc.py").write_text("def connect(text):\n    return text\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pyodbc", raising=False)
    yield sys.modules[__name__]
    sys.modules.pop("pyodbc", None)


@pytest.mark.usefixtures("made_up")
def test_one_that_a_program_imports_itself_is_guarded_too(net: Network, client: Host, server: Host) -> None:
    told = refusal(net, client, lambda: importlib.import_module("pyodbc").connect("DSN=a"))
    assert told.startswith("pyodbc can't be used on host client")
    module = sys.modules["pyodbc"]
    assert module.connect("DSN=a") == "DSN=a"
    assert module.__spec__ is not None
    assert module.__spec__.loader is module.__loader__
    assert type(module.__loader__).__module__.startswith(("importlib", "_frozen_importlib"))


@pytest.mark.usefixtures("made_up")
def test_the_stand_in_for_a_class_can_be_asked_and_inherited_from(net: Network, client: Host, server: Host) -> None:
    @client.run
    def work() -> tuple[bool, bool, str]:
        class Mine(pycurl.Curl):  # type: ignore[misc]
            pass

        return issubclass(Mine, pycurl.Curl), isinstance(3, pycurl.Curl), pycurl.Curl.__name__

    net.run()
    assert work.result() == (True, False, "Curl")
