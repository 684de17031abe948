"""Does virtual time tell the truth? One story: with real servers on the kernel's TCP, and by the lab in virtual time.

Clients of redis, PostgreSQL, nginx and a gRPC server ask; the cables of the servers are cut for 30 s, in which they ask
again; later the servers lose their power, and they ask once more. When does each client notice? ``python -m
bench.real.truth`` tells. No rights are needed.

Three clients are alike in both runs: redis-py, asyncpg and http.client on estab's stack. The others run on the kernel's
TCP, for comparison: curl opens a connection for each question, all others keep one.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import estab
from bench.real.standins import serve_http, serve_postgres, serve_redis

__all__ = ["CLIENTS", "Times", "run_real", "run_virtual", "servers_missing"]

USER_TIMEOUT_S = 4
QUESTIONS = 40
"""So often each client asks at first: its first round trip is measured while programs still import what they need."""
CUT_S, GONE_S = 8.0, 20.0
"""When the cut begins, and how long after its end the power goes."""
ASK_AFTER_S, ASK_GONE_AFTER_S = 12.0, 0.5
"""How long after a fault its clients ask. A cut of 30 s ends between the retransmissions 14 s and 28 s after that."""


@dataclass(frozen=True)
class Times:
    """When a client noticed: seconds from its question to the answer, or to the error."""

    cut_s: float
    gone_s: float
    error: str


def _sleep_until(wall_s: float) -> None:
    time.sleep(max(0.0, wall_s - time.time()))


def _limit(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_S * 1000)


def ask_redis(began: float, cut_s: float) -> tuple[float, float, str]:
    """Be a client of redis, by redis-py."""
    import redis

    keep = {socket.TCP_USER_TIMEOUT: 120_000}
    client = redis.Redis("redis", protocol=2, socket_timeout=None, socket_keepalive=True, socket_keepalive_options=keep,
                         retry=None, max_connections=1)
    for _ in range(QUESTIONS):
        client.ping()
    _sleep_until(began + CUT_S + ASK_AFTER_S)
    asked = time.monotonic()
    client.ping()
    cut = time.monotonic() - asked
    connection = client.connection_pool.get_connection()
    _limit(connection._sock)
    client.connection_pool.release(connection)
    _sleep_until(began + CUT_S + GONE_S + cut_s + ASK_GONE_AFTER_S)
    asked = time.monotonic()
    error = ""
    try:
        client.ping()
    except redis.exceptions.RedisError as raised:
        error = type(raised).__name__
    return cut, time.monotonic() - asked, error


async def ask_asyncpg(began: float, cut_s: float) -> tuple[float, float, str]:
    """Be a client of PostgreSQL, by asyncpg."""
    import asyncpg

    client = await asyncpg.connect(host="postgres", user="postgres", database="postgres", ssl=False)
    for _ in range(QUESTIONS):
        await client.fetchval("SELECT 1")
    connection = client._transport.get_extra_info("socket")
    await asyncio.sleep(began + CUT_S + ASK_AFTER_S - time.time())
    asked = time.monotonic()
    await client.fetchval("SELECT 1")
    cut = time.monotonic() - asked
    _limit(connection)
    await asyncio.sleep(began + CUT_S + GONE_S + cut_s + ASK_GONE_AFTER_S - time.time())
    asked = time.monotonic()
    error = ""
    try:
        await client.fetchval("SELECT 1")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as raised:
        error = type(raised).__name__
    return cut, time.monotonic() - asked, error


def ask_psycopg(began: float, cut_s: float) -> tuple[float, float, str]:
    """Be a client of PostgreSQL, by psycopg, which is written in C."""
    import psycopg

    with psycopg.connect("host=postgres user=postgres dbname=postgres sslmode=disable", autocommit=True) as client:
        for _ in range(QUESTIONS):
            client.execute("SELECT 1")
        _sleep_until(began + CUT_S + ASK_AFTER_S)
        asked = time.monotonic()
        client.execute("SELECT 1")
        cut = time.monotonic() - asked
        with socket.socket(fileno=os.dup(client.fileno())) as connection:
            _limit(connection)
        _sleep_until(began + CUT_S + GONE_S + cut_s + ASK_GONE_AFTER_S)
        asked = time.monotonic()
        error = ""
        try:
            client.execute("SELECT 1")
        except psycopg.Error as raised:
            error = type(raised).__name__
        return cut, time.monotonic() - asked, error


def ask_http(began: float, cut_s: float) -> tuple[float, float, str]:
    """Be a client of nginx, by the standard library."""
    with closing(http.client.HTTPConnection("nginx")) as client:
        for _ in range(QUESTIONS):
            _ask_nginx(client)
        _sleep_until(began + CUT_S + ASK_AFTER_S)
        asked = time.monotonic()
        _ask_nginx(client)
        cut = time.monotonic() - asked
        _limit(client.sock)
        _sleep_until(began + CUT_S + GONE_S + cut_s + ASK_GONE_AFTER_S)
        asked = time.monotonic()
        error = ""
        try:
            _ask_nginx(client)
        except OSError as raised:
            error = type(raised).__name__
        return cut, time.monotonic() - asked, error


def _ask_nginx(client: http.client.HTTPConnection) -> None:
    client.request("GET", "/")
    assert client.getresponse().read() == b"from nginx\n"


def ask_curl(began: float, cut_s: float) -> tuple[float, float, str]:
    """Be a client of nginx, by curl: a new connection for each question."""

    def ask(timeout_s: float) -> tuple[float, int]:
        asked = time.monotonic()
        done = subprocess.run(["curl", "-s", "-4", "--connect-timeout", f"{timeout_s:g}", "http://nginx/"], check=False,
                              capture_output=True, text=True)
        assert done.returncode or done.stdout == "from nginx\n"
        return time.monotonic() - asked, done.returncode

    assert ask(30)[1] == 0
    _sleep_until(began + CUT_S + ASK_AFTER_S)
    cut, status = ask(120)
    assert status == 0
    _sleep_until(began + CUT_S + GONE_S + cut_s + ASK_GONE_AFTER_S)
    gone, status = ask(USER_TIMEOUT_S)
    return cut, gone, f"exit status {status}" if status else ""


def serve_grpc() -> None:
    """Answer any unary call of gRPC with its request in capital letters."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(lambda request, context: request.upper())

    server = grpc.server(ThreadPoolExecutor(2), handlers=[Handler()])
    server.add_insecure_port("[::]:50051")
    server.start()
    print("listening", flush=True)
    server.wait_for_termination()


def ask_grpc(began: float, cut_s: float) -> tuple[float, float, str]:
    """Be a client of gRPC."""
    import grpc

    with grpc.insecure_channel("grpc:50051", [("grpc.enable_http_proxy", 0)]) as channel:
        shout = channel.unary_unary("/story/Shout")
        for _ in range(QUESTIONS):
            assert shout(b"hello", timeout=30) == b"HELLO"
        _sleep_until(began + CUT_S + ASK_AFTER_S)
        asked = time.monotonic()
        shout(b"again", timeout=120)
        cut = time.monotonic() - asked
        _sleep_until(began + CUT_S + GONE_S + cut_s + ASK_GONE_AFTER_S)
        asked = time.monotonic()
        error = ""
        try:
            shout(b"gone", timeout=USER_TIMEOUT_S)
        except grpc.RpcError as raised:
            error = raised.code().name
        return cut, time.monotonic() - asked, error


CLIENTS: dict[str, tuple[Callable[..., Any], bool]] = {
    "redis-py": (ask_redis, False), "asyncpg": (ask_asyncpg, False), "http.client": (ask_http, False),
    "redis-py, kernel": (ask_redis, True), "psycopg, kernel": (ask_psycopg, True), "gRPC, kernel": (ask_grpc, True),
    "curl, kernel": (ask_curl, True),
}
"""Each client, and whether the kernel's TCP is its own."""


_SERVERS = ("redis", "postgres", "nginx", "grpc")
_NGINX = """
daemon off; pid {folder}/pid; error_log stderr;
events {{}}
http {{
  access_log off; keepalive_timeout 600; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 80; listen [::]:80; location / {{ return 200 "from nginx\\n"; }} }}
}}
"""


def servers_missing() -> str:
    """Say what is not installed; empty if all is."""
    there = _postgres() and shutil.which("redis-server") and _nginx() and shutil.which("curl")
    return "" if there else "needs redis-server, postgresql, nginx and curl"


def _nginx() -> str:
    return shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin:/sbin") or ""


def _postgres() -> str:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return str(found[-1].parent) if found else ""


def _plan(net: estab.Network, cut_s: float) -> None:
    """Cut the servers' cables, mend them, and later take their power."""
    for name in _SERVERS:
        host = net.hosts[name]
        link = next(link for link in net.links if host in link.ends)
        net.at(net.now + CUT_S, link.cut)
        net.at(net.now + CUT_S + cut_s, link.heal)
        net.at(net.now + CUT_S + GONE_S + cut_s, host.power_off)


def _wire(net: estab.Network, clients: list[str]) -> list[estab.Host]:
    router = net.host("router", forwarding=True)
    hosts = [net.host(name) for name in (*_SERVERS, *clients)]
    for host in hosts:
        net.link(host, router, delay="5ms")
    return hosts


def run_virtual(cut_s: float = 30.0) -> dict[str, Times]:
    """Tell the story in virtual time."""
    with estab.Network(seed=1) as net:
        names = [name for name, (_, is_kernel) in CLIENTS.items() if not is_kernel]
        redis, postgres, nginx, _, *clients = _wire(net, [f"client{number}" for number in range(len(names))])
        redis.run(serve_redis, daemon=True)
        postgres.run(serve_postgres, daemon=True)
        nginx.run(serve_http, daemon=True)
        _plan(net, cut_s)
        began = redis.clock.wall_ns / 1e9
        running = [host.run(CLIENTS[name][0], began, cut_s, start="1s")
                   for name, host in zip(names, clients, strict=True)]
        net.run()
        return {name: Times(*program.result()) for name, program in zip(names, running, strict=True)}


def run_real(cut_s: float = 30.0) -> tuple[dict[str, Times], estab.Network]:
    """Tell the story with the servers themselves, in real time."""
    folder = tempfile.mkdtemp(prefix="estab-truth-")
    try:
        os.chmod(folder, 0o777)
        with estab.Network(seed=1, clock="real", late_max="60s") as net:
            return _tell_real(net, folder, cut_s), net
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _tell_real(net: estab.Network, folder: str, cut_s: float) -> dict[str, Times]:
    redis, postgres, nginx, grpc, *clients = _wire(net, [f"client{number}" for number in range(len(CLIENTS))])
    server = redis.spawn(["redis-server", "--protected-mode", "no", "--save", ""], cwd="/", quiet=True)
    data, tools = f"{folder}/data", _postgres()
    user = "postgres" if os.geteuid() == 0 else None
    postgres.spawn([f"{tools}/initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"], user=user, cwd="/",
                   quiet=True).check("120s")
    with open(f"{data}/pg_hba.conf", "a") as file:
        file.write("host all all all trust\n")
    database = postgres.spawn([f"{tools}/postgres", "-D", data, "-h", "*", "-k", folder, "-c", "fsync=off"], user=user,
                              cwd="/", quiet=True)
    config = Path(folder, "nginx.conf")
    config.write_text(_NGINX.format(folder=folder))
    web = nginx.spawn([_nginx(), "-c", str(config), "-e", "stderr"], cwd="/", quiet=True)
    calls = grpc.spawn_python(serve_grpc, quiet=True)
    server.wait_listening(6379, "60s")
    web.wait_listening(80, "60s")
    calls.wait_output("listening", "60s")
    database.wait_output("ready to accept connections", "60s")
    _plan(net, cut_s)
    began = time.time()
    running: dict[str, Any] = {}
    for (name, (client, is_kernel)), host in zip(CLIENTS.items(), clients, strict=True):
        running[name] = (host.spawn_python(client, began, cut_s, quiet=True) if is_kernel
                         else host.run(client, began, cut_s))
    # Not until nothing waits to be delivered: a kernel tries for minutes to tell a server without power of its FIN.
    while not all(program.done() for name, program in running.items() if not CLIENTS[name][1]):
        net.run(until=net.now + 0.1)
    return {name: Times(*(program.result("300s") if CLIENTS[name][1] else program.result()))
            for name, program in running.items()}


def main() -> None:
    """Print the table."""
    missing = servers_missing()
    if missing:
        raise SystemExit(missing)
    virtual = run_virtual()
    real, net = run_real()
    print("| client | after a cut of 30 s: virtual | real | server without power: virtual | real | as |")
    print("|---|---:|---:|---:|---:|---|")
    for name, times in real.items():
        told = virtual.get(name)
        words = ("–", "–") if told is None else (f"{told.cut_s:.2f} s", f"{told.gone_s:.2f} s")
        print(f"| {name} | {words[0]} | {times.cut_s:.2f} s | {words[1]} | {times.gone_s:.2f} s | {times.error} |")
    with suppress(RuntimeError):
        print(f"\nThe real run was this late: {net.lateness}.")


if __name__ == "__main__":
    main()
