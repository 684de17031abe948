"""What a chapter of the tour is: a question, and scenes that answer it by being played.

- A scene runs real programs on a network of its own and says nothing about how it ends. What is told of it afterwards
  comes from the facts that its recorder holds.
- ``Stage.found`` takes a sentence only together with the facts that it states: build it from records, under the
  condition that makes it true.
- ``analysis`` names what a protocol analyser finds in the chapter's capture because the chapter does it on purpose:
  with the default seed exactly these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from estab.errors import DropReason
from estab.events import Event, StateChanged
from estab.lab.host import Host
from estab.lab.link import Link
from estab.lab.network import Network
from estab.observe.dissect import Summary, dissect
from estab.observe.recorder import CallRecord, Recorder, flow
from estab.sockets.socket.options import option_number
from estab.sockets.socket.socket import Socket
from estab.units import format_duration

__all__ = ["Chapter", "Played", "Scene", "Stage", "option", "times", "took", "when"]

F = TypeVar("F", bound=Event)
S = TypeVar("S")


class Stage:
    """Where a scene is played: a network, and its recorder."""

    def __init__(self, net: Network, recorder: Recorder) -> None:
        self.net = net
        self.recorder = recorder
        self.findings: list[str] = []
        self._kept: list[object] = []

    # --- setting it up

    def pair(self, **conditions: Any) -> tuple[Host, Host, Link]:
        """Make a client and a server with a cable between them."""
        client, server = self.net.host("client"), self.net.host("server")
        return client, server, self.net.link(client, server, name="cable", **conditions)

    def keep(self, thing: S) -> S:
        """Keep a socket open until the scene is over, whatever the program that made it does."""
        self._kept.append(thing)
        if isinstance(thing, Socket):
            thing.runtime.disown(thing.descriptor)
        return thing

    def lose(self, link: Link, sender: Host, is_it: Callable[[Summary], bool], *, times: int = 1) -> None:
        """Let a link drop the first ``times`` frames from a host for which ``is_it`` is true."""
        left = times

        def rule(host: str, data: bytes) -> DropReason | None:
            nonlocal left
            if left == 0 or host != sender.name or not is_it(dissect(data)):
                return None
            left -= 1
            return DropReason.LINK_RULE

        link.rule(rule)

    def internet(self, host: Host, link: Link, beyond: Host) -> None:
        """Make a host send packets for unknown destinations over a link, as to the Internet."""
        way = link.there if link.ends[0] is host else link.back
        index = host.runtime.index_of(way)
        address = next(address for address in beyond.addresses if "." in address)
        host.engine.add_route("0.0.0.0/0", host.engine.interfaces[index], address)

    # --- what came of it

    def found(self, sentence: str) -> None:
        """Add what follows from the facts of this run."""
        self.findings.append(sentence)

    def calls(self, host: Host, name: str = "") -> list[CallRecord]:
        """Return the calls that a host's programs made."""
        return self.recorder.calls(host.name, name=name)

    def facts(self, kind: type[F], host: Host | None = None) -> Iterator[F]:
        """Return the facts of a kind, in order."""
        for fact in self.recorder.facts:
            if isinstance(fact, kind) and (host is None or fact.host == host.name):
                yield fact

    def found_paths(self, *hosts: Host) -> None:
        """Add, for every host, the states that each of its connections went through.

        One that a SYN made begins in SYN-RECEIVED: its listener stays in LISTEN.
        """
        for host in hosts:
            paths: dict[tuple[str, str], list[str]] = {}
            for edge in self.facts(StateChanged, host):
                if edge.new != "LISTEN":
                    start = [] if edge.old == "LISTEN" else [edge.old]
                    paths.setdefault(flow(edge.connection), start).append(edge.new)
            for path in dict.fromkeys(" → ".join(path) for path in paths.values()):
                beside = " (its listener stays in LISTEN)" if path.startswith("SYN-RECEIVED") else ""
                self.found(f"{host.name}: {path}{beside}")


@dataclass(frozen=True, slots=True)
class Scene:
    """``setting`` says what is set up, not what comes of it. ``lanes`` are the ladder's hosts from left to right."""

    name: str
    setting: str
    play: Callable[[Stage], None]
    lanes: tuple[str, ...] = ("client", "server")


@dataclass(frozen=True, slots=True)
class Chapter:
    """``question`` is what people ask or believe. ``is_about_opening``: the handshake is told, not only counted."""

    name: str
    title: str
    question: str
    scenes: tuple[Scene, ...]
    analysis: frozenset[str] = frozenset()
    is_about_opening: bool = False


@dataclass(slots=True)
class Played:
    """A scene that was played: what its recorder recorded, and what was found in that."""

    scene: Scene
    recorder: Recorder
    findings: list[str] = field(default_factory=list)
    ended_ns: int = 0


def option(name: str) -> int:
    """Return the number of a socket's option, also if this system's ``socket`` module has no such name."""
    number = option_number(name)
    assert number is not None
    return number


def took(record: CallRecord) -> str:
    """Write how long a call took."""
    if record.returned_ns is None:
        return "longer than the scene"
    return when(record.returned_ns - record.started_ns)


def when(at_ns: int) -> str:
    """Write a time or a length of time; ``0`` for none."""
    return format_duration(at_ns) if at_ns else "0"


def times(count: int) -> str:
    """Write how often: ``once``, ``twice``, ``3 times``."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
