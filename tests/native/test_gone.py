"""Nothing is left of spawned hosts: no process, no namespace, no device, no file, however the network ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import estab

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="hosts of the kernel are Linux's namespaces")

SCRIPT = """
import sys, estab
net = estab.Network(clock="real", late_max="60s")
a, b = net.host("a"), net.host("b")
net.link(a, b)
sleeper = a.spawn(["sh", "-c", "sleep 1000 & setsid sleep 1001 & sleep 1002"], quiet=True)
b.spawn(["sleep", "1003"], quiet=True)
net.run(until=net.now + 0.3)
print(a.namespace_pid, b.namespace_pid, sleeper.pid, flush=True)
{end}
"""

ENDS = {
    "success": ("net.close()", 0),
    "no close at all": ("", 0),
    "an exception": ("raise ValueError('in a test')", 1),
    "an exception in a program": ("net.host('c').run(lambda: 1 / 0); net.run()", 1),
    "Ctrl-C": ("import os, signal; os.kill(os.getpid(), signal.SIGINT); net.run(until='60s')", -signal.SIGINT),
    "SIGKILL": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
}


def below(pid: int) -> set[int]:
    """Find the processes in the pid namespace whose first process is ``pid``."""
    try:
        namespace = os.readlink(f"/proc/{pid}/ns/pid")
    except FileNotFoundError:
        return set()
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.readlink(entry / "ns" / "pid") == namespace:
                    found.add(int(entry.name))
            except OSError:
                continue
    return found


def alive(pids: set[int]) -> set[int]:
    """Leave out processes that ended; of some their parent, outside of the test, takes no notice."""
    left = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            left.add(pid)
    return left


@pytest.mark.parametrize("how", ENDS)
def test_nothing_is_left_after(how: str, tmp_path: Path) -> None:
    end, status = ENDS[how]
    before = set(tmp_path.iterdir())
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(end=f"sys.stdin.readline()\n{end}")], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert process.stdin is not None
    assert process.stdout is not None
    keepers = [int(word) for word in process.stdout.readline().split()][:2]
    running = set().union(*map(below, keepers))
    assert len(running) >= 6  # two keepers, a shell, three of its children, and a sleeper
    process.stdin.write("\n")
    process.stdin.flush()
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == status, errors
    deadline = time.monotonic() + 20
    while left := alive(running):
        assert time.monotonic() < deadline, f"after {how} {left} are still there"
    assert set(tmp_path.iterdir()) == before


def test_a_closed_network_has_waited_for_the_end_of_its_processes() -> None:
    with estab.Network(clock="real", late_max="60s") as net:
        host = net.host("a")
        process = host.spawn(["sleep", "1000"], quiet=True)
        net.run(until=net.now + 0.05)
        keeper = host.namespace_pid
        assert alive({keeper, process.pid}) == {keeper, process.pid}
    assert alive({keeper, process.pid}) == set()
    assert process.returncode == -signal.SIGKILL


def test_descriptors_are_closed_with_the_network() -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    for _ in range(2):
        with estab.Network(clock="real", late_max="60s") as net:
            a, b = net.host("a"), net.host("b")
            net.link(a, b)
            a.spawn(["true"], quiet=True).wait("30s")
            b.spawn_python(os.getpid, quiet=True).result("30s")
            a.sockets()
    assert descriptors() == before
