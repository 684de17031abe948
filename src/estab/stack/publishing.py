"""Tells other programs of this user about a stack's sockets, by a Unix socket of the operating system: ``estab top``.

The protocol is lines of JSON. A request is ``{"rows_max": 1000}``, or ``{}``; the answer is one line, an object:

- ``estab`` (1, the protocol's version), ``name``, ``addresses``, ``pid``, ``at_s`` (monotonic), ``counters`` (as
  ``nstat``), ``sysctls`` (Linux's short names);
- ``sockets``: listeners first, then connections; ``left_out``: how many more there are;
- ``half_open``: ``[local port, entries, retransmissions]``; ``time_wait``: ``[local, peer, peer's port, records]``.

A socket is an object: ``state`` (Linux's number), ``local``, ``lport``, ``peer``, ``pport``, ``fd`` (-1: none),
``recv_q``, ``send_q`` (a listener's: how many wait for ``accept``, and how many may), ``timer``, ``timer_ms``,
``retransmits``, ``congestion``, ``rcvbuf``, ``sndbuf``, and ``tcp_info``: ``struct tcp_info`` of Linux, in hex.

- Only the user who runs the stack may connect: the file has mode 0600, its folder 0700. Nothing can be changed by it,
  and no payload passes.
- Bounds: ``CLIENTS_MAX`` connections, more are closed at once; a request has at most ``REQUEST_BYTES_MAX`` bytes; an
  answer at most ``ROWS_MAX`` sockets. A client that does not read for ``PATIENCE_S`` is dropped. The stack's lock is
  held for ``_AT_ONCE`` sockets at a time, so that a large answer does not hold up packets.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
import struct
import tempfile
import threading
from contextlib import AbstractContextManager, suppress
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from estab.abi import CLOSED, LISTEN
from estab.errors import os_error
from estab.host.sockets.files import Descriptor
from estab.realtime.real import RealTime
from estab.sockets.runtime import activated
from estab.sockets.socket.tcp_info import pack_tcp_info
from estab.tcp.arriving.timewait import TimeWait
from estab.tcp.connection import Connection
from estab.tcp.listening.half_open import HalfOpen
from estab.units import MS, SECOND

__all__ = ["CLIENTS_MAX", "PATIENCE_S", "REQUEST_BYTES_MAX", "ROWS_MAX", "VERSION", "Publication", "check_folder",
           "default_folder", "default_path", "describe"]

VERSION: Final = 1
CLIENTS_MAX: Final = 8
ROWS_MAX: Final = 20_000
REQUEST_BYTES_MAX: Final = 1024
PATIENCE_S: Final = 10.0
_AT_ONCE: Final = 200
_GROUPS_MAX: Final = 1000
_PATH_BYTES_MAX: Final = 107
_SYSCTLS: Final = ("tcp_retries2", "tcp_syn_retries", "tcp_max_syn_backlog", "tcp_syncookies", "tcp_keepalive_time",
                   "ip_local_port_range", "tcp_tw_reuse", "tcp_orphan_retries", "tcp_fin_timeout", "tcp_mtu_probing")


def default_folder() -> Path:
    """Give the folder where stacks of this user publish, if no path is named."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and os.path.isdir(runtime):
        return Path(runtime) / "estab"
    return Path(tempfile.gettempdir()) / f"estab-{os.getuid()}"


def default_path(name: str, number: int = 0) -> Path:
    """Give the path where the stack on a device publishes; ``number``: of several processes with a queue each."""
    return default_folder() / f"{name.replace('/', '_')}{f'+{number}' if number else ''}.sock"


# --- what is told


def describe(runtime: RealTime, addresses: list[str], rows_max: int = ROWS_MAX) -> dict[str, Any]:
    """Describe a stack's sockets and counters, as the module's head says."""
    engine = runtime.engine
    with runtime.lock:
        listeners = [listener for several in engine.demux.listeners.values() for listener in several]
        endpoints = list(engine.demux.table.values())
        told: dict[str, Any] = {
            "estab": VERSION, "name": runtime.name, "addresses": addresses, "pid": os.getpid(),
            "at_s": runtime.now_ns / SECOND, "counters": engine.counters(),
            "sysctls": {name: engine.sysctl.text(name) for name in _SYSCTLS if name in engine.sysctl},
        }
        sockets = [{
            "state": LISTEN, "local": listener.local.hex(), "lport": int(listener.port), "peer": "", "pport": 0,
            "fd": -1 if listener.owner is None else int(listener.owner.fd), "recv_q": int(listener.waiting),
            "send_q": int(listener.backlog),
        } for listener in listeners[:rows_max]]
    half_open: dict[int, list[int]] = {}
    time_wait: dict[tuple[str, str, int], int] = {}
    connections = []
    for endpoint in endpoints:
        if isinstance(endpoint, Connection):
            connections.append(endpoint)
        elif isinstance(endpoint, HalfOpen):
            counts = half_open.setdefault(int(endpoint.ends.local_port), [0, 0])
            counts[0] += 1
            counts[1] += int(endpoint.retransmissions)
        elif isinstance(endpoint, TimeWait):
            key = endpoint.local.hex(), endpoint.remote.hex(), int(endpoint.remote_port)
            time_wait[key] = time_wait.get(key, 0) + 1
    room = max(0, rows_max - len(sockets))
    for at in range(0, min(len(connections), room), _AT_ONCE):
        with runtime.lock:
            now_ns = runtime.now_ns
            sockets.extend(_describe_connection(one, now_ns) for one in connections[at:min(at + _AT_ONCE, room)]
                           if one.state != CLOSED)
    most = sorted(time_wait.items(), key=lambda item: -item[1])[:_GROUPS_MAX]
    told.update(
        sockets=sockets, left_out=len(listeners) + len(connections) - min(len(listeners), rows_max) - min(
            len(connections), room),
        half_open=[[port, *counts] for port, counts in sorted(half_open.items())[:_GROUPS_MAX]],
        time_wait=[[*key, count] for key, count in most])
    return told


def _describe_connection(connection: Connection, now_ns: int) -> dict[str, Any]:
    info = connection.info(now_ns)
    owner = connection.owner
    return {
        "state": int(connection.state), "local": connection.local.hex(), "lport": int(connection.local_port),
        "peer": connection.remote.hex(), "pport": int(connection.remote_port),
        "fd": int(owner.fd) if isinstance(owner, Descriptor) else -1, "recv_q": info.inq_bytes,
        "send_q": info.outq_bytes, "timer": info.timer, "timer_ms": info.timer_ns // MS,
        "retransmits": info.retransmits if info.timer == "on" else info.probes, "congestion": info.congestion,
        "rcvbuf": info.receive_buffer_bytes, "sndbuf": info.send_buffer_bytes,
        "tcp_info": pack_tcp_info(info, int(connection.state)).hex(),
    }


# --- the socket


class Publication(AbstractContextManager["Publication"]):
    """A Unix socket that tells of a stack, until ``close`` or the end of its ``with`` block. ``path`` is where."""

    def __init__(self, path: str | PathLike[str], runtime: RealTime, addresses: list[str]) -> None:
        self.path = os.path.abspath(path)
        self._runtime = runtime
        self._addresses = addresses
        self._lock = threading.Lock()
        self._clients: list[socket.socket] = []
        self._is_closed = False
        with activated(None):
            self._listener = _listen(self.path)
        self._identity = os.stat(self.path).st_ino
        self._start(self._accept)

    def close(self) -> None:
        """End it: clients are disconnected, and the file is removed. Idempotent."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            clients = list(self._clients)
        with suppress(OSError):
            if os.stat(self.path).st_ino == self._identity:  # another stack may have taken the path since
                os.unlink(self.path)
        for one in (self._listener, *clients):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # close() alone does not wake a thread that waits in accept() or recv()
        self._listener.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self, function: Any, *args: object) -> None:
        def run() -> None:
            with activated(None):  # whoever asked may be a program of this very stack
                function(*args)

        threading.Thread(target=run, name=f"estab-publish-{self._runtime.name}", daemon=True).start()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                client = self._listener.accept()[0]
            except OSError as error:
                if self._is_closed or error.errno not in (errno.EMFILE, errno.ENFILE, errno.ECONNABORTED):
                    return
                threading.Event().wait(0.1)  # no descriptor is free: the client waits in the queue meanwhile
                continue
            with self._lock:
                is_welcome = not self._is_closed and len(self._clients) < CLIENTS_MAX
                if is_welcome:
                    self._clients.append(client)
            if is_welcome:
                self._start(self._serve, client)
            else:
                client.close()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, suppress(OSError, ValueError, RuntimeError), client.makefile("rb") as requests:
                # A client may be quiet for as long as it likes; it must only read what it asked for.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(PATIENCE_S))
                while line := requests.readline(REQUEST_BYTES_MAX + 1):
                    client.sendall(self._answer(line))
                    if len(line) > REQUEST_BYTES_MAX:
                        return
        finally:
            with self._lock:
                self._clients.remove(client)

    def _answer(self, line: bytes) -> bytes:
        try:
            told = describe(self._runtime, self._addresses, _rows_max(line))
        except ValueError as error:
            told = {"estab": VERSION, "error": str(error)}
        return json.dumps(told, separators=(",", ":")).encode() + b"\n"


def _rows_max(line: bytes) -> int:
    """Read a request. ``ValueError``."""
    if len(line) > REQUEST_BYTES_MAX:
        raise ValueError(f"a request has at most {REQUEST_BYTES_MAX} bytes")
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError('a request is one line of JSON, such as {"rows_max": 1000}') from None
    if not isinstance(request, dict):
        raise ValueError('a request is an object, such as {"rows_max": 1000}')
    rows = request.get("rows_max", ROWS_MAX)
    if not isinstance(rows, int) or isinstance(rows, bool) or not 0 <= rows <= ROWS_MAX:
        raise ValueError(f"rows_max: a number from 0 to {ROWS_MAX}")
    return rows


def _timeval(seconds: float) -> bytes:
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))


def _listen(path: str) -> socket.socket:
    """Listen on a path, which nobody but this user can reach at any moment. ``OSError``."""
    if not hasattr(socket, "AF_UNIX"):
        raise os_error(errno.EAFNOSUPPORT, "address family not supported: this system has no Unix sockets")
    if len(os.fsencode(path)) > _PATH_BYTES_MAX:
        raise os_error(errno.ENAMETOOLONG, f"file name too long: the path of a Unix socket has at most "
                                           f"{_PATH_BYTES_MAX} bytes: {path}")
    _make_folder(os.path.dirname(path))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_left_over(path)
        # The mode of a Unix socket is the mode of its descriptor at bind() (Linux), so it is never open to others.
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(path)
        os.chmod(path, 0o600)
        listener.listen(CLIENTS_MAX)
    except BaseException:
        listener.close()
        raise
    return listener


def _make_folder(folder: str) -> None:
    """Make the folder if it is not there. One in the default place must be this user's own, or it is refused."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    if Path(folder) == default_folder():
        check_folder(folder)


def check_folder(folder: str | PathLike[str]) -> None:
    """Raise EPERM if a folder in a place that all may write to is not this user's alone."""
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise os_error(errno.EPERM, f"operation not permitted: {os.fspath(folder)} is not a folder of this user's "
                                    "alone (mode 0700)")


def _remove_left_over(path: str) -> None:
    """Remove the socket of a stack that is gone. Raise EADDRINUSE if it still answers, or is no socket."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise os_error(errno.EADDRINUSE, f"address already in use: {path} is there, and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        trial.settimeout(1)
        try:
            trial.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise os_error(errno.EADDRINUSE, f"address already in use: a stack publishes on {path} already")
