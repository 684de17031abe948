"""Calls that wait for a connection, also two threads for the same one: the same program on the kernel and on a host.

The kernel's SYN is lost, and what it sends a second later is answered: meanwhile its address is given to the namespace
itself, if the calls wait for so long. In the lab a link takes as long.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from typing import Any

import pytest

from estab import Network
from tests.kit.namespaces import Namespace, requires_kernel

PROGRAM = """
import socket, threading, time

def attempt(where, timeout, is_ex, begun=lambda: None):
    found = [None, None]
    sock = socket.socket()
    sock.settimeout(timeout)

    def connect(which):
        try:
            got = sock.connect_ex(where) if is_ex else sock.connect(where)
        except OSError as error:
            got = [type(error).__name__, error.errno, str(error)]
        found[which] = got

    threads = [threading.Thread(target=connect, args=(which,)) for which in (0, 1)]
    threads[0].start()
    time.sleep(0.03)
    threads[1].start()
    begun()
    for thread in threads:
        thread.join()
    later = []
    for call in (lambda: sock.getsockopt(1, socket.SO_ERROR), lambda: sock.connect_ex(where), lambda: sock.recv(1, 64),
                 lambda: sock.send(b"x"), lambda: sock.connect_ex(where)):
        try:
            got = call()
        except OSError as error:
            got = [type(error).__name__, error.errno]
        later.append(got.decode() if isinstance(got, bytes) else got)
    sock.close()
    return found, later
"""
CASES = [(is_served, timeout, is_ex) for is_served in (True, False) for timeout in (None, 2.0, 0.2, 0.0)
         for is_ex in (False, True)]


def on_the_kernel() -> Any:
    """Carry it out in a namespace of its own, each case with an address of its own."""
    code = PROGRAM + textwrap.dedent("""
        import json, os, sys
        found = []
        for place, (is_served, timeout, is_ex) in enumerate(json.loads(sys.argv[1])):
            address = f"10.9.1.{place + 1}"
            def begun():
                if timeout in (None, 2.0):
                    time.sleep(0.2)
                    os.system(f"ip addr add {address}/32 dev lo")
                    if is_served:
                        global listener
                        listener = socket.create_server((address, 80))
            found.append(attempt((address, 80), timeout, is_ex, begun))
        print(json.dumps(found))
    """)
    with Namespace() as net:
        net.ip("tuntap add away0 mode tun")
        net.ip("addr add 10.9.0.1/16 dev away0")
        net.ip("link set away0 up")
        try:
            done = net.run(sys.executable, "-W", "ignore", "-c", code, json.dumps(CASES))
        except subprocess.CalledProcessError as error:
            raise AssertionError(error.stderr) from None
        return json.loads(done.stdout)


def in_the_lab() -> Any:
    """Carry it out on two hosts with a round trip of a second."""
    names: dict[str, Any] = {}
    exec(PROGRAM, names)
    with Network() as net:
        client, server = net.host("client"), net.host("server")
        net.link(client, server, delay="500ms")

        @server.run
        def serve() -> None:
            import socket

            with socket.create_server(("", 80)):
                time.sleep(3600)

        def program() -> Any:
            return [names["attempt"]((server.address, 80 if is_served else 81), timeout, is_ex)
                    for is_served, timeout, is_ex in CASES]

        run = client.run(program)
        net.run(until=1000)
        return json.loads(json.dumps(run.result()))


@pytest.mark.kernel
@requires_kernel[1]
def test_two_threads_that_connect_one_socket_get_what_linux_gives_them() -> None:
    for case, expected, got in zip(CASES, on_the_kernel(), in_the_lab(), strict=True):
        for found in (expected[0], got[0]):
            found.sort(key=str)  # which of two that wait without a limit is told of a failure first is chance
        assert got == expected, case
