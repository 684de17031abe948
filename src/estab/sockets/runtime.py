"""What the sockets of a host need beside its engine: the time, waiting, sending, and names.

- A ``Runtime`` stands between programs and one host. The lab has one in virtual time (``lab.runtime``), a stack one in
  real time (``realtime.real``).
- A thread holds ``lock`` around every use of the host; ``wait`` releases it during the sleep.
- After each input to the host the thread calls ``flush``: it drains frames and events, and wakes programs that wait.
- If a socket is collected without ``close``, that may happen in the middle of the host's work. Such a socket is
  ``abandon``-ed and closed at the next ``flush``.

Compiled with the core. Runtimes that are referred to weakly derive from it in interpreted code.
"""

from __future__ import annotations

import errno
import operator
import weakref
from abc import ABCMeta, abstractmethod
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, Final, Protocol

from mypy_extensions import mypyc_attr

from estab.abi import POLLNVAL
from estab.cpython import enter_loop, leave_loop
from estab.errors import os_error
from estab.observers import Observation, Observers
from estab.sockets.history import CALLS_MAX, Historian
from estab.sockets.process import STANDARD_STREAMS, Process
from estab.sockets.waiting import Unlocked, Wait
from estab.units import NEVER, SECOND

if TYPE_CHECKING:
    from estab.events import Observer
    from estab.host.engine import Engine
    from estab.host.sockets.files import Descriptor
    from estab.host.sysctls import Sysctls
    from estab.sockets.quick import Quick

__all__ = [
    "Numbered", "Runtime", "Task", "Wait", "Watcher", "Watches", "act", "activate", "activated", "current", "divide",
    "ensure_may_sleep",
]

_SIGPIPE: Final = 13
_PID: Final = 1
"""The number of the process that stands for code that is no program."""
_UNLOCKED: Final = Unlocked()
divide: Final[Callable[[int, int], float]] = operator.truediv
"""Rounds rightly. Compiled, ``/`` divides floats, and numbers over 2⁵³ are rounded before."""


class Task(Protocol):
    """A thread of a program, for the threads that wait for its end."""

    ident: int
    is_done: bool
    channel: int
    """The channel that is notified when it is done."""


class Numbered(Protocol):
    """What a number from ``fileno()`` stands for, as far as calls on the number need it."""

    @property
    def descriptor(self) -> Descriptor:
        """The host's side. EBADF once it is closed."""

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Read up to ``bufsize`` bytes."""

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Write; returns how many bytes were taken."""

    def dup(self) -> Numbered:
        """Make another that shares the descriptor."""

    def fileno(self) -> int:
        """Return the number; -1 once closed."""

    def gettimeout(self) -> float | None:
        """Return the timeout in seconds: ``None`` blocks for ever, 0 never."""

    def settimeout(self, value: float | None) -> None:
        """Set the timeout."""

    def detach_as(self, number: int, minimum: int = -1) -> int:
        """Detach, under that number; if it is -1 under the lowest free one from ``minimum`` on. Returns the number."""

    def detach(self) -> int:
        """Release the descriptor without closing it. Returns its number."""

    def close(self) -> None:
        """Close it."""


class Watcher(Protocol):
    """Is told of a descriptor's news."""

    def on_ready(self, fd: int, bits: int) -> None:
        """Take note that POLL ``bits`` are set on the host's descriptor ``fd``; POLLNVAL: it was closed."""


class Watches:
    """The watchers of a host's descriptors."""

    __slots__ = ("by_fd",)

    def __init__(self) -> None:
        self.by_fd: dict[int, tuple[Watcher, ...]] = {}

    def add(self, fd: int, watcher: Watcher) -> None:
        """Tell ``watcher`` of the descriptor's news from now on."""
        watchers = self.by_fd.get(fd)
        self.by_fd[fd] = (watcher,) if watchers is None else (*watchers, watcher)

    def remove(self, fd: int, watcher: Watcher) -> None:
        """Stop telling ``watcher``. It may have been removed already."""
        watchers = self.by_fd.get(fd)
        if watchers is None:
            return
        left = [other for other in watchers if other is not watcher]
        if left:
            self.by_fd[fd] = tuple(left)
        else:
            del self.by_fd[fd]

    def tell(self, fd: int, bits: int) -> None:
        """Pass on news of a descriptor."""
        for watcher in self.by_fd.get(fd, ()):
            watcher.on_ready(fd, bits)

    def close(self, fd: int) -> None:
        """Tell all watchers that the descriptor is closed, and forget them."""
        watchers = self.by_fd.pop(fd, None)
        if watchers is not None:
            for watcher in watchers:
                watcher.on_ready(fd, POLLNVAL)


class Numbers:
    """What stands for each number, as long as the program refers to it. What ends takes itself out."""

    __slots__ = ("_by_number",)

    def __init__(self) -> None:
        self._by_number: dict[int, weakref.ref[Numbered]] = {}

    def __contains__(self, number: int) -> bool:
        return self.get(number) is not None

    def __setitem__(self, number: int, numbered: Numbered) -> None:
        self._by_number[number] = weakref.ref(numbered)

    def __delitem__(self, number: int) -> None:
        del self._by_number[number]

    def get(self, number: int, default: Any = None) -> Any:
        """Return what stands for a number."""
        found = self._by_number.get(number)
        numbered = None if found is None else found()
        return default if numbered is None else numbered

    def discard(self, number: int) -> None:
        """Take a number out, if it is there."""
        self._by_number.pop(number, None)

    def clear(self) -> None:
        """Take all out."""
        self._by_number.clear()


def _nobody() -> object:
    return None


@mypyc_attr(allow_interpreted_subclasses=True)
class Runtime(metaclass=ABCMeta):
    """One host as its programs see it.

    With slots: CPython keeps more than thirty attributes in a dictionary of each object, of ten times the size.
    """

    __slots__ = (
        "_channels", "_observers", "_process", "_told_history", "abandoned", "by_number", "call", "calls", "detached",
        "engine", "historian", "hooks", "is_closing", "is_over", "is_virtual", "lock", "nofile", "numbered", "owner",
        "owners", "pid", "quick", "shared", "watches",
    )

    def __init__(
        self, engine: Engine, lock: AbstractContextManager[object] | None = None, *, is_virtual: bool = False,
    ) -> None:
        self.engine: Engine = engine
        self.is_virtual: bool = is_virtual
        """Its clocks and its entropy are not the operating system's: ``time``, ``random`` and ``os.urandom`` mean the
        host's.
        """
        self.lock: AbstractContextManager[object] = _UNLOCKED if lock is None else lock
        self.watches: Watches = Watches()
        self.by_number: Numbers = Numbers()
        """What each number from ``fileno()`` stands for."""
        self.detached: dict[int, Numbered] = {}
        """What ``detach`` released, by the same numbers."""
        self.is_closing: bool = False
        """The network is closing: sockets that no program closed are closed without a warning."""
        self.is_over: bool = False
        """Nothing steps the host any more: its stack is closed."""
        self.owner: Callable[[], object] = _nobody
        """Returns the object that must live as long as the runtime is used, if there is one: a ``Stack``."""
        self.calls: int = 0
        """How many calls were reported to observers."""
        self.call: int = 0
        """Number of the reported call that is under way; 0: none."""
        self.numbered: int = 0
        """How many objects of its programs hash by a number; see ``ordinals``."""
        self.abandoned: deque[Descriptor] = deque()
        self.quick: Quick | None = None
        """Does most calls at once; ``None``: each goes all the way."""
        self.nofile: int = NEVER
        """RLIMIT_NOFILE of the host's programs, as far as they set none themselves. In virtual time only."""
        self.owners: dict[Descriptor, Process] = {}
        """Which program has opened what. Its end closes that."""
        self.shared: dict[Descriptor, list[Process | None]] = {}
        """Of each descriptor that was passed: the programs that hold it, and ``None`` for each message that does."""
        self.hooks: list[Callable[[], None]] = []
        """Called after each input to the host, with the lock held."""
        self.historian: Historian | None = None
        """Keeps what calls changed; see ``keep_history``."""
        self._observers: Observers | None = None
        """Made for the first one."""
        self._told_history: Observation | None = None
        self.pid: int = 0
        """The number of the program that was started last."""
        self._channels: int = 0
        self._process: Process | None = None
        """That of code that is no program; made when it is first asked for."""

    @property
    def name(self) -> str:
        """The host's name."""
        return self.engine.name

    @property
    def sysctl(self) -> Sysctls:
        """Linux's sysctls of this stack, by Linux's names and in its units: a dictionary to read and to write."""
        return self.engine.sysctl

    def process(self) -> Process:
        """Return what the operating system keeps of the program that runs here."""
        process = self._process
        if process is None:
            process = self._process = Process(_PID)
        return process

    def cpus(self) -> set[int]:
        """Return the CPUs that a program of the host may run on; none: those that the thread may run on."""
        return set()

    def scheduling(self) -> tuple[int, int] | None:
        """Return the policy and the priority of a program of the host; ``None``: those of the thread."""
        return None

    def find_process(self, pid: int) -> Process | None:
        """Find a program of the host by its number."""
        return Runtime.process(self) if pid == _PID else None

    def send_signal(self, process: Process, number: int) -> None:
        """Send a signal to a program of the host."""
        raise NotImplementedError(f"signals of host {self.name} are the operating system's")

    def tell_broken_pipe(self) -> None:
        """Send SIGPIPE to the program that runs here, if it has said what that is to do. By default it is ignored."""
        process = self.process()
        if self.is_virtual and _SIGPIPE in process.handlers:
            self.send_signal(process, _SIGPIPE)

    def excuse_ending(self) -> None:
        """Let a thread that is being ended wait again, to clean up."""
        return

    def note_thread_failure(self, error: BaseException) -> None:
        """Note that a thread which a program started was ended by an error that nothing caught."""
        return

    def exit_process(self, status: int) -> None:
        """End the program that runs here at once, without any cleanup, as ``os._exit`` does."""
        raise NotImplementedError(f"processes of host {self.name} are the operating system's")

    def call_later(self, delay_ns: int, function: Callable[[], None]) -> None:
        """Call a function after a time, outside of programs."""
        raise NotImplementedError(f"host {self.name} has no agenda: in real time timers are the operating system's")

    @property
    @abstractmethod
    def now_ns(self) -> int:
        """The host's monotonic clock, in nanoseconds."""

    @property
    def now(self) -> float:
        """The host's monotonic clock, in seconds."""
        return divide(self.now_ns, SECOND)

    @property
    @abstractmethod
    def wall_ns(self) -> int:
        """The host's calendar clock: nanoseconds since 1970."""

    @property
    def boot_ns(self) -> int:
        """The host's clock since it was started, in nanoseconds: the monotonic one, and for how long it slept."""
        return self.now_ns

    @abstractmethod
    def flush(self) -> None:
        """Drain the host after an input: send its frames, pass on its events, note its next deadline."""

    @abstractmethod
    def wait(self, wait: Wait) -> bool:
        """Sleep until ``wait.is_ready()`` or its deadline. ``False``: the deadline came first."""

    @abstractmethod
    def sleep(self, duration_ns: int) -> None:
        """Sleep for a time. Other programs run meanwhile, even if it is 0."""

    @abstractmethod
    def can_wait(self) -> bool:
        """Tell whether the code that runs here is a thread of one of the host's programs, so that it may wait."""

    @abstractmethod
    def start_thread(self, run: Callable[[], None], launch: Callable[[Callable[[], None]], Any], name: str,
                     is_daemon: bool, cancel: Callable[[], None]) -> Task:
        """Start another thread of the program that runs here.

        ``launch`` starts a function in a thread of the operating system and returns its ident; ``run`` is the
        program's function for that thread. ``cancel`` is called instead if the network closes first.
        """

    def new_channel(self) -> int:
        """Return a number for ``Wait.fd`` that stands for no descriptor: ``notify`` wakes the waits that have it."""
        self._channels += 1
        return -1 - self._channels

    @abstractmethod
    def notify(self, channel: int) -> None:
        """Check the waits with that ``fd`` again."""

    @abstractmethod
    def poke(self) -> None:
        """Check all waits again: something changed that the host did not cause."""

    @abstractmethod
    def spin(self, weight: int) -> None:
        """Note that a program looked without waiting and found nothing new. It may do so in a loop."""

    @abstractmethod
    def resolve(self, name: str, family: int) -> list[bytes]:
        """Return a name's addresses of that family (``AF_UNSPEC``: of any, IPv4 first). Empty if there are none."""

    @property
    def answers_at_once(self) -> bool:
        """Whether ``resolve`` and ``reverse`` take no time, so that an event loop may call them."""
        return False

    def why_unknown(self, name: str) -> str:
        """Say why ``resolve`` found nothing."""
        return f"{name!r} is no name that host {self.name} can look up"

    @abstractmethod
    def reverse(self, address: bytes) -> list[str]:
        """Return an address's names. Empty if there are none."""

    @abstractmethod
    def entropy(self, size: int) -> bytes:
        """Return ``size`` unpredictable bytes; in the lab, the same ones in each run."""

    @abstractmethod
    def new_event_loop(self) -> AbstractEventLoop:
        """Make an asyncio event loop that waits on this runtime."""

    def observe(self, observer: Observer) -> Observation:
        """Tell ``observer`` all of the host's facts from now on, beside the observers that are told already.

        Returns what ends that: call it, or use it in a ``with`` statement.
        """
        with self.lock:
            observers = self._observers
            if observers is None:
                observers = self._observers = Observers(self.lock)
        return observers.add(observer, self._tell_all_facts)

    def down_error(self, what: str) -> OSError:
        """Make the error of a call on a host that nothing steps any more."""
        return os_error(errno.ENETDOWN, f"network is down: {what}")

    def keep_history(self, calls_max: int = CALLS_MAX) -> None:
        """Keep what each socket's last ``calls_max`` calls changed, for ``Socket.history``. 0: keep no more."""
        if self._told_history is not None:
            self._told_history()
        self.historian = self._told_history = None
        if calls_max > 0:
            self.historian = Historian(self, calls_max)
            self._told_history = self.observe(self.historian)

    def _tell_all_facts(self, observer: Observer | None) -> None:
        self.engine.observer = observer

    def run_hooks(self) -> None:
        """Call the hooks. The code that drains the host calls this."""
        for hook in tuple(self.hooks):
            hook()

    def next_number(self) -> int:
        """Return the number by which the next object of its programs hashes; see ``ordinals``."""
        self.numbered += 1
        return self.numbered

    def abandon(self, descriptor: Descriptor) -> None:
        """Close a descriptor at the next ``flush``. Safe at any moment."""
        self.abandoned.append(descriptor)

    def close_abandoned(self) -> None:
        """Close what was abandoned. ``flush`` begins with this."""
        while self.abandoned:
            descriptor = self.abandoned.popleft()
            self.close_descriptor(descriptor)

    def own(self, descriptor: Descriptor) -> Process | None:
        """Note that the program that runs here opened a descriptor. In real time the operating system notes it."""
        if not self.is_virtual:
            return None
        process = self.owners[descriptor] = self.process()
        process.open_files += 1
        return process

    def nofile_of(self, process: Process) -> tuple[int, int]:
        """Give how many descriptors a program may have, soft and hard limit: RLIMIT_NOFILE."""
        most: int = self.engine.files.limit
        return process.nofile or (min(self.nofile, most), most)

    def ensure_may_open(self, count: int = 1) -> None:
        """Raise EMFILE if the program that runs here has as many descriptors as it may. In virtual time only."""
        if not self.is_virtual:
            return
        process = self.process()
        most = process.files_max(self.nofile, self.engine.files.limit)
        if process.open_files + count > most:
            used, limit = process.open_files + STANDARD_STREAMS, most + STANDARD_STREAMS
            who = f"{process.name} on {self.name}" if process.name else f"host {self.name}"
            raise os_error(errno.EMFILE, f"too many open files: {who} has {used}, and its limit is {limit} (nofile=)")

    def disown(self, descriptor: Descriptor) -> None:
        """Let a descriptor stay open after the end of the program that opened it, as one passed to another process."""
        self.owners.pop(descriptor, None)

    def close_descriptor(self, descriptor: Descriptor) -> None:
        """Close a descriptor, whichever object has it. The caller holds the lock, and calls ``flush`` afterwards."""
        self.owners.pop(descriptor, None)
        self.shared.pop(descriptor, None)
        if descriptor.fd >= 0:
            self.watches.close(descriptor.fd)
            descriptor.close(self.now_ns)

    def share(self, descriptor: Descriptor, opener: Process | None) -> None:
        """Note that a message holds a descriptor, beside the program that opened it."""
        holders = self.shared.get(descriptor)
        if holders is None:
            self.owners.pop(descriptor, None)
            holders = self.shared[descriptor] = [opener]
        holders.append(None)

    def is_last(self, descriptor: Descriptor, holder: Process | None) -> bool:
        """Note that a holder lets a descriptor go. Whether nobody holds it now, so that it is to be closed."""
        holders = self.shared.get(descriptor)
        if holders is None:
            return True
        if holder in holders:
            holders.remove(holder)
        return not holders

    def close_all_of(self, process: Process) -> None:
        """Close what a program has open, as a system does at the program's end, whatever still refers to them."""
        process.has_ended = True
        with self.lock:
            owned = [found for found, owner in self.owners.items() if owner is process]
            for found, holders in self.shared.items():
                if process in holders:
                    holders[:] = [holder for holder in holders if holder is not process]
                    if not holders:
                        owned.append(found)
            numbers = [found.fd for found in owned]
            for descriptor in owned:
                self.close_descriptor(descriptor)
            self.flush()
            for number in numbers:
                self.notify(number)  # a thread of another program that waits gets EBADF


_current: ContextVar[Runtime | None] = ContextVar("estab_runtime", default=None)

current: Final[Callable[[], Runtime | None]] = _current.get
"""Return the runtime on which the code that runs here is a program, ``None`` outside. Per thread and per context."""


_acting: ContextVar[bool] = ContextVar("estab_acting", default=False)


def act(action: Callable[..., object], *args: object) -> None:
    """Call a user's action, which is no program, runs in no event loop and must not wait."""
    _acting.set(True)
    left = leave_loop()  # of the program that waits in the thread that carries out the agenda
    try:
        action(*args)
    finally:
        if left is not None:
            enter_loop(left)


def ensure_may_sleep() -> None:
    """Raise in an action: to sleep there would stop all programs, in real time."""
    if _acting.get():
        raise RuntimeError("an action can't wait: no program goes on and no virtual time passes until it returns. "
                           "Plan a later action, or start a program by host.run")


def activate(runtime: Runtime | None) -> None:
    """Make all code in this context a program of ``runtime``: that of a thread which has a context of its own."""
    _current.set(runtime)


class _Activation:
    """Code in this thread and context is a program of a runtime, from its entry to its exit."""

    __slots__ = ("_runtime", "_token")

    def __init__(self, runtime: Runtime | None) -> None:
        self._runtime: Runtime | None = runtime
        self._token: Token[Runtime | None] | None = None

    def __enter__(self) -> None:
        self._token = _current.set(self._runtime)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        token, self._token = self._token, None
        if token is not None:
            _current.reset(token)


def activated(runtime: Runtime | None) -> AbstractContextManager[None]:
    """Make code in this thread and context a program of ``runtime``."""
    return _Activation(runtime)
