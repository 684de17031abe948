"""Fuzzing of a whole host: ``python -m tests.fuzz --seconds 600``, or ``make fuzz SECONDS=600``.

Inputs that reach something new are kept and changed further. What counts as new: a counter of the host (all drops have
a reason that is counted) with another order of magnitude, a state of a connection together with that of its loss
recovery, an errno. That is measured from outside, so the core runs compiled, ten times as fast as under a tracer.

An input that fails is made smaller and written to ``build/fuzz``; the exit status is 1. Once its cause is mended it
goes into ``tests/fuzz/mended.txt``. With ``--keep`` what was found is merged into ``tests/fuzz/corpus.txt``: the
shortest inputs that reach all there is. ``--inputs`` instead of ``--seconds`` plays the same inputs for the same seed,
on a fast machine and on a slow one.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import sys
import time
import traceback
from multiprocessing import Process, Queue
from pathlib import Path
from queue import Empty
from random import Random

from tests.fuzz.mutate import mutated
from tests.fuzz.play import RECORD_BYTES, Play

ROOT = Path(__file__).resolve().parent.parent.parent
CORPUS = ROOT / "tests" / "fuzz" / "corpus.txt"
MENDED = ROOT / "tests" / "fuzz" / "mended.txt"
CORPUS_MAX = 250
FOLDER = ROOT / "build" / "fuzz"
SLOW_S = 20.0
INPUTS_S = 1800.0
"""The time for ``--inputs``: after it a process is at one of them for ever, or the machine is too slow for so many."""
PATIENCE_S = 120.0
"""How long after its time a process may be busy with one input."""


def load(path: Path = CORPUS) -> list[bytes]:
    """Read the corpus that is kept in the repository, or with ``MENDED`` the inputs that failed once."""
    if not path.exists():
        return []
    return [base64.b85decode(line) for line in path.read_text(encoding="ascii").split()]


def features_of(data: bytes) -> set[str]:
    """Play an input; raises what is wrong."""
    play = Play(data)
    play.run()
    return play.features


def shrunk(data: bytes) -> bytes:
    """Drop records of a failing input for as long as it fails in the same way."""
    kind = failure(data)
    at = 2
    while at < len(data):
        smaller = data[:at] + data[at + RECORD_BYTES :]
        if failure(smaller) == kind:
            data = smaller
        else:
            at += RECORD_BYTES
    return data


def failure(data: bytes) -> str:
    """Tell what an input fails with, and where; empty if it does not."""
    try:
        features_of(data)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        return f"{type(error).__name__} in {frames[-1].name}"
    return ""


def work(seconds: float, inputs: int, seed: int, number: int, results: Queue[tuple[str, object]]) -> None:
    """Fuzz in one process, until the time is over or so many inputs are played.

    Tells ``("failed", input)``, and at the end ``("done", (inputs, frames, kept))``. The input at hand is in a file,
    for the case that the process dies or does not come back.
    """
    chance = Random(seed)
    at_hand = current(number).open("wb", buffering=0)
    kept = load() or [b"\0\0"]
    known: set[str] = set()
    count = frames = 0
    for data in kept:
        known |= features_of(data)
    end = time.monotonic() + seconds
    found: list[bytes] = []
    while time.monotonic() < end and count < inputs:
        base = chance.choice(kept[-50:] if chance.random() < 0.3 else kept)
        data = mutated(base, chance.choice(kept), chance)
        started = time.monotonic()
        at_hand.seek(0)
        at_hand.write(data)
        at_hand.truncate()
        play = Play(data)
        try:
            play.run()
        except Exception:
            results.put(("failed", data))
            break
        count += 1
        frames += play.frames
        if time.monotonic() - started > SLOW_S:
            results.put(("slow", data))
            break
        if not play.features <= known:
            known |= play.features
            kept.append(data)
            found.append(data)
    at_hand.close()
    results.put(("done", (count, frames, len(known), found)))


def current(number: int) -> Path:
    """Give the file of the input that process ``number`` plays."""
    return FOLDER / f"current-{number}"


def minimal(inputs: list[bytes]) -> list[bytes]:
    """Choose inputs that reach all that all of them reach, short ones first."""
    reached = [(data, features_of(data)) for data in inputs]
    wanted = set().union(*(features for _, features in reached))
    chosen = []
    while wanted and len(chosen) < CORPUS_MAX:
        data, features = max(reached, key=lambda one: (len(one[1] & wanted), -len(one[0])))
        chosen.append(data)
        wanted -= features
    return sorted(chosen, key=lambda data: (len(data), data))


def main() -> int:
    """Run the fuzzer in as many processes as asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz a whole host.")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long (120)")
    parser.add_argument("--inputs", type=int, default=None, help="how many inputs a process, instead of --seconds")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)), help="how many (all processors)")
    parser.add_argument("--seed", type=int, default=None, help="where chance begins (the clock)")
    parser.add_argument("--keep", action="store_true", help="merge what was found into the corpus")
    parser.add_argument("input", nargs="*", type=Path, help="play these files only")
    given = parser.parse_args()
    for name in ("seconds", "inputs", "processes"):
        if getattr(given, name) is not None and getattr(given, name) <= 0:
            parser.error(f"--{name} must be more than 0: else nothing is played")
    if given.input:
        for path in given.input:
            features_of(path.read_bytes())
            print(f"{path}: all held")
        return 0
    seed = given.seed if given.seed is not None else time.time_ns() & 0xFFFFFFFF
    seconds, inputs = (given.seconds, sys.maxsize) if given.inputs is None else (INPUTS_S, given.inputs)
    amount = f"{seconds:g} s" if given.inputs is None else f"{inputs:,} inputs each"
    print(f"fuzz: {amount} in {given.processes} processes, seed {seed}", flush=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    results: Queue[tuple[str, object]] = Queue()
    workers = [Process(target=work, args=(seconds, inputs, seed + n, n, results)) for n in range(given.processes)]
    for worker in workers:
        worker.start()
    return report(workers, results, seconds, keep=given.keep)


def report(workers: list[Process], results: Queue[tuple[str, object]], seconds: float, *, keep: bool) -> int:
    """Wait for the processes, and say what came of it."""
    inputs = frames = reached = failed = 0
    found: list[bytes] = []
    running = len(workers)
    started = time.monotonic()
    while running:
        try:
            kind, value = results.get(timeout=10)
        except Empty:
            is_late = time.monotonic() - started > seconds + PATIENCE_S
            gone = [n for n, worker in enumerate(workers) if (is_late and worker.is_alive()) or worker.exitcode]
            if gone:
                for worker in workers:
                    worker.kill()
                how = "did not come back from" if is_late else "crashed with"
                names = ", ".join(str(current(n).relative_to(ROOT)) for n in gone)
                print(f"fuzz: the core {how} the input in {names}", flush=True)
                return 1
            if sys.stdout.isatty():
                print(f"fuzz: {time.monotonic() - started:.0f} s of {seconds:.0f} s at most", flush=True)
            continue
        if kind == "done":
            running -= 1
            one_inputs, one_frames, one_reached, one_found = value  # type: ignore[misc]
            inputs, frames, reached = inputs + one_inputs, frames + one_frames, max(reached, one_reached)
            found += one_found
        else:
            failed += 1
            keep_failure(kind, value)  # type: ignore[arg-type]
    for worker in workers:
        worker.join()
    print(f"fuzz: {inputs:,} inputs, {frames:,} frames, {reached:,} things reached, {failed} failed")
    if keep and not failed:
        corpus = minimal(load() + found)
        CORPUS.write_text("".join(base64.b85encode(data).decode() + "\n" for data in corpus), encoding="ascii")
        print(f"fuzz: {len(corpus)} inputs of {sum(map(len, corpus)):,} bytes kept")
    return 1 if failed else 0


def keep_failure(kind: str, data: bytes) -> None:
    """Write an input that fails, as small as it can be, and show how."""
    if kind == "failed":
        data = shrunk(data)
    path = FOLDER / f"{kind}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    print(f"fuzz: {kind}; again: python -m tests.fuzz {path.relative_to(ROOT)}", flush=True)
    if kind == "failed":
        try:
            features_of(data)
        except Exception:
            traceback.print_exc()


if __name__ == "__main__":
    sys.exit(main())
