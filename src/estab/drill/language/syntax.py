"""The syntax tree of a script. Everything is frozen; times are nanoseconds, and ``None`` means "the script is silent".

A structure in a call (``{fd=3, events=POLLIN}``) is kept as the fields that were written, in their order: which
structure it is, is for the call to know. That covers both dialects with one node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from estab.drill.errors import Place

__all__ = [
    "Action", "Array", "Blank", "Call", "Code", "Command", "Encapsulation", "Event", "Expression", "Field",
    "FunctionCall", "IcmpPacket", "IpInfo", "Option", "Or", "PacketAction", "Quote", "Script", "Sequence", "Structure",
    "TcpOption", "TcpPacket", "Text", "UdpPacket", "When", "Word",
]

# --- expressions


@dataclass(frozen=True, slots=True)
class Blank:
    """``...``: whatever it is."""


@dataclass(frozen=True, slots=True)
class Word:
    """A name: a constant of C, or a word of the script's own."""

    name: str


@dataclass(frozen=True, slots=True)
class Text:
    """A string, its escapes not yet read. ``is_prefix``: ``"abc"...``."""

    raw: str
    is_prefix: bool = False


@dataclass(frozen=True, slots=True)
class Or:
    """``A|B``."""

    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Array:
    """``[a, b]``."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a structure: ``name=value``, ``name(size)=value``, or a bare value (``name`` is then empty)."""

    name: str
    value: Expression
    size: Expression | None = None


@dataclass(frozen=True, slots=True)
class Structure:
    """``{...}``."""

    fields: tuple[Field, ...]

    def get(self, *names: str) -> Expression | None:
        """Find the field of one of these names."""
        return next((field.value for field in self.fields if field.name in names), None)


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """``htons(80)``, ``inet_addr("192.0.2.1")``."""

    name: str
    argument: Expression


Expression = int | Blank | Word | Text | Or | Array | Structure | FunctionCall | Field

# --- packets


@dataclass(frozen=True, slots=True)
class IpInfo:
    """What a packet says of its IP header. ``ecn`` is ``noecn``, ``ect0``, ``ect1``, ``ce`` or ``ect01`` (either)."""

    ecn: str | None = None
    tos: int | None = None
    dscp: int | None = None
    flow_label: int | None = None
    ttl: int | None = None


@dataclass(frozen=True, slots=True)
class Encapsulation:
    """An outer header. ``kind`` is ``ipv4``, ``ipv6``, ``gre`` or ``mpls``; ``details`` are what was written of it."""

    kind: str
    source: str = ""
    destination: str = ""
    details: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Sequence:
    """``start:end(length)``. ``is_absolute``: the number as it is on the wire; not ``is_checked``: any will do."""

    start: int
    length: int
    is_absolute: bool = False
    is_checked: bool = True


@dataclass(frozen=True, slots=True)
class TcpOption:
    """A TCP option by name, with its numbers or its octets.

    ``value`` by name: ``mss``, ``wscale``: one number; ``sack``: edges in turn; ``TS``: val and ecr (``None``: any);
    ``ECN0``, ``ECN1``: counters in order; all others: nothing, and octets in ``data``.
    """

    name: str
    numbers: tuple[int | None, ...] = ()
    data: bytes = b""
    kind: int = 0
    """For an option written by number."""
    is_absolute: bool = False


@dataclass(frozen=True, slots=True)
class TcpPacket:
    """A TCP segment. ``options`` is ``None`` for ``<...>``. ``ace`` replaces the three ECN flags by their number."""

    flags: int
    ace: int | None
    sequence: Sequence
    ack: int | None
    win: int | None
    urg: int | None
    options: tuple[TcpOption, ...] | None
    ports: tuple[int, int] | None = None
    psp_spi: int | None = None
    reset_diagnosis: tuple[int, int] | None = None
    udp_ports: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class UdpPacket:
    """A UDP datagram of ``length`` octets."""

    length: int
    ports: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Quote:
    """What an ICMP error quotes: ``protocol`` is ``tcp``, ``udp`` or ``raw``."""

    protocol: str
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class IcmpPacket:
    """An ICMP message: names as the script has them, resolved by IP version when it runs."""

    type: str
    code: str
    mtu: int | None
    ident: int | None
    quote: Quote | None


@dataclass(frozen=True, slots=True)
class PacketAction:
    """``<``: inject, ``>``: expect."""

    is_inbound: bool
    outer: tuple[Encapsulation, ...]
    ip: IpInfo
    packet: TcpPacket | UdpPacket | IcmpPacket


# --- events


@dataclass(frozen=True, slots=True)
class Call:
    """A system call, its result and its errno's name. ``end_ns``: it blocks, and returns then."""

    name: str
    arguments: tuple[Expression, ...]
    result: Expression
    errno: str
    end_ns: int | None
    text: str
    """As the script writes it."""


@dataclass(frozen=True, slots=True)
class Command:
    """A shell command, which is looked up and never run."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """A piece of Python."""

    text: str


Action = PacketAction | Call | Command | Code


@dataclass(frozen=True, slots=True)
class When:
    """When an event is. ``end_ns`` makes it a range."""

    kind: Literal["absolute", "relative", "any"]
    start_ns: int = 0
    end_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happens."""

    place: Place
    when: When
    action: Action


@dataclass(frozen=True, slots=True)
class Option:
    """``--name=value``; the value is empty if there is none."""

    place: Place
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Script:
    """A whole script: options, first command, events, last command."""

    path: str
    source: str
    options: tuple[Option, ...]
    first: Command | None
    events: tuple[Event, ...]
    last: Command | None

    def line(self, number: int) -> str:
        """Return a line of the source."""
        lines = self.source.splitlines()
        return lines[number - 1] if 0 < number <= len(lines) else ""
