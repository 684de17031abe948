"""A host that the fuzzer plays with: its links and sockets, what was seen of it, and all that must hold.

What the host sends is looked at: the numbers of its segments are what later segments are built from, so that most of
them fit. ARP and neighbour discovery are answered. Every frame sent must be a valid packet of a size that its link
takes.
"""

from __future__ import annotations

import contextlib

from estab.abi import AF_INET6, SOCK_DGRAM, SOCK_STREAM
from estab.host.engine import Engine
from estab.host.ip.interface import Outbound
from estab.host.sockets.stream import StreamSocket
from estab.host.sockets.udp import DatagramSocket
from estab.tcp.config import Config
from estab.tcp.connection import Connection
from estab.units import NEVER, SECOND
from estab.wire import arp, ethernet, ip, nd, tcp
from estab.wire.address import parse_address
from estab.wire.checksum import add, fold, pseudo_header
from tests.kit.invariants import check_demux, check_quiet

__all__ = ["MAC", "OURS", "PEERS", "PEER_MAC", "M", "Seen", "World"]

OURS = [(parse_address(f"10.{n}.0.1"), parse_address(f"fd0{n}::1")) for n in range(3)]
PEERS = [(parse_address(f"10.{n}.0.2"), parse_address(f"fd0{n}::2")) for n in range(3)]
MAC, PEER_MAC = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
MTUS = (1500, 1500, 1280)
M = 0xFFFFFFFF


class Seen:
    """What was seen of a flow: the numbers that the host would take next."""

    def __init__(self) -> None:
        self.seq = 0
        """What the host expects of its peer."""
        self.ack = 0
        """The end of what it sent."""
        self.ts = 0


class World:
    """A host, and what is known of it. ``features`` is what was reached, for a fuzzer that looks for more."""

    def __init__(self, settings: int) -> None:
        self.now_ns = 10**6 * SECOND
        self.frames = 0
        self.at_once = 0
        self.features: set[str] = set()
        self.sockets: list[StreamSocket | DatagramSocket] = []
        self.seen: dict[tuple[int, int, int, int], Seen] = {}
        self.recent: list[tuple[int, bytes]] = []
        self.buffers: dict[bytes, int] = {}
        self.engine = self._host(settings)
        self.is_quiet_link = bool(settings & 0x8000)
        self._listen(settings)

    def _host(self, settings: int) -> Engine:
        config = Config()
        if settings & 2:
            config.tcp_syncookies = "always"
        if settings & 4:
            config.tcp_mem = (4, 8, 30)
        if settings & 8:
            config.tcp_ecn = 3
        if settings & 16:
            config.tcp_fastopen = 0x603
        if settings & 32:
            config.tcp_mtu_probing = 2
        if settings & 64:
            config.tcp_congestion_control = ("bbr", "reno", "dctcp", "cubic")[settings >> 8 & 3]
        if settings & 128:
            config.tcp_rmem, config.tcp_wmem = (2304, 4096, 65536), (4608, 8192, 65536)
        if settings & 0x400:
            config.tcp_answer_early_acks = False
        if settings & 0x1000:
            config.tcp_max_orphans = config.tcp_max_tw_buckets = 1
        engine = Engine("fuzz", bytes(32), config, (lambda _event: None) if settings & 0x800 else None)
        links = [
            engine.add_interface("eth0", mtu=MTUS[0], mac=MAC),
            engine.add_interface("tun0", mtu=MTUS[1], segment_bytes_max=65535, has_checksum_offload=True),
            engine.add_interface("tun1", mtu=MTUS[2]),
        ]
        for number, link in enumerate(links):
            engine.add_address(link, f"10.{number}.0.1/24")
            engine.add_address(link, f"fd0{number}::1/64")
        engine.is_forwarding = bool(settings & 1)
        return engine

    def _listen(self, settings: int) -> None:
        listener = self.engine.socket(AF_INET6, SOCK_STREAM, self.now_ns)
        assert isinstance(listener, StreamSocket)
        listener.bind(("::", 7), self.now_ns)
        if settings & 16:
            listener.fast_open_backlog = 5
        listener.listen(3, self.now_ns)
        datagrams = self.engine.socket(AF_INET6, SOCK_DGRAM, self.now_ns)
        assert isinstance(datagrams, DatagramSocket)
        datagrams.bind(("::", 9), self.now_ns)
        self.sockets += [listener, datagrams]

    def settle(self) -> None:
        """Take all that the host has to say, and look whether all holds."""
        self.drain()
        demux = self.engine.demux
        for key, endpoint in demux.table.items():
            if isinstance(endpoint, Connection):
                self.buffers[key] = max(self.buffers.get(key, 0), int(endpoint.receive_buffer_bytes))
                self.features.add(f"state {endpoint.state} {endpoint.ca_state} {endpoint.out_of_order is not None}")
        check_demux(demux, self.engine.context.counters, self.buffers)

    def drain(self) -> None:
        for _ in range(3000):
            frame = self.engine.poll_frame(self.now_ns)
            if frame is None:
                break
            self._look_at(frame)
        else:
            raise AssertionError("more than 3000 frames for one input")
        for _ in range(1000):
            if self.engine.poll_event() is None:
                return
        raise AssertionError("more than 1000 events for one input")

    def _look_at(self, frame: Outbound) -> None:
        link = frame.interface_index - 1
        data, start = frame.data, 0
        if link == 0:
            start = ethernet.HEADER_BYTES
            if data[12:14] == b"\x08\x06":
                self._answer_arp(arp.parse(data, start))
                return
        packet = ip.parse(data, start)
        size = len(data) - start
        if frame.segment_bytes == 0:
            assert size <= MTUS[link], f"{size} bytes on a link of {MTUS[link]}"
        else:
            assert link == 1, "a super-segment on a link that takes none"
            assert size <= 65_535
        self.recent.append((link, data[start:]))
        del self.recent[:-8]
        if packet.protocol == ip.TCP and packet.fragment_offset == 0 and not packet.more_fragments:
            self._note(link, packet, frame.is_partial_checksum)
        elif packet.protocol == ip.ICMPV6 and link == 0:
            self._answer_solicitation(packet)

    def _note(self, link: int, packet: ip.Packet, is_partial: bool) -> None:
        if packet.src not in OURS[link]:
            return  # forwarded, and none of the router's to check
        segment = tcp.parse(packet, is_partial)
        found = self.seen.setdefault((link, packet.version, int(segment.sport), int(segment.dport)), Seen())
        found.ack = (segment.seq + tcp.segment_length(segment)) & M
        if segment.flags & tcp.ACK:
            found.seq = int(segment.ack)
        if segment.has_timestamps:
            found.ts = int(segment.ts_val)

    def _answer_arp(self, asked: arp.Arp) -> None:
        if not self.is_quiet_link and asked.operation == arp.REQUEST and asked.target == PEERS[0][0]:
            answer = arp.Arp(arp.REPLY, PEER_MAC, PEERS[0][0], MAC, OURS[0][0])
            self.engine.on_frame(1, ethernet.emit(MAC, PEER_MAC, ethernet.ARP, arp.emit(answer)), self.now_ns)

    def _answer_solicitation(self, packet: ip.Packet) -> None:
        if self.is_quiet_link or packet.data[packet.start] != nd.NEIGHBOR_SOLICITATION:
            return
        if packet.data[packet.start + 8 : packet.start + 24] == PEERS[0][1]:
            body = bytes([nd.NEIGHBOR_ADVERTISEMENT, 0, 0, 0, 0x60, 0, 0, 0]) + PEERS[0][1] + b"\x02\x01" + PEER_MAC
            self.give_v6(0, PEERS[0][1], packet.src if any(packet.src) else OURS[0][1], ip.ICMPV6, body, 255)

    def pass_deadline(self, due_ns: int) -> None:
        """Let the host do what is due; a deadline that changes nothing would come again and again."""
        self.at_once = self.at_once + 1 if due_ns <= self.now_ns else 0
        assert self.at_once < 1000, "1000 deadlines at one instant"
        self.now_ns = max(self.now_ns, due_ns)
        self.engine.on_deadline(self.now_ns)
        self.drain()

    def finish(self) -> None:
        """Close all, let all time pass, and find nothing."""
        for one in self.sockets:
            with contextlib.suppress(OSError):
                one.close(self.now_ns)
        self.settle()
        engine = self.engine
        for _ in range(20_000):
            due_ns = engine.next_deadline_ns()
            if due_ns == NEVER or (not engine.demux.table and engine.reassembly.datagram_count() == 0):
                break
            self.pass_deadline(due_ns)
        check_quiet(engine.demux, engine.context.counters)
        assert engine.context.memory.held_bytes == 0, f"{engine.context.memory.held_bytes} bytes are charged to nobody"
        assert engine.reassembly.bytes_held == 0
        for name, count in engine.counters().items():
            self.features.add(f"{name} {int(count).bit_length()}")

    def give(self, link: int, packet: bytes, is_known_good: bool = False, segment_bytes: int = 0) -> None:
        self.frames += 1
        if link == 0:
            kind = ethernet.IPV4 if packet[0] >> 4 == 4 else ethernet.IPV6
            packet = ethernet.emit(MAC, PEER_MAC, kind, packet)
        self.engine.on_frame(link + 1, packet, self.now_ns, is_known_good, segment_bytes=segment_bytes)

    def give_v6(self, link: int, src: bytes, dst: bytes, protocol: int, body: bytes, ttl: int) -> None:
        packet = ip.emit(src, dst, protocol, body, ttl)
        if protocol == ip.ICMPV6:
            checksum = fold(add(body, 0, len(body), pseudo_header(src, dst, protocol, len(body)))) ^ 0xFFFF
            packet = packet[:-len(body)] + body[:2] + checksum.to_bytes(2, "big") + body[4:]
        self.give(link, packet)

    def ends(self, choice: int) -> tuple[int, int, bytes, bytes]:
        link = (choice & 3) % 3
        version = choice >> 2 & 1
        return link, 4 + 2 * version, PEERS[link][version], OURS[link][version]

    def flow(self, link: int, version: int, choice: int) -> tuple[int, int, Seen]:
        """Choose a flow that was seen on the link, or one of a few ports to the listener."""
        known = [key for key in self.seen if key[:2] == (link, version)]
        if known and choice & 0x80:
            key = known[choice % len(known)]
        else:
            key = (link, version, (7, 7, 7, 8)[choice >> 4 & 3], 1000 + (choice & 3))
        return key[2], key[3], self.seen.get(key, Seen())

