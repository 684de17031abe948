"""``python -m tools.programs``: tries the entries, prints a line for each, and writes the table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.programs.families import load
from tools.programs.page import read_rows, write_page, write_rows
from tools.programs.runner import try_all

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "programs.md"


def main() -> int:
    """Try what is asked for. Status 1: an entry fails."""
    parser = argparse.ArgumentParser(prog="python -m tools.programs", description="What programs do in the lab.")
    parser.add_argument("--only", default="", help="names of entries, or the beginning of a family's, with semicolons")
    parser.add_argument("--ci", action="store_true", help="those that CI tries")
    parser.add_argument("--page", type=Path, help="the page to write the table into; its JSON is written beside it")
    parser.add_argument("--json", type=Path, help="write the rows, with all details, to this file")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    asked = parser.parse_args()
    known = load()
    chosen = [entry for entry in known.values() if not asked.ci or entry.is_in_ci]
    if asked.only:
        words = [word.strip() for word in asked.only.split(";")]
        chosen = [entry for entry in chosen if entry.name in words or any(entry.family.startswith(w) for w in words)]
    if not chosen:
        parser.error(f"there is no such entry; there are: {', '.join(known)}")
    rows = []
    for row in try_all(chosen, asked.jobs):
        rows.append(row)
        print(f"{row.status:9}{row.name:28}{row.cut:44}{row.power:44}{row.captures}"
              f"{'  -- ' + row.note if row.note else ''}", flush=True)
    if asked.json:
        import json
        asked.json.write_text(json.dumps([{**row.kept(), "details": row.details} for row in rows], indent=1))
    if asked.page:
        path = asked.page.with_suffix(".json")
        kept = {row.name: row for row in read_rows(path)} if path.exists() else {}
        kept.update({row.name: row for row in rows})
        everything = [kept[name] for name in known if name in kept]
        write_rows(path, everything)
        write_page(asked.page, everything)
    return int(any(row.status == "fails" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
