"""Settings of a stack as users write them: by name, durations as seconds or words."""

from __future__ import annotations

import difflib
from typing import Any

from estab.tcp.config import NAMES, Config
from estab.tcp.profile import profile_config
from estab.units import duration_ns

__all__ = ["read_config"]


def read_config(words: dict[str, Any], profile: str = "estab") -> Config:
    """Read settings by their names in ``estab.tcp.config.Config``, on top of a profile's.

    ``TypeError`` for a name that there is not; ``ValueError`` for a value that it can't have.
    """
    config = profile_config(profile)
    for name, value in words.items():
        full = f"{name}_ns" if f"{name}_ns" in NAMES else name
        if full not in NAMES:
            near = difflib.get_close_matches(name, NAMES, 1)
            hint = f"; did you mean {near[0].removesuffix('_ns')}?" if near else ""
            raise TypeError(f"a host has no setting {name!r}{hint}")
        is_words = full.endswith("_ns") and (full != name or isinstance(value, str))
        if isinstance(value, int) and value < 0:
            raise ValueError(f"{name}: {value} is negative")
        config.set(full, duration_ns(value, name) if is_words else value)
    return config
