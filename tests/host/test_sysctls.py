"""The sysctls of a stack: Linux's names, units and bounds over a host's settings, and the page that lists them."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from estab.abi import AF_INET, SOCK_DGRAM
from estab.errors import DropReason
from estab.host.engine import Engine
from estab.host.sysctls import TABLE
from estab.tcp.config import NAMES
from estab.units import MS, SECOND
from estab.wire import udp
from estab.wire.address import parse_address
from estab.wire.ip import IpHeader
from tests.host.test_fragments import ENDS, pieces, receiver
from tests.kit.engines import Net, Wire, drops

ROOT = Path(__file__).parents[2]


def host() -> Engine:
    return Engine("h", bytes(16))


def test_values_are_in_linuxs_units_and_what_is_set_is_what_the_engine_obeys() -> None:
    one = host()
    assert one.sysctl["net.ipv4.tcp_fin_timeout"] == 60
    one.sysctl["net.ipv4.tcp_fin_timeout"] = 5
    one.sysctl["net.ipv4.tcp_rto_min_us"] = 50_000
    one.sysctl["net.ipv4.tcp_invalid_ratelimit"] = 100
    one.sysctl["net.ipv4.tcp_syncookies"] = 2
    one.sysctl["net.ipv4.tcp_sack"] = 0
    config = one.config
    assert (config.tcp_fin_timeout_ns, config.tcp_rto_min_ns) == (5 * SECOND, 50 * MS)
    assert (config.tcp_invalid_ratelimit_ns, config.tcp_syncookies, config.tcp_sack) == (100 * MS, "always", False)
    assert (one.sysctl["net.ipv4.tcp_syncookies"], one.sysctl["net.ipv4.tcp_sack"]) == (2, 0)


def test_several_numbers_are_a_tuple_or_the_text_of_linux() -> None:
    sysctl = host().sysctl
    assert sysctl["net.ipv4.tcp_rmem"] == (4096, 131072, 6291456)
    sysctl["net.ipv4.tcp_rmem"] = "4096\t65536 1000000"
    assert sysctl["net.ipv4.tcp_rmem"] == (4096, 65536, 1000000)
    sysctl["net.ipv4.tcp_rmem"] = [1, 2, 3]
    assert sysctl.text("net.ipv4.tcp_rmem") == "1\t2\t3"
    sysctl["net.ipv4.ip_local_port_range"] = (2000, 3000)
    assert sysctl.text("net.ipv4.ip_local_port_range") == "2000\t3000"


@pytest.mark.parametrize("name", [
    "net.ipv4.tcp_retries2", "net/ipv4/tcp_retries2", "/proc/sys/net/ipv4/tcp_retries2", "tcp_retries2",
])
def test_a_name_may_be_spelled_in_every_way_of_the_sysctl_command(name: str) -> None:
    one = host()
    one.sysctl[name] = 3
    assert one.config.tcp_retries2 == 3
    assert one.sysctl.row(name).name == "net.ipv4.tcp_retries2"


def test_an_unknown_name_is_a_key_error_that_names_it() -> None:
    sysctl = host().sysctl
    assert "net.ipv4.tcp_bogus" not in sysctl
    assert sysctl.get("net.ipv4.tcp_bogus", 7) == 7
    with pytest.raises(KeyError, match=r"net\.ipv4\.tcp_bogus: no such sysctl here"):
        sysctl["net.ipv4.tcp_bogus"]
    with pytest.raises(KeyError, match="tcp_bogus"):
        sysctl["tcp_bogus"] = 1


@pytest.mark.parametrize(("name", "value", "words"), [
    ("net.ipv4.tcp_syn_retries", 128, "128 is not from 1 to 127"),
    ("net.ipv4.tcp_syn_retries", "many", "'many' is not a number"),
    ("net.ipv4.tcp_syn_retries", 1.5, "1.5 is not a number"),
    ("net.ipv4.tcp_sack", 2, "2 is not from 0 to 1"),
    ("net.ipv4.tcp_rmem", "1 2", "'1 2' is not 3 numbers"),
    ("net.ipv4.tcp_rmem", (3, 2, 1), "does not rise"),
    ("net.ipv4.tcp_syncookies", 3, "3 is not from 0 to 2"),
    ("net.ipv4.tcp_congestion_control", "vegas", "no congestion control 'vegas' among reno, cubic, bbr"),
    ("net.ipv4.tcp_available_congestion_control", "reno", "can only be read"),
])
def test_a_value_that_linux_would_refuse_is_a_value_error_that_names_the_sysctl(
    name: str, value: object, words: str,
) -> None:
    sysctl = host().sysctl
    before = sysctl[name]
    with pytest.raises(ValueError, match=name.replace(".", r"\.") + ".*" + words):
        sysctl[name] = value
    assert sysctl[name] == before


def test_ip_forward_makes_the_host_a_router() -> None:
    one = host()
    one.sysctl["net.ipv4.ip_forward"] = 1
    assert one.is_forwarding
    assert one.neighbors.is_router
    one.is_forwarding = False
    assert one.sysctl["net.ipv4.ip_forward"] == 0


def test_every_sysctl_can_be_listed_and_read_and_takes_its_own_value_as_text() -> None:
    sysctl = host().sysctl
    names = list(sysctl)
    assert names == sorted(names)
    assert len(names) == len(sysctl) == len(dict(sysctl.items()))
    for name, value in sysctl.items():
        if name != "net.ipv4.tcp_available_congestion_control":
            sysctl[name] = sysctl.text(name)
        assert sysctl[name] == value


def test_every_setting_of_a_stack_is_a_sysctl_once() -> None:
    sysctl = host().sysctl
    settings = sorted(sysctl.row(name).setting for name in sysctl if sysctl.row(name).setting[0] != "-")
    assert settings == sorted(NAMES)


def test_what_has_a_name_in_linux_is_not_listed_as_ours() -> None:
    path = Path("/proc/sys/net/ipv4")
    if not path.exists():
        pytest.skip("no /proc/sys/net/ipv4 here to compare names with")
    linux = {entry.name for entry in path.iterdir()}
    for name in host().sysctl:
        if name.startswith("estab."):
            short = name.removeprefix("estab.")
            for unit in ("", "_ms", "_us", "_sec"):
                assert short.removesuffix("_ns") + unit not in linux, f"{name} is Linux's: give it a row in TABLE"


def test_the_page_of_the_documentation_is_what_the_code_has() -> None:
    tool = runpy.run_path(str(ROOT / "tools/sysctl_table.py"))
    page = (ROOT / "docs/sysctls.md").read_text(encoding="utf-8")
    assert tool["table"]() in page, "docs/sysctls.md: put in what tools/sysctl_table.py prints"
    assert tool["own_table"]() in page, "docs/sysctls.md: put in what tools/sysctl_table.py prints"
    assert len({row.name for row in TABLE}) == len(TABLE)


def test_a_reported_path_mtu_is_believed_as_long_and_as_low_as_the_sysctls_say() -> None:
    net, wire = Net(), Wire()
    a, b = net.host("a"), net.host("b")
    net.join(wire, a, "10.0.0.1/24")
    net.join(wire, b, "10.0.0.2/24")
    a.sysctl["net.ipv4.route.mtu_expires"] = 5
    a.sysctl["net.ipv4.route.min_pmtu"] = 700
    destination = parse_address("10.0.0.2")
    a.context.now_ns = net.now_ns
    assert a.paths.learn_mtu(destination, 600, "test")
    assert (a.paths.mtu_of(destination), a.paths.learnt_mtus()[0][2]) == (700, net.now_ns + 5 * SECOND)
    a.context.now_ns += 6 * SECOND
    assert a.paths.mtu_of(destination) == 1500


@pytest.mark.parametrize("ends", ENDS)
def test_how_long_fragments_wait_and_how_much_they_hold_is_set_by_sysctls(ends: tuple[str, str]) -> None:
    net, a, _, _ = receiver("." in ends[0])
    a.sysctl["net.ipv4.ipfrag_time"] = 2
    a.sysctl["net.ipv6.ip6frag_time"] = 2
    first = pieces(ends, bytes(3000))[0]
    a.on_frame(1, first, net.now_ns)
    net.run(SECOND)
    assert a.reassembly.datagram_count() == 1
    net.run(2 * SECOND)
    assert a.reassembly.datagram_count() == 0
    a.sysctl["net.ipv4.ipfrag_high_thresh"] = 100
    a.on_frame(1, first, net.now_ns)
    assert drops(a, DropReason.FRAG_QUEUE_FULL) == 1


def test_how_many_icmp_errors_a_host_sends_is_set_by_sysctls() -> None:
    net, a, _, _ = receiver(True)
    a.sysctl["net.ipv4.icmp_ratelimit"] = 0  # none for each receiver
    a.sysctl["net.ipv4.icmp_msgs_per_sec"] = 1
    a.sysctl["net.ipv4.icmp_msgs_burst"] = 3
    source, target = parse_address("10.0.0.2"), parse_address("10.0.0.1")
    for _ in range(10):
        a.on_frame(1, udp.emit_packet(5, 99, b"to nobody", IpHeader(source, target)), net.now_ns)
    assert a.counters()["IcmpOutDestUnreachs"] <= 10
    assert drops(a, DropReason.ICMP_RATE_LIMITED) >= 7
    assert 1 <= a.counters()["IcmpOutDestUnreachs"] <= 3


def test_the_port_range_that_is_set_is_the_one_that_connect_and_bind_choose_from() -> None:
    one = host()
    one.sysctl["net.ipv4.ip_local_port_range"] = "2000 2001"
    ports = set()
    for _ in range(2):
        sock = one.socket(AF_INET, SOCK_DGRAM, 0)
        sock.bind(("127.0.0.1", 0), 0)
        ports.add(sock.getsockname()[1])
    assert ports == {2000, 2001}
