"""ICMP and ICMPv6: echo, errors made, errors obeyed.

- No error is sent about an ICMP error, a fragment but the first, a packet to a group or from an address that names no
  single host (RFC 1122 section 3.2.2, RFC 4443 section 2.4). What is sent is limited by a token bucket for all and one
  for each receiver (Linux's ``icmp_msgs_per_sec`` and ``icmp_ratelimit``), except reports of a packet too big.
- An error that arrives is believed only if it quotes something that we sent; TCP checks the sequence number too (RFC
  5927).
- Soft and hard are told apart as Linux's ``icmp_err_convert`` does; what that means to a connection TCP decides
  (RFC 9293 section 3.9.2.2).
- Source Quench is ignored (RFC 6633; RFC 9293 MUST-55). Redirects are ignored: routes are set by the builder of the
  host.
"""

from __future__ import annotations

import errno
from collections import OrderedDict
from typing import Final

from mypy_extensions import i64

from estab.errors import DropReason, WireError, os_error
from estab.host.ip.hook import PacketHook
from estab.host.ip.interface import Interface
from estab.host.ip.neighbors import Neighbors
from estab.host.ip.output import Output
from estab.host.ip.paths import HostPaths
from estab.host.sockets.demux import Demux
from estab.host.sockets.files import Descriptor
from estab.host.sockets.udp import Udp
from estab.tcp.connection import Connection
from estab.tcp.context import REFLECT_ECHOES, Context
from estab.units import SECOND
from estab.wire import icmp as wire
from estab.wire import ip, nd
from estab.wire.address import format_address, is_broadcast, is_loopback, is_multicast, is_unspecified
from estab.wire.seq import Seq, unwrap
from estab.wire.tcp import make_key

__all__ = ["Icmp", "Pinger"]

RECEIVER_BURST: Final = 6
RECEIVERS_MAX: Final = 1024
PINGERS_MAX: Final = 65_536

_ENONET: Final = 64
"""Linux's; not every platform's ``errno`` has it."""
_V4_ERRNO: Final = [
    errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENOPROTOOPT, errno.ECONNREFUSED, errno.EMSGSIZE, errno.EOPNOTSUPP,
    errno.ENETUNREACH, errno.EHOSTDOWN, _ENONET, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.EHOSTUNREACH, errno.EHOSTUNREACH, errno.EHOSTUNREACH,
]
"""Errno for each code of Destination Unreachable."""
_V4_IS_HARD: Final = [
    False, False, True, True, False, False, True, True, True, True, True, False, False, True, True, True,
]
_V6_ERRNO: Final = [
    errno.ENETUNREACH, errno.EACCES, errno.EHOSTUNREACH, errno.EHOSTUNREACH, errno.ECONNREFUSED, errno.EACCES,
    errno.EACCES,
]
_V6_IS_HARD: Final = [False, True, False, False, True, True, True]
_PLATEAUS: Final = [32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68]
"""MTUs to try below a size that was too big, if the router does not say (RFC 1191 section 7)."""
_V4_SOURCE_QUENCH: Final = 4


class Pinger(Descriptor):
    """The sender of echo requests, which is told of the replies."""

    def on_reply(self, packet: ip.Packet, echo: wire.Echo) -> None:
        """Take an echo reply."""
        raise NotImplementedError

    def on_error(self, sequence: i64, number: i64, text: str) -> None:
        """Take an error about a request."""
        raise NotImplementedError


class _Bucket:
    """Tokens for error messages: one each ``interval_ns``, up to ``burst`` saved."""

    def __init__(self, burst: i64, now_ns: i64) -> None:
        self.tokens: i64 = burst
        self.filled_ns: i64 = now_ns

    def take(self, interval_ns: i64, burst: i64, now_ns: i64, price: i64 = 1) -> bool:
        """Pay ``price`` tokens, or as many as there are; ``False`` if there is none."""
        fresh = (now_ns - self.filled_ns) // interval_ns
        if fresh > 0:
            self.tokens = burst if self.tokens + fresh > burst else self.tokens + fresh
            self.filled_ns += fresh * interval_ns
        if self.tokens <= 0:
            return False
        self.tokens -= min(price, self.tokens)
        return True


class Icmp:
    """ICMP on one host, both versions."""

    def __init__(self, context: Context, paths: HostPaths, neighbors: Neighbors, output: Output, udp: Udp,
                 demux: Demux) -> None:
        self.context: Context = context
        self.paths: HostPaths = paths
        self.neighbors: Neighbors = neighbors
        self.output: Output = output
        self.udp: Udp = udp
        self.demux: Demux = demux
        self.hook: PacketHook | None = None
        """A box on this host, which may have changed the packets that errors are about."""
        self.pingers: dict[int, Pinger] = {}
        self._last_ident: i64 = -1
        """The echo identifier that was allocated last; -1 before the first, which follows from a hash."""
        self._all: _Bucket = _Bucket(context.config.icmp_msgs_burst, 0)
        self._receivers: OrderedDict[bytes, _Bucket] | None = None
        """Of each receiver of errors the tokens that are left; ``None`` before the first error."""
        self._limited_count: i64 = 0

    # --- who pings

    def add_pinger(self, pinger: Pinger, version: i64) -> i64:
        """Return a free echo identifier; ENOBUFS if all are taken."""
        if self._last_ident < 0:
            self._last_ident = self.context.hash32(b"ping", 0) & 0xFFFF
        for _ in range(PINGERS_MAX):
            self._last_ident = (self._last_ident + 1) & 0xFFFF
            key = _pinger_key(version, self._last_ident)
            if key not in self.pingers:
                self.pingers[key] = pinger
                return self._last_ident
        raise os_error(errno.ENOBUFS, f"no buffer space available: all {PINGERS_MAX} echo identifiers are taken")

    def remove_pinger(self, version: i64, ident: i64) -> None:
        """Deliver its replies no more."""
        del self.pingers[_pinger_key(version, ident)]

    # --- in

    def on_packet(self, interface: Interface, packet: ip.Packet, is_group: bool, is_known_good: bool) -> None:
        """Take an ICMP packet for this host."""
        is_v4 = packet.version == 4
        self.context.counters.of(packet.version).icmp_in_msgs += 1
        try:
            message = wire.parse(packet, is_known_good)
        except WireError as error:
            self._count_in_error(packet.version, error.reason)
            self.context.drop(error.reason, "", f"from {format_address(packet.src)}: {error.detail}")
            return
        if isinstance(message, wire.Echo):
            self._on_echo(interface, packet, message, is_group)
        elif isinstance(message, wire.Error):
            self._on_error_message(packet, message)
        elif is_v4:
            self._on_other_v4(packet, message)
        else:
            self._on_other_v6(interface, packet, message)

    def _on_echo(self, interface: Interface, packet: ip.Packet, echo: wire.Echo, is_group: bool) -> None:
        is_v4 = packet.version == 4
        counters = self.context.counters.of(packet.version)
        if echo.is_reply:
            counters.icmp_in_echo_replies += 1
            pinger = self.pingers.get(_pinger_key(packet.version, echo.ident))
            if pinger is None:
                self.context.drop(DropReason.NO_SOCKET, "", f"echo reply from {format_address(packet.src)}")
            else:
                pinger.on_reply(packet, echo)
            return
        counters.icmp_in_echos += 1
        # Linux's icmp_echo_ignore_broadcasts; IPv6 answers those to groups too (RFC 4443 section 4.2).
        if (is_group and is_v4) or is_unspecified(packet.src):
            self.context.drop(DropReason.IP_INVALID_DEST, "", f"echo request from {format_address(packet.src)} to all")
            return
        source = b"" if is_group else packet.dst
        reply = wire.Echo(packet.version, is_reply=True, ident=echo.ident, sequence=echo.sequence,
                          payload=echo.payload)
        reflects = (self.context.config.flowlabel_reflect & REFLECT_ECHOES) != 0
        label: i64 = packet.flow_label if reflects else 0
        if self._send(reply, source, packet.src, packet.tos, interface.index, label):
            counters.icmp_out_echo_replies += 1

    def _on_other_v4(self, packet: ip.Packet, message: wire.Message) -> None:
        if message.type == _V4_SOURCE_QUENCH:
            self.context.counters.v4.icmp_in_src_quenchs += 1
        self.context.drop(DropReason.ICMP_INVALID, "", f"type {message.type} from {format_address(packet.src)}")

    def _on_other_v6(self, interface: Interface, packet: ip.Packet, message: wire.Message) -> None:
        counters = self.context.counters.v6
        if isinstance(message, nd.NeighborSolicitation):
            counters.icmp_in_neighbor_solicits += 1
            self.neighbors.on_solicitation(interface, packet.src, message.target, message.link_address)
        elif isinstance(message, nd.NeighborAdvertisement):
            counters.icmp_in_neighbor_advertisements += 1
            self.neighbors.on_advertisement(interface, message.target, message.link_address, message.is_solicited,
                                            message.is_override)
        elif isinstance(message, nd.RouterAdvertisement):
            counters.icmp_in_router_advertisements += 1
            self.context.drop(DropReason.NDISC_INVALID, "", "router advertisement: routes are set by hand")
        elif isinstance(message, nd.Redirect):
            counters.icmp_in_redirects += 1
            self.context.drop(DropReason.NDISC_INVALID, "", "redirect: routes are set by hand")
        else:
            self.context.drop(DropReason.ICMP_INVALID, "", f"type {message.type} from {format_address(packet.src)}")

    # --- errors obeyed

    def _on_error_message(self, packet: ip.Packet, error: wire.Error) -> None:
        self._count_in_problem(error)
        sender = format_address(packet.src)
        if error.problem == wire.REDIRECT:
            self.context.drop(DropReason.ICMP_INVALID, "", f"redirect from {sender}: routes are set by hand")
            return
        if error.problem == wire.TIME_EXCEEDED and error.code == 1 and error.version == 4:
            # As Linux: that fragments of ours were not put together in time ends nothing (RFC 1122 section 4.2.3.9).
            self.context.drop(DropReason.ICMP_INVALID, "", f"reassembly time exceeded at {sender}: nobody is told")
            return
        if not self.paths.is_local(error.quoted.src) or not self.obey(error, sender, packet.src):
            self._count_in_error(packet.version, DropReason.ICMP_INVALID)
            self.context.drop(DropReason.ICMP_INVALID, "",
                              f"error from {sender} about {format_address(error.quoted.src)} > "
                              f"{format_address(error.quoted.dst)}, which is nothing of ours")

    def obey(self, error: wire.Error, sender: str, offender: bytes) -> bool:
        """Tell the sender of the quoted packet what ``sender`` reports from its address. ``False``: it is not here."""
        quoted = error.quoted
        if error.problem == wire.PACKET_TOO_BIG:
            return self._obey_too_big(error, sender, offender)
        number, is_hard = _classify(error)
        text = f"{_TEXTS.get(number, 'ICMP error')}: {sender} reports {_problem_text(error)}"
        if quoted.protocol == ip.TCP:
            return quoted.seq >= 0 and self.demux.on_unreachable(
                _flow_key(quoted), Seq(quoted.seq), number, text)
        if quoted.protocol == ip.UDP:
            return quoted.sport >= 0 and self.udp.on_error(error, offender, number, text, is_hard)
        pinger = self.pingers.get(_pinger_key(quoted.version, quoted.ident))
        if quoted.ident < 0 or pinger is None:
            return False
        pinger.on_error(quoted.sequence, number, text)
        return True

    def _obey_too_big(self, error: wire.Error, sender: str, offender: bytes) -> bool:
        """RFC 1191, RFC 8201: believe a smaller path MTU if it is about something that we sent and that was larger."""
        quoted = error.quoted
        mtu = error.mtu
        if mtu == 0 and quoted.version == 4:
            mtu = _plateau_below(quoted.total_bytes)
        # Of TCP the quoted number shows enough, whatever length is quoted beside it: Linux goes by that alone.
        if mtu < 68 or (mtu >= quoted.total_bytes and quoted.protocol != ip.TCP):
            return False
        text = f"message too long: {sender} reports that the path carries {mtu} bytes"
        if quoted.protocol == ip.TCP:
            if not self._is_in_flight(quoted):
                return False
            self.paths.learn_mtu(quoted.dst, mtu, f"ICMP from {sender}")
            return self.demux.on_mtu_changed(_flow_key(quoted), Seq(quoted.seq))
        if quoted.protocol == ip.UDP:
            if quoted.sport < 0 or not self.udp.on_error(error, offender, errno.EMSGSIZE, text, is_hard=True):
                return False
        else:
            pinger = self.pingers.get(_pinger_key(quoted.version, quoted.ident))
            if quoted.ident < 0 or pinger is None:
                return False
            pinger.on_error(quoted.sequence, errno.EMSGSIZE, text)
        self.paths.learn_mtu(quoted.dst, mtu, f"ICMP from {sender}")
        return True

    def _is_in_flight(self, quoted: wire.Quoted) -> bool:
        """Tell whether a connection of ours has the quoted segment in flight (RFC 5927 section 7.2)."""
        if quoted.seq < 0:
            return False
        connection = self.demux.table.get(_flow_key(quoted))
        if not isinstance(connection, Connection):
            return False
        place = unwrap(Seq(quoted.seq), connection.snd_nxt)
        if connection.snd_una <= place < connection.snd_nxt:
            return True
        self.context.counters.TcpExtOutOfWindowIcmps += 1
        return False

    # --- errors made

    def unreachable(self, packet: ip.Packet, code: i64) -> None:
        """Tell the sender that its packet can't be delivered; ``code`` is the version's own."""
        packet = self._as_sent(packet)
        if self._may_answer(packet) and self._send_error(packet, wire.UNREACHABLE, code):
            self.context.counters.of(packet.version).icmp_out_dest_unreachs += 1

    def time_exceeded(self, packet: ip.Packet, code: i64) -> None:
        """Tell the sender that hops (code 0) or time for reassembly (1) ran out."""
        packet = self._as_sent(packet)
        if self._may_answer(packet) and self._send_error(packet, wire.TIME_EXCEEDED, code):
            self.context.counters.of(packet.version).icmp_out_time_excds += 1

    def too_big(self, packet: ip.Packet, mtu: i64) -> None:
        """Tell the sender the MTU that its packet exceeds. Not rate limited: path MTU discovery depends on it."""
        packet = self._as_sent(packet)
        if self._may_answer(packet, may_be_group=True) and self._send_error(
                packet, wire.PACKET_TOO_BIG, 0, mtu=mtu, is_limited=False):
            counters = self.context.counters.of(packet.version)
            if packet.version == 4:
                counters.icmp_out_dest_unreachs += 1
            else:
                counters.icmp_out_pkt_too_bigs += 1

    def parameter_problem(self, packet: ip.Packet, code: i64, pointer: i64) -> None:
        """Tell the sender which byte of its header we can't use."""
        packet = self._as_sent(packet)
        is_about_option = packet.version == 6 and code == 2
        if self._may_answer(packet, may_be_group=is_about_option) and self._send_error(
                packet, wire.PARAMETER_PROBLEM, code, pointer=pointer):
            self.context.counters.of(packet.version).icmp_out_parm_problems += 1

    def host_unreachable(self, data: bytes) -> None:
        """Report a packet whose next hop did not answer: to its sender, or to our own socket that sent it."""
        packet = self._as_sent(ip.parse(data, 0))
        code: i64 = wire.HOST_UNREACHABLE_V4 if packet.version == 4 else wire.ADDRESS_UNREACHABLE_V6
        if packet.src not in self.paths.local:
            self.unreachable(packet, code)
        elif not wire.is_error(packet):
            self.obey(wire.Error(packet.version, wire.UNREACHABLE, code, data), self.context.name, packet.src)

    def _as_sent(self, packet: ip.Packet) -> ip.Packet:
        """Undo what a box on this host did to a packet: its sender knows it as it sent it."""
        return packet if self.hook is None else self.hook.as_sent(packet)

    def _may_answer(self, packet: ip.Packet, *, may_be_group: bool = False) -> bool:
        """The rules on when never to send an error (RFC 1122 section 3.2.2, RFC 4443 section 2.4 (e))."""
        source = packet.src
        if wire.is_error(packet) or (packet.fragment_offset != 0 and packet.version == 4):
            return False  # RFC 8200 section 4.5 wants some errors about later fragments told, RFC 1122 none
        if is_unspecified(source) or is_multicast(source) or self.paths.is_broadcast(source):
            return False
        if is_loopback(source) and source not in self.paths.local:
            return False
        if len(source) == 4 and (source[0] == 0 or source[0] >= 240):
            return False
        is_group = is_multicast(packet.dst) or is_broadcast(packet.dst) or self.paths.is_broadcast(packet.dst)
        return not is_group or (may_be_group and packet.version == 6)

    def _send_error(self, packet: ip.Packet, problem: i64, code: i64, *, mtu: i64 = 0, pointer: i64 = 0,
                    is_limited: bool = True) -> bool:
        is_v4 = packet.version == 4
        if is_limited and not self._has_token(packet.src):
            self.context.counters.of(packet.version).icmp_out_rate_limit_host += 1
            self.context.drop(DropReason.ICMP_RATE_LIMITED, "", f"error to {format_address(packet.src)}")
            return False
        quote = packet.data[packet.header_start : packet.end]
        error = wire.Error(packet.version, problem, code, quote, mtu, pointer)
        source = packet.dst if self.paths.is_local(packet.dst) else b""
        tos: i64 = 0xC0 if is_v4 else 0  # RFC 1812 section 4.3.2.5: internetwork control
        return self._send(error, source, packet.src, tos, 0)

    def _has_token(self, receiver: bytes) -> bool:
        """Take a token from the receiver's bucket and one from that for all; lo needs none."""
        now_ns = self.context.now_ns
        if self.paths.is_local(receiver):
            return True
        receivers = self._receivers
        if receivers is None:
            receivers = self._receivers = OrderedDict()
        bucket = receivers.get(receiver)
        if bucket is None:
            if len(receivers) >= RECEIVERS_MAX:
                del receivers[next(iter(receivers))]
            bucket = receivers[receiver] = _Bucket(RECEIVER_BURST, now_ns)
        config = self.context.config
        if config.icmp_ratelimit_ns > 0 and not bucket.take(config.icmp_ratelimit_ns, RECEIVER_BURST, now_ns):
            return False
        # No one may count what is left in the bucket of all (CVE-2020-25705): an error costs a keyed 0 to 2.
        self._limited_count += 1
        price = self.context.hash32(b"icmp", self._limited_count) % 3
        return self._all.take(SECOND // config.icmp_msgs_per_sec, config.icmp_msgs_burst, now_ns, price)

    # --- out

    def send_echo(self, ident: i64, sequence: i64, payload: bytes, source: bytes, destination: bytes, ttl: i64,
                  tos: i64, scope: i64) -> None:
        """Send an echo request. ENETUNREACH if there is no route, EMSGSIZE if the payload is too long."""
        version: i64 = 4 if len(destination) == 4 else 6
        echo = wire.Echo(version, is_reply=False, ident=ident, sequence=sequence, payload=payload)
        path = self.paths.find_from(destination, source, scope)
        if path is None or not path.source:
            raise os_error(errno.ENETUNREACH, f"network is unreachable: no route to {format_address(destination)}")
        source = source if source else path.source
        body = wire.emit(echo, source, destination)
        size_max: i64 = 65_515 if version == 4 else 65_535
        if len(body) > size_max:
            raise os_error(errno.EMSGSIZE, f"message too long: {len(payload)} bytes of payload")
        counters = self.context.counters.of(version)
        counters.icmp_out_msgs += 1
        counters.icmp_out_echos += 1
        ident_ip: i64 = self.output.ident_for(source, destination, 0xFFFF) if version == 4 else 0
        protocol: i64 = ip.ICMP if version == 4 else ip.ICMPV6
        label = self.context.flow_label(destination, source, 0, 0)
        self.output.send(path, ip.emit(source, destination, protocol, body, ttl, tos, ident_ip, flow_label=label))

    def _send(
        self, message: wire.Message, source: bytes, destination: bytes, tos: i64, scope: i64, label: i64 = 0,
    ) -> bool:
        """Send a message, from ``source`` or from the address that the path prefers. ``False``: no route.

        ``label`` is the flow label, 0 for one of our own.
        """
        path = self.paths.find_from(destination, source, scope)
        is_v4 = len(destination) == 4
        counters = self.context.counters.of_address(destination)
        if path is None or not path.source:
            counters.ip_out_no_routes += 1
            self.context.drop(DropReason.IP_OUTNOROUTES, "", f"ICMP to {format_address(destination)}")
            return False
        source = source if source else path.source
        body = wire.emit(message, source, destination)
        ident: i64 = self.output.ident_for(source, destination, 0xFFFF) if is_v4 else 0
        protocol: i64 = ip.ICMP if is_v4 else ip.ICMPV6
        ttl = self.context.config.ip_default_ttl
        counters.icmp_out_msgs += 1
        if label == 0:
            label = self.context.flow_label(destination, source, 0, 0)
        self.output.send(path, ip.emit(source, destination, protocol, body, ttl, tos, ident, flow_label=label))
        return True

    # --- counting

    def _count_in_error(self, version: i64, reason: DropReason) -> None:
        counters = self.context.counters.of(version)
        counters.icmp_in_errors += 1
        counters.icmp_in_csum_errors += 1 if reason is DropReason.ICMP_CSUM else 0

    def _count_in_problem(self, error: wire.Error) -> None:
        counters = self.context.counters.of(error.version)
        if error.problem == wire.TIME_EXCEEDED:
            counters.icmp_in_time_excds += 1
        elif error.problem == wire.PARAMETER_PROBLEM:
            counters.icmp_in_parm_problems += 1
        elif error.problem == wire.REDIRECT:
            counters.icmp_in_redirects += 1
        elif error.problem == wire.PACKET_TOO_BIG and error.version == 6:
            counters.icmp_in_pkt_too_bigs += 1
        else:
            counters.icmp_in_dest_unreachs += 1


_TEXTS: Final = {
    errno.ENETUNREACH: "network is unreachable",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENOPROTOOPT: "protocol not available",
    errno.ECONNREFUSED: "connection refused",
    errno.EOPNOTSUPP: "operation not supported",
    errno.EACCES: "permission denied",
    errno.EPROTO: "protocol error",
    errno.EHOSTDOWN: "host is down",
    _ENONET: "machine is not on the network",
}


def _classify(error: wire.Error) -> tuple[int, bool]:
    """Return errno and whether the error is hard, as Linux does."""
    if error.problem == wire.TIME_EXCEEDED:
        return errno.EHOSTUNREACH, False
    if error.problem == wire.PARAMETER_PROBLEM:
        return errno.EPROTO, True
    if error.version == 4:
        code = error.code if error.code <= 15 else 1
        return _V4_ERRNO[code], _V4_IS_HARD[code]
    code = error.code if error.code <= 6 else 3
    return _V6_ERRNO[code], _V6_IS_HARD[code]


_CODE_TEXTS_V4: Final = ["network unreachable", "host unreachable", "protocol unreachable", "port unreachable"]
_CODE_TEXTS_V6: Final = ["no route", "administratively prohibited", "beyond scope", "address unreachable",
                         "port unreachable"]


def _problem_text(error: wire.Error) -> str:
    where = format_address(error.quoted.dst)
    if error.problem == wire.TIME_EXCEEDED:
        return f"time exceeded on the way to {where}"
    if error.problem == wire.PARAMETER_PROBLEM:
        return f"a bad header at byte {error.pointer} of a packet to {where}"
    texts = _CODE_TEXTS_V4 if error.version == 4 else _CODE_TEXTS_V6
    what = texts[error.code] if error.code < len(texts) else f"destination unreachable, code {error.code}"
    return f"{what}: {where}"


def _flow_key(quoted: wire.Quoted) -> bytes:
    """The key of the connection that sent the quoted segment."""
    return make_key(quoted.dst, quoted.src, quoted.dport, quoted.sport)


def _plateau_below(size: i64) -> i64:
    for plateau in _PLATEAUS:
        if plateau < size:
            return plateau
    return 68


def _pinger_key(version: i64, ident: i64) -> int:
    return version << 16 | ident
