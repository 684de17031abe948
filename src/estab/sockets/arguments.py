"""Arguments of the sockets API as CPython's own calls read them, and its words for those that it refuses.

A call of ours reads numbers by ``c_int`` and ``c_size``. If it refuses its arguments, ``refusal`` asks CPython's call
of that name, on a socket that was never opened: that raises what a program expects, or EBADF if nothing is wrong with
them.
"""

from __future__ import annotations

import socket as os_socket
import sys
from operator import index
from typing import Any, Final, SupportsIndex

__all__ = ["REFUSALS", "c_int", "c_size", "refusal"]

REFUSALS: Final = (TypeError, ValueError, OverflowError, AttributeError)
"""What a call raises of arguments that it refuses."""
_INT_MAX: Final = 2**31 - 1
_Plain: Final[Any] = os_socket.socket.__base__
_new: Final = _Plain.__new__
_SENDMSG: Final = 3
"""The arguments of ``sendmsg`` without the address, which CPython reads first and only if the socket has a family."""


def c_int(value: SupportsIndex) -> int:
    """Read an argument that goes into a C ``int``."""
    number = index(value)
    if not ~_INT_MAX <= number <= _INT_MAX:
        raise OverflowError(f"signed integer is {'greater than maximum' if number > 0 else 'less than minimum'}")
    return number


def c_size(value: SupportsIndex) -> int:
    """Read an argument that goes into a C ``ssize_t``."""
    number = index(value)
    if not ~sys.maxsize <= number <= sys.maxsize:
        raise OverflowError("Python int too large to convert to C ssize_t")
    return number


def refusal(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Exception | None:
    """Return what CPython's own call raises if it refuses such arguments; ``None`` if it would take them."""
    call = getattr(_Plain, name, None)
    if call is None:
        return None
    try:
        call(_new(_Plain), *(args[:_SENDMSG] if name == "sendmsg" else args), **kwargs)
    except OSError:
        return None
    except Exception as error:
        return error.with_traceback(None)
    return None
