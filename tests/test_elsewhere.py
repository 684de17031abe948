"""On macOS and Windows the lab, the messages, drill and the tour do what they do on Linux: to the byte.

The other systems are played: ``kit/elsewhere.py`` takes away what they have not, and gives their numbers. What that
can't show (the paths of Windows, its consoles, its own event loops) is for a machine with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import estab

ROOT = Path(__file__).resolve().parent.parent
SOURCES = str(Path(estab.__file__).parent.parent)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="plays other systems on Linux")
elsewhere = pytest.mark.parametrize("system", ["macos", "windows"])


def run(system: str | None, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python on a system: this one, or one that is played."""
    begin = "" if system is None else "import tests.kit.elsewhere\n"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", begin + code, *arguments], capture_output=True, text=True, check=False,
        cwd=ROOT, timeout=120, env=os.environ | {
            "ESTAB_ELSEWHERE": system or "", "PYTHONPATH": os.pathsep.join([SOURCES, str(ROOT)]),
            "PYTHONIOENCODING": "utf-8",
        },
    )


def out_of(system: str | None, code: str, *arguments: str) -> str:
    done = run(system, code, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


COMMAND = "import sys\nfrom estab.cli.main import main\nsys.exit(main(sys.argv[1:]))"


@elsewhere
def test_what_the_other_system_has_not_is_gone(system: str) -> None:
    told = out_of(system, """
import os, select, socket, sys
from tests.kit.elsewhere import MODULES
for name in MODULES:
    try:
        __import__(name)
    except ImportError:
        continue
    print(name, "is there")
left = [name for module, name in ((select, "epoll"), (socket, "AF_PACKET"), (socket, "TCP_INFO"), (os, "eventfd"))
        if hasattr(module, name)]
print(sys.platform, left, socket.SOL_SOCKET)
""")
    assert told == "elsewhere [] 65535\n"


@elsewhere
def test_the_whole_tour_is_the_same_to_the_byte(system: str, tmp_path: Path) -> None:
    captures = [tmp_path / "here.pcapng", tmp_path / "there.pcapng"]
    stories = [out_of(where, COMMAND, "tour", "--all", "--pcap", str(path))
               for where, path in zip((None, system), captures, strict=True)]
    assert stories[0] == stories[1] != ""
    assert captures[0].read_bytes() == captures[1].read_bytes()


@elsewhere
def test_every_script_of_drill_passes(system: str) -> None:
    told = out_of(system, COMMAND, "drill", str(ROOT / "tests" / "drill" / "scripts"))
    passed, _, total, *_ = told.split()
    assert passed == total != "0"


PROGRAMS = r"""
import asyncio, socket, ssl, threading, time, select, selectors
import estab
from estab.messages import Channel, Delimited, Heartbeat, PeerLostError

net = estab.Network(seed=6)
a, b = net.host("a"), net.host("b")
cable = net.link(a, b, delay="10ms", loss="3%")

@b.run
def serve():
    with socket.create_server(("", 80), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for _ in range(3):
            end, peer = listener.accept()
            threading.Thread(target=echo, args=(end,)).start()

def echo(end):
    with end:
        first = end.recv(5, socket.MSG_WAITALL)
        peeked = end.recv(3, socket.MSG_PEEK)
        end.sendall(first + peeked)
        while data := end.recv(1000):
            end.sendall(data.upper())

@a.run
def blocking():
    with socket.create_connection(("b", 80), timeout=30) as end:
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end.sendall(b"hello, you")
        end.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: end.recv(100), b""))

@a.run
async def in_tasks():
    reader, writer = await asyncio.open_connection("b", 80)
    writer.write(b"hello, you")
    writer.write_eof()
    got = await reader.read()
    writer.close()
    await writer.wait_closed()
    return got

@a.run
def by_selector():
    with socket.socket(socket.AF_INET6) as end, selectors.DefaultSelector() as waiting:
        end.connect(("b", 80))
        end.sendall(b"hello, you")
        waiting.register(end, selectors.EVENT_READ)
        waiting.select(60)
        end.setblocking(False)
        got = end.recv(100)
        try:
            end.recv(100)
        except BlockingIOError:
            return got

@b.run
def datagrams():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.bind(("", 53))
        data, sender = end.recvfrom(100)
        end.sendto(data[::-1], sender)

@a.run
def ask():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.settimeout(5)
        end.sendto(b"abc", ("b", 53))
        readable, _, _ = select.select([end], [], [], 5)
        return readable == [end] and end.recv(100)

net.run()
for program in (blocking, in_tasks, by_selector, ask):
    print(program.result(), end=" ")
print(round(net.now, 6))
net.close()

net = estab.Network(seed=4)
a, b = net.host("a"), net.host("b")
cable = net.link(a, b, delay="10ms")

@b.run
def sink():
    with socket.create_server(("", 80)) as listener:
        ends = [listener.accept()[0] for _ in range(2)]
        with Channel(ends[1], Delimited(b"\n"), heartbeat=Heartbeat("5s", "15s")) as channel:
            channel.send(channel.receive().upper())
            try:
                channel.receive()
            except PeerLostError as error:
                return error.silent_ns

@a.run
def refused():
    try:
        socket.create_connection(("b", 81))
    except ConnectionRefusedError as error:
        return error.strerror.partition(":")[0]

@a.run
def gone():
    with socket.create_connection(("b", 80)) as end:
        end.sendall(b"x")
        time.sleep(1)
        end.sendall(b"y")
        end.setsockopt(socket.IPPROTO_TCP, 18, 20_000)   # TCP_USER_TIMEOUT, by Linux's number
        try:
            end.recv(1)
        except TimeoutError:
            return "timed out"

@a.run(start="0.1s")
def talk():
    with Channel(socket.create_connection(("b", 80)), Delimited(b"\n"), heartbeat=Heartbeat("5s", "15s")) as channel:
        channel.send(b"hello")
        said = channel.receive()
        try:
            channel.receive()
        except PeerLostError as error:
            return said, error.facts.state, error.silent_ns

net.at("0.5s", cable.cut)
net.run(check=False)
print(refused.result(), gone.result(), sink.result(), talk.result(), round(net.now, 3))
"""


@elsewhere
def test_programs_in_the_lab_do_and_take_what_they_do_and_take_on_linux(system: str) -> None:
    here = out_of(None, PROGRAMS)
    first, second = here.splitlines()
    assert first.startswith("b'hello, y, YOU' b'hello, y, YOU' b'hello, y' b'cba' ")
    assert second == (
        "Connection refused timed out 15000000000 (b'HELLO', 'ESTABLISHED', 15000000000) 21.02")
    assert out_of(system, PROGRAMS) == here


@elsewhere
def test_devices_that_only_linux_has_are_refused_in_a_sentence(system: str) -> None:
    told = out_of(system, """
import estab
from estab.errors import explain
for make in (lambda: estab.Tun("tun0"), lambda: estab.Tap("tap0"), lambda: estab.AfPacket("eth0")):
    try:
        make()
    except OSError as error:
        print(explain(error))
""")
    assert told.count("need Linux. On other systems a stack runs on devices in user space") == 3
    done = run(system, COMMAND, "up", "--tun", "x", "--address", "10.0.0.1/24", "--serve", "echo:7")
    assert (done.returncode, done.stderr) == (1, "estab: estab up needs Linux: TUN, TAP and AF_PACKET are its own\n")


@elsewhere
def test_every_public_name_can_be_had(system: str) -> None:
    assert out_of(system, """
import estab, estab.messages
for module in (estab, estab.messages):
    for name in dir(module):
        getattr(module, name)
print("all")
""") == "all\n"
