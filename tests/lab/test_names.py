"""Names of several hosts, names that change, and resolvers that are slow, lose, fail or lie."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest

from estab import Host, Network
from estab.errors import explain


@pytest.fixture
def hosts(net: Network) -> tuple[Host, Host, Host]:
    client, one, two = net.host("client"), net.host("one"), net.host("two")
    net.link(client, one, delay="1ms")
    net.link(client, two, delay="1ms")
    return client, one, two


Hosts = tuple[Host, Host, Host]


def look(name: str, family: int = socket.AF_UNSPEC) -> list[str] | str:
    try:
        found = socket.getaddrinfo(name, 80, family, socket.SOCK_STREAM)
    except socket.gaierror as error:
        return next(code for code in ("EAI_AGAIN", "EAI_NONAME", "EAI_ADDRFAMILY")
                    if getattr(socket, code, None) == error.errno)
    return [str(sockaddr[0]) for *_, sockaddr in found]


def timed(name: str) -> tuple[list[str] | str, float]:
    started = time.monotonic()
    return look(name), round(time.monotonic() - started, 3)


def ran(net: Network, host: Host, function: Any, *args: Any) -> Any:
    program = host.run(function, *args)
    net.run()
    return program.result()


# --- names


def test_a_name_stands_for_hosts_and_addresses_in_the_order_that_was_given(net: Network, hosts: Hosts) -> None:
    client, one, two = hosts
    net.name("API.example", ["2001:db8::1", two, one.addresses[0]])
    expected = ["2001:db8::1", *two.addresses, one.address]
    assert ran(net, client, look, "api.example") == expected
    assert ran(net, client, look, "api.Example.") == expected
    assert ran(net, client, look, "api.example", socket.AF_INET) == [two.address, one.address]


def test_a_version_may_come_first(net: Network, hosts: Hosts) -> None:
    client, one, two = hosts
    net.name("six", [one, two], order="ipv6")
    net.name("four", [*one.addresses[::-1], two], order="ipv4")
    net.name("one", one, order="ipv6")  # a host's own name, for others
    v4, v6 = [one.addresses[0], two.addresses[0]], [one.addresses[1], two.addresses[1]]
    assert ran(net, client, look, "six") == v6 + v4
    assert ran(net, client, look, "four") == v4 + v6
    assert ran(net, client, look, "one") == one.addresses[::-1]
    assert ran(net, one, look, "one") == one.addresses


def test_round_robin_begins_with_another_one_at_each_lookup(net: Network, hosts: Hosts) -> None:
    client, one, two = hosts
    net.name("db", [one.address, two.address, "10.9.9.9"], order="rotate")

    def first() -> str:
        return look("db")[0]

    assert [ran(net, client, first) for _ in range(4)] == [one.address, two.address, "10.9.9.9", one.address]


def test_a_name_may_be_another_names_other_name(net: Network, hosts: Hosts) -> None:
    client, one, _ = hosts
    net.name("www", "web")
    net.name("web", ["one"])
    net.name("loop", "loop2")
    net.name("loop2", "loop")
    assert ran(net, client, look, "www") == one.addresses
    assert ran(net, client, look, "loop") == "EAI_NONAME"


def test_answers_change_in_time_and_go_away(net: Network, hosts: Hosts) -> None:
    client, one, two = hosts
    net.name("db", one)
    net.at("10s", net.name, "db", [two])
    net.at("20s", net.name, "db", [])

    def follow() -> list[Any]:
        seen: list[Any] = []
        for _ in range(3):
            seen.append(look("db", socket.AF_INET))
            time.sleep(10)
        return seen

    assert ran(net, client, follow) == [[one.address], [two.address], "EAI_NONAME"]


def test_a_dead_first_address_costs_a_connect_and_the_next_is_tried(net: Network, hosts: Hosts) -> None:
    client, one, two = hosts
    net.name("db", [one.address, two.address])
    one.power_off()

    @two.run(daemon=True)
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            listener.accept()[0].close()

    def connect() -> tuple[float, str]:
        started = time.monotonic()
        with socket.create_connection(("db", 80), timeout=3) as sock:
            return round(time.monotonic() - started, 2), sock.getpeername()[0]

    assert ran(net, client, connect) == (3.0, two.address)


@pytest.mark.parametrize(("name", "addresses", "order", "text"), [
    ("", "one", "given", "name: '' is no name"), ("a b", "one", "given", "name: 'a b' is no name"),
    ("db", [3], "given", "addresses: 3 is neither a host nor"), ("db", "one", "any", "order: 'any' is not one of"),
])
def test_what_is_no_name_is_refused(net: Network, name: str, addresses: Any, order: Any, text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        net.name(name, addresses, order=order)


# --- resolvers


def test_an_answer_takes_the_resolvers_delay_in_calls_and_in_tasks(net: Network, hosts: Hosts) -> None:
    client, one, _ = hosts
    client.set_resolver(delay="30ms")

    async def in_tasks() -> list[float]:
        loop = asyncio.get_running_loop()
        ticks: list[float] = []

        async def tick() -> None:
            while True:
                await asyncio.sleep(0.01)
                ticks.append(loop.time())

        ticking = asyncio.create_task(tick())
        await loop.getaddrinfo("one", 80)
        ticking.cancel()
        return [round(at_s, 3) for at_s in ticks]

    assert ran(net, client, in_tasks)[:2] == [0.01, 0.02]  # the loop went on meanwhile
    assert ran(net, client, timed, "one") == (one.addresses, 0.03)
    assert ran(net, client, timed, "absent") == ("EAI_NONAME", 0.03)
    for known in ("localhost", "client", one.address):
        assert ran(net, client, timed, known)[1] == 0
    assert ran(net, one, timed, "client")[1] == 0
    client.set_resolver()
    assert ran(net, client, timed, "one")[1] == 0


def test_the_networks_resolver_is_every_hosts_that_has_none_of_its_own(net: Network, hosts: Hosts) -> None:
    client, one, _ = hosts
    net.set_resolver(delay="10ms")
    one.set_resolver(delay="20ms")
    assert ran(net, client, timed, "one")[1] == 0.01
    assert ran(net, one, timed, "client")[1] == 0.02


@pytest.mark.parametrize(("failure", "outcome"), [
    ("silent", ("EAI_AGAIN", 10)), ("SERVFAIL", ("EAI_AGAIN", 0.02)), ("REFUSED", ("EAI_AGAIN", 0.02)),
    ("NXDOMAIN", ("EAI_NONAME", 0.01)),
])
def test_a_resolver_fails_as_linuxs_does(net: Network, hosts: Hosts, failure: Any, outcome: tuple[str, float]) -> None:
    client = hosts[0]
    client.set_resolver(failure, delay="10ms")
    assert ran(net, client, timed, "one") == outcome


def test_a_resolver_that_is_silent_for_a_while_is_a_fault_with_a_name(net: Network, hosts: Hosts) -> None:
    client, one, _ = hosts
    client.set_resolver("silent", timeout="2s", attempts=3)
    net.at("5s", client.set_resolver)
    net.at("1h", client.set_resolver, "SERVFAIL")
    assert ran(net, client, timed, "one") == ("EAI_AGAIN", 6)
    assert ran(net, client, timed, "one") == (one.addresses, 0)
    assert net.faults == ["5s client.set_resolver", "3600s client.set_resolver('SERVFAIL')"]


def test_a_lost_question_costs_the_time_out(net: Network, hosts: Hosts) -> None:
    """kubernetes#56903: getaddrinfo takes 5.0 s now and then."""
    client, one, _ = hosts
    client.set_resolver(delay="1ms", loss="30%")

    def often() -> list[tuple[list[str] | str, float]]:
        return [timed("one") for _ in range(200)]

    seen = ran(net, client, often)
    took = [took_s for _, took_s in seen]
    assert set(took) == {0.001, 5.001, 10}
    assert 0.2 < sum(took_s > 1 for took_s in took) / 200 < 0.4
    assert {str(answer) for answer, took_s in seen if took_s < 10} == {str(one.addresses)}
    assert {str(answer) for answer, took_s in seen if took_s == 10} == {"EAI_AGAIN"}


def test_a_resolver_may_lie_to_one_host(net: Network, hosts: Hosts) -> None:
    client, one, two = hosts
    client.set_resolver(answers={"ONE": two, "nowhere": "10.9.9.9", "gone": []})
    assert ran(net, client, look, "one") == two.addresses
    assert ran(net, client, look, "nowhere") == ["10.9.9.9"]
    assert ran(net, client, look, "gone") == "EAI_NONAME"
    assert ran(net, two, look, "one") == one.addresses


def test_a_reverse_lookup_waits_for_the_resolver_too(net: Network, hosts: Hosts) -> None:
    client, one, _ = hosts
    client.set_resolver("silent")

    def reverse() -> tuple[str, float]:
        started = time.monotonic()
        return socket.getnameinfo((one.address, 80), 0)[0], time.monotonic() - started

    assert ran(net, client, reverse) == (one.address, 10)
    client.set_resolver()
    assert ran(net, client, reverse) == ("one", 0)


def test_from_outside_a_lookup_runs_the_network(net: Network, hosts: Hosts) -> None:
    client, one, _ = hosts
    client.set_resolver(delay="30ms")
    with client.installed():
        assert look("one") == one.addresses
    assert net.now == pytest.approx(0.03)


def test_a_failed_lookup_says_why(net: Network, hosts: Hosts) -> None:
    client = hosts[0]
    client.set_resolver("SERVFAIL")

    def fail() -> str:
        with pytest.raises(socket.gaierror, match="Temporary failure in name resolution") as error:
            socket.create_connection(("one", 80))
        return explain(error.value)

    assert ran(net, client, fail) == "the name server was asked for 'one' 2 times and answered SERVFAIL (set_resolver)"


@pytest.mark.parametrize(("words", "text"), [
    ({"failure": "SERVFAIl"}, "failure: 'SERVFAIl' is not one of"), ({"attempts": 0}, "attempts: 0 is not a number"),
    ({"loss": 2}, "loss: 2 is more than 100%"), ({"delay": "-1s"}, "delay: '-1s' is negative"),
    ({"answers": ["db"]}, "answers: .* is not a table"),
])
def test_what_no_resolver_can_be_is_refused(net: Network, words: dict[str, Any], text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        net.set_resolver(**words)


@pytest.mark.parametrize("call", [
    lambda: socket.gethostbyname(5), lambda: socket.gethostbyname(None), lambda: socket.gethostbyaddr(7),
    lambda: socket.gethostbyname_ex(3), lambda: socket.getaddrinfo(5, 80), lambda: socket.getaddrinfo("", 80, None),
    lambda: socket.getaddrinfo("", 80, 0, "tcp"), lambda: socket.getaddrinfo("", 80, 0, 0, 2.0),
    lambda: socket.getaddrinfo("", 80, 0, 0, 0, "passive"), lambda: socket.getaddrinfo(""),
])
def test_what_is_no_name_or_number_is_refused_in_the_kernels_words(net: Network, hosts: Hosts, call: Any) -> None:
    def refused() -> str:
        with pytest.raises(TypeError) as error:
            call()
        return str(error.value)

    assert ran(net, hosts[0], refused) == refused()


def test_names_may_be_bytes(net: Network, hosts: Hosts) -> None:
    client, one, _two = hosts
    with client.installed():
        assert socket.gethostbyname(b"one") == socket.gethostbyname_ex(b"one")[2][0] == one.address
        assert socket.gethostbyaddr(b"one")[0] == "one"
