"""What an effect of a socket option is made of: two programs on two hosts, each of which tells a story.

Programs are ordinary code: they run on the kernel and on hosts of the lab. A story holds what a program can see:
results, the names of errnos, and durations, rounded so far that a busy machine does not change them.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["FAR", "NEAR", "RTT_S", "Effect", "End", "Story", "result_of", "tell_all"]

NEAR, FAR = "near", "far"
RTT_S = 0.1
"""Of the link between the two hosts."""
PATIENCE_S = 20.0
Story = list[Any]
Option = tuple[int, int, Any]


@dataclass
class End:
    """One of the two programs: where its peer is, its ports, and its story."""

    peer: str
    port: int
    cut_at: float
    """When the link is cut, on ``time.monotonic``'s clock."""
    story: Story = field(default_factory=list)
    _open: list[socket.socket] = field(default_factory=list)

    # --- sockets

    def make(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM,
               options: Iterable[Option] = ()) -> socket.socket:
        """Make a socket with options, which is closed after the story."""
        made = self.keep(socket.socket(family, kind))
        for level, name, value in options:
            made.setsockopt(level, name, value)
        made.settimeout(PATIENCE_S)
        return made

    def keep(self, made: socket.socket) -> socket.socket:
        """Close a socket after the story."""
        self._open.append(made)
        return made

    def listen(self, family: int = socket.AF_INET, options: Iterable[Option] = (), at: int = 0) -> socket.socket:
        """Make a listener on the ``at``-th port of this effect."""
        made = self.make(family, options=options)
        made.bind(("", self.port + at))
        made.listen(8)
        return made

    def accept(self, listener: socket.socket) -> socket.socket:
        """Accept a connection, whose calls wait for long, but not for ever."""
        made = self.keep(listener.accept()[0])
        made.settimeout(PATIENCE_S)
        return made

    def bound(self, family: int = socket.AF_INET, options: Iterable[Option] = ()) -> socket.socket:
        """Make a UDP socket on this effect's first port."""
        made = self.make(family, socket.SOCK_DGRAM, options)
        made.bind(("", self.port))
        return made

    def address(self, family: int = socket.AF_INET, at: int = 0) -> Any:
        """Return the peer's address, with the ``at``-th port of this effect."""
        return socket.getaddrinfo(self.peer, self.port + at, family, socket.SOCK_STREAM)[0][4]

    def connect(self, family: int = socket.AF_INET, options: Iterable[Option] = (), at: int = 0) -> socket.socket:
        """Connect to the peer, once it listens."""
        gives_up = time.monotonic() + PATIENCE_S
        while True:
            made = self.make(family, options=options)
            try:
                made.connect(self.address(family, at))
            except ConnectionRefusedError:
                if time.monotonic() > gives_up:
                    raise
                made.close()
                time.sleep(0.05)
            else:
                return made

    # --- the story

    def tell(self, *words: Any) -> None:
        """Add to the story."""
        self.story.append(words if len(words) > 1 else words[0])

    def tell_of(self, what: str, call: Callable[[], Any]) -> None:
        """Add what a call gave, or the name of its errno."""
        self.tell(what, result_of(call))

    def tell_seconds(self, what: str, call: Callable[[], Any]) -> None:
        """Add what a call gave, and how many whole seconds it took: a kernel's timer may be half of one late."""
        began = time.monotonic()
        result = result_of(call)
        self.tell(what, result, int(time.monotonic() - began + 0.1))

    def await_cut(self) -> None:
        """Sleep until the link has been cut."""
        time.sleep(max(0.0, self.cut_at + 0.2 - time.monotonic()))

    def close(self) -> None:
        """Close all sockets."""
        for one in self._open:
            one.close()


def result_of(call: Callable[[], Any]) -> Any:
    """Make a call, and give what it gives: the name of its errno, if it raises."""
    try:
        return call()
    except TimeoutError as error:
        return errno.errorcode[error.errno] if error.errno else "waited for too long"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, repr(error))


Program = Callable[[End], None]


@dataclass(frozen=True)
class Effect:
    """One effect: the options that it shows, and the programs on both hosts."""

    name: str
    options: tuple[str, ...]
    near: Program
    far: Program
    needs_cut: bool = False
    """The link is cut while it goes on."""


def tell_all(effects: list[Effect], side: str, peer: str, cut_at: float, first_port: int) -> dict[str, Story]:
    """Let one host's programs of all effects run at the same time; give their stories."""
    ends = [End(peer, first_port + 4 * at, cut_at) for at in range(len(effects))]
    threads = [threading.Thread(target=_tell, args=(effect.near if side == NEAR else effect.far, end), daemon=True)
               for effect, end in zip(effects, ends, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {effect.name: end.story for effect, end in zip(effects, ends, strict=True)}


def _tell(program: Program, end: End) -> None:
    try:
        program(end)
    except Exception as error:
        end.tell(f"{type(error).__name__}: {error}")
    finally:
        end.close()
