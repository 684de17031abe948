"""What the constructs of the compiled core cost: each is compiled with mypyc into a module of its own, and timed.

    python bench/dialect.py        needs mypy[mypyc] and a C compiler; takes a minute

The table of docs/core-dialect.md is this one. Each loop runs a million times; the empty loop is taken off.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

ROUNDS = 1_000_000

MODULE = '''
from typing import Callable, Final, NamedTuple
from mypy_extensions import i64, mypyc_attr

class Plain:
    def __init__(self, a: i64, b: i64) -> None:
        self.a: i64 = a
        self.b: i64 = b

@mypyc_attr(acyclic=True)
class Acyclic:
    def __init__(self, a: i64, b: i64) -> None:
        self.a: i64 = a
        self.b: i64 = b

@mypyc_attr(acyclic=True, free_list_len=1)
class Listed:
    def __init__(self, a: i64, b: i64) -> None:
        self.a: i64 = a
        self.b: i64 = b

class Pair(NamedTuple):
    a: int
    b: int

class Record:
    def __init__(self) -> None:
        self.n: i64 = 0
        self.big: int = 1 << 40
        self.maybe: i64 | None = 7
        self.numbers: list[i64] = [1 << 40]
        self.hook: Callable[[int], int] = add_plain
        self.handler: Base = Derived()

    def add(self, n: i64) -> i64:
        return self.n + n

    @property
    def value(self) -> i64:
        return self.n

class Base:
    def step(self, n: i64) -> i64:
        return n

class Derived(Base):
    def step(self, n: i64) -> i64:
        return n + 1

@mypyc_attr(allow_interpreted_subclasses=True)
class Open:
    def step(self, n: i64) -> i64:
        return n

def add_plain(n: int) -> int:
    return n + 1

def empty(rounds: i64, r: Record, o: Open) -> i64:
    i: i64 = 0
    while i < rounds:
        i += 1
    return i
'''

CASES = {
    "`i64` arithmetic on an attribute": ("r.n = r.n + i & 0xffff", ""),
    "`int` arithmetic on an attribute, below 2⁶²": ("r.big = (r.big + 3) & 0xffffffffffff", ""),
    "`int` arithmetic on an attribute, above 2⁶²": ("r.big = (r.big + 3) | (1 << 63)", ""),
    "method of a native class": ("r.n = r.add(i)", ""),
    "method of a base class, overridden": ("r.n = r.handler.step(i)", ""),
    "method, `allow_interpreted_subclasses`": ("r.n = o.step(i)", ""),
    "call of a `Callable` attribute": ("r.hook(5)", ""),
    "property": ("r.n = r.value", ""),
    "`i64 | None` attribute, read and written": ("m = r.maybe\n        if m is not None: r.maybe = m + 1", ""),
    "element of a `list[i64]`, read and written": ("r.numbers[0] = r.numbers[0] + 1", ""),
    "a tuple returned and unpacked": (
        "a, b = two(i)\n        r.n = a + b", "def two(n: i64) -> tuple[i64, i64]:\n    return n, n\n",
    ),
    "object: plain native class": ("p = Plain(i, i)", ""),
    "object: `acyclic`": ("p = Acyclic(i, i)", ""),
    "object: `acyclic`, free list": ("p = Listed(i, i)", ""),
    "object: `NamedTuple`": ("p = Pair(3, 4)", ""),
    "object: closure made and called": ("f = lambda: i\n        r.n = f()", ""),
    "`isinstance` of a native class": ("if isinstance(r.handler, Derived): r.n = i", ""),
    "`try` and `except`, not raised": ("try:\n            r.n = i\n        except OSError:\n            pass", ""),
    "exception raised and caught": (
        "try:\n            bad()\n        except ValueError:\n            pass",
        "def bad() -> None:\n    raise ValueError\n",
    ),
    "`bytes` slice of 64": ("s = data[10:74]", "data: Final = bytes(1500)\n"),
    "f-string of a number": ("t = f'{i}'", ""),
}


def source() -> str:
    """Write the module: one function a case, which runs it so many times."""
    parts = [MODULE]
    for number, (body, before) in enumerate(CASES.values()):
        parts.append(before)
        parts.append(f"def case_{number}(rounds: i64, r: Record, o: Open) -> i64:\n    i: i64 = 0\n"
                     f"    while i < rounds:\n        i += 1\n        {body}\n    return i\n")
    return "\n".join(parts)


def best(module: object, name: str) -> float:
    """Time a function of the module: the best of five, in nanoseconds a round."""
    times = []
    for _ in range(5):
        record, opened = module.Record(), module.Open()  # type: ignore[attr-defined]
        started = perf_counter()
        getattr(module, name)(ROUNDS, record, opened)
        times.append((perf_counter() - started) / ROUNDS * 1e9)
    return min(times)


def main() -> None:
    """Compile, time, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        for name in ("compiled_cases", "plain_cases"):
            (path / f"{name}.py").write_text(source())
        command = [sys.executable, "-m", "mypyc", "compiled_cases.py"]
        result = subprocess.run(command, cwd=path, capture_output=True, text=True, check=False)
        if result.returncode:
            sys.exit(result.stdout + result.stderr)
        (path / "compiled_cases.py").unlink()
        sys.path.insert(0, folder)
        import compiled_cases
        import plain_cases
        print("| construct | compiled, ns | interpreted, ns |\n|---|---:|---:|")
        base, slow = best(compiled_cases, "empty"), best(plain_cases, "empty")
        for number, name in enumerate(CASES):
            ns = best(compiled_cases, f"case_{number}") - base
            plain = best(plain_cases, f"case_{number}") - slow
            print(f"| {name} | {max(ns, 0.0):.1f} | {max(plain, 0.0):.0f} |", flush=True)


if __name__ == "__main__":
    main()
