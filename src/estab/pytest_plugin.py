"""For pytest: packetdrill scripts as tests.

``pytest some.pkt`` runs a script that is named on the command line, each IP version as a test of its own. Scripts that
lie beside tests are left alone, unless ``drill_collect = true`` in pytest's settings asks for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from estab.drill.runner import Result

__all__ = ["DrillFailedError", "DrillFile", "DrillItem", "pytest_addoption", "pytest_collect_file"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of scripts."""
    group = parser.getgroup("estab", "packetdrill scripts")
    group.addoption("--drill-profile", default="linux", choices=("linux", "freebsd", "neutral"),
                    help="whose defaults the stack takes for .pkt scripts (default: linux)")
    group.addoption("--drill-ip", default="all", choices=("ipv4", "ipv4-mapped-ipv6", "ipv6", "all"),
                    help="IP version of .pkt scripts (default: each one that the name does not exclude)")
    parser.addini("drill_collect", "collect .pkt scripts in folders, not only those named", type="bool", default=False)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> DrillFile | None:
    """Take a ``.pkt`` file that is asked for."""
    if file_path.suffix != ".pkt":
        return None
    if not (parent.session.isinitpath(file_path) or parent.config.getini("drill_collect")):
        return None
    found: DrillFile = DrillFile.from_parent(parent, path=file_path)
    return found


class DrillFile(pytest.File):
    """A script: a test for each IP version."""

    def collect(self) -> Iterator[pytest.Item]:
        """Give the tests."""
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
        """Run it. ``DrillFailedError`` where the stack did something else than the script says."""
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
