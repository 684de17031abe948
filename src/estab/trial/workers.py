"""Where the seeds of a sweep run: processes of this machine, or a Dask cluster."""

from __future__ import annotations

import multiprocessing
import multiprocessing.process
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar

from estab.cpython import processes_of

__all__ = ["ClusterError", "Processes", "Workers", "cluster", "end_pool", "end_with_parent", "local"]

P = ParamSpec("P")
T = TypeVar("T")
_ENDS_S: Final = 10.0


class ClusterError(RuntimeError):
    """There is no such cluster, or it can't be used. The text says why."""


class Processes(ProcessPoolExecutor):
    """Processes of this machine. Ctrl-C in a terminal reaches them, too: they leave it to the process that asked.

    They are spawned, not forked: a scenario starts in a fresh interpreter wherever it runs.
    """

    def __init__(self, count: int) -> None:
        super().__init__(count, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Submit a call. Processes that this begins do not hear of Ctrl-C while they begin."""
        if not hasattr(signal, "pthread_sigmask"):
            return super().submit(fn, *args, **kwargs)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_pool(pool: ProcessPoolExecutor) -> None:
    """End the processes of a pool, with whatever they do."""
    processes, manager = processes_of(pool)
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    if manager is not None:  # it closes a pipe that Python writes to when it ends: not both at the same time
        manager.join(_ENDS_S)


def _begin_worker() -> None:
    """Do nothing on Ctrl-C, and end on SIGTERM and with the process that asked.

    Ctrl-C has a handler and is not ignored, because what a worker begins would ignore it, too.
    """
    signal.signal(signal.SIGINT, lambda number, frame: None)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
    end_with_parent()


def end_with_parent() -> None:
    """Let this process, a worker of another one, end when that one does, however it ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: multiprocessing.process.BaseProcess) -> None:
    """Wait for the end of the process that asked, and end: if it was killed, nothing else would end a worker."""
    parent.join()
    os._exit(1)


@dataclass(frozen=True, slots=True)
class Workers:
    """How to make an executor, how many workers it has, and what they are called."""

    executor: Callable[[], Executor]
    count: int
    name: str


def local(jobs: int | None = None) -> Workers:
    """Use processes of this machine, one for each processor unless ``jobs`` says otherwise."""
    count = jobs or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))
    return Workers(lambda: Processes(count), count, f"{count} process{'es' if count > 1 else ''} here")


@contextmanager
def cluster(address: str) -> Iterator[Workers]:
    """Use a Dask cluster: ``dask://host:8786``. ``ClusterError`` if it can't be reached, or Dask is not installed."""
    kind, sep, place = address.partition("://")
    if kind != "dask" or not sep or not place:
        raise ClusterError(f"--on {address!r}: only dask://HOST:PORT is known; any other Executor from Python")
    try:
        from distributed import Client  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError:
        raise ClusterError("--on dask://…: Dask is not installed; pip install 'estab[dask]'") from None
    try:
        make: Any = Client
        client = make(f"tcp://{place}", timeout=10)
    except (OSError, TimeoutError) as error:
        raise ClusterError(f"--on {address}: no scheduler answers there ({error})") from None
    try:
        count = len(client.scheduler_info()["workers"])
        if not count:
            raise ClusterError(f"--on {address}: the scheduler has no workers")
        yield Workers(lambda: client.get_executor(pure=False, retries=0), count,
                      f"{count} worker{'s' if count > 1 else ''} of {address}")
    finally:
        client.close()
