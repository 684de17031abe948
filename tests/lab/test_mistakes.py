"""What somebody new gets wrong: each mistake is named at once, with what was given and what would be right."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import estab
from estab.errors import explain
from estab.lab.network import Network


def pair() -> tuple[Network, estab.Host, estab.Host]:
    net = Network(seed=1)
    return net, net.host("a"), net.host("b")


def link(**properties: Any) -> None:
    net, a, b = pair()
    net.link(a, b, **properties)


def laid() -> estab.Link:
    net, a, b = pair()
    return net.link(a, b)


def list_to_switch() -> None:
    net = Network()
    net.switch("lan", [net.host("a"), net.host("b")])  # type: ignore[arg-type]


def switched(**properties: Any) -> None:
    net, a, b = pair()
    net.switch("lan", a, b, **properties)


def link_names() -> None:
    pair()[0].link("a", "b")  # type: ignore[arg-type]


def link_another_networks_host() -> None:
    net, a, _ = pair()
    net.link(a, Network(seed=2).host("stranger"))


def act(action: Any) -> None:
    pair()[0].at("1s", action)


def act_again(action: Any) -> None:
    pair()[0].every("1s", action)


def run_what_was_called() -> None:
    _, a, _ = pair()
    a.run(print())  # type: ignore[func-returns-value]


def run_generator() -> None:
    def generate() -> Iterator[int]:
        yield 1

    pair()[1].run(generate)


def run_when_closed() -> None:
    net, a, _ = pair()
    net.close()
    a.run(print)


def run_without_power() -> None:
    _, a, _ = pair()
    a.power_off()
    a.run(print)


def call_program() -> None:
    _, a, _ = pair()
    serve = a.run(print, name="serve")
    serve()


def closed() -> Network:
    net = Network(seed=1)
    net.close()
    return net


@pytest.mark.parametrize(("mistake", "kind", "words"), [
    (lambda: Network(seed=1.5), TypeError, "seed: 1.5 is neither an integer nor a text"),  # type: ignore[arg-type]
    (lambda: Network(seed=None), TypeError, "seed: None is neither"),  # type: ignore[arg-type]
    (lambda: Network(observer=5), TypeError, "observer: 5 is not a function"),  # type: ignore[arg-type]
    (list_to_switch, TypeError, "switch: a list is not a host; give the hosts one after the other: net.switch("),
    (link_names, TypeError, "link: 'a' is not a host; give what Network.host() returned"),
    (link_another_networks_host, ValueError, "link: stranger is a host of another network"),
    (lambda: link(name=5), TypeError, "name: 5 is not a text"),
    (lambda: link(loss="-1%"), ValueError, "loss: '-1%' is negative"),
    (lambda: link(dealy="5ms"), TypeError, "a link has no property 'dealy'; did you mean delay?"),
    (lambda: link(mtu=12), ValueError, "mtu: 12 is not a number of bytes from 68"),
    (lambda: link(mtu=(1500, None)), ValueError, "mtu: None is not a number of bytes from 68"),
    (lambda: link(delay=("1ms", "2ms", "3ms")), ValueError, "delay: ('1ms', '2ms', '3ms') has 3 values"),
    (lambda: link(loss=2), ValueError, "loss: 2 is more than 100%"),
    (lambda: link(delay="-5ms"), ValueError, "delay: '-5ms' is negative"),
    (lambda: link(loss={"c": "2%"}), ValueError, "loss: c is at no end of a-b; a dictionary has values by the sending "
                                                 "host: a or b"),
    (lambda: link(delay={5: "2ms"}), TypeError, "delay: 5 is not a host; a dictionary has values by the sending host"),
    (lambda: laid().set(loss={Network(seed=2).host("stranger"): 1}), ValueError, "loss: stranger is at no end of a-b"),
    (lambda: switched(jitter={"lab": "2ms"}), ValueError, "jitter: lab is at no end of lan; a dictionary has values by "
                                                          "the sending host: a or b or lan"),
    (lambda: laid().cut("c"), ValueError, "sender: c is at no end of a-b"),
    (lambda: laid().cut(5), TypeError, "sender: 5 is not a host"),  # type: ignore[arg-type]
    (lambda: laid().rule(print, 5), TypeError, "sender: 5 is not a host"),  # type: ignore[call-overload]
    (lambda: laid().firewall("5s", "a"), TypeError, "inside: 'a' is not a host"),  # type: ignore[arg-type]
    (lambda: laid().inject("a", b""), TypeError, "host: 'a' is not a host"),  # type: ignore[arg-type]
    (lambda: act(print()), TypeError, "action: None is not a function"),  # type: ignore[func-returns-value]
    (lambda: act_again(5), TypeError, "action: 5 is not a function"),
    (lambda: pair()[0].observe(5), TypeError, "observer: 5 is not a function"),  # type: ignore[arg-type]
    (run_what_was_called, TypeError, "run: None is not a function"),
    (lambda: pair()[1].run(print, name=5), TypeError, "name: 5 is not a text"),  # type: ignore[call-overload]
    (run_generator, TypeError, "is a generator function: to call it runs nothing of it"),
    (run_when_closed, RuntimeError, "run: the network of host a is closed"),
    (run_without_power, RuntimeError, "run: host a has no power; call power_on() first"),
    (call_program, TypeError, "serve is a program of host a: Network.run() runs it, and then serve.result() gives"),
    (lambda: Network(seed=1).host("a", tcp_retries2=-4), ValueError, "tcp_retries2: -4 is negative"),
    (lambda: closed().host("a"), RuntimeError, "the network is closed"),
    (lambda: closed().run(), RuntimeError, "the network is closed"),
])
def test_a_mistake_is_named_at_once(mistake: Callable[[], object], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        mistake()
    assert words in str(caught.value)


@pytest.mark.parametrize(("name", "words"), [
    ("nobody", "'nobody' is no name that host a can look up"),
    ("b", "host b has no address yet: Network.link gives it one"),
])
def test_a_name_without_an_address_says_why(name: str, words: str) -> None:
    net, a, _ = pair()

    @a.run
    def call() -> None:
        socket.create_connection((name, 80))

    with pytest.raises(socket.gaierror) as caught:
        net.run()
    assert words in explain(caught.value)


def test_a_host_without_a_link_finds_itself() -> None:
    net, a, _ = pair()

    @a.run
    def talk() -> bytes:
        with socket.create_server(("", 80)) as listener, socket.create_connection(("a", 80)) as caller:
            caller.sendall(b"myself")
            with listener.accept()[0] as taken:
                return taken.recv(10)

    net.run()
    assert talk.result() == b"myself"


@pytest.mark.parametrize(("right", "wrong", "kind"), [
    ({"mtu": 1500}, {"mtu": 1500.0}, ValueError), ({"queue": 5}, {"queue": 5.0}, TypeError),
    ({"loss": 1}, {"loss": True}, TypeError),
])
def test_a_wrong_value_is_named_also_if_another_link_had_one_that_is_equal(
        right: dict[str, Any], wrong: dict[str, Any], kind: type[Exception]) -> None:
    link(**right)
    with pytest.raises(kind, match=next(iter(wrong))):
        link(**wrong)
    link(**right)


def test_a_dictionary_of_a_link_has_hosts_or_their_names_as_keys() -> None:
    net, a, b = pair()
    cable = net.link(a, b, delay={a: "3ms", b: "5ms"}, loss={"b": "2%"})
    assert (cable.there.conditions.delay_ns, cable.back.conditions.delay_ns) == (3_000_000, 5_000_000)
    assert (cable.there.conditions.loss, cable.back.conditions.loss) == (0, 0.02)
    cable.set(loss={a: 1})
    assert (cable.there.conditions.loss, cable.back.conditions.loss) == (1, 0.02)
    lan = net.switch("lan", a, b, delay={a: "1ms", "lan": "2ms"})
    [(there, back), (_, other)] = [(lan.cable(host).there, lan.cable(host).back) for host in (a, b)]
    assert [way.conditions.delay_ns for way in (there, back, other)] == [1_000_000, 2_000_000, 2_000_000]


def test_any_truth_is_taken_for_yes_or_no() -> None:
    net = Network(seed=1)
    a, router = net.host("a"), net.host("router", forwarding=1)  # type: ignore[arg-type]
    net.link(a, router, ethernet="yes")  # type: ignore[arg-type]
    assert router.is_forwarding is True
    assert a.engine.interfaces[1].is_ethernet
