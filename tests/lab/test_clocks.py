"""The clocks of a host: a calendar that is set, skewed and steps, and clocks that drift."""

from __future__ import annotations

import asyncio
import datetime
import signal
import socket
import time

import pytest

from estab import Host, Network
from estab.events import SegmentSent
from estab.lab.record.clock import Agenda
from estab.lab.record.host_clock import EPOCH_NS, HostClock
from estab.settings import read_calendar, read_drift
from estab.units import NEVER, SECOND

# --- by itself


def test_a_clock_without_changes_says_the_networks_time() -> None:
    agenda = Agenda()
    clock = HostClock(agenda)
    agenda.now_ns = 5
    assert (clock.now_ns, clock.wall_ns, clock.boot_ns) == (5, EPOCH_NS + 5, 5)
    assert clock.is_true
    assert clock.due_ns(7) == 7


@pytest.mark.parametrize("ppb", [1, 999, 50_000, -50_000, 499_999_999, -499_999_999])
def test_a_drifting_clock_is_due_exactly_when_it_says_so(ppb: int) -> None:
    agenda = Agenda()
    agenda.now_ns = 12_345
    clock = HostClock(agenda, drift_ppb=ppb)
    for wanted_ns in (12_346, 12_347, 99_999, 10**9 + 7, 10**15 + 3):
        agenda.now_ns = clock.due_ns(wanted_ns)
        assert clock.now_ns >= wanted_ns
        agenda.now_ns -= 1
        assert clock.now_ns < wanted_ns


def test_a_clock_that_stands_still_is_due_never_and_goes_on_where_it_stood() -> None:
    agenda = Agenda()
    clock = HostClock(agenda, 0)
    agenda.now_ns = 100
    clock.stop(is_calendar_stopped=False)
    agenda.now_ns = 150
    assert (clock.now_ns, clock.wall_ns, clock.boot_ns) == (100, 150, 150)
    assert clock.due_ns(200) == NEVER
    clock.start()
    agenda.now_ns = 160
    assert (clock.now_ns, clock.wall_ns, clock.boot_ns) == (110, 160, 160)
    assert clock.due_ns(200) == 250
    assert not clock.is_true


def test_drift_that_changes_counts_from_the_change() -> None:
    agenda = Agenda()
    clock = HostClock(agenda, 0)
    agenda.now_ns = 10 * SECOND
    clock.drift(500_000_000)
    agenda.now_ns = 20 * SECOND
    assert clock.now_ns == 25 * SECOND
    clock.drift(0)
    agenda.now_ns = 30 * SECOND
    assert clock.now_ns == clock.wall_ns == 35 * SECOND


@pytest.mark.parametrize(("words", "wall_s"), [
    ("+1h", 1_003_600), ("-90s", 999_910), (5, 1_000_005), (-5.5, 999_994.5), ("1970-01-02", 86_400),
    ("1970-01-01T01:00:00+01:00", 0), (datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=datetime.UTC), 1),
    ("2026-03-01 12:00", 1_772_366_400),
])
def test_a_calendar_is_set_by_words(words: int | float | str | datetime.datetime, wall_s: float) -> None:
    assert read_calendar(words, 1_000_000 * SECOND) == wall_s * SECOND


@pytest.mark.parametrize(("words", "text"), [
    ("tomorrow", "cannot read 'tomorrow'; write a date like"), ("+1 fortnight", "cannot read '1 fortnight'"),
    ("1969-12-31", "no time from 1970"), ("-40d", "no time from 1970"),
])
def test_a_calendar_is_not_set_to_what_is_no_time(words: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        read_calendar(words, 1_000_000 * SECOND)
    with pytest.raises(TypeError, match="neither a date"):
        read_calendar(None, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(("words", "ppb"), [
    ("50ppm", 50_000), ("-20 ppm", -20_000), ("1%", 10_000_000), ("7ppb", 7), (0.001, 1_000_000), (0, 0),
])
def test_drift_is_read_by_words(words: int | float | str, ppb: int) -> None:
    assert read_drift(words) == ppb


def test_drift_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match=r"drift: cannot read 'fast'; write it like \"50ppm\""):
        read_drift("fast")
    with pytest.raises(ValueError, match="off by more than half"):
        read_drift("51%")
    with pytest.raises(TypeError, match="neither a number"):
        read_drift(None)  # type: ignore[arg-type]


# --- on a host


def test_a_step_of_the_calendar_touches_no_other_clock() -> None:
    with Network() as net:
        host = net.host("a")

        @host.run
        def look() -> list[object]:
            seen: list[object] = []
            for _ in range(3):
                seen.append((time.time() - 1_767_225_600, time.monotonic(), f"{datetime.datetime.now():%H:%M:%S}"))
                time.sleep(10)
            return seen

        net.at("5s", host.set_clock, "+1h")
        net.at("15s", host.set_clock, "2026-01-01 00:00")
        net.run()
        assert look.result() == [(0, 0, "00:00:00"), (3610, 10, "01:00:10"), (5, 20, "00:00:05")]
        assert net.faults == ["5s a.set_clock('+1h')", "15s a.set_clock('2026-01-01 00:00')"]


def test_hosts_may_disagree_about_the_time_from_the_start() -> None:
    with Network() as net:
        early, device = net.host("early", clock="-3s"), net.host("device", clock="1970-01-01")
        looks = [host.run(time.time) for host in (early, device, net.host("other"))]
        net.run()
        assert [look.result() for look in looks] == [1_767_225_597, 0, 1_767_225_600]


def test_a_host_that_is_made_late_has_the_date_that_it_was_given() -> None:
    with Network() as net:
        net.run(until="1h")
        look = net.host("device", clock="1970-01-01").run(time.time)
        net.run()
        assert look.result() == 0


def test_a_poller_by_the_calendar_ends_early_if_the_clock_is_set_forward() -> None:
    def poll() -> float:
        deadline = time.time() + 10
        while time.time() < deadline:
            time.sleep(0.1)
        return time.monotonic()

    for jump, took_s in (("+1h", 3.0), ("-10s", 20.0)):
        with Network() as net:
            host = net.host("a")
            program = host.run(poll)
            net.at("3s", host.set_clock, jump)
            net.run()
            assert program.result() == pytest.approx(took_s, abs=0.11)


def test_a_fast_clock_makes_all_timers_of_its_host_early() -> None:
    """All that waits by a clock waits by the host's: sleep, a blocking call, asyncio, an alarm, TCP itself."""
    with Network() as net:
        fast, server = net.host("fast", drift="10%"), net.host("server")
        link = net.link(fast, server, delay="10ms")
        seen: dict[str, float] = {}

        def note(what: str, since: float) -> None:
            seen[what] = round(net.now - since, 3)

        def sleep() -> None:
            time.sleep(11)
            note("sleep", 0)

        def block() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(11)
                with pytest.raises(TimeoutError):
                    sock.recv(10)
            note("recv", 0)

        async def wait() -> None:
            await asyncio.sleep(11)
            note("asyncio", 0)

        def alarm() -> None:
            signal.signal(signal.SIGALRM, lambda number, frame: note("alarm", 0))
            signal.alarm(11)
            time.sleep(12)

        for function in (sleep, block, wait, alarm):
            fast.run(function)
        syns: list[int] = []
        net.observe(lambda fact: syns.append(fact.at_ns) if isinstance(fact, SegmentSent) else None)
        link.cut()

        @fast.run(daemon=True)
        def connect() -> None:
            with socket.socket() as sock:
                sock.connect((server.address, 80))

        net.run(until="20s")
        assert seen == {"sleep": 10, "recv": 10, "asyncio": 10, "alarm": 10}
        assert [round(at_ns / SECOND, 2) for at_ns in syns[:4]] == [0, 0.91, 2.73, 6.36]
        assert fast.now == net.now


def test_drift_may_begin_while_programs_wait() -> None:
    with Network() as net:
        host = net.host("a")
        program = host.run(time.sleep, 20)
        net.at("10s", host.set_drift, "-50%")
        net.run()
        assert program.done()
        assert net.now == 30
        assert host.clock.now_ns == 20 * SECOND
        assert host.clock.wall_ns == EPOCH_NS + 20 * SECOND


def run_twice(host_of: str) -> list[object]:
    """Give all facts of a run on drifting hosts."""
    facts: list[object] = []
    with Network(3, facts.append) as net:
        hosts: list[Host] = [net.host("a", drift="300ppm"), net.host("b", drift="-300ppm", clock="+5s")]
        net.link(*hosts, delay="5ms", loss="20%")

        @hosts[1].run(daemon=True)
        def serve() -> None:
            with socket.create_server(("", 80)) as listener:
                sock, _ = listener.accept()
                with sock:
                    sock.sendall(bytes(50_000))

        @hosts[0].run
        def read() -> None:
            with socket.create_connection(("b", 80)) as sock:
                while sock.recv(5000):
                    pass

        net.at("50ms", hosts[0].suspend)
        net.at("1s", hosts[0].resume)
        net.run()
    return facts


def test_the_same_seed_is_the_same_run_whatever_the_clocks() -> None:
    assert run_twice("a") == run_twice("b")


def test_facts_are_in_order_of_the_networks_time_whatever_the_clocks() -> None:
    times = [fact.at_ns for fact in run_twice("a")]  # type: ignore[attr-defined]
    assert times == sorted(times)
    assert times[-1] > SECOND
