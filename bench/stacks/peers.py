"""The other stacks: how each is built, and what is missing where it can't be."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["Missing", "build", "gvisor_version", "package_version"]

HERE: Final = Path(__file__).resolve().parent
GO_PATH: Final = Path("/usr/share/gocode")
"""Where Debian keeps the sources of Go libraries."""
_TCPIP: Final = GO_PATH / "src/gvisor.dev/gvisor/pkg/tcpip/tcpip.go"
OUT: Final = HERE.parents[1] / "build" / "stacks"


class Missing(Exception):
    """A stack can't take part; the text says what to install."""


def build(name: str) -> Path:
    """Build a program from its source, if it is not there or older; gives the program. ``Missing`` says what lacks."""
    source = HERE / {"lwip": "lwip.c", "gvisor": "gvisor/main.go", "kernel": "kernel.c", "bounce": "bounce.c"}[name]
    target = OUT / (re.sub(r"[^\w.~-]+", "_", f"gvisor {gvisor_version()}") if name == "gvisor" else name)
    if target.exists() and target.stat().st_mtime > source.stat().st_mtime:
        return target
    OUT.mkdir(parents=True, exist_ok=True)
    if name == "gvisor":
        _run(["env", "GO111MODULE=off", f"GOPATH={GO_PATH}", _go(), "build", "-o", str(target), str(source),
              str(source.with_name(_gvisor_api()))])
        return target
    _need("cc", "gcc libc6-dev")
    if name == "lwip":
        _need("pkg-config", "pkg-config")
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "lwip"], capture_output=True, text=True,
                               check=False)
        if flags.returncode:
            raise Missing("lwIP's library is missing: apt install liblwip-dev")
        _run(["cc", "-O2", "-o", str(target), str(source), *flags.stdout.split(), "-lpthread"])
    else:
        _run(["cc", "-O2", "-o", str(target), str(source)])
    return target


def gvisor_version() -> str:
    """Tell which package of gVisor is installed, and which Go builds it: ``?`` if there is none."""
    try:
        parts = _go().split("/")
    except Missing:
        return "?"
    return f"{package_version('golang-gvisor-gvisor-dev')}, {parts[3] if len(parts) > 3 else 'go'}"


def package_version(name: str) -> str:
    """Tell a Debian package's version, ``?`` if that can't be told."""
    if shutil.which("dpkg-query") is None:
        return "?"
    asked = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True, text=True, check=False)
    return asked.stdout or "?"


def _gvisor_api() -> str:
    if not _TCPIP.exists():
        raise Missing("gVisor's sources are missing: apt install golang-gvisor-gvisor-dev")
    return "api_2024.go" if "AddrFromSlice" in _TCPIP.read_text() else "api_2022.go"


def _go() -> str:
    """Find the newest Go: what ``go`` means may be too old for a gVisor of backports."""
    found = sorted(Path("/usr/lib").glob("go-*/bin/go"), key=lambda path: [int(part) for part in
                   path.parts[3].removeprefix("go-").split(".")])
    if found:
        return str(found[-1])
    _need("go", "golang-go")
    return "go"


def _need(program: str, packages: str) -> None:
    if shutil.which(program) is None:
        raise Missing(f"{program} is missing: apt install {packages}")


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Missing(f"{' '.join(command[:3])} ... failed: {lines[-1] if lines else done.returncode}")
