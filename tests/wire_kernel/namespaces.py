"""Namespaces for tests on the real kernel: made by the test, gone after it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["Namespace", "namespace", "requires_kernel"]


def _missing() -> str:
    if os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "needs root"
    if not Path("/dev/net/tun").exists():
        return "needs /dev/net/tun"
    if shutil.which("ip") is None:
        return "needs ip (iproute2)"
    return ""


requires_kernel = [pytest.mark.kernel, pytest.mark.skipif(bool(_missing()), reason=_missing())]


class Namespace:
    """One network namespace of the kernel, by name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def ip(self, words: str) -> str:
        """Run ``ip`` in it."""
        return _run(["ip", "-n", self.name, *words.split()])

    def check(self, *words: str) -> str:
        """Run a program in it to its end. ``RuntimeError`` where it fails."""
        return _run(["ip", "netns", "exec", self.name, *words])

    def run(self, *words: str, **options: object) -> subprocess.Popen[bytes]:
        """Start a program in it."""
        command = ["ip", "netns", "exec", self.name, *words]
        return subprocess.Popen(command, **options)  # type: ignore[call-overload, no-any-return]


@contextmanager
def namespace(label: str) -> Iterator[Namespace]:
    """Make a namespace with its loopback up, and remove it with all that is in it."""
    name = f"estab-{label}-{os.getpid()}"
    _run(["ip", "netns", "add", name])
    try:
        made = Namespace(name)
        made.ip("link set lo up")
        yield made
    finally:
        _run(["ip", "netns", "del", name])


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
