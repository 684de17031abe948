"""Who a program is and what day it has: the host's, also where it was taken before."""

from __future__ import annotations

import datetime
import email.utils
import os
import platform
import time
import uuid
from collections.abc import Callable
from datetime import datetime as early_datetime

import psutil
import pytest

from estab import Network

EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def of_hosts(function: object, *names: str) -> list[object]:
    with Network(seed=1) as net:
        programs = [net.host(name).run(function) for name in names]
        net.run()
        return [program.result() for program in programs]


def test_every_calendar_is_the_hosts_also_one_that_was_imported_before() -> None:
    def look() -> list[float]:
        time.sleep(3600.25)
        told = [datetime.datetime.now(datetime.UTC), early_datetime.now().astimezone(),
                early_datetime.utcnow().replace(tzinfo=datetime.UTC), early_datetime.today().astimezone(),
                email.utils.localtime()]
        return [(found - EPOCH).total_seconds() for found in told]

    assert of_hosts(look, "a") == [[3600.25] * 5]


def test_a_subclass_of_datetime_has_the_hosts_time_and_its_own_type() -> None:
    class Mine(datetime.datetime):
        pass

    def look() -> tuple[type, float, datetime.date]:
        found = Mine.now(datetime.UTC)
        return type(found), (found - EPOCH).total_seconds(), datetime.date.today()

    zone = datetime.datetime.fromtimestamp(EPOCH.timestamp()).date()
    assert of_hosts(look, "a") == [(Mine, 0.0, zone)]


def test_outside_of_programs_the_calendar_is_the_machines() -> None:
    before = datetime.datetime.__dict__["now"]
    seen: list[float] = []
    with Network() as net:
        net.at(1, lambda: seen.append(early_datetime.now().timestamp()))
        net.host("a").run(lambda: time.sleep(2))
        net.run()
    assert abs(seen[0] - time.time()) < 3600
    assert datetime.datetime.__dict__["now"] is before


early_utcnow = early_datetime.utcnow


class Kept:
    now = early_datetime.now


def test_now_and_utcnow_kept_under_another_name_are_of_the_hosts_calendar_and_are_put_back() -> None:
    before = early_utcnow

    def by_default(now: Callable[[], datetime.datetime] = early_datetime.utcnow) -> datetime.datetime:
        return now()

    def look() -> list[datetime.datetime]:
        return [early_utcnow(), Kept.now(datetime.UTC).replace(tzinfo=None), by_default()]

    assert of_hosts(look, "a") == [[EPOCH.replace(tzinfo=None)] * 3]
    assert early_utcnow is before
    assert abs(early_utcnow().replace(tzinfo=datetime.UTC).timestamp() - time.time()) < 3600


def test_a_program_has_a_number_and_a_name_of_its_host() -> None:
    def look() -> tuple[object, ...]:
        return os.getppid(), os.uname().nodename, platform.node(), platform.uname().node

    assert of_hosts(look, "a", "b") == [(1, "a", "a", "a"), (1, "b", "b", "b")]
    assert platform.uname().node == os.uname().nodename == platform.node()


def test_psutil_finds_the_process_that_it_is_asked_in() -> None:
    [(number, process)] = of_hosts(lambda: (os.getpid(), psutil.Process().pid), "a")
    assert number != process == os.getpid()


def test_what_is_drawn_repeats_and_differs_between_hosts() -> None:
    def draw() -> tuple[object, ...]:
        return uuid.uuid1(), uuid.uuid1(), uuid.getnode(), os.getrandom(8), os.getpid()

    first, again = of_hosts(draw, "a", "b"), of_hosts(draw, "a", "b")
    assert first == again
    assert first[0] != first[1]


def test_uuid1_is_of_the_hosts_time_and_mac_address() -> None:
    with Network() as net:
        a, b = net.host("a"), net.host("b")
        net.link(a, b, ethernet=True)
        made = a.run(lambda: [uuid.uuid1() for _ in range(3)])
        net.run()
    found = made.result()
    assert [item.version for item in found] == [1, 1, 1]
    assert len({item.time for item in found}) == 3
    since_1970 = (found[0].time - 0x01B21DD213814000) / 1e7
    assert since_1970 == EPOCH.timestamp()
    assert found[0].node >> 40 == 2  # a MAC address of the lab


@pytest.mark.parametrize("size", [-1])
def test_getrandom_refuses_what_the_system_refuses(size: int) -> None:
    def draw() -> int | None:
        try:
            os.getrandom(size)
        except OSError as error:
            return error.errno
        return None

    assert of_hosts(draw, "a") == [22]
