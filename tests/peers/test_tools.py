"""What the kernel's own tools say of a stack of ours: ping, traceroute, ss, curl, wrk, nginx."""

from __future__ import annotations

import http.client
import os
import re
import socket
from pathlib import Path

import pytest

from estab.serve.http import Http
from estab.serve.plain import Echo
from estab.stack.folder import Folder
from tests.kit.exchanges import digest_of, receive_all
from tests.kit.namespaces import await_that, needs, requires_kernel
from tests.kit.tun import KERNEL, STACK, TunNamespace

pytestmark = requires_kernel

FAMILIES = pytest.mark.parametrize("version", [0, 1], ids=["ipv4", "ipv6"])


def in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


@needs("ping")
@FAMILIES
def test_ping_is_answered_whatever_its_size(netns: TunNamespace, version: int) -> None:
    netns.stack()
    for size in ("0", "56", "1472", "5000"):
        shown = netns.run("ping", "-c3", "-i0.01", "-W2", "-s", size, STACK[version]).stdout
        assert "3 received, 0% packet loss" in shown


@FAMILIES
def test_our_ping_is_answered_by_the_kernel(netns: TunNamespace, version: int) -> None:
    stack = netns.stack()
    with stack.runtime.lock:
        pinger = stack.engine.ping(KERNEL[version], b"x" * 1000, stack.runtime.now_ns)
        stack.runtime.flush()
    name = "IcmpInEchoReps" if version == 0 else "Icmp6InEchoReplies"
    await_that(lambda: stack.counters().get(name, 0) == 1, "the reply came")
    with stack.runtime.lock:
        pinger.close(stack.runtime.now_ns)


@needs("traceroute")
@pytest.mark.parametrize("method", ["-U", "-I", "-T"])
@FAMILIES
def test_traceroute_ends_at_the_stack(netns: TunNamespace, version: int, method: str) -> None:
    netns.stack()
    shown = netns.run("traceroute", "-n", "-q1", "-w2", "-m3", method, STACK[version]).stdout
    assert re.search(rf"^ 1  {re.escape(STACK[version])}  [\d.]+ ms", shown, re.MULTILINE), shown


@needs("ss")
@FAMILIES
def test_ss_shows_that_every_option_was_agreed(netns: TunNamespace, version: int) -> None:
    netns.stack().serve(Echo(), 7)
    with netns.socket(socket.AF_INET6 if version else socket.AF_INET) as end:
        end.connect((STACK[version], 7))
        end.sendall(b"hello")
        assert end.recv(100) == b"hello"
        shown = netns.run("ss", "-tinoH", "state", "established").stdout
    assert " ts sack " in shown
    assert re.search(r"wscale:\d+,\d+", shown)
    mss = 1500 - (40 if version == 0 else 60) - 12
    assert f" mss:{mss} " in shown
    assert "bytes_acked:6" in shown
    assert "retrans" not in shown


@pytest.fixture(name="site")
def make_site(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text("<p>hello")
    (site / "big.bin").write_bytes(os.urandom(20_000_000))
    return site


@needs("curl")
@pytest.mark.parametrize("offload", [True, False], ids=["offload", "plain"])
@FAMILIES
def test_curl_downloads_byte_for_byte(
    netns: TunNamespace, site: Path, version: int, offload: bool, tmp_path: Path,
) -> None:
    netns.stack(offload).serve(Http(Folder(site)), 80)
    url = f"http://{in_url(STACK[version])}"
    out = tmp_path / "out"
    netns.run("curl", "-gsS", "-o", str(out), f"{url}/big.bin")
    assert digest_of(out.read_bytes()) == digest_of((site / "big.bin").read_bytes())
    netns.run("curl", "-gsS", "-o", str(out), "-r", "1000-1999999", f"{url}/big.bin")
    assert out.read_bytes() == (site / "big.bin").read_bytes()[1000:2000000]
    shown = netns.run("curl", "-gsSI", f"{url}/index.html").stdout
    assert shown.startswith("HTTP/1.1 200 OK")
    assert netns.run("curl", "-gsS", "-w", "%{http_code} %{num_connects}\n", f"{url}/", f"{url}/none").stdout == (
        "<p>hello200 1\n404 Not Found: there is nothing of that name\n404 0\n")
    assert netns.run("curl", "-gsS", "--path-as-is", f"{url}/../../etc/passwd").stdout.startswith("400 Bad Request")


@needs("wrk")
def test_wrk_finds_no_error_in_thousands_of_requests(netns: TunNamespace, site: Path) -> None:
    http_service = Http(Folder(site))
    netns.stack().serve(http_service, 80)
    shown = netns.run("wrk", "-t1", "-c50", "-d2s", f"http://{STACK[0]}/").stdout
    assert "Socket errors" not in shown
    assert "Non-2xx" not in shown
    requests = re.search(r"(\d+) requests in", shown)
    assert requests is not None
    assert int(requests[1]) > 200
    assert http_service.error_count == 0


@needs("nginx")
@FAMILIES
def test_we_download_from_nginx_byte_for_byte(netns: TunNamespace, site: Path, version: int, tmp_path: Path) -> None:
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log; user root; events {{}}\n"
        f"http {{ access_log off; sendfile on; client_body_temp_path {tmp_path}; proxy_temp_path {tmp_path};"
        f" fastcgi_temp_path {tmp_path}; uwsgi_temp_path {tmp_path}; scgi_temp_path {tmp_path};"
        f" server {{ listen 8080; listen [::]:8080; root {site}; }} }}\n")
    netns.start("nginx", "-c", str(config), "-p", str(tmp_path))
    netns.wait_for_port(8080)
    stack = netns.stack()
    with stack.installed():
        client = http.client.HTTPConnection(KERNEL[version], 8080, timeout=30)
        for _ in range(2):  # the second on the same connection
            client.request("GET", "/big.bin")
            assert digest_of(client.getresponse().read()) == digest_of((site / "big.bin").read_bytes())
        client.close()
    assert stack.counters()["TcpActiveOpens"] == 1


@needs("nginx", "curl")
def test_a_server_program_of_the_standard_library_serves_curl(netns: TunNamespace) -> None:
    stack = netns.stack()
    listener = stack.socket()
    listener.bind(("", 8000))
    listener.listen()
    from tests.kit.exchanges import Task

    def serve() -> bytes:
        end, _ = listener.accept()
        with end:
            request = end.recv(65536)
            end.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + b"y" * 300_000)
            end.shutdown(socket.SHUT_WR)
            receive_all(end)
        return request

    task = Task(serve)
    assert netns.run("curl", "-sS", f"http://{STACK[0]}:8000/x").stdout == "y" * 300_000
    assert task.result().startswith(b"GET /x HTTP/1.1\r\n")
    listener.close()
