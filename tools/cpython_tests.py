"""Run CPython's own tests of sockets against estab: ``python tools/cpython_tests.py [SUITE ...]``.

The tests are those of the Python that runs this. Each suite runs in a process of its own, inside ``installed()``, so
that ``socket``, ``select``, ``selectors`` and ``asyncio`` mean a host of estab; what is tested is otherwise untouched.
Most run as a program on a host of the lab, in virtual time; those that need signals, the process's main thread or the
operating system's pipes run on an ``estab.Stack``, in real time. A test that hangs is ended after ``--patience``
seconds, counted as failed, and the rest goes on in a new process.

``--page FILE`` writes the table as the page ``docs/conformance-python.md``. The status is 1 where a
test fails, or a suite ran none.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fnmatch
import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import unittest
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()


def main() -> int:
    """Run the suites that the command line names, all of them where it names none."""
    arguments = read_arguments()
    if arguments.child:
        return child()
    from cpython_page import page
    from cpython_suites import SUITES

    chosen = [suite for suite in SUITES if not arguments.suites or suite.name in arguments.suites]
    unknown = set(arguments.suites) - {suite.name for suite in SUITES}
    if unknown:
        sys.exit(f"no such suite: {', '.join(sorted(unknown))}; there are {', '.join(suite.name for suite in SUITES)}")
    results = []
    for suite in chosen:
        result = run_suite(suite, arguments.patience, arguments.match)
        results.append(result)
        print(result.line(), flush=True)
        for name in sorted(result.times, key=result.times.__getitem__, reverse=True)[: arguments.slow]:
            print(f"    {result.times[name]:.1f}s {name}")
        for name, text in result.failed.items():
            print(f"    {name}: {text if arguments.verbose else text.strip().splitlines()[-1][:200]}", flush=True)
    if arguments.page:
        arguments.page.write_text(page(results), encoding="utf-8")
    return 1 if any(result.failed or not result.passed for result in results) else 0


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suites", nargs="*", metavar="SUITE")
    parser.add_argument("--match", default="*", metavar="PATTERN", help="only tests whose id this pattern matches")
    parser.add_argument("--patience", type=float, default=60.0, metavar="SECONDS", help="how long one test may take")
    parser.add_argument("--slow", type=int, default=0, metavar="N", help="print the N slowest tests")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the table as a page")
    parser.add_argument("-v", "--verbose", action="store_true", help="print whole tracebacks")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


@dataclass
class Result:
    """What came of a suite: tests by their name behind the module's."""

    suite: Any
    passed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    times: dict[str, float] = field(default_factory=dict)
    """Seconds that each test took."""

    def line(self) -> str:
        """Write the result in a line."""
        return (f"{self.suite.name}: {len(self.passed)} of {len(self.passed) + len(self.failed)} passed, "
                f"{len(self.skipped)} skip by themselves, {len(self.excluded)} excluded, {self.seconds:.0f}s")


def run_suite(suite: Any, patience_s: float, match: str = "*") -> Result:
    """Run one suite, in as many processes as it takes."""
    result = Result(suite)
    done: list[str] = []
    started = time.monotonic()
    for _ in range(50):
        name = run_child(suite, done, result, patience_s, match)
        if name is None:
            break
        result.failed[name] = f"hung for {patience_s:g}s, or ended its process"
        done.append(name)
    result.seconds = time.monotonic() - started
    return result


def run_child(suite: Any, done: list[str], result: Result, patience_s: float, match: str) -> str | None:
    """Run what is left of a suite in a process. Gives the test at which it ended early, ``None`` where it finished."""
    order = {"module": suite.module, "world": suite.world, "only": suite.only, "excluded": suite.excluded, "done": done,
             "match": match}
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, str(HERE), "--child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            cwd=folder, env=environment, start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(order).encode())
        process.stdin.close()
        running, since, is_finished = "(before the first test)", 0.0, False
        watchdog = threading.Timer(patience_s, end, (process,))
        watchdog.start()
        for line in process.stdout:
            watchdog.cancel()
            watchdog = threading.Timer(patience_s, end, (process,))
            watchdog.start()
            try:
                what, name, text = json.loads(line)
            except ValueError:
                continue
            if what == "start":
                running, since = name, time.monotonic()
            elif what == "finished":
                is_finished = True
            else:
                if name not in done:
                    done.append(name)
                    if since:
                        result.times[name] = time.monotonic() - since
                note(result, what, name, text)
        watchdog.cancel()
        process.stdout.close()
        end(process)
        process.wait()
        if is_finished:
            return None
        log.seek(0)
        tail = log.read().decode(errors="replace")[-3000:]
        if running in done:
            raise SystemExit(f"{suite.name} ended after {running}:\n{tail}")
        return running


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and those that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def note(result: Result, what: str, name: str, text: str) -> None:
    """Sort one test's outcome in."""
    if what == "passed":
        if name not in result.failed:
            result.passed.append(name)
    elif what == "failed":
        if name in result.passed:
            result.passed.remove(name)
        result.failed[name] = text
    elif what == "skipped":
        result.skipped[name] = text
    elif what == "excluded":
        result.excluded[name] = text


# --- in the process that runs the tests


def child() -> int:
    """Read from standard input what to run, and write what comes of it to standard output, a line of JSON each."""
    order = json.load(sys.stdin)
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    warnings.simplefilter("default")

    def tell(what: str, name: str = "", text: str = "") -> None:
        out.write(json.dumps([what, name, text]) + "\n")

    if order["world"] == "stack":
        from estab import QueueDevice, Stack

        with Stack(QueueDevice(), "10.9.0.1/24") as stack, stack.installed():
            run_tests(order, tell)
    else:
        from estab import Network

        net = Network(seed=1)
        host = net.host("tester")
        net.link(host, net.host("other"))
        program = host.run(run_tests, order, tell)
        net.run(check=False)
        program.result()
    tell("finished")
    out.flush()
    os._exit(0)  # threads that tests left behind don't matter


def run_tests(order: dict[str, Any], tell: Any) -> None:
    """Run the tests, inside of ``installed()``."""
    # Watches for ended processes by a thread, not by a signal: each test with an event loop makes one.
    asyncio.SafeChildWatcher = asyncio.ThreadedChildWatcher
    module = importlib.import_module(order["module"])
    short = order["module"] + "."
    chosen = []
    for test in flat(unittest.defaultTestLoader.loadTestsFromModule(module)):
        name = test.id().removeprefix(short)
        is_asked = any(fnmatch.fnmatch(name, pattern) for pattern in order["only"])
        if not is_asked or not fnmatch.fnmatch(name, order["match"]) or name in order["done"]:
            continue
        reason = next((why for pattern, why in order["excluded"] if fnmatch.fnmatch(name, pattern)), None)
        if reason == "":
            continue  # another suite's
        if reason is not None:
            tell("excluded", name, reason)
        else:
            chosen.append(test)
    unittest.TestSuite(chosen).run(Teller(short, tell))


def flat(suite: Any) -> Iterator[unittest.TestCase]:
    """Give the tests of a suite, one by one."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flat(test)
        else:
            yield test


class Teller(unittest.TestResult):
    """Tells each test's outcome as it comes."""

    # ruff: noqa: D102

    def __init__(self, prefix: str, tell: Any) -> None:
        super().__init__(io.StringIO())
        self._prefix = prefix
        self._tell = tell
        self._is_well = True

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._is_well = True
        self._tell("start", self._name(test))

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        if self._is_well:
            self._tell("passed", self._name(test))

    def _fail(self, test: Any, error: Any) -> None:
        self._is_well = False
        self._tell("failed", self._name(test), "".join(traceback.format_exception(*error)))

    def addError(self, test: Any, err: Any) -> None:
        self._fail(test, err)

    def addFailure(self, test: Any, err: Any) -> None:
        self._fail(test, err)

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err is not None:
            self._fail(test, err)

    def addSkip(self, test: Any, reason: str) -> None:
        self._is_well = False
        self._tell("skipped", self._name(test), reason)

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        pass

    def addUnexpectedSuccess(self, test: Any) -> None:
        self._is_well = False
        self._tell("failed", self._name(test), "an expected failure succeeded")

    def _name(self, test: Any) -> str:
        name = test.id() if hasattr(test, "id") else str(test)
        match = re.match(r"(setUp|tearDown)(Class|Module) \((.*)\)", name)
        return (match[3] + f".{match[1]}{match[2]}" if match else name).removeprefix(self._prefix)


if __name__ == "__main__":
    sys.exit(main())
