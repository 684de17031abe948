"""Ports with services, on one host: the code that drives the host passes its events to ``Services``.

- A service is told of an end that has news, and takes what is there without waiting. There is no thread, no event loop
  and no descriptor of the operating system between it and the connection.
- Each service has a limit of connections. Beyond it, and when the host has no descriptor left, new ones wait in the
  listener's accept queue (and beyond its backlog, with their senders), until one is released; or the service closes one
  that is less active (``make_room``).
- A connection without news costs a place in a list.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from estab import abi
from estab.host.drive.handler import Handler
from estab.host.engine import Engine
from estab.host.sockets.stream import StreamSocket
from estab.units import NEVER

__all__ = ["ENDS_MAX", "Service", "Services"]

ENDS_MAX: Final = 1_000_000
BACKLOG: Final = 4096


@mypyc_attr(allow_interpreted_subclasses=True)
class Service:
    """What happens on the connections of one port. Subclasses define ``on_ready``, and may keep state by ``fd``."""

    def __init__(self, name: str, ends_max: i64 = ENDS_MAX) -> None:
        self.name: str = name
        self.ends_max: i64 = ends_max
        self.open_count: i64 = 0
        self.accepted_count: i64 = 0
        self.full_count: i64 = 0
        """How often new connections had to wait, because this service or the host was full."""
        self.has_deadlines: bool = True
        """``False``: ``next_deadline_ns`` is never asked."""
        self.wants_opening: bool = True
        """``False``: an end that was just opened is only told of if something has come on it already."""
        self.services: Services | None = None

    def on_ready(self, end: StreamSocket, now_ns: i64) -> None:
        """Take what there is to take on an end: it was just opened, text came, room became free, or it is over."""
        raise NotImplementedError

    def on_gone(self, fd: i64) -> None:
        """Forget what was kept for an end that is being closed."""

    def on_deadline(self, now_ns: i64) -> None:
        """Do what is due by now."""

    def next_deadline_ns(self) -> i64:
        """Return when ``on_deadline`` wants to be called; ``NEVER`` if nothing waits for a time."""
        return NEVER

    def make_room(self, now_ns: i64) -> bool:
        """Close an end that is less active than a new one would be; ``False`` if there is none."""
        return False

    def close(self, end: StreamSocket, now_ns: i64) -> None:
        """Close an end; TCP finishes by itself."""
        services = self.services
        assert services is not None
        services.release(end, self, now_ns)


class Services(Handler):
    """All services of one host."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine: Engine = engine
        self.services: list[Service] = []
        self._timed: list[Service] = []
        """Those that have deadlines."""
        self._listeners: list[StreamSocket] = []
        self._by_fd: list[Service | None] = []
        self._ends: list[StreamSocket | None] = []
        """By descriptor, too: what ``_by_fd`` serves."""
        self._is_starved: bool = False

    def add(self, service: Service, address: str, port: i64, now_ns: i64, backlog: i64 = BACKLOG) -> None:
        """Serve on a port; ``address`` ``""`` is every address of both versions. ``OSError`` as ``bind`` and ``listen``
        raise.
        """
        is_v6 = ":" in address or address == ""
        listener = self.engine.socket(abi.AF_INET6 if is_v6 else abi.AF_INET, abi.SOCK_STREAM, now_ns)
        assert isinstance(listener, StreamSocket)
        try:
            listener.nodelay = True  # every answer is written whole
            listener.reuse_address = True
            end: tuple[str, int] = (address, port)
            listener.bind(end, now_ns)
            listener.listen(backlog, now_ns)
        except OSError:
            listener.close(now_ns)
            raise
        service.services = self
        self._put(listener, service)
        self.services.append(service)
        if service.has_deadlines:
            self._timed.append(service)
        self._listeners.append(listener)

    # --- in

    def drain(self, now_ns: i64) -> list[tuple[int, int]]:
        """Take all events of the host, and handle those of the services. Gives the others: descriptor, POLL bits."""
        engine = self.engine
        others: list[tuple[int, int]] = []
        while True:
            event = engine.poll_event()
            if event is None:
                return others
            if not self.on_event(event[0], now_ns):
                others.append(event)

    def on_event(self, fd: i64, now_ns: i64) -> bool:
        """Handle the news of a descriptor; ``False``: it belongs to no service."""
        services = self._by_fd
        if fd >= len(services):
            return False
        service = services[fd]
        end = self._ends[fd]
        if service is None or end is None:
            return False
        if end.listener is not None:
            self._accept(end, now_ns)
        else:
            service.on_ready(end, now_ns)
        return True

    def on_deadline(self, now_ns: i64) -> None:
        """Let the services do what is due."""
        for service in self._timed:
            if service.next_deadline_ns() <= now_ns:
                service.on_deadline(now_ns)

    def next_deadline_ns(self) -> i64:
        """Return when ``on_deadline`` is to be called next."""
        soonest: i64 = NEVER
        for service in self._timed:
            due_ns = service.next_deadline_ns()
            if due_ns < soonest:
                soonest = due_ns
        return soonest

    def close(self, now_ns: i64) -> None:
        """Stop listening and close every connection."""
        for listener in self._listeners:
            self._forget(listener.fd)
            listener.close(now_ns)
        self._listeners.clear()
        for fd, service in enumerate(self._by_fd):
            end = self._ends[fd]
            if service is not None and end is not None:
                self.release(end, service, now_ns)
        self.services.clear()
        self._timed.clear()

    # --- what services ask

    def release(self, end: StreamSocket, service: Service, now_ns: i64) -> None:
        """Close an end, and take in one that waits for its place."""
        fd = end.fd
        service.on_gone(fd)
        self._forget(fd)
        service.open_count -= 1
        end.close(now_ns)
        if self._is_starved:
            self._is_starved = False
            for listener in self._listeners:
                self._accept(listener, now_ns)

    # --- inside

    def _accept(self, listener: StreamSocket, now_ns: i64) -> None:
        """Take all that wait in the accept queue, as far as there is room."""
        service = self._by_fd[listener.fd]
        queues = listener.listener
        files = self.engine.files
        if service is None or queues is None:
            return
        while queues.waiting > 0:
            if service.open_count >= service.ends_max or not files.has_room():
                service.full_count += 1
                if not service.make_room(now_ns):
                    self._is_starved = True
                    return
                continue  # the closed one may have made room for another
            end = listener.accept(now_ns, is_told=service.wants_opening)
            service.accepted_count += 1
            service.open_count += 1
            self._put(end, service)  # if ``accept`` gave it news, the service is told next

    def _put(self, end: StreamSocket, service: Service) -> None:
        fd = end.fd
        services = self._by_fd
        while fd >= len(services):
            services.append(None)
            self._ends.append(None)
        services[fd] = service
        self._ends[fd] = end

    def _forget(self, fd: i64) -> None:
        self._by_fd[fd] = None
        self._ends[fd] = None
