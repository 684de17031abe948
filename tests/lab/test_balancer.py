"""A load balancer at level 4: who gets a connection, what becomes of it, and what each end sees of that."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from estab import Balancer, Host, Network, nth
from estab.events import BoxChanged, Event

SERVICE = "10.96.0.1"


class Farm:
    """A client, a node with the balancer, and backends behind it."""

    def __init__(self, observer: Callable[[Event], None] | None = None, count: int = 2, **words: Any) -> None:
        self.net = net = Network(1, observer)
        self.client, self.node = net.host("client"), net.host("node")
        self.link = net.link(self.client, self.node, delay="1ms")
        self.webs = [net.host(f"web{number}") for number in range(1, count + 1)]
        self.cables = [net.link(self.node, web, delay="1ms") for web in self.webs]
        self.balancer: Balancer = net.balancer(
            self.node, words.pop("service", f"{SERVICE}:80"), [(web, 8080) for web in self.webs], **words)
        self.peers: list[str] = []
        for web in self.webs:
            self.serve(web)

    def serve(self, web: Host) -> None:
        def answer(sock: socket.socket) -> None:
            with sock, contextlib.suppress(OSError):
                while text := sock.recv(100):
                    sock.sendall(web.name.encode() + b" " + text.upper())

        @web.run(daemon=True)
        def accept() -> None:
            with socket.create_server(("", 8080), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
                while True:
                    sock, peer = listener.accept()
                    self.peers.append(peer[0].removeprefix("::ffff:"))
                    web.run(answer, sock, daemon=True)

    def __enter__(self) -> Farm:
        return self

    def __exit__(self, *error: object) -> None:
        self.net.__exit__(*error)  # type: ignore[arg-type]


def ask(address: str = SERVICE) -> bytes:
    with socket.create_connection((address, 80), timeout=10) as sock:
        sock.sendall(b"hello")
        return sock.recv(100)


def asks(farm: Farm, count: int) -> str:
    """Ask some times, and return the backends' numbers."""
    def many() -> str:
        return "".join(ask()[3:4].decode() for _ in range(count))

    program = farm.client.run(many)
    farm.net.run(until=farm.net.now + 1)
    return program.result()


def test_connections_go_to_one_backend_after_the_other_and_these_see_the_client() -> None:
    with Farm(count=3) as farm:
        assert asks(farm, 6) == "123123"
        assert farm.peers == ["10.0.0.1"] * 6
        assert [one.connection_count for one in farm.balancer.backends] == [2, 2, 2]
        [flow, *_] = farm.balancer.flows
        assert f">{SERVICE}:80 as 10.0.0.1:" in flow
        assert flow.endswith(">10.0.1.2:8080")


def test_a_port_of_the_hosts_own_addresses_is_balanced_too_also_by_ipv6() -> None:
    with Farm(service=80) as farm:
        asking = [farm.client.run(ask, address) for address in ("10.0.0.2", "fd00::2")]
        farm.net.run()
        assert sorted(one.result() for one in asking) == [b"web1 HELLO", b"web2 HELLO"]
    with Farm(service="[fd00:96::1]:80") as farm:
        asking = [farm.client.run(ask, "fd00:96::1")]
        farm.net.run()
        assert asking[0].result() == b"web1 HELLO"


def test_with_masquerade_the_backends_see_the_balancer_and_need_not_answer_over_it() -> None:
    with Network(1) as net:
        client, router, node, web = (net.host(name) for name in ("client", "router", "node", "web"))
        router.engine.is_forwarding = True
        for end in (client, node, web):
            net.link(end, router, delay="1ms")
        net.balancer(node, 80, [(web, 8080)], masquerade=True)
        peers: list[str] = []

        @web.run(daemon=True)
        def serve() -> None:
            with socket.create_server(("", 8080)) as listener:
                while True:
                    sock, peer = listener.accept()
                    peers.append(peer[0])
                    with sock:
                        sock.sendall(sock.recv(100).upper())

        asking = client.run(ask, node.address)
        net.run()
        assert (asking.result(), peers) == (b"HELLO", [node.address])


def test_the_same_client_gets_the_same_backend_by_its_hash_and_the_idle_one_by_least_connections() -> None:
    with Farm(policy="source hash", count=3) as farm:
        assert len(set(asks(farm, 6))) == 1
    with Farm(policy="least connections", closed="1ms") as farm:
        @farm.client.run
        def hold() -> list[bytes]:
            with socket.create_connection((SERVICE, 80)) as sock:
                sock.sendall(b"x")
                first = sock.recv(10)
                others = []
                for _ in range(3):
                    others.append(ask()[:4])
                    time.sleep(1)
            return [first[:4], *others]

        farm.net.run()
        assert hold.result() == [b"web1", b"web2", b"web2", b"web2"]


def test_a_drained_backend_keeps_its_connections_and_gets_no_new_ones() -> None:
    with Farm() as farm:
        @farm.client.run
        def work() -> list[bytes]:
            with socket.create_connection((SERVICE, 80)) as sock:
                sock.sendall(b"one")
                got = [sock.recv(10)]
                farm.balancer.drain("web1")
                got += [ask()[:4], ask()[:4]]
                sock.sendall(b"two")
                got.append(sock.recv(10))
                farm.balancer.restore(farm.webs[0])
                return [*got, ask()[:4]]

        farm.net.run()
        assert work.result() == [b"web1 ONE", b"web2", b"web2", b"web1 TWO", b"web1"]
        with pytest.raises(ValueError, match="web9 is no backend of balancer; it has web1, web2"):
            farm.balancer.drain("web9")


def test_a_backend_that_does_not_answer_is_found_by_its_checks_and_so_is_that_it_is_back() -> None:
    facts: list[Event] = []
    with Farm(facts.append, health="5s", health_timeout="1s", health_limit=2) as farm:
        web = farm.webs[1]
        farm.net.at(20, web.power_off)
        farm.net.at(60, web.power_on)
        farm.net.at(60, farm.serve, web)
        assert asks(farm, 2) == "12"
        farm.net.run(until=40)
        assert asks(farm, 3) == "111"
        farm.net.run(until=80)
        assert asks(farm, 2) == "21"
        told = [(round(fact.at_ns / 1e9), fact.what) for fact in facts if isinstance(fact, BoxChanged)]
        assert [what for _, what in told] == ["web2 is down", "web2 is up"]
        assert 26 <= told[0][0] <= 33
        assert 65 <= told[1][0] <= 75


def test_connections_of_a_backend_that_went_down_are_kept_or_reset() -> None:
    for when_down, sees in (("keep", "TimeoutError"), ("reset", "ConnectionResetError")):
        with Farm(count=1, health="1s", when_down=when_down) as farm:
            @farm.client.run
            def hold() -> str:
                with socket.create_connection((SERVICE, 80)) as sock:
                    sock.sendall(b"x")
                    sock.recv(10)
                    sock.settimeout(60)
                    try:
                        return repr(sock.recv(10))
                    except OSError as error:
                        return type(error).__name__

            farm.net.at(5, farm.webs[0].power_off)
            farm.net.run(until=100)
            assert hold.result() == sees


def test_without_a_backend_a_connection_is_dropped_or_rejected() -> None:
    for unknown, error in (("drop", TimeoutError), ("reject", ConnectionRefusedError)):
        with Farm(unknown=unknown) as farm:
            for web in farm.webs:
                farm.balancer.drain(web)
            asking = farm.client.run(ask)
            farm.net.run(check=False)
            assert isinstance(asking.exception(), error)


def test_an_idle_connection_is_forgotten_silently_or_the_next_packet_is_answered_by_a_reset() -> None:
    for words, sees in (({}, "TimeoutError"), ({"unknown": "reject"}, "ConnectionResetError"),
                        ({"when_idle": "reset"}, "ConnectionResetError")):
        with Farm(idle="350s", **words) as farm:
            @farm.client.run
            def pooled() -> str:
                with socket.create_connection((SERVICE, 80)) as sock:
                    sock.sendall(b"x")
                    sock.recv(10)
                    time.sleep(360)
                    sock.settimeout(30)
                    try:
                        sock.sendall(b"y")
                        return repr(sock.recv(10))
                    except OSError as error:
                        return type(error).__name__

            farm.net.run()
            assert pooled.result() == sees
            assert farm.balancer.forgotten_count == 1


def test_a_late_duplicate_resets_the_backend_unless_what_is_invalid_is_dropped() -> None:
    """kubernetes#74839: the answer passes unchanged, and the client's kernel resets a connection that it never had."""
    for invalid, sees in (("pass", "ConnectionResetError"), ("drop", "fine")):
        with Network(1) as net:
            pod = net.host("pod", tcp_rmem=(4096, 131_072, 131_072))
            node, web = net.host("node"), net.host("web")
            net.link(pod, node, delay="1ms")
            cable = net.link(node, web, delay="1ms")
            net.balancer(node, f"{SERVICE}:80", [(web, 8080)], invalid=invalid)  # type: ignore[arg-type]
            old: list[bytes] = []
            cable.rule(nth(1, lambda p, old=old: p.sender == "web" and p.tcp and p.tcp.length
                           and not old.append(p.data)))

            @web.run
            def serve() -> str:
                with socket.create_server(("", 8080)) as listener, listener.accept()[0] as sock:
                    sock.recv(5)
                    sock.sendall(bytes(3_000_000))
                    time.sleep(10)
                    try:
                        sock.sendall(b"more")
                        return "fine"
                    except OSError as error:
                        return type(error).__name__

            @pod.run
            def call() -> int:
                with socket.create_connection((SERVICE, 80)) as sock:
                    sock.sendall(b"hello")
                    size = 0
                    while size < 3_000_000:
                        size += len(sock.recv(100_000))
                    time.sleep(20)
                    return size

            net.run(until=8)
            cable.inject(web, old[0])
            net.run(check=False)
            assert serve.result() == sees


def test_mistakes_with_a_balancer_are_refused() -> None:
    with Farm() as farm:
        net, node, web = farm.net, farm.node, farm.webs[0]
        for service, backends, words, text in (
            ("web:80", [web], {}, "service: 'web:80' is neither a port nor an address with one"),
            (0, [web], {}, "service: 0 is not a port"),
            (80, [], {}, "a balancer needs at least one"),
            (80, [web, (web, 81)], {}, "web1 is there twice"),
            (80, ["web1"], {}, "'web1' is neither a host nor"),
            (80, [net.host("new")], {}, "new has no address yet"),
            (80, [web], {"policy": "random"}, "policy: 'random' is not"),
            (80, [web], {"health": 0}, "health, health_timeout: 0"),
            (80, [web], {"idle_time": 3}, "there is no property 'idle_time'"),
        ):
            with pytest.raises((TypeError, ValueError), match=text):
                net.balancer(node, service, backends, name="other", **words)  # type: ignore[arg-type]
