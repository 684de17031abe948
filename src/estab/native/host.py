"""``NativeHost``: a host whose TCP is this machine's kernel, in namespaces of its own."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from estab.abi import LISTEN
from estab.host.snapshot import SocketRow
from estab.native.called import PythonProcess, ensure_not_loading, pickled, python_argv
from estab.native.clock import RealClock
from estab.native.port import Port
from estab.native.process import Driver, Process
from estab.native.sockdiag import STATES, TIMERS, Row, read_sockets
from estab.native.spaces import Message, Space, Spaces, of_no_program
from estab.native.sysctls import KernelSysctls
from estab.units import MS

__all__ = ["HostDriver", "Interface", "Loss", "NativeHost"]

_IPPROTO_UDP: Final = 17
_V6_BYTES: Final = 16

# Inside of a program these names mean the host's, so what is the system's is taken here.
_pipe: Final = os.pipe2
_open: Final = os.open
_close: Final = os.close
_read: Final = os.read
_write: Final = os.write
_memfd: Final = getattr(os, "memfd_create", None)
_seek: Final = os.lseek
_Socket: Final = socket.socket


@dataclass(frozen=True, slots=True)
class Interface:
    """What a host's end of a link is to be."""

    name: str
    mtu: int
    mac: bytes
    """Empty on links without Ethernet."""
    addresses: tuple[str, ...]
    """With their prefix lengths: ``10.0.0.1/24``."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Frames that were lost between a host's kernel and the lab."""

    interface: str
    frames: int
    where: str
    is_inward: bool
    """They were on their way into the lab; else they came from it."""


_TUN_FULL: Final = "its TUN queue was full"
_VETH_FULL: Final = "its veth dropped them"
_SOCKET_FULL: Final = "the packet socket was full"
_REFUSED: Final = "its device did not take them"
_DROPPED_FIELD: Final = 11
"""Of a line in /proc/net/dev: what was dropped when it was sent."""


class NativeHost:
    """A host of the kernel. It lives in one ``Space`` at a time; after a loss of power in another."""

    def __init__(self, name: str, spaces: Spaces, clock: RealClock, files: Mapping[str, str], *,
                 may_use_tun: bool, netns: str = "") -> None:
        ensure_not_loading()
        self.name = name
        self._spaces = spaces
        self._clock = clock
        self._files = dict(files)
        self._may_use_tun = may_use_tun
        self.netns = netns
        """The namespace that was there before, if the host was attached; its processes are not ours."""
        self.ports: dict[str, Port] = {}
        self.processes: list[Process] = []
        self._routes: list[tuple[str, str, str]] = []
        self._number = 0
        self._dropped: dict[str, int] = {}
        self._refused: dict[str, int] = {}
        self._diag: socket.socket | None = None
        self._space = self._make_space()

    def _make_space(self) -> Space:
        space = self._spaces.make(self.name, self._files, self.netns)
        space.on_event = self._on_event
        self._clock.add(space.fileno(), space.take_events)
        return space

    @property
    def pid(self) -> int:
        """A process whose namespaces are the host's: ``nsenter -t PID -n`` looks into them."""
        return self._space.pid

    @property
    def is_powered(self) -> bool:
        """Whether its namespaces are there."""
        return not self._space.is_closed

    # --- what the network makes of it

    def plug(self, wanted: Interface, take: Callable[[bytes], None]) -> Port:
        """Make an interface. ``take`` gets each frame that the host sends on it."""
        name = self._kernel_name(wanted.name)
        answer = self._space.ask("plug", name=name, mtu=wanted.mtu, mac=wanted.mac.hex(),
                                 addresses=list(wanted.addresses), has_offload=False, may_use_tun=self._may_use_tun)
        port = Port(
            answer.fds[0], wanted.name, wanted.mtu, bytes.fromhex(answer.words["mac"]),
            is_ethernet=bool(wanted.mac), is_tun=answer.words["is_tun"], take=take,
            set_offload=lambda is_on: self._set_offload(name, is_on),
        )
        self.ports[wanted.name] = port
        self._clock.add(port.fd, port.read)
        return port

    def _kernel_name(self, name: str) -> str:
        """Give the name of an interface in the kernel: another one where the namespace may have an ``eth0``."""
        return name.replace("eth", "lab") if self.netns else name

    def _set_offload(self, name: str, is_on: bool) -> None:
        if self.is_powered:
            self._space.ask("offload", name=name, is_on=is_on)

    def send(self, name: str, frame: bytes) -> None:
        """Give the host a frame that came over a link."""
        port = self.ports.get(name)
        if port is not None:
            port.send(frame)

    def set_routes(self, routes: Sequence[tuple[str, str, str]], is_forwarding: bool) -> None:
        """Set prefix, gateway and interface of each route to somewhere else."""
        named = [(prefix, gateway, self._kernel_name(name)) for prefix, gateway, name in routes]
        self._space.ask("routes", routes=named, is_forwarding=is_forwarding)

    def set_files(self, files: Mapping[str, str]) -> None:
        """Write files that are the host's own, such as ``/etc/hosts``."""
        if self.netns:
            return
        changed = {path: text for path, text in files.items() if self._files.get(path) != text}
        if changed:
            self._files.update(changed)
            self._space.ask("files", files=changed)

    def set_carrier(self, name: str, is_up: bool) -> None:
        """Have an interface see whether its cable is plugged in."""
        if self.is_powered:
            self._space.ask("carrier", name=self._kernel_name(name), is_up=is_up)

    def sysctls(self) -> KernelSysctls:
        """Return the settings of its kernel."""
        return KernelSysctls(self.name, self.read_file,
                             lambda path, value: self._space.ask("sysctl", path=path, value=value))

    def read_file(self, path: str) -> str:
        """Read a file as a process of the host does."""
        text: str = self._space.ask("read", path=path).words["text"]
        return text

    # --- processes

    def spawn(self, argv: Sequence[str], driver: Driver, *, env: Mapping[str, str] | None, cwd: str | None,
              user: str | None, stdin: bytes | None, is_quiet: bool) -> Process:
        """Start a process. ``OSError`` if it can't be executed."""
        if self.netns:
            raise RuntimeError(f"spawn: host {self.name} was attached; its processes are those of its namespace")
        self._number += 1
        process = Process(self._number, self.name, list(argv), driver, is_quiet=is_quiet)
        self._start(process, stdin or b"", None, env, cwd, user)
        return process

    def spawn_python(self, function: Callable[..., Any], args: tuple[Any, ...], driver: Driver, *,
                     env: Mapping[str, str] | None, is_quiet: bool) -> PythonProcess:
        """Run a function in a fresh interpreter on the host."""
        if self.netns:
            raise RuntimeError(f"spawn_python: host {self.name} was attached; its processes are those of its namespace")
        data = pickled(function, args)
        self._number += 1
        process = PythonProcess(self._number, self.name, python_argv(), driver, function, is_quiet=is_quiet)
        self._start(process, data, len(data), env, None, None)
        return process

    def _start(self, process: Process, given: bytes, result: int | None, env: Mapping[str, str] | None,
               cwd: str | None, user: str | None) -> None:
        opened: list[int] = []
        try:
            inside = _memory_file(given) if given else _open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            opened.append(inside)
            reading, writing = _pipe(os.O_CLOEXEC)
            opened.extend((reading, writing))
            os.set_blocking(reading, False)
            fds = [inside, writing, writing]
            result_reading = -1
            if result is not None:
                result_reading, result_writing = _pipe(os.O_CLOEXEC)
                opened.extend((result_reading, result_writing))
                os.set_blocking(result_reading, False)
                fds.append(result_writing)
            self.processes.append(process)
            self._space.ask("spawn", fds, process=process.number, argv=process.argv, cwd=cwd or os.getcwd(),
                            env={**os.environ, **(env or {})}, user=user or "")
        except BaseException:
            self.processes = [one for one in self.processes if one is not process]
            for fd in opened:
                _close(fd)
            raise
        for fd in set(fds):
            _close(fd)
        process.attach(reading, result_reading, self._close_pipe)
        self._clock.add(reading, process.read_output)
        if result_reading >= 0:
            self._clock.add(result_reading, process.read_result)

    def _close_pipe(self, fd: int) -> None:
        self._clock.remove(fd)
        _close(fd)

    def signal(self, process: Process, number: int) -> None:
        """Send a signal to a process and its group."""
        if self.is_powered:
            with suppress(ProcessLookupError):
                self._space.ask("signal", process=process.number, number=int(number))

    def kill_all(self) -> None:
        """End all processes; the kernel goes on, and tells their peers."""
        for process in self.processes:
            process.kill()

    def _on_event(self, message: Message) -> None:
        words = message.words
        number = words.get("spawned", words.get("exited"))
        for process in self.processes:
            if process.number == number:
                if "spawned" in words:
                    process.pid = message.pid
                else:
                    process.exited(words["status"])

    # --- looking at it

    def listening_ports(self) -> set[int]:
        """Give the TCP ports on which a process listens."""
        return {row.sport for row in self._rows(socket.IPPROTO_TCP, 1 << LISTEN) if row.state == LISTEN}

    def rows(self) -> list[SocketRow]:
        """List its sockets, TCP first, as the lab lists those of its own stack."""
        found = [_socket_row(row, "tcp") for row in self._rows(socket.IPPROTO_TCP)]
        return found + [_socket_row(row, "udp") for row in self._rows(_IPPROTO_UDP)]

    def tcp_rows(self) -> list[Row]:
        """List its TCP sockets, with all that the kernel tells of them."""
        return self._rows(socket.IPPROTO_TCP)

    @of_no_program()
    def losses(self) -> list[Loss]:
        """Tell which frames were lost between its kernel and the lab since this was asked last."""
        found: list[Loss] = []
        if not self.is_powered or not self.ports:
            return found
        devices = self._devices()
        for port in self.ports.values():
            dropped = devices.get(self._kernel_name(port.name), 0)
            new = dropped - self._dropped.get(port.name, 0)
            self._dropped[port.name] = dropped
            overflows = port.queue_overflows()
            port.frames_lost += new + overflows
            refused = port.frames_refused - self._refused.get(port.name, 0)
            self._refused[port.name] = port.frames_refused
            found += [Loss(port.name, new, _TUN_FULL if port.is_tun else _VETH_FULL, True),
                      Loss(port.name, overflows, _SOCKET_FULL, True), Loss(port.name, refused, _REFUSED, False)]
        return [loss for loss in found if loss.frames > 0]

    def _devices(self) -> dict[str, int]:
        """Give how many frames each of its devices dropped that its kernel sent."""
        try:
            fd = _open(f"/proc/{self.pid}/net/dev", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # it is ending
            return {}
        try:
            lines = _read(fd, 1 << 16).decode().splitlines()[2:]
        finally:
            _close(fd)
        split = (line.partition(":") for line in lines)
        return {name.strip(): int(numbers.split()[_DROPPED_FIELD]) for name, _, numbers in split}

    @of_no_program()
    def _rows(self, protocol: int, states: int = 0xFFF) -> list[Row]:
        if not self.is_powered:
            return []
        if self._diag is None:
            self._diag = _Socket(fileno=self._space.ask("diag").fds[0])
        return list(read_sockets(states, netlink=self._diag, protocol=protocol))

    def counters(self) -> dict[str, int]:
        """Give what ``nstat`` shows in there, and what was lost between its kernel and its links."""
        found = {"FramesLost": sum(port.frames_lost for port in self.ports.values()),
                 "FramesRefused": sum(port.frames_refused for port in self.ports.values()),
                 "FramesUnfit": sum(port.frames_unfit for port in self.ports.values())}
        for path in ("/proc/net/snmp", "/proc/net/netstat"):
            lines = self.read_file(path).splitlines()
            for names, values in zip(lines[::2], lines[1::2], strict=False):
                group = names.partition(":")[0]
                prefix = "" if group == "TcpExt" else group
                found.update({f"{prefix}{name}": int(value) for name, value in
                              zip(names.split()[1:], values.split()[1:], strict=False)})
        return found

    # --- power

    def lose_power(self) -> None:
        """End all processes and the kernel's state at once. The links have to be cut before, so that nobody hears."""
        if not self.is_powered:
            return
        for port in self.ports.values():
            self._clock.remove(port.fd)
            port.close()
        self.ports.clear()
        self._dropped.clear()
        self._refused.clear()
        self._clock.remove(self._space.fileno())
        if self._diag is not None:
            self._diag.close()
            self._diag = None
        self._space.close()
        for process in self.processes:
            process.close()

    def regain_power(self) -> None:
        """Make new, empty namespaces. The network plugs its interfaces in again."""
        if not self.is_powered:
            self.processes = []
            self._space = self._make_space()

    def close(self) -> None:
        """End the host. Idempotent."""
        self.lose_power()


class HostDriver:
    """What a process of a native host needs of the lab; ``pause`` lets the network run."""

    def __init__(self, host: NativeHost, now_ns: Callable[[], int], pause: Callable[[int], None]) -> None:
        self._host = host
        self._now_ns = now_ns
        self._pause = pause

    @property
    def now_ns(self) -> int:
        """The network's time."""
        return self._now_ns()

    def pause(self, duration_ns: int) -> None:
        """Let the network run for a while."""
        self._pause(duration_ns)

    def signal(self, process: Process, number: int) -> None:
        """Send a signal."""
        self._host.signal(process, number)

    def listening_ports(self) -> set[int]:
        """Give the ports on which the host listens."""
        return self._host.listening_ports()


def _socket_row(row: Row, netid: str) -> SocketRow:
    is_listener = row.is_listener and netid == "tcp"
    state = STATES[row.state] if row.state < len(STATES) else "UNKNOWN"
    timer = TIMERS[row.timer] if 0 < row.timer < len(TIMERS) else ""
    return SocketRow(
        f"{netid}6" if len(row.source) == _V6_BYTES else netid, state, row.recv_q, row.send_q, row.local,
        "*:*" if is_listener or not row.dport else row.peer, -1, timer, row.expires_ms * MS if timer else 0,
        row.retransmits, "",
    )


def _memory_file(data: bytes) -> int:
    """Give a descriptor from which ``data`` can be read."""
    assert _memfd is not None
    fd: int = _memfd("estab")
    at = 0
    while at < len(data):
        at += _write(fd, data[at:])
    _seek(fd, 0, os.SEEK_SET)
    return fd
