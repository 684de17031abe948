"""``Engine``: one host's stack, through which everything else uses the core.

In: ``on_frame``, ``on_deadline`` and the calls of sockets, each with the time. Out, to be drained after every input:
``poll_frame`` and ``poll_event`` until they give ``None``, and ``next_deadline_ns``. Nothing here reads a clock, draws
entropy or waits: the same inputs give the same outputs, to the byte.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final

from mypy_extensions import i64

from estab.abi import AF_INET, AF_INET6, SOCK_DGRAM, SOCK_STREAM
from estab.counters import Counters
from estab.errors import DropReason, WireError, os_error
from estab.events import Observer
from estab.host.arriving.forwarding import Forwarding
from estab.host.arriving.icmp import Icmp
from estab.host.arriving.input import Input
from estab.host.arriving.ping import IcmpSocket
from estab.host.ip.fragments import Reassembly
from estab.host.ip.hook import PacketHook
from estab.host.ip.interface import Interface, Outbound, Outputs, address_of
from estab.host.ip.neighbors import Neighbors
from estab.host.ip.output import Output
from estab.host.ip.paths import HostPaths, needs_scope
from estab.host.ip.routes import Route, Routes
from estab.host.snapshot import SocketRow, is_delivering, rows
from estab.host.sockets.demux import Demux
from estab.host.sockets.epoll import EpollDescriptor
from estab.host.sockets.files import Descriptor, Files
from estab.host.sockets.local import Locals, LocalSocket
from estab.host.sockets.pipe import PipeEnd, open_pipe
from estab.host.sockets.ports import Ports
from estab.host.sockets.stream import Streams, StreamSocket
from estab.host.sockets.udp import DatagramSocket, Udp
from estab.host.sysctls import Sysctls
from estab.tcp.config import Config
from estab.tcp.context import Context, Paths
from estab.tcp.record.control import CongestionControl
from estab.undeletable import undeletable
from estab.wire import ip
from estab.wire import tcp as wire_tcp
from estab.wire.address import (
    format_address,
    is_link_local,
    is_multicast,
    is_unspecified,
    network_of,
    parse_address,
    parse_prefix,
)
from estab.wire.ip import IpHeader
from estab.wire.octets import Writer

__all__ = ["Engine"]

LOOP_MTU: Final = 65_536
LOOPS_PER_POLL_MAX: Final = 1024
"""Packets over lo that one ``poll_frame`` delivers at most."""
MTU_MIN: Final = 68
V6_MTU_MIN: Final = 1280
INTERFACES_MAX: Final = 65_536
ADDRESSES_MAX: Final = 262_144
_LOOPBACK_ADDRESSES: Final = (address_of(b"\x7f\0\0\x01", 8), address_of(b"\0" * 15 + b"\x01", 128))
"""Those of lo."""


class _Circles:
    """Breaks the circles of one host when that is released, so that they don't wait for the garbage collector.

    Not ``Engine.__del__``: compiled, that must not read what an engine that was refused never got. This one is made
    when nothing can be refused any more.
    """

    def __init__(self, context: Context, demux: Demux) -> None:
        self._context: Context = context
        self._demux: Demux = demux

    def __del__(self) -> None:
        self._context.paths = Paths()
        self._demux.forget_options()


class Engine:
    """One host: interfaces, routes, sockets, and everything between.

    ``name`` is for facts. ``secret``, at least 16 bytes, is the only entropy that it gets: initial sequence
    numbers, ports and cookies come from it, so give each host its own. ``observer`` is told all facts; it may be
    changed at any time.
    """

    def __init__(
        self, name: str, secret: bytes, config: Config | None = None, observer: Observer | None = None,
    ) -> None:
        self.name: str = name
        self.config: Config = config if config is not None else Config()
        self.context: Context = Context(name, self.config, Counters(), secret)
        self.context.observer = observer
        self.files: Files = Files(self.context)
        self.outputs: Outputs = Outputs(self.context)
        self.routes: Routes = Routes()
        self.neighbors: Neighbors = Neighbors(self.context, self.outputs)
        self.paths: HostPaths = HostPaths(self.context, self.routes, self.neighbors, self.outputs.interfaces)
        self.context.paths = self.paths
        self.output: Output = Output(self.context, self.outputs, self.neighbors)
        self.reassembly: Reassembly = Reassembly(self.context)
        self.demux: Demux = Demux(self.context)
        self.udp: Udp = Udp(self.context, self.files, self.paths, self.output, Ports("UDP", self.context))
        self.streams: Streams = Streams(
            self.context, self.files, self.paths, self.demux, Ports("TCP", self.context, has_parity=True))
        self.locals: Locals = Locals(self.context, self.files)
        """Unix sockets."""
        self.icmp: Icmp = Icmp(self.context, self.paths, self.neighbors, self.output, self.udp, self.demux)
        forwarding = Forwarding(self.context, self.paths, self.output, self.icmp)
        self.input: Input = Input(self.context, self.paths, self.neighbors, self.reassembly, self.icmp, self.udp,
                                  self.demux, forwarding)
        self.sysctl: Sysctls = Sysctls(self.context, self.input, self.demux.algorithms)
        """Linux's sysctls, to read and to write: ``host.sysctl["net.ipv4.tcp_retries2"] = 5``."""
        self._by_name: dict[str, Interface] = {}
        self._header: IpHeader = IpHeader(b"", b"")
        """Of the segment that is being sent: one object for all of them."""
        self._writer: Writer | None = None
        """Writes them all, one after the other; made for the first one."""
        self._circles: _Circles = _Circles(self.context, self.demux)
        self._add_loopback()

    # --- configuration

    @property
    def observer(self) -> Observer | None:
        """The function that is told what happens."""
        return self.context.observer

    @observer.setter
    def observer(self, observer: Observer | None) -> None:
        self.context.observer = observer

    @property
    def is_forwarding(self) -> bool:
        """Whether this host is a router: packets for others are sent on."""
        return self.input.is_forwarding

    @is_forwarding.setter
    def is_forwarding(self, value: bool) -> None:
        self.input.is_forwarding = value
        self.neighbors.is_router = value

    @property
    def interfaces(self) -> list[Interface]:
        """Every interface, by index; the first is lo."""
        return self.outputs.interfaces

    def add_interface(self, name: str, *, mtu: int = 1500, mac: bytes = b"", segment_bytes_max: int = 0,
                      has_checksum_offload: bool = False) -> Interface:
        """Add an interface: Ethernet with a ``mac``, else a link of bare IP packets.

        An Ethernet one gets its IPv6 link-local address. ``segment_bytes_max`` is the largest TCP super-segment that
        the link takes (0: none). ``ValueError`` on what no link has.
        """
        if not MTU_MIN <= mtu <= LOOP_MTU:
            raise ValueError(f"mtu: {mtu} is not from {MTU_MIN} to {LOOP_MTU}")
        if len(mac) not in (0, 6) or (mac and ((mac[0] & 1) or mac == b"\0" * 6)):
            raise ValueError(f"mac: {mac.hex(':')!r} is not a host's MAC address: 6 bytes, the first of them even")
        if not 0 <= segment_bytes_max <= 65_535:
            raise ValueError(f"segment_bytes_max: {segment_bytes_max} is not from 0 to 65535")
        if not name or self.find_interface(name) is not None:
            raise ValueError(f"name: there is an interface {name!r} already, or it is empty")
        if len(self.interfaces) >= INTERFACES_MAX:
            raise ValueError(f"a host has at most {INTERFACES_MAX} interfaces")
        interface = Interface(len(self.interfaces), name, mtu, mac, segment_bytes_max,
                              has_checksum_offload=has_checksum_offload, is_loopback=False)
        self.interfaces.append(interface)
        self._by_name[name] = interface
        if mac and mtu >= V6_MTU_MIN:
            self._add_address(interface, _link_local_address(mac), 64)
        return interface

    def find_interface(self, name: str) -> Interface | None:
        """Find an interface by name."""
        return self._by_name.get(name)

    def add_address(self, interface: Interface, prefix: str) -> None:
        """Give an interface an address, ``"10.0.0.1/24"``, and a route to its network.

        ``ValueError`` on one that no host can have.
        """
        address, bits = parse_prefix(prefix)
        self.add_own_address(interface, address, bits)

    def add_own_address(self, interface: Interface, address: bytes, bits: i64) -> None:
        """Give an interface an address in network byte order. Raises what ``add_address`` does."""
        if is_unspecified(address) or is_multicast(address) or address == b"\xff\xff\xff\xff":
            raise ValueError(f"address: {format_address(address)}/{bits} is not an address that a host can have")
        if len(self.paths.local) >= ADDRESSES_MAX:
            raise ValueError(f"address: a host has at most {ADDRESSES_MAX} addresses")
        if address in self.paths.local:
            name = self.paths.local[address].name
            raise ValueError(f"address: {format_address(address)}/{bits} is on {name} already")
        if len(address) == 16 and interface.mtu < V6_MTU_MIN:
            raise ValueError(f"address: IPv6 needs an MTU of {V6_MTU_MIN}, and {interface.name} has {interface.mtu}")
        self._add_address(interface, address, bits)

    def remove_address(self, interface: Interface, address_text: str) -> None:
        """Take an address from an interface, with the route to its network. ``ValueError`` if it is not there."""
        address = parse_address(address_text.partition("/")[0])
        found = interface.find(address)
        if found is None:
            raise ValueError(f"address: {address_text!r} is not on {interface.name}")
        interface.addresses.remove(found)
        self.paths.forget_broadcast(found.broadcast)
        del self.paths.local[address]
        for other in interface.addresses:
            if other.network == found.network and other.prefix_bits == found.prefix_bits:
                break
        else:
            if found.prefix_bits < len(address) * 8:
                self.routes.remove(found.network, found.prefix_bits, interface)
        self.routes.generation += 1

    def add_route(self, prefix: str, interface: Interface, gateway: str | None = None, mtu: int = 0, advmss: int = 0,
                  initcwnd: int = 0) -> None:
        """Add a route; ``"0.0.0.0/0"`` and ``"::/0"`` are the default ones.

        ``mtu`` limits it below the interface's (0: not), ``advmss`` what TCP tells its peers there of the segments
        that they may send, and ``initcwnd`` is the first congestion window in segments. ``ValueError``; ENETUNREACH for
        a gateway on no network of ours.
        """
        address, bits = parse_prefix(prefix)
        hop = parse_address(gateway) if gateway is not None else b""
        if hop and len(hop) != len(address):
            raise ValueError(f"gateway: {gateway!r} is of another IP version than {prefix!r}")
        if hop in self.paths.local:
            raise ValueError(f"gateway: {gateway!r} is this host itself")
        if hop and interface.is_ethernet and not interface.on_link_source(hop) and not is_link_local(hop):
            raise os_error(errno.ENETUNREACH,
                           f"network is unreachable: gateway {gateway} is on no network of {interface.name}")
        if not 0 <= advmss <= 65535 or not 0 <= initcwnd <= 65535:
            raise ValueError(f"advmss, initcwnd: {advmss}, {initcwnd} are not from 0 to 65535")
        if mtu and not MTU_MIN <= mtu <= LOOP_MTU:
            raise ValueError(f"mtu: {mtu} is not 0 or from {MTU_MIN} to {LOOP_MTU}")
        self.routes.add(Route(network_of(address, bits), bits, interface, hop, mtu, advmss, initcwnd))

    def remove_route(self, prefix: str, interface: Interface | None = None) -> None:
        """Remove a route, or raise ESRCH."""
        address, bits = parse_prefix(prefix)
        self.routes.remove(network_of(address, bits), bits, interface)

    def add_neighbor(self, interface: Interface, address: str, mac: bytes) -> None:
        """Set a neighbour's MAC address by hand; it never changes by itself."""
        if len(mac) != 6:
            raise ValueError(f"mac: {mac!r} is not 6 bytes")
        self.neighbors.set_permanent(interface, parse_address(address), mac)

    def add_congestion_control(self, control: CongestionControl) -> None:
        """Offer one more congestion control, by its ``name``, to ``TCP_CONGESTION`` and ``tcp_congestion_control``."""
        self.demux.algorithms.add(control)

    def set_link(self, interface: Interface, is_up: bool, now_ns: int) -> None:
        """Note that a link went down or came up. While it is down its routes are not used, and nothing leaves by it."""
        self.context.now_ns = now_ns
        if interface.is_up == is_up:
            return
        interface.is_up = is_up
        self.routes.generation += 1
        if not is_up:
            self.neighbors.forget_interface(interface)

    def announce(self, interface: Interface, address: bytes, now_ns: int) -> None:
        """Tell an Ethernet segment that an address of ours is here: a gratuitous ARP (RFC 5227 section 2.3), or an
        unsolicited Neighbor Advertisement (RFC 4861 section 7.2.6). On other links nothing is said.
        """
        self.context.now_ns = now_ns
        if interface.is_ethernet:
            self.neighbors.announce(interface, address)

    def set_backlog(self, port: i64, backlog: i64, now_ns: i64) -> bool:
        """Change the backlog of the sockets that listen on a TCP port, and tell the observer of their new limits.

        ``False`` if there is none.
        """
        self.context.now_ns = now_ns
        has_found = False
        for descriptor in self.files.open_descriptors():
            if isinstance(descriptor, StreamSocket) and descriptor.listener is not None and (
                    descriptor.local_port == port):
                descriptor.listener.set_backlog(backlog)
                descriptor.listener.tell_limits("the backlog was changed")
                has_found = True
        return has_found

    def looks_at_packets(self) -> bool:
        """Tell whether an observer or a box on this host sees what arrives: a link must give it all checksums."""
        return self.context.observer is not None or self.input.hook is not None

    def set_hook(self, hook: PacketHook | None) -> None:
        """Let a box on this host see all packets that arrive before the host does; ``None``: none."""
        self.input.hook = hook
        self.icmp.hook = hook

    # --- in

    def on_frame(
        self, interface_index: i64, data: bytes, now_ns: i64, is_known_good: bool = False, start: i64 = 0,
        segment_bytes: i64 = 0,
    ) -> None:
        """Take a frame from a link. Nothing is raised, whatever it holds; what is of no use is counted and dropped.

        ``is_known_good``: the link vouches for the transport checksum, which may not be filled in. The frame begins at
        ``start``: what a device put before it (a virtio header) stays there, uncopied. ``segment_bytes``: the packet is
        a TCP super-segment of segments with so much text each (0: it is none), which matters if it is forwarded.
        """
        self.context.now_ns = now_ns
        self.input.on_frame(self.outputs.interfaces[interface_index], data, is_known_good=is_known_good, start=start,
                            segment_bytes=segment_bytes)

    def on_deadline(self, now_ns: i64) -> None:
        """Do all that is due by now. Calling it early does nothing."""
        self.context.now_ns = now_ns
        self.neighbors.on_deadline()
        self.reassembly.on_deadline()
        self.demux.on_deadline(now_ns)
        if self.neighbors.failed:
            for data in self.neighbors.failed:
                self.icmp.host_unreachable(data)
            self.neighbors.failed.clear()
        if self.reassembly.expired:
            for data in self.reassembly.expired:
                self.icmp.time_exceeded(ip.parse(data, 0), 1)
            self.reassembly.expired.clear()

    # --- out

    def poll_frame(self, now_ns: i64) -> Outbound | None:
        """Return the next frame for a link, ``None`` when there is none.

        Packets to this host itself are delivered on the way.
        """
        self.context.now_ns = now_ns
        outputs = self.outputs
        looped_count: i64 = 0
        while True:
            if outputs.waiting > 0:
                queued = outputs.pop()
                if queued is not None:
                    outputs.sent(queued)
                    return queued
                if outputs.looped:
                    if looped_count >= LOOPS_PER_POLL_MAX:
                        return None
                    looped_count += 1
                    looped = outputs.pop_looped()
                    outputs.sent(looped)
                    self.input.on_looped(looped)
                    continue
            outbound = self._poll_segment(now_ns)
            if outbound is not None:
                outputs.sent(outbound)
                return outbound
            if outputs.waiting == 0:
                return None

    def on_refused(self, outbound: Outbound, now_ns: i64) -> None:
        """Note that a device's own queue was full and dropped the frame that ``poll_frame`` returned last.

        Call it before the next ``poll_frame``. TCP slows down and tries again, as Linux's does: see
        ``tcp/sending/refused``. A device that can keep the frame until it has room should do that instead.
        """
        self.context.now_ns = now_ns
        interface = self.outputs.interfaces[outbound.interface_index]
        interface.tx_frames -= 1
        interface.tx_bytes -= outbound.size()
        connection = ""
        try:
            packet = ip.parse(outbound.frame(), 14 if interface.is_ethernet else 0)
            if packet.protocol == ip.TCP and not ip.is_fragment(packet):
                segment = wire_tcp.parse(packet, is_checksum_known_good=True)
                key = wire_tcp.make_key(packet.dst, packet.src, segment.dport, segment.sport)
                connection = self.demux.on_refused(key, segment, now_ns)
        except WireError:
            pass  # ARP, or what a program sent raw: nothing of TCP's
        self.context.drop(DropReason.QDISC_DROP, connection, f"the queue of {interface.name} is full")

    def poll_event(self) -> tuple[int, int] | None:
        """Return the next descriptor with news and its POLL bits, ``None`` when there is none."""
        descriptor = self.poll_descriptor()
        return None if descriptor is None else (descriptor.fd, descriptor.readiness())

    def poll_descriptor(self) -> Descriptor | None:
        """Return the same descriptor itself: its POLL bits, which cost more than all else, need not be asked for."""
        while True:
            owner = self.context.take_woken()
            if owner is None:
                return None
            if owner.fd >= 0:
                assert isinstance(owner, Descriptor)
                return owner

    def next_deadline_ns(self) -> i64:
        """Return when ``on_deadline`` is to be called next; ``NEVER`` if nothing waits. It may be early."""
        return self._soonest_ns(self.demux.next_deadline_ns())

    def next_look_ns(self) -> i64:
        """Return the same or an earlier time, which costs less. Where time is virtual, each time counts; on a real
        device it costs little if ``on_deadline`` finds nothing to do: at most once for each retransmission timer.
        """
        return self._soonest_ns(self.demux.timers.look_ns())

    def _soonest_ns(self, due_ns: i64) -> i64:
        if self.outputs.waiting > 0:
            return self.context.now_ns
        if self.neighbors.next_due_ns < due_ns:
            due_ns = self.neighbors.next_due_ns
        if self.reassembly.next_due_ns < due_ns:
            due_ns = self.reassembly.next_due_ns
        return due_ns

    # --- calls

    def socket(self, family: i64, kind: i64, now_ns: i64) -> StreamSocket | DatagramSocket:
        """Make a socket: a descriptor and its TCB record. EAFNOSUPPORT, ESOCKTNOSUPPORT, EMFILE."""
        self.context.now_ns = now_ns
        if family != AF_INET and family != AF_INET6:
            raise os_error(errno.EAFNOSUPPORT, f"address family not supported by protocol: {family}")
        if kind == SOCK_STREAM:
            return self.streams.socket(family)
        if kind != SOCK_DGRAM:
            raise os_error(errno.ESOCKTNOSUPPORT, f"socket type not supported: {kind}")
        self.files.ensure_room()
        datagram_socket = DatagramSocket(self.udp, family)
        self.files.allocate(datagram_socket, "socket()")
        return datagram_socket

    def local_socket(self, kind: i64, now_ns: i64) -> LocalSocket:
        """Make a Unix socket. ESOCKTNOSUPPORT, EMFILE."""
        self.context.now_ns = now_ns
        return self.locals.socket(kind)

    def local_pair(self, kind: i64, credentials: tuple[int, int, int],
                   now_ns: i64) -> tuple[LocalSocket, LocalSocket]:
        """Make two Unix sockets that are connected to each other. ESOCKTNOSUPPORT, EMFILE."""
        self.context.now_ns = now_ns
        return self.locals.pair(kind, credentials)

    def pipe(self, now_ns: i64) -> tuple[PipeEnd, PipeEnd]:
        """Make a pipe: the end to read from, and the end to write to. EMFILE."""
        self.context.now_ns = now_ns
        return open_pipe(self.context, self.files)

    def epoll(self, is_ready: Callable[[], bool], now_ns: i64) -> EpollDescriptor:
        """Make the descriptor of an epoll object, which is readable while ``is_ready()``. EMFILE."""
        self.context.now_ns = now_ns
        made = EpollDescriptor(self.files, is_ready)
        self.files.allocate(made, "epoll_create()")
        return made

    def ping(self, destination: str, payload: bytes, now_ns: i64) -> IcmpSocket:
        """Send an echo request, and return the socket for its reply and further requests."""
        self.context.now_ns = now_ns
        text, _, zone = destination.partition("%")
        scope: i64 = 0
        if zone:
            interface = self.find_interface(zone)
            scope = interface.index if interface is not None else 0
        self.files.ensure_room()
        pinger = IcmpSocket(self.icmp, self.files, parse_address(text), scope)
        self.files.allocate(pinger, "ping()")
        try:
            pinger.send(payload, now_ns)
        except OSError:
            pinger.close(now_ns)
            raise
        return pinger

    def sockets(self, now_ns: i64) -> list[SocketRow]:
        """List every socket, TIME-WAIT record and half-open entry, as ``ss -a`` does."""
        return rows(self.demux, self.udp, self.files, now_ns)

    def is_delivering(self) -> bool:
        """Tell whether a connection waits for an acknowledgment: of text, or of the SYN or the FIN that it sent."""
        return is_delivering(self.demux, self.files)

    def counters(self) -> dict[str, int]:
        """Return every counter that is not zero by its name in ``nstat``, and the drops as ``drop:REASON``."""
        return self.context.counters.as_dict()

    # --- inside

    def _poll_segment(self, now_ns: i64) -> Outbound | None:
        """Take segments from TCP until one makes a frame that leaves now; ``None`` when TCP has no more."""
        while True:
            outgoing = self.demux.poll(now_ns)
            if outgoing is None:
                return None
            destination = outgoing.dst
            if len(destination) == 16 and needs_scope(destination):
                path = self.paths.find_from(destination, outgoing.src, 0)
            else:
                path = self.paths.find(destination)
            if path is None:
                self._drop_unroutable(destination)
                continue
            interface = path.interface
            # Whoever cuts a super-segment, a device or we below, computes the checksum of each segment. An observer is
            # told of whole packets: with one, nothing else is left to the link.
            is_left_to_link = interface.has_checksum_offload and self.context.observer is None
            is_partial = outgoing.segment_bytes > 0 or is_left_to_link
            segment = outgoing.segment
            segment.has_bsd_order = self.config.tcp_bsd_option_order
            may_fragment = not self.paths.forbids_cutting(path, outgoing.pmtu_discover)
            ident: i64 = 0  # RFC 6864: with DF a packet is atomic and its identification means nothing
            if may_fragment and len(destination) == 4:
                ident = self.output.ident_for(outgoing.src, destination, 0xFFFF)
            header = self._header
            header.src, header.dst, header.ttl = outgoing.src, destination, outgoing.ttl
            header.ident, header.dont_fragment = ident, not may_fragment
            header.flow_label = outgoing.flow_label
            if is_partial and interface.takes_text_apart and outgoing.segment_bytes > 0 and not path.is_local:
                headers = wire_tcp.emit_headers(segment, header)
                outbound = self.output.segment_apart(path, headers, segment, outgoing.segment_bytes)
            else:
                writer = self._writer
                if writer is None:
                    writer = self._writer = Writer()
                before = b""
                if is_left_to_link and outgoing.segment_bytes == 0 and interface.is_up and not path.is_local:
                    before = interface.before_v4 if len(destination) == 4 else interface.before_v6
                packet = wire_tcp.emit_packet(segment, header, is_partial, writer, before)
                outbound = self.output.segment(path, packet, outgoing.segment_bytes, is_partial, len(before))
            if outbound is not None:
                return outbound
            if self.outputs.waiting > 0:
                return None

    def _drop_unroutable(self, destination: bytes) -> None:
        self.context.counters.of_address(destination).ip_out_no_routes += 1
        self.context.drop(DropReason.IP_OUTNOROUTES, "", f"TCP to {format_address(destination)}")

    def _add_loopback(self) -> None:
        lo = Interface(0, "lo", LOOP_MTU, b"", 0, has_checksum_offload=True, is_loopback=True)
        self.interfaces.append(lo)
        self._by_name["lo"] = lo
        for address in _LOOPBACK_ADDRESSES:
            lo.addresses.append(address)
            self.paths.local[address.address] = lo

    def _add_address(self, interface: Interface, address: bytes, bits: i64) -> None:
        added = address_of(address, bits)
        has_route = False
        for other in interface.addresses:
            if other.network == added.network and other.prefix_bits == bits:
                has_route = True
        interface.addresses.append(added)
        self.paths.local[address] = interface
        self.paths.note_broadcast(added.broadcast)
        if not has_route and bits < len(address) * 8:
            self.routes.add(Route(added.network, bits, interface, b"", 0))
        self.routes.generation += 1


def _link_local_address(mac: bytes) -> bytes:
    """Make the link-local address of a MAC address (RFC 4291 appendix A)."""
    return b"\xfe\x80" + bytes(6) + bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]


undeletable(Engine, "observer", "is_forwarding")
