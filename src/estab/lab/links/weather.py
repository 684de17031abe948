"""Weather: what chance did to named frames, and the same again without chance.

- A frame is named by what it is, not by its number: between which programs, in which connection, with which flags and
  relative sequence number, in its n-th transmission. So a name means the same frame in another run, as long as the
  programs do the same until then.
- A ``ChanceLog`` lets chance decide, and notes what it decided, by frame.
- A ``FixedWeather`` decides without chance: exactly what its ``Weather`` names happens, and nothing else.
- A ``MixedWeather`` lets chance decide as without it, draw by draw, and what its ``Weather`` names happens besides.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Final, Protocol

from estab.errors import WireError
from estab.lab.record.chance import Chance
from estab.units import duration_ns, format_duration
from estab.wire import arp, ethernet, icmp, ip, tcp, udp
from estab.wire.address import format_address

__all__ = ["KINDS", "ChanceLog", "Decider", "FixedWeather", "Happening", "MixedWeather", "Namer", "Weather",
           "ordinal"]

KINDS: Final = ("lost", "damaged", "copied", "held", "late")
"""What may happen to a frame, in the order in which a link does it."""
_ORDINALS: Final = {1: "st", 2: "nd", 3: "rd"}
_COPY: Final = ", its copy"


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened to one frame. ``value``: the bit damaged, the frames that overtook, nanoseconds late."""

    kind: str
    name: str
    value: int = 0

    def __str__(self) -> str:
        said = {
            "lost": "lost", "copied": "delivered twice", "damaged": f"bit {self.value} flipped",
            "held": f"overtaken by {self.value}", "late": f"{format_duration(abs(self.value))} "
            f"{'later' if self.value >= 0 else 'earlier'} than the link's delay",
        }[self.kind]
        return f"{self.name}, {said}"


@dataclass(frozen=True, slots=True)
class Weather:
    """All that happens to frames in a run without chance, and the actions of ``Network.at`` that are left out.

    With ``has_chance`` chance decides too, as the links' properties say, and what is named here happens besides.

    ``lost`` and ``copied`` name frames; ``damaged`` says which bit flips, ``held`` how many frames overtake it,
    ``late`` by how much the frame is later than the link's delay (nanoseconds; negative: earlier); ``skipped`` names
    actions as ``"5s wifi.cut"``.
    """

    lost: frozenset[str] = frozenset()
    copied: frozenset[str] = frozenset()
    damaged: Mapping[str, int] = field(default_factory=dict)
    held: Mapping[str, int] = field(default_factory=dict)
    late: Mapping[str, int] = field(default_factory=dict)
    skipped: frozenset[str] = frozenset()
    has_chance: bool = False

    @classmethod
    def of(cls, happenings: Iterable[Happening], skipped: Iterable[str] = ()) -> Weather:
        """Make the weather in which just these things happen."""
        sets: dict[str, dict[str, int]] = {kind: {} for kind in KINDS}
        for one in happenings:
            sets[one.kind][one.name] = one.value
        return cls(frozenset(sets["lost"]), frozenset(sets["copied"]), sets["damaged"], sets["held"], sets["late"],
                   frozenset(skipped))

    @classmethod
    def read(cls, words: Mapping[str, Any]) -> Weather:
        """Read the table that ``words`` writes: a dictionary, or ``[weather]`` of a scenario file.

        ``TypeError`` or ``ValueError`` for what is no weather, with what would be right.
        """
        known = {*KINDS, "skipped", "chance"}
        unknown = [name for name in words if name not in known]
        if unknown:
            raise TypeError(f"weather: there is no {unknown[0]!r}; it has {', '.join(sorted(known))}")
        lists = {name: _names(name, words.get(name, [])) for name in ("lost", "copied", "skipped")}
        numbers = {name: _numbers(name, words.get(name, {})) for name in ("damaged", "held")}
        has_chance = words.get("chance", False)
        if not isinstance(has_chance, bool):
            raise TypeError(f"weather: chance: {has_chance!r} is neither true nor false")
        late = words.get("late", {})
        if not isinstance(late, Mapping):
            raise TypeError(f"weather: late: {late!r} is not a table of frames and times")
        return cls(lists["lost"], lists["copied"], numbers["damaged"], numbers["held"],
                   {str(name): _signed_ns(value) for name, value in late.items()}, lists["skipped"], has_chance)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Weather:
        """Read ``[weather]`` of a scenario file. ``ValueError`` if it has none, ``OSError`` if it can't be read."""
        with open(path, "rb") as file:
            words = tomllib.load(file)
        if not isinstance(words.get("weather"), dict):
            raise ValueError(f"{path}: there is no table [weather] in it")
        return cls.read(words["weather"])

    def words(self) -> dict[str, Any]:
        """Write it as a dictionary of plain values, sorted, without what is empty; ``read`` takes it back."""
        found: dict[str, Any] = {
            "chance": self.has_chance, "lost": sorted(self.lost), "copied": sorted(self.copied),
            "damaged": dict(sorted(self.damaged.items())),
            "held": dict(sorted(self.held.items())),
            "late": {name: ("-" if ns < 0 else "") + f"{abs(ns)}ns" for name, ns in sorted(self.late.items())},
            "skipped": sorted(self.skipped),
        }
        return {name: value for name, value in found.items() if value}

    def happenings(self) -> list[Happening]:
        """List what happens, in a fixed order."""
        return [
            *(Happening("lost", name) for name in sorted(self.lost)),
            *(Happening("copied", name) for name in sorted(self.copied)),
            *(Happening("damaged", name, value) for name, value in sorted(self.damaged.items())),
            *(Happening("held", name, value) for name, value in sorted(self.held.items())),
            *(Happening("late", name, value) for name, value in sorted(self.late.items())),
        ]

    def lines(self) -> list[str]:
        """Tell it in English, a line each; transmissions of the same frame that share an outcome share a line."""
        grouped: dict[tuple[str, str], list[int]] = {}
        singles: list[str] = []
        for one in self.happenings():
            base, sep, last = one.name.rpartition(", ")
            number = last.partition(" ")[0].rstrip("stndrh")
            if one.kind in ("lost", "copied") and sep and number.isdecimal():
                grouped.setdefault((one.kind, base + "\0" + last.partition(" ")[2]), []).append(int(number))
            else:
                singles.append(str(one))
        lines = []
        for (kind, key), numbers in grouped.items():
            base, _, rest = key.partition("\0")
            lines.append(str(Happening(kind, f"{base}, {_and([ordinal(n) for n in sorted(numbers)])} {rest}")))
        return [*lines, *singles]


class Way(Protocol):
    """What weather needs of one direction of a link: its names, and the bytes before an IP packet."""

    link: str
    sender: str
    header_bytes: int


class Decider(Protocol):
    """Decides what happens to each frame, stage by stage. ``name`` is what ``meet`` returned for the frame."""

    def meet(self, way: Way, frame: bytes) -> str:
        """Name a frame that a link carries now."""

    def loses(self, name: str, draw: Callable[[], bool] | None) -> bool:
        """Decide whether it is lost."""

    def damages(self, name: str, share: float, bits: int, chance: Chance) -> int:
        """Decide which of its ``bits`` flips, -1 for none. With 0 bits there is no choice: it is bit 0."""

    def copies(self, name: str, share: float, chance: Chance) -> bool:
        """Decide whether it is delivered twice."""

    def holds(self, name: str, share: float, overtakers_max: int, chance: Chance) -> int:
        """Decide how many later frames overtake it, 0 for none."""

    def late_ns(self, name: str, draw: Callable[[], int] | None) -> int:
        """Decide how much later than the link's delay it arrives."""


class ChanceLog:
    """Chance decides; what it decided is noted in ``happenings``."""

    def __init__(self, namer: Namer) -> None:
        self.happenings: list[Happening] = []
        self._namer = namer

    def meet(self, way: Way, frame: bytes) -> str:
        """Name a frame that a link carries now."""
        return self._namer.name(way, frame)

    def loses(self, name: str, draw: Callable[[], bool] | None) -> bool:
        """Draw, and note a loss."""
        return draw is not None and self._note(draw(), "lost", name)

    def damages(self, name: str, share: float, bits: int, chance: Chance) -> int:
        """Draw, and note the bit."""
        if not share or not chance.happens(share):
            return -1
        bit = chance.between(0, bits - 1) if bits else 0
        self._note(True, "damaged", name, bit)
        return bit

    def copies(self, name: str, share: float, chance: Chance) -> bool:
        """Draw, and note a copy."""
        return bool(share) and self._note(chance.happens(share), "copied", name)

    def holds(self, name: str, share: float, overtakers_max: int, chance: Chance) -> int:
        """Draw, and note how many overtake."""
        if not share or not chance.happens(share):
            return 0
        overtakers = chance.between(1, overtakers_max)
        self._note(True, "held", name, overtakers)
        return overtakers

    def late_ns(self, name: str, draw: Callable[[], int] | None) -> int:
        """Draw, and note the difference."""
        late_ns = draw() if draw is not None else 0
        self._note(late_ns != 0, "late", name, late_ns)
        return late_ns

    def _note(self, is_so: bool, kind: str, name: str, value: int = 0) -> bool:
        if is_so:
            self.happenings.append(Happening(kind, name, value))
        return is_so


class FixedWeather:
    """Exactly what ``weather`` names happens. ``met`` collects the names of it that occurred."""

    def __init__(self, weather: Weather, namer: Namer) -> None:
        self.weather = weather
        self.planned: Collection[str] = ()
        """The actions that were planned, skipped or not, as ``skipped`` names them."""
        self.met: set[str] = set()
        self.hear: Callable[[Way, bytes, str], object] | None = None
        """Told of each frame that is named, with its name."""
        self._namer = namer
        self._named = {*weather.lost, *weather.copied, *weather.damaged, *weather.held, *weather.late}

    def meet(self, way: Way, frame: bytes) -> str:
        """Name a frame that a link carries now."""
        name = self._namer.name(way, frame)
        if name in self._named:
            self.met.add(name)
        if self.hear is not None:
            self.hear(way, frame, name)
        return name

    def missed(self) -> list[str]:
        """List what the weather names and never was: frames that were not sent, actions that were not planned.

        The run went differently, or a name is wrong.
        """
        frames = self._named - self.met - {name for name in self._named if name.endswith(_COPY)}
        return sorted(frames) + sorted(self.weather.skipped.difference(self.planned))

    def loses(self, name: str, draw: Callable[[], bool] | None) -> bool:
        """Look it up."""
        return name in self.weather.lost

    def damages(self, name: str, share: float, bits: int, chance: Chance) -> int:
        """Look it up; a bit beyond a shorter frame's end is its last one."""
        return min(self.weather.damaged.get(name, -1), max(bits - 1, 0))

    def copies(self, name: str, share: float, chance: Chance) -> bool:
        """Look it up."""
        return name in self.weather.copied

    def holds(self, name: str, share: float, overtakers_max: int, chance: Chance) -> int:
        """Look it up."""
        return self.weather.held.get(name, 0)

    def late_ns(self, name: str, draw: Callable[[], int] | None) -> int:
        """Look it up."""
        return self.weather.late.get(name, 0)


class MixedWeather(FixedWeather):
    """Chance decides, and what ``weather`` names happens besides. Chance is drawn for each frame as it is without."""

    def loses(self, name: str, draw: Callable[[], bool] | None) -> bool:
        """Draw, and look it up."""
        is_drawn = draw is not None and draw()
        return is_drawn or super().loses(name, draw)

    def damages(self, name: str, share: float, bits: int, chance: Chance) -> int:
        """Draw; the bit that is named goes first."""
        drawn = -1
        if share and chance.happens(share):
            drawn = chance.between(0, bits - 1) if bits else 0
        named = super().damages(name, share, bits, chance)
        return named if named >= 0 else drawn

    def copies(self, name: str, share: float, chance: Chance) -> bool:
        """Draw, and look it up."""
        is_drawn = bool(share) and chance.happens(share)
        return is_drawn or super().copies(name, share, chance)

    def holds(self, name: str, share: float, overtakers_max: int, chance: Chance) -> int:
        """Draw; the number that is named goes first."""
        drawn = chance.between(1, overtakers_max) if share and chance.happens(share) else 0
        return super().holds(name, share, overtakers_max, chance) or drawn

    def late_ns(self, name: str, draw: Callable[[], int] | None) -> int:
        """Draw; the time that is named goes first."""
        drawn = draw() if draw is not None else 0
        return self.weather.late.get(name, drawn)


class Namer:
    """Names frames, link by link, in the order in which links carry them.

    ``host_of`` gives the name of an address, ``link_count`` says whether a link has to be named.
    """

    def __init__(self, host_of: Callable[[bytes], str], link_count: Callable[[], int]) -> None:
        self._host_of = host_of
        self._link_count = link_count
        self._connections: dict[tuple[bytes, int, bytes, int], _Connection] = {}
        self._opened: dict[tuple[str, str, int], int] = {}
        """How many connections there were between two hosts, of both IP versions and all their addresses."""
        self._times: dict[tuple[str, str, str], int] = {}

    def name(self, way: Way, frame: bytes) -> str:
        """Name a frame that ``way`` carries now. Never raises, whatever the bytes."""
        try:
            base, word = self._what(frame, way.header_bytes)
        except WireError:
            base, word = f"{way.sender}: {len(frame)} bytes that are no packet", "transmission"
        if self._link_count() > 1:
            base = f"{base}, on {way.link} from {way.sender}"
        key = (way.link, way.sender, base)
        times = self._times[key] = self._times.get(key, 0) + 1
        return f"{base}, {ordinal(times)} {word}"

    @staticmethod
    def copy(name: str) -> str:
        """Name the copy that a link made of a frame."""
        return name + _COPY

    def _what(self, frame: bytes, header_bytes: int) -> tuple[str, str]:
        start = 0
        if header_bytes:
            parsed = ethernet.parse(frame)
            start = parsed.start
            if parsed.ethertype == ethernet.ARP:
                message = arp.parse(frame, start)
                asks = "who has" if message.operation == arp.REQUEST else "answer for"
                return f"{self._host(message.sender)}: ARP {asks} {self._host(message.target)}", "time"
        packet = ip.parse(frame, start)
        source, target = self._host(packet.src), self._host(packet.dst)
        if packet.fragment_offset or packet.more_fragments:
            return f"{source} > {target}: fragment at {packet.fragment_offset}", "time"
        if packet.protocol == ip.TCP:
            return self._segment(packet, source, target)
        if packet.protocol == ip.UDP:
            datagram = udp.parse(packet, True)
            ends = f"{source}:{datagram.sport}" if datagram.sport < datagram.dport else source
            to = f"{target}:{datagram.dport}" if datagram.dport <= datagram.sport else target
            return f"{ends} > {to}: datagram of {datagram.end - datagram.start} bytes", "time"
        if packet.protocol in (ip.ICMP, ip.ICMPV6):
            return f"{source} > {target}: {_icmp_text(packet)}", "time"
        return f"{source} > {target}: protocol {packet.protocol}", "time"

    def _segment(self, packet: ip.Packet, source: str, target: str) -> tuple[str, str]:
        segment = tcp.parse(packet, True)
        flags, length = segment.flags, tcp.text_length(segment)
        here, there = (packet.src, segment.sport), (packet.dst, segment.dport)
        connection = self._connections.get((*here, *there))
        is_first_syn = bool(flags & tcp.SYN) and not flags & tcp.ACK
        seq = int(segment.seq)
        if connection is None or (is_first_syn and connection.is_other(here, seq)):
            connection = self._open(here, there, is_first_syn)
        base = connection.base_of(here, seq, bool(flags & tcp.SYN))
        place = (seq - base) & 0xFFFFFFFF
        ends = (f"{source} > {target}:{there[1]}" if here == connection.client
                else f"{source}:{here[1]} > {target}")
        what = self._what_segment(flags, place, length, connection, there, int(segment.ack))
        return f"{ends}, connection {connection.number}: {what}", "transmission"

    @staticmethod
    def _what_segment(flags: int, place: int, length: int, connection: _Connection, there: tuple[bytes, int],
                      ack: int) -> str:
        if flags & tcp.RST:
            return f"RST at {place}"
        if flags & tcp.SYN:
            return "SYN, ACK" if flags & tcp.ACK else "SYN"
        if length:
            return f"text from {place}" + (" with FIN" if flags & tcp.FIN else "")
        if flags & tcp.FIN:
            return f"FIN at {place}"
        return f"ACK of {(ack - connection.base_of(there, ack, False)) & 0xFFFFFFFF}"

    def _open(self, here: tuple[bytes, int], there: tuple[bytes, int], is_by_syn: bool) -> _Connection:
        """Count a connection: the sender of the first SYN is its client, else the end with the higher port."""
        client, server = (here, there) if is_by_syn or here[1] >= there[1] else (there, here)
        key = (self._host(client[0]), self._host(server[0]), server[1])
        number = self._opened[key] = self._opened.get(key, 0) + 1
        found = _Connection(number, client)
        self._connections[(*here, *there)] = self._connections[(*there, *here)] = found
        return found

    def _host(self, address: bytes) -> str:
        return self._host_of(address) or format_address(address)


class _Connection:
    """One connection: its number between its hosts, its client's end, and where each end's numbers begin."""

    def __init__(self, number: int, client: tuple[bytes, int]) -> None:
        self.number = number
        self.client = client
        self._bases: dict[tuple[bytes, int], int] = {}

    def is_other(self, here: tuple[bytes, int], seq: int) -> bool:
        """Tell whether a SYN with this number opens another connection on the same ports."""
        return here == self.client and self._bases.get(here, seq) != seq

    def base_of(self, end: tuple[bytes, int], seq: int, is_syn: bool) -> int:
        """Return the number that an end's SYN has, as far as it is known: else the first that was seen, less one."""
        if is_syn:
            self._bases[end] = seq
        return self._bases.setdefault(end, (seq - 1) & 0xFFFFFFFF)


def _icmp_text(packet: ip.Packet) -> str:
    kind = packet.data[packet.start] if packet.end > packet.start else 0
    try:
        message = icmp.parse(packet, True)
    except WireError:
        return f"ICMP type {kind}"
    if isinstance(message, icmp.Echo):
        return "ICMP echo reply" if message.is_reply else "ICMP echo request"
    return f"ICMP type {kind}"


def ordinal(number: int) -> str:
    """Write 1 as ``1st``, 2 as ``2nd``, 11 as ``11th``."""
    return f"{number}{'th' if number % 100 in (11, 12, 13) else _ORDINALS.get(number % 10, 'th')}"


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _names(name: str, given: object) -> frozenset[str]:
    names = () if isinstance(given, (str, Mapping)) or not isinstance(given, Iterable) else tuple(given)
    if given and not (names and all(isinstance(one, str) for one in names)):
        raise TypeError(f"weather: {name}: {given!r} is not a list of {'actions' if name == 'skipped' else 'frames'}, "
                        "each by its name")
    return frozenset(names)


def _numbers(name: str, given: object) -> dict[str, int]:
    if not isinstance(given, Mapping) or not all(
            isinstance(key, str) and type(value) is int and value >= 0 for key, value in given.items()):
        raise TypeError(f"weather: {name}: {given!r} is not a table of frames and numbers")
    return {str(key): int(value) for key, value in given.items()}


def _signed_ns(value: object) -> int:
    text = str(value).strip()
    return -duration_ns(text[1:], "late") if text.startswith("-") else duration_ns(text, "late")
