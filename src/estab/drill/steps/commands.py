"""Commands in backticks: a table of what they mean for a stack. Nothing here ever runs a shell.

A command line is cut at newlines, ``;``, ``&&`` and ``||``, as a shell does, and each part is looked up by its first
word. Parts that only print (``nstat``, ``ss``, ``sockstat``, files of ``/proc/net``) may be piped through ``grep``,
whose exit status counts. What is not in the table is a failure that names it.
"""

from __future__ import annotations

import ast
import contextlib
import operator
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Final

from estab.drill.errors import MismatchError, UnsupportedError
from estab.drill.machine import tables
from estab.drill.machine.machine import Machine
from estab.drill.machine.sysctls import Sysctls
from estab.wire.address import parse_address

__all__ = ["Commands"]

_SEPARATORS: Final = re.compile(r"(\n|;|&&|\|\|)")
_REDIRECTION: Final = re.compile(r"\s*(?:[12&]?>{1,2}\s*(?:&[12]|[^\s|&;]+))")
_PARAMETER: Final = re.compile(r"\becho\s+(\S+)\s*>\s*/sys/module/(\w+)/parameters/(\w+)")
_ARITHMETIC: Final = re.compile(r"\$\(\(([^()]*(?:\([^()]*\)[^()]*)*)\)\)")
_COMMENT: Final = re.compile(r"(?:^|\s)#.*$", re.MULTILINE)
_DEFAULTS: Final = {
    "tcp_rmem": "4096 540000 15728640", "tcp_wmem": "4096 262144 4194304", "tcp_timestamps": "1",
    "tcp_syn_retries": "5", "tcp_synack_retries": "5", "tcp_frto": "2", "tcp_sack": "1", "tcp_dsack": "1",
    "tcp_fack": "0", "tcp_reordering": "3", "tcp_congestion_control": "cubic", "tcp_slow_start_after_idle": "0",
    "tcp_early_retrans": "4", "tcp_recovery": "1", "tcp_tso_win_divisor": "3",
    "tcp_ecn": "0", "tcp_ecn_option": "2", "tcp_pacing_ss_ratio": "200", "tcp_pacing_ca_ratio": "120",
    "tcp_notsent_lowat": "4294967295", "tcp_fastopen": "0x70403",
    "tcp_fastopen_key": "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4", "tcp_syncookies": "1",
}
"""What packetdrill's ``defaults.sh`` sets, which most scripts for Linux begin with."""


class Commands:
    """The commands of one script."""

    folder: Path | None = None
    """Where the script is: a ``defaults.sh`` that it calls is looked for from there."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.sysctls = Sysctls(machine.engine.sysctl, machine.engine.config)
        self._table: dict[str, Callable[[list[str]], None]] = {
            "set_sysctls.py": self._set_sysctls, "ip": self._ip,
            "ethtool": self._ethtool, "tc": self._tc, "tcpdrop": self._tcpdrop, "rm": self._nothing,
            "dd": self._nothing, "true": self._nothing, "sleep": self._sleep, "echo": self._echo,
            "setkey": self._setkey, "kldload": self._kldload, "kldunload": self._nothing,
        }
        self._printers: dict[str, Callable[[list[str]], str]] = {
            "nstat": lambda words: tables.nstat(machine.engine),
            "ss": lambda words: tables.ss(machine.engine, machine.now_ns, words),
            "sockstat": lambda words: tables.sockstat(machine.engine, machine.now_ns, words),
            "netstat": lambda words: tables.sockstat(machine.engine, machine.now_ns, words),
            "cat": self._cat, "grep": self._grep_files, "sysctl": self._sysctl,
        }

    def run(self, text: str) -> None:
        """Do what a command line means. ``UnsupportedError`` names what is not known; ``MismatchError``: it fails."""
        text = _ARITHMETIC.sub(_calculated, text.replace("\\\n", " "))
        pieces = _SEPARATORS.split(_COMMENT.sub("", text))
        has_failed = False
        for at in range(0, len(pieces), 2):
            line = _REDIRECTION.sub("", _PARAMETER.sub(r"sysctl \2.\3=\1", pieces[at])).strip()
            if not line or (at > 0 and pieces[at - 1] == "||" and not has_failed):
                continue
            has_failed = False
            try:
                self._run_line(line)
            except (UnsupportedError, MismatchError):
                if pieces[at + 1 : at + 2] != ["||"]:
                    raise
                has_failed = True

    def _run_line(self, line: str) -> None:
        stages = [shlex.split(stage) for stage in _split_pipe(line)]
        words = stages[0]
        name = words[0].rpartition("/")[2]
        if name.startswith("sysctl_restore_"):
            self.sysctls.restore()
        elif name in self._printers:
            self._print(line, stages, self._printers[name](words[1:]))
        elif name == "defaults.sh" and len(stages) == 1:
            self._defaults(words[0])
        elif name in self._table and len(stages) == 1:
            self._table[name](words[1:])
        else:
            raise UnsupportedError(f"unknown command: {line}")

    def _print(self, line: str, stages: list[list[str]], text: str) -> None:
        is_found = bool(text) or stages[0][0] != "grep"
        for words in stages[1:]:
            name = words[0].rpartition("/")[2]
            if name == "wc" and words[1:] == ["-l"]:
                text, is_found = f"{len(text.splitlines())}\n", True
                continue
            if name not in ("grep", "egrep", "fgrep"):
                raise UnsupportedError(f"unknown command in a pipe: {' '.join(words)}")
            text, is_found = tables.grep(text, words[1:])
        if not is_found:
            raise MismatchError(f"command failed with status 1: {line}", line, "nothing found")

    # --- each command

    def _defaults(self, path: str) -> None:
        """Do what the ``defaults.sh`` says that lies there. If none does: what packetdrill's says, or that of Linux's
        selftests (``./defaults.sh``), which differs in Fast Open.
        """
        if self.folder is not None and (self.folder / path).is_file():
            self._run_file(self.folder / path)
            return
        own = {"tcp_fastopen": "0x3"} if path == "./defaults.sh" else {}
        for name, value in {**_DEFAULTS, **own}.items():
            with contextlib.suppress(UnsupportedError):  # it can't be set if there is nothing to choose
                self.sysctls.set(f"net.ipv4.{name}", value)

    def _run_file(self, path: Path) -> None:
        """Do each line of a file of commands. As in a shell, a sysctl that can't be set does not end it."""
        text = path.read_text(encoding="utf-8", errors="replace").replace("\\\n", " ")
        for line in text.splitlines():
            try:
                self.run(line)
            except UnsupportedError as error:
                if not line.lstrip().startswith("sysctl "):
                    raise UnsupportedError(f"{path.name}: {error.message}") from None

    def _set_sysctls(self, words: list[str]) -> None:
        """Set what is given as ``/proc/sys/net/ipv4/NAME=VALUE``."""
        for word in words:
            name, _, value = word.partition("=")
            self.sysctls.remember(name)
            self.sysctls.set(name, value)

    def _sysctl(self, words: list[str]) -> str:
        """Set what has a value (``NAME=VALUE``), and print the rest, as ``sysctl`` does."""
        pairs = [word for word in words if not word.startswith("-")]
        at, printed = 0, ""
        while at < len(pairs):
            name, has_value, value = pairs[at].partition("=")
            at += 1
            if not has_value:
                printed += self.sysctls.text(name)
                continue
            while at < len(pairs) and "=" not in pairs[at] and pairs[at].isdecimal():
                value += " " + pairs[at]
                at += 1
            self.sysctls.set(name, value)
        return printed

    def _echo(self, words: list[str]) -> None:
        """Print nothing: no script reads it. Parameters of modules that it sets have become sysctls already."""

    def _ip(self, words: list[str]) -> None:
        words = [word for word in words if word not in ("-4", "-6")]
        if words[:1] == ["tcp_metrics"]:
            if words[1:2] == ["flush"]:
                self.machine.engine.context.fast_open.forget_all()
            return
        if words[:2] not in (["route", "change"], ["route", "replace"], ["route", "add"]) or len(words) < 3:
            raise UnsupportedError(f"unknown command: ip {' '.join(words)}")
        numbers: dict[str, int] = {}
        for name, value in zip(words[3:], words[4:], strict=False):
            if name in ("mtu", "advmss", "initcwnd", "initrwnd", "rto_min") and value.isdecimal():
                numbers[name] = int(value)
            elif name == "lock" and value.isdecimal():
                numbers["mtu"] = int(value)
        self._change_route(words[2], numbers)

    def _change_route(self, prefix: str, numbers: dict[str, int]) -> None:
        text = prefix if "/" in prefix else f"{prefix}/{32 if len(parse_address(prefix)) == 4 else 128}"
        for name in ("initrwnd", "rto_min"):
            if name in numbers:
                raise UnsupportedError(f"ip route: {name} is not kept per route here")
        host = self.machine.engine
        tables.change_route(host, self.machine.interface, text, numbers)

    def _ethtool(self, words: list[str]) -> None:
        """``ethtool -K tun0 tso off``: the device cuts no super-segments.

        Linux's TCP makes them all the same and cuts them before the device; so is it here always.
        """
        if words[:1] != ["-K"]:
            raise UnsupportedError(f"unknown command: ethtool {' '.join(words)}")

    def _tcpdrop(self, words: list[str]) -> None:
        """Drop all connections (``-a``), or those of a state (``-s TIME_WAIT``), with a reset: FreeBSD's tcpdrop(8)."""
        if words != ["-a"] and not (len(words) == 2 and words[0] == "-s" and words[1] in tables.FREEBSD_STATES):
            raise UnsupportedError(f"unknown command: tcpdrop {' '.join(words)}")
        tables.drop(self.machine.engine, words[1] if len(words) > 1 else "", self.machine.now_ns)

    def _setkey(self, words: list[str]) -> None:
        """``setkey -F`` and ``-FP`` forget keys, of which there are none here."""
        if words not in (["-F"], ["-FP"], ["-D"]):
            raise UnsupportedError(f"setkey {' '.join(words)}: there are no keys here, for MD5 (RFC 2385) or IPsec")

    def _kldload(self, words: list[str]) -> None:
        """Loading a module changes nothing, but one that would bring what is not here is refused by name."""
        for word in words:
            if any(part in word for part in ("md5", "ipsec", "tcp_rack", "tcp_bbr")):
                raise UnsupportedError(f"kldload {word}: there is nothing of that kind here")

    def _sleep(self, words: list[str]) -> None:
        self.machine.advance(self.machine.now_ns + int(float(words[0]) * 1e9))

    def _tc(self, words: list[str]) -> None:
        """``tc qdisc replace dev tun0 root fq`` paces connections; ``… limit 0`` is a queue that refuses every packet.
        Others change nothing in a stack.
        """
        if words[-1:] == ["fq"]:
            self.machine.engine.context.config.tcp_pacing = True
        if words[:2] in (["qdisc", "add"], ["qdisc", "replace"], ["qdisc", "change"], ["qdisc", "del"],
                         ["qdisc", "delete"]):
            self.machine.is_refusing = words[-2:] == ["limit", "0"]

    def _nothing(self, words: list[str]) -> None:
        """Do nothing: queueing disciplines and files are no part of a stack."""

    # --- printing

    def _cat(self, words: list[str]) -> str:
        return "".join(tables.proc_file(self.machine.engine, self.machine.now_ns, word) for word in words)

    def _grep_files(self, words: list[str]) -> str:
        paths = [word for word in words if word.startswith("/proc/")]
        if not paths:
            raise UnsupportedError(f"unknown command: grep {' '.join(words)}")
        return tables.grep(self._cat(paths), [word for word in words if word not in paths])[0]


def _calculated(found: re.Match[str]) -> str:
    """Calculate what a shell would in ``$((…))``: whole numbers only."""
    try:
        return str(_number(ast.parse(found[1].strip(), mode="eval").body))
    except (SyntaxError, ZeroDivisionError, ValueError):
        raise UnsupportedError(f"unknown arithmetic: {found[0]}") from None


def _number(node: ast.expr) -> int:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_number(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _number(node.left), _number(node.right)
        if isinstance(node.op, ast.LShift | ast.Pow) and right > 64:
            raise ValueError(right)
        return _OPERATORS[type(node.op)](left, right)
    raise ValueError(node)


_OPERATORS: Final[dict[type[ast.operator], Callable[[int, int], int]]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.floordiv,
    ast.Mod: operator.mod, ast.LShift: operator.lshift, ast.RShift: operator.rshift, ast.Pow: operator.pow,
    ast.BitAnd: operator.and_, ast.BitOr: operator.or_,
}


def _split_pipe(line: str) -> list[str]:
    """Cut at ``|`` outside of quotes."""
    stages, quote = [""], ""
    for letter in line:
        if letter == "|" and not quote:
            stages.append("")
            continue
        if letter in "'\"":
            quote = "" if letter == quote else quote or letter
        stages[-1] += letter
    return [stage.strip() for stage in stages]
