"""The courses that the stacks run on: namespaces, devices and a server each, made here and taken away again.

Every stack has a namespace for the client, and one for itself where it needs its own. All are up at the same time: a
server that is not asked takes no time, so the client can go from one to the next, and whatever else the machine does
falls on all alike.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Final

from peers import OUT, Missing, build, gvisor_version, package_version

__all__ = ["QUEUES", "STACKS", "Course"]

ADDRESS: Final = "10.77.0.2"
PORT: Final = 7000
MTU: Final = 1500
SYSCTLS: Final = (
    "net.ipv4.tcp_congestion_control=reno", "net.ipv4.tcp_tw_reuse=1", "net.ipv4.ip_local_port_range=10000 65000",
    "net.core.somaxconn=4096", "net.ipv4.tcp_max_syn_backlog=4096", "net.ipv4.tcp_no_metrics_save=1",
    "net.ipv6.conf.all.disable_ipv6=1",
)


def ip(*words: str) -> None:
    """Run iproute2's ``ip``; what it complains of is the error's text."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def _children(pid: int) -> list[int]:
    """List the processes of the queues: children of the one that was started."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class Course:
    """One stack, served and reachable at ``address`` from the namespace ``client``. Closing takes all away."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.address = ADDRESS
        self.namespaces: list[str] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self._logs: list[IO[bytes]] = []
        self.client = self._namespace("c")
        try:
            (STACKS | QUEUES)[name](self)
        except BaseException:
            self.close()
            raise

    # --- what a stack's set-up calls

    def _namespace(self, end: str) -> str:
        name = f"estab-{os.getpid()}-{self.name.replace(' ', '')}-{end}"
        ip("netns", "add", name)
        self.namespaces.append(name)
        subprocess.run(["ip", "netns", "exec", name, "sysctl", "-qw", *SYSCTLS], check=True)
        ip("-n", name, "link", "set", "lo", "up")
        return name

    def own_namespace(self) -> str:
        """Make the namespace that the server has for itself."""
        return self._namespace("s")

    def tun(self, namespace: str, device: str, address: str, *flags: str) -> None:
        """Make a TUN device for ``address``; ``vnet_hdr`` gives it offload."""
        ip("-n", namespace, "tuntap", "add", device, "mode", "tun", *flags)
        self._configure(namespace, device, address)

    def _configure(self, namespace: str, device: str, address: str) -> None:
        ip("-n", namespace, "link", "set", device, "mtu", str(MTU), "up", "txqueuelen", "1000")
        ip("-n", namespace, "addr", "add", f"{address}/24", "dev", device)
        if namespace == self.client:
            for number in range(1, 100):
                ip("-n", namespace, "addr", "add", f"10.77.1.{number}/32", "dev", device)

    def veth(self, namespace: str) -> None:
        """Join the client and ``namespace`` by a pair of Ethernet devices, v0 and v1."""
        ip("link", "add", "v0", "netns", self.client, "mtu", str(MTU), "type", "veth",
           "peer", "name", "v1", "netns", namespace, "mtu", str(MTU))
        ip("-n", namespace, "link", "set", "v1", "up")
        self._configure(self.client, "v0", "10.77.0.1")

    def serve(self, namespace: str | None, *command: str | Path) -> None:
        """Start a process, in a namespace or outside of all."""
        OUT.mkdir(parents=True, exist_ok=True)
        log = open(OUT / f"{self.name.replace(' ', '-')}-{len(self.processes)}.log", "wb")  # noqa: SIM115
        self._logs.append(log)
        inside = ["ip", "netns", "exec", namespace] if namespace else []  # it becomes the command: the pid is its own
        self.processes.append(subprocess.Popen([*inside, *map(str, command)], stdout=log, stderr=log,
                                               stdin=subprocess.DEVNULL))

    # --- what the race calls

    @property
    def pid(self) -> int:
        """The server's process."""
        return self.processes[-1].pid

    def cpu_seconds(self) -> float:
        """Give the processor time that the stack's processes have taken, the kernel's on their behalf included.

        By the scheduler's own clock, in nanoseconds: ``/proc/PID/stat`` counts ticks of 10 ms.
        """
        total = 0
        for process in self.processes:
            for pid in (process.pid, *_children(process.pid)):
                for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                    with contextlib.suppress(OSError):  # a thread that has just ended
                        total += int(task.read_text().split()[0])
        return total / 1e9

    def close(self) -> None:
        """End the processes and remove the namespaces, and with them the devices."""
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()
        for log in self._logs:
            log.close()
        while self.namespaces:
            name = self.namespaces.pop()
            for _ in range(10):
                if subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False).returncode == 0:
                    break
                time.sleep(0.1)


BEFORE: Final = os.environ.get("ESTAB_BEFORE", "")
"""Another ``estab`` command to race against this one: a checkout from before a change, say."""


def _estab(command: str = "") -> list[str]:
    beside = Path(sys.executable).with_name("estab")
    start = [command] if command else [str(beside)] if beside.exists() else [sys.executable, "-m", "estab.cli.main"]
    return [*start, "up", "--tun", "tun0", "--address", f"{ADDRESS}/24", "--serve", f"echo:{PORT}",
            "--serve", f"discard:{PORT + 1}", "--serve", f"chargen:{PORT + 2}"]


def _loopback(course: Course) -> None:
    course.address = "127.0.0.1"
    course.serve(course.client, build("kernel"), str(PORT))


def _kernel_tun(course: Course) -> None:
    runtime, bounce = build("kernel"), build("bounce")
    server = course.own_namespace()
    course.tun(course.client, "tun0", "10.77.0.1", "vnet_hdr")
    course.tun(server, "tun1", ADDRESS, "vnet_hdr")
    ip("-n", server, "route", "add", "default", "dev", "tun1")
    course.serve(None, bounce, course.client, "tun0", server, "tun1", "vnet")
    course.serve(server, runtime, str(PORT))


def _lwip(course: Course) -> None:
    program = build("lwip")
    course.tun(course.client, "tun0", "10.77.0.1")
    course.serve(course.client, program, "tun0", ADDRESS, str(PORT))


def _gvisor(course: Course) -> None:
    program = build("gvisor")
    course.tun(course.client, "tun0", "10.77.0.1")
    course.serve(course.client, program, "-dev", "tun0", "-addr", ADDRESS, "-port", str(PORT))


def _gvisor_gso(course: Course) -> None:
    program = build("gvisor")
    server = course.own_namespace()
    course.veth(server)
    course.serve(server, program, "-mode", "packet", "-gso", "65536", "-queue", "1000", "-dev", "v1",
                 "-addr", ADDRESS, "-port", str(PORT))


def _estab_offload(course: Course) -> None:
    course.tun(course.client, "tun0", "10.77.0.1", "vnet_hdr")
    course.serve(course.client, *_estab())


def _estab_plain(course: Course) -> None:
    course.tun(course.client, "tun0", "10.77.0.1")
    course.serve(course.client, *_estab(), "--no-offload")


def _queues(count: int) -> Callable[[Course], None]:
    """One TUN device, a process of estab for each of its queues."""
    def setup(course: Course) -> None:
        course.tun(course.client, "tun0", "10.77.0.1", "vnet_hdr", "multi_queue")
        course.serve(course.client, *_estab(), "--queues", str(count))
    return setup


def _before_offload(course: Course) -> None:
    course.tun(course.client, "tun0", "10.77.0.1", "vnet_hdr")
    course.serve(course.client, *_estab(BEFORE))


def _before_plain(course: Course) -> None:
    course.tun(course.client, "tun0", "10.77.0.1")
    course.serve(course.client, *_estab(BEFORE), "--no-offload")


STACKS: Final[dict[str, Callable[[Course], None]]] = {
    "loopback": _loopback, "estab": _estab_offload, "estab-plain": _estab_plain, "lwip": _lwip, "gvisor": _gvisor,
    "gvisor-gso": _gvisor_gso, "kernel-tun": _kernel_tun,
}
QUEUES: Final[dict[str, Callable[[Course], None]]] = {"1 queue": _estab_offload, "2 queues": _queues(2)}
"""What ``--queues`` compares."""
if BEFORE:
    STACKS.update({"estab-before": _before_offload, "estab-plain-before": _before_plain})
"""Each stack's name and set-up."""

WHAT: Final[dict[str, str]] = {
    "1 queue": "estab on TUN with offload, one process",
    "2 queues": "estab on TUN with offload and two queues, a process each (`estab up --queues 2`)",
    "loopback": "the kernel's TCP on 127.0.0.1",
    "estab": "estab on TUN with offload (IFF_VNET_HDR)",
    "estab-plain": "estab on TUN, MTU 1500, no offload",
    "lwip": f"lwIP ({package_version('liblwip-dev')}) on TUN, MTU 1500",
    "gvisor": f"gVisor's netstack ({gvisor_version()}) on TUN, MTU 1500",
    "gvisor-gso": "gVisor's netstack on AF_PACKET and veth, with GSO, GRO and its FIFO",
    "kernel-tun": "the kernel's TCP behind two TUN devices with offload and a loop in C between them",
    "estab-before": f"{BEFORE} on TUN with offload",
    "estab-plain-before": f"{BEFORE} on TUN, MTU 1500, no offload",
}


def available(names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Build what the named stacks need. Gives those that can run, and for the others what is missing."""
    can: list[str] = []
    missing: dict[str, str] = {}
    needs = {"loopback": ["kernel"], "kernel-tun": ["kernel", "bounce"], "lwip": ["lwip"], "gvisor": ["gvisor"],
             "gvisor-gso": ["gvisor"]}
    for name in names:
        try:
            for program in needs.get(name, []):
                build(program)
            can.append(name)
        except Missing as error:
            missing[name] = str(error)
    return can, missing
