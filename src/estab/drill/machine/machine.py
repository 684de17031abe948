"""One host on a link of bare IP packets, and its virtual clock.

After every input the host is drained: packets go to ``sent``, with their time, and what waits for news is told. Time
passes only in ``advance``, from one deadline to the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from estab.drill.machine.settings import Settings
from estab.events import Event, FrameReceived, FrameSent, Observer
from estab.host.engine import Engine
from estab.host.ip.interface import Interface
from estab.tcp.config import Config
from estab.units import NEVER, SECOND
from estab.wire import offload
from estab.wire.address import parse_address

__all__ = ["PEER", "START_NS", "Machine"]

START_NS = 1000 * SECOND
"""The clock's first time: late enough that nothing can be taken for "never"."""
PEER = "script"
"""The name of the other end, for observers."""
SEGMENT_BYTES_MAX = 65_535
"""Segments are made as for a link with offload and cut here, as Linux does for any link."""
_ROUNDS_MAX = 10_000


class Machine:
    """The host under test.

    ``on_event`` is told of each descriptor with news, ``on_news`` is called after each input and says whether it did
    something to the host, ``next_wake_ns`` tells when a call stops waiting.
    """

    def __init__(self, settings: Settings, config: Config, observer: Observer | None) -> None:
        self.settings = settings
        self.observer = observer
        self.now_ns = START_NS
        told = None if observer is None else self.tell
        self.engine = Engine("host", b"drill: same secret, same run", config, told)
        self.interface: Interface = self.engine.add_interface(
            "tun0", mtu=settings.link_mtu, segment_bytes_max=SEGMENT_BYTES_MAX)
        self.local = parse_address(settings.local)
        self.remote = parse_address(settings.remote)
        self.engine.add_address(self.interface, f"{settings.local}/{16 if len(self.local) == 4 else 64}")
        self.engine.add_route("0.0.0.0/0" if len(self.local) == 4 else "::/0", self.interface)
        self.sent: deque[tuple[int, bytes]] = deque()
        self.is_refusing = False
        """The device's queue has no room for anything."""
        self.on_event: Callable[[int], None] = lambda fd: None
        self.on_news: Callable[[], bool] = lambda: False
        self.next_wake_ns: Callable[[], int] = lambda: NEVER

    @property
    def script_ns(self) -> int:
        """The time since the script began."""
        return self.now_ns - START_NS

    def tell(self, event: Event) -> None:
        """Tell the observer a fact of either end, with the script's time."""
        if self.observer is not None:
            self.observer(replace(event, at_ns=event.at_ns - START_NS))

    def inject(self, data: bytes) -> None:
        """Give the host a packet."""
        self.tell(FrameSent(self.now_ns, PEER, "tun0", data))
        self.engine.on_frame(self.interface.index, data, self.now_ns)
        self.settle()

    def settle(self) -> None:
        """Drain the host, and let the waiting call continue, until nothing happens any more."""
        for _ in range(_ROUNDS_MAX):
            self._drain()
            if not self.on_news():
                self._drain()
                return
        raise AssertionError("the host does not come to rest")

    def _drain(self) -> None:
        while (outbound := self.engine.poll_frame(self.now_ns)) is not None:
            if self.is_refusing:
                self.engine.on_refused(outbound, self.now_ns)
                continue
            pieces = [outbound.data]
            if outbound.segment_bytes:
                pieces = offload.split(outbound.data, outbound.segment_bytes)
            self.sent.extend((self.now_ns, data) for data in pieces)
            whole = offload.finish_checksum(outbound.data) if outbound.is_partial_checksum else outbound.data
            self.tell(FrameReceived(self.now_ns, PEER, "tun0", whole))
        while (event := self.engine.poll_event()) is not None:
            self.on_event(int(event[0]))

    def next_ns(self) -> int:
        """When something happens next by itself; ``NEVER`` if nothing waits."""
        return min(int(self.engine.next_deadline_ns()), self.next_wake_ns())

    def step(self, until_ns: int) -> bool:
        """Go to the next deadline, at most to ``until_ns``. ``False`` if that is reached with nothing to do."""
        due_ns = self.next_ns()
        if due_ns > until_ns:
            self.now_ns = max(self.now_ns, until_ns)
            return False
        self.now_ns = max(self.now_ns, due_ns)
        self.engine.on_deadline(self.now_ns)
        self.settle()
        return True

    def advance(self, until_ns: int) -> None:
        """Let time pass, doing all that is due on the way."""
        while self.step(until_ns):
            pass
