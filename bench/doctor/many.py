"""100,000 sockets of the kernel, and how long the doctor takes to look at them twice.

``python -m bench.doctor.many`` (root): connections on loopback, in a namespace of their own, from as many processes as
the limit of descriptors needs. ``hold N K`` is one of those processes.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import socket
import subprocess
import sys
import time

from bench.doctor.score import put_between

NAMESPACE = "estab-bench-many"
REST_S = 5.5
"""Most connections of such a machine have been idle for longer than what the doctor calls moving. So have these."""
_LOOK = """
import json, time
from estab.doctor.sockets import PAUSE_S, diagnose_sockets
wall, cpu = time.perf_counter(), time.process_time()
report = diagnose_sockets()
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))  # ru_maxrss has the parent's, too
print(json.dumps({"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "pause_s": PAUSE_S,
                  "mb": int(peak.split()[1]) / 1024,
                  "sockets": report.looked_at["sockets"], "findings": len(report.findings)}))
"""


def hold(count: int, number: int) -> None:
    """Make ``count`` connections to an address of this process's own, say so, and keep them until input ends.

    For each line of input, each connection carries some text both ways first.
    """
    gc.disable()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    kept = []
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((f"127.0.1.{number + 1}", 5000))
        listener.listen(1000)
        for _ in range(count):
            caller = socket.create_connection(listener.getsockname())
            connection = listener.accept()[0]
            for one in (caller, connection):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            kept += [caller, connection]
        print("ready", flush=True)
        while sys.stdin.readline():
            for caller, connection in zip(kept[::2], kept[1::2], strict=True):
                caller.send(b"how are you?")
                connection.send(connection.recv(100))
                caller.recv(100)
            print("moved", flush=True)


def measure(sockets: int, inside: list[str], are_moving: bool = False) -> dict[str, float]:
    """Make the sockets (``inside`` are the words before a command), and let the doctor look.

    ``are_moving``: all carried text within the seconds before the look. Else none did.
    """
    most = min(25_000, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 50) // 2)
    left, holders = sockets // 2, []
    while left > 0:
        words = [*inside, sys.executable, "-m", "bench.doctor.many", "hold", str(min(most, left)), str(len(holders))]
        holders.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        left -= most
    try:
        for holder in holders:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "ready\n"
        if are_moving:
            for holder in holders:
                assert holder.stdin is not None
                holder.stdin.write("move\n")
                holder.stdin.flush()
            for holder in holders:
                assert holder.stdout is not None
                assert holder.stdout.readline() == "moved\n"
        else:
            time.sleep(REST_S)
        done = subprocess.run([*inside, sys.executable, "-c", _LOOK], capture_output=True, text=True, check=True)
    finally:
        for holder in holders:
            holder.communicate()
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> int:
    """Measure, and tell."""
    if sys.argv[1:2] == ["hold"]:
        hold(int(sys.argv[2]), int(sys.argv[3]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", type=int, default=100_000)
    parser.add_argument("--page")
    options = parser.parse_args()
    found = {}
    for are_moving in (False, True):
        subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
        try:
            subprocess.run(["ip", "-n", NAMESPACE, "link", "set", "lo", "up"], check=True)
            found[are_moving] = measure(options.sockets, ["ip", "netns", "exec", NAMESPACE], are_moving)
        finally:
            subprocess.run(["ip", "netns", "del", NAMESPACE], check=True)
    idle, moving = found[False], found[True]
    text = (f"{idle['sockets']:,.0f} idle sockets are looked at twice in {idle['cpu_s']:.2f} s of processor time "
            f"({idle['wall_s']:.2f} s with the pause of {idle['pause_s']} s and what else ran), with "
            f"{idle['mb']:.0f} MB; as many that all carried text within the last seconds in {moving['cpu_s']:.2f} s "
            f"({moving['wall_s']:.2f} s), with {moving['mb']:.0f} MB (`python -m bench.doctor.many`).")
    print(text)
    if options.page:
        put_between(options.page, "scale", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
