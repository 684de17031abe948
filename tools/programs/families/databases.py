"""Clients of databases and caches, against small servers of their protocols."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tools.programs.entry import Family, arest, rest, twice
from tools.programs.servers.bolt import serve_bolt
from tools.programs.servers.cql import serve_cql
from tools.programs.servers.lines import serve_memcached
from tools.programs.servers.mongo import serve_mongo
from tools.programs.servers.postgres import serve_postgres
from tools.programs.servers.resp import Server as RespServer

_family = Family("Databases and caches")
_RIGHT = ["ONE", "TWO"]


async def serve_resp() -> None:
    await RespServer().serve()


def serve_fakeredis() -> None:
    import fakeredis._clients._tcp_server as tcp
    from fakeredis._commands import command

    class Handler(tcp.TCPFakeRequestHandler):  # type: ignore[misc]
        """It tells addresses as a real server does."""

        def setup(self) -> None:
            super().setup()
            info = self.current_client.get_socket()._client_info
            for name in ("laddr", "addr"):
                info[name] = "{}:{}".format(*info[name])

    def info(self: Any, *sections: bytes) -> bytes:
        return b"# Server\r\nredis_version:8.0.0\r\n# Memory\r\nused_memory_human:1M\r\n# Clients\r\nconnected_clients:1\r\n"

    from fakeredis._socket._fakesocket import FakeSocket

    FakeSocket.info = command(name="info", fixed=(), repeat=(bytes,))(info)
    tcp._POLL_INTERVAL = 5
    server = tcp.TcpFakeServer(("0.0.0.0", 6379), server_type="redis")
    server.RequestHandlerClass = Handler
    server.daemon_threads = True
    server.serve_forever()


def _count(increase: Callable[[], Any]) -> list[int]:
    numbers = [increase()]
    rest()
    return [*numbers, increase()]


async def _count_async(increase: Callable[[], Any]) -> list[int]:
    numbers = [await increase()]
    await arest()
    return [*numbers, await increase()]


# --- Redis


def ask_redis() -> list[int]:
    import redis

    with redis.Redis(host="server") as database:
        return _count(lambda: database.incr("n"))


_family.add(
    "redis-py",
    ask_redis,
    [1, 2],
    server=serve_resp,
    package="redis",
    imports="redis",
    ci=True,
    tried="no time-out of its own",
)


def ask_redis_timeout() -> list[int]:
    import redis

    with redis.Redis(host="server", socket_timeout=5, socket_keepalive=True) as database:
        return _count(lambda: database.incr("n"))


_family.add(
    "redis-py, socket_timeout",
    ask_redis_timeout,
    [1, 2],
    server=serve_resp,
    package="redis",
    imports="redis",
    ci=True,
    tried="`socket_timeout=5`",
)


async def ask_redis_async() -> list[int]:
    import redis.asyncio

    async with redis.asyncio.Redis(host="server", socket_timeout=5) as database:
        return await _count_async(lambda: database.incr("n"))


_family.add(
    "redis-py, asyncio",
    ask_redis_async,
    [1, 2],
    server=serve_resp,
    package="redis",
    imports="redis.asyncio",
    ci=True,
    tried="`socket_timeout=5`",
)


def listen_redis() -> list[bytes]:
    import threading

    import redis

    database = redis.Redis(host="server", protocol=3)
    with database.pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe("news")
        channel.get_message(timeout=5)

        def tell() -> None:
            database.publish("news", "one")
            rest()
            database.publish("news", "two")

        threading.Thread(target=tell, daemon=True).start()
        found = []
        for message in channel.listen():
            found.append(message["data"])
            if len(found) == 2:
                return found
    return found


_family.add(
    "redis-py, publish and subscribe",
    listen_redis,
    [b"one", b"two"],
    server=serve_resp,
    package="redis",
    imports="redis",
    ci=True,
    tried="a listener without a time-out, and a thread that publishes",
)


def ask_valkey() -> list[int]:
    import valkey

    with valkey.Valkey(host="server", socket_timeout=5) as database:
        return _count(lambda: database.incr("n"))


_family.add("valkey", ask_valkey, [1, 2], server=serve_resp, imports="valkey", tried="`socket_timeout=5`")


async def ask_coredis() -> list[int]:
    import coredis

    client = coredis.Redis(host="server", stream_timeout=5)
    async with client:
        return await _count_async(lambda: client.incr("n"))


_family.add("coredis", ask_coredis, [1, 2], server=serve_fakeredis, imports="coredis fakeredis")


def ask_fakeredis() -> list[int]:
    import redis

    with redis.Redis(host="server", socket_timeout=5) as database:
        return _count(lambda: database.incr("n"))


_family.add(
    "fakeredis",
    ask_fakeredis,
    [1, 2],
    server=serve_fakeredis,
    imports="fakeredis redis",
    tried="its TCP server, asked by redis-py",
)


# --- PostgreSQL


def ask_pg8000() -> list[str]:
    import pg8000.native

    with pg8000.native.Connection("shop", host="server", password="p") as database:
        answers = [database.run("select :word", word="one")[0][0]]
        rest()
        return [*answers, database.run("select :word", word="two")[0][0]]


_family.add("pg8000", ask_pg8000, _RIGHT, server=serve_postgres, imports="pg8000.native", ci=True, tried="no time-out")


async def ask_asyncpg() -> list[str]:
    import asyncpg

    database = await asyncpg.connect(host="server", user="shop", password="p", command_timeout=30)
    answers = [await database.fetchval("select $1::text", "one")]
    await arest()
    answers.append(await database.fetchval("select $1::text", "two"))
    await database.close()
    return answers


_family.add(
    "asyncpg", ask_asyncpg, _RIGHT, server=serve_postgres, imports="asyncpg", ci=True, tried="`command_timeout=30`"
)


def ask_sqlalchemy() -> list[str]:
    import sqlalchemy

    engine = sqlalchemy.create_engine("postgresql+pg8000://shop:p@server/shop", pool_pre_ping=True)
    answers = []
    for word in ("one", "two"):
        with engine.connect() as connection:
            answers.append(connection.execute(sqlalchemy.text("select :word"), {"word": word}).scalar_one())
        if word == "one":
            rest()
    engine.dispose()
    return answers


_family.add(
    "SQLAlchemy",
    ask_sqlalchemy,
    _RIGHT,
    server=serve_postgres,
    imports="sqlalchemy pg8000",
    tried="over pg8000, with `pool_pre_ping`",
)


async def ask_sqlalchemy_async() -> list[str]:
    import sqlalchemy
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine("postgresql+asyncpg://shop:p@server/shop", connect_args={"command_timeout": 30})
    answers = []
    for word in ("one", "two"):
        async with engine.connect() as connection:
            answers.append((await connection.execute(sqlalchemy.text("select :word"), {"word": word})).scalar_one())
        if word == "one":
            await arest()
    await engine.dispose()
    return answers


_family.add(
    "SQLAlchemy, asyncio",
    ask_sqlalchemy_async,
    _RIGHT,
    server=serve_postgres,
    package="SQLAlchemy",
    imports="sqlalchemy.ext.asyncio asyncpg greenlet",
    tried="over asyncpg, by greenlets",
)


def ask_psycopg() -> Any:
    import psycopg

    return psycopg.connect("host=server user=shop").execute("select 1").fetchone()


_family.add("psycopg", ask_psycopg, None, imports="psycopg", is_refused=True, ci=True)


def ask_psycopg2() -> Any:
    import psycopg2

    return psycopg2.connect(host="server", user="shop")


_family.add("psycopg2", ask_psycopg2, None, package="psycopg2-binary", imports="psycopg2", is_refused=True)


async def ask_aiopg() -> Any:
    import aiopg

    return await aiopg.connect(host="server", user="shop")


_family.add("aiopg", ask_aiopg, None, imports="aiopg", is_refused=True, tried="psycopg2 below")


# --- MySQL


def serve_mysql() -> None:
    import asyncio

    from mysql_mimic import MysqlServer, Session

    class Shout(Session):  # type: ignore[misc]
        async def query(self, expression: Any, sql: str, attrs: Any) -> Any:
            word = sql.partition("'")[2].partition("'")[0]
            return [(word.upper(),)], ["answer"]

    asyncio.run(MysqlServer(Shout, host="0.0.0.0").serve_forever())


def _ask_mysql(cursor: Any) -> list[str]:
    answers = []
    for word in ("one", "two"):
        cursor.execute("select upper(%s) from words", (word,))
        answers.append(cursor.fetchone()[0])
        if word == "one":
            rest()
    return answers


def ask_pymysql() -> list[str]:
    import pymysql

    with pymysql.connect(host="server", user="shop") as database, database.cursor() as cursor:
        return _ask_mysql(cursor)


_family.add("PyMySQL", ask_pymysql, _RIGHT, server=serve_mysql, imports="pymysql mysql_mimic", tried="no time-out")


def ask_mysql_connector() -> list[str]:
    import mysql.connector

    with mysql.connector.connect(host="server", user="shop", ssl_disabled=True) as database:
        return _ask_mysql(database.cursor())


_family.add(
    "mysql-connector-python",
    ask_mysql_connector,
    _RIGHT,
    server=serve_mysql,
    imports="mysql.connector mysql_mimic",
    tried="in Python, as it is by default; no time-out",
)


async def ask_aiomysql() -> list[str]:
    import aiomysql

    database = await aiomysql.connect(host="server", user="shop")
    cursor = await database.cursor()
    answers = []
    for word in ("one", "two"):
        await cursor.execute("select upper(%s) from words", (word,))
        answers.append((await cursor.fetchone())[0])
        if word == "one":
            await arest()
    await cursor.close()
    database.close()
    return answers


_family.add("aiomysql", ask_aiomysql, _RIGHT, server=serve_mysql, imports="aiomysql mysql_mimic", tried="no time-out")


async def ask_asyncmy() -> list[str]:
    import asyncmy

    database = await asyncmy.connect(host="server", user="shop")
    answers = []
    async with database.cursor() as cursor:
        for word in ("one", "two"):
            await cursor.execute("select upper(%s) from words", (word,))
            answers.append((await cursor.fetchone())[0])
            if word == "one":
                await arest()
    database.close()
    return answers


_family.add(
    "asyncmy", ask_asyncmy, _RIGHT, server=serve_mysql, imports="asyncmy mysql_mimic", tried="Cython over asyncio"
)


# --- MongoDB


def ask_pymongo() -> list[int]:
    import pymongo

    client: Any = pymongo.MongoClient("mongodb://server", timeoutMS=10_000)
    try:
        client.shop.orders.insert_one({"_id": 1, "number": 7})
        rest()
        client.shop.orders.insert_one({"_id": 2, "number": 8})
        return [order["number"] for order in client.shop.orders.find({})]
    finally:
        client.close()


_IDS = "session ids from `uuid4`, and ids drawn at import"
_family.add(
    "pymongo", ask_pymongo, [7, 8], server=serve_mongo, imports="pymongo bson", tried="`timeoutMS=10000`", differs=_IDS
)


def ask_cassandra() -> list[int]:
    import cassandra.cluster
    from cassandra.io.asyncioreactor import AsyncioConnection

    cluster = cassandra.cluster.Cluster(
        ["10.0.0.2"], connection_class=AsyncioConnection, protocol_version=4, schema_metadata_enabled=False,
        token_metadata_enabled=False, connect_timeout=10)
    try:
        session = cluster.connect()
        return twice(lambda: session.execute("SELECT now FROM counter").one().now)
    finally:
        cluster.shutdown()


_family.add(
    "cassandra-driver", ask_cassandra, [1, 2], server=serve_cql, imports="cassandra.cluster cassandra.io.asyncioreactor",
    tried="`connection_class=AsyncioConnection`; the server is a small one of version 4 in Python",
)


def ask_cassandra_by_libev() -> Any:
    import cassandra.cluster
    from cassandra.io.libevreactor import LibevConnection

    return cassandra.cluster.Cluster(["10.0.0.2"], connection_class=LibevConnection).connect()


_family.add(
    "cassandra-driver, libev", ask_cassandra_by_libev, package="cassandra-driver",
    imports="cassandra.cluster cassandra.io.libevreactor", tried="its default, where libev is compiled", is_refused=True,
)


def ask_neo4j() -> list[int]:
    import neo4j

    with neo4j.GraphDatabase.driver("bolt://server", auth=("neo4j", "secret"), connection_timeout=10,
                                    max_transaction_retry_time=10) as driver:
        return [records[0]["n"] for records in twice(
            lambda: driver.execute_query("RETURN $n AS n", n=7, database_="neo4j").records)]


_BOLT = "the server is a small one of Bolt 5.0 in Python; `connection_timeout=10`"
_family.add(
    "neo4j", ask_neo4j, [7, 7], server=serve_bolt, imports="neo4j", tried=f"{_BOLT}, `max_transaction_retry_time=10`"
)


async def ask_neo4j_async() -> list[int]:
    import neo4j

    async with neo4j.AsyncGraphDatabase.driver(
            "bolt://server", auth=("neo4j", "secret"), connection_timeout=10) as driver, driver.session() as session:
        found = [(await (await session.run("RETURN $n AS n", n=7)).single())["n"]]
        await arest()
        return [*found, (await (await session.run("RETURN $n AS n", n=8)).single())["n"]]


_family.add("neo4j, asyncio", ask_neo4j_async, [7, 8], server=serve_bolt, package="neo4j", imports="neo4j", tried=_BOLT)


async def ask_pymongo_async() -> list[int]:
    import pymongo

    async with pymongo.AsyncMongoClient("mongodb://server", timeoutMS=10_000) as client:
        await client.shop.orders.insert_one({"_id": 1, "number": 7})
        await arest()
        await client.shop.orders.insert_one({"_id": 2, "number": 8})
        return [order["number"] async for order in client.shop.orders.find({})]


_family.add(
    "pymongo, asyncio",
    ask_pymongo_async,
    [7, 8],
    server=serve_mongo,
    package="pymongo",
    imports="pymongo bson",
    tried="`timeoutMS=10000`",
    differs=_IDS,
)


async def ask_motor() -> list[int]:
    import motor.motor_asyncio

    client: Any = motor.motor_asyncio.AsyncIOMotorClient("mongodb://server", timeoutMS=10_000)
    await client.shop.orders.insert_one({"_id": 1, "number": 7})
    await arest()
    await client.shop.orders.insert_one({"_id": 2, "number": 8})
    found = [order["number"] async for order in client.shop.orders.find({})]
    client.close()
    return found


_family.add(
    "motor",
    ask_motor,
    [7, 8],
    server=serve_mongo,
    imports="motor.motor_asyncio bson",
    differs=_IDS,
    tried="threads of a pool; `timeoutMS=10000`",
)


# --- memcached


def ask_pymemcache() -> list[bytes]:
    from pymemcache.client.base import Client

    cache = Client(("server", 11211), connect_timeout=5, timeout=5)
    cache.set("a", "one", noreply=False)
    found = [cache.get("a")]
    rest()
    found.append(cache.get("a"))
    cache.close()
    return found


_family.add(
    "pymemcache",
    ask_pymemcache,
    [b"one", b"one"],
    server=serve_memcached,
    imports="pymemcache.client.base",
    ci=True,
    tried="`timeout=5`",
)


def ask_python_memcached() -> list[str]:
    import memcache

    cache = memcache.Client(["server:11211"])
    cache.set("a", "one")
    found = [cache.get("a")]
    rest()
    found.append(cache.get("a"))
    cache.disconnect_all()
    return found


_family.add(
    "python-memcached",
    ask_python_memcached,
    ["one", "one"],
    server=serve_memcached,
    imports="memcache",
    tried="its errors are cache misses",
)


async def ask_aiomcache() -> list[bytes | None]:
    import aiomcache

    cache = aiomcache.Client("server", 11211)
    await cache.set(b"a", b"one")
    found = [await cache.get(b"a")]
    await arest()
    found.append(await cache.get(b"a"))
    await cache.close()
    return found


_family.add(
    "aiomcache", ask_aiomcache, [b"one", b"one"], server=serve_memcached, imports="aiomcache", tried="no time-out"
)


def ask_pylibmc() -> Any:
    import pylibmc

    return pylibmc.Client(["server:11211"]).get("a")


_family.add("pylibmc", ask_pylibmc, None, imports="pylibmc", is_refused=True)
