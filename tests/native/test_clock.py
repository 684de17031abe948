"""How late a network in real time is, and what is said of it."""

from __future__ import annotations

import pytest

import estab
from estab.native.clock import Lateness, RealClock
from estab.units import MS, SECOND, US


def test_shares_of_lateness_are_bounds_that_were_kept() -> None:
    lateness = Lateness()
    for late_ns in [10 * US] * 98 + [3 * MS, 40 * MS]:
        lateness.add(late_ns)
    assert (lateness.count, lateness.worst_ns) == (100, 40 * MS)
    assert 10 * US <= lateness.share_ns(0.5) <= 20 * US
    assert 3 * MS <= lateness.share_ns(0.99) <= 6 * MS
    assert lateness.over(20 * MS) == 1
    assert lateness.over(100 * MS) == 0


def test_lateness_says_what_it_counted() -> None:
    assert str(Lateness()) == "nothing was due"
    lateness = Lateness()
    lateness.add(5 * MS)
    assert str(lateness).startswith("1 things were due")
    assert str(lateness).endswith("the latest 5ms late")


def test_what_came_due_while_nothing_ran_the_network_is_not_late() -> None:
    clock = RealClock()
    try:
        clock.begin()
        clock.carried_out(-10 * SECOND)
        assert clock.lateness.worst_ns < SECOND
    finally:
        clock.close()


def test_a_run_until_a_time_takes_that_long() -> None:
    with estab.Network(clock="real", late_max="60s") as net:
        began = net.now
        net.run(until=f"{began + 0.05}s")
        assert 0.05 <= net.now - began < 5
        assert "real time" in repr(net)


def test_programs_of_estab_run_in_real_time_too() -> None:
    with estab.Network(clock="real", late_max="60s") as net:
        server, client = net.host("server"), net.host("client")
        net.link(server, client, delay="10ms")

        @server.run
        def serve() -> None:
            import socket

            with socket.create_server(("", 80)) as listener:
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(connection.recv(100).upper())

        @client.run
        def ask() -> tuple[bytes, float]:
            import socket
            import time

            began = time.monotonic()
            with socket.create_connection(("server", 80)) as connection:
                connection.sendall(b"hello")
                return connection.recv(100), time.monotonic() - began

        net.run()
        text, took = ask.result()
        assert text == b"HELLO"
        assert 0.04 <= took < 5


def test_a_network_that_can_not_keep_up_says_so() -> None:
    with estab.Network(clock="real", late_max="1ms") as net:
        net.at(net.now + 0.001, _compute_for_a_while)
        net.at(net.now + 0.002, lambda: None)
        with pytest.warns(estab.LateClockWarning, match="things happened more than 1ms after their time"):
            net.run(until=net.now + 0.005)


def _compute_for_a_while() -> None:
    for _ in range(2_000_000):
        pass


def test_a_clock_that_is_neither_virtual_nor_real_is_refused() -> None:
    with pytest.raises(ValueError, match='clock: \'real_time\' is neither "virtual" nor "real"'):
        estab.Network(clock="real_time")  # type: ignore[arg-type]


def test_virtual_time_has_no_lateness() -> None:
    with estab.Network() as net, pytest.raises(RuntimeError, match='this is for Network\\(clock="real"\\)'):
        _ = net.lateness
