"""TCP Fast Open with the kernel's own TCP behind a TUN device, both ways; cookies of one key are equal."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

import estab
from estab.events import Event, SegmentReceived, SegmentSent
from estab.sockets.socket.tcp_info import unpack_tcp_info
from estab.tcp.fastopen import key_bytes, make_cookie
from estab.wire.address import parse_address
from tests.kit.namespaces import requires_kernel
from tests.kit.tun import TunNamespace

pytestmark = requires_kernel

KEY = "a0bf63f7-ed803d81-cd641d30-cebc4a90"
SYN_DATA = 32
FAMILIES = [(socket.AF_INET, "10.7.0.1", "10.7.0.2"), (socket.AF_INET6, "fd00:7::1", "fd00:7::2")]


@pytest.fixture(autouse=True)
def fast_open_of_the_kernel(netns: TunNamespace) -> None:
    """Fast Open is switched on in the namespace, with our key."""
    netns.run("sh", "-c", "echo 3 > /proc/sys/net/ipv4/tcp_fastopen")
    netns.run("sh", "-c", f"echo {KEY} > /proc/sys/net/ipv4/tcp_fastopen_key")


@pytest.fixture(name="facts")
def make_facts() -> list[Event]:
    """What the stack tells."""
    return []


@pytest.fixture(name="stack")
def make_stack(netns: TunNamespace, facts: list[Event]) -> Iterator[estab.Stack]:
    """A stack on the device, with the same key."""
    with estab.Stack(estab.Tun("tun0", netns=netns.name), ["10.7.0.2/24", "fd00:7::2/64"]) as stack:
        stack.sysctl["net.ipv4.tcp_fastopen"] = 3
        stack.sysctl["net.ipv4.tcp_fastopen_key"] = KEY
        stack.observe(facts.append)
        yield stack


def answer_some(listener: socket.socket, count: int, infos: list[int]) -> None:
    """Answer so many connections with their text turned around; keep tcpi_options of each."""
    for _ in range(count):
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(20)
            connection.sendall(connection.recv(65536)[::-1])
            infos.append(options_of(connection))
            connection.recv(1)


def options_of(connection: socket.socket) -> int:
    return unpack_tcp_info(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256))["options"]


def ask(connection: socket.socket, text: bytes, address: tuple[str, int]) -> tuple[bytes, int]:
    """Open with text on the SYN; gives the answer and tcpi_options."""
    with connection:
        connection.settimeout(None)  # with a timeout CPython's sockets don't wait for this call
        assert connection.sendto(text, socket.MSG_FASTOPEN, address) == len(text)
        connection.settimeout(20)
        return connection.recv(65536), options_of(connection)


@pytest.mark.parametrize(("family", "there", "here"), FAMILIES)
def test_the_kernel_gets_a_cookie_and_its_text_is_taken_from_the_syn(
    netns: TunNamespace, stack: estab.Stack, facts: list[Event], family: int, there: str, here: str,
) -> None:
    infos: list[int] = []
    with stack.socket(family) as listener:
        listener.bind(("", 7))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 8)
        listener.listen()
        server = threading.Thread(target=answer_some, args=(listener, 2, infos))
        server.start()
        answers = [ask(netns.socket(family), text, (here, 7)) for text in (b"one", b"two")]
        server.join(20)
    assert [answer for answer, _ in answers] == [b"eno", b"owt"]
    assert [options & SYN_DATA for _, options in answers] == [0, SYN_DATA]
    assert [options & SYN_DATA for options in infos] == [0, SYN_DATA]
    lengths = [fact.length for fact in facts if isinstance(fact, SegmentReceived) and fact.flags == "S"]
    assert lengths == [0, 3]


@pytest.mark.parametrize(("family", "there", "here"), FAMILIES)
def test_the_kernel_gives_a_cookie_and_takes_our_text_from_the_syn(
    netns: TunNamespace, stack: estab.Stack, facts: list[Event], family: int, there: str, here: str,
) -> None:
    infos: list[int] = []
    with netns.socket(family) as listener:
        listener.bind(("", 7))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 8)
        listener.listen()
        server = threading.Thread(target=answer_some, args=(listener, 2, infos))
        server.start()
        answers = [ask(stack.socket(family), text, (there, 7)) for text in (b"one", b"two")]
        server.join(20)
    assert [answer for answer, _ in answers] == [b"eno", b"owt"]
    assert [options & SYN_DATA for _, options in answers] == [0, SYN_DATA]
    assert [options & SYN_DATA for options in infos] == [0, SYN_DATA]
    syns = [fact for fact in facts if isinstance(fact, SegmentSent) and fact.flags == "S"]
    assert [fact.length for fact in syns] == [0, 3]
    # The cookie that the kernel made is the one that we make of the same key and addresses.
    cookie = make_cookie(key_bytes(KEY), parse_address(here), parse_address(there))
    assert f"tfo cookie {cookie.hex()}" in syns[1].options


def test_a_large_text_begins_on_the_syn_and_arrives_whole(netns: TunNamespace, stack: estab.Stack) -> None:
    text = os.urandom(300_000)
    received: list[bytes] = []

    def read_all(listener: socket.socket) -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(20)
                parts = b""
                while part := connection.recv(65536):
                    parts += part
                received.append(parts)

    with netns.socket() as listener:
        listener.bind(("", 7))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 8)
        listener.listen()
        server = threading.Thread(target=read_all, args=(listener,))
        server.start()
        for _ in range(2):
            with stack.socket() as client:
                sent = client.sendto(text, socket.MSG_FASTOPEN, ("10.7.0.1", 7))
                client.sendall(text[sent:])
        server.join(20)
    assert received == [text, text]
