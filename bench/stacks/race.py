"""estab beside other stacks on this machine: one client that knows none of them, in turn, round after round.

    sudo .venv/bin/python bench/stacks/race.py [--rounds 5] [--seconds 3] [--stacks estab,lwip] [--modes sink,source]

Stacks that can't be built are named with what is missing, and left out. Tables of medians and ratios go to the
terminal and to build/stacks/race.md, the readings to build/stacks/race.jsonl; with --docs they also go between the
marks of docs/speed.md. With ``ESTAB_BEFORE=/path/to/bin/estab`` in the environment, another build of estab runs as
``estab-before`` and ``estab-plain-before``, in turn with the rest: what a change costs or brings. ``--queues`` runs
estab with two queues beside one, in place of all that.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from course import PORT, QUEUES, STACKS, WHAT, Course, available
from peers import OUT
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from tables import Board, Reading, absolute_table, aims_table, markdown, ratio_table

HERE: Final = Path(__file__).resolve().parent
DOCS: Final = HERE.parents[1] / "docs" / "speed.md"


def modes(args: argparse.Namespace) -> dict[str, list[str]]:
    """Name each mode and how the client is called for it."""
    share = max(0.02, args.seconds / 3)
    count, trips = str(round(6000 * share)), str(round(10_000 * share))
    found = {
        "sink": ["sink", "--seconds", str(args.seconds)],
        "source": ["source", "--seconds", str(args.seconds)],
        "latency": ["latency", "--count", trips],
        "beside": ["beside", "--seconds", str(args.seconds)],
        "connect 1": ["connect", "--count", count],
        "connect 32": ["connect", "--count", count, "--parallel", "32"],
        "connect others": ["connect", "--count", count, "--others", "10000"],
    }
    if args.queues:
        found = {name: [*found[name.split()[0]], "--parallel", "2"] for name in ("sink 2", "source 2")}
        found["connect 32"] = ["connect", "--count", count, "--parallel", "32"]
    wanted = args.modes.split(",") if args.modes else list(found)
    return {name: call for name, call in found.items() if name in wanted or name.replace(" ", "-") in wanted}


def ask(course: Course, mode: str, call: list[str]) -> dict[str, Any]:
    """Run the client against one stack. A client that fails is a result, too: ``{"error": ...}``."""
    command = ["ip", "netns", "exec", course.client, sys.executable, str(HERE / "client.py"), course.address, str(PORT),
               *call, "--pid", str(course.pid)]
    cpu = course.cpu_seconds()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        return {"error": "no end after 300 s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {"error": lines[-1] if lines else f"exit status {done.returncode}"}
    result: dict[str, Any] = json.loads(done.stdout)
    took = course.cpu_seconds() - cpu
    if "bytes" in result:
        result["cpu_ms_per_mb"] = took * 1e9 / max(1, result["bytes"])
    elif mode not in ("connect others", "beside"):
        result["cpu_us_each"] = took * 1e6 / max(1, result.get("count", 1))
    return result


def race(args: argparse.Namespace, console: Console, names: list[str]) -> list[Reading]:
    """Set all stacks up, and send the client round."""
    readings: list[Reading] = []
    calls = modes(args)
    with ExitStack() as stack, open(OUT / "race.jsonl", "w") as file:
        courses = []
        for name in names:
            course = Course(name)
            stack.callback(course.close)
            answer = ask(course, "ready", ["ready", "--seconds", "15"])
            if "error" in answer:
                console.print(f"{name} does not answer: {answer['error']} (see {OUT / name}-*.log)")
                continue
            courses.append(course)
        bar = Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
                       TimeElapsedColumn(), console=console)
        has_idle = not args.modes and not args.queues
        task = bar.add_task("", total=len(courses) * (args.rounds * len(calls) + has_idle))
        stack.enter_context(bar)

        def note(course: Course, mode: str, number: int, call: list[str]) -> None:
            bar.update(task, description=f"{course.name}: {mode}")
            result = ask(course, mode, call)
            if "error" in result:
                bar.console.print(f"{course.name}, {mode}: {result['error']}")
            reading = Reading(course.name, mode, number, result)
            readings.append(reading)
            file.write(json.dumps(asdict(reading)) + "\n")
            file.flush()
            bar.advance(task)

        if has_idle:
            for course in courses:  # first: on a server that has done nothing yet
                if course.name != "loopback" and course.name != "kernel-tun":
                    note(course, "idle", 0, ["idle", "--count", "1000"])
                else:
                    bar.advance(task)
        for number in range(args.rounds):
            for mode, call in calls.items():
                for course in courses[number % len(courses):] + courses[:number % len(courses)]:
                    note(course, mode, number, call)
    return readings


def report(readings: list[Reading], names: list[str], args: argparse.Namespace) -> str:
    """Write all tables, with what they were measured on."""
    board = Board(readings)
    model = "a processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    parts = [
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} × {model}, Linux {platform.release()}, Python "
        f"{platform.python_version()}; {args.rounds} rounds, medians (least–most). CPU time is that of the stack's own "
        "processes, the kernel's work on their behalf included.",
        markdown(absolute_table(board, names)),
    ]
    subjects = ("estab", "estab-plain", "2 queues")
    parts += [markdown(ratio_table(board, subject, names)) for subject in subjects if subject in names]
    aims = aims_table(board)
    if len(aims) > 1:
        parts.append(markdown(aims))
    parts.append("\n".join(f"- {name}: {WHAT[name]}" for name in names))
    return "\n\n".join(parts) + "\n"


def put_into_docs(text: str, name: str) -> None:
    """Replace what stands between the marks ``name`` of docs/speed.md."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    page = DOCS.read_text()
    head, _, rest = page.partition(begin)
    _, _, tail = rest.partition(end)
    DOCS.write_text(f"{head}{begin}\n\n{text}\n{end}{tail}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of each bulk transfer; counts follow it")
    parser.add_argument("--stacks", default=",".join(STACKS))
    parser.add_argument("--modes", default="")
    parser.add_argument("--queues", action="store_true", help="estab with two queues beside one, and nothing else")
    parser.add_argument("--docs", action="store_true", help="put the tables into docs/speed.md")
    args = parser.parse_args()
    console = Console()
    wanted = args.stacks.split(",")
    unknown = [name for name in wanted if name not in STACKS]
    if unknown:
        parser.error(f"no such stack: {', '.join(unknown)}; there are {', '.join(STACKS)}")
    if os.geteuid() != 0:
        print("bench-wire makes network namespaces and needs root: sudo make bench-wire", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    names, missing = (list(QUEUES), {}) if args.queues else available(wanted)
    for name, why in missing.items():
        console.print(f"{name} is left out: {why}")
    OUT.mkdir(parents=True, exist_ok=True)
    try:
        readings = race(args, console, names)
    except KeyboardInterrupt:
        return 130
    text = report(readings, names, args)
    name = "queues" if args.queues else "race"
    (OUT / f"{name}.md").write_text(text)
    print(text)
    if args.docs:
        put_into_docs(text, name)
    console.print(f"also in {OUT / f'{name}.md'}; every reading in {OUT / 'race.jsonl'}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
