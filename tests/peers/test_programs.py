"""Programs that everybody has, at the other end of a stack of ours: iperf3, ssh, Redis, PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis
import redis.asyncio

from tests.kit.exchanges import Task, digest_of
from tests.kit.namespaces import await_that, find, needs, requires_kernel
from tests.kit.tun import KERNEL, STACK, TunNamespace
from tests.peers import iperf
from tests.peers.bridge import Bridge

pytestmark = requires_kernel

FAMILIES = pytest.mark.parametrize("version", [0, 1], ids=["ipv4", "ipv6"])


# --- iperf3


@needs("iperf3")
@FAMILIES
def test_iperf3_sends_to_us_and_both_count_the_same(netns: TunNamespace, version: int) -> None:
    stack = netns.stack()
    with stack.socket(socket.AF_INET6) as listener:
        listener.bind(("::", 5201))
        listener.listen(5)
        task = Task(iperf.serve_once, listener)
        shown = json.loads(netns.run("iperf3", "-c", STACK[version], "-t1", "-J").stdout)
        assert task.result() == shown["end"]["sum_sent"]["bytes"] > 1_000_000


@needs("iperf3")
@FAMILIES
def test_iperf3_receives_from_us_and_both_count_the_same(netns: TunNamespace, version: int) -> None:
    netns.start("iperf3", "-s")
    netns.wait_for_port(5201)
    stack = netns.stack()
    family = socket.AF_INET6 if version else socket.AF_INET
    with stack.socket(family) as control, stack.socket(family) as stream:

        def settle() -> None:
            await_that(lambda: stream.unacked == 0, "all is acknowledged")
            await_that(lambda: all(row.split()[1] == "0" for row in netns.run("ss", "-Htn").stdout.splitlines()),
                       "iperf3 has read all")

        sent = 20_000_000
        assert iperf.upload(control, stream, (KERNEL[version], 5201), sent, settle) == sent


# --- ssh


@pytest.fixture(name="ssh")
def make_ssh(tmp_path: Path) -> tuple[list[str], list[str]]:
    """Keys and settings: sshd's arguments, and ssh's."""
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    (tmp_path / "authorized").write_bytes((tmp_path / "user.pub").read_bytes())
    os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    server = ["-o", f"HostKey={tmp_path}/host", "-o", f"AuthorizedKeysFile={tmp_path}/authorized", "-o", "UsePAM=no",
              "-o", "StrictModes=no", "-o", "PidFile=none", "-f", "/dev/null", "-o", "PermitRootLogin=yes"]
    client = ["-F", "/dev/null", "-i", str(tmp_path / "user"), "-o", "StrictHostKeyChecking=no",
              "-o", f"UserKnownHostsFile={tmp_path}/known", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"]
    return server, client


@needs("ssh", "sshd", "ssh-keygen")
@FAMILIES
def test_ssh_speaks_to_sshd_through_a_stack_that_connects(
    netns: TunNamespace, ssh: tuple[list[str], list[str]], version: int, tmp_path: Path
) -> None:
    server, client = ssh
    netns.start("sshd", "-D", "-p", "2222", *server)
    netns.wait_for_port(2222)
    blob = tmp_path / "blob"
    blob.write_bytes(os.urandom(3_000_000))
    with Bridge.to_namespace(netns.stack(), KERNEL[version], 2222) as bridge:
        shown = subprocess.run(["ssh", *client, "-p", str(bridge.port), "root@127.0.0.1", f"cat {blob}"],
                               capture_output=True, timeout=60, check=False)
    assert shown.returncode == 0, shown.stderr
    assert digest_of(shown.stdout) == digest_of(blob.read_bytes())
    assert bridge.carried[1] > 3_000_000


@needs("ssh", "sshd", "ssh-keygen")
@FAMILIES
def test_ssh_speaks_to_sshd_through_a_stack_that_listens(
    netns: TunNamespace, ssh: tuple[list[str], list[str]], version: int, tmp_path: Path
) -> None:
    server, client = ssh
    sshd = find("sshd")
    assert sshd is not None
    started = []

    def spawn() -> socket.socket:
        ours, theirs = socket.socketpair()
        started.append(subprocess.Popen([sshd, "-i", *server], stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL))
        theirs.close()
        return ours

    blob = os.urandom(3_000_000)
    with Bridge.from_namespace(netns.stack(), 2222, spawn):
        shown = netns.run("ssh", *client, "-p", "2222", f"root@{STACK[version]}", f"cat > {tmp_path}/blob && echo done",
                        binary=blob)
    assert shown.stdout == "done\n"
    assert digest_of((tmp_path / "blob").read_bytes()) == digest_of(blob)
    for process in started:
        process.wait(10)


# --- Redis


@pytest.fixture(name="redis_port")
def make_redis(netns: TunNamespace, tmp_path: Path) -> int:
    netns.start("redis-server", "--port", "6379", "--bind", *KERNEL, "--save", "", "--dir", str(tmp_path),
              "--protected-mode", "no")
    netns.wait_for_port(6379)
    return 6379


@needs("redis-server")
@FAMILIES
def test_redis_py_gets_back_what_it_set(netns: TunNamespace, redis_port: int, version: int) -> None:
    big = os.urandom(5_000_000)
    with netns.stack().installed():
        client = redis.Redis(KERNEL[version], redis_port, socket_timeout=30)
        assert client.set("big", big)
        found = client.get("big")
        assert isinstance(found, bytes)
        assert digest_of(found) == digest_of(big)
        pipe = client.pipeline(transaction=False)
        for number in range(2000):
            pipe.incrby("sum", number)
        assert pipe.execute()[-1] == sum(range(2000))
        client.close()


@needs("redis-server")
def test_redis_py_under_asyncio_publishes_and_subscribes(netns: TunNamespace, redis_port: int) -> None:
    async def talk() -> list[Any]:
        client = redis.asyncio.Redis(host=KERNEL[0], port=redis_port)
        heard = client.pubsub()
        await heard.subscribe("news")
        while (await heard.get_message(timeout=5))["type"] != "subscribe":
            pass
        await asyncio.gather(*(client.publish("news", str(number)) for number in range(50)))
        got = [int((await heard.get_message(timeout=5))["data"]) for _ in range(50)]
        await heard.aclose()
        await client.aclose()
        return got

    with netns.stack().installed():
        assert sorted(asyncio.run(talk())) == list(range(50))


# --- PostgreSQL


@pytest.fixture(name="postgres_port")
def make_postgres(netns: TunNamespace) -> Iterator[int]:
    """A cluster of its own, run by the user ``postgres``, as the server refuses to be root."""
    folder = Path("/tmp") / f"estab-postgres-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    shutil.chown(folder, "postgres", "postgres")
    netns.run("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", find("initdb") or "initdb", "-D",
            str(folder / "data"), "-A", "trust", "-N", "--locale=C", "-E", "UTF8", "-U", "postgres", cwd="/",
            timeout=60)
    with open(folder / "data" / "pg_hba.conf", "a") as file:
        file.write("host all all all trust\n")
    server = netns.start("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups",
                       find("postgres") or "postgres", "-D", str(folder / "data"), "-c", "listen_addresses=*",
                       "-c", "fsync=off", "-c", f"unix_socket_directories={folder}", cwd="/")
    # It listens before it has recovered, and refuses until then.
    await_that(lambda: netns.run("pg_isready", "-h", KERNEL[0], check=False).returncode == 0,
               "PostgreSQL takes connections", 60)
    yield 5432
    netns.end(server)
    shutil.rmtree(folder, ignore_errors=True)


@needs("initdb", "postgres", "pg_isready", "setpriv")
@FAMILIES
def test_asyncpg_gets_back_what_it_inserted(netns: TunNamespace, postgres_port: int, version: int) -> None:
    blob = os.urandom(2_000_000)

    async def talk() -> bytes:
        connection = await asyncpg.connect(host=KERNEL[version], port=postgres_port, user="postgres",
                                           database="postgres", timeout=20)
        await connection.execute("create table t (n int, b bytea)")
        await connection.executemany("insert into t values ($1, $2)", [(number, bytes(100)) for number in range(500)])
        await connection.copy_records_to_table("t", records=[(number, b"x") for number in range(500, 2000)])
        assert await connection.fetchval("select sum(n) from t") == sum(range(2000))
        await connection.execute("insert into t values (-1, $1)", blob)
        found = await connection.fetchval("select b from t where n = -1")
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.fetchval("select 1 / 0")
        await connection.execute("drop table t")
        await connection.close()
        assert isinstance(found, bytes)
        return found

    with netns.stack().installed():
        assert digest_of(asyncio.run(talk())) == digest_of(blob)
