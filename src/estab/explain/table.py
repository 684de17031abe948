"""Every word that estab knows of Linux's TCP: what it is, what causes it, how to see it and what to do."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from estab.counters import COUNTER_NAMES
from estab.errors import DropReason
from estab.explain.counters import COUNTERS
from estab.explain.drops import DROPS
from estab.explain.field import FIELD
from estab.explain.options import OPTIONS
from estab.explain.shown import SHOWN
from estab.explain.sysctls import SYSCTLS
from estab.explain.words import ERRNOS, STATES
from estab.host.sysctls import TABLE, Sysctl

__all__ = ["KINDS", "UNWRITTEN", "Term", "find", "near", "terms"]

KINDS: Final = {
    "state": "States of a connection", "errno": "Errors of calls", "option": "Socket options", "sysctl": "Sysctls",
    "counter": "Counters", "drop": "Reasons why a packet was dropped",
}
_LEVELS: Final = {"SO": "SOL_SOCKET", "TCP": "IPPROTO_TCP", "IP": "IPPROTO_IP", "IPV6": "IPPROTO_IPV6",
                  "MCAST": "IPPROTO_IP", "UDP": "IPPROTO_UDP"}
_SIX: Final = {"Ip6": "Ip", "Icmp6": "Icmp", "Udp6": "Udp"}
_PREFIXES: Final = ("TcpExt", "IpExt", "Ip6", "Icmp6", "Udp6", "Icmp", "Udp", "Tcp", "Ip")
_NONE: Final = ("", "-", "none")
UNWRITTEN: Final = "not explained yet"
"""The text in place of a missing row; a test names each that is missing."""


@dataclass(frozen=True, slots=True)
class Term:
    """One word. ``shown`` names the scene of the lab that shows it; empty if there is none."""

    name: str
    kind: str
    what: str
    causes: str
    see: str
    do: str
    shown: str = ""

    @property
    def short(self) -> str:
        """The name as people write it: without ``TcpExt`` and ``net.ipv4.``."""
        if self.kind == "sysctl":
            return self.name.rpartition(".")[2]
        if self.kind == "counter":
            prefix = next((one for one in _PREFIXES if self.name.startswith(one)), "")
            return self.name[len(prefix):]
        return self.name


def _rows(text: str, columns: int) -> Iterator[list[str]]:
    # A line that begins with spaces belongs to the row before it.
    for line in text.strip().replace("\n    ", " ").splitlines():
        cells = [cell.strip() for cell in line.split(" | ")]
        assert len(cells) == columns, line
        yield cells


@cache
def terms() -> dict[tuple[str, str], Term]:
    """Return all terms by kind and name, in the order of ``KINDS``."""
    found = [*_states(), *_errnos(), *_options(), *_sysctls(), *_counters(), *_drops()]
    return {(term.kind, term.name): term for term in found}


def find(word: str) -> list[Term]:
    """Find what a word means: as it is written, then with capitals, ``-`` and ``_`` forgiven. Several may be meant.

    Words of the field (``half-close``) and error messages (``Broken pipe``) give what explains them.
    """
    word = word.removeprefix("drop:").removeprefix("/proc/sys/").replace("/", ".") if "/" in word else (
        word.removeprefix("drop:"))
    known = list(terms().values())
    exact = [term for term in known if word in (term.name, term.short)]
    plain = _plain(word)
    alike = exact or [term for term in known if plain in (_plain(term.name), _plain(term.short))]
    return alike or [term for name in _of_field().get(plain, ()) for term in find(name)]


@cache
def _of_field() -> dict[str, list[str]]:
    """Give the names for each word of the field and each message of the system, both plain."""
    found = {_plain(os.strerror(number)): [name] for kind, name in terms()
             if kind == "errno" and (number := getattr(errno, name, None)) is not None}
    return found | {_plain(said): names.split() for said, names in _rows(FIELD, 2)}


def near(word: str, most: int = 5) -> list[str]:
    """Suggest names that look like a word, or contain it."""
    by_plain: dict[str, str] = {}
    for term in terms().values():
        by_plain.setdefault(_plain(term.short), term.short)
    plain = _plain(word)
    close = difflib.get_close_matches(plain, by_plain, most, 0.72)
    inside = [name for name in by_plain if len(plain) > 3 and plain in name]
    return [by_plain[name] for name in dict.fromkeys([*close, *inside])][:most]


def _plain(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "").replace(".", "").replace(" ", "")


def _term(name: str, kind: str, what: str, causes: str, see: str, do: str) -> Term:
    if do in _NONE:
        do = "" if kind == "option" else "nothing needs to be done"
    causes = "" if causes in _NONE else causes
    return Term(name, kind, what, causes, see, do, SHOWN.get(f"{kind}:{name}", ""))


def _states() -> Iterator[Term]:
    for name, what, causes, see, do in _rows(STATES, 5):
        yield _term(name, "state", what, causes, see, do)


def _errnos() -> Iterator[Term]:
    for name, what, causes, see, do in _rows(ERRNOS, 5):
        number = getattr(errno, name, None)
        text = f" ({os.strerror(number).lower()}, {number})" if number is not None else ""
        yield _term(name, "errno", what + text, causes, "" if see == "-" else see, do)


def _options() -> Iterator[Term]:
    for name, what, wanted, mind in _rows(OPTIONS, 4):
        level = _LEVELS[name.partition("_")[0]]
        yield _term(name, "option", what, wanted,
                    f"getsockopt({level}, {name})", mind)


def _sysctls() -> Iterator[Term]:
    rows = {name: (who, mind) for name, who, mind in _rows(SYSCTLS, 3)}
    for row in TABLE:
        who, mind = rows.get(row.name.rpartition(".")[2], ("-", "-"))
        do = "leave the default, unless a measurement says otherwise" if mind == "-" else mind
        yield _term(row.name, "sysctl", _effect(row), who, _see_sysctl(row), do)


def _effect(row: Sysctl) -> str:
    unit = "" if row.unit in ("count", "flag", "choice", "bits", "name", "names", "text") else f" (in {row.unit})"
    return row.effect.replace("`", "") + unit


def _see_sysctl(row: Sysctl) -> str:
    if row.name.startswith("net."):
        return f"sysctl {row.name}; in the lab host.sysctl[{row.name!r}]"
    return f"in the lab host.sysctl[{row.name!r}]"


def _counters() -> Iterator[Term]:
    rows = {name: (what, causes, do) for name, what, causes, do in _rows(COUNTERS, 4)}
    for name in COUNTER_NAMES:
        of_six = next((six for six in _SIX if name.startswith(six)), "")
        row = rows.get(name)
        if row is None and of_six:
            rest = name[len(of_six):]
            row = rows.get(_SIX[of_six] + rest) or rows.get(f"{_SIX[of_six]}Ext{rest}")
            row = None if row is None else (f"{row[0]}; IPv6's", row[1], row[2])
        if row is None:
            row = (UNWRITTEN, "-", "-")
        linux = f"nstat -az {name}; " if not name.startswith("Estab") else ""
        do = "nothing: it counts traffic" if row[2] == "-" else row[2]
        yield _term(name, "counter", row[0], row[1], f"{linux}in the lab host.counters()[{name!r}]", do)


def _drops() -> Iterator[Term]:
    rows = {name: (causes, do) for name, causes, do in _rows(DROPS, 3)}
    for reason in DropReason:
        causes, do = rows.get(reason.name, (UNWRITTEN, "-"))
        yield _term(reason.name, "drop", reason.value, causes,
                    f"in the lab host.counters()['drop:{reason.name}'], or the story of a run; on Linux "
                    "perf trace -e skb:kfree_skb", do)
