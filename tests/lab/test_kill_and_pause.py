"""Programs that are killed or paused, and hosts that are killed, rebooted, suspended or paused."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest

from estab import DeadlockError, ExitError, Host, Network, UnfinishedError
from estab.errors import DropReason
from estab.events import HostChanged, LinkDropped, SegmentReceived, SegmentSent, TimerFired
from estab.units import SECOND


def pair(seed: int = 1) -> tuple[Network, Host, Host]:
    net = Network(seed)
    client, server = net.host("client"), net.host("server")
    net.link(client, server, delay="10ms")
    return net, client, server


def serve() -> None:
    with socket.create_server(("", 80)) as listener:
        while True:
            sock, _ = listener.accept()
            with sock, suppress(OSError):
                while text := sock.recv(100):
                    sock.sendall(text)


def ask(text: bytes = b"hello") -> tuple[bytes, float]:
    with socket.create_connection(("server", 80)) as sock:
        started = time.monotonic()
        sock.sendall(text)
        return sock.recv(100), round(time.monotonic() - started, 2)


def tick(seen: list[float], times: int = 10) -> None:
    for _ in range(times):
        time.sleep(1)
        seen.append(time.monotonic())


# --- a program


def test_a_paused_program_does_nothing_until_it_is_resumed() -> None:
    with Network() as net:
        seen: list[float] = []
        program = net.host("a").run(tick, seen)
        net.at("2.5s", program.pause)
        net.at("60s", program.resume)
        net.run()
    assert seen == [1, 2, 60, 61, 62, 63, 64, 65, 66, 67]


def test_the_kernel_of_a_paused_program_acknowledges() -> None:
    net, client, server = pair()
    with net:
        program = server.run(serve, daemon=True)
        asking = client.run(ask, start="1s")
        net.at("500ms", program.pause)
        seen = net.record()
        net.run(until="5s")
        assert not asking.done()
        connection = client.sockets()[0]
        assert (connection.state, connection.recv_q, connection.send_q) == ("ESTAB", 0, 0)
        program.resume()
        net.run()
    assert asking.result() == (b"hello", pytest.approx(4, abs=0.1))
    assert not [fact for fact in seen.facts if isinstance(fact, TimerFired)]


def test_a_paused_program_says_so() -> None:
    with Network() as net:
        program = net.host("a").run(tick, [])
        net.at("2.5s", program.pause)
        net.run(until="5s")
        assert program.is_paused
        assert "tick on a is paused since 2.5s, and waits for sleep(1)" in repr(program)
        with pytest.raises(DeadlockError, match="is paused since"):
            net.run()


def test_a_program_that_is_to_run_is_paused_before() -> None:
    with Network() as net:
        seen: list[float] = []
        program = net.host("a").run(tick, seen, 1, start="5s")
        program.pause()
        net.run(until="10s")
        assert seen == []
        net.at("12s", program.resume)
        net.run()
    assert seen == [13]


def test_signals_wait_for_a_paused_program_but_the_one_that_kills() -> None:
    with Network() as net:
        came: list[tuple[int, float]] = []

        def wait() -> None:
            signal.signal(signal.SIGTERM, lambda number, frame: came.append((number, time.monotonic())))
            time.sleep(100)

        host = net.host("a")
        first, second = host.run(wait), host.run(wait)
        for program in (first, second):
            net.at("1s", program.pause)
            net.at("2s", program.terminate)
        net.at("3s", second.kill)
        net.at("5s", first.resume)
        net.run(until="10s", check=False)
        assert came == [(signal.SIGTERM, 5.0)]
        assert isinstance(second.exception(), ExitError)
        assert not first.done()
        net.abandon()


def test_a_program_pauses_itself_by_a_signal() -> None:
    with Network() as net:
        seen: list[float] = []

        def stop() -> None:
            os.kill(os.getpid(), signal.SIGSTOP)
            seen.append(time.monotonic())

        program = net.host("a").run(stop)
        net.at("7s", program.signal, signal.SIGCONT)
        net.run()
    assert seen == [7]


def test_a_paused_program_can_be_killed() -> None:
    net, client, server = pair()
    with net:
        program = server.run(serve)

        @client.run
        def wait() -> bytes:
            with socket.create_connection(("server", 80)) as sock:
                return sock.recv(100)

        net.at("1s", program.pause)
        net.at("2s", program.kill)
        net.run(check=False)
        assert wait.result() == b""
        assert net.now == pytest.approx(2.01, abs=0.05)


# --- kill and reboot


def test_a_killed_host_closes_what_its_programs_had_open() -> None:
    net, client, server = pair()
    with net:
        server.run(serve)
        server.run(time.sleep, 1000)

        @client.run
        def wait() -> tuple[bytes, int]:
            with socket.create_connection(("server", 80)) as sock:
                ended = sock.recv(100)
            with socket.socket() as again:
                return ended, again.connect_ex((server.address, 80))

        net.at("1s", server.kill)
        net.run()
        assert wait.result() == (b"", 111)
        assert [type(program.exception()) for program in server.programs] == [ExitError, ExitError]
        assert server.is_powered


def test_a_program_may_kill_its_host_and_ends_with_it() -> None:
    with Network() as net:
        host = net.host("a")
        seen: list[str] = []

        @host.run
        def end_all() -> None:
            host.kill()
            seen.append("still here")

        other = host.run(time.sleep, 100)
        net.run()
        assert seen == []
        assert [program.done() for program in (end_all, other)] == [True, True]


def test_a_rebooted_host_starts_its_programs_of_the_boot_and_resets_old_connections() -> None:
    net, client, server = pair()
    with net:
        server.run(serve, daemon=True, at_boot=True)
        other = server.run(time.sleep, 1000, daemon=True)

        @client.run
        def call() -> list[object]:
            seen: list[object] = []
            with socket.create_connection(("server", 80)) as sock:
                time.sleep(10)
                try:
                    sock.sendall(b"remember me?")
                    seen.append(sock.recv(100))
                except OSError as error:
                    seen.append(type(error).__name__)
                seen.append(round(time.monotonic()))
            seen.append(ask())
            return seen

        net.at("5s", server.reboot, "30s")
        net.run()
        reset, at_s, answer = call.result()
        assert reset == "ConnectionResetError"
        assert isinstance(at_s, int)
        assert 35 <= at_s <= 40  # the first retransmission after it is up again
        assert answer == (b"hello", 0.02)
        assert [program.name for program in server.programs] == ["serve", "sleep", "serve"]
        with pytest.raises(UnfinishedError, match="lost its power"):
            other.result()


def test_a_program_with_modules_of_its_own_has_new_ones_after_a_reboot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "counted.py").write_text("boots = 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    seen: list[int] = []

    def boot() -> None:
        import counted  # type: ignore[import-not-found]

        counted.boots += 1
        seen.append(counted.boots)
        time.sleep(100)

    for fresh, expected in ((("counted",), [1, 1]), ((), [1, 2])):
        seen.clear()
        with Network() as net:
            host = net.host("a")
            host.run(boot, fresh=fresh, at_boot=True)
            net.at("5s", host.reboot)
            net.run(until="10s")
        assert seen == expected


def test_a_run_waits_for_a_host_that_is_being_rebooted() -> None:
    with Network() as net:
        host, other = net.host("a"), net.host("b")
        net.link(host, other)
        seen: list[float] = []

        @host.run(at_boot=True)
        def boot() -> None:
            seen.append(time.monotonic())

        other.run(serve)  # waits for callers and for nothing else
        net.at("5s", host.reboot, "30s")
        net.run()
        assert seen == [0, 35]


def test_a_host_without_power_runs_no_program() -> None:
    with Network() as net:
        host = net.host("a")
        host.power_off()
        with pytest.raises(RuntimeError, match="host a has no power; call power_on"):
            host.run(time.sleep, 1)


# --- a host that sleeps


def test_a_suspended_host_is_silent_and_its_monotonic_clock_stands_still() -> None:
    net, client, server = pair()
    with net:
        server.run(serve, daemon=True)
        seen: list[tuple[float, float]] = []

        @client.run
        def look() -> None:
            begun = time.time()
            for _ in range(4):
                seen.append((time.monotonic(), time.time() - begun))
                time.sleep(10)

        net.at("15s", client.suspend)
        net.at("115s", client.resume)
        net.run()
        assert seen == [(0, 0), (10, 10), (20, 120), (30, 130)]
        assert client.clock.boot_ns == client.clock.now_ns + 100 * SECOND
        assert client.now == 140


def test_the_calendar_of_a_paused_host_stands_still_too() -> None:
    with Network() as net:
        host = net.host("a")

        @host.run
        def look() -> list[float]:
            begun = time.time()
            time.sleep(10)
            return [time.monotonic(), time.time() - begun, time.clock_gettime(time.CLOCK_BOOTTIME)]

        net.at("5s", host.pause)
        net.at("65s", host.resume)
        net.run()
        assert look.result() == [10, 10, 10]
        assert net.now == 70


def test_frames_for_a_sleeping_host_are_lost_and_it_retransmits_when_its_own_clock_says_so() -> None:
    net, client, server = pair()
    with net:
        server.run(serve, daemon=True)

        @client.run
        def call() -> tuple[bytes, float]:
            with socket.create_connection(("server", 80)) as sock:
                time.sleep(1)
                sock.sendall(b"hello")
                return sock.recv(100), round(time.monotonic(), 2)

        seen = net.record()
        net.at("1.035s", client.suspend)  # the answer is under way
        net.at("600s", client.resume)
        net.run()
        answer, at_s = call.result()
        assert answer == b"hello"
        assert at_s < 200
        assert {fact.reason for fact in seen.facts if isinstance(fact, LinkDropped)} == {DropReason.DEV_DOWN}
        own = [fact for fact in seen.facts
               if isinstance(fact, (SegmentSent, SegmentReceived)) and fact.host == "client"]
        assert not [fact for fact in own if 1.036 * SECOND < fact.at_ns < 600 * SECOND]
        again = next(fact for fact in own if fact.at_ns >= 600 * SECOND)  # facts have the network's time
        assert again.at_ns == pytest.approx(600.19 * SECOND, rel=0.0001)
        assert again.tcb is not None
        assert again.tcb.timer_due_ns > again.at_ns
        assert [fact.what for fact in seen.facts if isinstance(fact, HostChanged)][:2] == ["suspended", "resumed"]


def test_a_program_started_on_a_sleeping_host_begins_when_it_wakes_up() -> None:
    with Network() as net:
        host = net.host("a")
        host.suspend()
        program = host.run(time.monotonic)
        net.run(until="10s")
        assert not program.done()
        host.resume()
        net.run()
        assert program.result() == 0


def test_signals_for_a_sleeping_host_come_when_it_wakes_up() -> None:
    """Nothing on it goes on that could bring them; a FIN of a program that was killed would not leave the host."""
    net, client, server = pair()
    with net:
        program = server.run(serve)

        @client.run
        def wait() -> tuple[bytes, float]:
            with socket.create_connection(("server", 80)) as sock:
                return sock.recv(100), round(time.monotonic(), 2)

        net.at("1s", server.suspend)
        net.at("2s", server.kill)
        net.at("60s", server.resume)
        net.run(until="30s", check=False)
        assert not program.done()
        net.run(check=False)
        assert wait.result() == (b"", 60.01)
        assert isinstance(program.exception(), ExitError)


def test_a_program_that_was_paused_before_its_host_slept_stays_paused() -> None:
    with Network() as net:
        host = net.host("a")
        seen: list[float] = []
        program = host.run(tick, seen, 3)
        net.at("1.5s", program.pause)
        net.at("2.5s", host.suspend)
        net.at("10s", host.resume)
        net.run(until="20s")
        assert seen == [1]
        net.at("22s", program.resume)
        net.run()
        assert seen == [1, 14.5, 15.5]  # by the host's clock, which stood still for 7.5 s


def test_a_program_can_not_put_its_own_host_to_sleep() -> None:
    with Network() as net:
        host = net.host("a")
        program = host.run(host.suspend)
        with pytest.raises(RuntimeError, match="can't do that to its own host; use"):
            net.run()
        assert program.done()


def test_power_ends_sleep() -> None:
    with Network() as net:
        host = net.host("a")
        host.suspend()
        host.power_off()
        host.power_on()
        assert host.is_awake
        program = host.run(time.sleep, 1)
        net.run()
        assert program.done()


def test_calm_wakes_and_resumes() -> None:
    with Network() as net:
        host, other = net.host("a"), net.host("b")
        host.run(time.sleep, 10)
        program = other.run(time.sleep, 10)
        net.at("1s", host.suspend)
        net.at("1s", program.pause)
        net.at("5s", net.calm)
        net.run()
        assert net.now == 14


def test_pauses_are_faults_with_names_that_weather_may_skip() -> None:
    for skipped, took_s in ((), 64), (["2.5s tick@a.pause"], 10):
        with Network(weather={"skipped": list(skipped)}) as net:
            program = net.host("a").run(tick, [])
            net.at("2.5s", program.pause)
            net.at("57s", program.resume)
            net.run()
            assert net.faults == ["2.5s tick@a.pause", "57s tick@a.resume"]
            assert net.now == took_s


def test_an_action_is_given_keywords_as_the_call_has_them() -> None:
    with Network(seed=1) as net:
        server = net.host("server")
        boots: list[float] = []
        server.run(lambda: boots.append(net.now), at_boot=True)
        net.at("2s", server.reboot, after="5s")
        told: list[dict[str, object]] = []
        net.every("1s", lambda **words: told.append(words), time="any", action="none")
        net.run(until="9s")
    assert boots == [0, 7]
    assert told == [{"time": "any", "action": "none"}] * 9
    assert net.faults == ["2s server.reboot(after='5s')"]
