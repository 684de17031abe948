"""Names from the system's hosts file."""

from __future__ import annotations

import os
from typing import Final

from estab.wire.address import parse_address

__all__ = ["resolve", "reverse"]

_V4_BYTES: Final = 4


def _path() -> str:
    if os.name == "nt":
        return os.path.join(os.environ.get("SYSTEMROOT", r"C:\Windows"), r"System32\drivers\etc\hosts")
    return "/etc/hosts"


def _rows() -> list[tuple[bytes, list[str]]]:
    """Read the file anew each time: it is short, and may change."""
    try:
        with open(_path(), encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    rows = []
    for line in lines:
        words = line.partition("#")[0].split()
        if len(words) < 2:
            continue
        try:
            rows.append((parse_address(words[0].partition("%")[0]), words[1:]))
        except ValueError:
            continue
    return rows


def resolve(name: str, family: int) -> list[bytes]:
    """Return a name's addresses, IPv4 first. The caller picks the family."""
    wanted = name.rstrip(".").lower()
    found = [address for address, names in _rows() if wanted in (other.lower() for other in names)]
    if not found and wanted == "localhost":
        found = [b"\x7f\0\0\x01", bytes(15) + b"\x01"]
    return sorted(dict.fromkeys(found), key=lambda address: len(address) != _V4_BYTES)


def reverse(address: bytes) -> list[str]:
    """Return an address's names."""
    return list(dict.fromkeys(name for own, names in _rows() if own == address for name in names))
