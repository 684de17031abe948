"""``Stack``: an engine on a real device, in real time.

- Threads use it like the operating system's network: ``socket()``, blocking calls, ``installed()`` for code that
  imports ``socket``. A thread of the stack runs the engine.
- An asyncio program uses ``await start()``, ``open_connection``, ``start_server``, on any platform and any event loop.
  The event loop runs the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket as os_socket
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Unpack

from estab.devices.descriptor import SEGMENT_BYTES_MAX
from estab.devices.device import Device, VnetDevice, check_device
from estab.events import Observer
from estab.host.engine import Engine
from estab.host.snapshot import SocketRow
from estab.host.sysctls import Sysctls
from estab.names import hosts_file
from estab.observers import Observation
from estab.realtime.loop_thread import LoopThread
from estab.realtime.on_event_loop import OnEventLoop
from estab.realtime.real import RealTime
from estab.report.recording import FACTS_MAX, FRAME_BYTES_MAX, Recording
from estab.serve.services import Service, Services
from estab.settings import Settings, read_config
from estab.sockets.history import CALLS_MAX
from estab.sockets.polling.event_loop import EventLoop
from estab.sockets.socket.acked import running_loop
from estab.sockets.socket.socket import Socket
from estab.sockets.standin import module
from estab.stack.adopting import adopted
from estab.stack.delivery import warn_of_rest
from estab.stack.in_loop import DRAIN_S, InLoop
from estab.stack.publishing import Publication, default_path
from estab.stack.watching import CaptureFile
from estab.wire.address import parse_address, parse_prefix

if TYPE_CHECKING:
    from estab.names.dns import Resolver, Servers

__all__ = ["Stack"]


class _Parts:
    """The resources of the operating system that a stack holds."""

    def __init__(self, runtime: RealTime, device: Device, captures: list[CaptureFile]) -> None:
        self.runtime = runtime
        self.device = device
        self.captures = captures
        self.publications: list[Publication] = []
        self.loop_thread: LoopThread | None = None

    def drop(self, what: str) -> None:
        """Release everything: the stack was collected and not closed."""
        self.runtime.is_closing = True
        if self.loop_thread is not None and self.loop_thread.is_running:
            self.loop_thread.abandon(self.release)
        else:
            self.release()
        warnings.warn(f"unclosed {what}: its thread and its device are released now; close it, or use `with`",
                      ResourceWarning, stacklevel=2)

    def release(self) -> None:
        """Close files and device."""
        for publication in self.publications:
            publication.close()
        for capture in self.captures:
            capture.close()
        with self.runtime.lock:
            self.runtime.close_device()


class Stack(InLoop):
    """A stack on ``device``. ``address`` is one or several, ``"10.7.0.2/24"``.

    ``gateway`` is the next hop of all other packets; a device of bare IP packets needs none. ``profile`` and
    ``config`` are settings (``estab.tcp.config.Config``). ``nameservers``: the servers for names that are not in the
    hosts file, by addresses or with a search list and times (``estab.names.dns.Servers``); needs dnspython.
    ``busy_poll_us``: after a wait that was shorter than that, the next one polls the device for that long before it
    sleeps, as with Linux's ``net.core.busy_poll``: the peer's answer then needs no wake-up. The default is 50 µs if
    the process may use more than one processor; 0 is never. A context manager; ``close`` releases the device.
    ``OSError`` if the device can't be opened, ``ValueError`` for an address that it can't have, or a bad setting.
    """

    def __init__(self, device: Device, address: str | Iterable[str], *, gateway: str | Iterable[str] = (),
                 name: str = "estab", profile: str = "estab", nameservers: str | Iterable[str] | Servers = (),
                 busy_poll_us: int | None = None, **config: Unpack[Settings]) -> None:
        check_device(device)
        self.device = device
        self.name = name
        self.addresses = _listed(address, "address")
        if not self.addresses:
            raise ValueError("address: a stack has one at least, like '10.7.0.2/24'")
        for prefix in self.addresses:
            parse_prefix(prefix)
            conflict = device.conflict(prefix.partition("/")[0])
            if conflict:
                raise ValueError(f"address: {conflict}")
        settings = read_config(config, profile)
        device.prepare(self.addresses)
        engine = Engine(name, os.urandom(32), settings)
        offloaded = device if isinstance(device, VnetDevice) else None
        segment_bytes_max = offloaded.segment_bytes_max if offloaded is not None else 0
        self._interface = engine.add_interface(
            device.name, mtu=device.mtu, mac=device.mac,
            segment_bytes_max=segment_bytes_max or SEGMENT_BYTES_MAX,
            has_checksum_offload=offloaded is not None and offloaded.has_checksum_offload)
        # TCP makes super-segments in any case, as Linux's does; but facts and captures are of what the device gets.
        self._interface.is_cut_below = engine.context.is_told_by_packet = segment_bytes_max == 0
        for prefix in self.addresses:
            engine.add_address(self._interface, prefix)
        self._add_default_routes(engine, _listed(gateway, "gateway"))
        resolver = _resolver(nameservers) if nameservers else None
        names = hosts_file if resolver is None else resolver
        self.runtime = RealTime(engine, device, self._interface, names.resolve, names.reverse, busy_poll_us)
        if resolver is not None:
            resolver.runtime = self.runtime
        self._driver: LoopThread | OnEventLoop | None = None
        self._opening = threading.Lock()
        self._captures: list[CaptureFile] = []
        self._is_closed = False
        # A socket of the stack refers to the stack; the thread that runs the loop does not. So a stack ends when no
        # program refers to it any more.
        self.runtime.owner = weakref.ref(self)
        self._parts = _Parts(self.runtime, device, self._captures)
        self._dropped = weakref.finalize(self, self._parts.drop, repr(self))
        self._dropped.atexit = False

    # --- for users

    @property
    def engine(self) -> Engine:
        """The engine. Hold ``runtime.lock`` to touch it."""
        return self.runtime.engine

    def socket(self, family: int = os_socket.AF_INET, type: int = os_socket.SOCK_STREAM, proto: int = 0) -> Socket:
        """Make a socket of this stack, for use from any thread."""
        self.run_in_thread()
        return Socket(family, type, proto, runtime=self.runtime)

    def serve(self, service: Service, port: int, address: str = "") -> None:
        """Serve on a port, of every address or of one, where the engine runs: without a thread or a socket of its own.

        ``OSError`` as ``bind`` and ``listen`` raise.
        """
        self._ensure_open()
        if not isinstance(service, Service):
            raise TypeError(f"service: {service!r} is no estab.serve.services.Service, as Echo() is")
        with self.runtime.lock:
            handler = self.runtime.stepper.handler
            if not isinstance(handler, Services):
                handler = self.runtime.stepper.handler = Services(self.engine)
            handler.add(service, address, port, self.runtime.now_ns)
            self.runtime.flush()

    def stop_serving(self) -> None:
        """End all services: their ports are free, and their connections finish by themselves."""
        with self.runtime.lock:
            handler = self.runtime.stepper.handler
            if isinstance(handler, Services):
                handler.close(self.runtime.now_ns)
                self.runtime.flush()

    @property
    def failure(self) -> BaseException | None:
        """The exception that ended the stack's thread, if one did."""
        return self._driver.failure if isinstance(self._driver, LoopThread) else None

    @contextmanager
    def installed(self) -> Iterator[Stack]:
        """Replace ``socket``, ``select``, ``selectors`` and ``asyncio`` by this stack's inside the ``with`` block.

        That holds for this thread and context, and for threads and tasks that are started in it. If an event loop
        runs, its methods are the stack's for these tasks, so that httpx, aiohttp and servers connect and listen by the
        stack. Other tasks of the loop use the system's network.
        """
        self._start_driver()
        with module.installed(self.runtime), adopted():
            yield self

    def run_in_thread(self) -> None:
        """Start the thread that runs the engine, if none does. ``with``, ``socket`` and ``installed`` do so, too."""
        with self._opening:
            self._ensure_open()
            if self._driver is None:
                self._driver = self._parts.loop_thread = loop_thread = LoopThread(self.runtime)
                loop_thread.start()

    def _start_driver(self) -> None:
        """Run the engine in the event loop that runs here, without one in a thread, if nothing runs it yet."""
        loop = running_loop()
        if loop is None or isinstance(loop, EventLoop):
            self.run_in_thread()
            return
        with self._opening:
            self._ensure_open()
            if self._driver is None:
                self._driver = OnEventLoop(self.runtime, loop)

    async def start(self) -> Stack:
        """Run the engine in the event loop that runs here, and return when the address is usable.

        ``RuntimeError`` if a thread runs the engine already, as in the body of a plain ``with``: use ``async with``.
        """
        with self._opening:
            self._ensure_open()
            if isinstance(self._driver, LoopThread):
                raise RuntimeError(f"stack {self.name} is run by a thread: in an event loop use `async with`, or "
                                   "start() before anything else")
            if self._driver is None:
                self._driver = OnEventLoop(self.runtime, asyncio.get_running_loop())
        return self

    # --- in the user's event loop: see InLoop

    async def __aenter__(self) -> Stack:
        return await self.start()

    async def __aexit__(self, *error: object) -> None:
        try:
            with contextlib.suppress(TimeoutError, OSError):
                await self.drain(DRAIN_S)
        finally:
            self.close()

    # --- looking at it

    @property
    def now(self) -> float:
        """The system's monotonic clock, in seconds: the time of facts, calls and samples."""
        return self.runtime.now

    @property
    def now_ns(self) -> int:
        """The system's monotonic clock, in nanoseconds."""
        return self.runtime.now_ns

    @property
    def sysctl(self) -> Sysctls:
        """Settings by Linux's names, ``stack.sysctl["net.ipv4.tcp_syn_retries"]``; see ``docs/sysctls.md``."""
        return self.engine.sysctl

    def sockets(self) -> list[SocketRow]:
        """List what ``ss -a`` lists: sockets, TIME-WAIT records and half-open entries."""
        with self.runtime.lock:
            return self.engine.sockets(self.runtime.now_ns)

    def counters(self) -> dict[str, int]:
        """Return the counters that ``nstat`` shows, and how many packets were dropped for each reason."""
        with self.runtime.lock:
            return self.engine.counters()

    def observe(self, observer: Observer) -> Observation:
        """Report all facts (``estab.events``) to ``observer`` from now on. Other observers stay.

        Returns what ends that: call it, or use it in a ``with`` statement.
        """
        return self.runtime.observe(observer)

    def record(self, *, facts_max: int = FACTS_MAX, frame_bytes_max: int = FRAME_BYTES_MAX) -> Recording:
        """Record what happens on this stack from now on: ``print(seen.ladder())`` after the run shows it.

        Until ``stop()`` of what this returns, or the end of its ``with`` block. At most ``facts_max`` facts and
        ``frame_bytes_max`` bytes of frames are kept; what comes after is counted, and said to be missing.
        """
        return Recording(self.observe, f"stack {self.name}, {', '.join(self.addresses)}", start_ns=self.now_ns,
                         epoch_ns=self.runtime.wall_ns - self.now_ns,
                         clock=lambda: self.now_ns, facts_max=facts_max, frame_bytes_max=frame_bytes_max)

    def keep_history(self, calls_max: int = CALLS_MAX) -> None:
        """Keep what each socket's last ``calls_max`` calls changed, for ``Socket.history``. 0: keep no more."""
        self.runtime.keep_history(calls_max)

    def capture(self, path: str | PathLike[str], *, bytes_max: int = 0,
                on_end: Callable[[str], None] | None = None) -> CaptureFile:
        """Write all frames to a pcapng file from now on, each with the reason why it was sent or dropped.

        The capture ends when what this returns, a context manager, is closed, or the stack. With offload, segments are
        written as they passed: larger than the MTU, checksums not filled in. If the disk is full, or ``bytes_max`` (0:
        no limit) reached, the capture ends by itself and tells ``on_end``, or the log ``estab.stack``; the stack goes
        on.
        """
        made = CaptureFile(path, self.runtime, f"{self.name}, {', '.join(self.addresses)}", bytes_max=bytes_max,
                           on_end=on_end)
        self._captures.append(made)
        return made

    def publish(self, path: str | PathLike[str] | None = None) -> Publication:
        """Tell this user's other programs of the stack's sockets, by a Unix socket at ``path``: for ``estab top``.

        Until the ``close`` of what this returns, a context manager, or the stack's. By default the path is the device's
        name in a folder of this user's alone: ``estab top --stack NAME``. The file has mode 0600; nothing can be
        changed by it, and no payload passes. Its ``path`` says where it is. ``OSError`` if it can't be made.
        """
        self._ensure_open()
        made = Publication(path if path is not None else default_path(self.device.name), self.runtime,
                           self.addresses)
        self._parts.publications.append(made)
        return made

    def close(self) -> None:
        """Stop, and release the device. Idempotent.

        Whatever waits on the stack, in threads and in event loops, ends with ENETDOWN. Connections are not closed:
        their peers get no further segment. What the peers have not acknowledged is lost, and the log ``estab.stack``
        says how much: ``drain`` waits for it, as the end of a ``with`` block does, for up to five seconds.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._dropped.detach()
        self.runtime.is_closing = True
        if self._driver is not None:
            warn_of_rest(self.runtime)
            self._driver.close()
        self._parts.release()

    def __enter__(self) -> Stack:
        self.run_in_thread()  # if no program waits, it still answers pings and refuses connections
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        try:
            if isinstance(self._driver, LoopThread) and self._driver.failure is None and not self._is_closed:
                self._wait_drained(DRAIN_S)
        finally:
            self.close()

    def __repr__(self) -> str:
        return f"<Stack {self.name} {', '.join(self.addresses)} on {self.device!r}>"

    # --- inside

    def _ensure_open(self) -> None:
        if self._is_closed:
            raise RuntimeError(f"stack {self.name} is closed")

    def _add_default_routes(self, engine: Engine, gateways: list[str]) -> None:
        for gateway in gateways:
            engine.add_route("::/0" if ":" in gateway else "0.0.0.0/0", self._interface, gateway)
        if not self.device.mac:
            for default, is_v6 in (("0.0.0.0/0", False), ("::/0", True)):
                is_there = any((":" in address) == is_v6 for address in self.addresses)
                if is_there and not any((":" in gateway) == is_v6 for gateway in gateways):
                    engine.add_route(default, self._interface)


def _resolver(nameservers: str | Iterable[str] | Servers) -> Resolver:
    """Make a resolver that asks the hosts file first. ``ImportError`` names the package that is missing."""
    try:
        from estab.names.dns import Resolver, Servers
    except ImportError as error:
        raise ImportError("nameservers: asking name servers needs dnspython (pip install estab[dns])") from error
    for address in () if isinstance(nameservers, Servers) else _listed(nameservers, "nameservers"):
        parse_address(address.partition("%")[0])
    servers = nameservers if isinstance(nameservers, Servers) else Servers(tuple(_listed(nameservers, "nameservers")))
    return Resolver(servers, hosts_file.resolve, hosts_file.reverse)


def _listed(value: str | Iterable[str], name: str) -> list[str]:
    values = [value] if isinstance(value, str) else list(value) if isinstance(value, Iterable) else None
    if values is None or not all(isinstance(each, str) for each in values):
        raise TypeError(f"{name}: expected a text like '10.7.0.2/24', or several, not {value!r}")
    return values
