"""Nothing is left of spawned hosts: no process, no namespace, no device, no file, however the network ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import estab
from tests.kit.unprivileged import unprivileged

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="hosts of the kernel are Linux's namespaces")

SCRIPT = """
import os, signal, sys, time, estab
netns, how = sys.argv[1:]
net = estab.Network(clock="real", late_max="60s")
a, b, c = net.host("a"), net.host("b"), net.host("c")
links = [net.link(a, b), net.link(b, c)]
a.spawn(["sh", "-c", "sleep 1000 & setsid sleep 1001 & sleep 1002"], quiet=True)
b.spawn(["sleep", "1003"], quiet=True)
c.spawn_python(time.sleep, 1004, quiet=True)
hosts = [a, b, c]
if netns:
    hosts.append(net.attach("web", netns=netns))
    net.link(hosts[-1], a)
net.run(until=net.now + 0.3)
print(*(host.namespace_pid for host in hosts), flush=True)
sys.stdin.readline()
if how == "success":
    net.close()
elif how == "an exception":
    raise ValueError("in a test")
elif how == "an exception in a program":
    net.host("d").run(lambda: 1 / 0)
    net.run()
elif how == "Ctrl-C":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.kill(os.getpid(), signal.SIGINT)
    net.run(until="60s")
elif how == "SIGKILL":
    os.kill(os.getpid(), signal.SIGKILL)
"""

ENDS = {
    "success": 0, "no close at all": 0, "an exception": 1, "an exception in a program": 1, "Ctrl-C": -signal.SIGINT,
    "SIGKILL": -signal.SIGKILL,
}


def below(ancestors: list[int]) -> set[int]:
    """Find processes and all that they started."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = set(ancestors)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
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


def in_use(namespaces: set[str]) -> set[str]:
    """Find which of these network namespaces a process is in, holds open, or has mounted."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            for link in (entry / "ns" / "net", *_descriptors(entry)):
                try:
                    found.add(os.readlink(link))
                except OSError:
                    continue
    mounted = Path("/proc/self/mountinfo").read_text()
    return {name for name in namespaces if name in found or name in mounted}


def _descriptors(process: Path) -> list[Path]:
    try:
        return list((process / "fd").iterdir())
    except OSError:
        return []


def devices() -> list[str]:
    """List the network devices of the machine itself."""
    return [line.partition(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder for temporary files in which every user may write."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o777)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def netns() -> Iterator[str]:
    """Give the name of a network namespace, which stands for a container's; none if this is not root."""
    if os.geteuid() != 0:
        yield ""
        return
    name = f"estab-gone-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield name
    subprocess.run(["ip", "netns", "del", name], check=True)


def see_nothing_left(how: str, argv: list[str], env: dict[str, str], folder: Path, least: int) -> None:
    """Run the script, and look for what its network made, while it is there and afterwards."""
    machine = devices()
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**env, "TMPDIR": str(folder)})
    assert process.stdin is not None
    assert process.stdout is not None
    keepers = [int(word) for word in process.stdout.readline().split()]
    assert keepers, process.communicate()[1]
    running = below(keepers)
    assert len(running) >= least
    namespaces = {os.readlink(f"/proc/{keeper}/ns/net") for keeper in keepers[:3]}
    assert len(in_use(namespaces)) == 3
    process.stdin.write("\n")
    process.stdin.flush()
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == ENDS[how], errors
    deadline = time.monotonic() + 20
    while left := [*alive(running), *in_use(namespaces), *set(devices()) - set(machine)]:
        assert time.monotonic() < deadline, f"after {how} {left} are still there"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("how", ENDS)
def test_nothing_is_left_of_what_was_spawned_and_attached_after(how: str, folder: Path, netns: str) -> None:
    argv = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{SCRIPT}", netns, how]
    # Keepers, a shell, three of its children, two sleepers.
    see_nothing_left(how, argv, dict(os.environ), folder, 9 + bool(netns))
    if netns:
        deadline = time.monotonic() + 20
        while (shown := _in_netns(netns, "-br", "link").split())[0] != "lo" or "lab0" in " ".join(shown):
            assert time.monotonic() < deadline, shown
        assert _in_netns(netns, "route") == ""


def _in_netns(name: str, *words: str) -> str:
    return subprocess.run(["ip", "-n", name, *words], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("how", ["success", "SIGKILL"])
def test_nothing_is_left_where_hosts_have_no_pid_namespace_after(how: str, folder: Path) -> None:
    forced = ("import estab.native.spaces as spaces; "
              "spaces.Spaces.has_pid_namespaces = property(lambda self: False, lambda *_: None)")
    argv = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{forced}\n{SCRIPT}", "", how]
    see_nothing_left(how, argv, dict(os.environ), folder, 9)


@pytest.mark.parametrize("how", ENDS)
def test_nothing_is_left_of_what_a_user_without_rights_spawned_after(how: str, folder: Path) -> None:
    with unprivileged(SCRIPT, "", how) as (argv, env):
        see_nothing_left(how, argv, env, folder, 9)


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
