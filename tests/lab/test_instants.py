"""One instant of virtual time: all that happens at it happens before programs run."""

from __future__ import annotations

import socket
import time

import pytest

from estab.lab.network import Network
from tests.kit.two_hosts import two

ANSWER = b"413 too large"


def test_a_program_finds_all_that_arrived_with_what_woke_it() -> None:
    net, a, b = two()

    @b.run
    def reader() -> list[int]:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            return [len(text) for text in iter(lambda: connection.recv(65536), b"")]

    @a.run
    def writer() -> None:
        with socket.create_connection(("b", 80)) as connection:
            connection.sendall(bytes(10 * 1448))

    net.run()
    assert reader.result() == [10 * 1448]


@pytest.mark.parametrize(("size", "seen"), [
    (20_000, ["recv 13", "recv ConnectionResetError"]),
    (3_000_000, ["send ConnectionResetError", "recv 13", "recv 0"]),
])
def test_a_server_that_answers_before_it_has_read_all_resets_as_in_the_field(size: int, seen: list[str]) -> None:
    net, client, server = two()

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            connection.recv(4096)
            connection.sendall(ANSWER)

    @client.run(start="200ms")
    def post() -> list[str]:
        found = []
        with socket.create_connection((server.address, 80)) as connection:
            try:
                connection.sendall(bytes(size))
            except OSError as error:
                found.append(f"send {type(error).__name__}")
            for _ in range(2):
                try:
                    found.append(f"recv {len(connection.recv(65536))}")
                except OSError as error:
                    found.append(f"recv {type(error).__name__}")
        return found

    net.run()
    assert post.result() == seen


def test_what_is_planned_for_an_instant_comes_before_the_programs_that_wake_at_it() -> None:
    net, a, _ = two()
    cable = net.links[0]

    @a.run
    def sender() -> bool:
        time.sleep(5)
        return cable.is_cut

    net.at("5s", net.at, "5s", cable.cut)
    net.run()
    assert sender.result()


def test_a_step_ends_when_every_program_waits_again() -> None:
    net, a, b = two()
    woken: list[str] = []

    def sleeper(name: str) -> None:
        time.sleep(1)
        woken.append(name)

    a.run(sleeper, "a")
    b.run(sleeper, "b")
    while net.now < 1:
        assert net.step()
    assert woken == ["a", "b"]


def test_a_program_that_sleeps_for_no_time_leaves_others_their_share() -> None:
    with Network(seed=1) as net:
        a = net.host("a")
        seen: list[float] = []

        @a.run
        def eager() -> None:
            while not seen:
                time.sleep(0)

        @a.run
        def other() -> None:
            time.sleep(0)
            seen.append(time.monotonic())

        net.run()
        assert seen == [0.0]


def first_reads(*, wake_up: str) -> list[int]:
    """Send ten segments at 100 Mbit/s, 121 us apart, and give what each read of the server returns."""
    net = Network(seed=1)
    a, b = net.host("a"), net.host("b", wake_up=wake_up)
    net.link(a, b, delay="10ms", rate="100Mbit")

    @b.run
    def reader() -> list[int]:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            return [len(text) for text in iter(lambda: connection.recv(65536), b"")]

    @a.run
    def writer() -> None:
        with socket.create_connection(("b", 80)) as connection:
            connection.sendall(bytes(10 * 1448))

    net.run()
    return reader.result()


def test_what_arrives_while_a_program_is_woken_is_there_when_it_runs() -> None:
    assert first_reads(wake_up="0s") == [1448] * 10
    assert first_reads(wake_up="200us") == [1448, *[2896] * 4, 1448]
    assert first_reads(wake_up="5ms") == [14480]


def test_waking_takes_its_time_after_a_timer_too_and_starting_takes_none() -> None:
    with Network(seed=1) as net:
        slow = net.host("slow", wake_up="50us")

        @slow.run(start="1s")
        def sleeper() -> list[float]:
            seen = [time.monotonic()]
            for _ in range(2):
                time.sleep(0.001)
                seen.append(time.monotonic())
            return seen

        net.run()
        assert sleeper.result() == pytest.approx([1, 1.00105, 1.0021], abs=1e-12)


def test_a_program_that_is_killed_while_it_is_woken_does_not_run() -> None:
    with Network(seed=1) as net:
        slow = net.host("slow", wake_up="50us")
        seen: list[float] = []

        @slow.run
        def sleeper() -> None:
            time.sleep(1)
            seen.append(time.monotonic())

        net.at("1.00001s", sleeper.kill)
        net.run(check=False)
        assert seen == []
        with pytest.raises(ValueError, match="wake_up"):
            net.host("no", wake_up="-1ms")
