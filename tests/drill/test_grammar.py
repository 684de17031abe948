"""Every production of the language, in both dialects, and what is said of a script that is none."""

from __future__ import annotations

import pytest

from estab.drill.errors import Place, ScriptError
from estab.drill.language.lexer import lex
from estab.drill.language.parser import parse
from estab.drill.language.syntax import (
    Array,
    Blank,
    Call,
    Code,
    Command,
    Encapsulation,
    Expression,
    Field,
    FunctionCall,
    IcmpPacket,
    IpInfo,
    Or,
    PacketAction,
    Quote,
    Sequence,
    Structure,
    TcpOption,
    TcpPacket,
    Text,
    UdpPacket,
    When,
    Word,
)
from estab.drill.language.text import packet_text
from estab.units import MS, SECOND
from estab.wire.tcp import ACK, AE, CWR, ECE, FIN, PSH, RST, SYN, URG


def kinds(source: str, **defines: str) -> list[tuple[str, str]]:
    return [(token.kind, token.text) for token in lex("x.pkt", source, defines, "Linux")[:-1]]


def action(text: str) -> PacketAction:
    found = parse(f"0 {text}").events[0].action
    assert isinstance(found, PacketAction)
    return found


def tcp(text: str) -> TcpPacket:
    found = action(text).packet
    assert isinstance(found, TcpPacket)
    return found


def call(text: str) -> Call:
    found = parse(f"0 {text}").events[0].action
    assert isinstance(found, Call)
    return found


def argument(text: str) -> Expression:
    return call(f"f({text}) = 0").arguments[0]


# --- tokens


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("12 -3", [("int", "12"), ("int", "-3")]),
        (".5 0.200 -1.5", [("float", ".5"), ("float", "0.200"), ("float", "-1.5")]),
        ("0...0.200", [("int", "0"), ("dots", "..."), ("float", "0.200")]),
        ("0x1F", [("hex", "0x1F")]),
        ("3021b9d8", [("word", "3021b9d8")]),
        ("sackOK1", [("word", "sackOK1")]),
        ("--ip_version=ipv4", [("option", "ip_version"), ("=", "="), ("word", "ipv4")]),
        (r'"a\"b"', [("string", r"a\"b")]),
        ("`ip route\nadd`", [("command", "ip route\nadd")]),
        ("%{ print(1)\nx }%", [("code", "print(1)\nx")]),
        ("1 // to the end\n2 /* and\nthis */ 3", [("int", "1"), ("int", "2"), ("int", "3")]),
        ("192.0.2.1", [("ip4", "192.0.2.1")]),
        ("fd3d::1", [("ip6", "fd3d::1")]),
        ("fd3d::1:", [("ip6", "fd3d::1"), (":", ":")]),
        ("1:2:3:4:5:6:7:8", [("ip6", "1:2:3:4:5:6:7:8")]),
        ("::ffff:192.0.2.1", [("ip6", "::ffff:192.0.2.1")]),
        ("1:1001", [("int", "1"), (":", ":"), ("int", "1001")]),
        ("P.", [("word", "P"), (".", ".")]),
        ("S.5", [("word", "S"), ("float", ".5")]),
    ],
)
def test_the_longest_token_wins(source: str, expected: list[tuple[str, str]]) -> None:
    assert kinds(source) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [('"reno"', ("string", "reno")), ("`ls`", ("command", "ls")), ("7", ("int", "7")), ("0x7", ("hex", "0x7")),
     ("host_unknown", ("word", "host_unknown"))],
)
def test_a_defined_word_becomes_what_it_stands_for(value: str, expected: tuple[str, str]) -> None:
    assert kinds("CC", CC=value) == [expected]
    assert kinds("CCC", CC=value) == [("word", "CCC")]


def test_ifdef_keeps_what_is_defined_and_what_the_system_is_called() -> None:
    assert kinds("1\n#ifdef A\n2\n#endif\n3") == [("int", "1"), ("int", "3")]
    assert kinds("1\n#ifdef A\n2\n#endif\n3", A="1") == [("int", "1"), ("int", "2"), ("int", "3")]
    assert kinds("#ifdef Linux\n2\n#endif") == [("int", "2")]


# --- scripts


def test_a_script_is_options_then_first_command_then_events_then_last_command() -> None:
    script = parse("--mtu=1400\n--tcp_ts_ecr_scaled\n`first`\n0 close(3) = 0\n+.1 `at its time`\n`last`\n")
    assert [(option.name, option.value) for option in script.options] == [("mtu", "1400"), ("tcp_ts_ecr_scaled", "")]
    assert script.first == Command("first")
    assert script.last == Command("last")
    assert [type(event.action) for event in script.events] == [Call, Command]
    assert script.events[1].place == Place(5, 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [("ip_version=ipv4-mapped-ipv6", "ipv4-mapped-ipv6"), ("local_ip=192.0.2.1", "192.0.2.1"), ("mss=7", "7"),
     ("local_ip=fd00::1", "fd00::1"), ("non_fatal=packet,syscall", "packet,syscall"), ('x="a b"', "a b"),
     ("define=A=B", "A=B"), ('define=A="b c"', 'A="b c"'), ("define=A=`b`", "A=`b`"), ("define=A=5", "A=5")],
)
def test_options_have_values_of_several_kinds(text: str, value: str) -> None:
    assert parse(f"--{text}\n0 close(3) = 0").options[0].value == value


def test_a_define_of_the_script_counts_from_its_first_line() -> None:
    script = parse("--define=SIZE=10\n0 read(3, ..., SIZE) = SIZE")
    found = script.events[0].action
    assert isinstance(found, Call)
    assert found.arguments[2] == found.result == 10


def test_the_callers_define_wins_over_the_scripts() -> None:
    found = parse("--define=N=1\n0 close(N) = 0", defines={"N": "2"}).events[0].action
    assert isinstance(found, Call)
    assert found.arguments == (2,)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("1.5 >", When("absolute", 1500 * MS)),
        ("+.01 >", When("relative", 10 * MS)),
        ("+0 >", When("relative", 0)),
        ("* >", When("any")),
        ("1~2.5 >", When("absolute", SECOND, 2500 * MS)),
        ("+1~+2 >", When("relative", SECOND, 2 * SECOND)),
        ("0.000001 >", When("absolute", 1000)),
    ],
)
def test_times(text: str, when: When) -> None:
    assert parse(f"{text} . 1:1(0) ack 1").events[0].when == when


def test_code_and_commands_are_events() -> None:
    script = parse("0 `sysctl -q net.ipv4.tcp_sack=0`\n+0 %{ assert tcpi_snd_cwnd == 10\nprint(1) }%")
    assert [event.action for event in script.events] == [
        Command("sysctl -q net.ipv4.tcp_sack=0"), Code("assert tcpi_snd_cwnd == 10\nprint(1)"),
    ]


# --- packets


@pytest.mark.parametrize(
    ("text", "flags"),
    [("S", SYN), ("S.", SYN | ACK), (".", ACK), ("-", 0), ("FP.", FIN | PSH | ACK), ("R", RST), ("U.", URG | ACK),
     ("SEW", SYN | ECE | CWR), ("SEWA", SYN | ECE | CWR | AE), ("P.U", PSH | ACK | URG)],
)
def test_flags(text: str, flags: int) -> None:
    assert tcp(f"> {text} 1:1(0)").flags == flags


@pytest.mark.parametrize(("text", "flags"), [("S.5", SYN | ACK), (".2", ACK), ("P.0", PSH | ACK)])
def test_flags_with_the_counter_of_accurate_ecn(text: str, flags: int) -> None:
    packet = tcp(f"> {text} 1:1(0) ack 1")
    assert (packet.flags, packet.ace) == (flags, int(text[-1]))


def test_all_fields_of_a_segment() -> None:
    packet = tcp("< 1234 > 80 P. 1:11(10) ack 5 win 257 urg 3 <nop,nop,TS val 7 ecr 9>")
    assert packet.ports == (1234, 80)
    assert packet.sequence == Sequence(1, 10)
    assert (packet.ack, packet.win, packet.urg) == (5, 257, 3)
    assert packet.options == (TcpOption("nop"), TcpOption("nop"), TcpOption("TS", (7, 9)))


def test_what_is_left_out_is_none() -> None:
    packet = tcp("> S 0:0(0)")
    assert (packet.ack, packet.win, packet.urg, packet.ports, packet.options) == (None, None, None, None, ())
    assert tcp("> S 0:0(0) <...>").options is None


def test_sequence_numbers_wrap_and_may_be_absolute_or_unchecked() -> None:
    assert tcp("> . 4294967295:4(5)").sequence == Sequence(4294967295, 5)
    assert tcp("> . 5:5(0)!").sequence == Sequence(5, 0, is_absolute=True)
    assert tcp("> . ...(7)").sequence == Sequence(0, 7, is_checked=False)


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("nop", TcpOption("nop")),
        ("eol", TcpOption("eol")),
        ("mss 1460", TcpOption("mss", (1460,))),
        ("wscale 7", TcpOption("wscale", (7,))),
        ("sackOK", TcpOption("sackOK")),
        ("sack 1:2", TcpOption("sack", (1, 2))),
        ("sack 1:2 5:9 11:12", TcpOption("sack", (1, 2, 5, 9, 11, 12))),
        ("TS val 1 ecr 2", TcpOption("TS", (1, 2))),
        ("TS val ... ecr 2!", TcpOption("TS", (None, 2), is_absolute=True)),
        ("md5 000102030405060708090a0b0c0d0e0f", TcpOption("md5", data=bytes(range(16)))),
        ("md5 valid", TcpOption("md5 valid")),
        ("FO", TcpOption("FO")),
        ("FO 3021b9d889017eeb", TcpOption("FO", data=bytes.fromhex("3021b9d889017eeb"))),
        ("FO 12345678", TcpOption("FO", data=bytes.fromhex("12345678"))),
        ("FOEXP abcd", TcpOption("FOEXP", data=b"\xab\xcd")),
        ("ECN e0b 1", TcpOption("ECN0", (1,))),
        ("ECN e0b 1 ceb 2 e1b 3", TcpOption("ECN0", (1, 2, 3))),
        ("ECN e1b 1 ceb 2", TcpOption("ECN1", (1, 2))),
        ("AccECN0 ee0b 1 eceb 2", TcpOption("ECN0", (1, 2))),
        ("exp-AccECN1 ee1b 1", TcpOption("expECN1", (1,))),
        ("exp-FO abcd", TcpOption("FOEXP", data=b"\xab\xcd")),
        ("exp-tarr 5", TcpOption("exp-tarr", (5,))),
        ("exp-tarr", TcpOption("exp-tarr")),
        ("exp-0x1234 ff", TcpOption("exp", data=b"\x12\x34\xff")),
        ("gen-77 01", TcpOption("gen", data=b"\x01", kind=77)),
        ("01020304", TcpOption("raw", data=b"\x01\x02\x03\x04")),
    ],
)
def test_tcp_options(text: str, option: TcpOption) -> None:
    assert tcp(f"> . 1:1(0) ack 1 <{text}>").options == (option,)


def test_psp_diagnosis_and_tcp_in_udp() -> None:
    packet = tcp("> encap psp spi 0x9 1 > 2 R. 1:1(0) ack 1 [code 3, pen 4] / udp(9899 > 80)")
    assert (packet.psp_spi, packet.reset_diagnosis, packet.udp_ports, packet.ports) == (9, (3, 4), (9899, 80), (1, 2))


@pytest.mark.parametrize(
    ("text", "info"),
    [
        ("[noecn]", IpInfo(ecn="noecn")),
        ("[ect0]", IpInfo(ecn="ect0")),
        ("[ect01]", IpInfo(ecn="ect01")),
        ("(ce, flowlabel 0x2)", IpInfo(ecn="ce", flow_label=2)),
        ("[tos 0x4]", IpInfo(tos=4)),
        ("[ttl 64]", IpInfo(ttl=64)),
        ("[flowlabel 0x1]", IpInfo(flow_label=1)),
        ("[class 0x4, hlim 3]", IpInfo(tos=4, ttl=3)),
        ("[dscp cs1, ecn ect1]", IpInfo(ecn="ect1", dscp=8)),
        ("[dscp 0x2e]", IpInfo(dscp=46)),
    ],
)
def test_the_ip_header(text: str, info: IpInfo) -> None:
    assert action(f"> {text} . 1:1(0) ack 1").ip == info


def test_encapsulations_in_their_order() -> None:
    found = action(
        "> ipv4 [ttl 3] 192.0.2.1 > 192.0.2.2: "
        "gre flags [checksum present, key present], sum 1, off 2, key = 3, seq 4: "
        "mpls (label 5, tc 6, [S], ttl 7): ipv6 fd00::1 > fd00::2: . 1:1(0) ack 1"
    )
    assert found.outer == (
        Encapsulation("ipv4", "192.0.2.1", "192.0.2.2", (("tos", 0), ("ttl", 3))),
        Encapsulation("gre", details=(("flags", 0xA000), ("sum", 1), ("off", 2), ("key", 3), ("seq", 4))),
        Encapsulation("mpls", details=(("label", 5), ("tc", 6), ("bottom", 1), ("ttl", 7))),
        Encapsulation("ipv6", "fd00::1", "fd00::2", (("tos", 0), ("ttl", 0))),
    )


def test_udp() -> None:
    assert action("< udp (1000)").packet == UdpPacket(1000)
    assert action("> udp 5 > 6 (0)").packet == UdpPacket(0, (5, 6))


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        ("icmp echo_request", IcmpPacket("echo_request", "", None, None, None)),
        ("icmp echo_reply id 7", IcmpPacket("echo_reply", "", None, 7, None)),
        ("icmp unreachable frag_needed mtu 1200 [1:1001(1000)]",
         IcmpPacket("unreachable", "frag_needed", 1200, None, Quote("tcp", 1, 1000))),
        ("icmp unreachable port_unreachable [udp (10)]",
         IcmpPacket("unreachable", "port_unreachable", None, None, Quote("udp", 0, 10))),
        ("icmp time_exceeded [raw (4)]", IcmpPacket("time_exceeded", "", None, None, Quote("raw", 0, 4))),
    ],
)
def test_icmp(text: str, packet: IcmpPacket) -> None:
    assert action(f"< {text}").packet == packet


@pytest.mark.parametrize(
    "text",
    [
        "> S. 0:0(0) ack 1 <mss 1460,nop,nop,sackOK,nop,wscale 8>",
        "< [ce,flowlabel 0x2] P. 1:1001(1000) ack 1 win 257 urg 3 <nop,nop,TS val 7 ecr 9>",
        "> .5 1:1(0) ack 1 <ECN e0b 1 ceb 2,nop,nop,sack 1:2 3:4>",
        "> - 1:1(0) <...>",
        "< udp 5 > 6 (100)",
        "< icmp unreachable host_unreachable mtu 9 id 4 [1:11(10)]",
        "> R. ...(0) ack 1 <FO 0102,gen-77 ff,exp-1234 56>",
    ],
)
def test_a_packet_is_written_as_it_is_read(text: str) -> None:
    assert packet_text(action(text)) == text


# --- calls


def test_a_call_its_result_errno_and_note() -> None:
    found = call("connect(3, ..., ...) = -1 EINPROGRESS (Operation (still) in progress)")
    assert (found.name, found.arguments) == ("connect", (3, Blank(), Blank()))
    assert (found.result, found.errno) == (-1, "EINPROGRESS")
    assert found.end_ns is None
    assert found.text == "connect(3, ..., ...) = -1 EINPROGRESS"


def test_a_blocking_call_says_when_it_returns() -> None:
    assert call("...0.2 accept(3, ..., ...) = 4").end_ns == 200 * MS
    event = parse("+.1...0.3 read(4, ..., 10) = 10").events[0]
    assert isinstance(event.action, Call)
    assert (event.when.start_ns, event.action.end_ns) == (100 * MS, 300 * MS)


def test_a_note_may_stand_without_an_errno() -> None:
    assert call("fcntl(3, F_GETFL) = 0x2 (flags O_RDWR)").result == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("...", Blank()),
        ("12", 12),
        ("0x1f", 31),
        ("O_RDWR", Word("O_RDWR")),
        ("O_RDWR|O_NONBLOCK", Or(Word("O_RDWR"), Word("O_NONBLOCK"))),
        ('"ab" "cd"', Text("abcd")),
        ('"ab"...', Text("ab", is_prefix=True)),
        ("[1, 2]", Array((1, 2))),
        ("[]", Array(())),
        ("NAME=5", Field("NAME", 5)),
        ("htonl(5)", FunctionCall("htonl", 5)),
        ('inet6_addr("::1")', FunctionCall("inet6_addr", Text("::1"))),
        ("{fd=3, events=POLLIN, revents=0}",
         Structure((Field("fd", 3), Field("events", Word("POLLIN")), Field("revents", 0)))),
        ("{..., 10}", Structure((Field("", Blank()), Field("", 10)))),
        ("{onoff=1, linger=0}", Structure((Field("onoff", 1), Field("linger", 0)))),
        ("{msg_name(...)=..., msg_iov(1)=[{..., 5}], msg_flags=0}",
         Structure((Field("msg_name", Blank(), Blank()), Field("msg_iov", Array((Structure((Field("", Blank()),
                    Field("", 5))),)), 1), Field("msg_flags", 0)))),
        ('{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("192.0.2.1")}',
         Structure((Field("sa_family", Word("AF_INET")), Field("sin_port", FunctionCall("htons", 80)),
                    Field("sin_addr", FunctionCall("inet_addr", Text("192.0.2.1")))))),
        ("{flags [key present], sum 1}",
         Structure((Field("flags", Array((Word("key present"),))), Field("sum", 1)))),
    ],
)
def test_expressions(text: str, expected: Expression) -> None:
    assert argument(text) == expected


# --- what is no script


@pytest.mark.parametrize(
    ("source", "line", "column", "part"),
    [
        ("", 1, 1, "a script has at least one event"),
        ("0 < X 1:1(0)", 1, 5, "'X' in 'X' is no TCP flag"),
        ("0 < . 1:3(1)", 1, 7, "1 and 1 octets make 2, not 3"),
        ("0 < . 1:1(0) <...>", 1, 14, "can only be expected"),
        ("0 < [ect01] . 1:1(0)", 1, 13, "can only be expected"),
        ("0 < . ...(0)", 1, 7, "can only be expected"),
        ("* close(3) = 0", 1, 1, "only packets that are expected"),
        ("1~2 < . 1:1(0)", 1, 1, "only packets that are expected"),
        ("2~1 > . 1:1(0)", 1, 3, "ends before it begins"),
        ("-1 > . 1:1(0)", 1, 1, "not negative"),
        ("0 < . 1:1(0) win 70000", 1, 18, "win 70000 is not from 0 to 65535"),
        ("0 < . 1:1(0) <mss 1460", 1, 23, "expected '>', not the end of the script"),
        ("0 < . 1:1(0) <bogus>", 1, 15, "'bogus' is no TCP option"),
        ("0 < . 1:1(0) <FO abc>", 1, 18, "not an even number of hexadecimal digits"),
        ("0 < [ttl 1, ttl 2] . 1:1(0)", 1, 18, "ttl is given twice"),
        ("0 < [speed 3] . 1:1(0)", 1, 6, "'speed' says nothing"),
        ("0 close(3)", 1, 11, "expected '=', not the end of the script"),
        ("0 close(3) = 0 (note", 1, 21, "a note that does not end"),
        ("0 close(3) = 0\n`x`\n0 close(4) = 0", 3, 1, "ends the script"),
        ("0 sctp: DATA", 1, 7, "expected '(', not ':'"),
        ("0 < sctp: DATA", 1, 5, "sctp packets are not spoken here"),
        ("close(3) = 0", 1, 1, "an event begins with a time"),
        ("0 !", 1, 3, "expected a packet, a call, a command or code"),
        ('0 open("x', 1, 8, "a string that does not end"),
        ("0 `x", 1, 3, "a command that does not end"),
        ("0 %{ x", 1, 3, "a piece of code that does not end"),
        ("0 close(3) = 0 /* x", 1, 16, "a comment that does not end"),
        ("#ifdef A\n0 close(3) = 0", 1, 1, "#ifdef without #endif"),
        ("0 close(\x01) = 0", 1, 9, "begins nothing"),
    ],
)
def test_what_is_wrong_is_shown_where_it_is(source: str, line: int, column: int, part: str) -> None:
    with pytest.raises(ScriptError) as caught:
        parse(source, "bad.pkt")
    assert part in caught.value.message
    assert caught.value.place == Place(line, column)
    assert str(caught.value).startswith(f"bad.pkt:{line}:{column}: ")


def test_the_caret_stands_below_the_place_also_behind_tabs() -> None:
    with pytest.raises(ScriptError) as caught:
        parse("0 close(3) = 0\n\t+0\t< Q 1:1(0)", "bad.pkt")
    first, source, caret = str(caught.value).split("\n")
    assert first == "bad.pkt:2:7: 'Q' in 'Q' is no TCP flag: those are F S R P U E W A and the dot"
    assert source == "  \t+0\t< Q 1:1(0)"
    assert caret == "  \t  \t  ^"
