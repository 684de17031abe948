"""Where the seeds of a sweep run: processes of this machine, or a Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

__all__ = ["ClusterError", "Workers", "cluster", "local"]


class ClusterError(RuntimeError):
    """There is no such cluster, or it can't be used. The text says why."""


@dataclass(frozen=True, slots=True)
class Workers:
    """How to make an executor, how many workers it has, and what they are called."""

    executor: Callable[[], Executor]
    count: int
    name: str


def local(jobs: int | None = None) -> Workers:
    """Use processes of this machine, one for each processor unless ``jobs`` says otherwise.

    They are spawned, not forked: a scenario starts in a fresh interpreter wherever it runs.
    """
    count = jobs or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))
    context = multiprocessing.get_context("spawn")
    return Workers(lambda: ProcessPoolExecutor(count, mp_context=context), count,
                   f"{count} process{'es' if count > 1 else ''} here")


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
