"""The resolver, in the lab: against servers that answer, answer wrongly, answer late and don't answer."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from estab import Network
from estab.errors import explain
from estab.names import hosts_file
from estab.names.dns import Resolver, Servers, read_resolv_conf
from estab.sockets.runtime import Runtime, current
from estab.wire.address import format_address, parse_address

ZONE = {
    ("www.example.", "A"): ["www.example. 60 IN A 192.0.2.1", "www.example. 60 IN A 192.0.2.2"],
    ("www.example.", "AAAA"): ["www.example. 60 IN AAAA 2001:db8::1"],
    ("alias.example.", "A"): ["alias.example. 60 IN CNAME www.example.", "www.example. 60 IN A 192.0.2.1"],
    ("four.example.", "A"): ["four.example. 60 IN A 192.0.2.4"],
    ("many.example.", "A"): [f"many.example. 60 IN A 192.0.2.{number}" for number in range(200)],
    ("broken.example.", "A"): [],
    ("1.2.0.192.in-addr.arpa.", "PTR"): ["1.2.0.192.in-addr.arpa. 60 IN PTR www.example."],
}
Answer = Callable[[dns.message.Message], dns.message.Message | None]


def answer(query: dns.message.Message, is_tcp: bool = False) -> dns.message.Message:
    """Be the server of ``example``."""
    response = dns.message.make_response(query)
    question = query.question[0]
    name, kind = question.name.to_text().lower(), question.rdtype.name
    lines = ZONE.get((name, kind))
    if name == "broken.example.":
        response.set_rcode(dns.rcode.SERVFAIL)
    elif lines is None and not any(other == name for other, _ in ZONE):
        response.set_rcode(dns.rcode.NXDOMAIN)
    for line in lines or []:
        owner, ttl, _, record_kind, data = line.split()
        response.answer.append(dns.rrset.from_text(owner, int(ttl), "IN", record_kind, data))
    if not is_tcp and len(response.answer) > 50:
        response.answer.clear()
        response.flags |= dns.flags.TC
    return response


def serve_udp(change: Answer | None = None) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("", 53))
        while True:
            data, address = server.recvfrom(2000)
            response = answer(dns.message.from_wire(data))
            changed = response if change is None else change(response)
            if changed is not None:
                server.sendto(changed.to_wire(), address)


def serve_tcp() -> None:
    with socket.create_server(("", 53)) as listener:
        while True:
            connection, _ = listener.accept()
            with connection, connection.makefile("rwb") as file:
                size = int.from_bytes(file.read(2), "big")
                wire = answer(dns.message.from_wire(file.read(size)), is_tcp=True).to_wire(max_size=65_535)
                file.write(len(wire).to_bytes(2, "big") + wire)


@pytest.fixture
def net(net: Network) -> Network:
    client = net.host("client")
    for name in ("first", "second"):
        net.link(client, net.host(name), delay="10ms")
    return net


FIRST, SECOND = "10.0.0.2", "10.0.1.2"


def nothing(name: str, family: int) -> list[bytes]:
    return []


def nobody(address: bytes) -> list[str]:
    return []


def ask(net: Network, name: str, servers: Servers) -> tuple[list[str] | str, float, int]:
    """Look up a name on ``client``: addresses or the error's text, how long it took, and how many queries it took."""

    def look_up() -> tuple[list[str] | str, float, int]:
        runtime = current()
        assert isinstance(runtime, Runtime)
        resolver = Resolver(servers, nothing, nobody, runtime)
        try:
            found: list[str] | str = [format_address(octets) for octets in resolver.resolve(name, socket.AF_UNSPEC)]
        except socket.gaierror as error:
            found = f"{error.errno == socket.EAI_AGAIN} {error.strerror}: {explain(error)}"
        return found, time.monotonic(), resolver.queries

    program = net.hosts["client"].run(look_up)
    net.run()
    return program.result()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("www.example", ["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
        ("WWW.Example.", ["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
        ("alias.example", ["192.0.2.1"]),
        ("four.example", ["192.0.2.4"]),
        ("none.example", []),
        ("a..b", []),
        ("x" * 64, []),
    ],
)
@pytest.mark.parametrize("server", [FIRST, "fd00::2"])
def test_both_families_are_asked_at_once(net: Network, name: str, found: list[str], server: str) -> None:
    net.hosts["first"].run(serve_udp)
    addresses, took_s, queries = ask(net, name, Servers((server,)))
    assert addresses == found
    assert (took_s, queries) == ((0.02, 2) if len(name) < 64 and ".." not in name else (0, 0))


def test_an_answer_that_was_cut_is_asked_for_by_tcp(net: Network) -> None:
    net.hosts["first"].run(serve_udp)
    net.hosts["first"].run(serve_tcp)
    addresses, took_s, queries = ask(net, "many.example", Servers((FIRST,)))
    assert len(addresses) == 200
    assert queries == 3
    assert took_s == pytest.approx(0.06, abs=0.005)


def test_names_with_few_dots_are_searched_first(net: Network) -> None:
    net.hosts["first"].run(serve_udp)
    servers = Servers((FIRST,), search=("nowhere", "example"))
    assert ask(net, "four", servers)[::2] == (["192.0.2.4"], 4)
    assert ask(net, "four.", servers)[::2] == ([], 2)
    assert ask(net, "four.example", servers)[::2] == (["192.0.2.4"], 2)


def test_a_silent_server_costs_its_timeout_and_the_next_is_asked(net: Network) -> None:
    net.hosts["second"].run(serve_udp)
    net.hosts["first"].power_off()
    addresses, took_s, queries = ask(net, "four.example", Servers((FIRST, SECOND)))
    assert (addresses, queries) == (["192.0.2.4"], 4)
    assert took_s == pytest.approx(5.02)


def test_nobody_answers_is_a_temporary_failure_after_all_attempts(net: Network) -> None:
    for name in ("first", "second"):
        net.hosts[name].power_off()
    text, took_s, queries = ask(net, "four.example", Servers((FIRST, SECOND), timeout_s=3, attempts=4))
    assert (took_s, queries) == (3 * 2 * 4, 2 * 2 * 4)
    assert text == ("True Temporary failure in name resolution: "
                    "four.example: 10.0.0.2 does not answer; 10.0.1.2 does not answer")


def test_a_host_without_a_server_says_so_at_once(net: Network) -> None:
    net.hosts["second"].run(serve_udp)
    addresses, took_s, _ = ask(net, "four.example", Servers((FIRST, SECOND)))
    assert addresses == ["192.0.2.4"]
    assert took_s == pytest.approx(0.04)


def test_a_server_that_fails_is_passed_over(net: Network) -> None:
    net.hosts["first"].run(serve_udp)
    text, took_s, _ = ask(net, "broken.example", Servers((FIRST,)))
    assert "10.0.0.2 says SERVFAIL" in text
    assert took_s == pytest.approx(0.04)


def wrong_number(response: dns.message.Message) -> dns.message.Message:
    response.id ^= 1
    return response


def wrong_question(response: dns.message.Message) -> dns.message.Message:
    response.question = dns.message.make_query("other.example", "A").question
    return response


def no_response(response: dns.message.Message) -> dns.message.Message:
    response.flags &= ~dns.flags.QR
    return response


@pytest.mark.parametrize("change", [wrong_number, wrong_question, no_response])
def test_an_answer_to_something_else_counts_for_nothing(net: Network, change: Answer) -> None:
    net.hosts["first"].run(serve_udp, change)
    net.hosts["second"].run(serve_udp)
    addresses, took_s, _ = ask(net, "four.example", Servers((FIRST, SECOND)))
    assert addresses == ["192.0.2.4"]
    assert took_s == pytest.approx(5.02)


def test_an_answer_from_another_port_or_garbage_counts_for_nothing(net: Network) -> None:
    @net.hosts["first"].run(daemon=True)
    def forge() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            server.bind(("", 53))
            while True:
                data, address = server.recvfrom(2000)
                other.sendto(answer(dns.message.from_wire(data)).to_wire(), address)
                server.sendto(b"garbage", address)

    text, took_s, _ = ask(net, "four.example", Servers((FIRST,), attempts=1))
    assert (took_s, "does not answer" in text) == (5, True)


def test_a_server_that_hangs_up_in_the_middle(net: Network) -> None:
    net.hosts["first"].run(serve_udp)

    @net.hosts["first"].run
    def serve_half() -> None:
        with socket.create_server(("", 53)) as listener:
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"\x10\x00\x00")

    text, _, _ = ask(net, "many.example", Servers((FIRST,), attempts=1))
    assert "hangs up in the middle" in text


def test_addresses_have_names(net: Network) -> None:
    net.hosts["first"].run(serve_udp)

    @net.hosts["client"].run
    def look_up() -> list[list[str]]:
        resolver = Resolver(Servers((FIRST,)), nothing, nobody, current())
        unreachable = Resolver(Servers((SECOND,), attempts=1), nothing, nobody, current())
        address = parse_address("192.0.2.1")
        return [resolver.reverse(address), resolver.reverse(parse_address("192.0.2.9")), unreachable.reverse(address)]

    net.run()
    assert look_up.result() == [["www.example"], [], []]


def test_the_hosts_file_comes_first() -> None:
    resolver = Resolver(Servers((FIRST,)), hosts_file.resolve, hosts_file.reverse)
    assert b"\x7f\0\0\x01" in resolver.resolve("localhost", socket.AF_UNSPEC)
    assert resolver.queries == 0
    assert Resolver(Servers(()), nothing, nobody).resolve("www.example", socket.AF_UNSPEC) == []
    assert Resolver(Servers(()), nothing, nobody).reverse(b"\1\2\3\4") == []


def test_resolv_conf_is_read_with_its_limits() -> None:
    text = """
# a comment
; another
nameserver 192.0.2.53
nameserver 2001:db8::53%eth0
nameserver nonsense
nameserver 192.0.2.54
nameserver 192.0.2.55
search example. lab .
options ndots:20 timeout:2 attempts:9 rotate edns0 timeout:x
"""
    assert read_resolv_conf(text) == Servers(
        ("192.0.2.53", "2001:db8::53", "192.0.2.54"), ("example", "lab"), ndots=15, timeout_s=2, attempts=5)
    assert read_resolv_conf("") == Servers(())


