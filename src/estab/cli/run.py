"""``estab run``: script files, or a scenario file, on hosts of a virtual network.

Exit status: 0 every program ended well, 1 one raised, failed or waits for ever, 2 the command can't be carried out as
it was given, 130 Ctrl-C.
"""

from __future__ import annotations

import re
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final, TextIO

import click

from estab.cli.ascii import echo
from estab.cli.written import cannot_write, ensure_writable
from estab.errors import is_of_estab
from estab.lab.network import Network
from estab.native.process import ProcessFailedError
from estab.report.recording import Recording
from estab.trial.attempt import one_line, signature_of
from estab.trial.fingerprint import fingerprint_of
from estab.trial.scenario import HOST_OPTIONS, Action, HostPlan, LinkPlan, ProgramPlan, Scenario, ScenarioError
from estab.trial.scripts import is_of_output
from estab.units import duration_ns, format_duration

__all__ = ["run"]

_WHERE: Final = ("in program ", "in a thread of ")
"""How notes begin that say where an error was raised: the line above them says that."""
_CAUSES_MAX: Final = 10
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?")


@click.command()
@click.argument("programs", metavar="SCENARIO.toml | HOST=PROGRAM...", nargs=-1)
@click.option("--link", "links", metavar="A,B[,NAME=VALUE...]", multiple=True,
              help="A link between two hosts, like server,client,delay=20ms,loss=1%.")
@click.option("--host", "options", metavar="HOST,NAME=VALUE[,...]", multiple=True,
              help="What a host is like: laptop,clock=-3s,profile=linux,nofile=64,tcp_syncookies=always.")
@click.option("--router", "routers", metavar="HOST", multiple=True, help="A host that forwards packets.")
@click.option("--at", "actions", metavar='"TIME WHAT"', multiple=True,
              help='What happens when: "5s server-client.cut", "8s server.reboot after=30s".')
@click.option("--seed", metavar="SEED", help="What all chance follows from [default: the scenario's, or 0].")
@click.option("--until", metavar="TIME", help="Stop at a virtual time; without it, when every program has ended.")
@click.option("--pcap", type=click.Path(dir_okay=False), help="Write all frames there (pcapng).")
@click.option("--seen-by", metavar="HOST", help="What --pcap writes is only what this host sent and received.")
@click.option("--report", type=click.Path(dir_okay=False), help="Write a page there that shows the run (HTML).")
@click.option("--ladder", "draws", is_flag=True, help="Draw the run as a ladder of segments at its end.")
@click.option("--save", type=click.Path(dir_okay=False), help="Write the scenario there as TOML, and run nothing.")
def run(
    programs: tuple[str, ...], links: tuple[str, ...], options: tuple[str, ...], routers: tuple[str, ...],
    actions: tuple[str, ...], seed: str | None, until: str | None, pcap: str | None, seen_by: str | None,
    report: str | None, draws: bool, save: str | None,
) -> None:
    """Run script files on hosts of a virtual network, in virtual time.

    PROGRAM is a script with its arguments, or a function: server=app.py client="load.py --n 5" probe=shop.tools:main.
    Each script has its own sys.argv and __main__, and what it prints has its host's name before it. Or give a scenario
    file that says it all; with clock = "real" its hosts may be commands of the system, in real time.
    """
    try:
        plan = _plan(programs, links, options, routers, actions)
        if seen_by is not None and pcap is None:
            raise ScenarioError("--seen-by says what --pcap writes; give that, too")
        if seen_by is not None and seen_by not in plan.hosts:
            raise ScenarioError(f"--seen-by: there is no host {seen_by!r}, only {', '.join(plan.hosts)}")
        if seed is not None:
            plan = replace(plan, seed=int(seed) if seed.removeprefix("-").isdecimal() else seed)
        if until is not None:
            duration_ns(until, "--until")
            plan = replace(plan, until=until)
        for option, path in (("--pcap", pcap), ("--report", report), ("--save", save)):
            if path is not None:
                ensure_writable(path, option)
        if save is not None:
            _save(plan, save)
            return
        net = plan.network()
    except ProcessFailedError as error:
        raise click.ClickException(str(error).splitlines()[0]) from None
    except (ScenarioError, TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise click.UsageError(f"{error.filename}: {error.strerror}") from None
    _tell_of_ends(programs, links, options, routers)
    seen = net.record() if pcap or report or draws else None
    with warnings.catch_warnings(), net:
        warnings.showwarning = _show_warning
        failed = _run(net, plan)
        time = f"real time: not repeatable; {net.lateness}" if net.is_real_time else "virtual time"
        echo(f"estab: seed {net.seed}, {format_duration(net.now_ns)} of {time}; {fingerprint_of(None)}", err=True)
        if seen is not None:
            _keep(seen, pcap, seen_by or "", report, draws)
    if failed:
        raise click.exceptions.Exit(1)


def _save(plan: Scenario, path: str) -> None:
    try:
        plan.write(path)
    except OSError as error:
        raise cannot_write(path, "--save", error) from None


def _run(net: Network, plan: Scenario) -> bool:
    """Run it. ``True``: a program raised, or programs wait for ever; that is said."""
    try:
        plan.run(net)
        net.check()
    except Exception as error:
        if is_of_output(error):
            raise  # ``main`` says it: no program failed
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if not is_of_estab(frame.filename)]
        lines = ["Traceback of the program (most recent call last):\n", *traceback.format_list(own)] if own else []
        echo("".join(lines), nl=False, err=True)
        where = signature_of(error).program
        echo(f"estab: {where + ': ' if where else ''}{one_line(error)}", err=True)
        for note in _notes(error):
            echo(f"  {note}", err=True)
        for line in net.waiting():
            echo(f"  {line}", err=True)
        return True
    return False


def _notes(error: BaseException) -> Iterator[str]:
    """Return what is noted on an error and on those that it came from: which connection, why, since when."""
    given: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if given is None:
            return
        yield from (note for note in getattr(given, "__notes__", ()) if not note.startswith(_WHERE))
        given = given.__cause__ or (None if given.__suppress_context__ else given.__context__)


def _show_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int,
                  file: TextIO | None = None, line: str | None = None) -> None:
    """Say what a warning says, in a line."""
    echo(f"estab: {message}", err=True)


def _keep(seen: Recording, pcap: str | None, seen_by: str, report: str | None, draws: bool) -> None:
    wanted = (("--pcap", pcap, partial(seen.pcapng, host=seen_by)), ("--report", report, seen.report))
    for option, path, write in wanted:
        if path is not None:
            try:
                write(path)
            except OSError as error:
                raise cannot_write(path, option, error) from None
            except ValueError as error:
                raise click.ClickException(f"{path}: {error}") from None
    if draws:
        print(seen.ladder(), flush=True)


def _plan(
    programs: tuple[str, ...], links: tuple[str, ...], options: tuple[str, ...], routers: tuple[str, ...],
    actions: tuple[str, ...],
) -> Scenario:
    files = [one for one in programs if one.endswith(".toml") and "=" not in one]
    if files:
        if len(programs) > 1 or links or routers or options:
            raise ScenarioError(f"{files[0]} says which hosts and links there are; give it alone, or no file")
        plan = Scenario.read(files[0])
        return _with_actions(plan, actions, plan.folder)
    if not programs:
        raise ScenarioError("nothing to run: give HOST=PROGRAM, like server=app.py client='load.py --n 5' --link "
                            "server,client,delay=20ms, or a scenario file")
    hosts: dict[str, list[ProgramPlan]] = {}
    for text in programs:
        name, equals, what = text.partition("=")
        if not equals or not name or not what:
            raise ScenarioError(f"{text!r}: write HOST=PROGRAM, like server=app.py")
        hosts.setdefault(name, []).append(ProgramPlan(what))
    given = dict(map(_host, options))
    for name in (*routers, *given):
        hosts.setdefault(name, [])
    made = tuple(map(_link, links))
    for link in made:
        for end in link.between:
            hosts.setdefault(end, [])
    if not made and len(hosts) == 2:
        one, other = hosts
        made = (LinkPlan((one, other)),)
    plans = {name: HostPlan(tuple(found), name in routers, *_options(given.get(name, {})))
             for name, found in hosts.items()}
    return _with_actions(Scenario.parse(Scenario(plans, made).text(), ""), actions, ".")


def _with_actions(plan: Scenario, actions: tuple[str, ...], folder: str) -> Scenario:
    """Add what ``--at`` says. Each is read as a scenario's is, and named if it is wrong."""
    for text in actions:
        more = replace(plan, actions=(*plan.actions, _action(text)))
        try:
            plan = Scenario.parse(more.text(), "", folder)
        except ScenarioError as error:
            raise ScenarioError(f"--at {text!r}: {error}") from None
    return plan


def _tell_of_ends(programs: tuple[str, ...], links: tuple[str, ...], options: tuple[str, ...],
                  routers: tuple[str, ...]) -> None:
    """Name hosts that are only ends of links: the name of one may be misspelt."""
    known = {*(text.partition("=")[0] for text in programs), *routers, *(_host(text)[0] for text in options)}
    for end in dict.fromkeys(end for text in links for end in _link(text).between):
        if end not in known:
            echo(f"estab: host {end} is only named in --link: it runs no program, and forwards nothing without "
                       f"--router {end}", err=True)


def _host(text: str) -> tuple[str, dict[str, Any]]:
    """Read what a host is like: its name and properties."""
    name, *parts = text.split(",")
    if not parts or "=" in name:
        raise ScenarioError(f"--host {text!r}: write a host first: laptop,clock=-3s,profile=linux")
    return name.strip(), _properties(f"--host {text!r}", parts)


def _options(properties: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part settings of a host's stack from what else it takes."""
    options = {name: value for name, value in properties.items() if name in HOST_OPTIONS}
    return {name: value for name, value in properties.items() if name not in HOST_OPTIONS}, options


def _properties(where: str, parts: list[str]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals:
            raise ScenarioError(f"{where}: {part!r} is no property; write NAME=VALUE")
        properties[name.strip()] = _value(value.strip())
    return properties


def _link(text: str) -> LinkPlan:
    parts = text.split(",")
    if len(parts) < 2 or "=" in parts[0] or "=" in parts[1]:
        raise ScenarioError(f"--link {text!r}: write two hosts first: server,client,delay=20ms,loss=1%")
    properties = _properties(f"--link {text!r}", parts[2:])
    name = properties.pop("name", "")
    return LinkPlan((parts[0].strip(), parts[1].strip()), str(name), properties)


def _action(text: str) -> Action:
    words = text.split()
    if len(words) < 2:
        raise ScenarioError(f"--at {text!r}: write a time and what happens: \"5s server-client.cut\"")
    properties: dict[str, Any] = {}
    for word in words[2:]:
        name, equals, value = word.partition("=")
        if not equals:
            raise ScenarioError(f"--at {text!r}: {word!r} is no property; write NAME=VALUE, as after=30s")
        properties[name] = [_value(one) for one in value.split(",")] if "," in value else _value(value)
    return Action(words[0], words[1], properties)


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    if _NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    return text
