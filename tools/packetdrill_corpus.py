"""Score the engine against a tree of packetdrill scripts, and write what came of it as a table.

    python tools/packetdrill_corpus.py gtests/net/tcp    # of a clone of github.com/google/packetdrill
    python tools/packetdrill_corpus.py test/packetdrill --option tolerance_usecs=100000    # of google/gvisor

    python tools/packetdrill_corpus.py tools/testing/selftests/net/packetdrill    # of Linux's sources

Each script is run in the IP versions that its own runner uses: Google's in all three, unless its name ends in v4 or v6,
Linux's in IPv4 and IPv6. With
``--reasons FILE`` the failures are sorted by the reasons that file gives, one regular expression and a reason a line;
with ``--table`` the result is printed as Markdown.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from estab.drill.runner import Result, ip_versions_of, run

Job = tuple[str, str, dict[str, str]]


def one(job: Job) -> Result:
    path, version, options = job
    return run(path, ip_version=version, options=options)


def jobs_below(root: Path, options: dict[str, str]) -> list[Job]:
    scripts = sorted(root.rglob("*.pkt")) if root.is_dir() else [root]
    return [(str(path), version, options) for path in scripts for version in ip_versions_of(path)]


def results_of(jobs: list[Job], workers: int) -> Iterable[Result]:
    if workers == 1:
        yield from map(one, jobs)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(one, jobs, chunksize=8)


def reasons_from(path: str | None) -> list[tuple[re.Pattern[str], str]]:
    if path is None:
        return []
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("\t") for line in lines if line and not line.startswith("#")]
    return [(re.compile(pattern), reason.strip()) for pattern, _, reason in pairs]


def table(results: list[Result], root: Path) -> str:
    """Write a row for each folder: how many pairs of script and IP version there are, and how many pass."""
    total, passed = Counter[str](), Counter[str]()
    for result in results:
        folder = str(Path(result.path).parent.relative_to(root))
        total[folder] += 1
        passed[folder] += result.is_ok
    rows = ["| folder | pairs | passed | failed |", "|---|---:|---:|---:|"]
    for folder, count in total.items():
        rows.append(f"| {folder} | {count} | {passed[folder]} | {count - passed[folder]} |")
    rows.append(f"| **all** | {total.total()} | {passed.total()} | {total.total() - passed.total()} |")
    return "\n".join(rows)


def failures(results: list[Result], root: Path, reasons: list[tuple[re.Pattern[str], str]]) -> str:
    """Write a line for each script that fails: in which IP versions, where, and why."""
    by_script: dict[str, list[Result]] = {}
    for result in results:
        if not result.is_ok:
            by_script.setdefault(str(Path(result.path).relative_to(root)), []).append(result)
    rows = ["| script | fails in | why |", "|---|---|---|"]
    for script, found in by_script.items():
        versions = ", ".join(result.ip_version for result in found) if len(found) < 3 else "all"
        why = next((reason for pattern, reason in reasons if pattern.search(script)), "")
        told = why or f"line {found[0].line}: {found[0].message.splitlines()[0]}".replace("|", "\\|")
        rows.append(f"| {script} | {versions} | {told} |")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--option", metavar="NAME=VALUE", action="append", default=[])
    parser.add_argument("--reasons", metavar="FILE")
    parser.add_argument("--table", action="store_true", help="print Markdown")
    parser.add_argument("--verbose", action="store_true", help="print what was expected and what came")
    arguments = parser.parse_args()
    options = dict(text.split("=", 1) for text in arguments.option)
    root = arguments.path if arguments.path.is_dir() else arguments.path.parent
    results = list(results_of(jobs_below(arguments.path, options), arguments.jobs))
    if arguments.table:
        print(table(results, root))
        print()
        print(failures(results, root, reasons_from(arguments.reasons)))
    else:
        for result in results:
            if not result.is_ok:
                shown = str(result) if arguments.verbose else str(result).splitlines()[0]
                print(f"{result.ip_version:17}{shown}")
        print(f"{sum(result.is_ok for result in results)} of {len(results)} pairs of script and IP version pass")
    return 0 if all(result.is_ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
