"""redis-py, blocking and asyncio, against a small server of the protocol."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
import redis
import redis.asyncio

from estab import Host, Link, Network, Program
from tools.programs.servers.resp import Server


def test_blocking_commands_over_one_connection(net: Network, client: Host, server: Host) -> None:
    server.run(Server().serve)

    @client.run
    def work() -> list[object]:
        with redis.Redis(host="server", socket_timeout=None) as database:
            return [database.set("a", "1"), database.incr("a"), database.get("a"), database.get("b"), database.ping(),
                    database.blpop(["none"], timeout=3600), time.monotonic()]

    net.run()
    *answers, took_s = work.result()
    assert answers == [True, 2, b"2", None, True, None]
    assert 3600 < float(str(took_s)) < 3601
    assert server.counters()["TcpPassiveOpens"] == 1


def test_subscribers_in_a_thread_and_publishers(net: Network, client: Host, server: Host) -> None:
    server.run(Server().serve)

    @client.run
    def work() -> list[bytes]:
        seen: list[bytes] = []
        with redis.Redis(host="server") as database:
            subscription = database.pubsub()
            subscription.subscribe(news=lambda message: seen.append(message["data"]))
            thread = subscription.run_in_thread(sleep_time=0.1)
            time.sleep(10)
            database.publish("news", "first")
            time.sleep(600)
            database.publish("news", "second")
            time.sleep(1)
            thread.stop()
            thread.join()
            subscription.close()
        return seen

    net.run()
    assert work.result() == [b"first", b"second"]


def test_asyncio_commands_and_a_pool(net: Network, client: Host, server: Host) -> None:
    server.run(Server().serve)

    @client.run
    async def work() -> tuple[object, list[int]]:
        async with redis.asyncio.Redis(host="server", socket_timeout=3600) as database:
            pushed = asyncio.create_task(database.blpop(["queue"], timeout=3600))
            await asyncio.sleep(600)
            await database.rpush("queue", "x")
            return await pushed, sorted(await asyncio.gather(*(database.incr("n") for _ in range(20))))

    net.run()
    assert work.result() == ((b"queue", b"x"), list(range(1, 21)))
    assert 600 < net.now < 602


WAITS = {
    "an hour, by the socket's timeout": ({"socket_timeout": 3600, "socket_keepalive": False}, 3600),
    "two hours and eleven minutes, by the system's keepalive": (
        {"socket_timeout": None, "socket_keepalive": True, "socket_keepalive_options": {}}, 7200 + 9 * 75),
    "a minute, by a keepalive that is set": (
        {"socket_timeout": None, "socket_keepalive": True, "socket_keepalive_options": {
            socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}}, 30 + 3 * 10),
}


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("case", WAITS)
def test_who_waits_for_a_server_without_power_notices_by(
    net: Network, client: Host, server: Host, is_async: bool, case: str,
) -> None:
    settings, expected_s = WAITS[case]
    server.run(Server().serve)
    net.at(20, server.power_off)

    def block() -> float:
        with pytest.raises((redis.TimeoutError, redis.ConnectionError)):
            redis.Redis(host="server", retry=None, **settings).blpop(["queue"], timeout=0)
        return time.monotonic()

    async def wait() -> float:
        with pytest.raises((redis.TimeoutError, redis.ConnectionError)):
            await redis.asyncio.Redis(host="server", retry=None, **settings).blpop(["queue"], timeout=0)
        return time.monotonic()

    program: Program[float] = client.run(wait if is_async else block)
    net.run()
    # The last byte came when connecting, greeting and asking were done: at most seven round trips of 40 ms.
    assert program.result() == pytest.approx(expected_s + 0.2, abs=0.1)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_command_that_no_one_acknowledges_ends_with_tcp(
    net: Network, client: Host, server: Host, is_async: bool,
) -> None:
    server.run(Server().serve)
    net.at(10, server.power_off)
    settings: dict[str, Any] = {"socket_timeout": None, "socket_keepalive": False, "retry": None}

    def block() -> float:
        database = redis.Redis(host="server", **settings)
        database.ping()
        time.sleep(20)
        started = time.monotonic()
        with pytest.raises((redis.TimeoutError, redis.ConnectionError)):
            database.get("a")
        return time.monotonic() - started

    async def wait() -> float:
        database = redis.asyncio.Redis(host="server", **settings)
        await database.ping()
        await asyncio.sleep(20)
        started = time.monotonic()
        with pytest.raises((redis.TimeoutError, redis.ConnectionError)):
            await database.get("a")
        return time.monotonic() - started

    program: Program[float] = client.run(wait if is_async else block)
    net.run()
    # Sixteen timeouts, doubled from 0.24 s to two minutes, and a probe before the first.
    assert program.result() == pytest.approx(962.88)


def test_a_command_survives_a_cut(net: Network, client: Host, server: Host, cable: Link) -> None:
    server.run(Server().serve)
    net.at(10, cable.cut)
    net.at(15, cable.heal)

    @client.run
    def work() -> tuple[object, float]:
        with redis.Redis(host="server", socket_timeout=60) as database:
            database.ping()
            time.sleep(12)
            return database.set("a", "1"), time.monotonic()

    net.run()
    answer, now_s = work.result()
    assert answer is True
    assert now_s == 16.12  # sent again after 0.24, 0.48, 0.96 and 1.92 s, behind a probe
