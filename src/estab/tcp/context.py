"""What all connections of one host share: settings, counters, secret, clock, observer.

``now_ns`` is the time of the last input, which the host passes in. ``Paths`` is what TCP needs of the floor above.
"""

from __future__ import annotations

import hashlib
from typing import Final

from mypy_extensions import i64, mypyc_attr

from estab.counters import Counters
from estab.errors import DropReason
from estab.events import Event, Observer, PacketDropped
from estab.tcp.config import Config
from estab.tcp.fastopen import HostFastOpen
from estab.tcp.memory import HostMemory
from estab.tcp.ring import Ring
from estab.tcp.siphash import KEY_BYTES, SipHash
from estab.units import SECOND
from estab.wire.address import format_address
from estab.wire.tcp import Segment, make_key

__all__ = [
    "REFLECT_CONNECTIONS",
    "REFLECT_ECHOES",
    "REFLECT_RESETS",
    "Context",
    "Owner",
    "Paths",
    "Reply",
    "endpoint_text",
    "flow_text",
]

# The bits of the sysctl flowlabel_reflect.
REFLECT_CONNECTIONS: Final = 1
REFLECT_RESETS: Final = 2
REFLECT_ECHOES: Final = 4


@mypyc_attr(allow_interpreted_subclasses=True)
class Paths:
    """What TCP must know of routes and links. The host implements it."""

    def source_for(self, destination: bytes) -> bytes:
        """Return the local address that packets to ``destination`` leave from, ``b""`` if there is no route."""
        return b""

    def mtu_of(self, destination: bytes) -> i64:
        """Return the path's MTU in bytes, as far as it is known."""
        return 1500

    def link_mtu_of(self, destination: bytes) -> i64:
        """Return the MTU of the first link and the route alone, whatever was learnt of the path."""
        return self.mtu_of(destination)

    def initial_cwnd(self, destination: bytes) -> i64:
        """Return the segments of the first congestion window on the way there, 0 if no route says so."""
        return 0

    def advertised_mss(self, destination: bytes) -> i64:
        """Return the most that a route lets us tell a peer as our MSS, 0 if none says so."""
        return 0

    def segment_bytes_max(self, destination: bytes) -> i64:
        """Return the largest super-segment that the link takes whole, 0 if it has no such offload."""
        return 0

    def is_local(self, address: bytes) -> bool:
        """Tell whether packets to ``address`` stay on this host."""
        return False

    def suspect(self, destination: bytes) -> None:
        """Note that segments to ``destination`` are not answered (RFC 9293 MUST-20: advise IP at R1)."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Owner:
    """A socket that is told of news of its connection or listener. ``is_woken`` keeps it from being listed twice."""

    def __init__(self) -> None:
        self.is_woken: bool = False
        self.fd: i64 = -1


_ADDRESSES_MAX: Final = 4096


@mypyc_attr(acyclic=True, free_list_len=1)
class Reply:
    """A segment that belongs to no connection: a reset, a challenge from TIME-WAIT, a SYN-ACK with a cookie."""

    def __init__(
        self, segment: Segment, local: bytes, remote: bytes, why: str, seq_fact: i64, ack_fact: i64, ttl: i64,
        wscale: i64,
    ) -> None:
        self.segment = segment
        self.local = local
        self.remote = remote
        self.why = why
        self.seq_fact = seq_fact
        """SEG.SEQ as facts tell it, relative."""
        self.ack_fact = ack_fact
        self.ttl = ttl
        self.wscale = wscale
        """The scale of SEG.WND, for facts."""


@mypyc_attr(acyclic=True)
class WindowProbe:
    """What text ended that left while a connection probed its peer's window: restored if the device refuses it."""

    def __init__(self, key: bytes, seq: i64, probes_out: i64, since_ns: i64, due_ns: i64, is_probe: bool) -> None:
        self.key = key
        """Of the connection."""
        self.seq = seq
        """Where the text begins, unwrapped."""
        self.probes_out = probes_out
        self.since_ns = since_ns
        """Since when the text had waited."""
        self.due_ns = due_ns
        """When the next probe was due."""
        self.is_probe = is_probe
        """The timer sent it."""


class Context:
    """What the connections of one host share. ``secret`` is at least 16 bytes that no one else knows."""

    def __init__(self, name: str, config: Config, counters: Counters, secret: bytes) -> None:
        if len(secret) < 16:
            raise ValueError(f"secret: expected at least 16 bytes, not {len(secret)}")
        self.name = name
        self.config = config
        self.counters = counters
        self._given: bytes = secret
        self._secret: bytes = b""
        """Made of what was given at its first use, as all keys are: many hosts of a lab need few of them."""
        self._fast_open: HostFastOpen | None = None
        self.memory = HostMemory(config, counters)
        self._labels: SipHash | None = None
        self.observer: Observer | None = None
        self.is_told_by_packet: bool = False
        """The link takes no super-segments, so none are made while an observer is told: facts are of its packets."""
        self.paths: Paths = Paths()
        self.now_ns: i64 = 0
        self._keyed: SipHash | None = None
        self.woken: Ring[Owner] = Ring()
        """The owners with news; the one that has waited longest is the first."""
        self.window_probe: WindowProbe | None = None
        """The last one of this host, until it is asked for."""
        self.replies: list[Reply] = []
        self._offset_pair: bytes = b""
        self._offset: i64 = 0
        self._addresses: dict[bytes, bytes] = {}
        self._last_copy: bytes = b""
        self._copy_before: bytes = b""
        """The two addresses that were asked for last: most connections of a host have the same."""
        self._challenges_left: i64 = 0
        self._challenge_second: i64 = -1

    @property
    def secret(self) -> bytes:
        """What keys of the host are made of, and hashes that no one else can make."""
        if not self._secret:
            self._secret = hashlib.blake2s(self._given).digest()
        return self._secret

    @property
    def fast_open(self) -> HostFastOpen:
        """The host's keys and cookies of Fast Open."""
        found = self._fast_open
        if found is None:
            seed = hashlib.blake2s(b"fast open", key=self.secret).digest()
            found = self._fast_open = HostFastOpen(self.config, self.counters, seed)
        return found

    def one_copy(self, address: bytes) -> bytes:
        """Return the one copy of an address that all connections share. The table is forgotten when it is full."""
        copy = self._last_copy
        if copy is address or copy == address:
            return copy
        copy = self._copy_before
        if copy is address or copy == address:
            return copy
        found = self._addresses.get(address)
        if found is None:
            if len(self._addresses) >= _ADDRESSES_MAX:
                self._addresses.clear()
            self._addresses[address] = address
            found = address
        self._copy_before = self._last_copy
        self._last_copy = found
        return found

    def tell(self, event: Event) -> None:
        """Tell the observer. Callers ask ``observer is not None`` before they build the fact."""
        observer = self.observer
        if observer is not None:
            observer(event)

    def drop(self, reason: DropReason, connection: str, detail: str) -> None:
        """Count a dropped packet and tell why."""
        self.counters.drop(reason)
        if self.observer is not None:
            self.tell(PacketDropped(self.now_ns, self.name, connection, reason, detail))

    def wake(self, owner: Owner | None) -> None:
        """Add an owner to the list of those with news."""
        if owner is not None and not owner.is_woken:
            owner.is_woken = True
            self.woken.add(owner)

    def take_woken(self) -> Owner | None:
        """Take the owner that has had news for longest, ``None`` if there is none."""
        owner = self.woken.first
        if owner is not None:
            owner.is_woken = False
            self.woken.drop_first()
        return owner

    def reply(
        self, segment: Segment, local: bytes, remote: bytes, why: str, seq_fact: i64, ack_fact: i64, ttl: i64 = 0,
        wscale: i64 = 0,
    ) -> None:
        """Queue a segment that belongs to no connection. When the queue is full it is dropped and counted.

        ``seq_fact`` and ``ack_fact`` are its numbers as facts tell them, relative. ``ttl`` 0 is the host's.
        ``wscale`` is the scale of its window.
        """
        if len(self.replies) >= self.config.reply_queue_max:
            self.counters.EstabReplyQueueDrops += 1
            return
        hops = ttl if ttl > 0 else self.config.ip_default_ttl
        self.replies.append(Reply(segment, local, remote, why, seq_fact, ack_fact, hops, wscale))

    def may_challenge(self) -> bool:
        """Take one challenge ACK from this second's allowance (RFC 5961 section 7)."""
        second: i64 = self.now_ns // SECOND
        if second != self._challenge_second:
            self._challenge_second = second
            # The allowance is blurred by a keyed hash, so that it can't be used to spy on others (CVE-2016-5696).
            limit = self.config.tcp_challenge_ack_limit
            self._challenges_left = limit // 2 + self.hash32(b"challenge", second) % (limit + 1)
        if self._challenges_left <= 0:
            return False
        self._challenges_left -= 1
        return True

    def hash32(self, what: bytes, number: i64) -> i64:
        """Hash with the secret key to 32 bits: unguessable outside, repeatable inside."""
        keyed = self._keyed
        if keyed is None:
            keyed = self._keyed = self._hash_for(b"siphash")
        if number == 0:
            return keyed.hash32(what, 8)
        counter: int = number
        return keyed.hash32(what + counter.to_bytes(8, "big", signed=True))

    def _hash_for(self, purpose: bytes) -> SipHash:
        return SipHash(hashlib.blake2s(purpose, key=self.secret, digest_size=KEY_BYTES).digest())

    def initial_sequence(self, key: bytes) -> i64:
        """Choose an initial sequence number: a clock of 4 microseconds plus a keyed hash of the four-tuple (RFC 6528).

        RFC 9293 MUST-8, MUST-9, SHLD-1.
        """
        return (self.now_ns // 4000 + self.hash32(b"isn" + key, 0)) & 0xFFFFFFFF

    def flow_label(self, remote: bytes, local: bytes, remote_port: i64, local_port: i64) -> i64:
        """Choose the label of what is sent from ``local`` to ``remote`` (RFC 6437 section 3): a keyed hash, so all of a
        flow has one, and it says nothing of other flows. 0 for IPv4, and if ``auto_flowlabels`` is 0.

        We differ: Linux takes another label after a timeout (``net.core.txrehash``).
        """
        if len(remote) == 4 or self.config.auto_flowlabels == 0:
            return 0
        labels = self._labels
        if labels is None:
            labels = self._labels = self._hash_for(b"flow label")
        label: i64 = labels.hash32(make_key(remote, local, remote_port, local_port)) & 0xFFFFF
        return label if label > 0 else 1

    def timestamp_offset(self, key: bytes) -> i64:
        """Choose where a connection's timestamp clock starts; a hash of the address pair (RFC 7323 section 5.4)."""
        size = len(key) - 4
        if size != len(self._offset_pair) or not key.startswith(self._offset_pair):
            pair = key[:size]
            self._offset = self.hash32(b"timestamp" + pair, 0)
            self._offset_pair = pair
        return self._offset


def flow_text(local: bytes, local_port: i64, remote: bytes, remote_port: i64) -> str:
    """Write a four-tuple as facts do: ``10.0.0.1:40000>10.0.0.2:80``; IPv6 addresses in brackets."""
    return f"{endpoint_text(local, local_port)}>{endpoint_text(remote, remote_port)}"


def endpoint_text(address: bytes, port: i64) -> str:
    """Write an address and a port: ``10.0.0.1:80``, ``[fd00::1]:80``, ``*:80`` if there is no address."""
    if not address:
        return f"*:{port}"
    text = format_address(address)
    return f"[{text}]:{port}" if len(address) == 16 else f"{text}:{port}"
