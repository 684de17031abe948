"""Multicast among the hosts of a link or switch; ``tools/option_effects`` compares the options with the kernel."""

from __future__ import annotations

import errno
import socket
import struct
import time

import pytest

from estab.events import FrameSent
from estab.lab.network import Network

GROUP, GROUP_V6 = "239.129.2.3", "ff02::1:2345:6789"
PORT = 7000


def join(group: str = GROUP, interface: str = "0.0.0.0") -> socket.socket:
    """Make a member that gives up after two seconds."""
    member = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    member.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    member.bind(("", PORT))
    asked = socket.inet_aton(group) + socket.inet_aton(interface)
    member.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, asked)
    member.settimeout(2)
    return member


def listen(group: str = GROUP) -> list[bytes]:
    """Join, and return what comes."""
    found = []
    with join(group) as member:
        while True:
            try:
                found.append(member.recv(100))
            except TimeoutError:
                return found


def send(group: str = GROUP, text: bytes = b"hello", ttl: int = 1) -> None:
    """Send to a group, once the members are there."""
    time.sleep(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
        one.sendto(text, (group, PORT))


def test_members_at_a_switch_get_what_is_sent_to_their_group() -> None:
    with Network(seed=1) as net:
        hosts = [net.host(name) for name in "abcd"]
        net.switch("lan", *hosts)
        members = [host.run(listen) for host in hosts[1:3]]
        other = hosts[3].run(listen, "239.129.2.4")
        hosts[0].run(send)
        net.run()
    assert [member.result() for member in members] == [[b"hello"], [b"hello"]]
    assert other.result() == []


def test_every_member_of_a_port_gets_a_copy_and_a_connected_one_what_its_peer_sends() -> None:
    with Network(seed=1) as net:
        a, b = net.host("a"), net.host("b")
        net.link(a, b)

        @b.run
        def listen_thrice() -> list[bytes | None]:
            members = [join(), join(), join()]
            members[2].connect(("10.0.0.99", PORT))
            found: list[bytes | None] = []
            for member in members:
                with member:
                    try:
                        found.append(member.recv(100))
                    except TimeoutError:
                        found.append(None)
            return found

        a.run(send)
        net.run()
    assert listen_thrice.result() == [b"hello", b"hello", None]


@pytest.mark.parametrize(("family", "group", "mac"), [
    (socket.AF_INET, GROUP, "01:00:5e:01:02:03"), (socket.AF_INET6, GROUP_V6, "33:33:23:45:67:89"),
])
def test_a_group_has_its_own_mac_address(family: int, group: str, mac: str) -> None:
    # RFC 1112 section 6.4: the low 23 bits of the group; RFC 2464 section 7: its low 32 bits.
    frames: list[bytes] = []
    with Network(seed=1) as net:
        net.observe(lambda fact: frames.append(fact.data) if isinstance(fact, FrameSent) else None)
        a, b = net.host("a"), net.host("b")
        net.switch("lan", a, b)

        @a.run
        def send_one() -> None:
            with socket.socket(family, socket.SOCK_DGRAM) as one:
                one.sendto(b"hello", (group, PORT))

        net.run()
    assert {frame[:6].hex(":") for frame in frames if b"hello" in frame} == {mac}


def test_a_router_forwards_no_group_whatever_its_hops() -> None:
    with Network(seed=1) as net:
        a, router, b = net.host("a"), net.host("router", forwarding=True), net.host("b")
        net.link(a, router)
        net.link(router, b)
        there = b.run(listen)
        here = router.run(listen)
        a.run(send, GROUP, b"far", 64)
        net.run()
    assert (here.result(), there.result()) == ([b"far"], [])


def test_the_interface_is_what_the_option_says() -> None:
    with Network(seed=1) as net:
        left, middle, right = net.host("left"), net.host("middle"), net.host("right")
        net.link(left, middle)
        net.link(middle, right)
        heard = {host.name: host.run(listen) for host in (left, right)}

        @middle.run
        def send_right() -> tuple[str, int]:
            time.sleep(1)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.0.1.1"))
                one.sendto(b"by address", (GROUP, PORT))
                mreqn = struct.pack("4s4si", bytes(4), bytes(4), socket.if_nametoindex("eth0"))
                one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, mreqn)
                one.sendto(b"by index", (GROUP, PORT))
                return one.getsockname()

        net.run()
    assert send_right.result()[0] == "0.0.0.0"
    assert heard["right"].result() == [b"by address"]
    assert heard["left"].result() == [b"by index"]


def test_a_socket_that_is_closed_leaves_and_the_host_takes_nothing_for_the_group_any_more() -> None:
    with Network(seed=1) as net:
        a, b = net.host("a"), net.host("b")
        net.link(a, b)

        @b.run
        def join_and_close() -> list[bytes]:
            join().close()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                one.bind(("", PORT))  # takes what other sockets of the host have joined
                one.settimeout(2)
                try:
                    return [one.recv(100)]
                except TimeoutError:
                    return []

        a.run(send)
        net.run()
    assert join_and_close.result() == []


def test_a_member_is_a_server_that_keeps_no_run_going() -> None:
    with Network(seed=1) as net:
        a, b = net.host("a"), net.host("b")
        net.link(a, b)

        @b.run
        def serve() -> None:
            with join() as member:
                member.settimeout(None)
                while True:
                    text, source = member.recvfrom(100)
                    member.sendto(text.upper(), source)

        @a.run
        def ask() -> bytes:
            time.sleep(1)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                one.sendto(b"who is there?", (GROUP, PORT))
                return one.recv(100)

        net.run()
    assert ask.result() == b"WHO IS THERE?"


def test_the_bound_of_memberships_is_linuxs_and_said() -> None:
    with Network(seed=1) as net:
        a, b = net.host("a"), net.host("b")
        net.link(a, b)

        @a.run
        def join_many() -> tuple[int, str]:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                for number in range(30):
                    try:
                        asked = bytes([239, 1, 1, number, 0, 0, 0, 0])
                        one.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, asked)
                    except OSError as error:
                        return number, str(error) + "".join(error.__notes__)
            return 30, ""

        net.run()
    count, words = join_many.result()
    assert count == 20
    assert "20 groups at most" in words


def _on_lo() -> list[object]:
    """Send to members on 127.0.0.1 by the option and by the bound address, looped or not, with hops or none."""
    found: list[object] = []
    with join(interface="127.0.0.1") as member, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        member.settimeout(0.5)
        one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        for name, value in (("IP_MULTICAST_LOOP", 1), ("IP_MULTICAST_LOOP", 0), ("IP_MULTICAST_TTL", 0)):
            one.setsockopt(socket.IPPROTO_IP, getattr(socket, name), value)
            one.sendto(b"lo", (GROUP, PORT))
            text, (source, _) = member.recvfrom(100)
            found.append((text, source))
        with pytest.raises(TimeoutError):
            member.recv(100)  # one copy
        one.sendto(b"other", ("239.129.2.4", PORT))
        with pytest.raises(TimeoutError):
            member.recv(100)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
            bound.bind(("127.0.0.1", 0))
            bound.sendto(b"bound", (GROUP, PORT))
        found.append(member.recv(100))
    return found


def test_groups_on_lo_stay_on_the_host_as_on_the_machine() -> None:
    frames: list[object] = []
    with Network(seed=1) as net:
        a, b = net.host("a"), net.host("b")
        net.link(a, b)
        a.observe(lambda fact: frames.append(fact) if isinstance(fact, FrameSent) else None)
        other = b.run(listen)
        here = a.run(_on_lo)
        net.run()
        assert here.result() == [(b"lo", "127.0.0.1")] * 3 + [b"bound"]
        assert other.result() == []
    assert frames == []


def test_every_host_is_in_the_group_of_all_hosts_its_own_too() -> None:
    with Network(seed=1) as net:
        a, b = net.host("a"), net.host("b")
        net.link(a, b)

        @a.run
        def ask_all() -> list[bytes]:
            with (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as four,
                  socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six):
                for one, everybody in ((four, ("224.0.0.1", PORT)), (six, ("ff02::1", PORT + 1, 0, 1))):
                    one.bind(("", everybody[1]))
                    one.settimeout(1)
                    one.sendto(b"all", everybody)
                return [four.recv(9), six.recv(9)]

        net.run()
        assert ask_all.result() == [b"all", b"all"]


def test_pktinfo_of_a_group_and_of_a_broadcast_has_the_address_to_answer_from() -> None:
    with Network(seed=1) as net:
        a, b = net.host("a"), net.host("b")
        net.switch("lan", a, b)

        @b.run
        def look() -> list[tuple[str, str]]:
            found = []
            with join() as member:
                member.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
                for _ in range(2):
                    _, [(_, _, data)], _, _ = member.recvmsg(100, 100)
                    _, own, destination = struct.unpack("i4s4s", data)
                    found.append((socket.inet_ntoa(own), socket.inet_ntoa(destination)))
            return found

        @a.run
        def tell() -> None:
            send()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                one.sendto(b"x", ("255.255.255.255", PORT))

        net.run()
        own = str(b.addresses[0]).split("/")[0]
        assert look.result() == [(own, GROUP), (own, "255.255.255.255")]


def test_leaving_by_another_interface_leaves_none() -> None:
    with Network(seed=1) as net:
        a, b = net.host("a"), net.host("b")
        net.link(a, b)

        @a.run
        def leave_elsewhere() -> None:
            asked = socket.inet_aton(GROUP) + socket.inet_aton(a.address)
            with join(interface="127.0.0.1") as member, pytest.raises(OSError, match="Cannot assign"):
                member.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, asked)

        net.run()


@pytest.mark.parametrize(("kind", "address"), [
    (socket.SOCK_STREAM, "fe80::b"), (socket.SOCK_DGRAM, "fe80::b"), (socket.SOCK_DGRAM, "ff02::5"),
])
def test_connect_to_an_address_that_every_link_has_needs_the_interface(kind: int, address: str) -> None:
    with Network(seed=1) as net:
        a, b = net.host("a"), net.host("b")
        net.link(a, b, ethernet=True)

        @a.run
        def connect() -> None:
            with socket.socket(socket.AF_INET6, kind) as one, pytest.raises(OSError, match="Invalid") as refused:
                one.connect((address, 80))
            assert refused.value.errno == errno.EINVAL
            with socket.socket(socket.AF_INET6, kind) as one:
                one.setblocking(False)
                assert one.connect_ex((address, 80, 0, 1)) in (0, errno.EINPROGRESS)

        net.run()


def test_a_member_hears_the_sources_alone_that_it_names_and_no_more_than_the_host_allows() -> None:
    heard: dict[str, list[bytes]] = {"all": [], "one": [], "none": []}
    refused: list[int | None] = []
    with Network(seed=1) as net:
        hosts = [net.host(name) for name in "abc"]
        net.switch("lan", *hosts)
        hosts[2].sysctl["net.ipv4.igmp_max_msf"] = 2
        name_source = 39  # IP_ADD_SOURCE_MEMBERSHIP

        @hosts[2].run
        def listen_to_one() -> None:
            named = [socket.inet_aton(GROUP) + bytes(4) + socket.inet_aton(address)
                     for address in (str(hosts[1].address), "192.0.2.1", "192.0.2.2")]
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with join() as everybody, join("239.129.2.4") as other, udp as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.bind(("", PORT))
                one.settimeout(2)
                other.setsockopt(socket.IPPROTO_IP, 49, 0)  # IP_MULTICAST_ALL
                for value in named:
                    try:
                        one.setsockopt(socket.IPPROTO_IP, name_source, value)
                        refused.append(None)
                    except OSError as error:
                        refused.append(error.errno)
                for name, member in (("all", everybody), ("one", one), ("none", other)):
                    while True:
                        try:
                            heard[name].append(member.recv(100))
                        except TimeoutError:
                            break

        for host in hosts[:2]:
            host.run(send, GROUP, host.name.encode())
        net.run()
        assert listen_to_one.result() is None
    assert refused == [None, None, errno.ENOBUFS]
    assert {name: sorted(found) for name, found in heard.items()} == {"all": [b"a", b"b"], "one": [b"b"], "none": []}


def test_a_host_drops_what_none_of_its_members_hears() -> None:
    with Network(seed=1) as net:
        a, b = net.host("a"), net.host("b")
        net.link(a, b)

        @b.run
        def block() -> int:
            source = socket.inet_aton(str(a.address))
            with join() as member:
                member.setsockopt(socket.IPPROTO_IP, 38, socket.inet_aton(GROUP) + bytes(4) + source)  # IP_BLOCK_SOURCE
                with pytest.raises(TimeoutError):
                    member.recv(100)
            return 0

        a.run(send)
        net.run()
        assert block.result() == 0
        assert b.counters()["IpInAddrErrors"] == 1
