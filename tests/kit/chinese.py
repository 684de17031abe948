"""Finds English in what is to be told in Chinese."""

from __future__ import annotations

import re

_CODE = re.compile(r"b'[^']*'|`[^`]*`|'[^']*'|when full|connect\(\) on [\d.:>*]+")
_ENGLISH = re.compile(r"\b[a-z]{3,},? [a-z]{2,}\b")
_ONE_WORD = re.compile(r"[a-z][a-z -]*")
NO_LANGUAGES = frozenset({"cookie", "cwnd", "client", "server", "left", "right", "attacker", "cable", "accept",
                          "connect", "recv", "tcp"})
"""Single words that stay: names of hosts, calls, and fields."""


def is_english(text: str, told: str) -> bool:
    """Say whether ``told``, which stands for an English ``text``, is English still, or has English in it."""
    return bool(_ENGLISH.search(_CODE.sub("", told))) or (
        text == told and _ONE_WORD.fullmatch(text) is not None and text not in NO_LANGUAGES)
