"""One input of the fuzzer, played on a host: frames, calls and time in the order that its bytes say.

An input is two bytes of settings and records of ``RECORD_BYTES``: what to do, and its parameters. The host has an
Ethernet link, a link of bare IP with offload and one without, both IP versions, a listener, services and sockets. What
it sends is looked at: the numbers of its segments are what later segments are built from, so that most of them fit. ARP
and neighbour discovery are answered.

After each record all must hold that ``tests.kit.invariants`` knows, every frame sent must be a valid packet of a size
that its link takes, and only ``OSError`` may leave a call. At the end all sockets are closed, and nothing may be left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from estab import abi
from estab.abi import AF_INET, AF_INET6, SOCK_STREAM
from estab.host.sockets.stream import StreamSocket
from estab.host.sockets.udp import DatagramSocket
from estab.units import MS, NEVER, SECOND
from estab.wire import arp, ethernet, fragment, ip, tcp, udp
from estab.wire.checksum import add, fold
from estab.wire.ip import IpHeader
from estab.wire.seq import Seq
from tests.fuzz.world import MAC, OURS, PEER_MAC, PEERS, M, World

__all__ = ["RECORDS_MAX", "RECORD_BYTES", "Play"]

RECORD_BYTES = 12
RECORDS_MAX = 160
TIMES = (0, 1, 10 * MS, 40 * MS, 200 * MS, SECOND, 3 * SECOND, 31 * SECOND, 61 * SECOND, 700 * SECOND, 7200 * SECOND)
DELTAS = (0, 0, 0, 0, 1, -1, 2, 10, -10, 100, 536, -536, 1448, 2896, -1448, 5000, 20_000, 65_535, -65_535, 2**31 - 1,
          2**31)
LENGTHS = (0, 0, 1, 2, 10, 100, 536, 1000, 1220, 1448, 1460)
WINDOWS = (0, 1, 10, 100, 1000, 1460, 5000, 65_535)
OPTIONS = ("nodelay", "cork", "quickack", "oob_inline", "keepalive", "maxseg", "user_timeout_ns", "notsent_lowat_bytes",
           "receive_buffer_bytes", "send_buffer_bytes", "keep_idle_ns", "max_pacing_rate", "tos", "ttl",
           "pmtu_discover", "defer_accept_s", "fast_open_backlog", "congestion", "linger", "fin_timeout_ns")
VALUES = (0, 1, 2, 3, 10, 88, 536, 1000, 4096, 65_535, 10**6, 10**9, 60 * 10**9)
SYSCTLS = ("tcp_sack", "tcp_timestamps", "tcp_ecn", "tcp_fastopen", "tcp_syncookies", "tcp_abort_on_overflow",
           "tcp_rfc1337", "tcp_tw_reuse", "tcp_mtu_probing", "ip_forward",
           "tcp_frto", "tcp_recovery", "tcp_early_retrans", "ipfrag_high_thresh", "tcp_abe",
           "flowlabel_reflect", "auto_flowlabels")


class Play(World):
    """What an input does with a host."""

    def __init__(self, data: bytes) -> None:
        super().__init__(int.from_bytes(data[:2], "little"))
        self.data = data

    def run(self) -> None:
        """Do all that the input says, then end all. ``AssertionError`` or whatever else says what is wrong."""
        records = [self.data[at : at + RECORD_BYTES].ljust(RECORD_BYTES, b"\0")
                   for at in range(2, len(self.data), RECORD_BYTES)][:RECORDS_MAX]
        at = 0
        while at < len(records):
            record = records[at]
            at += 1
            if record[0] & 15 == 1:  # raw bytes take the records after this one
                count = record[2] & 7
                self._raw(record, b"".join(records[at : at + count]))
                at += count
            else:
                _STEPS[record[0] & 15](self, record)
            self.settle()
        self.finish()

    def _segment(self, record: bytes, text: bytes | None = None) -> tuple[int, tcp.Segment, bytes, bytes]:
        link, version, peer, ours = self.ends(record[1])
        port, remote, seen = self.flow(link, version, record[2])
        flags = record[3] & 0x3F | (record[1] & 0xC0)
        seq = (seen.seq + DELTAS[record[4] % len(DELTAS)]) & M
        ack = (seen.ack + DELTAS[record[5] % len(DELTAS)]) & M
        segment = tcp.Segment(remote, port, Seq(seq), Seq(ack), flags, WINDOWS[record[6] % len(WINDOWS)])
        size = LENGTHS[record[7] % len(LENGTHS)]
        segment.data = bytes(size) if text is None else text
        segment.end = len(segment.data)
        segment.urg = record[8] if flags & tcp.URG else 0
        segment.tos = record[8] & 3
        bits = record[9]
        if flags & tcp.SYN:
            segment.mss = (0, 48, 536, 1460)[bits >> 6]
            segment.wscale = (-1, 0, 7, 14)[bits >> 4 & 3]
            segment.sack_permitted = bool(bits & 8)
            if bits & 4:
                segment.fast_open = record[10:12] * (record[11] & 7)
        elif bits & 8:
            edges = [(seen.ack - 1448 * (record[10] & 15) + 1448 * n) & M for n in range(record[11] & 3)]
            segment.sack = [edge for left in edges for edge in (left, (left + (record[11] >> 2) * 50 + 1) & M)]
        if bits & 1:
            segment.has_timestamps = True
            segment.ts_val = (self.now_ns // MS + (record[10] if bits & 2 else 0) * 2**24) & M
            segment.ts_ecr = seen.ts
        return link, segment, peer, ours

    def _put(self, record: bytes) -> None:
        link, segment, peer, ours = self._segment(record)
        self.give(link, tcp.emit_packet(segment, IpHeader(peer, ours)))

    def _put_super(self, record: bytes) -> None:
        link, segment, peer, ours = self._segment(record, bytes(1448 * (1 + record[7] % 40)))
        gso_size = (0, 1, 536, 1448, 60_000)[record[11] % 5]
        self.give(link, tcp.emit_packet(segment, IpHeader(peer, ours)), is_known_good=True, segment_bytes=gso_size)

    def _raw(self, record: bytes, data: bytes) -> None:
        data = record[3:] + data
        if record[2] & 8 and len(data) >= 20:  # as an IP packet to us, of any protocol
            link, _, peer, ours = self.ends(record[1])
            self.give(link, ip.emit(peer, ours, record[3], data, max(record[4], 1)))
        else:
            self.frames += 1
            is_good = bool(record[1] & 64)
            self.engine.on_frame(1 + record[1] % 3, data, self.now_ns, is_good, segment_bytes=record[2] * 64)

    def _reflect(self, record: bytes) -> None:
        """Send back what the host sent: as it was or the other way round, with bytes changed."""
        if not self.recent:
            return
        link, data = self.recent[record[1] % len(self.recent)]
        changed = bytearray(data)
        if record[2] & 1:
            packet = ip.parse(data, 0)
            at = 12 if packet.version == 4 else 8
            size = len(packet.src)
            changed[at : at + 2 * size] = packet.dst + packet.src
            if packet.protocol in (ip.TCP, ip.UDP):
                ports = packet.start
                changed[ports : ports + 4] = data[ports + 2 : ports + 4] + data[ports : ports + 2]
        for place, value in zip(record[4:10:2], record[5:11:2], strict=True):
            if value:
                changed[place % len(changed)] ^= value
        if record[3] & 1:
            del changed[record[10] * len(changed) // 256 :]
        self.give(link, bytes(changed) or b"\0", is_known_good=bool(record[2] & 2))

    def _icmp_error(self, record: bytes) -> None:
        if not self.recent:
            return
        link, data = self.recent[record[1] % len(self.recent)]
        version = data[0] >> 4
        peer, ours = PEERS[link][version == 6], OURS[link][version == 6]
        body = bytes([record[2], record[3], 0, 0, 0, 0]) + bytes(record[4:6]) + data[: record[6] * 4]
        if version == 6:
            self.give_v6(link, peer, ours, ip.ICMPV6, body, record[7] | 1)
        else:
            checksum = fold(add(body, 0, len(body), 0)) ^ 0xFFFF
            self.give(link, ip.emit(peer, ours, ip.ICMP, body[:2] + checksum.to_bytes(2, "big") + body[4:]))

    def _fragments(self, record: bytes) -> None:
        link, version, peer, ours = self.ends(record[1])
        size = record[2] * 40
        if record[3] & 1:
            segment = tcp.Segment(1000 + (record[4] & 3), 7, Seq(1), Seq(0), record[5], 1000)
            segment.data = bytes(size)
            segment.end = size
            whole = tcp.emit_packet(segment, IpHeader(peer, ours, ident=record[6]))
        else:
            whole = udp.emit_packet(1000, 9, bytes(size), IpHeader(peer, ours, ident=record[6]))
        pieces = fragment.split(ip.parse(whole, 0), max(record[7] * 8, 88 if version == 4 else 96), record[6])
        for number in range(len(pieces)):
            if record[8] >> (number & 7) & 1:
                piece = bytearray(pieces[-number if record[3] & 2 else number])
                if record[9]:
                    piece[record[10] % 48 % len(piece)] ^= record[9]
                self.give(link, bytes(piece), is_known_good=True)

    def _datagram(self, record: bytes) -> None:
        link, _, peer, ours = self.ends(record[1])
        port = (9, 10)[record[3] & 1]
        self.give(link, udp.emit_packet(1000 + record[2], port, bytes(record[4] * 5), IpHeader(peer, ours)))

    def _neighbor(self, record: bytes) -> None:
        """ARP or neighbour discovery, nearly right."""
        if record[1] & 1:
            net = b"\x0a\0\0"
            sender = bytes([2, 0, 0, 0, 0, record[3]])
            message = arp.Arp(record[2] & 3, sender, net + record[4:5], MAC, net + record[5:6])
            self.engine.on_frame(1, ethernet.emit(MAC, PEER_MAC, ethernet.ARP, arp.emit(message)), self.now_ns)
            return
        source = PEERS[0][1][:-1] + record[3:4]
        target = OURS[0][1][:-1] + record[4:5]
        kind = 133 + record[2] % 5
        option = bytes([record[6] & 3, record[7] & 3]) + record[8:12] + b"\0\0"
        body = bytes([kind, 0, 0, 0, record[5], 0, 0, 0]) + target + option
        self.give_v6(0, source, OURS[0][1], ip.ICMPV6, body, 255 if record[1] & 2 else 64)

    def _forwarded(self, record: bytes) -> None:
        link, version, peer, _ = self.ends(record[1])
        other = (link + 1 + (record[2] & 1)) % 3
        destination = PEERS[other][version == 6][:-1] + bytes([2 + (record[3] & 1)])
        ttl = (1, 2, 64, 255)[record[4] & 3]
        header = IpHeader(peer, destination, ttl, record[9], bool(record[6] & 2))
        size = record[5] * (80 if record[1] & 0x80 and link == 1 else 10)
        if record[6] & 1:
            segment = tcp.Segment(5, 6, Seq(record[7]), Seq(0), record[8], 1000)
            segment.data = bytes(size)
            segment.end = size
            packet = tcp.emit_packet(segment, header)
        else:
            packet = udp.emit_packet(5, 6, bytes(size), header)
        self.give(link, packet, is_known_good=True, segment_bytes=(0, 0, 1, 536, 1448)[record[10] % 5])

    def _open(self, record: bytes) -> None:
        """A whole handshake, so that what comes after finds a connection."""
        link, version, peer, ours = self.ends(record[1])
        remote = 1000 + (record[2] & 3)
        syn = tcp.Segment(remote, 7, Seq(0), Seq(0), tcp.SYN, 65535)
        syn.mss, syn.wscale = (0, 536, 1460, 48)[record[3] & 3], (-1, 0, 7, 7)[record[3] >> 2 & 3]
        syn.sack_permitted, syn.has_timestamps = bool(record[3] & 16), bool(record[3] & 32)
        syn.ts_val = self.now_ns // MS & M
        self.give(link, tcp.emit_packet(syn, IpHeader(peer, ours)))
        self.drain()
        seen = self.seen.get((link, version, 7, remote))
        if seen is None:
            return
        third = tcp.Segment(remote, 7, Seq(seen.seq), Seq(seen.ack), tcp.ACK, WINDOWS[record[4] % len(WINDOWS)])
        third.has_timestamps, third.ts_val, third.ts_ecr = syn.has_timestamps, syn.ts_val, seen.ts
        self.give(link, tcp.emit_packet(third, IpHeader(peer, ours)))
        self.drain()
        self._try(lambda: self._accept(0))

    def _wait(self, record: bytes) -> None:
        """Let time pass: as much as said, or until the next deadline."""
        engine = self.engine
        if record[1] & 1:
            due_ns = engine.next_deadline_ns()
            end_ns = due_ns if due_ns != NEVER else self.now_ns
        else:
            end_ns = self.now_ns + TIMES[record[2] % len(TIMES)]
        for _ in range(20_000):
            due_ns = engine.next_deadline_ns()
            if due_ns > end_ns:
                break
            self.pass_deadline(due_ns)
        else:
            raise AssertionError("20,000 deadlines, and no end")
        self.now_ns = max(self.now_ns, end_ns)

    def _try(self, call: Callable[[], object]) -> None:
        try:
            call()
        except OSError as error:
            self.features.add(f"errno {error.errno}")

    def _accept(self, at: int) -> None:
        listener = self.sockets[at % len(self.sockets)]
        if isinstance(listener, StreamSocket) and len(self.sockets) < 24:
            self.sockets.append(listener.accept(self.now_ns))

    def _call(self, record: bytes) -> None:
        one = self.sockets[record[2] % len(self.sockets)]
        size = record[3] * 257
        now_ns = self.now_ns
        kind = record[1] % 12
        if kind == 0:
            self._try(lambda: self._connect(record))
        elif kind == 1:
            self._try(lambda: self._accept(record[2]))
        elif kind == 2 and isinstance(one, StreamSocket):
            flags = (0, 0, abi.MSG_MORE, abi.MSG_OOB, abi.MSG_EOR)[record[4] % 5]
            self._try(lambda: one.send(bytes(size), flags, now_ns))
        elif kind == 3 and isinstance(one, StreamSocket):
            flags = (0, 0, abi.MSG_PEEK, abi.MSG_OOB)[record[4] & 3]
            self._try(lambda: one.recv(size, flags, now_ns))
        elif kind == 4 and isinstance(one, StreamSocket):
            self._try(lambda: one.shutdown(record[3] % 3, now_ns))
        elif kind == 5 and len(self.sockets) > 2:
            self.sockets.remove(one)
            self._try(lambda: one.close(now_ns))
        elif kind == 6 and isinstance(one, StreamSocket):
            self._try(lambda: one.disconnect(now_ns))
        elif kind == 7 and isinstance(one, StreamSocket):
            self._try(lambda: one.listen(3, now_ns))
        elif kind == 8 and isinstance(one, DatagramSocket):
            link, version, _, _ = self.ends(record[4])
            text = f"10.{link}.0.2" if version == 4 else f"fd0{link}::2"
            self._try(lambda: one.sendto(bytes(size), (text, 9), 0, now_ns))
        elif kind == 9:
            target = "10.0.0.2" if record[3] & 1 else "fd00::2"
            self._try(lambda: self.engine.ping(target, bytes(record[4]), now_ns).close(now_ns))
        elif kind == 10 and isinstance(one, StreamSocket):
            self._try(lambda: one.open_with(bytes(size), ("10.1.0.2", 80 + (record[4] & 3)), now_ns))
        elif kind == 11:
            self.engine.sockets(now_ns)

    def _connect(self, record: bytes) -> None:
        if len(self.sockets) >= 24:
            return
        link, version, _, _ = self.ends(record[4])
        made = self.engine.socket(AF_INET if version == 4 else AF_INET6, SOCK_STREAM, self.now_ns)
        assert isinstance(made, StreamSocket)
        self.sockets.append(made)
        made.connect((f"10.{link}.0.2" if version == 4 else f"fd0{link}::2", 80 + (record[5] & 1)), self.now_ns)

    def _option(self, record: bytes) -> None:
        one = self.sockets[record[1] % len(self.sockets)]
        name = OPTIONS[record[2] % len(OPTIONS)]
        value: object = VALUES[record[3] % len(VALUES)]
        if name == "congestion":
            value = ("cubic", "reno", "bbr", "dctcp")[record[3] & 3]
        elif name in ("nodelay", "cork", "quickack", "oob_inline", "keepalive"):
            value = bool(record[3] & 1)
        if name in ("keep_idle_ns", "fin_timeout_ns", "user_timeout_ns") and isinstance(value, int):
            value = max(min(value, 32_767), 1) * SECOND
        if name == "keepalive" and isinstance(one, StreamSocket):
            one.set_keepalive(bool(record[3] & 1), self.now_ns)
        elif hasattr(one, name):
            with contextlib.suppress(OSError, ValueError):
                setattr(one, name, value)

    def _sysctl(self, record: bytes) -> None:
        with contextlib.suppress(ValueError):
            self.engine.sysctl[SYSCTLS[record[1] % len(SYSCTLS)]] = (0, 1, 2, 3, 5, 1000, 100_000)[record[2] % 7]

    def _link(self, record: bytes) -> None:
        self.engine.set_link(self.engine.interfaces[1 + record[1] % 3], bool(record[2] & 1), self.now_ns)


_STEPS: tuple[Callable[[Play, bytes], None], ...] = (
    Play._put, Play._put, Play._reflect, Play._wait, Play._call, Play._icmp_error, Play._fragments, Play._put_super,
    Play._datagram, Play._neighbor, Play._option, Play._sysctl, Play._link, Play._forwarded, Play._put, Play._open,
)
"""What the low four bits of a record's first byte mean."""
