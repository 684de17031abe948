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
    "FAIL_NAMES", "FAIL_NONE", "FAIL_NOT_ACKNOWLEDGED", "FAIL_NO_COOKIE", "FAIL_SYN_REPEATED",
    "FastOpen", "FastOpenOptions", "FastOpenQueue", "PendingSynAck",
]

_RESET_PENALTY_NS: Final = 60 * SECOND
"""How long a reset connection counts as pending: that limits an attack with forged addresses."""

# Why data did not go on the SYN (tcp_info.tcpi_fastopen_client_fail).
FAIL_NONE: Final = 0
FAIL_NO_COOKIE: Final = 1
FAIL_NOT_ACKNOWLEDGED: Final = 2
FAIL_SYN_REPEATED: Final = 3
FAIL_NAMES: Final = ("", "cookie unavailable", "data not acknowledged", "SYN retransmitted")


class FastOpenQueue:
    """A listener's connections whose handshake is not done, though their text is here: how many there may be.

    RFC 7413 section 5.1. ``tcb`` says how the lines below the fields are read.
    """

    def __init__(self) -> None:
        self.limit: i64 = 0
        """count: TCP_FASTOPEN; 0: the listener does not speak Fast Open. Writers: record/fast_open."""
        self.pending: i64 = 0
        """count: connections that are in use before their handshake is done. Writers: record/fast_open."""
        self.overflows: i64 = 0
        """count: SYNs that were served without Fast Open because too many were pending. Writers: record/fast_open."""
        self.resets_ns: list[int] = []
        """ns, time: until when each of those that were reset still counts as pending. Writers: none."""

    def bound(self, limit: i64) -> None:
        """Set how many may be pending."""
        self.limit = limit

    def has_room(self, now_ns: i64) -> bool:
        """Tell whether one more may begin. One that was reset makes room once its time is over."""
        if self.pending < self.limit:
            return True
        if self.limit > 0 and self.resets_ns and self.resets_ns[0] <= now_ns:
            del self.resets_ns[0]
            self.pending -= 1
            return True
        self.overflows += 1
        return False

    def begin(self) -> None:
        """One more is pending."""
        self.pending += 1

    def end(self, now_ns: i64, *, is_reset: bool) -> None:
        """One is pending no more; one that was reset still counts for a while.

        A host that floods with the cookie of another causes resets from that other (RFC 7413 section 5.1).
        """
        if is_reset:
            self.resets_ns.append(now_ns + _RESET_PENALTY_NS)
        else:
            self.pending -= 1


class FastOpenOptions:
    """What a program set for Fast Open on a socket, listening or not."""

    def __init__(self) -> None:
        self.queue = FastOpenQueue()
        self.keys: bytes = b""
        """TCP_FASTOPEN_KEY: one key or two; empty for the host's."""
        self.is_on_connect: bool = False
        """TCP_FASTOPEN_CONNECT: ``connect`` leaves the SYN to the first write."""
        self.is_cookie_free: bool = False
        """TCP_FASTOPEN_NO_COOKIE."""


class PendingSynAck:
    """The handshake of a server's connection that is already in use: our SYN-ACK waits for its acknowledgment."""

    def __init__(self, queue: FastOpenQueue, cookie: bytes | None, syn: Segment, now_ns: i64) -> None:
        self.queue = queue
        """record: the listener's queue, in which the connection counts. Writers: none."""
        self.syn = syn
        """record: the SYN, without its text. Writers: none."""
        self.ecn_mode: i64 = 0
        """number: what a listener agreed on for ECN, as ``ecn_state`` numbers the modes. Writers: listening/child."""
        self.cookie = cookie
        """octets: a new cookie for the client, on the first SYN-ACK only. Writers: arriving/fastopen_server."""
        self.sent_ns = now_ns
        """ns, time: when the SYN-ACK was first sent. Writers: none."""
        self.timeouts: i64 = 0
        """count: timeouts of the SYN-ACK. Writers: arriving/fastopen_server."""
        self.retransmissions: i64 = 0
        """count: times that it was sent again. Writers: arriving/fastopen_server."""
        self.is_due: bool = True
        """yes or no: the SYN-ACK must go now. Writers: arriving/fastopen_server, sending/output."""
        self.last_repeat_ns: i64 = 0
        """ns, time: when a repeated SYN was last answered. Writers: arriving/fastopen_server."""


class FastOpen:
    """What one connection has to do with Fast Open. ``tcb`` says how the lines below the fields are read.

    ``needs_no_cookie``: the program says that the path is safe without cookies. ``is_deferred``: the SYN waits for the
    first write.
    """

    def __init__(self, needs_no_cookie: bool = False, is_deferred: bool = False) -> None:
        # A client's.
        self.needs_no_cookie = needs_no_cookie
        """yes or no: the program says that the path is safe without cookies. Writers: none."""
        self.cookie: bytes | None = None
        """octets: what the first SYN's option says: a cookie, a request for one if empty, ``None`` for no option.
        Writers: arriving/fastopen_client.
        """
        self.is_experimental: bool = False
        """yes or no: the option is of the experimental kind (254). Writers: arriving/fastopen_client."""
        self.text_limit: i64 = 0
        """bytes: how much text the SYN may carry. Writers: arriving/fastopen_client."""
        self.is_deferred = is_deferred
        """yes or no: the SYN waits for the first write. Writers: arriving/fastopen_client."""
        self.has_more: bool = False
        """yes or no: a program waits to write after the SYN's text: the third segment carries it. Writers:
        arriving/fastopen_client.
        """
        self.has_option: bool = False
        """yes or no: the SYN went out with the option. Writers: sending/output."""
        self.has_text: bool = False
        """yes or no: the SYN went out with text. Writers: sending/output."""
        self.is_trial: bool = False
        """yes or no: it is the first after a pause. Writers: arriving/fastopen_client, arriving/transitions."""
        self.fail: i64 = FAIL_NONE
        """number: why the SYN carried no text, or in vain, as numbered above. Writers: arriving/fastopen_client."""
        # Both.
        self.is_text_acknowledged: bool = False
        """yes or no: all text of the SYN was taken (TCPI_OPT_SYN_DATA). Writers: arriving/fastopen_client,
        listening/child.
        """
        # A server's.
        self.is_child: bool = False
        """yes or no: a listener made the connection from a SYN with the option. Writers: listening/child."""
        self.text_end: i64 = 0
        """seq: the end of the SYN's text: the SYN-ACK offered all of the window for what comes after it. Writers:
        listening/child.
        """
        self.pending: PendingSynAck | None = None
        """record: the handshake, until it is done. Writers: arriving/transitions, listening/child."""
