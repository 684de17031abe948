"""The other stacks: how each is built, and what is missing where it can't be."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["Missing", "build"]

HERE: Final = Path(__file__).resolve().parent
GO_PATH: Final = Path("/usr/share/gocode")
"""Where Debian keeps the sources of Go libraries."""
OUT: Final = HERE.parents[1] / "build" / "stacks"


class Missing(Exception):
    """A stack can't take part; the text says what to install."""


def build(name: str) -> Path:
    """Build a program from its source, if it is not there or older; gives the program. ``Missing`` says what lacks."""
    source = HERE / {"lwip": "lwip.c", "gvisor": "gvisor/main.go", "kernel": "kernel.c", "bounce": "bounce.c"}[name]
    target = OUT / name
    if target.exists() and target.stat().st_mtime > source.stat().st_mtime:
        return target
    OUT.mkdir(parents=True, exist_ok=True)
    if name == "gvisor":
        _need("go", "golang-go")
        tcpip = GO_PATH / "src/gvisor.dev/gvisor/pkg/tcpip/tcpip.go"
        if not tcpip.exists():
            raise Missing("gVisor's sources are missing: apt install golang-gvisor-gvisor-dev")
        api = "api_2024.go" if "AddrFromSlice" in tcpip.read_text() else "api_2022.go"
        _run(["env", "GO111MODULE=off", f"GOPATH={GO_PATH}", "go", "build", "-o", str(target), str(source),
              str(source.with_name(api))])
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


def _need(program: str, packages: str) -> None:
    if shutil.which(program) is None:
        raise Missing(f"{program} is missing: apt install {packages}")


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Missing(f"{' '.join(command[:3])} ... failed: {lines[-1] if lines else done.returncode}")
