"""Threads that are one program's thread after the other: nothing of an ended program is left in them."""

from __future__ import annotations

import contextvars
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

import estab
from estab import cpython
from estab.lab.programs import workers

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="from CPython 3.13 on each program has a new thread of the operating system")

LOCAL = threading.local()
VARIABLE = contextvars.ContextVar("VARIABLE", default="default")


def run_after_another(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Any, Any]:
    """Run two programs, each in a network of its own, in the same thread of the operating system."""
    idents = []
    results = []
    for function in (first, second):
        with estab.Network() as net:
            host = net.host("a")

            def program(function: Callable[[], Any] = function) -> Any:
                idents.append(threading.get_native_id())
                return function()

            running = host.run(program)
            net.run()
            results.append(running.result())
    assert idents[0] == idents[1]
    return results[0], results[1]


def test_a_program_finds_nothing_that_another_kept_in_a_thread_local() -> None:
    released = []

    class Kept:
        def __del__(self) -> None:
            released.append(threading.get_native_id())

    def keep() -> int:
        LOCAL.value = Kept()
        return threading.get_native_id()

    native_id, found = run_after_another(keep, lambda: getattr(LOCAL, "value", "nothing"))
    assert found == "nothing"
    assert released == [native_id]


def test_a_thread_local_works_in_each_program() -> None:
    def keep() -> list[int]:
        LOCAL.numbers = [*getattr(LOCAL, "numbers", []), 1]
        return list(LOCAL.numbers)

    assert run_after_another(keep, keep) == ([1], [1])


def test_a_program_has_the_defaults_of_context_variables() -> None:
    assert run_after_another(lambda: VARIABLE.set("own") and VARIABLE.get(), VARIABLE.get) == ("own", "default")


def test_each_program_has_a_thread_object_of_its_own_that_ends_with_it() -> None:
    first, second = run_after_another(threading.current_thread, threading.current_thread)
    assert first is not second
    assert not first.is_alive()
    assert not second.is_alive()
    first.join()
    assert not set(threading.enumerate()) & {first, second}
    assert first.name.endswith("program@a")
    assert not first.daemon


def test_trace_functions_and_hooks_end_with_their_program() -> None:
    def trace(*args: object) -> None:
        return None

    def leave() -> None:
        sys.settrace(trace)
        sys.setprofile(trace)
        sys.set_asyncgen_hooks(trace, trace)
        sys.set_coroutine_origin_tracking_depth(3)

    def look() -> tuple[object, ...]:
        return (sys.gettrace() is trace, sys.getprofile() is trace, *sys.get_asyncgen_hooks(),
                sys.get_coroutine_origin_tracking_depth())

    assert run_after_another(leave, look)[1] == (False, False, None, None, 0)


def test_another_size_of_stack_means_another_thread() -> None:
    before = threading.stack_size()
    try:
        with pytest.raises(AssertionError, match="=="):
            run_after_another(lambda: threading.stack_size(1 << 20), lambda: None)
    finally:
        threading.stack_size(before)


def test_a_thread_in_which_an_exception_was_raised_is_not_used_again() -> None:
    def hit() -> None:
        cpython.raise_in_thread(cpython.get_ident(), LookupError)
        for _ in range(1000):
            pass

    def be_hit() -> None:
        with pytest.raises(LookupError):
            hit()

    with pytest.raises(AssertionError, match="=="):
        run_after_another(be_hit, lambda: None)


def test_a_process_that_forks_has_no_thread_that_waits() -> None:
    run_after_another(lambda: None, lambda: None)
    assert workers._waiting
    child = os.fork()
    if child == 0:
        os._exit(len(workers._waiting))
    assert os.waitpid(child, 0)[1] == 0
    assert not workers._waiting
    run_after_another(lambda: None, lambda: None)


def test_no_more_than_a_few_threads_wait() -> None:
    with estab.Network() as net:
        host = net.host("a")
        programs = [host.run(lambda: threading.get_native_id()) for _ in range(3 * workers._WAITING_MAX)]
        lock = host.run(lambda: [threading.Event().wait(1) for _ in range(2)])
        more = [host.run(lambda: threading.Event().wait(2)) for _ in range(2 * workers._WAITING_MAX)]
        net.run()
        assert lock.result() == [False, False]
        assert all(program.done() for program in programs + more)
    assert len(workers._waiting) <= workers._WAITING_MAX
