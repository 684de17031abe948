"""The page ``docs/conformance-python.md`` from what ``tools/cpython_tests.py`` found."""

from __future__ import annotations

import collections
import platform
from collections.abc import Iterable
from typing import Any

HEAD = """# CPython's own tests

The tests that come with Python {python}, unmodified, with `socket`, `select`, `selectors`, `asyncio` and `ssl` meaning
a host of estab. They run as a program of the lab, in virtual time, over the host's loopback; where a test needs
signals, the process's main thread or the system's pipes it runs on an `estab.Stack`, in real time. Written by

    python tools/cpython_tests.py --page docs/conformance-python.md

"Excluded" tests were left out, and the second table says why. "Skipped" are those that skip by themselves, as they
would on a system without Unix sockets, Windows, Bluetooth …

"""


def page(results: Iterable[Any]) -> str:
    """Write the page."""
    results = list(results)
    lines = [HEAD.format(python=platform.python_version())]
    lines.append("| tests | of | time | run | passed | failed | excluded | skipped |")
    lines.append("|---|---|---|---:|---:|---:|---:|---:|")
    for result in results:
        run = len(result.passed) + len(result.failed)
        time = "real" if result.suite.world == "stack" else "virtual"
        lines.append(
            f"| {result.suite.name} | `{result.suite.module}` | {time} | {run} | {len(result.passed)} | "
            f"{len(result.failed)} | {len(result.excluded)} | {len(result.skipped)} |")
    run = sum(len(result.passed) + len(result.failed) for result in results)
    passed = sum(len(result.passed) for result in results)
    excluded = sum(len(result.excluded) for result in results)
    skipped = sum(len(result.skipped) for result in results)
    lines.append(f"| all | | | {run} | {passed} | {run - passed} | {excluded} | {skipped} |")
    lines += ["", "`socket-tcp` are the 26 classes of `test_socket` about TCP streams.", ""]
    lines += ["## What is excluded, and why", ""]
    lines += ["| tests | number | why |", "|---|---:|---|"]
    lines += [f"| {result.suite.name}: {names} | {count} | {reason} |"
              for result in results for reason, names, count in grouped(result.excluded)]
    failed = [(result, name, text) for result in results for name, text in result.failed.items()]
    if failed:
        lines += ["", "## What fails", "", "| test | how |", "|---|---|"]
        lines += [f"| {result.suite.name}: {name} | {cell(text.strip().splitlines()[-1])} |"
                  for result, name, text in failed]
    lines += ["", "## What skips by itself", "", "| number | reason that the test gives |", "|---:|---|"]
    reasons = collections.Counter(cell(reason) for result in results for reason in result.skipped.values())
    lines += [f"| {count} | {reason} |" for reason, count in reasons.most_common()]
    return "\n".join(lines) + "\n"


def grouped(excluded: dict[str, str]) -> list[tuple[str, str, int]]:
    """Give each reason once, with the classes (or the single tests) that it is about."""
    found = []
    for reason in dict.fromkeys(excluded.values()):
        names = [name for name, why in excluded.items() if why == reason]
        classes = list(dict.fromkeys(name.split(".")[0] for name in names))
        shown = classes if len(names) > 6 else names
        found.append((reason, ", ".join(f"`{name}`" for name in shown), len(names)))
    return found


def cell(text: str) -> str:
    """Make a text fit into a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")[:160]
