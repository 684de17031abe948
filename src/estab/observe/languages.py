"""What tells a run, in another language: the sentences of ladder, story and tour, which facts fill in.

- A catalogue is a TOML file (``zh.toml``): each sentence in English with ``{names}`` where facts stand, and what it is
  in the other language.
- ``{*name}`` is a list with commas, ``{;name}`` one with semicolons, ``{^name}`` a word with a capital: a state, an
  error; ``{s}`` is the plural's s, or nothing. What stands at a name is translated in turn, if the catalogue has it.
- What the catalogue does not have stays English; ``tests/cli/test_tour_in_chinese.py`` plays the tour to find such a
  text. Names of calls, states, segments and counters are no language's.
- The lab's page reads the same catalogue (``web/lab/src/said.js``).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Final

__all__ = ["LANGUAGES", "Words", "words_of"]

LANGUAGES: Final = ("en", "zh")
_HOLE: Final = re.compile(r"\{([*;^]?)(\w+)\}")
_CAPITAL: Final = "[A-Z][A-Za-z0-9-]*"
_LISTS: Final = {"*": (", ", "、"), ";": ("; ", "；")}


class _Sentence:
    """One sentence of the catalogue: how it is recognised, and how it is written."""

    def __init__(self, english: str, other: str) -> None:
        self.other = other
        self.letters = len(_HOLE.sub("", english))
        self.lists: dict[str, str] = {}
        self.needle = max((part for part in _HOLE.sub("\0", english).split("\0")), key=len)
        """Its longest piece between holes, which is looked for first: that is faster than the pattern."""
        parts, at = [], 0
        for hole in _HOLE.finditer(english):
            parts.append(re.escape(english[at:hole.start()]))
            kind, name = hole.groups()
            shape = _CAPITAL if kind == "^" else ".+?"
            parts.append("s?" if name == "s" else f"(?P<{name}>{shape})")
            if kind in _LISTS:
                self.lists[name] = kind
            at = hole.end()
        parts.append(re.escape(english[at:]))
        self.pattern = re.compile("".join(parts), re.DOTALL)


class Words:
    """Says what tells a run in a language, one of ``LANGUAGES``."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts: dict[str, str] = {}
        self._sentences: list[_Sentence] = []
        if language != "en":
            whole = tomllib.loads(files("estab.observe").joinpath(f"{language}.toml").read_text(encoding="utf-8"))
            self._texts = {english: other for english, other in whole.items() if not _HOLE.search(english)}
            self._sentences = [_Sentence(*pair) for pair in whole.items() if _HOLE.search(pair[0])]
            self._sentences.sort(key=lambda one: -one.letters)
        self.say: Callable[[str], str] = cache(self._say) if language != "en" else str

    def _say(self, text: str) -> str:
        if text in self._texts:
            return self._texts[text]
        for sentence in self._sentences:
            match = sentence.pattern.fullmatch(text) if sentence.needle in text else None
            if match is not None:
                values = {name: self._value(value, sentence.lists.get(name, ""))
                          for name, value in match.groupdict().items()}
                return sentence.other.format(**values)
        return text

    def _value(self, text: str, kind: str) -> str:
        if not kind:
            return self.say(text)
        comma, other = _LISTS[kind]
        return other.join(self.say(part) for part in text.split(comma))


@cache
def words_of(language: str) -> Words:
    """Read the catalogue of one of ``LANGUAGES``, once."""
    return Words(language)
