"""Virtual time tells the truth: real servers and clients notice faults when the lab says that they do. No root."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.real.truth import CLIENTS, USER_TIMEOUT_S, run_real, run_virtual, serve_grpc, servers_missing
from tests.kit.unprivileged import call_unprivileged

pytestmark = pytest.mark.skipif(sys.platform != "linux" or bool(servers_missing()), reason=servers_missing())


def tell_real() -> dict[str, Any]:
    """Tell the story with the servers themselves."""
    times, net = run_real()
    worst_ns = net.lateness.worst_ns
    return {"uid": os.getuid(), "late_s": worst_ns / 1e9,
            **{name: [one.cut_s, one.gone_s, one.error] for name, one in times.items()}}


def test_a_cut_and_a_loss_of_power_are_noticed_when_virtual_time_says() -> None:
    real, virtual = call_unprivileged(tell_real, timeout_s=400), run_virtual()
    assert real.pop("uid") != 0
    late_s = real.pop("late_s")
    assert set(virtual) == {"redis-py", "asyncpg", "http.client"}
    assert set(real) == set(CLIENTS)
    for name, told in virtual.items():
        cut_s, gone_s, error = real[name]
        # A retransmission timeout follows the measured round trip, and doubles seven times.
        assert cut_s == pytest.approx(told.cut_s, abs=128 * (late_s + 0.01)), name
        assert told.cut_s == pytest.approx(28, abs=1)
        assert gone_s == pytest.approx(told.gone_s, abs=2 * late_s + 0.2), name
        assert error == told.error
    for name in set(real) - set(virtual):
        cut_s, gone_s, error = real[name]
        assert 18 < cut_s < 60, name  # so long the cut lasts after the question
        # The kernel looks at its user timeout when its retransmission timer fires, whose times double.
        assert USER_TIMEOUT_S - 0.1 <= gone_s < 2 * USER_TIMEOUT_S + 1, name
        assert error, name


def unprivileged_redis() -> dict[str, Any]:
    """Let redis-py on estab's stack and redis-cli on the kernel's talk to redis-server, without any rights."""
    import estab

    with estab.Network(clock="real", late_max="60s") as net:
        server, client, other = net.host("server"), net.host("client"), net.host("other")
        router = net.host("router", forwarding=True)
        for host in (server, client, other):
            net.link(host, router, delay="1ms")
        process = server.spawn(["redis-server", "--protected-mode", "no", "--save", ""], quiet=True, cwd="/")
        process.wait_listening(6379, "60s")

        @client.run
        def program() -> str:
            import redis

            with redis.Redis("server", protocol=2) as connection:
                connection.set("key", "from estab's stack")
                return str(connection.ping())

        net.run()
        read = other.spawn(["redis-cli", "-h", "server", "get", "key"], quiet=True, cwd="/").check("60s")
        return {"ping": program.result(), "read": read}


def test_redis_needs_no_rights() -> None:
    assert call_unprivileged(unprivileged_redis) == {"ping": "True", "read": "from estab's stack"}


# --- nginx and curl, gRPC


def call_grpc(text: bytes) -> bytes:
    """Make one call."""
    import grpc

    with grpc.insecure_channel("server:50051", [("grpc.enable_http_proxy", 0)]) as channel:
        answer: bytes = channel.unary_unary("/story/Shout")(text, timeout=30)
        return answer


def test_a_grpc_server_and_client_talk_over_a_lossy_link() -> None:
    import estab

    with estab.Network(seed=3, clock="real", late_max="60s") as net:
        server, client = net.host("server"), net.host("client")
        net.link(server, client, delay="5ms", loss="2%")
        server.spawn_python(serve_grpc, quiet=True).wait_output("listening", "60s")
        assert client.spawn_python(call_grpc, b"hello", quiet=True).result("60s") == b"HELLO"


NGINX = """
daemon off; pid {folder}/pid; error_log stderr;
events {{}}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 80; listen [::]:80; location / {{ return 200 "from nginx\\n"; }} }}
}}
"""


def test_nginx_serves_curl_and_a_program_on_estabs_stack(tmp_path: Path) -> None:
    import estab

    config = tmp_path / "nginx.conf"
    config.write_text(NGINX.format(folder=tmp_path))
    with estab.Network(seed=3, clock="real", late_max="60s") as net:
        server, curl, program = net.host("server"), net.host("curl"), net.host("program")
        router = net.host("router", forwarding=True)
        for host in (server, curl, program):
            net.link(host, router, delay="1ms")
        user = ["-g", "user root;"] if os.geteuid() == 0 else []
        nginx = server.spawn(["nginx", "-c", str(config), "-e", "stderr", *user],
                             env={"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}, quiet=True)
        nginx.wait_listening(80, "60s")
        assert curl.spawn(["curl", "-s", "http://server/"], quiet=True).check("60s") == "from nginx"

        @program.run
        def ask() -> str:
            from urllib.request import urlopen

            with urlopen("http://server/") as answer:
                return str(answer.read().decode())

        net.run()
        assert ask.result() == "from nginx\n"
        nginx.terminate()
        assert nginx.wait("60s") == 0
