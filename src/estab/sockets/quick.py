"""The calls that come most often, as a host in virtual time does them (``lab.programs.socket_calls``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from estab.sockets.waiting import Wait

__all__ = ["Quick"]


class Quick(Protocol):
    """The calls of programs that come most often, compiled, in virtual time."""

    def now(self) -> float:
        """Return the host's monotonic clock, in seconds."""

    def time(self) -> float:
        """Do what ``time.time`` does."""

    def monotonic(self) -> float:
        """Do what ``time.monotonic`` does."""

    def wait(self, wait: Wait) -> bool:
        """Do what ``Runtime.wait`` does."""

    def spin(self, weight: int) -> None:
        """Do what ``Runtime.spin`` does."""

    # Of TCP's sockets: what a socket's call does, done at once, or not at all.

    def open(self, family: int, kind: int) -> Any:
        """Make one; ``None``: nothing was done."""

    def connect(self, file: Any, address: object, is_waiting: bool) -> OSError | bool:
        """Connect one. ``False``: nothing was done. Returns what went wrong."""

    def accept(self, file: Any, timeout: float | None) -> tuple[Any, Any] | OSError | None:
        """Take a connection, and its peer's address; EAGAIN if the timeout is 0. ``None``: nothing was done."""

    def close(self, file: Any, real: Any) -> bool:
        """Close one. ``False``: nothing was done."""

    def get_option(self, file: Any, level: Any, name: Any) -> int | None:
        """Read an option that is a number. ``None``: it is none, or is not to be read so."""

    def set_option(self, file: Any, level: Any, name: Any, value: Any) -> bool:
        """Set an option to a number. ``False``: nothing was done."""

    def recv(self, file: Any, size: int, is_waiting: bool) -> bytes | None:
        """Take up to ``size`` bytes of what came on one. ``None``: it has nothing, or is not to be read so."""

    def send(self, file: Any, data: bytes) -> int:
        """Copy as much of ``data`` into one's send buffer as there is room for. -1: nothing was done."""
