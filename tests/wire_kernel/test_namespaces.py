"""What the tests' own namespaces promise: nothing of them is left over, however a test ends."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.kit.namespaces import Namespace, await_that, requires_kernel

pytestmark = requires_kernel


def is_there(name: str) -> bool:
    return name in subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout.split()


def runs(pid: int) -> bool:
    """Tell whether a process is there, and is not only waiting for its parent to take note of its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_test_that_fails_leaves_neither_namespace_nor_program() -> None:
    def fail() -> None:
        with net:
            started.append(net.start("sleep", "60"))
            await_that(lambda: started[0].pid in net.pids(), "it is in the namespace")
            raise ZeroDivisionError

    net = Namespace()
    started: list[subprocess.Popen[bytes]] = []
    with pytest.raises(ZeroDivisionError):
        fail()
    assert started[0].returncode == -signal.SIGTERM
    assert not is_there(net.name)


def test_what_a_program_left_behind_ends_with_the_namespace() -> None:
    with Namespace() as net:
        leader = net.start("sh", "-c", "sleep 60 & exit 0")
        leader.wait(5)
        [orphan] = net.pids()
    await_that(lambda: not runs(orphan), "what the program left behind ends")
    assert not is_there(net.name)


def test_a_set_up_that_fails_leaves_no_namespace() -> None:
    class Broken(Namespace):
        def set_up(self) -> None:
            super().set_up()
            self.ip("link set nothing0 up")

    net = Broken()
    with pytest.raises(AssertionError, match=r"ip -n estab-test-.* link set nothing0 up: exit status 1: .*nothing0"):
        net.__enter__()
    assert not is_there(net.name)


def test_no_two_have_one_name() -> None:
    with Namespace() as one, Namespace() as other:
        assert one.name != other.name
        assert is_there(one.name)
        assert is_there(other.name)
