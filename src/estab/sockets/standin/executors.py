"""Thread pools that were made before programs ran: each program that uses one has its threads in a pool of its own.

A ``ThreadPoolExecutor`` of a module's (``_pool = ThreadPoolExecutor(4)`` at its top) is one for the process that
imported the module. Its queue waits in real time, and its threads would belong to the program that used it first,
whatever host that is on. Two programs are two processes, and would have two.
"""

from __future__ import annotations

import weakref
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from estab.sockets.runtime import Runtime

__all__ = ["shutdown_own", "submit_to_own", "was_made_outside"]

_os_queue: Final = SimpleQueue


def was_made_outside(pool: ThreadPoolExecutor, *args: Any, **kwargs: Any) -> bool:
    """Tell whether a pool that can still be used was made outside of programs: a program's has another queue."""
    return type(pool._work_queue) is _os_queue and not pool._shutdown


def submit_to_own(runtime: Runtime, pool: ThreadPoolExecutor, function: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Submit to the pool that the program has in the place of a process's."""
    return _own_of(runtime, pool).submit(function, *args, **kwargs)


def shutdown_own(runtime: Runtime, pool: ThreadPoolExecutor, wait: bool = True, *, cancel_futures: bool = False) -> Any:
    """Shut down the program's own pool; those of other programs go on."""
    _own_of(runtime, pool).shutdown(wait, cancel_futures=cancel_futures)


def _own_of(runtime: Runtime, pool: ThreadPoolExecutor) -> ThreadPoolExecutor:
    process = runtime.process()
    if process.pools is None:
        process.pools = weakref.WeakKeyDictionary()
    pools: weakref.WeakKeyDictionary[ThreadPoolExecutor, ThreadPoolExecutor] = process.pools
    own = pools.get(pool)
    if own is None:
        own = pools[pool] = ThreadPoolExecutor(
            pool._max_workers, pool._thread_name_prefix or "",
            getattr(pool, "_initializer", None), getattr(pool, "_initargs", ()))
    return own
