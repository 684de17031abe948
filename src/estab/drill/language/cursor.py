"""A place in the tokens of a script, and the ways to look at them and move on. Everything that parses takes one."""

from __future__ import annotations

from typing import NoReturn

from estab.drill.errors import ScriptError
from estab.drill.language.lexer import Token, place_of

__all__ = ["Cursor"]

_NAMES = {"int": "a number", "float": "a time", "word": "a word", "string": "a string", "end": "the end of the script",
          "dots": "'...'", "hex": "a hexadecimal number", "ip4": "an IPv4 address", "ip6": "an IPv6 address"}


class Cursor:
    """The tokens and where we are. Each ``take…`` moves on or raises ``ScriptError`` at the token that is wrong."""

    def __init__(self, path: str, source: str, tokens: list[Token]) -> None:
        self.path = path
        self.source = source
        self.tokens = tokens
        self.index = 0

    @property
    def token(self) -> Token:
        """The token that comes next."""
        return self.tokens[self.index]

    def ahead(self, count: int = 1) -> Token:
        """Look further."""
        return self.tokens[min(self.index + count, len(self.tokens) - 1)]

    def at(self, *kinds: str) -> bool:
        """Tell whether the next token is of one of these kinds."""
        return self.token.kind in kinds

    def at_word(self, *words: str) -> bool:
        """Tell whether the next token is one of these words."""
        return self.token.kind == "word" and self.token.text in words

    def next(self) -> Token:
        """Take the next token, whatever it is."""
        token = self.token
        if token.kind != "end":
            self.index += 1
        return token

    def take(self, *kinds: str) -> Token:
        """Take a token of one of these kinds."""
        if self.token.kind not in kinds:
            wanted = " or ".join(_NAMES.get(kind, repr(kind)) for kind in kinds)
            self.fail(f"expected {wanted}, not {self.described()}")
        return self.next()

    def take_word(self, *words: str) -> str:
        """Take one of these words."""
        if not self.at_word(*words):
            self.fail(f"expected {' or '.join(repr(word) for word in words)}, not {self.described()}")
        return self.next().text

    def skip(self, kind: str) -> bool:
        """Take the next token if it is of this kind."""
        if self.token.kind == kind:
            self.next()
            return True
        return False

    def skip_word(self, *words: str) -> bool:
        """Take the next token if it is one of these words."""
        if self.at_word(*words):
            self.next()
            return True
        return False

    def take_number(self, low: int, high: int, what: str) -> int:
        """Take a decimal or hexadecimal number from ``low`` to ``high``."""
        token = self.take("int", "hex")
        number = int(token.text, 0 if token.kind == "hex" else 10)
        if not low <= number <= high:
            self.fail(f"{what} {number} is not from {low} to {high}", token)
        return number

    def described(self) -> str:
        """Name the next token for a message."""
        token = self.token
        return _NAMES["end"] if token.kind == "end" else repr(self.source[token.start : token.end])

    def fail(self, message: str, token: Token | None = None) -> NoReturn:
        """Raise ``ScriptError`` at a token, or at the next one."""
        offset = (token or self.token).start
        place = place_of(self.source, offset)
        lines = self.source.splitlines()
        line = lines[place.line - 1] if place.line <= len(lines) else ""
        raise ScriptError(self.path, place, line, message)
