"""Very many connections at once, for a while: does estab's memory stay where it is?

    sudo .venv/bin/python bench/stacks/soak.py [--idle 100000] [--busy 10000] [--seconds 120]

Exit status 1 where an idle connection did not answer, or memory grew by more than a hundredth and 4 MiB from the second
quarter of the time to its last.

The device's queue holds a packet of every busy connection. One that drops some makes now this and now that connection
meet its first loss, and keep what it learnt of its path then: memory that has a bound, but one that is reached late.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from course import PORT, Course, ip

HERE = Path(__file__).resolve().parent
SLACK_MIB = 4.0


def soak(idle: int, busy: int, seconds: float) -> dict[str, Any]:
    """Run the client's soak against estab; gives what it saw."""
    course = Course("estab")
    try:
        def ask(*call: str) -> str:
            command = ["ip", "netns", "exec", course.client, sys.executable, str(HERE / "client.py"), course.address,
                       str(PORT), *call]
            return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=seconds + 1800).stdout

        ip("-n", course.client, "link", "set", "tun0", "txqueuelen", str(2 * busy))
        ask("ready", "--seconds", "20")
        result: dict[str, Any] = json.loads(ask("soak", "--others", str(idle), "--parallel", str(busy), "--seconds",
                                                str(seconds), "--pid", str(course.pid)))
        return result
    finally:
        course.close()


def growth_mib(readings: list[float]) -> float:
    """Compare the last quarter of the readings with the second."""
    quarter = max(1, len(readings) // 4)
    return median(readings[-quarter:]) - median(readings[quarter:2 * quarter] or readings[:1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idle", type=int, default=100_000)
    parser.add_argument("--busy", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=120)
    args = parser.parse_args()
    if os.geteuid() != 0:
        print("the soak makes network namespaces and needs root", file=sys.stderr)
        return 1
    result = soak(args.idle, args.busy, args.seconds)
    readings = result["resident_mib"]
    grown = growth_mib(readings)
    allowed = SLACK_MIB + 0.01 * max(readings)
    print(f"{result['idle']:,} idle and {result['busy']:,} busy connections for {result['seconds']:.0f} s: "
          f"{result['trips_per_s']:,.0f} round trips a second")
    print(f"resident memory, MiB: {' '.join(f'{reading:.0f}' for reading in readings)}")
    print(f"grown by {grown:.1f} MiB from the second quarter to the last (allowed: {allowed:.1f})")
    print(f"{result['alive']} of {result['asked']} idle connections that were asked answered")
    return 0 if grown <= allowed and result["alive"] == result["asked"] else 1


if __name__ == "__main__":
    sys.exit(main())
