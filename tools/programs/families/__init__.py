"""The entries, a module for each family of programs."""

from __future__ import annotations

import importlib
from typing import Final

from tools.programs.entry import ENTRIES, Entry

__all__ = ["load"]

_FAMILIES: Final = (
    "standard",
    "web_servers",
    "http_clients",
    "websocket",
    "rpc",
    "databases",
    "queues",
    "mail_files",
    "shells",
    "industry",
    "services",
    "monitoring",
    "infrastructure",
)
"""In the order of the table."""


def load() -> dict[str, Entry]:
    """Read all families."""
    for family in _FAMILIES:
        importlib.import_module(f"tools.programs.families.{family}")
    return ENTRIES
