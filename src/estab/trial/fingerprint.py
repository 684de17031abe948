"""What a seed's run depends on besides the seed: estab's version, its core, Python, and the scenario itself."""

from __future__ import annotations

import hashlib
import inspect
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estab._build import core_kind
from estab._version import __version__
from estab.trial.scenario import Scenario as ScenarioFile
from estab.trial.scripts import script_path

__all__ = ["Fingerprint", "fingerprint_of"]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A replay promises the same run only under the same fingerprint."""

    estab: str
    core: str
    python: str
    scenario: str
    """Hash of the scenario's source: a function's, or that of a file and of the scripts that it runs; empty if it can't
    be read."""

    def differences(self, other: Fingerprint) -> list[str]:
        """List what is not the same in another one, in words."""
        return [f"{name} was {theirs}, is {ours}" for name, ours, theirs in (
            ("estab", self.estab, other.estab), ("the core", self.core, other.core),
            ("Python", self.python, other.python), ("the scenario's source", self.scenario, other.scenario),
        ) if ours != theirs]

    def words(self) -> dict[str, str]:
        """Write it as plain values."""
        return {"estab": self.estab, "core": self.core, "python": self.python, "scenario": self.scenario}

    @classmethod
    def read(cls, words: dict[str, Any]) -> Fingerprint:
        """Read what ``words`` wrote."""
        return cls(*(str(words.get(name, "")) for name in ("estab", "core", "python", "scenario")))

    def __str__(self) -> str:
        return f"estab {self.estab} ({self.core}), Python {self.python}" + (
            f", scenario {self.scenario}" if self.scenario else "")


def fingerprint_of(scenario: Callable[..., object] | None) -> Fingerprint:
    """Take the fingerprint of this installation and a scenario."""
    try:
        text = "" if scenario is None else hashlib.sha256(_source(scenario)).hexdigest()[:12]
    except (OSError, TypeError, ValueError):
        text = ""
    return Fingerprint(__version__, core_kind(), platform.python_version(), text)


def _source(scenario: Callable[..., object]) -> bytes:
    if not isinstance(scenario, ScenarioFile):
        return inspect.getsource(scenario).encode()
    scripts = [script for plan in scenario.hosts.values() for program in plan.programs
               if (script := script_path(program.run)) is not None]
    return scenario.text().encode() + b"".join(Path(scenario.folder, script).read_bytes() for script in scripts)
