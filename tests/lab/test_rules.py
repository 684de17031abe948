"""Rules on single packets, partitions and cuts in one direction: what they see, what they do, and what is told."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab import Host, Network, PacketView, RuleError, delay, drop, duplicate, nth, ok, reject
from estab.errors import DropReason
from estab.events import Event, LinkCopied, LinkDelayed, LinkDropped
from estab.lab.network import Network as PlainNetwork
from estab.lab.rules.verdicts import PacketRule


def pair(observer: Callable[[Event], None] | None = None, **properties: Any) -> tuple[Network, Host, Host]:
    net = Network(1, observer)
    client, server = net.host("client"), net.host("server")
    net.link(client, server, **{"delay": "10ms", **properties})
    server.run(echo, daemon=True)
    return net, client, server


def echo() -> None:
    with socket.create_server(("", 80), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        while True:
            connection, _ = listener.accept()
            try:
                with connection:
                    while text := connection.recv(100):
                        connection.sendall(text)
            except ConnectionResetError:
                pass


def ask(address: str = "server") -> float:
    """Ask once. Returns how long it took."""
    started = time.monotonic()
    with socket.create_connection((address, 80)) as caller:
        caller.sendall(b"hello")
        assert caller.recv(100) == b"hello"
    return time.monotonic() - started


def took(rule: PacketRule) -> float:
    net, client, _ = pair()
    with net, net.rule(rule):
        asking = client.run(ask)
        net.run()
        return asking.result()


def test_a_rule_sees_what_a_packet_is() -> None:
    seen: list[PacketView] = []
    net, client, _ = pair()
    with net, net.rule(seen.append):
        client.run(ask)
        net.run()
    syn, synack = seen[:2]
    assert (syn.version, syn.src, syn.dst, syn.ttl, syn.protocol) == (4, "10.0.0.1", "10.0.0.2", 64, 6)
    assert (syn.link, syn.sender, synack.sender) == ("client-server", "client", "server")
    assert syn.tcp is not None
    assert synack.tcp is not None
    assert (syn.tcp.syn, syn.tcp.has_ack, syn.tcp.fin, syn.tcp.rst, syn.tcp.flags) == (True, False, False, False, "S")
    assert (synack.tcp.flags, synack.tcp.ack, synack.tcp.sport) == ("S.", syn.tcp.seq + 1, 80)
    assert syn.tcp.dport == 80
    texts = [one.tcp.payload for one in seen if one.tcp is not None and one.tcp.length]
    assert texts == [b"hello", b"hello"]
    assert (syn.udp, syn.icmp, syn.arp, syn.is_fragment, syn.size) == (None, None, None, False, 60)


def test_a_rule_sees_datagrams_icmp_and_arp_over_ethernet() -> None:
    seen: list[PacketView] = []
    with Network(1) as net:
        a, b = net.host("a"), net.host("b")
        net.link(a, b, ethernet=True)
        net.rule(seen.append)

        @a.run
        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.connect(("b", 9))
                sender.send(b"x")
                with pytest.raises(ConnectionRefusedError):
                    sender.recv(1)

        net.run()
    assert [bool(one.arp) for one in seen][:2] == [True, True]
    assert (seen[0].src, seen[0].dst, seen[0].version) == ("10.0.0.1", "10.0.0.2", 0)
    datagram = next(one.udp for one in seen if one.udp)
    assert (datagram.dport, datagram.length, datagram.payload) == (9, 1, b"x")
    error = next(one.icmp for one in seen if one.icmp)
    assert (error.type, error.code, error.is_error) == (3, 3, True)


@given(st.binary(max_size=90), st.sampled_from([0, 14]), st.sampled_from([b"", b"\x45\0\0\x2c\0\0\0\0\x40\x06\x66\xc9"
                                                                           b"\x0a\0\0\1\x0a\0\0\2"]))
def test_a_view_of_any_bytes_can_be_read(data: bytes, header_bytes: int, start: bytes) -> None:
    view = PacketView("link", "a", bytes(12)[:header_bytes] + (b"\x08\0" if header_bytes else b"") + start + data,
                      header_bytes)
    for part in (view, view.tcp, view.udp, view.icmp):
        if part is not None:
            assert repr(part)
            for name in dir(type(part)):
                if not name.startswith("_"):
                    getattr(part, name)


def test_drop_delay_and_ok_do_what_they_say() -> None:
    plain = took(lambda p: ok)
    assert plain == pytest.approx(0.04)
    assert took(lambda p: None) == plain
    assert took(nth(1, lambda p: p.tcp and p.tcp.syn)) == pytest.approx(1.04)
    assert took(nth((1, 2), lambda p: p.tcp and p.tcp.syn)) == pytest.approx(3.04)
    assert took(nth(lambda n: n <= 3, lambda p: p.tcp and p.tcp.syn)) == pytest.approx(7.04)
    assert took(nth(1, lambda p: p.tcp and p.tcp.length, delay("50ms"))) == pytest.approx(0.09)


def test_what_is_delayed_is_overtaken_and_told() -> None:
    facts: list[Event] = []
    net, client, server = pair(facts.append)
    with net, net.rule(nth(1, lambda p: p.udp is not None, delay(1))):
        @server.run
        def hear() -> list[bytes]:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind(("", 9))
                return [sock.recv(10), sock.recv(10)]

        @client.run
        def say() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                for text in (b"one", b"two"):
                    sock.sendto(text, ("server", 9))

        net.run()
        assert hear.result() == [b"two", b"one"]
    assert [(fact.by_ns, fact.why) for fact in facts if isinstance(fact, LinkDelayed)] == [(10**9, "rule")]


def test_what_is_duplicated_arrives_twice() -> None:
    facts: list[Event] = []
    net, client, server = pair(facts.append)
    with net, net.rule(lambda p: duplicate if p.sender == "client" and p.tcp and p.tcp.length else ok):
        client.run(ask)
        net.run()
    assert len([fact for fact in facts if isinstance(fact, LinkCopied)]) == 1
    assert server.counters()["TcpExtTCPDSACKOldSent"] == 1


@pytest.mark.parametrize(("verdict", "error"), [(reject(), ConnectionRefusedError), (reject("icmp"), OSError)])
def test_a_rejected_syn_is_answered_at_once(verdict: Any, error: type[OSError]) -> None:
    for address in ("10.0.0.2", "fd00::2"):
        for is_ethernet in (False, True):
            with Network(1) as net:
                client, server = net.host("client"), net.host("server")
                net.link(client, server, delay="10ms", ethernet=is_ethernet)
                net.rule(lambda p: verdict if p.tcp and p.sender == "client" else ok)
                asking = client.run(ask, address)
                net.run(until=60, check=False)
                assert isinstance(asking.exception(), error)
                assert net.links[0].there.drops == {DropReason.LINK_RULE: 1}


def test_a_rejected_segment_of_a_connection_is_answered_by_a_reset() -> None:
    net, client, _ = pair()
    with net, net.rule(lambda p: reject() if p.sender == "client" and p.tcp and p.tcp.length else ok):
        asking = client.run(ask)
        net.run(check=False)
        assert isinstance(asking.exception(), ConnectionResetError)


def test_a_rule_ends_with_its_block_and_holds_where_it_was_put() -> None:
    net, client, server = pair()
    other = net.host("other")
    second = net.link(other, server, delay="10ms")
    syn: PacketRule = lambda p: drop if p.tcp and p.tcp.syn else ok  # noqa: E731
    with net, net.rule(syn, on=second), net.rule(syn, on=other):
        fine, hindered = client.run(ask), other.run(ask)
        net.run(until="2.5s")
        assert fine.done()
        assert not hindered.done()
        second.rule(syn, sender="other")()
        with pytest.raises(ValueError, match="sender: client is at no end of other-server"):
            second.rule(syn, sender=client)
    net, client, server = pair()
    with net:
        with net.rule(syn):
            asking = client.run(ask)
            net.run(until="2.5s")
        net.run()
        assert asking.result() == pytest.approx(3.04)


def test_a_rule_of_the_network_holds_on_links_made_later() -> None:
    with Network(1) as net:
        net.rule(nth(1, lambda p: p.tcp and p.tcp.syn))
        client, server = net.host("client"), net.host("server")
        net.link(client, server, delay="10ms")
        server.run(echo, daemon=True)
        asking = client.run(ask)
        net.run()
        assert asking.result() == pytest.approx(1.04)


def test_a_rule_acts_on_what_is_under_way() -> None:
    for verdict, right in ((drop, 1.04), (delay("20ms"), 0.06), (duplicate, 0.04), (ok, 0.04)):
        net, client, _ = pair()
        with net:
            asking = client.run(ask)
            net.at("5ms", net.rule, lambda p, verdict=verdict: verdict if p.tcp and p.tcp.flags == "S" else ok)
            net.at("6ms", lambda: None)
            net.run(until="8ms")
            for way in (net.links[0].there, net.links[0].back):
                while way.rules:
                    way.remove_rule(way.rules[0])
            net.run()
            assert asking.result() == pytest.approx(right)


def test_a_rule_acts_on_what_waits_for_the_rate() -> None:
    with Network(1) as net:
        a, b = net.host("a"), net.host("b")
        link = net.link(a, b, rate="8kbit")

        @b.run
        def hear() -> list[int]:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind(("", 9))
                return [sock.recv(2000)[0] for _ in range(3)]

        @a.run
        def say() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                for number in range(5):
                    sock.sendto(bytes([number]) * 100, ("10.0.0.2", 9))

        net.at("50ms", link.rule, lambda p: drop if p.udp and p.udp.payload[0] in (0, 2) else ok)
        net.run(until=10)
        assert hear.result() == [1, 3, 4]
        assert link.there.drops == {DropReason.LINK_RULE: 2}


def test_a_rule_that_raises_ends_the_run_and_names_its_line() -> None:
    def careless(packet: PacketView) -> Any:
        return drop if packet.udp.dport == 53 else ok  # type: ignore[union-attr]

    net, client, _ = pair()
    with net, net.rule(careless):
        client.run(ask)
        with pytest.raises(RuleError, match=r"the rule at test_rules.py:\d+ raised AttributeError: .* 10.0.0.1 > "):
            net.run()


def test_a_rule_that_returns_no_verdict_ends_the_run_and_is_told_what_would_be_right() -> None:
    for wrong, hint in ((reject, "write it with its brackets"), (3, "which is no verdict")):
        net, client, _ = pair()
        with net, net.rule(lambda p, wrong=wrong: wrong):  # type: ignore[misc]
            client.run(ask)
            with pytest.raises(RuleError, match=hint):
                net.run(check=False)


def test_what_is_no_rule_is_refused_at_once() -> None:
    net, _, server = pair()
    with net:
        with pytest.raises(TypeError, match="is not a function of a packet"):
            net.rule(drop)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="has 3 arguments"):
            net.rule(lambda a, b, c: ok)  # type: ignore[misc, arg-type]
        with pytest.raises(TypeError, match="neither a link, a switch nor a host"):
            net.rule(lambda p: ok, on="server")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="which: 0 counts no packet"):
            nth(0, lambda p: True)
        with pytest.raises(ValueError, match='reject: \'udp\' is neither "auto" nor "icmp"'):
            reject("udp")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="partition: server is on both sides"):
            net.partition(server, [server])


# --- partitions and cuts in one direction


def star() -> tuple[Network, dict[str, Host]]:
    net = PlainNetwork(1)
    hosts = {name: net.host(name) for name in ("a", "b", "c")}
    router = net.host("router", forwarding=True)
    for host in hosts.values():
        net.link(host, router, delay="5ms")
        host.run(echo, daemon=True)
    return net, hosts


def can_reach(net: Network, hosts: dict[str, Host]) -> str:
    def try_it(name: str) -> bool:
        try:
            socket.create_connection((name, 80), timeout=2).close()
        except TimeoutError:
            return False
        return True

    tries = {one + other: hosts[one].run(try_it, other) for one in hosts for other in hosts if one != other}
    net.run(until=net.now + 5)
    return " ".join(way for way, tried in tries.items() if tried.result())


def test_a_partition_separates_groups_and_nothing_else() -> None:
    net, hosts = star()
    with net:
        with net.partition(hosts["a"], [hosts["b"], hosts["c"]]) as parted:
            assert can_reach(net, hosts) == "bc cb"
            assert repr(parted) == "<Partition a | b, c>"
        assert can_reach(net, hosts) == "ab ac ba bc ca cb"
        net.partition(hosts["a"], hosts["b"])
        assert can_reach(net, hosts) == "ac bc ca cb"
        net.heal()
        assert can_reach(net, hosts) == "ab ac ba bc ca cb"


def test_a_partition_in_one_direction_loses_only_what_one_side_sends() -> None:
    with Network(1) as net:
        a, b = net.host("a"), net.host("b")
        net.link(a, b, delay="10ms")
        heard: list[bytes] = []

        def hear() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind(("", 9))
                while True:
                    heard.append(sock.recv(10))

        def say(to: str, text: bytes) -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(text, (to, 9))

        for host in (a, b):
            host.run(hear, daemon=True)
        net.at(1, net.partition, a, b)
        a.run(say, "b", b"late", start="995ms")  # under way when it happens
        net.at(2, net.heal)
        a.run(say, "b", b"healed", start=3)
        net.run(until=4)
        with net.partition(a, b, one_way=True):
            a.run(say, "b", b"there")
            b.run(say, "a", b"back")
            net.run(until=5)
        assert heard == [b"healed", b"back"]
        assert net.links[0].there.drops == {DropReason.LINK_PARTITION: 2}
        assert net.faults == ["1s net.partition(a, b)", "2s net.heal"]


def test_a_cable_can_be_cut_in_one_direction() -> None:
    facts: list[Event] = []
    net, client, server = pair(facts.append)
    link = net.links[0]
    with net:
        net.at("25ms", link.cut, server)
        net.at("1s", link.heal, "server")
        asking = client.run(ask)
        net.run()
        assert asking.result() > 1
        assert not link.is_cut
        assert link.there.drops == {}
        lost = {(fact.host, fact.reason) for fact in facts if isinstance(fact, LinkDropped)}
        assert lost == {("server", DropReason.LINK_DOWN)}
        with pytest.raises(ValueError, match="sender: other is at no end of client-server"):
            link.cut("other")
