"""Signals of programs on a host: each program has handlers of its own, and gets the signals sent to its number.

A handler runs in the program's main thread when that waits next, as Python runs one between two instructions. If the
handler does not raise, the wait continues. Without a handler the system's default holds: the program ends, or nothing
happens.
"""

from __future__ import annotations

import errno
import functools
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from estab.errors import os_error
from estab.sockets.runtime import Wait
from estab.units import SECOND

if TYPE_CHECKING:
    from estab.sockets.process import Process
    from estab.sockets.runtime import Runtime

__all__ = [
    "SIGCONT", "SIGKILL", "SIGSTOP", "current_handler", "ends_by_default", "name_of",
    "os_stand_ins", "refuse_popen", "set_handler", "signal_stand_ins", "signal_thread", "start_process",
    "stops_by_default",
]

# Windows has none of them; programs of a host are sent them all the same.
SIGKILL: Final[int] = getattr(signal, "SIGKILL", 9)
SIGSTOP: Final[int] = getattr(signal, "SIGSTOP", 19)
SIGCONT: Final[int] = getattr(signal, "SIGCONT", 18)
_UNCATCHABLE: Final = {getattr(signal, name, None) for name in ("SIGKILL", "SIGSTOP")}
_IGNORED: Final = {SIGCONT, *(getattr(signal, name, None) for name in ("SIGCHLD", "SIGURG", "SIGWINCH"))}
_STOPS: Final = {getattr(signal, name, None) for name in ("SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU")}
_ALARM: Final = getattr(signal, "SIGALRM", -1)


def _number(value: Any) -> signal.Signals:
    if type(value) is signal.Signals:
        return value
    try:
        return signal.Signals(value)
    except ValueError:
        raise ValueError("signal number out of range") from None


def current_handler(process: Process, number: int) -> Any:
    """Return what a program does about a signal: a function, SIG_DFL or SIG_IGN."""
    if number in process.handlers:
        return process.handlers[number]
    if number == signal.SIGINT:
        return signal.default_int_handler
    return signal.SIG_IGN if number == getattr(signal, "SIGPIPE", -1) else signal.SIG_DFL


def name_of(number: int) -> str:
    """Give a signal's name, also where the system that this runs on has no such signal."""
    own = {SIGKILL: "SIGKILL", SIGSTOP: "SIGSTOP", SIGCONT: "SIGCONT"}
    return own.get(number) or signal.Signals(number).name


def ends_by_default(number: int) -> bool:
    """Tell whether a signal ends a program that has no handler for it."""
    return number not in _IGNORED and number not in _STOPS


def stops_by_default(number: int) -> bool:
    """Tell whether a signal pauses a program that has no handler for it."""
    return number == SIGSTOP or number in _STOPS


def set_handler(process: Process, number: int, handler: Any) -> Any:
    """Set a program's handler of a signal. Returns the handler before it. EINVAL for SIGKILL."""
    if number in _UNCATCHABLE:
        raise os_error(errno.EINVAL, f"invalid argument: {name_of(number)} can't be caught")
    before = current_handler(process, number)
    process.handlers[number] = handler
    return before


def _require_main_thread(process: Process) -> None:
    if process.main_thread is not None and threading.current_thread() is not process.main_thread:
        raise ValueError("signal only works in main thread of the main interpreter")


def _signal(runtime: Runtime, signalnum: Any, handler: Any, /) -> Any:
    process, number = runtime.process(), _number(signalnum)
    _require_main_thread(process)
    if not callable(handler) and handler not in (signal.SIG_IGN, signal.SIG_DFL):
        raise TypeError("signal handler must be signal.SIG_IGN, signal.SIG_DFL, or a callable object")
    return set_handler(process, number, handler)


def _getsignal(runtime: Runtime, signalnum: Any, /) -> Any:
    return current_handler(runtime.process(), _number(signalnum))


def _set_wakeup_fd(runtime: Runtime, fd: int, /, *, warn_on_full_buffer: bool = True) -> int:
    process = runtime.process()
    if process.main_thread is not None and threading.current_thread() is not process.main_thread:
        raise ValueError("set_wakeup_fd only works in main thread of the main interpreter")
    before, process.wakeup_fd = process.wakeup_fd, fd
    return before


def _siginterrupt(runtime: Runtime, signalnum: Any, flag: bool, /) -> None:
    _number(signalnum)  # Python's calls continue after a handler, whatever was set


def _raise_signal(runtime: Runtime, signalnum: Any, /) -> None:
    runtime.send_signal(runtime.process(), _number(signalnum))


def _pause(runtime: Runtime) -> None:
    process = runtime.process()
    before = len(process.received)
    runtime.wait(Wait(lambda: len(process.received) > before, lambda: "pause()"))


def signal_thread(runtime: Runtime, thread_id: int, signalnum: Any, /) -> None:
    """Replace ``signal.pthread_kill``: a signal to a thread is one to its program."""
    if signalnum:
        runtime.send_signal(runtime.process(), _number(signalnum))


def _mask(runtime: Runtime, how: int, mask: Any, /) -> set[Any]:
    return set()


# --- alarms


def _set_timer(runtime: Runtime, seconds: float, interval: float) -> tuple[float, float]:
    process = runtime.process()
    due_ns, every_ns = process.alarm
    process.alarm_turn += 1
    left_s = max(0.0, (due_ns - runtime.now_ns) / SECOND) if due_ns else 0.0
    process.alarm = (0, 0)
    if seconds > 0:
        _arm(runtime, process, round(seconds * SECOND), round(interval * SECOND))
    return left_s, every_ns / SECOND


def _arm(runtime: Runtime, process: Process, delay_ns: int, every_ns: int) -> None:
    turn = process.alarm_turn
    process.alarm = (runtime.now_ns + delay_ns, every_ns)

    def ring() -> None:
        if process.alarm_turn != turn:
            return
        process.alarm = (0, 0)
        if every_ns:
            _arm(runtime, process, every_ns, every_ns)
        runtime.send_signal(process, _ALARM)

    runtime.call_later(delay_ns, ring)


def _alarm(runtime: Runtime, seconds: int, /) -> int:
    return -int(-_set_timer(runtime, seconds, 0)[0] // 1)


def _setitimer(runtime: Runtime, which: int, seconds: float, interval: float = 0.0, /) -> tuple[float, float]:
    if which != signal.ITIMER_REAL:
        raise NotImplementedError(f"signal.setitimer on host {runtime.name}: only ITIMER_REAL, for a program of a host "
                                  "takes no time of a processor")
    return _set_timer(runtime, seconds, interval)


def signal_stand_ins() -> dict[str, Callable[..., Any]]:
    """Return the replacements of functions of ``signal``."""
    return {
        "signal": _signal, "getsignal": _getsignal, "set_wakeup_fd": _set_wakeup_fd, "siginterrupt": _siginterrupt,
        "raise_signal": _raise_signal, "pause": _pause, "pthread_kill": signal_thread, "pthread_sigmask": _mask,
        "alarm": _alarm, "setitimer": _setitimer,
    }


# --- os


def _kill(runtime: Runtime, pid: int, sig: int, /) -> None:
    process = runtime.find_process(pid)
    if process is None:
        raise os_error(errno.ESRCH, f"no such process: {pid} on host {runtime.name}")
    if sig:
        runtime.send_signal(process, _number(sig))


def _exit(runtime: Runtime, status: int) -> None:
    runtime.exit_process(status)


def _abort(runtime: Runtime) -> None:
    runtime.send_signal(runtime.process(), signal.SIGABRT)


def _refuse(name: str) -> Callable[..., Any]:
    def refuse(runtime: Runtime, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            f"{name} can't be used on host {runtime.name}: a process of the operating system has its network and "
            "clock, not the host's. Run the other program by host.run, or use a thread")

    return refuse


class RefusedProcessError(NotImplementedError, OSError):
    """A process of the system can't be made. An ``OSError``, so that libraries that only look for a tool go on."""


around_process: Callable[[], AbstractContextManager[None]] = nullcontext
"""Is entered around the start of a process by code that is no program. It inherits how its parent is scheduled."""


def start_process(popen: Callable[..., None]) -> Callable[..., None]:
    """Return what starts a process of the system for code that is no program: ``subprocess.Popen.__init__``."""
    @functools.wraps(popen)
    def start(*args: Any, **kwargs: Any) -> None:
        with around_process():
            popen(*args, **kwargs)

    return start


def refuse_popen(runtime: Runtime, popen: Any, args: Any, *more: Any, **options: Any) -> None:
    """Replace ``subprocess.Popen.__init__``."""
    name = args if isinstance(args, (str, bytes)) else next(iter(args), "")
    raise RefusedProcessError(f"subprocess can't be used on host {runtime.name}: {name!r} would have the operating "
                              "system's network and clock, not the host's. Run the other program by host.run")


def os_stand_ins() -> dict[str, Callable[..., Any]]:
    """Return the replacements of functions of ``os`` that end programs, signal them, or make processes."""
    refused = ("fork", "forkpty", "posix_spawn", "posix_spawnp", "system", "popen", "execv", "execve")
    return {"kill": _kill, "_exit": _exit, "abort": _abort, **{name: _refuse(f"os.{name}") for name in refused}}
