"""What the interpreter does with a script: times, sequence and timestamp mapping, joining, calls, commands, code.

Each test runs a few lines against the stack. Where a line is wrong on purpose, the test says what must be told of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from estab.drill.runner import Result, run
from estab.events import Event, FrameReceived, FrameSent, SegmentSent

LISTEN = """\
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
"""
HANDSHAKE = LISTEN + """\
+0 < S 0:0(0) win 32792 <mss 1000,sackOK,nop,nop,nop,wscale 7>
+0 > S. 0:0(0) ack 1 <...>
+.01 < . 1:1(0) ack 1 win 257
+0 accept(3, ..., ...) = 4
"""
CONNECT = """\
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0 connect(3, ..., ...) = -1 EINPROGRESS (in progress)
+0 > S 0:0(0) <mss 1460,sackOK,TS val 100 ecr 0,nop,wscale 7>
+.01 < S. 123:123(0) ack 1 win 5792 <mss 1460,sackOK,TS val 700 ecr 100,nop,wscale 7>
+0 > . 1:1(0) ack 1 <nop,nop,TS val 110 ecr 700>
"""


Drill = Callable[..., Result]


@pytest.fixture
def drill(tmp_path: Path) -> Drill:
    """Run a text with ``run``'s options."""

    def run_text(text: str, **options: Any) -> Result:
        path = tmp_path / "x.pkt"
        path.write_text(text)
        return run(path, **options)

    return run_text


def passes(result: Result) -> None:
    assert result.is_ok, str(result)


def fails(result: Result, line: int, *parts: str) -> None:
    assert result.outcome == "failed", str(result)
    assert result.line == line, str(result)
    for part in parts:
        assert part in str(result)


# --- both opens, over every IP version


@pytest.mark.parametrize("version", ["ipv4", "ipv4-mapped-ipv6", "ipv6"])
def test_a_passive_and_an_active_open(drill: Drill, version: str) -> None:
    passes(drill(HANDSHAKE, ip_version=version))
    passes(drill(CONNECT, ip_version=version))


def test_the_remote_initial_number_is_the_syn_acks(drill: Drill) -> None:
    passes(drill(CONNECT + "+0 < P. 1:11(10) ack 1 win 100 <nop,nop,TS val 700 ecr 110>\n"
                 "+0 > . 1:1(0) ack 11 <...>\n+0 read(3, ..., 100) = 10\n"))


def test_a_listeners_packets_come_from_a_new_port_for_each_child(drill: Drill) -> None:
    passes(drill(HANDSHAKE + "+0 close(4) = 0\n+0 > F. 1:1(0) ack 1\n"))


# --- comparing packets


@pytest.mark.parametrize(
    ("expected", "part"),
    [
        ("> . 1:101(100) ack 1", "PSH: expected clear, got set"),
        ("> P. 2:102(100) ack 1", "sequence number: expected 2, got 1"),
        ("> P. 1:101(100) ack 2", "ack: expected 2, got 1"),
        ("> P. 1:101(100) ack 1 win 3", "win: expected 3, got"),
        ("> P. 1:51(50) ack 1", "length: expected 50, got 100"),
        ("> P. 1:101(100) ack 1 urg 5", "urg: expected 5, got 0"),
        ("> PE. 1:101(100) ack 1", "ECE: expected set, got clear"),
        ("> P.1 1:101(100) ack 1", "ACE: expected 1, got 0"),
        ("> [ect0] P. 1:101(100) ack 1", "ECN: expected ect0, got noecn"),
        ("> [ttl 3] P. 1:101(100) ack 1", "ttl: expected 3, got 64"),
        ("> [tos 0x4] P. 1:101(100) ack 1", "tos: expected 0x04, got 0x00"),
        ("> P. 1:101(100) ack 1 <nop>", "options: expected nop, and there are no more"),
        ("> udp (100)", "protocol: expected UDP, got TCP"),
    ],
)
def test_the_first_difference_is_told_with_both_packets(drill: Drill, expected: str, part: str) -> None:
    fails(drill(HANDSHAKE + f"+0 write(4, ..., 100) = 100\n+0 {expected}\n"), 10, part, "expected >", "got      >")


def test_options_are_compared_in_their_order(drill: Drill) -> None:
    script = LISTEN + "+0 < S 0:0(0) win 1000 <mss 1000,sackOK,nop,nop>\n"
    script += "+0 > S. 0:0(0) ack 1 <sackOK,nop,nop,mss 1460>\n"
    fails(drill(script), 6, "options: expected sackOK, got mss 1460")
    passes(drill(script, profile="neutral"))


def test_a_burst_of_packets_makes_up_one_segment_unless_the_script_is_strict(drill: Drill) -> None:
    script = HANDSHAKE + "+0 write(4, ..., 3000) = 3000\n+0 > P. 1:3001(3000) ack 1\n"
    passes(drill(script))
    fails(drill("--strict_segments\n" + script), 11, "PSH: expected set, got clear")
    passes(drill("--strict_segments\n" + HANDSHAKE + "+0 write(4, ..., 2000) = 2000\n"
                 "+0 > . 1:1001(1000) ack 1\n+0 > P. 1001:2001(1000) ack 1\n"))


def test_a_packet_that_never_comes_is_told_so(drill: Drill) -> None:
    fails(drill(HANDSHAKE + "+0 > P. 1:101(100) ack 1\n"), 9, "expected, and none came", "got      no packet")


def test_non_fatal_packets_let_the_script_go_on(drill: Drill) -> None:
    passes(drill("--non_fatal=packet\n" + HANDSHAKE + "+0 write(4, ..., 100) = 100\n+0 > . 1:101(100) ack 1\n"))


# --- times


@pytest.mark.parametrize("when", ["+.2", "+.201", "+.15~+.25", "*", "0.21~0.22"])
def test_a_packet_may_be_as_late_as_the_script_allows(drill: Drill, when: str) -> None:
    passes(drill(HANDSHAKE + f"+0 write(4, ..., 9) = 9\n+0 > P. 1:10(9) ack 1\n{when} > P. 1:10(9) ack 1\n"))


@pytest.mark.parametrize("when", ["+.1", "+.3", "+.25~+.35", "0.05"])
def test_a_packet_at_another_time_is_told_with_both_times(drill: Drill, when: str) -> None:
    fails(drill(HANDSHAKE + f"+0 write(4, ..., 9) = 9\n+0 > P. 1:10(9) ack 1\n{when} > P. 1:10(9) ack 1\n"), 11,
          "packet: expected at", "was at 0.2")


def test_the_tolerance_can_be_set(drill: Drill) -> None:
    script = HANDSHAKE + "+0 write(4, ..., 9) = 9\n+0 > P. 1:10(9) ack 1\n+.3 > P. 1:10(9) ack 1\n"
    passes(drill("--tolerance_usecs=100000\n" + script))
    passes(drill("--tolerance_percent=50\n" + script))


def test_injected_packets_count_from_each_others_times(drill: Drill) -> None:
    passes(drill(HANDSHAKE + "+.1 < P. 1:2(1) ack 1 win 257\n+.1 < P. 2:3(1) ack 1 win 257\n"
                 "0.21 read(4, ..., 9) = 2\n"))


def test_an_absolute_time_that_has_passed_is_told(drill: Drill) -> None:
    fails(drill(HANDSHAKE + "+1 read(4, ..., 1) = 0\n0.5 close(4) = 0\n"), 9)
    fails(drill(HANDSHAKE + "+1 close(4) = 0\n0.5 close(3) = 0\n"), 10, "call: expected at 0.500000 s")


# --- timestamps


def test_an_echo_of_a_timestamp_is_turned_into_what_was_sent(drill: Drill) -> None:
    passes(drill(CONNECT + "+0 write(3, ..., 9) = 9\n+0 > P. 1:10(9) ack 1 <nop,nop,TS val 120 ecr 700>\n"
                 "+.02 < . 1:1(0) ack 10 win 100 <nop,nop,TS val 720 ecr 120>\n+0 %{ assert tcpi_unacked == 0 }%\n"))


def test_an_echo_of_what_was_never_sent_is_a_mistake_of_the_script(drill: Drill) -> None:
    script = CONNECT + "+.1 < . 1:1(0) ack 1 win 100 <nop,nop,TS val 720 ecr 999>\n"
    fails(drill(script), 7, "ecr 999 echoes a timestamp that no packet before it had")
    passes(drill("--tcp_ts_ecr_scaled\n" + script.replace("999", "210")))


def test_timestamps_are_compared_where_the_script_says_how_fast_they_tick(drill: Drill) -> None:
    script = CONNECT + "+0 write(3, ..., 9) = 9\n+0 > P. 1:10(9) ack 1 <nop,nop,TS val {} ecr 700>\n"
    passes(drill("--tcp_ts_tick_usecs=1000\n" + script.format(110)))
    fails(drill("--tcp_ts_tick_usecs=1000\n" + script.format(190)), 9, "TS val: expected 190, got 110")


# --- calls


def test_a_wrong_result_shows_the_errno_and_why(drill: Drill) -> None:
    fails(drill("0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 read(3, ..., 1) = 0\n"), 2,
          "read(): expected 0, got -1 ENOTCONN (transport endpoint is not connected")


@pytest.mark.parametrize(
    ("line", "part"),
    [("+0 frobnicate(4) = 0", "unknown system call frobnicate()"),
     ("+0 ioctl(4, BOGUS, [1]) = 0", "unknown name 'BOGUS'"),
     ("+0 `rm -rf / | wc`", "unknown command: rm -rf / | wc"),
     ("+0 `sysctl -q net.ipv4.tcp_bogus=1`", "unknown sysctl"),
     ("+0 `curl example.org`", "unknown command: curl example.org"), ("+0 < gre: . 1:1(0) ack 1", "gre encapsulation"),
     ("+0 `sysctl -q net.ipv4.tcp_rmem=x`", "sysctl net.ipv4.tcp_rmem=x")],
)
def test_what_is_not_known_is_named(drill: Drill, line: str, part: str) -> None:
    result = drill(HANDSHAKE + line + "\n")
    assert result.outcome == "unsupported"
    assert result.line == 9
    assert part in result.message


def test_a_blocking_call_returns_when_the_script_says(drill: Drill) -> None:
    script = LISTEN + "+0...{} accept(3, ..., ...) = 4\n+.1 < S 0:0(0) win 1000 <mss 1000>\n" \
        "+0 > S. 0:0(0) ack 1 <mss 1460>\n+.1 < . 1:1(0) ack 1 win 1000\n"
    passes(drill(script.format("0.2")))
    fails(drill(script.format("0.4")), 5, "accept()'s return: expected at 0.400000 s, was at 0.200000 s")


def test_a_call_that_still_blocks_at_the_end_is_told(drill: Drill) -> None:
    fails(drill(LISTEN + "+0...1 accept(3, ..., ...) = 4\n"), 5, "still blocked")


def test_blocking_connect_read_and_write(drill: Drill) -> None:
    passes(drill("""\
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 setsockopt(3, SOL_SOCKET, SO_SNDBUF, [4608], 4) = 0
+0...0.1 connect(3, ..., ...) = 0
+0 > S 0:0(0) <...>
+.1 < S. 0:0(0) ack 1 win 5000 <mss 1000>
+0 > . 1:1(0) ack 1
+0...0.2 read(3, ..., 100) = 50
+.2 < P. 1:51(50) ack 1 win 5000
+0 > . 1:1(0) ack 51
+0...0.1 write(3, ..., 14000) = 14000
+0 > . 1:5001(5000) ack 51
+.1 < . 51:51(0) ack 5001 win 20000
+0 > P. 5001:13001(8000) ack 51
"""))


def test_poll_waits_for_its_time(drill: Drill) -> None:
    passes(drill(HANDSHAKE + """\
+0 poll([{fd=4, events=POLLIN|POLLOUT, revents=POLLOUT}], 1, 0) = 1
+0...0.05 poll([{fd=4, events=POLLIN, revents=0}], 1, 50) = 0
+.1...0.2 poll([{fd=4, events=POLLIN, revents=POLLIN}], 1, 1000) = 1
+.1 < P. 1:2(1) ack 1 win 257
+0 poll([{fd=9, events=POLLIN, revents=POLLNVAL}], 1, 0) = 1
"""))


def test_epoll_tells_levels_again_and_edges_once(drill: Drill) -> None:
    passes(drill(HANDSHAKE + """\
+0 epoll_create(1) = 5
+0 epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLIN, fd=4}) = 0
+0 epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLIN, fd=4}) = -1 EEXIST
+0 < P. 1:2(1) ack 1 win 257
+0 epoll_wait(5, {events=EPOLLIN, fd=4}, 1, 0) = 1
+0 epoll_wait(5, {events=EPOLLIN, fd=4}, 1, 0) = 1
+0 epoll_ctl(5, EPOLL_CTL_MOD, 4, {events=EPOLLIN|EPOLLET, u32=77}) = 0
+0 epoll_wait(5, {events=EPOLLIN, u32=77}, 1, 0) = 1
+0 epoll_wait(5, {events=0, ptr=0}, 1, 0) = 0
+0 < P. 2:3(1) ack 1 win 257
+0 epoll_wait(5, {events=EPOLLIN, u32=77}, 1, 0) = 1
+0 epoll_ctl(5, EPOLL_CTL_MOD, 4, {events=EPOLLIN|EPOLLONESHOT, fd=4}) = 0
+0 epoll_wait(5, {events=EPOLLIN, fd=4}, 1, 0) = 1
+0 epoll_wait(5, {events=0, ptr=0}, 1, 0) = 0
+0 epoll_ctl(5, EPOLL_CTL_DEL, 4, {events=0, fd=4}) = 0
+0 epoll_ctl(5, EPOLL_CTL_DEL, 4, {events=0, fd=4}) = -1 ENOENT
+0 epoll_wait(4, {events=0, ptr=0}, 1, 0) = -1 EINVAL
"""))


def test_vectors_messages_files_and_pipes(drill: Drill) -> None:
    passes(drill(HANDSHAKE + """\
+0 writev(4, [{..., 10}, {..., 20}], 2) = 30
+0 > P. 1:31(30) ack 1
+0 < . 1:1(0) ack 31 win 257
+0 sendmsg(4, {msg_name(...)=..., msg_iov(2)=[{..., 5}, {..., 5}], msg_flags=0}, 0) = 10
+0 > P. 31:41(10) ack 1
+0 < P. 1:101(100) ack 41 win 257
+0 > . 41:41(0) ack 101
+0 readv(4, [{..., 10}, {..., 20}], 2) = 30
+0 recvmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 1000}], msg_flags=0}, MSG_PEEK) = 70
+0 recv(4, ..., 1000, 0) = 70
+0 open("/tmp/data", O_RDONLY) = 5
+0 sendfile(4, 5, [0], 50) = 50
+0 > P. 41:91(50) ack 101
+0 pipe([6, 7]) = 0
+0 write(7, ..., 10) = 10
+0 read(6, ..., 100) = 10
"""))


def test_the_queues_are_asked_by_ioctl(drill: Drill) -> None:
    passes(drill(HANDSHAKE + """\
+0 < P. 1:11(10) ack 1 win 257
+0 ioctl(4, SIOCINQ, [10]) = 0
+0 write(4, ..., 20) = 20
+0 ioctl(4, SIOCOUTQ, [20]) = 0
"""))
    fails(drill(HANDSHAKE + "+0 ioctl(4, SIOCINQ, [1]) = 0\n"), 9, "SIOCINQ: expected 1, got 0")


def test_options_are_read_and_compared(drill: Drill) -> None:
    passes(drill(HANDSHAKE + """\
+0 setsockopt(4, SOL_TCP, TCP_NODELAY, [1], 4) = 0
+0 getsockopt(4, SOL_TCP, TCP_NODELAY, [1], [4]) = 0
+0 setsockopt(4, SOL_SOCKET, SO_LINGER, {onoff=1, linger=0}, 8) = 0
+0 getsockopt(4, SOL_SOCKET, SO_LINGER, {onoff=1, linger=0}, [8]) = 0
+0 getsockopt(4, SOL_SOCKET, SO_ERROR, [0], [4]) = 0
+0 < R. 1:1(0) ack 1 win 257
+0 getsockopt(4, SOL_SOCKET, SO_ERROR, [ECONNRESET], [4]) = 0
+0 getsockopt(77, SOL_SOCKET, SO_ERROR, [0], [4]) = -1 EBADF
"""))
    fails(drill(HANDSHAKE + "+0 getsockopt(4, SOL_TCP, TCP_NODELAY, [1], [4]) = 0\n"), 9,
          "TCP_NODELAY: expected [1], got 0")


def test_addresses_may_be_written_out(drill: Drill) -> None:
    passes(drill("""\
0 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, {sa_family=AF_INET, sin_port=htons(0), sin_addr=inet_addr("192.168.0.1")}, ...) = 0
+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0 connect(3, {sa_family=AF_INET, sin_port=htons(99), sin_addr=inet_addr("192.0.2.1")}, ...) = -1 EINPROGRESS
+0 > S 0:0(0) <...>
"""))


# --- ICMP and UDP


@pytest.mark.parametrize("version", ["ipv4", "ipv4-mapped-ipv6", "ipv6"])
def test_an_icmp_error_quotes_the_connection(drill: Drill, version: str) -> None:
    script = "\n".join(CONNECT.splitlines()[:4]) + """
+.01 < icmp unreachable port_unreachable [0:0(0)]
+0 getsockopt(3, SOL_SOCKET, SO_ERROR, [ECONNREFUSED], [4]) = 0
"""
    passes(drill(script, ip_version=version))


def test_icmp_of_the_other_version_is_a_mistake_of_the_script(drill: Drill) -> None:
    fails(drill(HANDSHAKE + "+0 < icmp packet_too_big mtu 1300 [1:1(0)]\n"), 9,
          "ICMP over IPv4 has no type 'packet_too_big'")


@pytest.mark.parametrize("version", ["ipv4", "ipv6"])
def test_udp_both_ways(drill: Drill, version: str) -> None:
    passes(drill("""\
0 socket(..., SOCK_DGRAM, IPPROTO_UDP) = 3
+0 bind(3, ..., ...) = 0
+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0 connect(3, ..., ...) = 0
+0 write(3, ..., 100) = 100
+0 > udp (100)
+.1 < udp (50)
+0 read(3, ..., 1000) = 50
+0 read(3, ..., 1000) = -1 EAGAIN
""", ip_version=version))


# --- commands


def test_sysctls_change_the_stack(drill: Drill) -> None:
    script = "`{}`\n" + LISTEN + "+0 < S 0:0(0) win 1000 <mss 1000,sackOK,nop,nop>\n+0 > S. 0:0(0) ack 1 <mss 1460>\n"
    passes(drill(script.format("sysctl -q net.ipv4.tcp_sack=0")))
    passes(drill(script.format("sysctl -w net.inet.tcp.sack.enable=0")))
    passes(drill(script.format("../common/defaults.sh\n./set_sysctls.py \\\n /proc/sys/net/ipv4/tcp_sack=0")))
    fails(drill(script.format("../common/defaults.sh")), 7, "options: expected no more")


def test_set_sysctls_can_be_undone(drill: Drill) -> None:
    passes(drill("`./set_sysctls.py /proc/sys/net/ipv4/tcp_sack=0`\n0 `/tmp/sysctl_restore_${PPID}.sh`\n"
                 + LISTEN.replace("0 socket", "+0 socket")
                 + "+0 < S 0:0(0) win 1000 <mss 1000,sackOK,nop,nop>\n"
                 "+0 > S. 0:0(0) ack 1 <mss 1460,nop,nop,sackOK>\n"))


def test_a_route_limits_the_mtu(drill: Drill) -> None:
    passes(drill("`ip route change 192.0.2.1 via 192.168.0.2 dev tun0 mtu lock 1200`\n" + LISTEN
                 + "+0 < S 0:0(0) win 1000 <mss 1460>\n+0 > S. 0:0(0) ack 1 <mss 1160>\n"))


@pytest.mark.parametrize(
    "command",
    ["nstat | grep TcpPassiveOpens", "ss -n | grep :8080",
     "cat /proc/net/tcp | grep ' 01 '", 'grep " 0A " /proc/net/tcp | grep ":1F90"',
     "sockstat -s | grep -c LISTEN | grep 1",
     "nstat > /dev/null 2>&1", "true && true; true"],
)
def test_what_a_host_shows_can_be_searched(drill: Drill, command: str) -> None:
    passes(drill(HANDSHAKE + f"+0 `{command}`\n"))


def test_a_search_that_finds_nothing_fails(drill: Drill) -> None:
    fails(drill(HANDSHAKE + "+0 `nstat | grep NoSuchCounter`\n"), 9, "command failed with status 1")


# --- code


def test_code_sees_tcp_info(drill: Drill) -> None:
    passes(drill(HANDSHAKE + """\
+0 %{
assert tcpi_state == TCP_ESTABLISHED and tcpi_ca_state == TCP_CA_Open
assert tcpi_options & TCPI_OPT_SACK, tcpi_options
kept = tcpi_snd_cwnd
}%
+0 %{ assert kept == tcpi_snd_cwnd == 10 }%
"""))


def test_an_assertion_that_fails_shows_what_it_saw(drill: Drill) -> None:
    fails(drill(HANDSHAKE + "+0 %{ assert tcpi_snd_cwnd == 99 }%\n"), 9,
          "code failed: AssertionError (tcpi_snd_cwnd = 10)")


def test_code_that_is_no_python_fails_as_such(drill: Drill) -> None:
    fails(drill(HANDSHAKE + "+0 %{ assert }%\n"), 9, "code failed: SyntaxError")


# --- results


def test_the_last_command_runs_also_behind_a_failure(drill: Drill) -> None:
    assert drill("0 close(3) = 0\n`nonsense`\n").message == "unknown command: nonsense"


def test_a_script_that_can_not_be_read_is_an_error(drill: Drill) -> None:
    result = drill("0 close(3) +\n")
    assert (result.outcome, result.line) == ("error", 1)


def test_an_unknown_option_of_the_script_is_an_error(drill: Drill) -> None:
    result = drill("--bogus=1\n0 close(3) = 0\n")
    assert result.outcome == "error"
    assert "unknown option --bogus" in result.message


def test_the_same_script_gives_the_same_facts(drill: Drill) -> None:
    runs: list[list[Event]] = [[], []]
    for facts in runs:
        passes(drill(HANDSHAKE, observer=facts.append))
    assert runs[0] == runs[1]
    assert {FrameSent, FrameReceived, SegmentSent} <= {type(fact) for fact in runs[0]}


def test_arguments_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ip_version: 'ipx' is not one of"):
        run(tmp_path / "x.pkt", ip_version="ipx")
    with pytest.raises(ValueError, match="profile: 'plan9' is not one of"):
        run(tmp_path / "x.pkt", profile="plan9")


def test_a_queue_that_refuses_every_packet_lets_none_out_until_it_is_another(drill: Drill) -> None:
    passes(drill("""\
0 socket(..., SOCK_DGRAM, IPPROTO_UDP) = 3
+0 connect(3, ..., ...) = 0
+0 `tc qdisc add dev tun0 root pfifo limit 0`
+0 write(3, ..., 1) = 1
+0 `tc qdisc replace dev tun0 root pfifo limit 1000`
+0 write(3, ..., 2) = 2
+0 > udp (2)
"""))


def test_sysctl_prints_what_it_is_not_told_to_set(drill: Drill) -> None:
    passes(drill("0 `sysctl net.ipv4.tcp_sack | grep 'tcp_sack = 1'`\n"))
    fails(drill("0 `sysctl net.ipv4.tcp_sack | grep 'tcp_sack = 0'`\n"), 1, "status 1")
    assert "changes nothing here" in drill("0 `sysctl net.ipv4.tcp_fack`\n").message
