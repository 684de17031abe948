"""Which ports may be shared, and how free ones are chosen."""

from __future__ import annotations

import errno
from collections import Counter
from itertools import pairwise
from random import Random

import pytest

from estab.abi import AF_INET, AF_INET6, SOCK_DGRAM, SOCK_STREAM
from estab.counters import Counters
from estab.host.sockets.ports import Binding, FlowTable, Ports
from estab.tcp.config import Config
from estab.tcp.context import Context
from tests.kit.engines import MS, SECOND, pair

A = b"\x0a\0\0\x01"
B = b"\x0a\0\0\x02"


class Flows(FlowTable):
    """Flows that a test takes and frees."""

    def __init__(self) -> None:
        self.taken: set[tuple[bytes, int, bytes, int]] = set()
        self.in_use: set[int] = set()
        self.freed = 0
        self.looks = 0

    def free(self, local: bytes, local_port: int, remote: bytes, remote_port: int) -> None:
        self.taken.remove((local, local_port, remote, remote_port))
        self.freed += 1

    def is_flow_taken(self, local: bytes, local_port: int, remote: bytes, remote_port: int) -> bool:
        self.looks += 1
        return (local, local_port, remote, remote_port) in self.taken

    def is_in_use(self, binding: Binding) -> bool:
        return binding.port in self.in_use

    def freed_count(self) -> int:
        return self.freed


class ForgetfulFlows(Flows):
    """The same, of which nothing may be remembered."""

    def freed_count(self) -> int:
        return -1


def ports(first: int = 32768, last: int = 60999, secret: bytes = b"s" * 32) -> Ports:
    config = Config()
    config.ip_local_port_range = (first, last)
    return Ports("TCP", Context("host", config, Counters(), secret))


def binding(address: bytes = b"", port: int = 80, *, v4: bool = True, v6: bool = False, reuse_address: bool = False,
            reuse_port: bool = False) -> Binding:
    return Binding(address, port, v4, v6, reuse_address, reuse_port, False)


ANY4, V4A, V4B = {"v4": True}, {"address": A}, {"address": B}
ANY6 = {"v4": False, "v6": True}
DUAL = {"v4": True, "v6": True}
V6A = {"address": bytes(15) + b"\x09", "v4": False, "v6": True}


@pytest.mark.parametrize(("first", "second", "conflicts"), [
    (ANY4, ANY4, True), (ANY4, V4A, True), (V4A, V4A, True), (V4A, V4B, False), (ANY4, ANY6, False), (ANY4, DUAL, True),
    (V4A, DUAL, True), (V4A, ANY6, False), (ANY6, DUAL, True), (V6A, ANY4, False), (V6A, DUAL, True), (V6A, ANY6, True),
])
def test_bindings_conflict_where_one_packet_could_be_for_both(first: dict, second: dict, conflicts: bool) -> None:
    for one, other in ((first, second), (second, first)):
        table, flows = ports(), Flows()
        table.bind(binding(**one), flows)
        if conflicts:
            with pytest.raises(OSError, match=r"address already in use: TCP .*:80") as caught:
                table.bind(binding(**other), flows)
            assert caught.value.errno == errno.EADDRINUSE
        else:
            table.bind(binding(**other), flows)


def test_reuse_address_must_be_said_by_both_and_neither_may_listen() -> None:
    flows = Flows()
    for first, second, is_shared in ((True, True, True), (True, False, False), (False, True, False)):
        table = ports()
        table.bind(binding(reuse_address=first), flows)
        if is_shared:
            table.bind(binding(reuse_address=second), flows)
        else:
            with pytest.raises(OSError, match="in use"):
                table.bind(binding(reuse_address=second), flows)
    table = ports()
    one, other = binding(reuse_address=True), binding(reuse_address=True)
    table.bind(one, flows)
    table.bind(other, flows)
    table.set_listening(one, flows)
    with pytest.raises(OSError, match="which is listening"):
        table.set_listening(other, flows)
    assert not other.is_listening


def test_reuse_port_shares_even_between_listeners() -> None:
    table, flows = ports(), Flows()
    for _ in range(3):
        one = binding(reuse_port=True)
        table.bind(one, flows)
        table.set_listening(one, flows)
    with pytest.raises(OSError, match="in use"):
        table.bind(binding(), flows)


def test_a_released_port_is_free_unless_connections_live_on_it() -> None:
    table, flows = ports(), Flows()
    one = binding()
    table.bind(one, flows)
    flows.in_use.add(80)
    table.release(one, flows)
    with pytest.raises(OSError, match="in use"):
        table.bind(binding(), flows)
    flows.in_use.clear()
    table.bind(binding(), flows)


def test_lingering_bindings_are_swept_before_they_pile_up() -> None:
    table, flows = ports(1024, 65535), Flows()
    flows.in_use = set(range(65536))
    for port in range(1, 1000):
        one = binding(port=port)
        table.bind(one, flows)
        table.release(one, flows)
        flows.in_use.discard(port)
    assert table.used_count() <= 256


def test_port_0_gives_a_port_of_the_range_until_all_are_taken() -> None:
    table, flows = ports(40000, 40063), Flows()
    given = []
    for _ in range(64):
        one = binding(port=0)
        table.bind(one, flows)
        given.append(one.port)
    assert sorted(given) == list(range(40000, 40064))
    assert given != sorted(given)
    with pytest.raises(OSError, match="all 64 ephemeral TCP ports are taken") as caught:
        table.bind(binding(port=0), flows)
    assert caught.value.errno == errno.EADDRINUSE


def test_connects_to_one_destination_walk_the_range_and_others_start_elsewhere() -> None:
    # RFC 6056 section 3.3.4: successive ports towards one destination, unrelated ones towards others.
    table, flows = ports(), Flows()

    def connect(remote_port: int) -> int:
        one = binding(A, 0)
        table.connect(one, B, remote_port, flows)
        flows.taken.add((A, one.port, B, remote_port))
        return one.port

    run = [connect(80) for _ in range(50)]
    steps = {after - before for before, after in pairwise(run) if after > before}
    assert steps == set(range(1, 9))  # onward, by a keyed number: what comes next does not follow from the last
    starts = Counter(connect(port) for port in range(1000, 1100))
    assert len(starts) > 90


def test_another_secret_gives_other_ports() -> None:
    chosen = []
    for secret in (b"a" * 32, b"b" * 32, b"a" * 32):
        one = binding(A, 0)
        ports(secret=secret).connect(one, B, 80, Flows())
        chosen.append(one.port)
    assert chosen[0] == chosen[2] != chosen[1]


def test_connects_share_ports_for_different_destinations_and_run_out_for_one() -> None:
    table, flows = ports(40000, 40003), Flows()

    def connect(remote_port: int) -> None:
        one = binding(A, 0)
        table.connect(one, B, remote_port, flows)
        flows.taken.add((A, one.port, B, remote_port))

    for _ in range(4):
        connect(80)
        connect(81)
    with pytest.raises(OSError, match=r"all 4 ephemeral TCP ports towards 10.0.0.2:80 are taken") as caught:
        connect(80)
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_connect_leaves_ports_alone_that_someone_bound() -> None:
    table, flows = ports(40000, 40001), Flows()
    table.bind(binding(B, 40000), flows)
    one = binding(A, 0)
    table.connect(one, B, 80, flows)
    assert one.port == 40001


def test_host_shares_one_local_port_between_connections_to_different_remotes() -> None:
    config = Config()
    config.ip_local_port_range = (50000, 50000)
    net, a, b, _ = pair(config=config)
    for port in (80, 81):
        listener = b.socket(AF_INET, SOCK_STREAM, net.now_ns)
        listener.bind(("", port), net.now_ns)
        listener.listen(5, net.now_ns)
    for port in (80, 81):
        client = a.socket(AF_INET, SOCK_STREAM, net.now_ns)
        with pytest.raises(BlockingIOError):
            client.connect(("10.0.0.2", port), net.now_ns)
        net.run(100 * MS)
        assert client.getsockname()[1] == 50000
        client.connect(("10.0.0.2", port), net.now_ns)
    third = a.socket(AF_INET, SOCK_STREAM, net.now_ns)
    with pytest.raises(OSError, match="ephemeral") as caught:
        third.connect(("10.0.0.2", 80), net.now_ns)
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_time_wait_keeps_the_port_from_a_bind_without_reuse_address() -> None:
    net, a, b, _ = pair()
    listener = a.socket(AF_INET, SOCK_STREAM, net.now_ns)
    listener.bind(("", 80), net.now_ns)
    listener.listen(5, net.now_ns)
    client = b.socket(AF_INET, SOCK_STREAM, net.now_ns)
    with pytest.raises(BlockingIOError):
        client.connect(("10.0.0.1", 80), net.now_ns)
    net.run(100 * MS)
    server = listener.accept(net.now_ns)
    for one in (server, listener):
        one.close(net.now_ns)
    net.run(100 * MS)
    client.close(net.now_ns)
    net.run(100 * MS)
    assert [row.state for row in a.sockets(net.now_ns)] == ["TIME-WAIT"]
    again = a.socket(AF_INET, SOCK_STREAM, net.now_ns)
    again.reuse_address = True
    # Linux wants both to have said it; the connection inherited its listener's silence.
    with pytest.raises(OSError, match="in use"):
        again.bind(("", 80), net.now_ns)
    net.run(60 * SECOND)
    again.bind(("", 80), net.now_ns)


def test_reuse_address_lets_a_server_start_again_over_its_time_wait() -> None:
    net, a, b, _ = pair()
    listener = a.socket(AF_INET, SOCK_STREAM, net.now_ns)
    listener.reuse_address = True
    listener.bind(("", 80), net.now_ns)
    listener.listen(5, net.now_ns)
    client = b.socket(AF_INET, SOCK_STREAM, net.now_ns)
    with pytest.raises(BlockingIOError):
        client.connect(("10.0.0.1", 80), net.now_ns)
    net.run(100 * MS)
    server = listener.accept(net.now_ns)
    for one in (server, listener):
        one.close(net.now_ns)
    net.run(100 * MS)
    client.close(net.now_ns)
    net.run(100 * MS)
    again = a.socket(AF_INET, SOCK_STREAM, net.now_ns)
    again.reuse_address = True
    again.bind(("", 80), net.now_ns)
    again.listen(5, net.now_ns)


def test_dual_stack_wildcard_excludes_ipv4_unless_v6only() -> None:
    net, a, _, _ = pair()
    for kind in (SOCK_STREAM, SOCK_DGRAM):
        dual, only, v4 = (a.socket(family, kind, net.now_ns) for family in (AF_INET6, AF_INET6, AF_INET))
        dual.bind(("::", 7), net.now_ns)
        with pytest.raises(OSError, match="in use"):
            v4.bind(("", 7), net.now_ns)
        dual.close(net.now_ns)
        only.v6only = True
        only.bind(("::", 7), net.now_ns)
        v4.bind(("", 7), net.now_ns)


def test_bind_to_a_foreign_address_is_eaddrnotavail() -> None:
    net, a, _, _ = pair()
    for kind in (SOCK_STREAM, SOCK_DGRAM):
        one = a.socket(AF_INET, kind, net.now_ns)
        with pytest.raises(OSError, match=r"10\.0\.0\.2:0 is not an address of this host") as caught:
            one.bind(("10.0.0.2", 0), net.now_ns)
        assert caught.value.errno == errno.EADDRNOTAVAIL


def test_a_second_bind_is_einval() -> None:
    net, a, _, _ = pair()
    for kind in (SOCK_STREAM, SOCK_DGRAM):
        one = a.socket(AF_INET, kind, net.now_ns)
        one.bind(("", 0), net.now_ns)
        with pytest.raises(OSError, match="already bound") as caught:
            one.bind(("", 0), net.now_ns)
        assert caught.value.errno == errno.EINVAL


def test_connect_takes_even_ports_first_and_bind_odd_ones_as_on_linux() -> None:
    config = Config()
    config.ip_local_port_range = (40_000, 40_009)
    table, flows = Ports("TCP", Context("host", config, Counters(), bytes(32)), has_parity=True), Flows()
    chosen = []
    for _ in range(10):
        one = binding(A, 0)
        table.connect(one, B, 80, flows)
        flows.taken.add((A, one.port, B, 80))
        chosen.append(one.port)
    assert [port % 2 for port in chosen] == [0] * 5 + [1] * 5
    assert sorted(chosen) == list(range(40_000, 40_010))
    with pytest.raises(OSError, match="all 10 ephemeral TCP ports"):
        table.connect(binding(A, 0), B, 80, flows)
    table = Ports("TCP", Context("host", config, Counters(), bytes(32)), has_parity=True)
    bound = [binding(A, 0) for _ in range(10)]
    for one in bound:
        table.bind(one, Flows())
    assert [one.port % 2 for one in bound] == [1] * 5 + [0] * 5
    assert sorted(one.port for one in bound) == list(range(40_000, 40_010))


def with_parity(first: int, last: int) -> Ports:
    config = Config()
    config.ip_local_port_range = (first, last)
    return Ports("TCP", Context("host", config, Counters(), bytes(32)), has_parity=True)


def test_connects_to_a_server_towards_which_half_of_the_ports_are_taken_do_not_look_at_that_half_again() -> None:
    table, flows = with_parity(40_000, 41_999), Flows()
    for number in range(1000):
        for server in range(3):  # in turn
            one = binding(A, 0)
            table.connect(one, B, 80 + server, flows)
            flows.taken.add((A, one.port, B, 80 + server))
            assert one.port % 2 == 0, number
    flows.looks = 0
    for _ in range(100):
        for server in range(3):
            one = binding(A, 0)
            table.connect(one, B, 80 + server, flows)
            flows.taken.add((A, one.port, B, 80 + server))
    assert flows.looks < 3 * 1000 + 2000  # that half once each, and then few


def test_a_connect_that_found_no_port_is_not_looked_for_again_until_one_is_free() -> None:
    table, flows = with_parity(40_000, 40_999), Flows()
    flows.taken = {(A, port, B, 80) for port in range(40_000, 41_000)}
    for looks in (1000, 1000):
        with pytest.raises(OSError, match="all 1000 ephemeral TCP ports"):
            table.connect(binding(A, 0), B, 80, flows)
        assert flows.looks == looks
    flows.free(A, 40_123, B, 80)
    one = binding(A, 0)
    table.connect(one, B, 80, flows)
    assert one.port == 40_123


@pytest.mark.parametrize("seed", range(8))
def test_what_is_remembered_of_taken_ports_changes_no_choice(seed: int) -> None:
    random = Random(seed)
    tables = [(with_parity(40_000, 40_030), kind()) for kind in (Flows, ForgetfulFlows)]
    held: list[tuple[list[Binding], int]] = []
    explicit: list[list[Binding]] = []
    for _ in range(600):
        act = random.random()
        port = random.choice([80, 81])
        if act < 0.6:
            made = [binding(A, 0) for _ in tables]
            outcomes = set()
            for (table, flows), one in zip(tables, made, strict=True):
                try:
                    table.connect(one, B, port, flows)
                    flows.taken.add((A, one.port, B, port))
                    outcomes.add(one.port)
                except OSError:
                    outcomes.add(0)
            assert len(outcomes) == 1
            if outcomes != {0}:
                held.append((made, port))
        elif act < 0.8 and held:
            made, port = held.pop(random.randrange(len(held)))
            for (table, flows), one in zip(tables, made, strict=True):
                flows.free(A, one.port, B, port)
                table.release(one, flows)
        elif act < 0.9:
            number = random.randrange(40_000, 40_031)
            made = [binding(A, number) for _ in tables]
            try:
                for (table, flows), one in zip(tables, made, strict=True):
                    table.bind(one, flows)
            except OSError:
                continue
            explicit.append(made)
        elif explicit:
            for (table, flows), one in zip(tables, explicit.pop(), strict=True):
                table.release(one, flows)


def test_a_host_s_tcp_ports_have_parity_and_its_udp_ports_have_none() -> None:
    net, a, _, _ = pair()
    ports_of = {}
    for kind in (SOCK_STREAM, SOCK_DGRAM):
        ports_of[kind] = []
        for _ in range(40):
            one = a.socket(AF_INET, kind, net.now_ns)
            one.bind(("10.0.0.1", 0), net.now_ns)
            ports_of[kind].append(one.local_port % 2)
    assert set(ports_of[SOCK_STREAM]) == {1}
    assert set(ports_of[SOCK_DGRAM]) == {0, 1}
