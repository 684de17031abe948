"""What few sockets have: options that are seldom set, and what is left of a connection that was released.

A socket has no ``Extras`` until one of them is set; a socket without has the values that ``Extras`` begins with.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.host.sockets.groups import Multicast
from estab.tcp.record.fast_open import FastOpenOptions

__all__ = ["NO_EXTRAS", "Extras"]


class Extras:
    """What a program has set of a socket beyond the ordinary. Durations are nanoseconds."""

    def __init__(self) -> None:
        self.wanted: i64 = 0
        """Ancillary data that ``recvmsg`` is to give: bits of ``host.ancillary``. TCP has none to give."""
        self.receive_timeout_ns: i64 = 0
        """SO_RCVTIMEO, for callers that wait: 0 is for ever."""
        self.send_timeout_ns: i64 = 0
        """SO_SNDTIMEO, likewise."""
        self.multicast: Multicast | None = None
        """What a program has said of multicast; ``None``: nothing."""
        self.broadcast: bool = False
        """SO_BROADCAST: datagrams may go to broadcast addresses. TCP sockets show it."""
        # Of TCP sockets.
        self.linger: int | None = None
        """SO_LINGER: seconds, ``None`` for off."""
        self.fast_open: FastOpenOptions | None = None
        """What the socket wants of TCP Fast Open; its listener shares it."""
        self.receive_lowat_bytes: i64 = 1
        """SO_RCVLOWAT."""
        self.scope: i64 = 0
        """The index of the interface of a link-local address."""
        self.error_left: i64 = 0
        """What SO_ERROR has to say of a connection that was released (``disconnect``)."""


NO_EXTRAS: Final = Extras()
"""What to read for a socket without any. Nobody writes to it."""
