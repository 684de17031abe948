"""Results of scripts as JUnit's XML, which CI systems read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from estab.drill.runner import Result

__all__ = ["write_junit"]


def write_junit(path: str, results: Sequence[Result]) -> None:
    """Write one test case for each script and IP version. ``OSError`` if the file can't be written."""
    errors = sum(result.outcome == "error" for result in results)
    failures = sum(not result.is_ok for result in results) - errors
    suite = ElementTree.Element("testsuite", {
        "name": "estab drill", "tests": str(len(results)), "failures": str(failures),
        "errors": str(errors), "time": f"{sum(result.took_s for result in results):.3f}",
    })
    for result in results:
        suite.append(_case(result))
    tree = ElementTree.ElementTree(suite)
    ElementTree.indent(tree)
    tree.write(path, encoding="utf-8", xml_declaration=True)


def _case(result: Result) -> ElementTree.Element:
    case = ElementTree.Element("testcase", {
        "classname": str(Path(result.path).parent), "name": f"{Path(result.path).name} [{result.ip_version}]",
        "file": result.path, "time": f"{result.took_s:.3f}",
    })
    if not result.is_ok:
        kind = "error" if result.outcome == "error" else "failure"
        told = ElementTree.SubElement(case, kind, {"type": result.outcome, "message": _printable(result.message)})
        told.text = _printable(str(result))
    return case


def _printable(text: str) -> str:
    """Leave out what XML can't hold."""
    return "".join(letter for letter in text if letter >= " " or letter in "\n\t")
