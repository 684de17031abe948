"""What can go wrong, and the one enumeration of why a packet was dropped.

Three kinds of error, never mixed:

- bytes from the network that break a format: ``WireError``; counted, never seen by a program;
- what a program may meet: an ``OSError`` with Linux's errno and words, and a note that says what happened;
- our own bug: an assertion. No input from the network trips one.
"""

from __future__ import annotations

import enum
import functools
import os
from typing import Final

__all__ = ["DropReason", "WireError", "explain", "is_of_estab", "os_error", "tell"]

_FOLDER: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep
_COMPILED: Final = (os.path.join("src", "estab", ""), "src/estab/")
"""How tracebacks name the files of compiled modules: as they were called when they were compiled."""
_words: Final = functools.cache(os.strerror)
"""What the system calls an errno: many a call raises EAGAIN only to be caught at once."""


class DropReason(enum.Enum):
    """Why a packet was dropped. Names follow Linux's ``enum skb_drop_reason`` if it has one."""

    # frame and link
    PKT_TOO_SMALL = "shorter than the headers it must have"
    OTHERHOST = "link-layer address of another host"
    UNHANDLED_PROTO = "an EtherType or IP version that this host does not speak"
    DEV_DOWN = "the interface is down"
    FULL_RING = "the interface's output queue is full"
    QDISC_DROP = "the device's queue refused it"
    # IP
    IP_INHDR = "bad IPv4 or IPv6 header"
    IP_CSUM = "bad IPv4 header checksum"
    IPV6_BAD_EXTHDR = "bad IPv6 extension header"
    IP_INADDRERRORS = "destination is not an address of this host and forwarding is off"
    IP_INNOROUTES = "no route to forward along"
    IP_OUTNOROUTES = "no route to the destination"
    IP_LOCAL_SOURCE = "source is one of our own addresses"
    IP_INVALID_SOURCE = "source is a multicast, broadcast or unspecified address"
    IP_INVALID_DEST = "destination is not one that may be forwarded or used"
    IP_NOPROTO = "no such transport protocol here"
    IP_TTL_EXPIRED = "time to live ran out while forwarding"
    PKT_TOO_BIG = "larger than the path's MTU and not to be fragmented"
    DUP_FRAG = "fragment overlaps one that we hold (RFC 5722)"
    FRAG_TOO_FAR = "fragment beyond the largest datagram"
    FRAG_REASM_TIMEOUT = "reassembly timed out"
    FRAG_QUEUE_FULL = "reassembly memory is full"
    # neighbours
    NEIGH_FAILED = "the neighbour did not answer"
    NEIGH_QUEUEFULL = "queue of packets that wait for the neighbour is full"
    NEIGH_TABLE_FULL = "neighbour table is full"
    ARP_INVALID = "ARP message that makes no sense"
    NDISC_OTHERHOST = "neighbour discovery message about an address that is not ours and of which we asked nothing"
    NDISC_INVALID = "neighbour discovery message that fails RFC 4861's checks"
    # ICMP and UDP
    ICMP_CSUM = "bad ICMP checksum"
    ICMP_INVALID = "ICMP message that makes no sense or quotes nothing of ours"
    ICMP_RATE_LIMITED = "ICMP error not sent: rate limit"
    UDP_CSUM = "bad UDP checksum"
    UDP_INVALID = "bad UDP header"
    NO_SOCKET = "no socket for this address and port"
    SOCKET_RCVBUFF = "socket's receive buffer is full"
    # TCP
    TCP_CSUM = "bad TCP checksum"
    TCP_INVALID_HEADER = "bad TCP header"
    TCP_FLAGS = "flags that make no sense in this state"
    TCP_INVALID_SYN = "SYN to or from an address that can't have one"
    TCP_SYN_IN_WINDOW = "SYN on a synchronized connection (challenge ACK, RFC 5961)"
    TCP_RFC7323_PAWS = "timestamp older than the last one (PAWS)"
    TCP_RFC7323_TS_MISSING = "timestamps were negotiated and this segment has none (RFC 7323 section 3.2)"
    TCP_OLD_SEQUENCE = "all of it was received before"
    TCP_INVALID_SEQUENCE = "outside the receive window"
    TCP_ZEROWINDOW = "text while the receive window is zero"
    TCP_OVERWINDOW = "text beyond the receive window"
    TCP_OLD_DATA = "text received before"
    TCP_INVALID_ACK_SEQUENCE = "acknowledges something never sent, in a handshake"
    TCP_ACK_UNSENT_DATA = "acknowledges data not sent yet (challenge ACK)"
    TCP_TOO_OLD_ACK = "acknowledgment older than the largest window (RFC 5961 section 5)"
    TCP_NO_ACK = "no ACK flag although the state demands one"
    TCP_RESET = "RST whose sequence number is in the window but not exact (challenge ACK, RFC 5961)"
    TCP_RESET_INVALID = "RST that does not belong to this connection"
    TCP_ABORT_ON_DATA = "text arrived after the socket was closed"
    TCP_CLOSE = "the connection is closed"
    TCP_OFO_QUEUE_PRUNE = "out-of-order queue is over its limit"
    PROTO_MEM = "all connections together hold as much memory as they may"
    TCP_LISTEN_OVERFLOW = "accept queue is full"
    TCP_DEFER_ACCEPT = "third segment without text, which TCP_DEFER_ACCEPT waits for"
    TCP_REQ_QUEUE_FULL = "half-open queue is full"
    TCP_REQ_EVICTED = "half-open entry made room for a newer one"
    TCP_BAD_COOKIE = "ACK whose SYN cookie does not verify"
    TCP_TIMEWAIT = "old segment for a connection in TIME-WAIT"
    TCP_LINGER_ORPHAN = "orphan limit reached"
    # the lab's links
    LINK_LOSS = "lost on the link by chance"
    LINK_DOWN = "the cable is cut"
    LINK_QUEUE_FULL = "the link's queue is full"
    LINK_AQM = "the link's queue stood for too long (CoDel)"
    LINK_CORRUPTED = "damaged on the link"
    LINK_MTU = "larger than the link carries"
    LINK_RULE = "a rule on the link took it"
    LINK_PARTITION = "between hosts that are partitioned"
    FLOW_UNKNOWN = "of a flow that the box on the way does not know"
    FLOW_INVALID = "out of its connection's window, by the box on the way"
    FLOW_TABLE_FULL = "the box on the way has no room for another flow"
    LINK_FIREWALL = "of a flow that the firewall on the link does not know"
    # the device under a link
    DEV_HDR = "the device's own header contradicts itself"


class WireError(ValueError):
    """Bytes that are not a valid packet. ``reason`` says which rule they break.

    The only exception that a parser raises, whatever the bytes.
    """

    def __init__(self, reason: DropReason, detail: str = "") -> None:
        super().__init__(f"{reason.value}{': ' if detail else ''}{detail}")
        self.reason = reason
        self.detail = detail


def os_error(number: int, what: str = "") -> OSError:
    """Build the ``OSError`` (or its subclass) for an errno, in the system's own words: programs compare them.

    ``what`` says what happened and to which connection. It is a note, which tracebacks show below the error;
    ``explain`` gives it.
    """
    error = OSError(number, _words(number))
    return tell(error, what) if what else error


def tell(error: OSError, what: str) -> OSError:
    """Add to an error of the system what estab knows of it. Returns the error."""
    error.add_note(what)
    error.what = what  # type: ignore[attr-defined]
    return error


def explain(error: BaseException) -> str:
    """Say what went wrong, as far as estab knows: its note, or else the error's own words."""
    what = getattr(error, "what", "")
    if what or not isinstance(error, OSError) or not error.strerror:
        return str(what or error)
    return error.strerror if error.filename is None else f"{error.strerror}: {error.filename!r}"


def is_of_estab(path: str) -> bool:
    """Tell whether the file of a traceback's line is estab's, interpreted or compiled, and not a program's."""
    return path.startswith((_FOLDER, *_COMPILED))
