"""A scenario as a file: hosts, links, programs, what happens when, seed and weather, in TOML or from Python.

    seed = 7
    until = "10m"

    [hosts.server]
    run = "app.py"
    [hosts.client]
    run = ["load.py --n 5"]

    [[links]]
    between = ["server", "client"]
    delay = "20ms"
    loss = "1%"

    [[at]]
    time = "5s"
    do = "server-client.cut"

- What ``write`` writes, ``read`` reads. A mistake is told with the file's line and what would be right.
- A program is a script file with its arguments, or a function as ``package.module:function``.
- A scenario is called with a network, as any other: ``estab sweep scenario.toml`` runs it for many seeds.
- ``clock = "real"`` and ``spawn``: hosts that are processes of the system (``commands.py``).
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import signature
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal

import tomli_w

from estab.errors import explain
from estab.lab.host import Host
from estab.lab.link import Link
from estab.lab.links.weather import Weather
from estab.lab.network import Network
from estab.lab.programs.program import Program
from estab.lab.record.shapes import Bursts, Jitter
from estab.trial import commands, parts
from estab.trial.commands import Command, CommandPlan
from estab.trial.parts import PartPlan
from estab.trial.places import Block, find_blocks, place
from estab.trial.scripts import moved_run, program_of
from estab.trial.text import read_text
from estab.units import SECOND, duration_ns

__all__ = [
    "HOST_OPTIONS", "Action", "CommandPlan", "HostPlan", "LinkPlan", "PartPlan", "ProgramPlan", "Scenario",
    "ScenarioError",
]

HOST_OPTIONS: Final = ("profile", "clock", "drift", "wake_up", "nofile")
"""What ``Network.host`` takes beside settings of the stack."""
_HOST_KEYS: Final = ("run", "spawn", "router", *HOST_OPTIONS, "resolver", "settings")
_PROGRAM_KEYS: Final = ("run", "start", "daemon", "env", "at_boot")
_TOP_KEYS: Final = ("seed", "clock", "until", "hosts", "links", *parts.KINDS, "names", "resolver", "at", "weather",
                    "failed")
_LINK_DOES: Final = ("cut", "heal", "set")
_HOST_DOES: Final = ("power_off", "power_on", "reboot", "kill", "suspend", "pause", "resume", "set_clock", "set_drift",
                     "set_resolver", "add_address", "remove_address", "set_backlog")
_NET: Final = "net"
"""What an action names to mean the whole network."""
_NET_DOES: Final = ("partition", "heal", "name", "set_resolver", "calm")
_PROGRAM_DOES: Final = ("pause", "resume", "terminate", "kill")


class ScenarioError(ValueError):
    """A mistake in a scenario. The text says where, what, and what would be right."""


@dataclass(frozen=True, slots=True)
class ProgramPlan:
    """A program on a host: ``run`` is ``"app.py --n 5"`` or ``"package.module:function"``."""

    run: str
    start: str = "0s"
    is_daemon: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    is_at_boot: bool = False
    """It starts again whenever its host does."""

    @property
    def called(self) -> str:
        """Its name: the script's without its folder, or the whole text for a function."""
        first = (shlex.split(self.run) or [""])[0]
        return Path(first).name if first.endswith(".py") else self.run


@dataclass(frozen=True, slots=True)
class HostPlan:
    """A host: its programs, whether it is a router, settings of its stack by name, and what ``Network.host`` takes."""

    programs: tuple[ProgramPlan, ...] = ()
    is_router: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    """``profile``, ``clock``, ``drift``, ``wake_up``, ``nofile``."""
    resolver: Mapping[str, Any] = field(default_factory=dict)
    """What ``Host.set_resolver`` takes."""
    commands: tuple[CommandPlan, ...] = ()
    """Processes of the system, in real time."""


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """A link between two hosts, with the properties that ``Network.link`` takes."""

    between: tuple[str, str]
    name: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def called(self) -> str:
        """Its name; two hosts' names with a hyphen if it was given none."""
        return self.name or "-".join(self.between)


@dataclass(frozen=True, slots=True)
class Action:
    """What happens at a time: ``do`` is ``"wifi.cut"``, ``"server.reboot"``, ``"app.py@server.pause"``, ``"net.calm"``.

    ``properties`` are what it takes: those of ``Link.set``, ``after`` of ``reboot``.
    """

    time: str
    do: str
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Hosts, links, programs, actions, seed and weather. Script files are looked for in ``folder``.

    Called with a network, it is built on it and runs, so ``estab sweep`` and ``Sweep.run`` take it.
    """

    hosts: Mapping[str, HostPlan]
    links: tuple[LinkPlan, ...] = ()
    actions: tuple[Action, ...] = ()
    seed: int | str = 0
    until: str = ""
    weather: Weather | None = None
    folder: str = "."
    names: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What ``Network.name`` takes, by name: ``addresses`` and ``order``."""
    resolver: Mapping[str, Any] = field(default_factory=dict)
    """What ``Network.set_resolver`` takes."""
    parts: tuple[PartPlan, ...] = ()
    """Switches, NATs, load balancers, firewalls."""
    clock: Literal["virtual", "real"] = "virtual"
    """``"real"``: time is the machine's, and a run is not repeatable."""
    blocks: Mapping[str, Block] = field(default_factory=dict, compare=False, repr=False)
    """Where its tables stand in the file that it was read from."""

    # --- run

    def network(self, seed: int | str | None = None, **options: Any) -> Network:
        """Make a network with the scenario's seed and weather, and put the scenario on it."""
        net = Network(self.seed if seed is None else seed, weather=self.weather, **{"clock": self.clock, **options})
        try:
            self.build(net)
        except BaseException:
            net.abandon()
            raise
        return net

    def build(self, net: Network) -> None:
        """Put hosts, links, actions and programs on a network. ``ScenarioError`` for what it refuses."""
        try:
            self._build(net)
        except ScenarioError as error:
            raise ScenarioError(place(str(error), self.blocks)) from None

    def _build(self, net: Network) -> None:
        if net.is_real_time != (self.clock == "real"):
            raise ScenarioError(f'clock = "{self.clock}", and this network has another clock; real time is not '
                                "repeatable: estab run runs it, no sweep and no search for minimal weather does")
        hosts: dict[str, Host] = {}
        links: dict[str, Link] = {}
        for name, plan in self.hosts.items():
            hosts[name] = _tried(f"hosts.{name}", net.host, name, forwarding=plan.is_router, **plan.options,
                                 **plan.settings)
        for link in self.links:
            one, other = (hosts[end] for end in link.between)
            properties = _with_files(link.properties, self.folder)
            made = _tried(f"links: {link.called}", net.link, one, other, name=link.name or None, **properties)
            links[made.name] = made
        for called, words in self.names.items():
            _tried(f"names.{called}", net.name, called, **words)
        if self.resolver:
            _tried("resolver", net.set_resolver, **self.resolver)
        for name, plan in self.hosts.items():
            if plan.resolver:
                _tried(f"hosts.{name}.resolver", hosts[name].set_resolver, **plan.resolver)
        plans = [replace(part, words=_with_files(part.words, self.folder)) for part in self.parts]
        made_parts = parts.build(net, plans, hosts, links, _tried)
        owners = {**hosts, **links, **made_parts, _NET: net}
        begin_ns, programs = self._begin(net, hosts)
        _plan(net, _with_objects(self.actions, owners), owners, begin_ns)
        for name, plan in self.hosts.items():
            for program in plan.programs:
                programs.setdefault(f"{program.called}@{name}", self._start(hosts[name], program, begin_ns))
        _plan(net, self.actions, programs, begin_ns)

    def __call__(self, net: Network) -> None:
        """Build and run: a scenario is one for ``estab sweep``."""
        self.build(net)
        self.run(net)

    def run(self, net: Network) -> None:
        """Run what was built: until ``until``, or until all programs and commands have ended."""
        if net.is_real_time:
            commands.run(net, self.until)
        else:
            net.run(until=self.until or None)

    def _begin(self, net: Network, hosts: Mapping[str, Host]) -> tuple[int, dict[str, Program[Any] | Command]]:
        """Start commands that listen. Returns when the scenario's time begins, and all commands by name."""
        targets = {action.do.rpartition(".")[0] for action in self.actions}
        made: dict[str, Program[Any] | Command] = {}
        all_made = []
        for name, plan in self.hosts.items():
            for one in plan.commands:
                called = f"{one.called}@{name}"
                command = Command(hosts[name], one, self.folder, is_aimed_at=not targets.isdisjoint((called, name)))
                made.setdefault(called, command)
                all_made.append(command)
        try:
            return commands.begin(net, all_made), made
        except (OSError, RuntimeError) as error:
            raise ScenarioError(f"spawn: {explain(error)}") from None

    def _start(self, host: Host, plan: ProgramPlan, begin_ns: int) -> Program[Any]:
        script = _tried(f"hosts.{host.name}", program_of, plan.run, self.folder, plan.env)
        return host.run(script, start=_after(begin_ns, plan.start), daemon=plan.is_daemon, name=plan.called,
                        at_boot=plan.is_at_boot)

    # --- as a file

    @classmethod
    def read(cls, path: str | Path) -> Scenario:
        """Read a TOML file. ``ScenarioError`` names the line and what would be right; ``OSError``."""
        return cls.parse(read_text(path, ScenarioError), str(path), str(Path(path).parent))

    @classmethod
    def parse(cls, text: str, file: str = "scenario", folder: str = ".") -> Scenario:
        """Read TOML text. Mistakes are told with the file's name and the line; with neither if ``file`` is empty."""
        try:
            words = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ScenarioError(f"{file}: {error}") from None
        made = _Reader(text, file).scenario(words, folder)
        called = {"links": [link.called for link in made.links],
                  **{kind: [part.called for part in made.parts if part.kind == kind] for kind in parts.KINDS}}
        return replace(made, blocks=find_blocks(text, file, called) if file else {})

    def moved(self, folder: Path) -> Scenario:
        """Return the scenario as a file in another folder has it: the files that it names are found from there."""
        here = os.path.relpath(self.folder, folder)
        hosts = {}
        for name, plan in self.hosts.items():
            programs = tuple(replace(one, run=moved_run(one.run, here)) for one in plan.programs)
            spawned = tuple(replace(one, cwd=os.path.join(here, one.cwd)) for one in plan.commands)
            hosts[name] = replace(plan, programs=programs, commands=spawned)
        links = tuple(replace(link, properties=_with_files(link.properties, here)) for link in self.links)
        others = tuple(replace(part, words=_with_files(part.words, here)) for part in self.parts)
        return replace(self, hosts=hosts, links=links, parts=others, folder=str(folder))

    def write(self, path: str | Path) -> None:
        """Write it as a TOML file."""
        Path(path).write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """Write it as TOML."""
        words: dict[str, Any] = {"seed": self.seed}
        if self.clock != "virtual":
            words["clock"] = self.clock
        if self.until:
            words["until"] = self.until
        words["hosts"] = {name: _host_words(plan) for name, plan in self.hosts.items()}
        if self.links:
            words["links"] = [{"between": list(link.between), **({"name": link.name} if link.name else {}),
                               **_plain(link.properties)} for link in self.links]
        for kind in parts.KINDS:
            tables = [_plain(part.words) for part in self.parts if part.kind == kind]
            words |= {kind: tables} if tables else {}
        if self.names:
            words["names"] = {name: _plain(given) for name, given in self.names.items()}
        if self.resolver:
            words["resolver"] = dict(self.resolver)
        if self.actions:
            words["at"] = [{"time": one.time, "do": one.do, **_plain(one.properties)} for one in self.actions]
        if self.weather is not None:
            words["weather"] = self.weather.words()
        return tomli_w.dumps(words)


def _with_files(properties: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Find the files that a link's properties name in the scenario's folder."""

    def found(name: str, value: Any) -> Any:
        if isinstance(value, (tuple, list)):
            return tuple(found(name, one) for one in value)
        if not isinstance(value, str):
            return value
        if name == "trace":
            return str(Path(folder, value))
        return re.sub(r"\btable:(\S+)", lambda match: f"table:{Path(folder, match[1])}", value)

    return {name: found(name, value) if name in ("trace", "jitter") else value for name, value in properties.items()}


def _after(begin_ns: int, time: str) -> str | float:
    """Give a time of the scenario as one of the network, which in real time began before."""
    return (begin_ns + duration_ns(time, "time")) / SECOND if begin_ns else time


def _plan(net: Network, actions: Iterable[Action], owners: Mapping[str, Any], begin_ns: int) -> None:
    """Plan those of the actions that are for one of these."""
    for action in actions:
        target, _, verb = action.do.rpartition(".")
        if target in owners:
            method, values = _doing(owners[target], verb, action.properties)
            _tried(f"at: {action.do}", net.at, _after(begin_ns, action.time), method, *values)


def _doing(owner: Any, verb: str, properties: Mapping[str, Any]) -> tuple[Callable[..., object], tuple[Any, ...]]:
    """Find what an action calls, and with what: in order, if it can be, for then it is a fault with a name."""
    method: Callable[..., object] = getattr(owner, verb)
    taken = signature(method).bind(**properties)
    return (partial(method, *taken.args, **taken.kwargs), ()) if taken.kwargs else (method, taken.args)


def _with_objects(actions: Iterable[Action], owners: Mapping[str, Any]) -> list[Action]:
    """Put hosts and links in the place of their names, in partitions of a network and addresses of a host."""
    found = []
    for action in actions:
        properties = dict(action.properties)
        for side in ("a", "b") if action.do == f"{_NET}.partition" else ():
            names = properties[side]
            properties[side] = [owners[name] for name in ([names] if isinstance(names, str) else names)]
        if action.do.endswith(".add_address") and "on" in properties:
            properties["on"] = owners[properties["on"]]
        found.append(replace(action, properties=properties))
    return found


def _tried(where: str, function: Callable[..., Any], *args: Any, **words: Any) -> Any:
    try:
        return function(*args, **words)
    except (TypeError, ValueError) as error:
        raise ScenarioError(f"{where}: {error}") from None


def _host_words(plan: HostPlan) -> dict[str, Any]:
    words: dict[str, Any] = {}
    if plan.is_router:
        words["router"] = True
    words |= plan.options
    runs = [one.run if one == ProgramPlan(one.run) else {
        "run": one.run, **({"start": one.start} if one.start != "0s" else {}),
        **({"daemon": True} if one.is_daemon else {}), **({"env": dict(one.env)} if one.env else {}),
        **({"at_boot": True} if one.is_at_boot else {}),
    } for one in plan.programs]
    if runs:
        words["run"] = runs[0] if len(runs) == 1 and isinstance(runs[0], str) else runs
    if plan.commands:
        words["spawn"] = commands.words_of(plan.commands)
    if plan.resolver:
        words["resolver"] = dict(plan.resolver)
    if plan.settings:
        words["settings"] = _plain(plan.settings)
    return words


def _plain(words: Mapping[str, Any]) -> dict[str, Any]:
    """Write tuples as TOML has them, as lists, and distributions as texts."""
    return {name: _plain_value(value) for name, value in words.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_plain_value(one) for one in value]
    return str(value) if isinstance(value, (Bursts, Jitter, PathLike)) else value


class _Reader:
    """Reads the tables of one file, and finds the line of what is wrong."""

    def __init__(self, text: str, file: str) -> None:
        self._lines = text.splitlines()
        self._file = file

    def scenario(self, words: dict[str, Any], folder: str) -> Scenario:
        failed = words.get("failed")
        if "hosts" not in words and isinstance(failed, dict):
            raise ScenarioError(f"{self._file}: it keeps a failure of {failed.get('test')}, which is a function; this "
                                f"repeats it: {failed.get('again')}")
        self.known(words, _TOP_KEYS, "a scenario")
        hosts = words.get("hosts")
        if not isinstance(hosts, dict) or not hosts:
            raise self.wrong("hosts", "hosts: a scenario needs hosts: [hosts.server], run = \"app.py\"")
        clock = words.get("clock", "virtual")
        if clock not in ("virtual", "real"):
            raise self.wrong("clock", f'clock: {clock!r} is neither "virtual" nor "real"')
        plans = {name: self._host(name, table, clock) for name, table in hosts.items()}
        links = tuple(self._link(table, plans) for table in self._tables(words, "links"))
        made = self._parts(words, plans, links)
        actions = tuple(self._action(table, plans, links, made) for table in self._tables(words, "at"))
        seed, until = words.get("seed", 0), words.get("until", "")
        if isinstance(seed, bool) or not isinstance(seed, (int, str)):
            raise self.wrong("seed", f"seed: {seed!r} is neither a number nor a text")
        if until != "":
            self._duration("until", until)
        weather = None
        if "weather" in words:
            try:
                weather = Weather.read(words["weather"])
            except (TypeError, ValueError) as error:
                raise self.wrong("weather", str(error)) from None
        return Scenario(plans, links, actions, seed, str(until), weather, folder, self._names(words.get("names", {})),
                        self._taken(words, "resolver", Network.set_resolver), made, clock)

    def _parts(self, words: dict[str, Any], hosts: Mapping[str, HostPlan], links: Iterable[LinkPlan],
               ) -> tuple[PartPlan, ...]:
        """Read switches, NATs, load balancers and firewalls. Each may name the links of those before it."""
        names = [link.called for link in links]
        found: list[PartPlan] = []
        for kind in parts.KINDS:
            for table in self._tables(words, kind):
                part = parts.read(kind, table, hosts, names, self)
                if part.called in [*hosts, *names, *(one.called for one in found)]:
                    raise self.wrong(part.called, f"{kind}: there is something called {part.called!r} already")
                names += part.cables
                found.append(part)
        return tuple(found)

    def _host(self, name: str, table: Any, clock: str) -> HostPlan:
        if not isinstance(table, dict):
            raise self.wrong(name, f"hosts.{name}: {table!r} is not a table")
        self.known(table, _HOST_KEYS, f"hosts.{name}")
        runs = table.get("run", [])
        programs = tuple(self._program(name, one) for one in (runs if isinstance(runs, list) else [runs]))
        if not isinstance(settings := table.get("settings", {}), dict):
            raise self.wrong("settings", f"hosts.{name}.settings: {settings!r} is not a table")
        settings = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
        options = {key: table[key] for key in HOST_OPTIONS if key in table}
        resolver = self._taken(table, "resolver", Host.set_resolver)
        return HostPlan(programs, bool(table.get("router", False)), settings, options, resolver,
                        self._commands(name, table, clock))

    def _commands(self, name: str, table: dict[str, Any], clock: str) -> tuple[CommandPlan, ...]:
        if "spawn" not in table:
            return ()
        if clock != "real":
            raise self.wrong("spawn", f'hosts.{name}.spawn: a process of the system needs real time: clock = "real", '
                                      "at the top")
        if table.get("run"):
            raise self.wrong("spawn", f"hosts.{name}: a host has the machine's kernel (spawn) or estab's stack (run), "
                                      "not both")
        try:
            return commands.read(table["spawn"])
        except (TypeError, ValueError) as error:
            raise self.wrong("spawn", f"hosts.{name}.spawn: {error}") from None

    def _names(self, table: Any) -> dict[str, dict[str, Any]]:
        if not isinstance(table, dict):
            raise self.wrong("names", f"names: {table!r} is not a table of names and addresses")
        made = {name: given if isinstance(given, dict) else {"addresses": given} for name, given in table.items()}
        return {name: self._taken(made, name, Network.name, name) for name in made}

    def _taken(self, table: Mapping[str, Any], key: str, method: Callable[..., object], *first: Any) -> dict[str, Any]:
        """Give a table of what a method takes beside ``first``."""
        given = table.get(key, {})
        if not isinstance(given, dict):
            raise self.wrong(key, f"{key}: {given!r} is not a table")
        try:
            signature(method).bind(None, *first, **given)
        except TypeError as error:
            raise self.wrong(key, f"{key}: {error}") from None
        return given

    def _program(self, host: str, given: Any) -> ProgramPlan:
        if isinstance(given, str):
            return ProgramPlan(given)
        if not isinstance(given, dict) or not isinstance(given.get("run"), str):
            raise self.wrong("run", f"hosts.{host}.run: {given!r} is neither a text nor a table with run = \"app.py\"")
        self.known(given, _PROGRAM_KEYS, f"hosts.{host}.run")
        start = given.get("start", "0s")
        self._duration("start", start)
        try:
            env = commands.read_env(given)
            is_daemon, is_at_boot = commands.read_flag(given, "daemon"), commands.read_flag(given, "at_boot")
        except ValueError as error:
            raise self.wrong(str(error).partition(":")[0], f"hosts.{host}.run.{error}") from None
        return ProgramPlan(given["run"], str(start), is_daemon, env, is_at_boot)

    def _link(self, table: dict[str, Any], hosts: Mapping[str, HostPlan]) -> LinkPlan:
        ends = table.get("between")
        if not isinstance(ends, list) or len(ends) != 2 or not all(isinstance(end, str) for end in ends):
            raise self.wrong(
                "between", f"links: between = {ends!r} is not a pair of hosts like [\"server\", \"client\"]")
        for end in ends:
            self.one_of(end, hosts, "host", "between")
        properties = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()
                      if name not in ("between", "name")}
        return LinkPlan((ends[0], ends[1]), str(table.get("name", "")), properties)

    def _action(self, table: dict[str, Any], hosts: Mapping[str, HostPlan], links: Iterable[LinkPlan],
                made: Iterable[PartPlan]) -> Action:
        time, do = table.get("time"), table.get("do")
        if time is None or not isinstance(do, str):
            raise self.wrong("at", f"at: {table!r} needs a time and what to do: time = \"5s\", do = \"wifi.cut\"")
        self._duration("time", time)
        target, dot, verb = do.rpartition(".")
        names = [*(link.called for link in links), *(cable for part in made for cable in part.cables)]
        by_name = {part.called: part for part in made}
        if not dot:
            raise self.wrong(do, f"at: do = {do!r} names no action; write a link or host and what to do: \"wifi.cut\"")
        programs = [f"{called}@{host}" for host, plan in hosts.items()
                    for called in [one.called for one in plan.programs] + [one.called for one in plan.commands]]
        does = {_NET: _NET_DOES, **dict.fromkeys(programs, _PROGRAM_DOES), **dict.fromkeys(hosts, _HOST_DOES),
                **dict.fromkeys(names, _LINK_DOES), **{name: part.does for name, part in by_name.items()}}
        self.one_of(target, does, "program" if "@" in target else "link or host", do)
        self.one_of(verb, does[target], "action", do)
        properties = {name: value for name, value in table.items() if name not in ("time", "do")}
        kind: type = Link if target in names else Host if target in hosts else Program if "@" in target else Network
        kind = by_name[target].type if target in by_name else kind
        try:
            signature(getattr(kind, verb)).bind(None, **properties)
        except TypeError as error:
            raise self.wrong(do, f"at: {do}: {error}") from None
        if "sender" in properties:
            self.one_of(properties["sender"], hosts, "host", "sender")
        if verb == "add_address" and "on" in properties:
            self.one_of(properties["on"], [*names, *by_name], "link or switch", "on")
        for side in ("a", "b") if target == _NET else ():
            names_of = properties.get(side, [])
            for name in [names_of] if isinstance(names_of, str) else names_of:
                self.one_of(name, hosts, "host", side)
        return Action(str(time), do, properties)

    # --- what is wrong, and where

    def _tables(self, words: dict[str, Any], name: str) -> list[dict[str, Any]]:
        found = words.get(name, [])
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise self.wrong(name, f"{name}: write each as a table of its own: [[{name}]]")
        return found

    def known(self, table: Mapping[str, Any], names: Iterable[str], what: str) -> None:
        for name in table:
            if name not in names:
                near = difflib.get_close_matches(name, list(names), 1)
                hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(names)}"
                raise self.wrong(name, f"{what} has no {name!r}{hint}")

    def one_of(self, given: str, names: Iterable[str], what: str, key: str) -> None:
        known = list(names)
        if given not in known:
            near = difflib.get_close_matches(given, known, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"
            raise self.wrong(given if given else key, f"there is no {what} {given!r}{hint}")

    def _duration(self, name: str, value: Any) -> None:
        try:
            duration_ns(value, name)
        except (TypeError, ValueError) as error:
            raise self.wrong(name, str(error)) from None

    def wrong(self, key: str, text: str) -> ScenarioError:
        pattern = re.compile(rf"(?<![\w-]){re.escape(key)}(?![\w-])")
        number = next((number for number, line in enumerate(self._lines, 1) if pattern.search(line)), 0)
        if not self._file:  # of the command line: it has no lines
            return ScenarioError(text)
        return ScenarioError(f"{self._file}:{number}: {text}" if number else f"{self._file}: {text}")
