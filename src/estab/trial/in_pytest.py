"""Trials in pytest: the ``net`` fixture's one run, a sweep's many, and what is reported of a failure.

- A test's seed is ``--estab-seed``, else it follows from the test's node id: the same in any order and on any worker.
- A sweep is a loop inside of one test, never a parametrisation.
- A failure is run again, with everything recorded; that is possible since the same seed gives the same run. Fixtures of
  the test's own that would be shared between runs make it impossible, and then a sentence says so.
- What pytest shows as printed and logged is what the run that failed printed and logged, and no other.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import pytest

from estab.lab.network import Network
from estab.trial.attempt import RUN_LIMIT, Attempt, Scenario
from estab.trial.explain import Explanation, explain
from estab.trial.kept import folder_for, keep
from estab.trial.sweep import Sweep, SweepResult, UnrepeatableError, check_twice, never_held_text, run_seeds

__all__ = ["NetTrial", "hide_ours", "seed_of"]

_PASSING: Final = (pytest.skip.Exception, pytest.xfail.Exception, pytest.exit.Exception)
_OURS: Final = frozenset({"net", "real_net", "request"})
_REAL_LIMIT: Final = "10m"
_SHOWN_EVERY_S: Final = 0.5
_QUOTE: Final = "'"


def seed_of(config: pytest.Config, node_id: str) -> int | str:
    """Return the seed of a test: what ``--estab-seed`` says, else a number that follows from its node id."""
    given = config.getoption("--estab-seed")
    if given is not None:
        return int(given) if given.lstrip("-").isdecimal() else str(given)
    return int.from_bytes(hashlib.sha256(node_id.encode()).digest()[:4], "big")


def hide_ours() -> None:
    """Leave estab's own frames out of pytest's tracebacks: what is wrong lies in the test, or in what it tests."""
    for name, module in list(sys.modules.items()):
        if name.startswith("estab."):
            module.__dict__.setdefault("__tracebackhide__", True)


def _handlers_of_pytest() -> list[Any]:
    """Return the handlers by which pytest takes or shows what is logged."""
    return [handler for handler in logging.getLogger().handlers if type(handler).__module__ == "_pytest.logging"]


def _nothing(record: logging.LogRecord) -> bool:
    return False


class NetTrial:
    """What the plugin does for one test that asks for ``net``."""

    def __init__(self, item: pytest.Function, clock: Literal["virtual", "real"] = "virtual") -> None:
        self.item = item
        self.sweep: Sweep | None = getattr(item.function, "estab_sweep", None)
        self.seed = seed_of(item.config, item.nodeid)
        self.text = ""
        """The explanation of a failure, for the report."""
        self.headline = ""
        """The same in a line, for the summary."""
        self.was_called = False
        """Whether the plugin called the test. It does not call a ``TestCase``, nor what asks for ``net`` as it runs."""
        self.has_passed = False
        self.net = Network(self.seed, limit=RUN_LIMIT if clock == "virtual" else _REAL_LIMIT, clock=clock)
        """The network of the fixture: used by other fixtures, and by the test if it is not a sweep."""

    def end(self) -> None:
        """End the fixture's network. Raises what is wrong with a run that nothing has checked."""
        try:
            if self.has_passed and not self.was_called:
                self.net.check()
        except Exception:
            hide_ours()
            raise
        finally:
            self.net.close()

    def call(self) -> None:
        """Run the test. Raises what the test raised, or what is wrong with how it is written."""
        self.was_called = True
        function = self.item.obj
        if inspect.iscoroutinefunction(function):
            pytest.fail(f"{self.item.name}: a test with the fixture net is an ordinary function; what is async runs on "
                        "a host: host.run(coroutine_function)", pytrace=False)
        arguments = {name: self.item.funcargs[name] for name in self.item._fixtureinfo.argnames}

        if self.net.is_real_time:
            self._in_real_time(function, arguments)
            return

        def scenario(net: Network) -> None:
            function(**{**arguments, "net": net})

        scenario.__wrapped__ = inspect.unwrap(function)  # type: ignore[attr-defined]
        if self.sweep is not None:
            self._sweep(scenario, self.sweep)
        elif self._option("--estab-check"):
            self._refuse_shared("--estab-check runs each seed twice")
            self._checked(scenario)
        else:
            self._once(function, arguments, scenario)

    # --- one run

    def _once(self, function: Callable[..., object], arguments: dict[str, Any], scenario: Scenario) -> None:
        failed = Attempt(self.seed)
        try:
            function(**arguments)
            self.net.check()
        except (KeyboardInterrupt, *_PASSING):
            raise
        except BaseException as error:
            hide_ours()
            failed.error = error
            failed.waiting = self.net.waiting()
            failed.now_ns = self.net.now_ns
            self.net.close()
            shared = self._shared()
            if not self._takes_net():
                self._tell_once(failed, "the test does not take the fixture net itself; what does can be run again")
            elif shared:
                self._tell_once(failed, f"the fixture {shared} would be shared with that run; what is made from net in "
                                        "the test itself can be run again")
            else:
                self._explain(scenario, failed, None)
            raise

    def tell(self, error: BaseException, when: str) -> None:
        """Explain a failure that did not come by ``call``: of a fixture, or of a test that the plugin did not call."""
        failed = Attempt(self.seed)
        failed.error = error
        failed.waiting = self.net.waiting()
        if self.net.is_real_time:
            self._tell_real(failed)
        else:
            is_fixture = self.was_called or when == "setup"
            self._tell_once(failed, f"it failed in the {when} of a fixture; what fails in the test itself can be run "
                                    "again" if is_fixture else "the plugin did not call this test with net")

    def _tell_once(self, failed: Attempt, why: str) -> None:
        """Tell of a failure what is known without another run."""
        self.headline = f"seed {self.seed}: {failed.sentence}"
        self.text = "\n".join([
            self.headline, *(["", "at the end:", *(f"  {line}" for line in failed.waiting)] if failed.waiting else []),
            "", f"not run again, so no weather and no ladder: {why}", f"again:  {self._again(self.seed)}"])

    def _tell_real(self, failed: Attempt) -> None:
        """Tell of a failure in real time what is known."""
        ends = failed.waiting
        ends.extend(str(process) for host in self.net.hosts.values() for process in host.processes)
        self.headline = f"seed {self.seed}, in real time: {failed.sentence}"
        self.text = "\n".join([
            self.headline, "", *(["at the end:", *(f"  {line}" for line in ends), ""] if ends else []),
            f"real time: not repeatable, the seed decided the weather only; {self.net.lateness}"])

    def _in_real_time(self, function: Callable[..., object], arguments: dict[str, Any]) -> None:
        """Run the test once: it can't be repeated, so a failure is told as it was."""
        if self.sweep is not None or self._option("--estab-check"):
            pytest.fail(f"{self.item.name}: a test in real time is not repeatable, so it is no sweep and can't be run "
                        "twice to compare", pytrace=False)
        try:
            function(**arguments)
            self.net.check()
        except (KeyboardInterrupt, *_PASSING):
            raise
        except BaseException as error:
            hide_ours()
            self.tell(error, "call")
            raise

    def _checked(self, scenario: Scenario) -> None:
        try:
            made = check_twice(scenario, self.seed, _PASSING)
        except UnrepeatableError as error:
            raise pytest.fail.Exception(str(error), pytrace=False) from None
        if made.error is not None:
            self._explain(scenario, made, None)
            raise made.error

    # --- many

    def _sweep(self, scenario: Scenario, sweep: Sweep) -> None:
        self._refuse_shared("a sweep runs the test many times")
        given = self._option("--estab-seed")
        count = int(self._option("--estab-seeds") or sweep.seeds)
        seconds = self._option("--estab-seconds") or sweep.seconds
        seeds: list[int | str] = [self.seed] if given is not None else list(range(count))
        if self._option("--estab-seconds") and not self._option("--estab-seeds") and given is None:
            seeds = list(range(1_000_000))
        try:
            with self._progress(len(seeds)) as progress:

                def passed(done: int, total: int, seconds: float) -> None:
                    self._captured()  # what is shown of a failure is what its own seed printed and logged
                    for handler in _handlers_of_pytest():
                        if hasattr(handler, "records"):
                            handler.reset()
                    if progress is not None:
                        progress(done, total, seconds)

                result = run_seeds(scenario, seeds, seconds_max=seconds, progress=passed,
                                   checks_twice=bool(self._option("--estab-check")), passing=_PASSING)
        except UnrepeatableError as error:
            raise pytest.fail.Exception(str(error), pytrace=False) from None
        if result.failed is not None:
            self._explain(scenario, result.failed, result)
            assert result.failed.error is not None
            raise result.failed.error
        if result.never_held and given is None:
            pytest.fail(never_held_text(result), pytrace=False)

    @contextmanager
    def _progress(self, count: int) -> Iterator[Callable[[int, int, float], None] | None]:
        """Show how far a long sweep is, on a terminal that nothing else captures."""
        plugins = self.item.config.pluginmanager
        reporter, capture = plugins.get_plugin("terminalreporter"), plugins.get_plugin("capturemanager")
        if reporter is None or not sys.__stderr__ or not sys.__stderr__.isatty() or hasattr(
                self.item.config, "workerinput"):
            yield None
            return
        shown_at = time.monotonic()
        was_shown = False

        def show(done: int, total: int, seconds: float) -> None:
            nonlocal shown_at, was_shown
            if time.monotonic() - shown_at < _SHOWN_EVERY_S:
                return
            shown_at, was_shown = time.monotonic(), True
            rate = done / seconds if seconds else 0.0
            write(f"\r{self.item.name}: {done} of {total} seeds, {rate:.0f} a second ")

        def write(text: str) -> None:
            if capture is None:
                reporter._tw.write(text, flush=True)
            else:
                with capture.global_and_fixture_disabled():
                    reporter._tw.write(text, flush=True)

        try:
            yield show
        finally:
            if was_shown:
                write("\r" + " " * 79 + "\r")

    # --- what is said

    def _explain(self, scenario: Scenario, failed: Attempt, result: SweepResult | None) -> None:
        hide_ours()
        passed = 0 if result is None else result.passed
        before = f" ({passed} passed before)" if passed else ""
        self.headline = f"seed {failed.seed}{before}: {failed.sentence}"
        with self._apart():
            found = explain(
                scenario, failed.seed, self._again(failed.seed), passed=passed, first=failed,
                passing_seed=None if result is None else result.last_passed)
        if found is None:
            self.text = (f"{self.headline}\nnot repeatable: a second run of this seed did not fail. Something in the "
                         "test follows neither the seed nor the virtual clock; --estab-check looks for it")
            return
        if found.is_rerun:
            self._keep(found, failed.seed)
        self.text = found.text()

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """Keep what the runs of an explanation print and log out of what pytest shows of the test."""
        printed, handlers = self._captured(), _handlers_of_pytest()
        for handler in handlers:
            handler.addFilter(_nothing)
        try:
            yield
        finally:
            for handler in handlers:
                handler.removeFilter(_nothing)
            self._captured()
            for name, text in zip(("stdout", "stderr"), printed, strict=True):
                self.item.add_report_section("call", name, text)

    def _captured(self) -> tuple[str, str]:
        """Take what pytest has captured so far."""
        capture = self.item.config.pluginmanager.get_plugin("capturemanager")
        if capture is None or not capture.is_globally_capturing():
            return "", ""
        out, err = capture.read_global_capture()
        return out, err

    def _keep(self, found: Explanation, seed: int | str) -> None:
        root = Path(self.item.config.rootpath)
        folder = folder_for(root, self.item.nodeid.rpartition("::")[2], seed, test=self.item.nodeid)
        keep(found, folder, test=self.item.nodeid, shown=folder.relative_to(root))

    def _again(self, seed: int | str) -> str:
        node = self.item.nodeid
        return f"pytest {shlex.quote(node) if _QUOTE in node else _QUOTE + node + _QUOTE} --estab-seed={seed}"

    def _option(self, name: str) -> Any:
        return self.item.config.getoption(name)

    # --- other fixtures

    def _takes_net(self) -> bool:
        """Whether ``net`` is an argument of the test, which another run can give another network."""
        return "net" in self.item._fixtureinfo.argnames

    def _needs_net(self, name: str) -> bool:
        """Whether a fixture asks for ``net``, or for a fixture that does."""
        info = self.item._fixtureinfo
        seen, asked = set[str](), [name]
        while asked:
            one = asked.pop()
            if one == "net":
                return True
            if one not in seen:
                seen.add(one)
                asked += [other for definition in info.name2fixturedefs.get(one, ()) for other in definition.argnames]
        return False

    def _shared(self) -> str:
        """Name a fixture that would be shared between runs of one test; ``""`` for none.

        That is a function's fixture which the test takes, or which works on ``net`` and comes by itself (autouse).
        """
        info = self.item._fixtureinfo
        given = self.item.callspec.params if hasattr(self.item, "callspec") else {}
        for name in info.names_closure:
            definitions = info.name2fixturedefs.get(name)
            if name in _OURS or name in given or not definitions:
                continue
            if definitions[-1].scope == "function" and (name in info.argnames or self._needs_net(name)):
                return name
        return ""

    def _refuse_shared(self, why: str) -> None:
        if not self._takes_net():
            pytest.fail(f"{self.item.name}: {why}, each time with another network, so it must take the fixture net "
                        "itself, as an argument", pytrace=False)
        shared = self._shared()
        if shared:
            pytest.fail(
                f"{self.item.name}: {why}, and the fixture {shared} is made once for all of them, so one run would "
                f"change what the next finds. Make {shared} inside of the test, or give it a wider scope if runs may "
                "share it", pytrace=False)

