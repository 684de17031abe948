"""What expressions of a call stand for: numbers, octets and the names of C's headers.

Options have the numbers by which sockets know them on this system; all else means what it means on Linux, for scripts
call the engine, and the engine has Linux's numbers.
"""

from __future__ import annotations

import errno
import os
import re
import select
import socket
from typing import Final

from estab import abi
from estab.drill.errors import MismatchError, UnsupportedError
from estab.drill.language.syntax import Array, Blank, Expression, Field, FunctionCall, Or, Structure, Text, Word
from estab.sockets.socket.options import option_number
from estab.wire.address import parse_address

__all__ = ["constant", "errno_number", "expression_text", "integer", "octets"]

_LINUX: Final = {
    "NULL": 0, "IP_MTU_DISCOVER": 10, "IP_PMTUDISC_DONT": 0, "IP_PMTUDISC_WANT": 1, "IP_PMTUDISC_DO": 2,
    "IP_PMTUDISC_PROBE": 3, "IP_FREEBIND": 15, "IP_RECVERR": 11, "IPV6_RECVERR": 25, "IP_MTU": 14, "IPV6_MTU": 24,
    "SOL_IP": 0, "SOL_IPV6": 41, "SOL_TCP": 6, "SOL_UDP": 17,
    "SO_ZEROCOPY": 60, "SO_TIMESTAMPING": 37, "SO_MARK": 36, "SO_PRIORITY": 12,
    "SO_MAX_PACING_RATE": 47, "SO_BUSY_POLL": 46,
    "MSG_ZEROCOPY": 0x4000000, "MSG_FASTOPEN": 0x20000000, "MSG_ERRQUEUE": 0x2000, "MSG_SPLICE_PAGES": 0x8000000,
    "TCP_NODELAY": 1, "TCP_MAXSEG": 2, "TCP_CORK": 3, "TCP_KEEPIDLE": 4, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 6,
    "TCP_SYNCNT": 7, "TCP_LINGER2": 8, "TCP_DEFER_ACCEPT": 9, "TCP_WINDOW_CLAMP": 10, "TCP_INFO": 11,
    "TCP_QUICKACK": 12, "TCP_CONGESTION": 13,
    "TCP_MD5SIG": 14, "TCP_THIN_LINEAR_TIMEOUTS": 16, "TCP_THIN_DUPACK": 17, "TCP_USER_TIMEOUT": 18, "TCP_FASTOPEN": 23,
    "TCP_TIMESTAMP": 24, "TCP_NOTSENT_LOWAT": 25, "TCP_FASTOPEN_CONNECT": 30, "TCP_ULP": 31, "TCP_FASTOPEN_KEY": 33,
    "TCP_FASTOPEN_NO_COOKIE": 34, "TCP_INQ": 36, "TCP_CM_INQ": 36, "TCP_TX_DELAY": 37,
    "SIOCINQ": 0x541B, "FIONREAD": 0x541B, "SIOCOUTQ": 0x5411, "TIOCOUTQ": 0x5411, "SIOCOUTQNSD": 0x894B,
    "F_GETFL": 3, "F_SETFL": 4, "F_GETFD": 1, "F_SETFD": 2, "O_RDONLY": 0, "O_WRONLY": 1, "O_RDWR": 2,
    "O_NONBLOCK": 0o4000, "SOCK_NONBLOCK": 0o4000, "SOCK_CLOEXEC": 0o2000000, "EPOLL_CLOEXEC": 0o2000000,
    **{f"{prefix}{name}": bit for prefix in ("POLL", "EPOLL") for name, bit in (
        ("IN", 1), ("PRI", 2), ("OUT", 4), ("ERR", 8), ("HUP", 0x10), ("RDNORM", 0x40), ("RDBAND", 0x80),
        ("WRNORM", 0x100), ("WRBAND", 0x200), ("MSG", 0x400))},
    "SPLICE_F_MOVE": 1, "SPLICE_F_NONBLOCK": 2, "SPLICE_F_MORE": 4,
    "EPOLL_CTL_ADD": 1, "EPOLL_CTL_DEL": 2, "EPOLL_CTL_MOD": 3, "EPOLLET": 1 << 31, "EPOLLONESHOT": 1 << 30,
    "EPOLLEXCLUSIVE": 1 << 28, "EPOLLRDHUP": 0x2000, "POLLRDHUP": 0x2000,
    "SO_EE_ORIGIN_NONE": 0, "SO_EE_ORIGIN_LOCAL": 1, "SO_EE_ORIGIN_ICMP": 2, "SO_EE_ORIGIN_ICMP6": 3,
    "SO_EE_ORIGIN_TIMESTAMPING": 4, "SO_EE_ORIGIN_ZEROCOPY": 5, "SO_EE_CODE_ZEROCOPY_COPIED": 1,
    "SCM_TIMESTAMPING": 37, "SCM_TSTAMP_SND": 0, "SCM_TSTAMP_SCHED": 1, "SCM_TSTAMP_ACK": 2,
    **{f"SOF_TIMESTAMPING_{name}": 1 << bit for bit, name in enumerate((
        "TX_HARDWARE", "TX_SOFTWARE", "RX_HARDWARE", "RX_SOFTWARE", "SOFTWARE", "SYS_HARDWARE", "RAW_HARDWARE",
        "OPT_ID", "TX_SCHED", "TX_ACK", "OPT_CMSG", "OPT_TSONLY", "OPT_STATS"))},
}
_ESCAPE: Final = re.compile(r"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def constant(name: str) -> int:
    """Look up a name of C's headers. ``UnsupportedError`` names one that is not known."""
    option = option_number(name)
    if option is not None:
        return option
    if name == "SOL_SOCKET":  # a part of an option's number
        return int(socket.SOL_SOCKET)
    if name in _LINUX:
        return _LINUX[name]
    for module in (abi, socket, select, os):
        value = getattr(module, name, None)
        if isinstance(value, int):
            return int(value)
    if name.startswith("PF_") and (hasattr(abi, "AF_" + name[3:]) or hasattr(socket, "AF_" + name[3:])):
        return constant("AF_" + name[3:])
    if hasattr(errno, name):
        return int(getattr(errno, name))
    raise UnsupportedError(f"unknown name {name!r}")


def errno_number(name: str) -> int:
    """Look up an errno. ``MismatchError`` if there is none of that name."""
    value = getattr(errno, name, None)
    if not isinstance(value, int):
        raise MismatchError(f"{name!r} is not the name of an errno")
    return value


def integer(value: Expression) -> int:
    """Evaluate a number: also ``[n]``, ``A|B``, ``htons(n)`` and ``inet_addr("…")``."""
    if isinstance(value, int):
        return value
    if isinstance(value, Word):
        return constant(value.name)
    if isinstance(value, Or):
        return integer(value.left) | integer(value.right)
    if isinstance(value, Array) and len(value.items) == 1:
        return integer(value.items[0])
    if isinstance(value, FunctionCall):
        if value.name in ("htons", "ntohs"):
            return int.from_bytes((integer(value.argument) & 0xFFFF).to_bytes(2, "big"), "little")
        if value.name in ("htonl", "ntohl"):
            return int.from_bytes((integer(value.argument) & 0xFFFFFFFF).to_bytes(4, "big"), "little")
        if value.name == "inet_addr":
            return int.from_bytes(parse_address(octets(value.argument).decode()), "little")
    raise MismatchError(f"expected a number, not {expression_text(value)}")


def octets(value: Expression) -> bytes:
    """Evaluate a string, its escapes read."""
    if not isinstance(value, Text):
        raise MismatchError(f"expected a string, not {expression_text(value)}")

    def unescaped(match: re.Match[str]) -> str:
        letter = match.group(1)
        return chr(int(letter[1:], 16)) if len(letter) > 1 else _ESCAPES.get(letter, letter)

    return _ESCAPE.sub(unescaped, value.raw).encode("latin-1")


def expression_text(value: Expression) -> str:
    """Write an expression as a script does."""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Blank):
        return "..."
    if isinstance(value, Word):
        return value.name
    if isinstance(value, Text):
        return f'"{value.raw}"' + ("..." if value.is_prefix else "")
    if isinstance(value, Or):
        return f"{expression_text(value.left)}|{expression_text(value.right)}"
    if isinstance(value, Array):
        return f"[{', '.join(map(expression_text, value.items))}]"
    if isinstance(value, FunctionCall):
        return f"{value.name}({expression_text(value.argument)})"
    if isinstance(value, Structure):
        return f"{{{', '.join(map(expression_text, value.fields))}}}"
    assert isinstance(value, Field)
    size = f"({expression_text(value.size)})" if value.size is not None else ""
    return f"{value.name}{size}={expression_text(value.value)}" if value.name else expression_text(value.value)
