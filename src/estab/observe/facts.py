"""Facts as plain data, for export: every value a number, a text, a list or a dictionary.

- The form of a fact is its class's name and its fields in their declared order: the same facts give the same text.
- Bytes become hexadecimal, a ``DropReason`` its name, a ``Tcb`` a dictionary.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum

from estab.events import Event

__all__ = ["Json", "event_json", "plain"]

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None


def plain(value: object) -> Json:
    """Turn one field of a fact into plain data. Raises ``TypeError`` for what no fact holds."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    raise TypeError(f"no plain form for {type(value).__name__}: {value!r}")


def event_json(event: Event) -> dict[str, Json]:
    """Write a fact as plain data: its name under ``fact``, then its fields."""
    result: dict[str, Json] = {"fact": type(event).__name__}
    for field in fields(event):
        result[field.name] = plain(getattr(event, field.name))
    return result
