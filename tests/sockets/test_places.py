"""Functions that were taken before anything was replaced are found: defaults, closures, staticmethod; and put back."""

from __future__ import annotations

import functools
import sched
import sys
import time
import types
from collections.abc import Callable
from multiprocessing.connection import Client, Listener
from pathlib import Path

import pytest

from estab import Network


def by_default(seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
    sleep(seconds)


def by_keyword(seconds: float, *, sleep: Callable[[float], None] = time.sleep) -> None:
    sleep(seconds)


class Kept:
    sleep = staticmethod(time.sleep)

    def method(self, seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
        sleep(seconds)

    @classmethod
    def of_class(cls, seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
        sleep(seconds)


class Stubborn:
    """An object whose attributes raise, as those of an ASN.1 schema do."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(f"{name} was asked for")

    @property
    def __class__(self) -> type:  # type: ignore[override]
        raise RuntimeError("its class was asked for")


class Schema:
    part = Stubborn()
    sleep = staticmethod(time.sleep)


a_stubborn = Stubborn()


def from_around() -> Callable[[float], None]:
    from time import sleep

    def helper(seconds: float) -> None:
        sleep(seconds)

    return lambda seconds: helper(seconds)


def virtual(function: Callable[..., object], *args: object) -> float:
    """Give the virtual seconds that a program takes."""
    with Network() as net:
        net.host("a").run(function, *args)
        net.run()
        return net.now


@pytest.mark.parametrize("function", [
    by_default, by_keyword, Kept.sleep, Schema.sleep, Kept().method, Kept.of_class, from_around(),
    functools.partial(by_default), functools.partial(time.sleep),
], ids=lambda function: getattr(function, "__qualname__", "partial"))
def test_what_was_kept_sleeps_in_virtual_time(function: Callable[[float], None]) -> None:
    assert virtual(function, 3600.0) == 3600.0


def test_everything_that_was_kept_is_put_back() -> None:
    closure = from_around()
    assert virtual(closure, 3600.0) == 3600.0
    assert closure.__closure__ is not None
    helper = closure.__closure__[0].cell_contents
    assert helper.__closure__[0].cell_contents is time.sleep
    assert by_default.__defaults__ == (time.sleep,)
    assert by_keyword.__kwdefaults__ == {"sleep": time.sleep}
    assert vars(Kept)["sleep"].__func__ is time.sleep
    assert type(time.sleep) is types.BuiltinFunctionType


def test_what_a_late_module_keeps_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kept_late.py").write_text("import time\ndef f(s, sleep=time.sleep):\n    sleep(s)\n")
    monkeypatch.syspath_prepend(tmp_path)

    def late() -> None:
        import kept_late
        kept_late.f(60)

    try:
        assert virtual(late) == 60
        assert sys.modules["kept_late"].f.__defaults__ == (time.sleep,)
        assert virtual(late) == 60
    finally:
        sys.modules.pop("kept_late", None)


def test_sched_of_the_standard_library_waits_in_virtual_time() -> None:
    def run() -> None:
        scheduler = sched.scheduler()
        scheduler.enter(86400, 1, lambda: None)
        scheduler.run()

    assert virtual(run) == 86400


def test_multiprocessings_connections_speak_through_hosts() -> None:
    def serve() -> object:
        with Listener(("", 6000), authkey=b"k") as listener, listener.accept() as taken:
            return taken.recv()

    def send() -> None:
        with Client(("a", 6000), authkey=b"k") as connection:
            connection.send(["hello"])

    with Network() as net:
        a, b = net.host("a"), net.host("b")
        net.link(a, b, delay="20ms")
        served = a.run(serve)
        b.run(send, start=1)
        net.run()
    assert served.result() == ["hello"]
