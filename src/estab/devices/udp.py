"""``UdpTunnel``: packets in the operating system's UDP datagrams, so that two machines are joined without root.

- A datagram is an IP packet and nothing else, as in what Linux calls FOU. ``Bridge`` joins it to a kernel's TUN device.
- With ``peer`` everything goes there, and what comes from elsewhere is dropped. Without, peers are learnt: the
  sender of a packet gets the packets to its source address. At most ``peers_max`` addresses are remembered; the one
  that was silent for longest is forgotten first.
- Nothing is encrypted or authenticated. Over a network that is not your own, put WireGuard around it.
"""

from __future__ import annotations

import contextlib
import socket
from collections import OrderedDict
from typing import Any, Final

from estab.devices.device import Device

__all__ = ["UdpTunnel"]

_DATAGRAM_BYTES_MAX: Final = 65_535
_LOST: Final = (ConnectionRefusedError, PermissionError)
_V4_SOURCE: Final = slice(12, 16)
_V4_DESTINATION: Final = slice(16, 20)
_V6_SOURCE: Final = slice(8, 24)
_V6_DESTINATION: Final = slice(24, 40)


class UdpTunnel(Device):
    """A tunnel on the UDP port ``local``, to ``peer`` or to the senders. Addresses are ``("host", port)``.

    ``mtu`` is of the packets inside: that of the path without 28 bytes, or 48 with IPv6 outside. ``dropped_frames`` are
    those that came from strangers, were no packets, or had no known peer.
    """

    def __init__(self, local: tuple[str, int] = ("", 0), peer: tuple[str, int] | None = None, *, mtu: int = 1400,
                 name: str = "udp0", peers_max: int = 1024) -> None:
        for end, address in (("local", local), ("peer", peer)):
            if address is not None and not (isinstance(address, tuple) and len(address) == 2):
                raise TypeError(f'{end}: expected ("host", port), not {address!r}')
        if peers_max < 1:
            raise ValueError(f"peers_max: {peers_max}; at least 1 peer must have room")
        self.name = name
        self.mtu = mtu
        self.peers_max = peers_max
        self.dropped_frames = 0
        self._peers: OrderedDict[bytes, Any] = OrderedDict()
        target = peer if peer is not None else local
        infos = socket.getaddrinfo(target[0] or None, target[1], 0, socket.SOCK_DGRAM, 0, socket.AI_PASSIVE)
        family, _, _, _, found = infos[0]
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.bind(local if local[0] or family == socket.AF_INET else ("::", local[1]))
        except BaseException:
            self._socket.close()
            raise
        self._peer: Any = found if peer is not None else None

    @property
    def address(self) -> tuple[str, int]:
        """The tunnel's own host and port outside."""
        host, port = self._socket.getsockname()[:2]
        return host, port

    @property
    def peers(self) -> dict[bytes, tuple[str, int]]:
        """The learnt peers: by the address inside (as 4 or 16 bytes), the one outside; the longest silent one first."""
        return {inside: outside[:2] for inside, outside in self._peers.items()}

    def fileno(self) -> int:
        """Return the UDP socket's descriptor."""
        return self._socket.fileno()

    def receive(self) -> bytes | None:
        """Take the next packet."""
        while True:
            try:
                packet, sender = self._socket.recvfrom(_DATAGRAM_BYTES_MAX)
            except BlockingIOError:
                return None
            except _LOST:
                continue  # an ICMP error about a packet that was sent; TCP inside will notice
            if self._is_welcome(packet, sender):
                return packet
            self.dropped_frames += 1

    def send(self, frame: bytes) -> bool:
        """Send a packet to the peer that it is for."""
        target = self._peer
        if target is None:
            target = self._peers.get(frame[_V4_DESTINATION] if frame[0] >> 4 == 4 else frame[_V6_DESTINATION])
            if target is None:
                self.dropped_frames += 1
                return True
        try:
            self._socket.sendto(frame, target)
        except BlockingIOError:
            return False
        except OSError:
            self.dropped_frames += 1  # no route, too large, refused: lost, as on any network
        return True

    def close(self) -> None:
        """Release the port."""
        self._socket.close()

    def _is_welcome(self, packet: bytes, sender: Any) -> bool:
        version = packet[0] >> 4 if packet else 0
        if version not in (4, 6) or len(packet) < (20 if version == 4 else 40):
            return False
        if self._peer is not None:
            return bool(sender == self._peer)
        inside = packet[_V4_SOURCE] if version == 4 else packet[_V6_SOURCE]
        known = self._peers.get(inside)
        if known != sender:
            self._peers[inside] = sender
            if len(self._peers) > self.peers_max:
                self._peers.popitem(last=False)
        self._peers.move_to_end(inside)
        return True

    def __repr__(self) -> str:
        with contextlib.suppress(OSError):
            return f"<UdpTunnel {self.address[0]}:{self.address[1]} to {self._peer or 'whoever sends'} mtu {self.mtu}>"
        return "<UdpTunnel closed>"
