"""``getsockopt`` and ``setsockopt``: values between their form in a script and the table of options of ``sockets``."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Final

from estab.drill.errors import MismatchError
from estab.drill.language.syntax import Array, Blank, Call, Expression, FunctionCall, Structure, Text, Word
from estab.drill.language.values import errno_number, expression_text, integer, octets
from estab.drill.steps.descriptors import Descriptors
from estab.sockets.socket.options import get_option, set_option

__all__ = ["Options"]

_LINGER: Final = struct.Struct("ii")
_BUFFERS: Final = ((socket.SOL_SOCKET, socket.SO_RCVBUF), (socket.SOL_SOCKET, socket.SO_SNDBUF))


class Options:
    """The two calls."""

    def __init__(self, calls: Descriptors, on_event: Callable[[int], None], *, counts_text: bool = False) -> None:
        self.calls = calls
        self._counts_text = counts_text
        """FreeBSD: the size of a buffer is that of the text in it, not twice that."""
        self._on_event = on_event

    def getsockopt(self, call: Call) -> int:
        """Read an option and compare it with what the script has in the value's place."""
        file = self.calls.socket_file(call.arguments[0])
        level, name = integer(call.arguments[1]), integer(call.arguments[2])
        value = get_option(file.socket, level, name, self.calls.now_ns)
        if self._counts_text and (level, name) in _BUFFERS and isinstance(value, int):
            value //= 2
        expected = call.arguments[3]
        if not isinstance(expected, Blank):
            self._compare(expected, value, expression_text(call.arguments[2]))
        size = call.arguments[4]
        if isinstance(size, Array) and size.items and not isinstance(size.items[0], Blank):
            length = 4 if isinstance(value, int) else len(value)
            if isinstance(value, int) and integer(size) != length:
                given = expression_text(call.arguments[2])
                raise MismatchError(f"{given}: expected length {integer(size)}, got {length}")
        return 0

    def setsockopt(self, call: Call) -> int:
        """Set an option."""
        file = self.calls.socket_file(call.arguments[0])
        level, name = integer(call.arguments[1]), integer(call.arguments[2])
        set_option(file.socket, level, name, self._value(call.arguments[3], call.arguments[4]), self.calls.now_ns)
        self._on_event(int(file.socket.fd))
        return 0

    def _value(self, value: Expression, size: Expression) -> int | bytes:
        if isinstance(value, Text):
            length = integer(size)
            return octets(value)[:length].ljust(length, b"\0") if length < 1024 else octets(value)
        if isinstance(value, Structure):
            on, seconds = value.get("onoff", "l_onoff"), value.get("linger", "l_linger")
            if on is None or seconds is None:
                raise MismatchError(f"no option takes {expression_text(value)}")
            return _LINGER.pack(integer(on), integer(seconds))
        if isinstance(value, Array | int | Word | FunctionCall):
            number = integer(value)
            return number - 2**32 if number >= 2**31 else number
        raise MismatchError(f"no option takes {expression_text(value)}")

    def _compare(self, expected: Expression, value: int | bytes, name: str) -> None:
        if isinstance(expected, Text):
            wanted: int | bytes = octets(expected)
            got: int | bytes = value.rstrip(b"\0") if isinstance(value, bytes) else value
        elif isinstance(expected, Structure):
            wanted = self._value(expected, 0)
            got = value
        else:
            item = expected.items[0] if isinstance(expected, Array) and expected.items else expected
            is_errno = isinstance(item, Word) and item.name.startswith("E") and item.name.isupper()
            wanted = errno_number(item.name) if is_errno and isinstance(item, Word) else integer(item)
            got = value if isinstance(value, int) else int.from_bytes(value[:4], "little")
            if isinstance(wanted, int) and isinstance(got, int):
                wanted, got = wanted & 0xFFFFFFFF, got & 0xFFFFFFFF
        if wanted != got:
            raise MismatchError(f"{name}: expected {expression_text(expected)}, got {got!r}")
