"""A stack on a TUN device, and the kernel's own TCP on the other side."""

from __future__ import annotations

import asyncio
import hashlib
import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

import estab
from estab.devices import uring
from tests.kit.exchanges import BULK, echo_all, exchange
from tests.kit.namespaces import Namespace, requires_kernel
from tests.kit.ring import requires_rings
from tests.kit.tun import TunNamespace
from tests.test_examples import path_of_estab

pytestmark = requires_kernel


@pytest.fixture(name="stack", params=["offload", "plain", "plain-by-single-frames"])
def make_stack(
    netns: TunNamespace, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch,
) -> Iterator[estab.Stack]:
    """A stack on that device; the last one where io_uring is forbidden."""
    if request.param == "plain-by-single-frames":
        monkeypatch.setattr(uring, "open_ring", lambda *args, **named: None)
    with estab.Stack(estab.Tun("tun0", netns=netns.name, offload=request.param == "offload"),
                     ["10.7.0.2/24", "fd00:7::2/64"]) as stack:
        yield stack


@pytest.mark.parametrize(("family", "here"), [(socket.AF_INET, "10.7.0.2"), (socket.AF_INET6, "fd00:7::2")])
def test_the_kernel_connects_and_has_ten_megabytes_back_byte_for_byte(
    netns: TunNamespace, stack: estab.Stack, family: int, here: str,
) -> None:
    listener = stack.socket(family)
    listener.bind(("", 7))
    listener.listen()
    server = threading.Thread(target=lambda: echo_all(listener.accept()[0]))
    server.start()
    with netns.socket(family) as client:
        client.connect((here, 7))
        back = exchange(client, BULK)
    server.join(20)
    listener.close()
    assert hashlib.sha256(back).digest() == hashlib.sha256(BULK).digest()


@pytest.mark.parametrize(("family", "there"), [(socket.AF_INET, "10.7.0.1"), (socket.AF_INET6, "fd00:7::1")])
def test_a_socket_of_the_stack_connects_to_the_kernel_and_has_ten_megabytes_back(
    netns: TunNamespace, stack: estab.Stack, family: int, there: str,
) -> None:
    with netns.socket(family) as listener:
        listener.bind(("", 7))
        listener.listen()
        server = threading.Thread(target=lambda: echo_all(listener.accept()[0]))
        server.start()
        with stack.socket(family) as client:
            client.settimeout(20)
            client.connect((there, 7))
            back = exchange(client, BULK)
        server.join(20)
    assert hashlib.sha256(back).digest() == hashlib.sha256(BULK).digest()


@requires_rings
def test_without_offload_a_step_s_packets_cross_by_one_call(
    netns: TunNamespace, monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts: list[int] = []
    enter = uring.Ring.enter

    def counting(ring: uring.Ring, count: int) -> int:
        began = enter(ring, count)
        counts.append(began)
        return began

    monkeypatch.setattr(uring.Ring, "enter", counting)
    with estab.Stack(estab.Tun("tun0", netns=netns.name, offload=False), "10.7.0.2/24") as stack, \
            stack.socket() as listener, netns.socket() as client:
        listener.bind(("10.7.0.2", 7))
        listener.listen()
        client.connect(("10.7.0.2", 7))
        accepted = listener.accept()[0]
        sent = len(BULK) // 10
        server = threading.Thread(target=lambda: (accepted.sendall(BULK[:sent]), accepted.close()))
        server.start()
        back = b"".join(iter(lambda: client.recv(1 << 20), b""))
        server.join(20)
    assert back == BULK[:sent]
    assert max(counts) > 20
    assert sum(counts) > sent // 1460 // 2


def test_with_offload_segments_cross_that_are_larger_than_the_mtu(netns: TunNamespace) -> None:
    with estab.Stack(estab.Tun("tun0", netns=netns.name), "10.7.0.2/24") as stack, netns.socket() as client:
        with stack.socket() as listener:
            listener.bind(("", 7))
            listener.listen()
            server = threading.Thread(target=lambda: echo_all(listener.accept()[0]))
            server.start()
            client.connect(("10.7.0.2", 7))
            exchange(client, BULK)
            server.join(20)
        interface = stack.engine.interfaces[1]
        assert interface.rx_bytes / interface.rx_frames > 4000
        assert interface.tx_bytes / interface.tx_frames > 4000


def test_a_device_that_is_made_comes_up_with_the_kernels_address_and_goes_with_the_stack() -> None:
    with Namespace() as netns:
        link = estab.Tun("estab7", netns=netns.name, mtu=1400)
        with estab.Stack(link, ["10.7.0.1/24", "fd00:7::2/64"]) as stack, stack.socket() as listener:
            assert "10.7.0.2/24" in netns.ip("addr show dev estab7")
            assert "fd00:7::1/64" in netns.ip("addr show dev estab7")
            listener.bind(("", 7))
            listener.listen()
            with netns.socket() as client:
                client.connect(("10.7.0.1", 7))
        assert "estab7" not in netns.ip("link show")


def test_a_device_that_was_there_is_left_as_it_was(netns: TunNamespace) -> None:
    before = netns.ip("addr show dev tun0")
    with estab.Stack(estab.Tun("tun0", netns=netns.name, peer="10.9.9.1/24"), "10.7.0.2/24"):
        pass
    after = netns.ip("addr show dev tun0")
    assert [line for line in after.splitlines() if "scope global" in line] == [
        line for line in before.splitlines() if "scope global" in line]


def test_a_killed_process_leaves_no_device_behind() -> None:
    program = (
        "import estab, sys, time; "
        "stack = estab.Stack(estab.Tun('estab8', netns=sys.argv[1]), '10.7.0.2/24'); stack.run_in_thread(); "
        "print('up', flush=True); time.sleep(60)"
    )
    with Namespace() as netns:
        process = subprocess.Popen([sys.executable, "-c", program, netns.name], stdout=subprocess.PIPE,
                                   env=os.environ | {"PYTHONPATH": os.pathsep.join(path_of_estab())})
        assert process.stdout is not None
        with process.stdout as out:
            assert out.readline() == b"up\n"
            assert "estab8" in netns.ip("link show")
            process.kill()
            process.wait()
        assert "estab8" not in netns.ip("link show")


def test_a_device_that_is_deleted_ends_nothing_but_traffic(netns: TunNamespace) -> None:
    with estab.Stack(estab.Tun("tun0", netns=netns.name), "10.7.0.2/24", tcp_syn_retries=1) as stack:
        with stack.socket(type=socket.SOCK_DGRAM) as datagrams:
            datagrams.bind(("", 9))
            datagrams.settimeout(0.2)
            netns.ip("link del tun0")
            began = time.process_time()
            with pytest.raises(TimeoutError):
                datagrams.recv(1)
            assert time.process_time() - began < 0.15
        assert not stack.engine.interfaces[1].is_up


def test_a_tap_device_finds_its_neighbours_and_answers_ping() -> None:
    with (Namespace() as netns,
          estab.Stack(estab.Tap("tap7", netns=netns.name), ["10.7.0.2/24", "fd00:7::2/64"]) as stack):
        stack.run_in_thread()
        assert " 0% packet loss" in netns.run("ping", "-c", "1", "-W", "5", "10.7.0.2").stdout
        assert " 0% packet loss" in netns.run("ping", "-c", "1", "-W", "5", "fd00:7::2").stdout


@pytest.mark.parametrize("offload", [True, False], ids=["offload", "plain"])
def test_a_users_event_loop_drives_a_stack_on_a_device(netns: TunNamespace, offload: bool) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def main() -> bytes:
        link = estab.Tun("tun0", netns=netns.name, offload=offload)
        async with estab.Stack(link, "10.7.0.2/24") as stack, await stack.start_server(echo, port=7):
            with netns.socket() as client:
                await asyncio.to_thread(client.connect, ("10.7.0.2", 7))
                return await asyncio.to_thread(exchange, client, BULK[:2_000_000])

    assert asyncio.run(asyncio.wait_for(main(), 60)) == BULK[:2_000_000]


def test_the_standard_librarys_server_answers_curl_through_a_stack(netns: TunNamespace) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello from a stack")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with (estab.Stack(estab.Tun("tun0", netns=netns.name), "10.7.0.2/24") as stack, stack.installed(),
          http.server.ThreadingHTTPServer(("", 80), Handler) as server):
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        page = netns.run("curl", "-s", "-S", "-m", "20", "http://10.7.0.2/").stdout
        server.shutdown()
        serving.join()
    assert page == "hello from a stack"


def test_a_stack_on_which_nobody_waits_answers_all_the_same(netns: TunNamespace) -> None:
    with estab.Stack(estab.Tun("tun0", netns=netns.name), "10.7.0.2/24"), netns.socket() as client:
        assert " 0% packet loss" in netns.run("ping", "-c", "1", "-W", "5", "10.7.0.2").stdout
        with pytest.raises(ConnectionRefusedError):
            client.connect(("10.7.0.2", 9))
