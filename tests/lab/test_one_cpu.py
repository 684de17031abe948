"""A run is kept on one CPU while it is driven, its threads do not interrupt one another, and nobody notices."""

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


def policy() -> int:
    """Return what the operating system says of the calling thread, in programs too."""
    assert one_cpu._get_policy is not None
    return int(one_cpu._get_policy(0))


def run_python(program: str) -> str:
    """Run a program of Python in a process of its own, and return what it prints."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def _several_cpus() -> Iterator[None]:
    if len(affinity(0)) < 2:
        pytest.skip("needs two CPUs: there is nothing to keep a run on")
    before = affinity(0), policy()
    yield
    assert (affinity(0), policy()) == before


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
    assert run_python("""
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
    """) == "True\n"


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


@pytest.mark.skipif(not cpython.CAN_REUSE_THREADS, reason="each program has a new thread of the operating system")
def test_a_thread_that_runs_program_after_program_is_moved_only_if_it_is_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = sorted(affinity(0))[:2]
    moved: list[tuple[int, set[int]]] = []
    move = one_cpu._set
    assert move is not None

    def note(native_id: int, cpus: set[int]) -> None:
        moved.append((native_id, set(cpus)))
        move(native_id, cpus)

    monkeypatch.setattr(one_cpu, "_set", note)

    def run_on(cpu: int) -> tuple[int, set[int]]:
        monkeypatch.setattr(one_cpu, "_current", lambda: cpu)
        with Network() as net:
            program = net.host("a").run(lambda: (threading.get_native_id(), affinity(0)))
            net.run()
        return program.result()

    native_id, cpus = run_on(first)
    assert cpus == {first}
    for cpu, moves in ((first, []), (second, [{second}]), (second, []), (first, [{first}])):
        moved.clear()
        assert run_on(cpu) == (native_id, {cpu})
        assert [cpus for number, cpus in moved if number == native_id] == moves


def test_a_process_that_gets_too_little_of_its_cpu_is_found_out_by_short_runs_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0, 0]
    monkeypatch.setattr(one_cpu, "real_ns", lambda: now[0])
    monkeypatch.setattr(one_cpu, "process_ns", lambda: now[1])
    naps: list[int] = []
    monkeypatch.setattr(one_cpu, "nap", lambda: naps.append(now[0]))
    for used_ns, expected in ((1_000_000, False), (500_000, True)):
        found = one_cpu._process
        found.ran_ns = found.used_ns = 0
        found.is_contended = False
        naps.clear()
        for _ in range(500):
            run = OneCpu()
            run.begin()
            now[0] += 1_000_000
            now[1] += used_ns
            run.end()
        assert bool(naps) == expected


def test_where_the_kernel_does_not_let_one_choose_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(native_id: int, cpus: set[int]) -> None:
        raise PermissionError

    monkeypatch.setattr(one_cpu, "_set", refuse)
    monkeypatch.setattr(cpython, "CAN_REUSE_THREADS", False)  # those of earlier tests were moved
    net, a, _ = two()
    program = a.run(lambda: affinity(0))
    net.run()
    assert program.result() == affinity(0)


def test_threads_of_programs_do_not_interrupt_one_another_and_the_driver_stays_as_it_is() -> None:
    net, a, b = two()
    before = policy()
    assert before == os.SCHED_OTHER
    seen: list[int] = []
    driving: list[int] = []
    driver = threading.get_native_id()

    @a.run
    def program() -> None:
        other = threading.Thread(target=lambda: seen.append(policy()))
        other.start()
        other.join()
        seen.append(policy())
        assert one_cpu._get_policy is not None
        driving.append(one_cpu._get_policy(driver))

    b.run(lambda: seen.append(policy()))
    net.run()
    assert seen == [os.SCHED_BATCH] * 3
    assert driving == [before]


def test_a_program_is_told_the_policy_that_the_process_has_and_what_it_wants_itself() -> None:
    net, a, b = two()

    @a.run
    def asks() -> tuple[int, int, int]:
        return os.sched_getscheduler(0), os.sched_getscheduler(os.getpid()), os.sched_getparam(0).sched_priority

    @b.run
    def chooses() -> tuple[int, int]:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        os.sched_setparam(0, os.sched_param(0))
        for wrong in (os.SCHED_OTHER, 77):
            with pytest.raises(OSError, match="Invalid argument"):
                os.sched_setscheduler(0, wrong, os.sched_param(5))
        with pytest.raises(ProcessLookupError, match="No such process"):
            os.sched_getscheduler(77)
        return os.sched_getscheduler(0), policy()

    net.run()
    assert asks.result() == (os.SCHED_OTHER, os.SCHED_OTHER, 0)
    assert chooses.result() == (os.SCHED_IDLE, os.SCHED_BATCH)


def test_a_program_in_a_network_inside_of_a_program_is_told_the_same() -> None:
    net, a, _ = two()

    @a.run
    def outer() -> list[int]:
        with Network(seed=2) as inside:
            inner = inside.host("x").run(lambda: [policy(), os.sched_getscheduler(0)])
            inside.run()
        return inner.result()

    net.run()
    assert outer.result() == [os.SCHED_BATCH, os.SCHED_OTHER]


def test_another_policy_of_the_process_is_that_of_its_programs_also_in_a_thread_that_had_another_program() -> None:
    assert run_python("""
        import os, threading
        import estab
        from estab.lab.programs import one_cpu

        def program():
            return threading.get_native_id(), one_cpu._get_policy(0), os.sched_getscheduler(0)

        def run():
            with estab.Network() as net:
                running = net.host("a").run(program)
                net.run()
            return running.result()

        first = run()
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        second = run()
        print(first[0] == second[0] or not estab.cpython.CAN_REUSE_THREADS)
        print(first[1:] == (os.SCHED_BATCH, os.SCHED_OTHER), second[1:] == (os.SCHED_IDLE, os.SCHED_IDLE))
        print(os.sched_getscheduler(0) == os.SCHED_IDLE)
    """) == "True\nTrue True\nTrue\n"


def test_in_real_time_threads_of_programs_have_the_policy_of_the_driver() -> None:
    two_policies = []
    for clock in ("virtual", "real"):
        with Network(clock=clock) as net:  # type: ignore[arg-type]
            program = net.host("a").run(policy)
            net.run("1s")
        two_policies.append(program.result())
    assert two_policies == [os.SCHED_BATCH, os.SCHED_OTHER]


def test_a_process_that_an_action_starts_may_use_all_cpus_and_has_the_policy_of_the_driver() -> None:
    net, a, _ = two()
    before = affinity(0)
    seen: list[object] = []
    look = "import os; print(sorted(os.sched_getaffinity(0)), os.sched_getscheduler(0))"

    def start() -> None:
        seen.append((affinity(0) < before, policy()))
        seen.append(subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout)
        child = os.fork()
        if child == 0:
            os._exit(affinity(0) == before and policy() == os.SCHED_OTHER)
        seen.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        seen.append((affinity(0) < before, policy()))

    a.run(time.sleep, 2)
    net.at("1s", start)
    net.run()
    kept = (True, os.SCHED_BATCH)
    assert seen == [kept, f"{sorted(before)} {os.SCHED_OTHER}\n", 1, kept]
