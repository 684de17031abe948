"""A NAT: what it changes, what it keeps, what it forgets, and what each end sees of that."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from estab import Nat, Network, PacketView, nth
from estab.errors import DropReason
from estab.events import BoxChanged, Event, PacketDropped


class Home:
    """Two phones behind a gateway, and a server outside."""

    def __init__(
        self, observer: Callable[[Event], None] | None = None, is_ethernet: bool = False, **words: Any,
    ) -> None:
        self.net = net = Network(1, observer)
        self.phone, self.tablet = net.host("phone"), net.host("tablet")
        self.gateway, self.server = net.host("gateway"), net.host("server")
        self.homes = [net.link(one, self.gateway, delay="1ms", ethernet=is_ethernet)
                      for one in (self.phone, self.tablet)]
        self.uplink = net.link(self.gateway, self.server, delay="10ms", ethernet=is_ethernet)
        self.nat: Nat = net.nat(self.homes, self.uplink, **words)

    def __enter__(self) -> Home:
        return self

    def __exit__(self, *error: object) -> None:
        self.net.__exit__(*error)  # type: ignore[arg-type]


def serve(seen: list[Any], port: int = 80) -> None:
    """Answer each piece of text with the address that its sender seems to have."""
    with socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        while True:
            sock, _ = listener.accept()
            seen.append(sock.getpeername()[0].removeprefix("::ffff:"))
            with sock, contextlib.suppress(OSError):
                while text := sock.recv(100_000):
                    sock.sendall(text.upper())


def ask(address: str, text: bytes = b"hello", sport: int = 0, timeout: float | None = 20) -> bytes:
    with socket.create_connection((address, 80), timeout, ("", sport) if sport else None) as sock:
        sock.sendall(text)
        return sock.recv(100_000)


@pytest.mark.parametrize("is_ethernet", [False, True])
def test_what_comes_from_inside_has_the_address_of_the_gateway(is_ethernet: bool) -> None:
    with Home(is_ethernet=is_ethernet) as home:
        seen: list[Any] = []
        home.server.run(serve, seen, daemon=True)
        asking = [one.run(ask, "10.0.2.2") for one in (home.phone, home.tablet)]
        home.net.run()
        assert [one.result() for one in asking] == [b"HELLO"] * 2
        assert seen == ["10.0.2.1"] * 2
        [first, _] = home.nat.flows
        assert first.startswith("tcp 10.0.0.1:")
        assert " as 10.0.2.1:" in first
        assert first.endswith(">10.0.2.2:80")
        assert home.server.counters().get("TcpInCsumErrors", 0) == home.phone.counters().get("TcpInCsumErrors", 0) == 0


def test_a_flow_keeps_its_port_if_that_is_free_and_gets_the_next_if_not() -> None:
    for words, right in (({}, [4000, 4001]), ({"preserve_ports": False}, [1024, 1025])):
        with Home(**words) as home:
            home.server.run(serve, [], daemon=True)
            for one in (home.phone, home.tablet):
                one.run(ask, "10.0.2.2", b"x", 4000)
            home.net.run()
            ports = [int(flow.partition(" as ")[2].partition(">")[0].rpartition(":")[2]) for flow in home.nat.flows]
            assert sorted(ports) == right


def test_ports_that_are_all_in_use_refuse_another_flow() -> None:
    with Home(ports=(5000, 5001)) as home:
        home.server.run(serve, [], daemon=True)

        @home.phone.run
        def many() -> int:
            socks = [socket.create_connection(("10.0.2.2", 80)) for _ in range(2)]
            with pytest.raises(TimeoutError):
                socket.create_connection(("10.0.2.2", 80), timeout=2)
            for sock in socks:
                sock.close()
            return home.nat.refused_count

        home.net.run()
        assert many.result() == 2
        assert home.gateway.counters()["drop:FLOW_TABLE_FULL"] == 2


def test_datagrams_and_pings_are_translated_both_ways_and_large_ones_in_fragments() -> None:
    with Home() as home:
        @home.server.run(daemon=True)
        def echo() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind(("", 53))
                while True:
                    text, peer = sock.recvfrom(9000)
                    assert peer[0] == "10.0.2.1"
                    sock.sendto(text, peer)

        @home.phone.run
        def call() -> list[int]:
            sizes = []
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(5)
                for size in (10, 8000):
                    sock.sendto(bytes(size), ("10.0.2.2", 53))
                    sizes.append(len(sock.recv(9000)))
            return sizes

        home.net.run()
        assert call.result() == [10, 8000]
        pings = [host.engine.ping("10.0.2.2", b"x" * 20, home.net.now_ns) for host in (home.phone, home.tablet)]
        for host in (home.phone, home.tablet):
            host.runtime.flush()
        home.net.run(until=home.net.now + 1)
        assert [bool(ping.readiness() & 1) for ping in pings] == [True, True]
        assert len([flow for flow in home.nat.flows if flow.startswith("icmp")]) == 2


def test_an_error_about_a_translated_packet_reaches_the_one_that_sent_it() -> None:
    with Home() as home:
        @home.phone.run
        def call() -> str:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(5)
                sock.connect(("10.0.2.2", 9))
                sock.send(b"x")
                with pytest.raises(ConnectionRefusedError):
                    sock.recv(1)
            return "refused"

        @home.tablet.run
        def trace() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
                sock.sendto(b"x", ("10.0.2.2", 9))
                time.sleep(1)

        home.net.run()
        assert call.result() == "refused"
        assert home.tablet.counters()["IcmpInTimeExcds"] == 1  # from the gateway itself
        assert home.tablet.counters().get("IcmpInErrors", 0) == 0


@pytest.mark.parametrize(("narrow", "up_bytes", "down_bytes"), [
    ("inside", 10, 100_000), ("outside", 100_000, 100_000), ("beyond", 100_000, 10),
])
def test_the_path_is_measured_through_a_nat(narrow: str, up_bytes: int, down_bytes: int) -> None:
    with Network(1) as net:
        phone, gateway, middle, server = (net.host(name) for name in ("phone", "gateway", "middle", "server"))
        middle.engine.is_forwarding = True
        mtu = {narrow: 1300}
        home = net.link(phone, gateway, delay="1ms", mtu=mtu.get("inside", 1500))
        uplink = net.link(gateway, middle, delay="1ms", mtu=mtu.get("outside", 1500))
        net.link(middle, server, delay="1ms", mtu=mtu.get("beyond", 1500))
        net.nat(home, uplink)
        for host in (phone, server):  # so that only ICMP can tell
            host.engine.interfaces[1].mtu = 1500

        @server.run
        def answer() -> None:
            with socket.create_server(("", 80)) as listener, listener.accept()[0] as sock:
                assert len(sock.recv(up_bytes, socket.MSG_WAITALL)) == up_bytes
                sock.sendall(bytes(down_bytes))

        @phone.run
        def call() -> tuple[int, float]:
            with socket.create_connection(("10.0.2.2", 80)) as sock:
                sock.sendall(bytes(up_bytes))
                return len(sock.recv(down_bytes, socket.MSG_WAITALL)), time.monotonic()

        net.run()
        size, took = call.result()
        assert size == down_bytes
        assert took < 0.5


def test_an_idle_flow_is_forgotten_silently_or_its_packets_are_rejected_or_both_ends_are_reset() -> None:
    for words, phone_sees, server_sees in (
        ({}, "TimeoutError", "TimeoutError"),
        ({"unknown": "reject"}, "ConnectionResetError", "ConnectionResetError"),
        ({"when_idle": "reset"}, "ConnectionResetError", "ConnectionResetError"),
    ):
        facts: list[Event] = []
        with Home(facts.append, idle="5min", **words) as home:
            def say(sock: socket.socket) -> str:
                with sock:
                    sock.sendall(b"hello")
                    sock.recv(10)
                    time.sleep(400)
                    try:
                        sock.sendall(b"still there?")
                        sock.settimeout(30)
                        return repr(sock.recv(10))
                    except OSError as error:
                        return type(error).__name__

            @home.server.run
            def serve_one() -> str:
                with socket.create_server(("", 80)) as listener:
                    return say(listener.accept()[0])

            @home.phone.run
            def call() -> str:
                return say(socket.create_connection(("10.0.2.2", 80)))

            home.net.run()
            assert (call.result(), serve_one.result()) == (phone_sees, server_sees)
            told = [fact.what for fact in facts if isinstance(fact, BoxChanged)]
            assert [text.partition(" tcp")[0] for text in told] == ["has forgotten"]
            assert home.nat.forgotten_count == 1
            assert (home.nat.dropped_count > 0) is (words.get("when_idle") is None)


def test_what_nobody_inside_asked_for_does_not_come_in() -> None:
    with Home() as home:
        home.phone.run(serve, [], daemon=True)
        asking = home.server.run(ask, "10.0.2.1", b"", 0, 3)
        home.net.run(check=False)
        assert isinstance(asking.exception(), TimeoutError)
        assert home.gateway.counters()["drop:FLOW_UNKNOWN"] > 1
    with Home(unknown="reject") as home:
        asking = home.server.run(ask, "10.0.2.1", b"", 0, 3)
        home.net.run(check=False)
        assert isinstance(asking.exception(), ConnectionRefusedError)


def test_the_gateways_own_servers_are_reached_and_its_own_calls_go_out() -> None:
    with Home() as home:
        seen: list[Any] = []
        home.gateway.run(serve, seen, daemon=True)
        home.server.run(serve, seen, daemon=True)
        asking = [home.server.run(ask, "10.0.2.1"), home.gateway.run(ask, "10.0.2.2"), home.phone.run(ask, "10.0.0.2")]
        home.net.run()
        assert [one.result() for one in asking] == [b"HELLO"] * 3


def test_a_forwarded_port_leads_inside_and_by_hairpin_from_inside_too() -> None:
    for hairpin in (False, True):
        with Home(hairpin=hairpin) as home:
            seen: list[Any] = []
            home.phone.run(serve, seen, 8080, daemon=True)
            home.nat.forward(80, home.phone, 8080)
            outside = home.server.run(ask, "10.0.2.1")
            inside = home.tablet.run(ask, "10.0.2.1", start=1)
            home.net.run(check=False)
            assert outside.result() == b"HELLO"
            if hairpin:
                assert inside.result() == b"HELLO"
                assert seen == ["10.0.2.2", "10.0.2.1"]
            else:
                assert isinstance(inside.exception(), ConnectionRefusedError)


def test_ipv6_passes_untranslated_unless_asked() -> None:
    for ipv6, right in ((False, "fd00::1"), (True, "fd00:0:0:2::1")):
        with Home(ipv6=ipv6) as home:
            seen: list[Any] = []
            home.server.run(serve, seen, daemon=True)
            asking = home.phone.run(ask, "fd00:0:0:2::2", b"x" * 50_000)
            home.net.run()
            assert asking.result()[:1] == b"X"
            assert seen == [right]


def test_a_late_duplicate_of_an_answer_is_invalid() -> None:
    for invalid, resets in (("pass", 1), ("drop", 0)):
        with Home(invalid=invalid) as home:
            old: list[PacketView] = []
            home.uplink.rule(nth(1, lambda p, old=old: p.sender == "server" and p.tcp and p.tcp.length
                                 and not old.append(p)))

            @home.server.run
            def serve_one() -> str:
                with socket.create_server(("", 80)) as listener, listener.accept()[0] as sock:
                    sock.sendall(bytes(20_000_000))
                    time.sleep(10)
                    try:
                        sock.sendall(b"more")
                        return "fine"
                    except OSError as error:
                        return type(error).__name__

            @home.phone.run
            def call() -> int:
                with socket.create_connection(("10.0.2.2", 80)) as sock:
                    size = 0
                    while size < 20_000_000:
                        size += len(sock.recv(1_000_000))
                    time.sleep(20)
                    return size

            home.phone.sysctl["net.ipv4.tcp_rmem"] = "4096 131072 131072"
            home.net.run(until=8)
            home.uplink.inject(home.server, old[0].data)
            home.net.run(check=False)
            assert home.nat.invalid_count == 1
            assert serve_one.result() == ("ConnectionResetError" if resets else "fine")
            assert home.gateway.counters().get("drop:FLOW_INVALID", 0) == 1 - resets


def test_a_gateway_that_lost_its_power_has_forgotten_all_flows() -> None:
    with Home() as home:
        home.server.run(serve, [], daemon=True)
        home.server.run(serve, [], 81, daemon=True)
        home.net.at(1, home.gateway.power_off)
        home.net.at(2, home.gateway.power_on)

        @home.phone.run
        def call() -> tuple[bytes, str]:
            with socket.create_connection(("10.0.2.2", 81)) as sock:
                sock.sendall(b"one")
                first = sock.recv(10)
                time.sleep(3)
                sock.settimeout(30)
                sock.sendall(b"two")
                with pytest.raises(TimeoutError):
                    sock.recv(10)
            return first, ask("10.0.2.2").decode()

        home.net.run()
        assert call.result() == (b"ONE", "HELLO")


def test_a_loose_nat_takes_up_a_connection_in_the_middle_when_inside_speaks() -> None:
    with Home(loose=True) as home:
        home.server.run(serve, [], daemon=True)

        @home.phone.run
        def call() -> list[bytes]:
            with socket.create_connection(("10.0.2.2", 80)) as sock:
                got = []
                for text in (b"one", b"two"):
                    sock.sendall(text)
                    got.append(sock.recv(10))
                    home.nat.forget()
            return got

        home.net.run()
        assert call.result() == [b"ONE", b"TWO"]


def test_mistakes_with_a_nat_are_refused() -> None:
    with Home() as home:
        net = home.net
        with pytest.raises(ValueError, match="don't meet at one host"):
            net.nat(home.uplink, home.uplink)
        with pytest.raises(TypeError, match="inside: 3 is not a link"):
            net.nat([3], home.uplink)  # type: ignore[list-item]
        with pytest.raises(ValueError, match="gateway has a box 'nat' already"):
            net.nat(home.homes[0], home.uplink)
        for words, text in (({"idel": 3}, "there is no property 'idel'; did you mean idle?"),
                            ({"ports": (9, 3)}, "ports: .* is not a first and a last port"),
                            ({"unknown": "reset"}, "unknown: 'reset' is not 'drop' or 'reject'")):
            with pytest.raises((TypeError, ValueError), match=text):
                net.nat(home.homes[0], home.uplink, name="other", **words)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="protocol: 'sctp'"):
            home.nat.forward(80, home.phone, protocol="sctp")  # type: ignore[arg-type]


def test_a_dropped_packet_is_told_with_its_box_and_its_flow() -> None:
    facts: list[Event] = []
    with Home(facts.append) as home:
        home.server.run(ask, "10.0.2.1", b"", 4000, 1)
        home.net.run(check=False)
    told = {(fact.host, fact.reason, fact.detail) for fact in facts if isinstance(fact, PacketDropped)}
    assert told == {("gateway", DropReason.FLOW_UNKNOWN, "nat: tcp 10.0.2.2:4000>10.0.2.1:80")}
