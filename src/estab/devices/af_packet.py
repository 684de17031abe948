"""``Packet``: an existing interface by a packet socket, AF_PACKET (Linux). Needs CAP_NET_RAW.

- The interface's kernel keeps working. So that it does not answer what is for the stack, the stack's addresses must not
  be the kernel's: then it ignores the packets, because they are for no address of its own.
- With PACKET_VNET_HDR super-segments pass both ways, and frames whose checksum the card was to fill in are understood.
- The kernel filters nothing: broadcasts and, on a bridge, what is for others cost a read each.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Final

from estab.devices.descriptor import SEGMENT_BYTES_MAX, DescriptorDevice
from estab.devices.device import check_mac
from estab.devices.linux import fcntl, require_linux
from estab.devices.namespace import call_in
from estab.errors import os_error

__all__ = ["AfPacket"]

_ETH_P_ALL: Final = 0x0003
_SOL_PACKET: Final = 263
_ADD_MEMBERSHIP: Final = 1
_VNET_HDR: Final = 15
_IGNORE_OUTGOING: Final = 23
_MR_PROMISC: Final = 1
_SIOCGIFMTU: Final = 0x8921
_SIOCGIFHWADDR: Final = 0x8927
_ARPHRD_ETHER: Final = 1
_HEADER_BYTES: Final = 10
_BUFFER_BYTES: Final = 4 << 20


class AfPacket(DescriptorDevice):
    """The interface ``name``: Ethernet frames.

    ``mac``: the stack's own address, by default the interface's; with another one the interface is made promiscuous.
    ``netns``: the network namespace that the interface is in. ``offload=False``: no super-segments are sent.
    """

    def __init__(self, name: str, *, mac: bytes = b"", netns: str | None = None, offload: bool = True) -> None:
        require_linux("packet sockets")
        self.name = name
        self.netns = netns
        self.dropped_frames = 0
        check_mac(mac)
        call_in(netns, lambda: self._open(mac, offload))

    def _open(self, mac: bytes, offload: bool) -> None:
        try:
            packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
        except PermissionError:
            raise os_error(errno.EPERM, "operation not permitted: a packet socket needs CAP_NET_RAW: run as root, or "
                           "sudo setcap cap_net_raw+ep on this Python") from None
        with packets:
            own = self._ask(packets)
            self.mac = mac or own
            if offload:
                self._ask_for_headers(packets)
            packets.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
            _enlarge(packets)
            packets.bind((self.name, _ETH_P_ALL))
            if self.mac != own:
                membership = struct.pack("iHH8x", socket.if_nametoindex(self.name), _MR_PROMISC, 0)
                packets.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, membership)
            self._fd = packets.detach()
        self._size_reads()

    def _ask(self, packets: socket.socket) -> bytes:
        """Read the interface's MTU and MAC address."""
        request = struct.pack("16s24x", self.name.encode())
        try:
            reply = fcntl.ioctl(packets.fileno(), _SIOCGIFMTU, request)
        except OSError as error:
            raise os_error(error.errno or errno.ENODEV, f"no such device: {self.name}") from None
        self.mtu = struct.unpack_from("i", reply, 16)[0]
        reply = fcntl.ioctl(packets.fileno(), _SIOCGIFHWADDR, request)
        kind = struct.unpack_from("H", reply, 16)[0]
        if kind != _ARPHRD_ETHER:
            raise os_error(errno.EINVAL, f"invalid argument: {self.name} is no Ethernet interface (ARPHRD {kind})")
        return reply[18:24]

    def _ask_for_headers(self, packets: socket.socket) -> None:
        try:
            packets.setsockopt(_SOL_PACKET, _VNET_HDR, 1)
        except OSError:
            return
        self.header_bytes = _HEADER_BYTES
        self.has_checksum_offload = True
        self.segment_bytes_max = SEGMENT_BYTES_MAX

    def receive(self) -> bytes | None:
        """Take the next frame. Without offload, one that the card was to cut is too large and is dropped, counted."""
        frame = super().receive()
        while frame is not None and len(frame) == self.read_bytes:
            self.dropped_frames += 1
            frame = super().receive()
        return frame

    def conflict(self, address: str) -> str:
        """Say what to do if the kernel has the stack's address too: it would reset the stack's connections."""
        try:
            probe = call_in(self.netns, lambda: _bind_probe(address))
        except OSError:
            return ""
        probe.close()
        return (f"the kernel has {address} too, and would reset the stack's connections: take it away "
                f"(ip addr del {address} dev {self.name}), or give the stack another")


def _enlarge(packets: socket.socket) -> None:
    """Ask for a buffer that holds bursts of super-segments; beyond the system's limit only root may."""
    so_rcvbufforce = 33
    try:
        packets.setsockopt(socket.SOL_SOCKET, so_rcvbufforce, _BUFFER_BYTES)
    except PermissionError:
        packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)


def _bind_probe(address: str) -> socket.socket:
    probe = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        probe.bind((address, 0))
    except BaseException:
        probe.close()
        raise
    return probe


