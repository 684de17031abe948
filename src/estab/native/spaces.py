"""``Space``: the namespaces of one spawned host, and the keeper in them that does what only a process inside can.

``Spaces`` starts the process that forks keepers (``keeper.py``), one for each network. A program of the lab may be what
asks for it; ``of_no_program`` is for what would be its host's otherwise, sockets and processes.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from estab.errors import os_error
from estab.native.keeper import MESSAGE_BYTES_MAX
from estab.sockets.runtime import activated

__all__ = ["Space", "Spaces", "cause_of", "of_no_program", "why_not"]

_CODE: Final = ("import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
                "from estab.native.keeper import serve; serve(int(sys.argv[2]))")
_PROBE: Final = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def unshare(flags):
    if libc.unshare(flags):
        sys.exit(ctypes.get_errno())
user, others, net = 0x10000000, 0x00020000 | 0x04000000 | 0x08000000, 0x40000000
uid, gid = os.getuid(), os.getgid()
if sys.argv[1] == "1":
    unshare(others | net)
else:
    unshare(user | others | net)
    try:
        for name, text in ("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1"):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    except OSError as error:
        sys.exit(error.errno)
# AppArmor lets the namespace be made, and takes all that it is good for.
unshare(net)
"""
_KINDS: Final = ("user", "net", "mnt", "uts", "ipc", "pid")
_ANSWER_WITHIN_S: Final = 20.0
_END_WITHIN_S: Final = 5.0
_CREDENTIALS: Final = struct.Struct("iII")

# Inside of a program these names mean the host's, so what is the system's is taken here.
_Socket: Final = socket.socket
_pair: Final = socket.socketpair
_Popen: Final = subprocess.Popen
_close: Final = os.close
_kill: Final = os.kill
_poll: Final = select.poll
_monotonic: Final = time.monotonic
_send_fds: Final = socket.send_fds


@contextmanager
def of_no_program() -> Iterator[None]:
    """Let a function be called as outside of programs, whatever calls it."""
    with activated(None):
        yield


class Spaces:
    """The process that forks a keeper for each spawned host of a network."""

    @of_no_program()
    def __init__(self) -> None:
        ours, theirs = _pair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = _Popen(
                [sys.executable, "-I", "-c", _CODE, json.dumps(sys.path), str(theirs.fileno())],
                stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], start_new_session=True,
            )
        self._control = ours
        self.has_pid_namespaces = True

    @of_no_program()
    def make(self, name: str, files: dict[str, str], netns: str = "") -> Space:
        """Make the namespaces of a host, or be beside those that are at the path ``netns``.

        ``OSError`` says what the system refuses, and what helps.
        """
        try:
            return self._make(name, files, netns)
        except _ProcMountError:
            self.has_pid_namespaces = False  # a container that masks parts of /proc: processes see the outer pids
            return self._make(name, files, netns)

    def _make(self, name: str, files: dict[str, str], netns: str) -> Space:
        ours, theirs = _pair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MESSAGE_BYTES_MAX)
        kills = self.has_pid_namespaces and not netns
        wanted = {"name": name, "has_user_namespace": os.geteuid() != 0, "files": files, "has_pid_namespace": kills,
                  "netns": netns}
        with theirs:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MESSAGE_BYTES_MAX)
            _send_fds(self._control, [json.dumps(wanted).encode()], [theirs.fileno()])
        space = Space(name, ours, kills=kills, netns=netns)
        try:
            space.begin()
        except BaseException:
            space.close()
            raise
        return space

    def close(self) -> None:
        """End the process, and with it wait until all keepers are gone."""
        self._control.close()
        try:
            self._process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _ProcMountError(OSError):
    """A pid namespace is of no use: its /proc can't be mounted."""


@dataclass(slots=True)
class Message:
    """What a keeper said. ``pid`` is the sender's, as this process sees it."""

    words: dict[str, Any]
    fds: list[int]
    pid: int


class Space:
    """One host's namespaces. ``on_event`` is called with each message that answers nothing."""

    def __init__(self, name: str, control: socket.socket, *, kills: bool, netns: str = "") -> None:
        self.name = name
        self._netns = netns
        self._kills = kills
        """The keeper's end is the end of all processes; else it ends them itself, when its socket is closed."""
        self._control = control
        self._requests = 0
        self.pid = 0
        """The keeper's pid: ``/proc/<pid>/ns`` has the host's namespaces."""
        self.on_event: Callable[[Message], None] = _ignore
        self.is_closed = False

    def begin(self) -> None:
        """Wait until the keeper is ready."""
        message = self._receive(f"make the namespaces of host {self.name}")
        if "failed" in message.words:
            if message.words["failed"] == "mount /proc":
                raise _ProcMountError(message.words["errno"], message.words["text"])
            number = message.words["errno"] or errno.EPERM
            if self._netns:
                is_refused = os.geteuid() != 0 and number != errno.ENOENT
                raise os_error(number, f"{os.strerror(number)}: host {self.name} can't be attached to {self._netns}"
                               + ("; only root enters a namespace that is there" if is_refused else ""))
            raise os_error(number, f"{os.strerror(number)}: host {self.name} can't be spawned: "
                                   f"{why_not() or message.words['text']}")
        self.pid = message.pid

    def fileno(self) -> int:
        """Give the socket's descriptor: readable if there are events."""
        return self._control.fileno()

    def ask(self, do: str, fds: Sequence[int] = (), **words: Any) -> Message:
        """Have the keeper do something, and wait for its answer. ``OSError`` says what failed."""
        if self.is_closed:
            raise os_error(errno.ENETDOWN, f"{os.strerror(errno.ENETDOWN)}: host {self.name} has no power")
        self._requests += 1
        request = {"do": do, "request": self._requests, **words}
        try:
            _send_fds(self._control, [json.dumps(request).encode()], list(fds))
        except OSError as error:
            raise os_error(error.errno or errno.EPIPE, f"{error.strerror}: the keeper of host {self.name} is gone"
                           ) from None
        while True:
            message = self._receive(f"{do} on host {self.name}")
            if message.words.get("answer") == self._requests:
                break
            self.on_event(message)
        if "errno" in message.words:
            number = message.words["errno"]
            raise os_error(number, f"{message.words['text']} (host {self.name}, {do})")
        return message

    def take_events(self) -> None:
        """Pass on what the keeper said of its own accord."""
        waiting = _poll()
        waiting.register(self._control, select.POLLIN)
        while not self.is_closed and waiting.poll(0):
            self.on_event(self._receive("take its news"))

    def _receive(self, what: str) -> Message:
        waiting = _poll()
        waiting.register(self._control, select.POLLIN)
        until_s = _monotonic() + _ANSWER_WITHIN_S
        while not waiting.poll(max(0.0, until_s - _monotonic()) * 1000):
            if _monotonic() >= until_s:
                raise TimeoutError(f"{what}: the keeper of host {self.name} did not answer for {_ANSWER_WITHIN_S:g} s")
        data, ancillary, _, _ = self._control.recvmsg(MESSAGE_BYTES_MAX, 4096)
        fds: list[int] = []
        pid = 0
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.extend(number for (number,) in struct.iter_unpack("i", content[:len(content) // 4 * 4]))
            elif level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                pid = _CREDENTIALS.unpack_from(content)[0]
        if not data:
            raise os_error(errno.EPIPE, f"{what}: the keeper of host {self.name} is gone")
        return Message(json.loads(data), fds, pid)

    def close(self) -> None:
        """End the keeper and all processes of the host at once; its devices go with them. Idempotent."""
        if not self.is_closed:
            self.is_closed = True
            if self.pid and self._kills:
                with suppress(ProcessLookupError, PermissionError):
                    _kill(self.pid, signal.SIGKILL)
            self._control.close()


@of_no_program()
def why_not() -> str:
    """Say why this system lets this user make no network namespaces, and which command helps; empty if it does."""
    if sys.platform != "linux":
        return "network namespaces are Linux's, and this is not Linux"
    is_root = os.geteuid() == 0
    number = _Popen([sys.executable, "-I", "-c", _PROBE, str(int(is_root))]).wait()
    return "" if number == 0 else cause_of(number, is_root=is_root)


def cause_of(number: int, *, is_root: bool) -> str:
    """Say what refuses namespaces with this error, and what helps."""
    for kind in _KINDS[is_root:]:
        if _first_word(f"/proc/sys/user/max_{kind}_namespaces") == "0":
            return (f"{kind} namespaces are switched off: sudo sysctl user.max_{kind}_namespaces=15000"
                    + (", or run as root" if kind == "user" else ""))
    if number == errno.ENOSPC:
        kind = "net" if is_root else "user"
        return f"the limit of namespaces is reached: sudo sysctl user.max_{kind}_namespaces=15000"
    if is_root:
        return ("root may not make network namespaces here: this is a container without CAP_SYS_ADMIN; start it with "
                "--cap-add SYS_ADMIN --security-opt seccomp=unconfined")
    if _first_word("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return ("only root may make user namespaces: sudo sysctl kernel.unprivileged_userns_clone=1, or run as root")
    if _first_word("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return ("AppArmor keeps user namespaces from programs without a profile: "
                "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, or run as root")
    return ("user namespaces are refused, as Docker's seccomp profile does: start the container with "
            "--security-opt seccomp=unconfined, or run as root with --cap-add SYS_ADMIN")


def _first_word(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def _ignore(message: Message) -> None: ...
