"""TUN and TAP: an interface of the kernel whose other end is a file of ours (Linux).

- ``Tun`` carries IP packets, ``Tap`` Ethernet frames.
- A device that does not exist is made, which needs CAP_NET_ADMIN, and goes with the file, however the process ends. One
  that was made for this user (``ip tuntap add dev tun0 mode tun user me``) is opened without root, and stays.
- With offload, TCP super-segments and packets without checksums pass in both directions, each after a virtio header.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from estab.devices.descriptor import SEGMENT_BYTES_MAX, DescriptorDevice
from estab.devices.linux import fcntl, require_linux
from estab.devices.namespace import call_in
from estab.errors import os_error

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

__all__ = ["Tap", "Tun", "check_name"]

_PATH: Final = "/dev/net/tun"
_TUNSETIFF: Final = 0x400454CA
_TUNSETOFFLOAD: Final = 0x400454D0
_TUNSETVNETLE: Final = 0x400454DC
_TUNGETIFF: Final = 0x800454D2
_TUNSETVNETHDRSZ: Final = 0x400454D8
_TUNGETFEATURES: Final = 0x800454CF
_IFF_TUN: Final = 0x0001
_IFF_TAP: Final = 0x0002
_IFF_MULTI_QUEUE: Final = 0x0100
_IFF_NO_PI: Final = 0x1000
_IFF_VNET_HDR: Final = 0x4000
_OFFLOAD_CSUM: Final = 0x01
_OFFLOAD_TSO: Final = 0x02 | 0x04
_OFFLOAD_TSO_ECN: Final = 0x08
_HEADER_BYTES: Final = 10


class _Device(DescriptorDevice):
    """What TUN and TAP have in common."""

    _mode: int = 0

    def __init__(self, name: str = "", *, netns: str | None = None, peer: str | Sequence[str] = (), mtu: int = 0,
                 offload: bool = True, is_multi_queue: bool = False) -> None:
        require_linux("TUN and TAP devices")
        if name:
            check_name(name)
        if mtu and not 68 <= mtu <= 65535:
            raise ValueError(f"mtu: {mtu} is not a number of bytes from 68 (RFC 791) to 65535")
        self.netns = netns
        self._has_company = is_multi_queue
        self._peers = [peer] if isinstance(peer, str) else list(peer)
        for text in self._peers:
            _peer_address(text)
        self._wanted_mtu = mtu
        self.is_made = False
        """The device was not there before: it is removed when this one is closed."""
        call_in(netns, lambda: self._open(name, offload, is_multi_queue))

    def _open(self, name: str, offload: bool, is_multi_queue: bool) -> None:
        self._fd = os.open(_PATH, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self.is_made = not _is_there(name)
            self.name = self._attach(name, offload, is_multi_queue)
            self.mtu = (self._wanted_mtu if self.is_made else 0) or _mtu_of(self.name)
            self._ask_for_offload()
        except BaseException:
            DescriptorDevice.close(self)
            raise
        self._size_reads()

    def _attach(self, name: str, offload: bool, is_multi_queue: bool) -> str:
        flags = self._mode | _IFF_NO_PI | (_IFF_MULTI_QUEUE if is_multi_queue else 0)
        features = struct.unpack("I", fcntl.ioctl(self._fd, _TUNGETFEATURES, bytes(4)))[0]
        if offload and features & _IFF_VNET_HDR:
            flags |= _IFF_VNET_HDR
        request = struct.pack("16sH22x", name.encode(), flags)
        try:
            reply = fcntl.ioctl(self._fd, _TUNSETIFF, request)
        except PermissionError:
            raise os_error(
                errno.EPERM, f"operation not permitted: device {name or 'tun%d'} needs CAP_NET_ADMIN, or to be made "
                f"for this user: sudo ip tuntap add dev {name or 'tun0'} mode {self._word()} user {os.getuid()}",
            ) from None
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise os_error(errno.EBUSY, f"device or resource busy: {name} is open already, here or in another "
                                            "process") from None
            if error.errno == errno.EINVAL and name:
                queues = "with" if is_multi_queue else "without"
                raise os_error(errno.EINVAL, f"invalid argument: {name} exists and is something else than a device of "
                                             f"mode {self._word()}, {queues} multi_queue") from None
            raise
        if flags & _IFF_VNET_HDR:
            self.header_bytes = _HEADER_BYTES
            fcntl.ioctl(self._fd, _TUNSETVNETHDRSZ, struct.pack("i", _HEADER_BYTES))
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._fd, _TUNSETVNETLE, struct.pack("i", 1))
        return reply[:16].rstrip(b"\0").decode()

    def _ask_for_offload(self) -> None:
        """Ask for as much as there is; for none, too, as a device may remember what was asked of it before."""
        if not self.header_bytes:
            self._stop_offload()
            return
        for wanted in (_OFFLOAD_CSUM | _OFFLOAD_TSO | _OFFLOAD_TSO_ECN, _OFFLOAD_CSUM | _OFFLOAD_TSO, _OFFLOAD_CSUM):
            try:
                fcntl.ioctl(self._fd, _TUNSETOFFLOAD, wanted)
            except OSError:
                continue
            self.has_checksum_offload = True
            self.segment_bytes_max = SEGMENT_BYTES_MAX if wanted & _OFFLOAD_TSO else 0
            return

    def _stop_offload(self) -> None:
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._fd, _TUNSETOFFLOAD, 0)

    def close(self) -> None:
        """Release the device, so that the next one to open it without offload gets plain packets."""
        if self._fd >= 0 and not self._has_company:
            self._stop_offload()
        super().close()

    def prepare(self, prefixes: Sequence[str]) -> None:
        """Bring a device up that was made here, and give the kernel's end its addresses: ``peer``, or else the first of
        each of the stack's networks that the stack does not have. One that was there is left as it was.
        """
        from ipaddress import ip_address

        from estab.devices import netlink

        own = [prefix.partition("/")[0] for prefix in prefixes]
        for text in self._peers:
            if any(_peer_address(text) == ip_address(address) for address in own):
                raise ValueError(f"peer: {text!r} is the stack's own address; the kernel's is another one")
        if not self.is_made:
            call_in(self.netns, lambda: netlink.await_running(self.name))
            return

        addresses = self._peers or [peer for prefix in prefixes if (peer := netlink.peer_address(prefix)) is not None]
        alone = [prefix for prefix in prefixes if netlink.peer_address(prefix) is None]
        call_in(self.netns, lambda: netlink.configure(self.name, mtu=self._wanted_mtu, addresses=addresses,
                                                      routes=alone))
        call_in(self.netns, lambda: netlink.await_running(self.name))

    def _word(self) -> str:
        return "tun" if self._mode == _IFF_TUN else "tap"


class Tun(_Device):
    """A TUN device: IP packets.

    ``name`` ``""``: the kernel chooses one. ``netns``: the network namespace that it is in. ``peer`` and ``mtu`` are
    for a device that does not exist yet: the addresses of the kernel's end, ``"10.7.0.1/24"``. ``offload=False``: no
    super-segments.
    """

    _mode = _IFF_TUN
    mac = b""


class Tap(_Device):
    """A TAP device: Ethernet frames. ``mac``: the stack's own address, by default one made up; the rest as ``Tun``."""

    _mode = _IFF_TAP

    def __init__(self, name: str = "", *, mac: bytes = b"", **options: Any) -> None:
        super().__init__(name, **options)
        self.mac = mac or b"\x02" + os.urandom(5)


def check_name(name: str) -> None:
    """Refuse what can't be the name of an interface, or what the kernel would put a number into. ``ValueError``."""
    if not 0 < len(name.encode()) < 16 or name in (".", "..") or any(char in "/:%" or char.isspace() for char in name):
        raise ValueError(f"{name!r} can't be an interface's name: 1 to 15 bytes, no slash, colon, percent or space")


def _peer_address(text: str) -> IPv4Address | IPv6Address:
    from ipaddress import ip_interface

    if "/" not in text:
        raise ValueError(f"peer: {text!r} says no size of its network; write it like '10.7.0.1/24'")
    try:
        return ip_interface(text).ip
    except ValueError as error:
        raise ValueError(f"peer: {error}") from None


def _is_there(name: str) -> bool:
    try:
        return bool(name) and socket.if_nametoindex(name) > 0
    except OSError:
        return False


def _mtu_of(name: str) -> int:
    siocgifmtu = 0x8921
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        reply = fcntl.ioctl(probe.fileno(), siocgifmtu, struct.pack("16si20x", name.encode(), 0))
    return int(struct.unpack_from("i", reply, 16)[0])
