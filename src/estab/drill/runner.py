"""Running scripts from files, for programs: ``run(path) -> Result``."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from estab.drill.errors import MismatchError, ScriptError, UnsupportedError
from estab.drill.interpreter import Interpreter, Make
from estab.drill.language.parser import parse
from estab.drill.machine.machine import Machine
from estab.drill.machine.runners import defines_of, versions_of
from estab.drill.machine.settings import IP_VERSIONS, PROFILES, Settings
from estab.drill.steps.calls import Calls
from estab.drill.steps.commands import Commands
from estab.events import Observer

__all__ = ["Result", "as_expected", "ip_versions_of", "run", "run_on_kernel"]


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one script.

    ``outcome`` is ``passed``, ``failed``, ``unsupported`` (the script asks for something that is not here, which the
    message names) or ``error`` (the script can't be read). ``line`` is the script's, 0 if none is at fault.
    ``expected`` and ``got`` are packetdrill text, or empty.
    """

    path: str
    ip_version: str
    profile: str
    outcome: str
    line: int
    source_line: str
    message: str
    expected: str
    got: str
    took_s: float
    script_s: float
    seen: tuple[tuple[int, str], ...] = ()
    """What the stack sent, as packetdrill text, by the line that expects it."""
    unknown_sysctls: tuple[str, ...] = ()
    """Settings of FreeBSD that the script sets and that are not known: they changed nothing."""

    @property
    def is_ok(self) -> bool:
        """The stack did all that the script says."""
        return self.outcome == "passed"

    def __str__(self) -> str:
        if self.is_ok:
            return f"{self.path}: passed"
        text = f"{self.path}:{self.line}: {self.message}"
        if self.expected:
            text += f"\n  expected {self.expected}\n  got      {self.got}"
        return text


def ip_versions_of(path: str | PathLike[str]) -> tuple[str, ...]:
    """Return the IP versions that a script is for: all, unless it says which (``--ip_version=``) or its name ends in
    ``v4`` or ``v6``; Linux's own selftests, which call ``./defaults.sh``, are for IPv4 and IPv6.
    """
    return versions_of(Path(path))


def run(
    path: str | PathLike[str], *, ip_version: str = "ipv4", profile: str = "linux",
    defines: Mapping[str, str] | None = None, options: Mapping[str, str] | None = None,
    observer: Observer | None = None,
) -> Result:
    """Run a script in virtual time against a fresh stack. Nothing on this computer is touched but the file.

    ``defines`` are names that the script uses (``-D`` of packetdrill), beside those that the runners of packetdrill and
    of Linux's selftests define. ``options`` are the script's options, as it may have them itself:
    ``{"tolerance_usecs": "100000"}``; its own win. ``observer`` is told all facts of both ends.
    ``ValueError`` for an argument that makes no sense, ``OSError`` if the file can't be read. Code in a script
    (``%{ }%``) is Python and runs as such: run only scripts that you trust.
    """
    if ip_version not in IP_VERSIONS:
        raise ValueError(f"ip_version: {ip_version!r} is not one of {', '.join(IP_VERSIONS)}")
    if profile not in PROFILES:
        raise ValueError(f"profile: {profile!r} is not one of {', '.join(PROFILES)}")
    settings = Settings(ip_version, profile, dict(defines or {}))
    for name, value in (options or {}).items():
        try:
            settings = settings.with_option(name, value)
        except UnsupportedError as error:
            raise ValueError(f"options: {error.message}") from None
    source = Path(path).read_text(encoding="utf-8", errors="replace")
    return _run(str(path), source, settings, observer)


def as_expected(result: Result) -> Result:
    """Turn the result of a script beside a file of its name with ``.exfail``: it is expected to fail."""
    if not Path(result.path).with_suffix(".exfail").exists() or result.outcome in ("error", "unsupported"):
        return result
    if result.is_ok:
        return replace(result, outcome="failed", message="passed, and its .exfail file says that it fails")
    return replace(result, outcome="passed", message="")


def run_on_kernel(
    path: str | PathLike[str], *, ip_version: str = "ipv4", defines: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> Result:
    """Run a script in real time against the kernel of this machine, through a TUN in a network namespace.

    The calling process enters the namespace and stays in it: call this in a process of its own. ``OSError`` without
    root; else as ``run``. The result's profile is the kernel's release.
    """
    from estab.drill.kernel import KernelCalls, KernelCommands, KernelMachine

    settings = Settings(ip_version, f"Linux {platform.release().partition('-')[0]}", dict(defines or {}))
    for name, value in (options or {}).items():
        settings = settings.with_option(name, value)

    def make(settings: Settings) -> tuple[Machine, Calls, Commands]:
        machine = KernelMachine(settings)
        return machine, KernelCalls(machine), KernelCommands(machine)

    source = Path(path).read_text(encoding="utf-8", errors="replace")
    return _run(str(path), source, settings, None, make)


def _run(
    path: str, source: str, settings: Settings, observer: Observer | None, make: Make | None = None,
) -> Result:
    began = time.perf_counter()
    outcome, line, message, expected, got = "passed", 0, "", "", ""
    interpreter = None
    script_s = 0.0
    try:
        names = {**defines_of(settings.ip_version, settings.profile), **settings.defines}
        script = parse(source, path, names, "FreeBSD" if settings.profile == "freebsd" else "Linux")
        interpreter = Interpreter(script, settings, observer, make)
        interpreter.run()
    except ScriptError as error:
        outcome, line, message = "error", error.place.line, str(error)
    except MismatchError as error:
        outcome = "unsupported" if isinstance(error, UnsupportedError) else "failed"
        message, expected, got = error.message, error.expected, error.got
        if interpreter is not None and interpreter.event is not None:
            line = interpreter.event.place.line
    if interpreter is not None:
        script_s = interpreter.machine.script_ns / 1e9
    lines = source.splitlines()
    source_line = lines[line - 1].strip() if 0 < line <= len(lines) else ""
    took_s = time.perf_counter() - began
    return Result(
        path, settings.ip_version, settings.profile, outcome, line, source_line, message, expected, got, took_s,
        script_s, tuple(interpreter.seen) if interpreter is not None else (),
        tuple(interpreter.commands.sysctls.unknown) if interpreter is not None else (),
    )
