"""The kernel of this machine in the place of the engine: a script's calls and packets, in real time.

The process enters a network namespace of its own, which ends with it, and makes a TUN there; nothing else of the
machine is touched. Packets of the script are written to the TUN, what the kernel sends is read from it, and calls are
calls. Settings are written below ``/proc/sys/net``, which is the namespace's. Times are real, so they are compared with
more tolerance.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from estab.abi import AF_INET6, MSG_DONTWAIT, MSG_PEEK, MSG_WAITALL, SOCK_DGRAM
from estab.devices.namespace import enter_new
from estab.devices.netlink import await_running, configure
from estab.devices.tuntap import Tun
from estab.drill.errors import MismatchError, UnsupportedError
from estab.drill.language.syntax import Array, Blank, Call, Expression
from estab.drill.language.values import constant, expression_text, integer
from estab.drill.machine.files import SocketFile
from estab.drill.machine.flow import Flow, Stage
from estab.drill.machine.machine import START_NS, Machine
from estab.drill.machine.settings import Settings
from estab.drill.steps.calls import Calls
from estab.drill.steps.commands import Commands
from estab.drill.steps.descriptors import Steps
from estab.drill.steps.options import Options
from estab.errors import os_error
from estab.events import Event
from estab.sockets.socket.tcp_info import unpack_tcp_info
from estab.units import MS, NEVER
from estab.wire.address import parse_address

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

__all__ = ["KernelCalls", "KernelCommands", "KernelMachine", "why_not"]

_TOLERANCE_NS: Final = 30 * MS
"""Real time is no nearer than that on a busy machine."""
_LOOK_NS: Final = 1 * MS
"""How often a call that waits looks again."""
_ADDRESS_WITHIN_S: Final = 2.0
_TCP_INFO_BYTES: Final = 512
_LINGER: Final = struct.Struct("ii")


def why_not() -> str:
    """Tell why the kernel can't be asked here; empty if it can."""
    if os.name != "posix" or not Path("/proc/sys/net").exists():
        return "this is not Linux"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "there is no TUN here (/dev/net/tun)"
    if os.geteuid() != 0:
        return "it takes root, for a network namespace and a TUN in it"
    return ""


class KernelMachine(Machine):
    """The kernel, behind a TUN in a namespace of this process. It has the engine's clock, which is real time here."""

    def __init__(self, settings: Settings) -> None:
        self.settings = replace(settings, tolerance_ns=max(settings.tolerance_ns, _TOLERANCE_NS))
        self.observer = None
        self.local = parse_address(settings.local)
        self.remote = parse_address(settings.remote)
        self.sent: deque[tuple[int, bytes]] = deque()
        self.on_event: Callable[[int], None] = lambda fd: None
        self.on_news: Callable[[], bool] = lambda: False
        self.next_wake_ns: Callable[[], int] = lambda: NEVER
        enter_new()
        self._tun = Tun("tun0", mtu=settings.link_mtu, offload=False)
        bits = 16 if len(self.local) == 4 else 64
        configure("lo")
        configure("tun0", mtu=settings.link_mtu, addresses=[f"{settings.local}/{bits}"],
                  routes=["0.0.0.0/0" if len(self.local) == 4 else "::/0"])
        await_running("tun0")
        _await_address(self.local)
        self._poll = select.poll()
        self._poll.register(self._tun.fileno(), select.POLLIN)
        self._began_ns = time.monotonic_ns()

    @property
    def now_ns(self) -> int:  # type: ignore[override]
        """Real time, counted so that the script begins where the engine's clock does."""
        return START_NS + time.monotonic_ns() - self._began_ns

    def tell(self, event: Event) -> None:
        """Tell nobody: there are no facts of a kernel."""

    def inject(self, data: bytes) -> None:
        """Give the kernel a packet."""
        os.write(self._tun.fileno(), data)
        self.settle()

    def settle(self) -> None:
        """Take what the kernel has sent, and let the waiting call continue."""
        while True:
            try:
                data = os.read(self._tun.fileno(), 65_600)
            except BlockingIOError:
                break
            if data:
                self.sent.append((self.now_ns, data))
        self.on_news()

    def step(self, until_ns: int) -> bool:
        """Wait until the kernel sends something, at most to ``until_ns``. ``False`` if that is reached."""
        count = len(self.sent)
        left_ns = min(until_ns - self.now_ns, _LOOK_NS)
        if left_ns > 0:
            self._poll.poll(max(left_ns // MS, 0))
            if left_ns < MS:
                time.sleep(left_ns / 1e9)
        self.settle()
        return len(self.sent) > count or self.now_ns < until_ns

    def advance(self, until_ns: int) -> None:
        """Let time pass."""
        while self.now_ns < until_ns:
            self.step(until_ns)

    def close(self) -> None:
        """Close the TUN."""
        self._tun.close()


def _await_address(address: bytes) -> None:
    """Wait until the kernel takes packets to an IPv6 address: it adds the route a little later than the address."""
    give_up_s = time.monotonic() + _ADDRESS_WITHIN_S
    while len(address) == 16 and time.monotonic() < give_up_s:
        rows = Path("/proc/net/ipv6_route").read_text(encoding="ascii").splitlines()
        if any(row.startswith(f"{address.hex()} 80 ") for row in rows):
            return
        time.sleep(_LOOK_NS / 1e9)


class KernelSocket:
    """A socket of the kernel's with what the script's calls ask of one."""

    def __init__(self, real: socket.socket) -> None:
        real.setblocking(False)
        self.real = real
        self.family = int(real.family)
        self.kind = int(real.type) & 0xF
        self.fd = real.fileno()
        self.linger: int | None = None

    def readiness(self) -> int:
        """Give the poll bits."""
        poll = select.poll()
        poll.register(self.real.fileno(), 0xFFFF)
        found = poll.poll(0)
        return found[0][1] if found else 0


class _KernelOptions(Options):
    def getsockopt(self, call: Call) -> int:
        """Read an option and compare it with what the script has in the value's place."""
        real = _real(self.calls.socket_file(call.arguments[0]))
        level, name = integer(call.arguments[1]), integer(call.arguments[2])
        expected = call.arguments[3]
        value: int | bytes = real.getsockopt(level, name, _TCP_INFO_BYTES)
        if isinstance(value, bytes) and len(value) == 4:
            value = int.from_bytes(value, "little", signed=True)
        if not isinstance(expected, Blank):
            self._compare(expected, value, expression_text(call.arguments[2]))
        return 0

    def setsockopt(self, call: Call) -> int:
        """Set an option."""
        file = self.calls.socket_file(call.arguments[0])
        value = self._value(call.arguments[3], call.arguments[4])
        level, name = integer(call.arguments[1]), integer(call.arguments[2])
        _real(file).setsockopt(level, name, value)
        if isinstance(value, bytes) and (level, name) == (socket.SOL_SOCKET, socket.SO_LINGER):
            on, seconds = _LINGER.unpack(value)
            file.socket.linger = seconds if on else None  # type: ignore[union-attr]
        return 0


class KernelCalls(Calls):
    """The calls of one script, made to the kernel. None blocks: one that would is tried again."""

    def __init__(self, machine: KernelMachine) -> None:
        super().__init__(machine)
        self.options = _KernelOptions(self, self.polling.on_event)
        self._table["getsockopt"], self._table["setsockopt"] = self.options.getsockopt, self.options.setsockopt

    def fields_under_test(self) -> Mapping[str, int] | None:
        """Give ``TCP_INFO`` of the socket under test."""
        for file in self.files.values():
            if isinstance(file, SocketFile) and file.flow is self.flow and file.socket.kind != SOCK_DGRAM:
                return unpack_tcp_info(_real(file).getsockopt(socket.IPPROTO_TCP, 11, _TCP_INFO_BYTES))
        return None

    def _where(self, value: Expression, file: SocketFile, default: tuple[str, int]) -> tuple[str, int]:
        host, port = self._address(value, file, default)
        return host or ("::" if file.socket.family == AF_INET6 else "0.0.0.0"), port

    def _socket(self, call: Call) -> int:
        family, kind, protocol = call.arguments
        number = int(socket.AF_INET if self.settings.ip_version == "ipv4" else socket.AF_INET6)
        if not isinstance(family, Blank):
            number = integer(family)
        bits = integer(kind)
        flags = 0o4000 if bits & constant("SOCK_NONBLOCK") else 0
        real = socket.socket(number, bits & 0xF, 0 if isinstance(protocol, Blank) else integer(protocol))
        made = KernelSocket(real)
        self.flow = Flow("udp" if made.kind == SOCK_DGRAM else "tcp", self.machine.local, self.machine.remote)
        return self.add(call, _file(flags, made, self.flow))

    def _bind(self, call: Call) -> int:
        file = self.socket_file(call.arguments[0])
        host, port = self._where(call.arguments[1], file, (self.settings.local, self.settings.bind_port))
        _real(file).bind((host, port))
        if file.socket.kind == SOCK_DGRAM:
            file.flow.local_port = port
            file.flow.remote_port = file.flow.remote_port or self.settings.connect_port
        return 0

    def _listen(self, call: Call) -> int:
        file = self.socket_file(call.arguments[0])
        _real(file).listen(integer(call.arguments[1]))
        file.flow.stage = Stage.LISTENING
        return 0

    def _accept(self, call: Call) -> Steps:
        file = self.socket_file(call.arguments[0])
        flags = integer(call.arguments[3]) & 0o4000 if len(call.arguments) > 3 else 0
        while True:
            try:
                made, peer = _real(file).accept()
                break
            except BlockingIOError:
                if file.is_nonblocking:
                    raise
            yield NEVER
        flow = self.flow
        if flow is None or flow.remote_port != peer[1]:
            flow = Flow("tcp", self.machine.local, self.machine.remote)
        flow.stage = Stage.ACCEPTED
        return self.add(call, _file(flags, KernelSocket(made), flow))

    def _connect(self, call: Call) -> Steps:
        file = self.socket_file(call.arguments[0])
        if len(call.arguments) > 1 and self._is_unspec(call.arguments[1]):
            raise UnsupportedError("connect() with AF_UNSPEC can't be asked of the kernel from Python")
        address = self._where(call.arguments[1], file, (self.settings.remote, self.settings.connect_port))
        if file.flow.stage is Stage.NEW:
            file.flow.stage = Stage.CONNECTING
            file.flow.remote_port = address[1]
        real = _real(file)
        try:
            real.connect(address)
            return 0
        except BlockingIOError:
            if file.is_nonblocking:
                raise
        while not file.socket.readiness() & (select.POLLOUT | select.POLLERR | select.POLLHUP):
            yield NEVER
        number = real.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise os_error(number, "")
        return 0

    def _close(self, call: Call) -> Steps:
        file = self.file(call.arguments[0])
        number = integer(call.arguments[0])
        del self.files[number]
        self.polling.forget(number)
        if isinstance(file, SocketFile):
            closing = threading.Thread(target=_real(file).close, daemon=True)  # SO_LINGER: it may wait
            closing.start()
            linger = getattr(file.socket, "linger", None)
            closing.join(0 if linger else None)
            while closing.is_alive():
                yield NEVER
        return 0

    def _shutdown(self, call: Call) -> int:
        _real(self.socket_file(call.arguments[0])).shutdown(integer(call.arguments[1]))
        return 0

    def _receive(self, file: SocketFile, size: int, flags: int) -> Generator[int, None, bytes]:
        is_waiting = not (file.is_nonblocking or flags & MSG_DONTWAIT)
        taken = b""
        while True:
            try:
                piece = _real(file).recv(size - len(taken), flags & ~(MSG_WAITALL | MSG_DONTWAIT))
                taken += piece
                if not piece or not flags & MSG_WAITALL or flags & MSG_PEEK or len(taken) == size or not is_waiting:
                    return taken
            except BlockingIOError:
                if not is_waiting:
                    raise
            yield NEVER

    def _transmit(self, file: SocketFile, data: bytes, flags: int, to: Expression | None = None) -> Steps:
        is_waiting = not (file.is_nonblocking or flags & MSG_DONTWAIT)
        real, sent = _real(file), 0
        while True:
            try:
                if (to is not None and not isinstance(to, Blank)) or flags & constant("MSG_FASTOPEN"):
                    address = self._where(to or Blank(), file, (self.settings.remote, self.settings.connect_port))
                    if file.flow.stage is Stage.NEW:
                        file.flow.stage, file.flow.remote_port = Stage.CONNECTING, address[1]
                    sent += real.sendto(data[sent:], flags, address)
                else:
                    sent += real.send(data[sent:], flags)
                if sent >= len(data):
                    return sent
            except BlockingIOError:
                if not is_waiting:
                    if sent:
                        return sent
                    raise
            yield NEVER

    def _sendto(self, call: Call) -> Steps:
        file = self.socket_file(call.arguments[0])
        data = bytes(integer(call.arguments[2]))
        return (yield from self._transmit(file, data, integer(call.arguments[3]), call.arguments[4]))

    def _ioctl(self, call: Call) -> int:
        import fcntl

        real = _real(self.socket_file(call.arguments[0]))
        got = struct.unpack("i", fcntl.ioctl(real.fileno(), integer(call.arguments[1]), bytes(4)))[0]
        if len(call.arguments) > 2 and not isinstance(call.arguments[2], Blank):
            wanted = integer(call.arguments[2])
            if wanted != got:
                raise MismatchError(f"{expression_text(call.arguments[1])}: expected {wanted}, got {got}")
        return 0

    def _sendfile(self, call: Call) -> Steps:
        raise UnsupportedError("sendfile() is not asked of the kernel")

    def _recvmsg(self, call: Call) -> Steps:
        file = self.socket_file(call.arguments[0])
        vector = getattr(call.arguments[1], "get", lambda *_: None)("msg_iov") or Array(())
        from estab.drill.steps.calls import _vector_bytes

        return len((yield from self._receive(file, _vector_bytes(vector), integer(call.arguments[2]))))


class KernelCommands(Commands):
    """Commands that can be asked of the kernel in its namespace: settings, queueing disciplines, and counters."""

    def __init__(self, machine: KernelMachine) -> None:
        self.machine = machine
        self.sysctls = _KernelSysctls()  # type: ignore[assignment]
        self._table = {
            "set_sysctls.py": self._set_sysctls, "rm": self._nothing,
            "dd": self._nothing, "true": self._nothing, "sleep": self._sleep, "echo": self._echo,
            "ethtool": self._nothing, "tc": self._tc,
        }
        self._printers = {"nstat": lambda words: _nstat(), "cat": self._cat, "sysctl": self._sysctl}

    def _tc(self, words: list[str]) -> None:
        """Set the queueing discipline of the namespace's device. To delete what is not there is no mistake."""
        if words[:1] != ["qdisc"] or words[2:5] != ["dev", "tun0", "root"]:
            raise UnsupportedError(f"unknown command: tc {' '.join(words)}")
        try:
            done = subprocess.run(["tc", *words], capture_output=True, text=True, check=False)
        except OSError as error:
            raise UnsupportedError(f"tc: {os.strerror(error.errno or errno.ENOENT)}: apt install iproute2") from None
        if done.returncode and words[1] not in ("del", "delete"):
            raise UnsupportedError(f"tc {' '.join(words)}: {done.stderr.strip()}")

    def _cat(self, words: list[str]) -> str:
        return "".join(Path(word).read_text(encoding="ascii") for word in words if word.startswith("/proc/net/"))


class _KernelSysctls:
    """``/proc/sys/net`` of the namespace, in the form that commands want."""

    def __init__(self) -> None:
        self._old: dict[str, str] = {}
        self.unknown: dict[str, None] = {}

    def set(self, name: str, value: str) -> None:
        """Write one."""
        try:
            self._path(name).write_text(value)
        except OSError as error:
            raise UnsupportedError(f"sysctl {name}={value}: {os.strerror(error.errno or errno.EIO)}") from None

    def remember(self, name: str) -> None:
        """Note one for ``restore``."""
        self._old.setdefault(name, self._path(name).read_text())

    def restore(self) -> None:
        """Put back what was noted."""
        for name, value in self._old.items():
            self.set(name, value)

    def text(self, name: str) -> str:
        """Return the line that ``sysctl NAME`` prints."""
        return f"{name} = {self._path(name).read_text().strip()}\n"

    def _path(self, name: str) -> Path:
        path = Path("/proc/sys") / name.removeprefix("/proc/sys/").replace(".", "/")
        if not path.is_relative_to("/proc/sys/net") or ".." in path.parts or not path.exists():
            raise UnsupportedError(f"unknown sysctl {name}")
        return path


def _file(flags: int, made: KernelSocket, flow: Flow) -> SocketFile:
    return SocketFile(2 | flags, made, flow)  # type: ignore[arg-type]


def _real(file: SocketFile) -> socket.socket:
    made = file.socket
    assert isinstance(made, KernelSocket)
    return made.real


def _nstat() -> str:
    """Print the namespace's counters as ``nstat`` does."""
    text = ""
    for path in ("/proc/net/netstat", "/proc/net/snmp"):
        lines = Path(path).read_text(encoding="ascii").splitlines()
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            group, words = names.split(":")[0], names.split()[1:]
            pairs = zip(words, values.split()[1:], strict=True)
            text += "".join(f"{group}{word} {value} 0.0\n" for word, value in pairs if value != "0")
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/snmp6").read_text(encoding="ascii").splitlines():
            name, value = line.split()
            text += f"{name} {value} 0.0\n" if value != "0" else ""
    return text


