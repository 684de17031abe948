"""HTTP clients, unmodified: requests, httpx (blocking and asyncio), aiohttp, urllib; plain and with TLS."""

from __future__ import annotations

import asyncio
import ssl
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import aiohttp
import httpx
import pytest
import requests
import trustme

from estab import Host, Link, Network, Program
from tests.programs.web import serve

HOUR = 3600.0


def with_requests(url: str, paths: list[str], timeout: float, trust: str) -> list[bytes]:
    with requests.Session() as session:
        return [session.get(url + path, timeout=timeout, verify=trust).content for path in paths]


def with_httpx(url: str, paths: list[str], timeout: float, trust: str) -> list[bytes]:
    with httpx.Client(timeout=timeout, verify=ssl.create_default_context(cafile=trust)) as session:
        return [session.get(url + path).content for path in paths]


async def with_async_httpx(url: str, paths: list[str], timeout: float, trust: str) -> list[bytes]:
    async with httpx.AsyncClient(timeout=timeout, verify=ssl.create_default_context(cafile=trust)) as session:
        return [(await session.get(url + path)).content for path in paths]


async def with_aiohttp(url: str, paths: list[str], timeout: float, trust: str) -> list[bytes]:
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=trust))
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(timeout)) as session:
        bodies = []
        for path in paths:
            async with session.get(url + path) as response:
                bodies.append(await response.read())
        return bodies


def with_urllib(url: str, paths: list[str], timeout: float, trust: str) -> list[bytes]:
    context = ssl.create_default_context(cafile=trust)
    bodies = []
    for path in paths:
        with urllib.request.urlopen(url + path, timeout=timeout, context=context) as response:
            bodies.append(response.read())
    return bodies


KEEPERS = [with_requests, with_httpx, with_async_httpx, with_aiohttp]
CLIENTS: list[Callable[..., Any]] = [*KEEPERS, with_urllib]
TIMEOUTS = (TimeoutError, requests.Timeout, httpx.TimeoutException)


@pytest.fixture(scope="module")
def trust(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("trust") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="module")
def context(authority: trustme.CA) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("server").configure_cert(made)
    return made


def timed(get: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """Make a program that says how long ``get`` took, in seconds, and what came of it."""

    async def wait() -> tuple[float, Any]:
        started = time.monotonic()
        try:
            found = await get(*arguments)
        except TIMEOUTS as error:
            found = error
        took_s = time.monotonic() - started
        await asyncio.sleep(60)  # asyncio gives a silent peer half a minute to say goodbye in TLS
        return took_s, found

    def block() -> tuple[float, Any]:
        started = time.monotonic()
        try:
            found = get(*arguments)
            return time.monotonic() - started, found
        except TIMEOUTS as error:
            return time.monotonic() - started, error

    return wait if asyncio.iscoroutinefunction(get) else block


@pytest.mark.parametrize("get", KEEPERS)
@pytest.mark.parametrize("is_tls", [False, True])
def test_one_connection_carries_five_requests(
    net: Network, client: Host, server: Host, trust: str, context: ssl.SSLContext, get: Callable[..., Any],
    is_tls: bool,
) -> None:
    server.run(serve, 443 if is_tls else 80, context if is_tls else None)
    url = "https://server" if is_tls else "http://server"
    program: Program[list[bytes]] = client.run(get, url, [f"/{number}" for number in range(5)], HOUR, trust)
    net.run()
    assert program.result() == [b"hello /%d" % number for number in range(5)]
    assert server.counters()["TcpPassiveOpens"] == 1


@pytest.mark.parametrize("get", CLIENTS)
def test_an_answer_that_takes_an_hour_is_waited_for(
    net: Network, client: Host, server: Host, trust: str, get: Callable[..., Any],
) -> None:
    server.run(serve)
    program: Program[tuple[float, Any]] = client.run(timed(get, "http://server", ["/wait/3599"], HOUR, trust))
    net.run()
    took_s, bodies = program.result()
    assert bodies == [b"hello /wait/3599"]
    # Connecting, asking and answering take 40 ms each; the body waits for the acknowledgment of the head (Nagle).
    assert took_s == pytest.approx(3599.12, abs=0.05)


@pytest.mark.parametrize("get", CLIENTS)
@pytest.mark.parametrize("is_tls", [False, True])
def test_a_server_without_power_is_noticed_after_the_programs_own_hour(
    net: Network, client: Host, server: Host, trust: str, context: ssl.SSLContext, get: Callable[..., Any],
    is_tls: bool,
) -> None:
    server.run(serve, 443 if is_tls else 80, context if is_tls else None)
    net.at(10, server.power_off)
    url = "https://server" if is_tls else "http://server"
    program: Program[tuple[float, Any]] = client.run(timed(get, url, ["/wait/5000"], HOUR, trust))
    net.run()
    took_s, error = program.result()
    assert isinstance(error, TIMEOUTS)
    # aiohttp's timeout is for all of the request, the others' for each wait: the last began when all was sent.
    assert took_s == (3600 if get is with_aiohttp else pytest.approx(3600.1, abs=0.1))


@pytest.mark.parametrize("get", CLIENTS)
def test_an_answer_survives_a_cut(
    net: Network, client: Host, server: Host, cable: Link, trust: str, get: Callable[..., Any],
) -> None:
    server.run(serve)
    net.at(9, cable.cut)
    net.at(30, cable.heal)
    program: Program[list[bytes]] = client.run(get, "http://server", ["/wait/10"], HOUR, trust)
    net.run()
    assert program.result() == [b"hello /wait/10"]
    # The answer, written at 10.06 s, is sent again after a probe and 0.24 + 0.48 + … seconds: the seventh arrives.
    assert 30 < net.now < 42


@pytest.mark.parametrize("get", CLIENTS)
def test_a_certificate_of_nobody_is_refused(
    net: Network, client: Host, server: Host, trust: str, get: Callable[..., Any],
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("server").configure_cert(context)
    server.run(serve, 443, context)
    program = client.run(get, "https://server", ["/"], HOUR, trust)
    net.run(check=False)
    assert "CERTIFICATE_VERIFY_FAILED" in str(program.exception())


def test_a_pool_of_httpx_notices_that_the_server_has_closed(net: Network, client: Host, server: Host) -> None:
    """It looks by polling the socket's descriptor: a number without a descriptor would cost a failed request."""

    @server.run
    async def close_after_a_minute() -> None:
        async def on_caller(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                async with asyncio.timeout(60):
                    while await reader.readuntil(b"\r\n\r\n"):
                        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            except TimeoutError:
                writer.close()

        async with await asyncio.start_server(on_caller, "", 80) as listening:
            await listening.serve_forever()

    @client.run
    def ask() -> list[str]:
        with httpx.Client(limits=httpx.Limits(keepalive_expiry=None)) as session:
            texts = [session.get("http://server/").text]
            time.sleep(30)
            texts.append(session.get("http://server/").text)
            time.sleep(3600)
            texts.append(session.get("http://server/").text)
            return texts

    net.run()
    assert ask.result() == ["ok"] * 3
    assert server.counters()["TcpPassiveOpens"] == 2
