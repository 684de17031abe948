"""What TCP's and UDP's sockets have in common: a port, and the options that say with whom it is shared."""

from __future__ import annotations

import errno

from mypy_extensions import i64

from estab.errors import os_error
from estab.host.sockets.extras import NO_EXTRAS
from estab.host.sockets.files import Descriptor
from estab.host.sockets.groups import Multicast
from estab.host.sockets.ports import Binding
from estab.undeletable import undeletable

__all__ = ["BoundDescriptor"]


class BoundDescriptor(Descriptor):
    """A descriptor that may have a port: ``binding`` is its place in the table of ports."""

    def __init__(self, family: i64, kind: i64, protocol: str) -> None:
        super().__init__(family, kind, protocol)
        self.binding: Binding | None = None
        self._reuse_address: bool = False
        self._reuse_port: bool = False
        self._v6only: bool = False

    @property
    def multicast(self) -> Multicast | None:
        """What a program has said of multicast; ``None``: nothing."""
        extras = self.extras
        return NO_EXTRAS.multicast if extras is None else extras.multicast

    @multicast.setter
    def multicast(self, value: Multicast | None) -> None:
        self.own_extras().multicast = value

    @property
    def reuse_address(self) -> bool:
        """SO_REUSEADDR. TCP: share a port with connections in TIME-WAIT, and with others that said so and don't listen.

        UDP: share it with all that said so; the newest of those that fit gets a datagram.
        """
        return self._reuse_address

    @reuse_address.setter
    def reuse_address(self, value: bool) -> None:
        self._reuse_address = value
        if self.binding is not None:
            self.binding.is_reuse_address = value

    @property
    def reuse_port(self) -> bool:
        """SO_REUSEPORT: share a port with all that said so; a flow of datagrams stays with one of them."""
        return self._reuse_port

    @reuse_port.setter
    def reuse_port(self, value: bool) -> None:
        self._reuse_port = value
        if self.binding is not None:
            self.binding.is_reuse_port = value

    @property
    def v6only(self) -> bool:
        """IPV6_V6ONLY: no IPv4 through mapped addresses. EINVAL once the socket is bound."""
        return self._v6only

    @v6only.setter
    def v6only(self, value: bool) -> None:
        if self.binding is not None:
            raise os_error(errno.EINVAL, "invalid argument: IPV6_V6ONLY can't change once the socket is bound")
        self._v6only = value

    def _note_bound(self, address: bytes) -> None:
        """Note that a socket that is bound to an IPv6 address speaks no IPv4, as Linux does."""
        if len(address) == 16:
            self._v6only = True


undeletable(BoundDescriptor, "multicast", "reuse_address", "reuse_port", "v6only")
