"""Libraries that open sockets in C: on a host their calls fail with a sentence, instead of using the system's network.

Such a library never calls Python's ``socket``, so nothing can be replaced: it would look for a host of the lab in the
operating system's DNS, and wait in real time. While anything is installed, the first calls of the known libraries raise
``NotImplementedError`` for a program of a host, and say what to use instead. Other code gets the original.

A library may be imported before a program runs, or by it: ``Guard`` handles both.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from estab.sockets.runtime import current
from estab.sockets.standin import resolvers
from estab.sockets.standin.executors import shutdown_own, submit_to_own, was_made_outside

if TYPE_CHECKING:
    from estab.sockets.runtime import Runtime

__all__ = ["NATIVES", "Guard", "Native"]


@dataclass(frozen=True, slots=True)
class Native:
    """An entry to a library: a function or class of a module, or a method of one of its classes (``Class.method``).

    With the name ``""`` the import of the module itself is refused to programs of a host.
    """

    library: str
    module: str
    name: str
    does: str
    instead: str
    concerns: Callable[..., bool] = lambda *args, **kwargs: True
    """Tells by a call's arguments whether it would use the operating system's network."""
    only_virtual: bool = False
    """Whether that holds only on hosts that have a clock of their own."""
    stand_in: Callable[..., Any] | None = None
    """What is done instead of a refusal, if something else is possible."""

    def sentence(self, host: str) -> str:
        """Say why it can't be used, and what can be used instead."""
        return f"{self.library} can't be used on host {host}: it {self.does}, past estab. {self.instead}"


_CONNECTS: Final = "calls the operating system's connect() in C"
_ASKS: Final = "asks the machine's name servers in C"
_LOOPS: Final = "waits in C on descriptors of the operating system"
_POSTGRES: Final = "Use pg8000 or asyncpg"
_QT: Final = ("QAbstractSocket", "QTcpSocket", "QSslSocket", "QUdpSocket", "QTcpServer", "QNetworkAccessManager")


def _new_event_loop(runtime: Runtime, *policy: Any) -> Any:
    return runtime.new_event_loop()


def _run_in_loop(runtime: Runtime, main: Any, *, loop_factory: Any = None, debug: bool | None = None) -> Any:
    return asyncio.run(main, debug=debug)


def _has_socket(self: Any, context: Any, socket: Any = None) -> bool:
    return socket is not None


def _has_processes(self: Any, *args: Any, **kwargs: Any) -> bool:
    return type(self).__name__ != "ThreadPool"


def _leaves_process(self: Any, addr: str, *rest: Any, **more: Any) -> bool:
    return not str(addr).startswith("inproc:")


NATIVES: Final[tuple[Native, ...]] = (
    Native("psycopg", "psycopg", "connect", _CONNECTS, _POSTGRES),
    Native("psycopg", "psycopg", "Connection.connect", _CONNECTS, _POSTGRES),
    Native("psycopg", "psycopg", "AsyncConnection.connect", _CONNECTS, _POSTGRES),
    Native("psycopg2", "psycopg2", "_connect", _CONNECTS, _POSTGRES),
    Native("mysqlclient", "MySQLdb.connections", "Connection.__init__", _CONNECTS, "Use PyMySQL"),
    Native("mysql.connector's C extension", "mysql.connector.connection_cext", "CMySQLConnection.__init__", _CONNECTS,
           "Connect with use_pure=True"),
    Native("pymssql", "pymssql._pymssql", "connect", _CONNECTS, "Use python-tds"),
    Native("pyodbc", "pyodbc", "connect", _CONNECTS, "Use a driver in Python"),
    Native("grpcio", "grpc._channel", "Channel.__init__", _CONNECTS, "Use grpclib"),
    Native("grpcio", "grpc.aio._channel", "Channel.__init__", _CONNECTS, "Use grpclib"),
    Native("grpcio", "grpc._server", "_Server.__init__", "listens in C on the operating system's sockets",
           "Use grpclib"),
    Native("grpcio", "grpc.aio._server", "Server.__init__", "listens in C on the operating system's sockets",
           "Use grpclib"),
    Native("pycurl", "pycurl", "Curl", _CONNECTS, "Use httpx, requests or aiohttp"),
    Native("curl_cffi", "curl_cffi.curl", "Curl.perform", _CONNECTS, "Use httpx, requests or aiohttp"),
    Native("curl_cffi", "curl_cffi.aio", "AsyncCurl.add_handle", _CONNECTS, "Use httpx, requests or aiohttp"),
    Native("confluent_kafka", "confluent_kafka.cimpl", "Producer", _CONNECTS, "Use aiokafka"),
    Native("confluent_kafka", "confluent_kafka.cimpl", "Consumer", _CONNECTS, "Use aiokafka"),
    Native("aiohttp's AsyncResolver", "aiohttp.resolver", "AsyncResolver.__init__", _ASKS, "",
           resolvers.asks_nobody_else, stand_in=resolvers.make),
    Native("aiohttp's AsyncResolver", "aiohttp.resolver", "AsyncResolver.resolve", _ASKS, "", resolvers.asks_host,
           stand_in=resolvers.resolve),
    Native("aiohttp's AsyncResolver", "aiohttp.resolver", "AsyncResolver.close", _ASKS, "", resolvers.asks_host,
           stand_in=resolvers.close),
    Native("aiodns", "aiodns", "DNSResolver.__init__", _ASKS, "Use the event loop's getaddrinfo, or dnspython"),
    Native("pycares", "pycares", "Channel.__init__", _ASKS, "Use getaddrinfo, or dnspython"),
    Native("pulsar-client", "pulsar", "Client.__init__", _CONNECTS, "Use a message queue whose client is in Python"),
    Native("pylibmc", "pylibmc.client", "Client.__init__", _CONNECTS, "Use pymemcache"),
    Native("zmq", "zmq.sugar.socket", "Socket.connect", _CONNECTS, "Its inproc: transport works", _leaves_process),
    Native("zmq", "zmq.sugar.socket", "Socket.bind", "listens in C on the operating system's sockets",
           "Its inproc: transport works", _leaves_process),
    Native("pyOpenSSL", "OpenSSL.SSL", "Connection.__init__",
           "reads and writes the descriptor in C, and that of a host's socket only tells when to read",
           "Use ssl, or Connection(context, None) and carry the bytes by bio_read and bio_write", _has_socket),
    *(Native(library, module, "Session", "reads and writes the descriptor in C", "Use paramiko or asyncssh")
      for library, module in (("ssh2-python", "ssh2.session"), ("ssh-python", "ssh.session"))),
    Native("M2Crypto", "M2Crypto.SSL.Connection", "Connection.__init__", "reads and writes the descriptor in C",
           "Use ssl"),
    Native("trio.socket", "trio._socket", "_SocketType.__init__", "takes sockets of the operating system and no others",
           "Run anyio on asyncio"),
    Native("uvloop", "uvloop", "Loop.__init__", _LOOPS, "Use asyncio's own event loop"),
    Native("uvloop", "uvloop", "new_event_loop", _LOOPS, "", stand_in=_new_event_loop),
    Native("uvloop", "uvloop", "run", _LOOPS, "", stand_in=_run_in_loop),
    Native("uvloop", "uvloop", "EventLoopPolicy._loop_factory", _LOOPS, "", stand_in=_new_event_loop),
    *(Native(module, module, name, "starts processes of the operating system, which have its network and clock",
             "Run the other program by host.run, or use threads", _has_processes, only_virtual=True)
      for module, name in (("multiprocessing.process", "BaseProcess.start"), ("multiprocessing.pool", "Pool.__init__"),
                           ("concurrent.futures.process", "ProcessPoolExecutor.__init__"))),
    Native("concurrent.futures", "concurrent.futures.thread", "ThreadPoolExecutor.submit", "waits in real time", "",
           was_made_outside, only_virtual=True, stand_in=submit_to_own),
    Native("concurrent.futures", "concurrent.futures.thread", "ThreadPoolExecutor.shutdown", "waits in real time", "",
           was_made_outside, only_virtual=True, stand_in=shutdown_own),
    Native("cassandra-driver's libev reactor", "cassandra.io.libevreactor", "LibevConnection.initialize_reactor",
           _LOOPS, "Give Cluster connection_class=cassandra.io.asyncioreactor.AsyncioConnection"),
    Native("gevent", "gevent.hub", "Hub.__init__", _LOOPS, "Use threads or asyncio"),
    *(Native("gevent.monkey", "gevent.monkey", name, "changes the standard library for the whole process",
             "Use threads or asyncio")
      for name in ("patch_all", "patch_socket", "patch_thread", "patch_time", "patch_select", "patch_ssl", "patch_os")),
    Native("eventlet", "eventlet", "", _LOOPS, "Use threads or asyncio"),  # it relies on the inside of ``threading``
    Native("eventlet", "eventlet.hubs", "get_hub", _LOOPS, "Use threads or asyncio"),
    *(Native(f"{binding}.QtNetwork", f"{binding}.QtNetwork", name, _CONNECTS, "Use socket or asyncio")
      for binding in ("PyQt5", "PyQt6", "PySide2", "PySide6") for name in _QT),
)
"""The known entries. Any other library gets the operating system's error: that does not know the hosts of a lab."""

_MISSING: Final = object()


class _Refusing:
    """Replaces a function or class of a module. ``isinstance`` with it works, and it can be a base class."""

    def __init__(self, original: Any, native: Native) -> None:
        self._original = original
        self._call = _refuse(original, native)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._original)

    def __subclasscheck__(self, kind: type) -> bool:
        return issubclass(kind, self._original)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._original,)


def _refuse(original: Callable[..., Any], native: Native) -> Callable[..., Any]:
    @functools.wraps(original)
    def refuse(*args: Any, **kwargs: Any) -> Any:
        runtime = current()
        if runtime is not None and (runtime.is_virtual or not native.only_virtual) and native.concerns(*args, **kwargs):
            if native.stand_in is not None:
                return native.stand_in(runtime, *args, **kwargs)
            raise NotImplementedError(native.sentence(runtime.name))
        return original(*args, **kwargs)

    return refuse


class _Place(NamedTuple):
    """A place of a refusal: an attribute of a class or a module, its original and its replacement."""

    owner: Any
    name: str
    original: Any
    stand_in: Any


def _member_place(owner: Any, name: str, native: Native) -> _Place:
    kept = vars(owner).get(name, _MISSING)
    if isinstance(kept, (classmethod, staticmethod)):
        return _Place(owner, name, kept, type(kept)(_refuse(kept.__func__, native)))
    return _Place(owner, name, kept, _refuse(getattr(owner, name), native))


class Guard:
    """Installs the refusals and removes them. It is a finder of modules, too, for those that are imported meanwhile.

    Their places are looked for once: in a module that is to be guarded, and, for names taken from it, in every module.
    """

    def __init__(self) -> None:
        self._by_module: dict[str, list[Native]] = {}
        for native in NATIVES:
            self._by_module.setdefault(native.module, []).append(native)
        self._known: dict[str, ModuleType] = {}
        self._places: dict[str, list[_Place]] = {}
        self._refusing: dict[int, tuple[str, _Refusing]] = {}
        """By the identity of the original: its module, and the refusal."""
        self._scanned: weakref.WeakSet[ModuleType] = weakref.WeakSet()
        self._seen: tuple[int, str] = (0, "")
        """How many modules there were at the last look, and the newest of them."""
        self._looked_at: tuple[int, str] = (0, "")
        """The same, at the last look for the known libraries."""
        self._applied: list[_Place] = []

    def apply(self) -> None:
        """Guard what is imported now or later."""
        sys.meta_path.insert(0, self)
        looked_at = len(sys.modules), next(reversed(sys.modules))
        if looked_at != self._looked_at:
            self._looked_at = looked_at
            for name in self._by_module:
                module = sys.modules.get(name)
                if module is not None and self._known.get(name) is not module:
                    self._learn(module)
        self._look_through()
        self._put(place for places in self._places.values() for place in places)

    def undo(self) -> None:
        """Remove all refusals."""
        sys.meta_path.remove(self)
        while self._applied:
            owner, name, original, stand_in = self._applied.pop()
            if vars(owner).get(name) is stand_in:
                if original is _MISSING:
                    delattr(owner, name)
                else:
                    setattr(owner, name, original)

    def guard(self, module: ModuleType) -> None:
        """Guard a module that was imported just now."""
        self._learn(module)
        self._look_through()
        self._put(self._places[module.__name__])

    def _learn(self, module: ModuleType) -> None:
        """Find the entries of a module."""
        name = module.__name__
        self._known[name] = module
        self._refusing = {key: kept for key, kept in self._refusing.items() if kept[0] != name}
        places = self._places[name] = []
        for native in self._by_module[name]:
            class_name, _, member = native.name.rpartition(".")
            owner = vars(module).get(class_name) if class_name else module
            found = getattr(owner, member, None) if member else None
            if found is None:
                continue
            if class_name:
                places.append(_member_place(owner, member, native))
            else:
                self._refusing[id(found)] = name, _Refusing(found, native)
                self._scanned.clear()
                self._seen = 0, ""

    def _look_through(self) -> None:
        """Find the places in which modules that were not looked at before keep what is to be refused."""
        seen = len(sys.modules), next(reversed(sys.modules))
        if seen == self._seen or not self._refusing:
            return
        self._seen = seen
        for module in list(sys.modules.values()):
            if not issubclass(type(module), ModuleType) or module in self._scanned:
                continue
            self._scanned.add(module)
            for key, value in list(vars(module).items()):
                name, refusing = self._refusing.get(id(value), ("", None))
                if refusing is not None:
                    place = _Place(module, key, value, refusing)
                    if place not in self._places[name]:
                        self._places[name].append(place)

    def _put(self, places: Iterable[_Place]) -> None:
        for place in places:
            if vars(place.owner).get(place.name, _MISSING) is place.original:
                try:
                    setattr(place.owner, place.name, place.stand_in)
                except (AttributeError, TypeError):
                    continue  # made in C, and can't be changed
                self._applied.append(place)

    def ensure_may_load(self, name: str) -> None:
        """Raise if a program of a host must not even import a module."""
        runtime = current()
        for native in self._by_module[name]:
            if not native.name and runtime is not None:
                raise NotImplementedError(native.sentence(runtime.name))

    # --- what Python's import calls

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find one of the modules to guard, with the other finders."""
        if name not in self._by_module:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None
            if finder is not self and find is not None:
                spec = find(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader, self)  # type: ignore[assignment]
                return spec
        return None


class _Loader:
    """Loads a module as it would be loaded, and guards it."""

    def __init__(self, loader: Any, guard: Guard) -> None:
        self._loader = loader
        self._guard = guard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Make the module as its own loader does."""
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Run it, then guard it if anything is still installed."""
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._guard.ensure_may_load(module.__name__)
        self._loader.exec_module(module)
        if self._guard in sys.meta_path:
            self._guard.guard(module)
