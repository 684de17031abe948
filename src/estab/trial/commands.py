"""Commands of a scenario: processes of the system on a host, whose TCP is the machine's kernel (``spawn``).

    clock = "real"

    [hosts.db]
    spawn = { command = ["redis-server", "--save", ""], listens = 6379 }

    [hosts.app]
    spawn = ["redis-cli", "-h", "db", "ping"]

- A command that ``listens`` is started first: the scenario's time begins when all of them listen. It is a ``daemon``,
  for whose end the run does not wait.
- The run is over when all other commands, and all programs, have ended.
- An exit status other than 0 fails the run, but not of a command that an action of the scenario is aimed at, or at its
  host.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from estab.errors import explain
from estab.lab.host import Host
from estab.lab.network import Network
from estab.units import SECOND, duration_ns

if TYPE_CHECKING:
    from estab.native.process import Process

__all__ = ["Command", "CommandPlan", "begin", "read", "read_env", "read_flag", "run", "words_of"]

_KEYS: Final = ("command", "listens", "start", "daemon", "env", "cwd", "user", "at_boot", "ready_within")
_PATIENCE: Final = "10s"


@dataclass(frozen=True, slots=True)
class CommandPlan:
    """A command on a host."""

    argv: tuple[str, ...]
    listens: int = 0
    """The TCP port on which it listens: the others wait for that, for ``ready_within`` at most. 0: it is no server."""
    start: str = "0s"
    is_daemon: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = ""
    """Its folder, from that of the scenario on."""
    user: str = ""
    is_at_boot: bool = False
    """It starts again whenever its host does."""
    ready_within: str = "10s"

    @property
    def called(self) -> str:
        """The program's name, without its folder."""
        return Path(self.argv[0]).name

    @property
    def is_waited_for(self) -> bool:
        """Whether the run goes on until it has ended."""
        return not (self.is_daemon or self.listens)

    def words(self) -> list[str] | dict[str, Any]:
        """Write it as a file has it."""
        if self == CommandPlan(self.argv):
            return list(self.argv)
        default = CommandPlan(self.argv)
        names = {"listens": "listens", "start": "start", "daemon": "is_daemon", "env": "env", "cwd": "cwd",
                 "user": "user", "at_boot": "is_at_boot", "ready_within": "ready_within"}
        values = {key: getattr(self, name) for key, name in names.items()
                  if getattr(self, name) != getattr(default, name)}
        return {"command": list(self.argv), **{key: dict(value) if key == "env" else value
                                               for key, value in values.items()}}


def words_of(plans: tuple[CommandPlan, ...]) -> Any:
    """Write the commands of a host as a file has them: one as it is, several as a list."""
    written = [plan.words() for plan in plans]
    return written[0] if len(written) == 1 else written


def read(given: Any) -> tuple[CommandPlan, ...]:
    """Read what a host spawns. ``ValueError`` says what is wrong."""
    if isinstance(given, list) and not all(isinstance(one, str) for one in given):
        return tuple(map(_one, given))
    return (_one(given),)


def read_flag(table: Mapping[str, Any], name: str) -> bool:
    """Read what is true or false, and false if it is not there. ``ValueError``."""
    value = table.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(f"{name}: {value!r} is neither true nor false")
    return value


def read_env(table: Mapping[str, Any]) -> dict[str, str]:
    """Read the environment of a program. ``ValueError``."""
    env = table.get("env", {})
    if not isinstance(env, dict) or not all(isinstance(value, str) for value in env.values()):
        raise ValueError(f"env: {env!r} is not a table of texts")
    return env


def _one(given: Any) -> CommandPlan:
    table = given if isinstance(given, dict) else {"command": given}
    for name in table:
        if name not in _KEYS:
            raise ValueError(f"spawn has no {name!r}; it has {', '.join(_KEYS)}")
    command = table.get("command")
    argv = _split(command) if isinstance(command, str) else command
    if not isinstance(argv, list) or not argv or not all(isinstance(word, str) for word in argv):
        raise ValueError(f'{command!r} is not a command; write its words: ["curl", "-s", "http://web/"]')
    listens = table.get("listens", 0)
    if isinstance(listens, bool) or not isinstance(listens, int) or not 0 <= listens < 1 << 16:
        raise ValueError(f"listens: {listens!r} is not a port")
    for name in ("start", "ready_within"):
        duration_ns(table.get(name, 0), name)
    for name in ("cwd", "user"):
        if not isinstance(table.get(name, ""), str):
            raise ValueError(f"{name}: {table[name]!r} is not a text")
    return CommandPlan(
        tuple(argv), listens, str(table.get("start", "0s")), read_flag(table, "daemon"), read_env(table),
        table.get("cwd", ""), table.get("user", ""), read_flag(table, "at_boot"),
        str(table.get("ready_within", "10s")))


def _split(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise ValueError(f"{command!r} can't be split into words: {str(error).lower()}") from None


class Command:
    """A command on a host of a network. Its methods are what actions ask of it."""

    def __init__(self, host: Host, plan: CommandPlan, folder: str, *, is_aimed_at: bool) -> None:
        self.host = host
        self.plan = plan
        self._folder = folder
        self._is_aimed_at = is_aimed_at
        self._process: Process | None = None

    @property
    def process(self) -> Process | None:
        """The process: the last one, if it was started again with its host. ``None``: it was not started yet."""
        if self._process is not None and self._process not in self.host.processes:
            again = [one for one in self.host.processes if one.argv == list(self.plan.argv)]
            self._process = again[-1] if again else self._process
        return self._process

    def spawn(self) -> None:
        """Start it. ``ProcessFailedError`` if that can't be."""
        plan = self.plan
        try:
            self._process = self.host.spawn(plan.argv, env=plan.env, cwd=str(Path(self._folder, plan.cwd).resolve()),
                                            user=plan.user or None, at_boot=plan.is_at_boot)
        except OSError as error:
            # Here, for the lab's page has no processes, and not their room either.
            from estab.native.process import ProcessFailedError

            raise ProcessFailedError(f"{plan.called}@{self.host.name} can't be started: {explain(error)}") from None

    def _do(self, what: str) -> None:
        process = self.process
        if process is not None:
            getattr(process, what)()

    def pause(self) -> None:
        """Stop it (SIGSTOP)."""
        self._do("pause")

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self._do("resume")

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        self._do("terminate")

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self._do("kill")

    def check(self) -> None:
        """Raise ``ProcessFailedError`` if it ended badly."""
        process = self.process
        if process is not None and process.returncode and not self._is_aimed_at:
            process.check()


_commands: Final[WeakKeyDictionary[Network, list[Command]]] = WeakKeyDictionary()
"""The commands of networks on which scenarios were put."""


def begin(net: Network, commands: Iterable[Command]) -> int:
    """Start those that listen, wait until they do, and plan the others. Returns when the scenario's time begins.

    ``OSError`` and ``RuntimeError`` say what the system or the host refuses, ``ProcessFailedError`` which does not
    listen.
    """
    known = _commands[net] = list(commands)
    for command in known:
        command.host.use_kernel()
    servers = [command for command in known if command.plan.listens]
    for command in servers:
        command.spawn()
    for command in servers:
        assert command.process is not None
        command.process.wait_listening(command.plan.listens, command.plan.ready_within)
    begin_ns = net.now_ns if net.is_real_time else 0
    for command in known:
        if not command.plan.listens:
            net.at((begin_ns + duration_ns(command.plan.start, "start")) / SECOND, command.spawn)
    return begin_ns


def run(net: Network, until: str) -> None:
    """Run a network in real time: ``until`` a time from now on, or until its programs and commands have ended."""
    known = _commands.get(net, [])
    if until:
        net.run(until=(net.now_ns + duration_ns(until, "until")) / SECOND)
    else:
        net.run()
        _wait(net, [command for command in known if command.plan.is_waited_for])
    for command in known:
        command.check()


def _wait(net: Network, commands: list[Command]) -> None:
    said: Callable[[str], object] = _say
    for command in commands:
        while command.process is None:
            net.run(until=net.now + 0.01)
    for command in commands:
        process = command.process
        while process is not None and process.is_running:
            try:
                process.wait(_PATIENCE)
            except TimeoutError:
                said(f"estab: this run goes on for {process}. If that is a server: listens = PORT, or daemon = true")
                said = len
            process = command.process


def _say(text: str) -> None:
    print(text, file=sys.stderr)
