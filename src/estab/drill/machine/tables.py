"""What commands print of a host: ``nstat``, ``ss``, ``sockstat``, ``/proc/net/tcp``; and ``grep`` on it."""

from __future__ import annotations

import contextlib
import errno
import re
from typing import Final

from estab import abi
from estab.drill.errors import UnsupportedError
from estab.host.engine import Engine
from estab.host.ip.interface import Interface
from estab.host.snapshot import SocketRow
from estab.tcp.arriving import transitions
from estab.tcp.arriving.timewait import TimeWait
from estab.tcp.connection import Connection
from estab.tcp.state import state_text

__all__ = ["FREEBSD_STATES", "change_route", "drop", "grep", "nstat", "proc_file", "sockstat", "ss"]

_NUMBERS: Final = {
    "ESTAB": abi.ESTABLISHED, "SYN-SENT": abi.SYN_SENT, "SYN-RECV": abi.SYN_RECEIVED, "FIN-WAIT-1": abi.FIN_WAIT_1,
    "FIN-WAIT-2": abi.FIN_WAIT_2, "TIME-WAIT": abi.TIME_WAIT, "CLOSED": abi.CLOSED, "CLOSE-WAIT": abi.CLOSE_WAIT,
    "LAST-ACK": abi.LAST_ACK, "LISTEN": abi.LISTEN, "CLOSING": abi.CLOSING,
}
_FREEBSD: Final = {
    "ESTAB": "ESTABLISHED", "SYN-SENT": "SYN_SENT", "SYN-RECV": "SYN_RCVD", "FIN-WAIT-1": "FIN_WAIT_1",
    "FIN-WAIT-2": "FIN_WAIT_2", "TIME-WAIT": "TIME_WAIT", "CLOSED": "CLOSED", "CLOSE-WAIT": "CLOSE_WAIT",
    "LAST-ACK": "LAST_ACK", "LISTEN": "LISTEN", "CLOSING": "CLOSING",
}


FREEBSD_STATES: Final = frozenset(_FREEBSD.values())


def nstat(host: Engine) -> str:
    """Print the counters that are not zero."""
    return "".join(f"{name:<32}{value:<16}0.0\n" for name, value in host.counters().items())


def ss(host: Engine, now_ns: int, words: list[str]) -> str:
    """Print sockets as ``ss -n`` does; ``state NAME`` chooses one state."""
    state = words[words.index("state") + 1] if "state" in words[:-1] else ""
    return "".join(
        f"{row.netid:<6}{row.state:<11}{row.recv_q:<7}{row.send_q:<7}{row.local} {row.peer}\n"
        for row in host.sockets(now_ns) if not state or row.state.lower() == state.lower()
    )


def sockstat(host: Engine, now_ns: int, words: list[str]) -> str:
    """Print sockets as FreeBSD's ``sockstat``: ``-4 -6 -P -p`` choose, ``-s`` has states."""
    version = [word for word in words if word in ("-4", "-6")]
    port = words[words.index("-p") + 1] if "-p" in words[:-1] else ""
    kind = words[words.index("-P") + 1] if "-P" in words[:-1] else ""
    text = ""
    for row in host.sockets(now_ns):
        is_v6 = row.local.startswith("[") or ":" in row.local.rpartition(":")[0]
        if (version and ("-6" in version) != is_v6) or (kind and not row.netid.startswith(kind)):
            continue
        if not port or port in (row.local.rpartition(":")[2], row.peer.rpartition(":")[2]):
            state = _FREEBSD.get(row.state, row.state) if "-s" in words else ""
            text += f"root     packetdril 1     3  {row.netid:<6}{row.local:<30}{row.peer:<30}{state}\n"
    return text


def drop(host: Engine, state: str, now_ns: int) -> None:
    """End connections in a state (empty: in any) as ``tcpdrop`` does: a reset, or no more of a TIME-WAIT record."""
    demux = host.demux
    for endpoint in list(demux.table.values()):
        if isinstance(endpoint, Connection):
            name = state_text(int(endpoint.state)).replace("-", "_").replace("SYN_RECEIVED", "SYN_RCVD")
            if state in ("", name):
                transitions.abort(endpoint, errno.ECONNABORTED, "software caused connection abort", "tcpdrop")
                demux.touch(endpoint)
        elif isinstance(endpoint, TimeWait) and state in ("", "TIME_WAIT"):
            demux.drop_time_wait(endpoint)


def proc_file(host: Engine, now_ns: int, path: str) -> str:
    """Print a file of ``/proc/net``."""
    name = path.rpartition("/")[2]
    if name in ("tcp", "tcp6"):
        return "".join(_proc_row(row) for row in host.sockets(now_ns) if row.netid == name)
    if name in ("netstat", "snmp"):
        return nstat(host)
    raise UnsupportedError(f"unknown file: {path}")


def _proc_row(row: SocketRow) -> str:
    return f"   0: {_hex_port(row.local)} {_hex_port(row.peer)} {_NUMBERS.get(row.state, abi.CLOSED):02X} \n"


def _hex_port(endpoint: str) -> str:
    port = endpoint.rpartition(":")[2]
    return f"00000000:{int(port) if port.isdecimal() else 0:04X}"


def grep(text: str, words: list[str]) -> tuple[str, bool]:
    """Return the lines that match; with ``-c`` how many do, with ``-v`` the others; and whether there were any."""
    flags = "".join(word[1:] for word in words if word.startswith("-"))
    patterns = [word for word in words if not word.startswith("-")]
    if len(patterns) != 1:
        raise UnsupportedError(f"unknown command: grep {' '.join(words)}")
    pattern = re.compile(patterns[0], re.IGNORECASE if "i" in flags else 0)
    lines = [line for line in text.splitlines(keepends=True) if bool(pattern.search(line)) != ("v" in flags)]
    return f"{len(lines)}\n" if "c" in flags else "".join(lines), bool(lines)


def change_route(host: Engine, interface: Interface, prefix: str, numbers: dict[str, int]) -> None:
    """Give a destination a route of its own with other limits, in place of the one it has."""
    with contextlib.suppress(OSError):
        host.remove_route(prefix, interface)
    host.add_route(prefix, interface, mtu=numbers.get("mtu", 0), advmss=numbers.get("advmss", 0),
                   initcwnd=numbers.get("initcwnd", 0))
