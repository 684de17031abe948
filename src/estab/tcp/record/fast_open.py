"""TCP Fast Open (RFC 7413): what a socket, a listener's queue and a connection hold of it.

What a host knows and decides is in ``tcp/fastopen``; what is done with these records is in ``fastopen_client`` and
``fastopen_server``.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.units import SECOND
from estab.wire.tcp import Segment

__all__ = [
    "FAIL_NAMES", "FAIL_NONE", "FAIL_NOT_ACKNOWLEDGED", "FAIL_NO_COOKIE", "FAIL_SYN_REPEATED", "RESET_PENALTY_NS",
    "FastOpen", "FastOpenOptions", "FastOpenQueue", "PendingSynAck",
]

RESET_PENALTY_NS: Final = 60 * SECOND
"""How long a reset connection counts as pending: that limits an attack with forged addresses."""

# Why data did not go on the SYN (tcp_info.tcpi_fastopen_client_fail).
FAIL_NONE: Final = 0
FAIL_NO_COOKIE: Final = 1
FAIL_NOT_ACKNOWLEDGED: Final = 2
FAIL_SYN_REPEATED: Final = 3
FAIL_NAMES: Final = ("", "cookie unavailable", "data not acknowledged", "SYN retransmitted")


class FastOpenQueue:
    """A listener's connections whose handshake is not done, though their text is here: how many there may be."""

    def __init__(self) -> None:
        self.limit: i64 = 0
        """TCP_FASTOPEN; 0: the listener does not speak Fast Open."""
        self.pending: i64 = 0
        self.overflows: i64 = 0
        """SYNs that were served without Fast Open because too many were pending."""
        self.resets_ns: list[int] = []
        """Until when each of those that were reset still counts as pending."""

    def has_room(self, now_ns: i64) -> bool:
        """Tell whether one more may begin. One that was reset makes room once its time is over."""
        if self.pending < self.limit:
            return True
        if self.limit > 0 and self.resets_ns and self.resets_ns[0] <= now_ns:
            del self.resets_ns[0]
            self.pending -= 1
            return True
        return False


class FastOpenOptions:
    """What a program set for Fast Open on a socket, listening or not."""

    def __init__(self) -> None:
        self.queue = FastOpenQueue()
        self.keys: bytes = b""
        """TCP_FASTOPEN_KEY: one key or two; empty for the host's."""
        self.is_on_connect: bool = False
        """TCP_FASTOPEN_CONNECT: ``connect`` leaves the SYN to the first write."""
        self.needs_no_cookie: bool = False
        """TCP_FASTOPEN_NO_COOKIE."""


class PendingSynAck:
    """The handshake of a server's connection that is already in use: our SYN-ACK waits for its acknowledgment."""

    def __init__(self, queue: FastOpenQueue, cookie: bytes | None, syn: Segment, now_ns: i64) -> None:
        self.queue = queue
        self.syn = syn
        self.ecn_mode: i64 = 0
        self.cookie = cookie
        """A new cookie for the client, on the first SYN-ACK only."""
        self.sent_ns = now_ns
        self.timeouts: i64 = 0
        self.retransmissions: i64 = 0
        self.is_due: bool = True
        self.last_repeat_ns: i64 = 0
        """When a repeated SYN was last answered."""


class FastOpen:
    """What one connection has to do with Fast Open."""

    def __init__(self) -> None:
        # A client's.
        self.needs_no_cookie: bool = False
        """The program says that the path is safe without cookies."""
        self.cookie: bytes | None = None
        """What the first SYN's option says: a cookie, a request for one if empty, ``None`` for no option."""
        self.is_experimental: bool = False
        """The option is of the experimental kind (254)."""
        self.text_limit: i64 = 0
        """How much text the SYN may carry."""
        self.is_deferred: bool = False
        """The SYN waits for the first write."""
        self.has_more: bool = False
        """A program waits to write after the SYN's text: the third segment carries it."""
        self.has_option: bool = False
        """The SYN went out with the option."""
        self.has_text: bool = False
        """The SYN went out with text."""
        self.is_trial: bool = False
        """The first after a pause."""
        self.fail: i64 = FAIL_NONE
        # Both.
        self.is_text_acknowledged: bool = False
        """All text of the SYN was taken (TCPI_OPT_SYN_DATA)."""
        # A server's.
        self.is_child: bool = False
        self.text_end: i64 = 0
        """The end of the SYN's text: the SYN-ACK offered all of the window for what comes after it."""
        self.pending: PendingSynAck | None = None
