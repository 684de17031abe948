"""Writes what is generated in docs/doctor.md and docs/explain.md: tables from the sources, examples from real commands.

``python tools/doctor_page.py`` rewrites the pages; ``--check`` says whether they are as they would be. The grades
come from ``make doctor-score``, the public captures from ``bench/doctor/public.py``.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.doctor.phases import Play  # noqa: E402
from bench.doctor.score import put_between  # noqa: E402 - the folder of the benchmarks is no package of the wheel
from bench.doctor.weather import make  # noqa: E402
from estab.devices.capture_file import Captured  # noqa: E402
from estab.doctor.causes import CAUSES  # noqa: E402
from estab.doctor.recordings import frames_of  # noqa: E402
from estab.explain.table import KINDS, terms  # noqa: E402

DOCTOR, EXPLAIN = ROOT / "docs" / "doctor.md", ROOT / "docs" / "explain.md"
CAPTURES = {"nagle.pcap": ("nagle", 3), "silent.pcap": ("path-silent", 3)}
COMMANDS = {
    "nagle": ["doctor", "nagle.pcap"],
    "silent": ["doctor", "silent.pcap"],
    "phases": ["doctor", "varying.pcap"],
    "overflows": ["explain", "ListenOverflows"],
    "timeout": ["explain", "tcp_syn_retries", "--run"],
}


def write_pcap(path: Path, frames: list[Captured]) -> None:
    """Write a classic pcap file with nanoseconds."""
    parts = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, 228)]
    for frame in frames:
        seconds, rest = divmod(frame.time_ns, 1_000_000_000)
        parts.append(struct.pack("<IIII", seconds, rest, len(frame.data), len(frame.data)) + frame.data)
    path.write_bytes(b"".join(parts))


def examples() -> dict[str, str]:
    """Run the commands, and give what a terminal would show."""
    shown = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (kind, seed) in CAPTURES.items():
            write_pcap(Path(folder) / name, make(kind, seed).captures["sender"])
        varying = Play([("application-limited", 3.0), ("loss", 4.0), ("application-limited", 2.0)], 1)
        write_pcap(Path(folder) / "varying.pcap", frames_of(varying.facts, "client"))
        environment = {**os.environ, "COLUMNS": "100", "PYTHONPATH": os.pathsep.join(sys.path)}
        for name, words in COMMANDS.items():
            done = subprocess.run([sys.executable, "-m", "estab.cli.main", *words], cwd=folder, env=environment,
                                  capture_output=True, text=True)
            language = "text" if words[0] == "doctor" else "console"  # tests run console blocks
            shown[name] = f"```{language}\n$ estab {' '.join(words)}\n{done.stdout}```"
        twin = Path(folder) / "twin.py"
        subprocess.run([sys.executable, "-m", "estab.cli.main", "doctor", "silent.pcap", "--replay", "twin.py"],
                       cwd=folder, env=environment, capture_output=True)
        told = subprocess.run([sys.executable, str(twin)], env=environment, capture_output=True, text=True, check=True)
        shown["twin"] = ("```text\n$ estab doctor silent.pcap --replay twin.py > /dev/null\n$ python twin.py\n"
                         f"{told.stdout}```")
    return shown


def causes() -> str:
    """Write the table of causes."""
    lines = ["| cause | kind | what it is | what to do | seen in |", "|---|---|---|---|---|"]
    for cause in CAUSES.values():
        cures = "; ".join(cause.cures)
        lines.append(f"| `{cause.name}` | {cause.kind} | {cause.what} | {cures} | {', '.join(cause.seen_in)} |")
    return "\n".join(lines)


def words() -> str:
    """Write the tables of words."""
    parts = []
    for kind, title in KINDS.items():
        heads = ("wanted for", "mind") if kind in ("option", "sysctl") else ("caused by", "what to do")
        parts.append(f"## {title}\n\n| word | what it is | {heads[0]} | {heads[1]} | scene |\n|---|---|---|---|---|")
        rows = [term for term in terms().values() if term.kind == kind]
        parts[-1] += "".join(
            f"\n| `{term.name}` | {_cell(term.what)} | {_cell(term.causes)} | {_cell(term.do)} | {term.shown} |"
            for term in rows)
    return "\n\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def main() -> int:
    """Rewrite both pages, or compare."""
    before = {path: path.read_text(encoding="utf-8") for path in (DOCTOR, EXPLAIN)}
    shown = examples()
    put_between(str(DOCTOR), "causes", causes())
    put_between(str(EXPLAIN), "words", words())
    for path in (DOCTOR, EXPLAIN):
        for name, text in shown.items():
            if f"<!-- {name}: begin -->" in before[path]:
                put_between(str(path), name, text)
    changed = [path.name for path in before if path.read_text(encoding="utf-8") != before[path]]
    if "--check" in sys.argv:
        for path, text in before.items():
            path.write_text(text, encoding="utf-8")
        print("\n".join(f"{name} is not as it would be written: python tools/doctor_page.py" for name in changed))
        return int(bool(changed))
    print(f"written: {', '.join(changed) or 'nothing changed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
