"""What sockets that share a descriptor of a host have in common (``dup``). Compiled with the core."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from estab.errors import os_error
from estab.host.sockets.files import Descriptor
from estab.sockets.polling.real_descriptor import RealDescriptor

if TYPE_CHECKING:
    from estab.sockets.process import Process

__all__ = ["File", "descriptor_of"]

D = TypeVar("D", bound=Descriptor)


class File(Generic[D]):
    """An open descriptor of a host, how many sockets share it (``dup``), and its real descriptors."""

    def __init__(self, descriptor: D, process: Process | None = None) -> None:
        self.descriptor: D = descriptor
        self.process: Process | None = process
        """The program that opened it, in virtual time."""
        self.users: int = 1
        self.real_descriptors: list[RealDescriptor] = []

    def other(self, process: Process | None) -> File[D]:
        """Make the file of another holder of the descriptor, to whom it was passed."""
        made: File[D] = File(self.descriptor, process)
        made.real_descriptors = self.real_descriptors
        return made

    def follow(self) -> None:
        """Bring the real descriptors up to date after a call that may have emptied a queue."""
        for real in self.real_descriptors:
            real.follow()


def descriptor_of(file: File[Any] | None) -> Any:
    """Return the descriptor of a file. EBADF once it is closed, or if there is none."""
    if file is None or file.descriptor.fd < 0:
        raise os_error(errno.EBADF, "bad file descriptor: the socket is closed")
    return file.descriptor
