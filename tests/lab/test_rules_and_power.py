"""Rules on links, forged frames, and hosts that lose their power and start anew."""

from __future__ import annotations

import socket
import time

import pytest

from estab.errors import DropReason
from estab.events import Event, FrameSent, HostChanged, LinkDropped, SegmentSent
from estab.lab.host import Host
from estab.lab.network import Network
from estab.units import SECOND


def pair(seed: int = 1) -> tuple[Network, Host, Host, list[Event]]:
    facts: list[Event] = []
    net = Network(seed, facts.append)
    return net, net.host("client"), net.host("server"), facts


def echo(server: Host) -> None:
    @server.run(daemon=True)
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            while True:
                connection, _ = listener.accept()
                with connection:
                    while text := connection.recv(100):
                        connection.sendall(text)


def ask(timeout_s: float | None = None) -> bytes:
    with socket.create_connection(("server", 80), timeout_s) as caller:
        caller.sendall(b"hello")
        return caller.recv(100)


def test_a_rule_takes_out_the_frames_that_it_names() -> None:
    net, client, server, facts = pair()
    link = net.link(client, server, delay="10ms")
    seen: list[str] = []

    def no_hello(sender: str, frame: bytes) -> bool:
        seen.append(sender)
        return b"hello" in frame and seen.count("client") == 3

    link.rule(no_hello)
    echo(server)
    program = client.run(ask)
    net.run()
    assert program.result() == b"hello"
    dropped = [fact for fact in facts if isinstance(fact, LinkDropped)]
    assert [(fact.host, fact.reason) for fact in dropped] == [("client", DropReason.LINK_RULE)]
    assert {"client", "server"} <= set(seen)
    assert any(isinstance(fact, SegmentSent) and fact.why.startswith("retransmission") for fact in facts)


def test_a_rule_may_give_its_own_reason_and_can_be_taken_away() -> None:
    net, client, server, facts = pair()
    link = net.link(client, server, delay="10ms")
    remove = link.rule(lambda sender, frame: DropReason.LINK_MTU if sender == "server" else None)
    echo(server)
    program = client.run(ask)
    net.at("1500ms", remove)
    net.run()
    assert program.result() == b"hello"
    assert {fact.reason for fact in facts if isinstance(fact, LinkDropped)} == {DropReason.LINK_MTU}
    remove()  # a second time changes nothing


def test_an_injected_frame_is_told_as_its_hosts_and_arrives() -> None:
    net, client, server, facts = pair()
    link = net.link(client, server, delay="10ms")
    copies: list[bytes] = []
    link.rule(lambda sender, frame: copies.append(frame) if sender == "client" else None)
    echo(server)
    program = client.run(ask)
    net.run()
    assert program.result() == b"hello"
    facts.clear()
    link.inject(client, copies[0])
    net.run(until=net.now + 1)
    first = next(fact for fact in facts if isinstance(fact, FrameSent))
    assert (first.host, first.interface, first.data) == ("client", "eth0", copies[0])
    assert any(isinstance(fact, FrameSent) and fact.host == "server" for fact in facts)


def test_only_an_end_of_the_link_can_seem_to_send() -> None:
    net, client, server, _ = pair()
    link = net.link(client, server)
    with pytest.raises(ValueError, match="other is at no end of"):
        link.inject(net.host("other"), b"")


def test_a_host_without_power_is_silent_and_hears_nothing() -> None:
    net, client, server, facts = pair()
    net.link(client, server, delay="10ms")
    echo(server)

    @client.run
    def call() -> str:
        with socket.create_connection(("server", 80)) as caller:
            caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 5000)
            time.sleep(2)
            caller.sendall(b"anybody?")
            try:
                return repr(caller.recv(100))
            except OSError as error:
                return type(error).__name__

    net.at("1s", server.power_off)
    net.run()
    assert call.result() == "TimeoutError"
    later = [fact for fact in facts if fact.host == "server" and fact.at_ns > SECOND]
    assert later == []
    assert {fact.reason for fact in facts if isinstance(fact, LinkDropped)} == {DropReason.DEV_DOWN}


def test_a_host_that_started_anew_answers_the_past_with_a_reset() -> None:
    net, client, server, facts = pair()
    net.link(client, server, delay="10ms")
    echo(server)

    @client.run
    def call() -> str:
        with socket.create_connection(("server", 80)) as caller:
            time.sleep(10)
            caller.sendall(b"remember me?")
            try:
                return repr(caller.recv(100))
            except OSError as error:
                return type(error).__name__

    net.at("1s", server.power_off)
    net.at("2s", server.power_on)
    net.run()
    assert call.result() == "ConnectionResetError"
    assert [fact.what for fact in facts if isinstance(fact, HostChanged)] == ["power off", "power on"]


def test_programs_started_after_a_reboot_serve_as_before() -> None:
    net, client, server, _ = pair()
    router = net.host("router", forwarding=True)
    net.link(client, router)
    net.link(router, server)
    echo(server)
    net.at("1s", server.power_off)
    net.at("2s", server.power_on)
    net.at("2s", echo, server)
    program = client.run(ask, start="3s")
    net.run()
    assert program.result() == b"hello"
    assert server.addresses == ["10.0.1.2", "fd00:0:0:1::2"]


def test_a_program_ends_with_its_hosts_power() -> None:
    net, client, server, _ = pair()
    net.link(client, server)
    tidied: list[str] = []

    @server.run
    def wait() -> None:
        try:
            time.sleep(100)
        finally:
            tidied.append("up")

    net.at("1s", server.power_off)
    net.run(until="200s")
    assert wait.done()
    assert tidied == []
    with pytest.raises(RuntimeError, match="lost its power"):
        wait.result()
    net.close()


def test_power_off_twice_and_power_on_with_power_do_nothing() -> None:
    net, client, server, facts = pair()
    net.link(client, server)
    server.power_on()
    server.power_off()
    server.power_off()
    assert [fact.what for fact in facts if isinstance(fact, HostChanged)] == ["power off"]
