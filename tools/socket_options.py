"""Compare every socket option of Linux with the kernel of this machine, by calls, and write ``docs/socket-options.md``.

The same program runs twice: on the kernel, over loopback, and on a host of the lab with the kernel's sysctls. For each
option of socket(7), tcp(7), udp(7), ip(7) and ipv6(7), and each kind of socket, it reads the default, sets numbers from
the least to the largest and reads them back, hands over values that are too short, and reads into small buffers; TCP
sockets are asked unconnected, connected and listening. ``python tools/socket_options.py`` writes the page,
``--check`` says what is different and not told in ``REASONS``. ``--effects`` compares what options do
(``tools/option_effects``).
"""

from __future__ import annotations

import errno
import platform
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from estab import Network

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tools.option_effects.both import EFFECTS, compare  # noqa: E402 - the tools are no package that is installed

PAGE = ROOT / "docs" / "socket-options.md"

SOL, TCP, UDP = socket.SOL_SOCKET, socket.IPPROTO_TCP, socket.IPPROTO_UDP
IP, IP6 = socket.IPPROTO_IP, socket.IPPROTO_IPV6
LEVELS = {SOL: "SOL_SOCKET", TCP: "IPPROTO_TCP", UDP: "IPPROTO_UDP", IP: "IPPROTO_IP", IP6: "IPPROTO_IPV6"}
Kind = tuple[str, int, int, str]
KINDS: tuple[Kind, ...] = (
    ("TCP/IPv4", socket.AF_INET, socket.SOCK_STREAM, ""), ("TCP/IPv6", socket.AF_INET6, socket.SOCK_STREAM, ""),
    ("UDP/IPv4", socket.AF_INET, socket.SOCK_DGRAM, ""), ("UDP/IPv6", socket.AF_INET6, socket.SOCK_DGRAM, ""),
    ("TCP/IPv4 connected", socket.AF_INET, socket.SOCK_STREAM, "connected"),
    ("TCP/IPv4 listening", socket.AF_INET, socket.SOCK_STREAM, "listening"),
)
NUMBERS = (-2**31, -2, -1, 0, 1, 2, 3, 5, 6, 7, 20, 64, 87, 88, 120, 121, 127, 128, 255, 256, 536, 1000, 2303, 4608,
           32767, 32768, 65535, 65536, 1_000_000, 2**31 - 1)
OPTIONS_TEXT: dict[int, str] = {
    SOL: """
        SO_DEBUG=1 SO_REUSEADDR=2 SO_TYPE=3 SO_ERROR=4 SO_DONTROUTE=5 SO_BROADCAST=6 SO_SNDBUF=7 SO_RCVBUF=8
        SO_KEEPALIVE=9 SO_OOBINLINE=10 SO_NO_CHECK=11 SO_PRIORITY=12 SO_LINGER=13 SO_BSDCOMPAT=14 SO_REUSEPORT=15
        SO_PASSCRED=16 SO_PEERCRED=17 SO_RCVLOWAT=18 SO_SNDLOWAT=19 SO_RCVTIMEO=20 SO_SNDTIMEO=21 SO_BINDTODEVICE=25
        SO_TIMESTAMP=29 SO_ACCEPTCONN=30 SO_SNDBUFFORCE=32 SO_RCVBUFFORCE=33 SO_TIMESTAMPNS=35 SO_MARK=36
        SO_TIMESTAMPING=37 SO_PROTOCOL=38 SO_DOMAIN=39 SO_RXQ_OVFL=40 SO_PEEK_OFF=42 SO_LOCK_FILTER=44
        SO_BUSY_POLL=46 SO_MAX_PACING_RATE=47 SO_INCOMING_CPU=49 SO_ZEROCOPY=60 SO_BINDTOIFINDEX=62
        SO_PREFER_BUSY_POLL=69 SO_BUF_LOCK=72 SO_RESERVE_MEM=73 SO_TXREHASH=74 SO_RCVMARK=75
    """,
    TCP: """
        TCP_NODELAY=1 TCP_MAXSEG=2 TCP_CORK=3 TCP_KEEPIDLE=4 TCP_KEEPINTVL=5 TCP_KEEPCNT=6 TCP_SYNCNT=7
        TCP_LINGER2=8 TCP_DEFER_ACCEPT=9 TCP_WINDOW_CLAMP=10 TCP_INFO=11 TCP_QUICKACK=12 TCP_CONGESTION=13
        TCP_MD5SIG=14 TCP_THIN_LINEAR_TIMEOUTS=16 TCP_THIN_DUPACK=17 TCP_USER_TIMEOUT=18 TCP_REPAIR=19
        TCP_FASTOPEN=23 TCP_TIMESTAMP=24 TCP_NOTSENT_LOWAT=25 TCP_CC_INFO=26 TCP_SAVE_SYN=27 TCP_SAVED_SYN=28
        TCP_FASTOPEN_CONNECT=30 TCP_ULP=31 TCP_FASTOPEN_KEY=33 TCP_FASTOPEN_NO_COOKIE=34 TCP_ZEROCOPY_RECEIVE=35
        TCP_INQ=36 TCP_TX_DELAY=37 TCP_RTO_MAX_MS=44 TCP_RTO_MIN_US=45 TCP_DELACK_MAX_US=46
    """,
    UDP: """
        UDP_CORK=1 UDP_ENCAP=100 UDP_NO_CHECK6_TX=101 UDP_NO_CHECK6_RX=102 UDP_SEGMENT=103 UDP_GRO=104
    """,
    IP: """
        IP_TOS=1 IP_TTL=2 IP_HDRINCL=3 IP_OPTIONS=4 IP_ROUTER_ALERT=5 IP_RECVOPTS=6 IP_RETOPTS=7 IP_PKTINFO=8
        IP_MTU_DISCOVER=10 IP_RECVERR=11 IP_RECVTTL=12 IP_RECVTOS=13 IP_MTU=14 IP_FREEBIND=15 IP_TRANSPARENT=19
        IP_ORIGDSTADDR=20 IP_MINTTL=21 IP_NODEFRAG=22 IP_CHECKSUM=23 IP_BIND_ADDRESS_NO_PORT=24 IP_RECVFRAGSIZE=25
        IP_RECVERR_RFC4884=26 IP_MULTICAST_IF=32 IP_MULTICAST_TTL=33 IP_MULTICAST_LOOP=34 IP_MULTICAST_ALL=49
        IP_UNICAST_IF=50 IP_LOCAL_PORT_RANGE=51 IP_PROTOCOL=52
    """,
    IP6: """
        IPV6_ADDRFORM=1 IPV6_UNICAST_HOPS=16 IPV6_MULTICAST_IF=17 IPV6_MULTICAST_HOPS=18 IPV6_MULTICAST_LOOP=19
        IPV6_MTU_DISCOVER=23 IPV6_MTU=24 IPV6_RECVERR=25 IPV6_V6ONLY=26 IPV6_FLOWINFO=11 IPV6_FLOWINFO_SEND=33
        IPV6_MULTICAST_ALL=29 IPV6_RECVPKTINFO=49
        IPV6_RECVHOPLIMIT=51 IPV6_RECVHOPOPTS=53 IPV6_RECVRTHDR=56 IPV6_RECVDSTOPTS=58
        IPV6_RECVPATHMTU=60 IPV6_DONTFRAG=62 IPV6_RECVTCLASS=66 IPV6_TCLASS=67 IPV6_AUTOFLOWLABEL=70
        IPV6_ADDR_PREFERENCES=72 IPV6_MINHOPCOUNT=73 IPV6_ORIGDSTADDR=74 IPV6_TRANSPARENT=75 IPV6_UNICAST_IF=76
        IPV6_RECVFRAGSIZE=77 IPV6_FREEBIND=78
    """,
}
OPTIONS: dict[int, dict[str, int]] = {
    level: {name: int(number) for name, _, number in (word.partition("=") for word in text.split())}
    for level, text in OPTIONS_TEXT.items()
}
SYSCTLS = (
    "net.core.rmem_max", "net.core.wmem_max", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_syn_retries", "net.ipv4.ip_default_ttl",
    "net.ipv4.tcp_fastopen", "net.ipv4.tcp_rto_max_ms", "net.ipv4.tcp_rto_min_us", "net.core.somaxconn",
    "net.ipv4.tcp_congestion_control",
)
NO_QUEUES = "there are no queueing disciplines, marks or processors that it could speak of"
NO_STAMPS = "no timestamps are kept for programs"
NO_HEADERS = "options and extension headers of IP are neither sent for a program nor given to it"
OLD = "it does nothing on Linux, either"
KERNEL = "it gives access to what only a kernel has"
REASONS: dict[str, str] = {
    "SO_DEBUG": OLD, "SO_BSDCOMPAT": OLD, "SO_NO_CHECK": "checksums of UDP are always there",
    "SO_PRIORITY": NO_QUEUES, "SO_MARK": NO_QUEUES, "SO_RCVMARK": NO_QUEUES, "SO_RXQ_OVFL": NO_QUEUES,
    "SO_INCOMING_CPU": NO_QUEUES, "SO_BUSY_POLL": NO_QUEUES, "SO_PREFER_BUSY_POLL": NO_QUEUES,
    "SO_TXREHASH": "a flow keeps its label (RFC 6437)", "SO_LOCK_FILTER": "there are no filters (BPF)",
    "SO_PASSCRED": "only Unix sockets have credentials", "SO_PEERCRED": "only Unix sockets have credentials",
    "SO_TIMESTAMP": NO_STAMPS, "SO_TIMESTAMPNS": NO_STAMPS, "SO_TIMESTAMPING": NO_STAMPS,
    "SO_DONTROUTE": "routes are always used", "SO_BINDTODEVICE": "an address chooses the interface",
    "SO_BINDTOIFINDEX": "an address chooses the interface", "SO_ZEROCOPY": "text is copied once, always",
    "SO_PEEK_OFF": "peeking always begins at the front", "SO_BUF_LOCK": "a size that was set is never changed",
    "SO_RESERVE_MEM": KERNEL, "SO_MAX_PACING_RATE": "0 is 1 byte a second, and it is always an int",
    "SO_SNDBUF": "on loopback Linux starts with half the segments of a larger window",
    "SO_RCVLOWAT": "a datagram is readable whatever its size, so UDP does not take it",
    "TCP_MAXSEG": "Linux shows a segment cut to half of the peer's window; here it is cut when it is sent",
    "TCP_WINDOW_CLAMP": "a clamp above the window that the receive buffer allows is not shown; a listener takes 0",
    "TCP_MD5SIG": "there is no MD5 (RFC 2385) and no TCP-AO",
    "TCP_THIN_LINEAR_TIMEOUTS": "the sysctl of that name is for all", "TCP_THIN_DUPACK": OLD,
    "TCP_REPAIR": KERNEL, "TCP_TIMESTAMP": "only TCP_REPAIR needs it", "TCP_CC_INFO": "TCP_INFO has the rates",
    "TCP_SAVE_SYN": "a fact reports the SYN", "TCP_SAVED_SYN": "a fact reports the SYN",
    "TCP_ULP": "TLS is a program's own", "TCP_ZEROCOPY_RECEIVE": KERNEL,
    "TCP_TX_DELAY": "links of the lab have a delay",
    "TCP_FASTOPEN_KEY": "a host has a key from its start, Linux from the first listener",
    "TCP_RTO_MAX_MS": "the sysctls are for all", "TCP_RTO_MIN_US": "the sysctls are for all",
    "TCP_DELACK_MAX_US": "the settings are for all",
    "TCP_INFO": "of a listener, Linux leaves out that the rate is limited by the program",
    "UDP_ENCAP": KERNEL, "UDP_NO_CHECK6_TX": "checksums of UDP are always there",
    "UDP_NO_CHECK6_RX": "checksums of UDP are always there", "UDP_SEGMENT": "a call sends one datagram",
    "UDP_GRO": "a call returns one datagram",
    "IP_HDRINCL": "there are no raw sockets", "IP_OPTIONS": NO_HEADERS, "IP_ROUTER_ALERT": NO_HEADERS,
    "IP_RECVOPTS": NO_HEADERS, "IP_RETOPTS": NO_HEADERS, "IP_RECVERR": "it is for UDP; TCP's errors are SO_ERROR's",
    "IP_FREEBIND": "bind takes addresses of the host only", "IP_TRANSPARENT": "bind takes addresses of the host only",
    "IP_ORIGDSTADDR": KERNEL, "IP_MINTTL": "packets of any TTL are taken", "IP_NODEFRAG": KERNEL,
    "IP_CHECKSUM": KERNEL, "IP_BIND_ADDRESS_NO_PORT": "bind chooses a port at once",
    "IP_RECVFRAGSIZE": "a datagram does not tell how it came", "IP_RECVERR_RFC4884": NO_HEADERS,
    "IP_UNICAST_IF": "an address chooses the interface",
    "IP_LOCAL_PORT_RANGE": "the sysctl ip_local_port_range is for all", "IP_PROTOCOL": "SO_PROTOCOL tells it",
    "IPV6_ADDRFORM": "a socket keeps its family",
    "IPV6_MULTICAST_IF": "interfaces have numbers of their own on each host",
    "IPV6_MTU": "it can be read, and not be set: routes have an MTU",
    "IPV6_UNICAST_HOPS": "a packet with 0 hops would go nowhere",
    "IPV6_RECVERR": "it is for UDP; TCP's errors are SO_ERROR's",
    "IPV6_FLOWINFO": "each flow has a label of its own; see auto_flowlabels",
    "IPV6_FLOWINFO_SEND": "each flow has a label of its own; see auto_flowlabels",
    "IPV6_AUTOFLOWLABEL": "the sysctl auto_flowlabels is for all", "IPV6_RECVHOPOPTS": NO_HEADERS,
    "IPV6_RECVRTHDR": NO_HEADERS, "IPV6_RECVDSTOPTS": NO_HEADERS, "IPV6_RECVPATHMTU": "IPV6_RECVERR tells of it",
    "IPV6_DONTFRAG": "IPV6_MTU_DISCOVER does it", "IPV6_ADDR_PREFERENCES": "RFC 6724's default rules choose",
    "IPV6_MINHOPCOUNT": "packets of any hop limit are taken", "IPV6_ORIGDSTADDR": KERNEL,
    "IPV6_TRANSPARENT": "bind takes addresses of the host only", "IPV6_UNICAST_IF": "an address chooses the interface",
    "IPV6_RECVFRAGSIZE": "a datagram does not tell how it came",
    "IPV6_FREEBIND": "bind takes addresses of the host only",
}
"""Why an option is not as on Linux, by its name. ``tests/sockets/test_options_of_linux.py`` wants each that is used."""
SHOWN_ELSEWHERE: dict[str, str] = {
    **dict.fromkeys(("TCP_FASTOPEN", "TCP_FASTOPEN_CONNECT", "TCP_FASTOPEN_KEY", "TCP_FASTOPEN_NO_COOKIE",
                     "TCP_NOTSENT_LOWAT", "TCP_INFO"), "[packetdrill's scripts](conformance.md)"),
    "TCP_CONGESTION": "no: [what each control does](congestion.md)",
    "SO_SNDLOWAT": "no: nothing can be set", "SO_DONTROUTE": "no: nothing changes",
    **dict.fromkeys(("SO_TYPE", "SO_PROTOCOL", "SO_DOMAIN", "SO_ACCEPTCONN"), "none: it is only read"),
}
"""Where the effect of an option is compared that no pair of programs shows."""
UNKNOWN = "ENOPROTOOPT"

Outcome = dict[str, str]
"""What came of each question to an option."""


# --- the program that runs on both


def made(kind: Kind) -> Iterator[socket.socket]:
    """Make a socket of a kind, and let go of all that it needs afterwards."""
    _, family, type_, state = kind
    with socket.socket(family, type_) as one:
        if state == "listening":
            one.bind(("127.0.0.1", 0))
            one.listen(1)
        if state == "connected":
            with socket.socket(family, type_) as listener:
                listener.bind(("127.0.0.1", 0))
                listener.listen(1)
                one.connect(listener.getsockname())
                with listener.accept()[0]:
                    yield one
                return
        yield one


def told(call: object) -> str:
    """Tell what a call gives: a number, bytes, or the name of an errno."""
    try:
        value = call()  # type: ignore[operator]
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    if value is None:
        return "ok"
    return str(value) if isinstance(value, int) else value.hex()


def ask(kind: Kind, level: int, name: int) -> Outcome:
    """Ask one option of one kind of socket all there is to ask."""
    result: Outcome = {}
    for one in made(kind):
        result["default"] = told(lambda: one.getsockopt(level, name))
        for size in (1, 2, 8):
            result[f"read into {size} bytes"] = told(lambda: one.getsockopt(level, name, size))
    for number in NUMBERS:
        for one in made(kind):
            answer = told(lambda: one.setsockopt(level, name, number))
            result[f"set {number}"] = answer if answer != "ok" else told(lambda: one.getsockopt(level, name))
    for size in (0, 1, 2, 3):
        for one in made(kind):
            answer = told(lambda: one.setsockopt(level, name, b"\1" * size))
            result[f"set {size} bytes"] = answer if answer != "ok" else told(lambda: one.getsockopt(level, name))
    return result


def ask_all(found: dict[tuple[str, str], Outcome]) -> None:
    """Ask every option of every kind of socket."""
    for kind in KINDS:
        for level, options in OPTIONS.items():
            if kind[3] and level not in (SOL, TCP):
                continue
            for option, number in options.items():
                found[option, kind[0]] = ask(kind, level, number)


# --- both, and what is different


def of_kernel() -> dict[tuple[str, str], Outcome]:
    """Ask the kernel of this machine."""
    found: dict[tuple[str, str], Outcome] = {}
    ask_all(found)
    return found


def of_estab() -> dict[tuple[str, str], Outcome]:
    """Ask a host of the lab that has this machine's sysctls."""
    found: dict[tuple[str, str], Outcome] = {}
    with Network(seed=1) as net:
        host = net.host("host")
        for name in SYSCTLS:
            path = Path("/proc/sys") / name.replace(".", "/")
            if path.exists() and name in host.sysctl:
                host.sysctl[name] = path.read_text()
        host.run(ask_all, found)
        net.run()
    return found


def differences(kernel: Outcome, ours: Outcome) -> list[str]:
    """List the questions that are answered differently, if the kernel knows the option at all."""
    if kernel["default"] in (UNKNOWN, "ENOTSUP") and kernel["set 1"] == UNKNOWN:
        return []
    return [question for question, answer in kernel.items() if ours[question] != answer]


def verdicts(kernel: dict[tuple[str, str], Outcome], ours: dict[tuple[str, str], Outcome]) -> dict[str, list[str]]:
    """Give, for each option that differs somewhere, what differs: the kind of socket, the question and both answers."""
    found: dict[str, list[str]] = {}
    for (option, kind), outcome in kernel.items():
        for question in differences(outcome, ours[option, kind]):
            text = f"{kind}, {question}: {outcome[question]}, here {ours[option, kind][question]}"
            found.setdefault(option, []).append(text)
    return found


def takes(outcome: Outcome) -> str:
    """Tell which numbers the kernel takes, of those that were tried."""
    answers = {number: outcome[f"set {number}"] for number in NUMBERS}
    taken = [number for number, answer in answers.items() if not answer.startswith("E")]
    refused = sorted({answer for answer in answers.values() if answer.startswith("E")})
    if not taken:
        return ", ".join(refused)
    shown = {answers[number] for number in taken}
    if len(taken) == len(NUMBERS):
        return "any, shown as 0 or 1" if shown == {"0", "1"} else "any"
    place = [number for number in NUMBERS if taken[0] <= number <= taken[-1]]
    text = f"{taken[0]:,} to {taken[-1]:,}" if place == taken else ", ".join(f"{number:,}" for number in taken)
    return f"{text}, else {', '.join(refused)}"


HEAD = """# Socket options

This page compares every option of Linux's socket(7), tcp(7), udp(7), ip(7) and ipv6(7) that takes a number. The same
program runs on a kernel and on a host of the lab. For each option it reads the default, sets 30 numbers from the least
to the largest and reads each back, and tries values that are too short and buffers that are too small. It does so for
TCP and UDP, over IPv4 and IPv6, and for TCP sockets that are connected or listen, too. `python tools/socket_options.py`
has written the page on Linux {release}; the test `test_options_are_as_on_linux_or_their_difference_is_told` compares
with the kernel of the machine that it runs on.

"Takes" is what Linux does. An option that is "not here" is refused with ENOPROTOOPT.

"Effect compared" names what two programs on two hosts with a link between them see of the option: results, errnos,
texts, times. The same programs run on the kernel, in namespaces, and on estab in virtual time, with the same result;
for those that wait for a peer the link is cut. The test `test_effects_are_as_on_linux` compares, and
`python tools/socket_options.py --effects` prints what is different.
"""


def effects_of(option: str, mine: list[str]) -> str:
    """Name the effects of an option that are compared; ``mine``: the kinds of sockets that have it here."""
    names = [effect.name for effect in EFFECTS if option in effect.options]
    if names:
        return "; ".join(names)
    return SHOWN_ELSEWHERE.get(option, "no" if mine else "–")


def page(kernel: dict[tuple[str, str], Outcome], ours: dict[tuple[str, str], Outcome]) -> str:
    """Write the page."""
    parts = [HEAD.format(release=platform.release().split("-")[0])]
    told = verdicts(kernel, ours)
    for level, options in OPTIONS.items():
        parts.append(f"\n## {LEVELS[level]}\n\n| option | default | takes | here | effect compared |\n"
                     "|---|---|---|---|---|\n")
        for option in options:
            known = [kind[0] for kind in KINDS if (option, kind[0]) in kernel]
            mine = [kind for kind in known if ours[option, kind]["default"] not in (UNKNOWN, "ENOTSUP")]
            shown = next((kernel[option, kind] for kind in known if kernel[option, kind]["default"] != UNKNOWN), None)
            if shown is None:
                shown = kernel[option, known[0]]
            here = "as on Linux"
            if option in told:
                what = "not here" if not mine else told[option][0] + (" …" if len(told[option]) > 1 else "")
                here = f"{what}: {REASONS.get(option, 'not told')}"
            default = shown["default"] if option not in VOLATILE else "a structure, or of the moment"
            parts.append(f"| `{option}` | {default} | {takes(shown)} | {here} | {effects_of(option, mine)} |\n")
    return "".join(parts)


VOLATILE = ("TCP_INFO", "TCP_CONGESTION", "TCP_TIMESTAMP", "TCP_FASTOPEN_KEY", "TCP_CC_INFO", "SO_LINGER",
            "SO_RCVTIMEO", "SO_SNDTIMEO", "SO_PEERCRED")


def compare_effects() -> int:
    """Print the effects that are different."""
    different = compare(EFFECTS)
    for name, (kernel, ours) in different.items():
        print(f"{name}\n  the kernel's programs: {kernel}\n  estab's programs:      {ours}")
    print(f"{len(EFFECTS) - len(different)} of {len(EFFECTS)} effects are the same")
    return 1 if different else 0


def main() -> int:
    """Write the page, or check it."""
    if "--effects" in sys.argv:
        return compare_effects()
    kernel, ours = of_kernel(), of_estab()
    told = verdicts(kernel, ours)
    missing = [option for option in told if option not in REASONS]
    for option in missing:
        print(f"{option}: {told[option][0]} (of {len(told[option])} differences) has no reason in REASONS")
    for option in [option for option in REASONS if option not in told]:
        print(f"{option}: nothing is different any more")
    if "--check" not in sys.argv:
        PAGE.write_text(page(kernel, ours), encoding="utf-8")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
