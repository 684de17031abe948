"""A run is kept on one CPU while it is driven, and nobody notices."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator

import pytest

from estab import cpython
from estab.lab.network import Network
from estab.lab.programs import one_cpu
from estab.lab.programs.one_cpu import OneCpu
from tests.kit.two_hosts import two


def affinity(native_id: int) -> set[int]:
    """Return what the operating system says, in programs too."""
    assert one_cpu._get is not None
    return set(one_cpu._get(native_id))


@pytest.fixture(autouse=True)
def _several_cpus() -> Iterator[None]:
    if len(affinity(0)) < 2:
        pytest.skip("needs two CPUs: there is nothing to keep a run on")
    before = affinity(0)
    yield
    assert affinity(0) == before


def test_all_threads_of_a_run_are_on_one_cpu_and_the_driver_is_free_afterwards() -> None:
    net, a, b = two()
    before = affinity(0)
    seen: list[set[int]] = []

    @b.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            seen.append(affinity(0))
            other = threading.Thread(target=lambda: seen.append(affinity(0)))
            other.start()
            other.join()
            connection.recv(1)

    @a.run
    def call() -> None:
        with socket.create_connection(("b", 80)):
            seen.append(affinity(0))

    net.run()
    assert affinity(0) == before
    assert len(seen) == 3
    assert all(len(cpus) == 1 for cpus in seen)
    assert len(set.union(*seen)) == 1


def test_a_program_sees_the_cpus_that_the_process_has() -> None:
    net, a, b = two()
    before = affinity(0)

    @a.run
    def program() -> tuple[set[int], set[int], int | None]:
        return os.sched_getaffinity(0), os.sched_getaffinity(os.getpid()), os.cpu_count()

    @b.run
    def chooser() -> set[int]:
        os.sched_setaffinity(0, {min(before)})
        with pytest.raises(OSError, match="Invalid argument"):
            os.sched_setaffinity(0, {4095})
        with pytest.raises(ProcessLookupError, match="No such process"):
            os.sched_getaffinity(77)
        return os.sched_getaffinity(0)

    net.run()
    assert program.result() == (before, before, os.cpu_count())
    assert chooser.result() == {min(before)}


def test_the_affinity_is_given_back_after_a_program_and_an_action_that_raise() -> None:
    before = affinity(0)
    for where in ("program", "action"):
        net, a, _ = two()

        def fails() -> None:
            raise LookupError

        if where == "program":
            a.run(fails)
        else:
            net.at("1s", fails)
            a.run(time.sleep, 2)
        with pytest.raises(LookupError):
            net.run()
        assert affinity(0) == before
        net.close()
        assert affinity(0) == before


def test_ctrl_c_gives_the_affinity_back() -> None:
    program = textwrap.dedent("""
        import os, signal, threading, time
        import estab
        signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have had it ignored
        before = os.sched_getaffinity(0)
        net = estab.Network()
        ticks = net.host("a").run(lambda: [time.sleep(1) for _ in iter(int, 1)])
        main = threading.main_thread().ident
        net.at("100s", lambda: signal.pthread_kill(main, signal.SIGINT))
        try:
            net.run()
        except KeyboardInterrupt:
            print(os.sched_getaffinity(0) == before)
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


def test_a_network_inside_of_a_program_leaves_the_outer_one_where_it_is() -> None:
    net, a, _ = two()
    before = affinity(0)

    @a.run
    def outer() -> tuple[set[int], set[int], list[set[int]]]:
        kept = affinity(0)
        with Network(seed=2) as inside:
            inner = inside.host("x").run(lambda: [affinity(0), os.sched_getaffinity(0)])
            inside.run()
        return kept, affinity(0), inner.result()

    net.run()
    kept, after, inner = outer.result()
    assert kept == after == inner[0]
    assert inner[1] == before


def test_a_run_whose_cpu_is_taken_moves_to_where_the_kernel_lets_its_driver_wake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = sorted(affinity(0))[:2]
    now = [0, 0]
    monkeypatch.setattr(one_cpu, "real_ns", lambda: now[0])
    monkeypatch.setattr(one_cpu, "process_ns", lambda: now[1])
    monkeypatch.setattr(one_cpu, "_current", lambda: first)
    run = OneCpu()
    run.begin()
    assert affinity(0) == {first}
    run.look(None)
    assert len(affinity(0)) > 1
    monkeypatch.setattr(one_cpu, "_current", lambda: second)
    now[:] = [10**9, 10**9]
    run.look(None)
    assert run.cpu == first  # it had all the time of it
    now[:] = [2 * 10**9, 10**9]
    run.look(None)
    assert run.cpu == second
    run.end()
    assert run.cpu == -1


def test_where_the_kernel_does_not_let_one_choose_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(native_id: int, cpus: set[int]) -> None:
        raise PermissionError

    monkeypatch.setattr(one_cpu, "_set", refuse)
    monkeypatch.setattr(cpython, "CAN_REUSE_THREADS", False)  # those of earlier tests were moved
    net, a, _ = two()
    program = a.run(lambda: affinity(0))
    net.run()
    assert program.result() == affinity(0)
