"""For pytest: the fixtures ``net`` and ``real_net``, sweeps over seeds, and packetdrill scripts as tests.

This module imports nothing of estab until a test asks for it. ``estab.trial.in_pytest`` has what it
does with a test.

``pytest some.pkt`` runs a script that is named on the command line, each IP version as a test of its own. Scripts that
lie beside tests are left alone, unless ``drill_collect = true`` in pytest's settings asks for them.
"""

from __future__ import annotations

import argparse
import math
import unittest
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from estab.drill.runner import Result
    from estab.lab.network import Network
    from estab.trial.in_pytest import NetTrial

__all__ = [
    "DrillFailedError", "DrillFile", "DrillItem", "net", "pytest_addoption", "pytest_collect_file",
    "pytest_pyfunc_call", "pytest_runtest_call", "pytest_runtest_makereport", "real_net",
]

_TRIAL: pytest.StashKey[NetTrial] = pytest.StashKey()


def _count(text: str) -> int:
    """Read a number of seeds."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seeds, 1 at least")
    return number


def _seconds(text: str) -> float:
    """Read a time."""
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds, more than 0")
    return seconds


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of trials and of scripts."""
    group = parser.getgroup("estab", "networks in virtual time, and packetdrill scripts")
    group.addoption("--estab-seed", metavar="SEED", help="the seed of tests with net, and the only one of sweeps")
    group.addoption("--estab-seeds", metavar="N", type=_count, help="how many seeds sweeps run with, from 0")
    group.addoption("--estab-seconds", metavar="S", type=_seconds, help="for how many real seconds each sweep runs")
    group.addoption("--estab-check", action="store_true", help="run each seed twice, and fail if a fact differs")
    group.addoption("--drill-profile", default="linux", choices=("linux", "freebsd", "neutral"),
                    help="whose defaults the stack takes for .pkt scripts (default: linux)")
    group.addoption("--drill-ip", default="all", choices=("ipv4", "ipv4-mapped-ipv6", "ipv6", "all"),
                    help="IP version of .pkt scripts (default: each one that the name does not exclude)")
    parser.addini("drill_collect", "collect .pkt scripts in folders, not only those named", type="bool", default=False)


@pytest.fixture
def net(request: pytest.FixtureRequest) -> Iterator[Network]:
    """A virtual network with a virtual clock (``estab.Network``); its seed follows from the test's name."""
    from estab.trial.in_pytest import NetTrial

    trial = NetTrial(request.node)
    request.node.stash[_TRIAL] = trial
    yield trial.net
    trial.end()


@pytest.fixture
def real_net(request: pytest.FixtureRequest) -> Iterator[Network]:
    """A network in real time (``estab.Network(clock="real")``), for hosts that are processes of the system (Linux)."""
    from estab.trial.in_pytest import NetTrial

    trial = NetTrial(request.node, "real")
    request.node.stash[_TRIAL] = trial
    yield trial.net
    trial.end()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Refuse a sweep in a ``unittest.TestCase``, whose methods get no fixtures."""
    kind = getattr(item, "cls", None)
    if (isinstance(kind, type) and issubclass(kind, unittest.TestCase)
            and hasattr(getattr(item, "function", None), "estab_sweep")):
        pytest.fail(f"{item.name}: a method of unittest.TestCase gets no network from @estab.sweep; in the test, call "
                    "estab.sweep(seeds=200).run(scenario) with a function that takes a network", pytrace=False)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that asked for ``net``: once, or once for each seed of its sweep."""
    trial = pyfuncitem.stash.get(_TRIAL, None)
    if trial is None:
        if hasattr(getattr(pyfuncitem, "function", None), "estab_sweep"):
            pytest.fail(f"{pyfuncitem.name}: @estab.sweep is for tests that take the fixture net, and this one does "
                        "not", pytrace=False)
        return None
    trial.call()
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the explanation of a failure to its report, and its seed to the summary."""
    if call.excinfo is not None and any(
            note.startswith(("in program ", "seed ")) for note in getattr(call.excinfo.value, "__notes__", ())):
        from estab.trial.in_pytest import hide_ours

        hide_ours()  # tests with checked(), or with a Network of their own
    report = yield
    trial = item.stash.get(_TRIAL, None)
    if trial is None:
        return report
    if report.when == "call":
        trial.has_passed = report.passed
    if not report.failed or call.excinfo is None:
        return report
    is_called = report.when == "call" and trial.was_called
    if not is_called and not trial.text:
        trial.tell(call.excinfo.value, report.when)
        is_called = True
    if is_called and trial.text:
        report.sections.append(("estab", trial.text))
        crash = getattr(report.longrepr, "reprcrash", None)
        if crash is not None:
            crash.message = trial.headline
    return report


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> DrillFile | None:
    """Collect a ``.pkt`` file that is named."""
    if file_path.suffix != ".pkt":
        return None
    if not (parent.session.isinitpath(file_path) or parent.config.getini("drill_collect")):
        return None
    found: DrillFile = DrillFile.from_parent(parent, path=file_path)
    return found


class DrillFile(pytest.File):
    """A script: a test for each IP version."""

    def collect(self) -> Iterator[pytest.Item]:
        """Return the tests."""
        from estab.drill.runner import ip_versions_of

        chosen = self.config.getoption("--drill-ip")
        for version in ip_versions_of(self.path) if chosen == "all" else (chosen,):
            yield DrillItem.from_parent(self, name=version, ip_version=version)


class DrillItem(pytest.Item):
    """A script in one IP version."""

    def __init__(self, *, ip_version: str, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.ip_version = ip_version

    def runtest(self) -> None:
        """Run it. ``DrillFailedError`` if the stack did something else than the script says."""
        from estab.drill.runner import run

        result = run(self.path, ip_version=self.ip_version, profile=self.config.getoption("--drill-profile"))
        if not result.is_ok:
            raise DrillFailedError(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show a failure as ``estab drill`` does, without the interpreter's own frames."""
        if isinstance(excinfo.value, DrillFailedError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Say where the test is."""
        return self.path, 0, f"{self.path.name} [{self.ip_version}]"


class DrillFailedError(Exception):
    """The stack did something else than the script says."""

    def __init__(self, result: Result) -> None:
        super().__init__(str(result))
        self.result = result
