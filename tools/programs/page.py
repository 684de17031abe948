"""Writes the table into docs/programs.md, and the same as JSON beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tools.programs.runner import Row

__all__ = ["BEGIN", "END", "read_rows", "write_page", "write_rows"]

BEGIN: Final = "<!-- the table: python -m tools.programs writes it -->"
END: Final = "<!-- the end of the table -->"


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows as JSON."""
    path.write_text(json.dumps([row.kept() for row in rows], indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_rows(path: Path) -> list[Row]:
    """Read rows that were written."""
    return [Row(**fields) for fields in json.loads(path.read_text(encoding="utf-8"))]


def write_page(path: Path, rows: Sequence[Row]) -> None:
    """Write the table between its two marks."""
    text = path.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    if not rest or not tail:
        raise ValueError(f"{path} lacks the marks of the table")
    path.write_text(f"{head}{BEGIN}\n\n{table(rows)}\n{END}{tail}", encoding="utf-8")


def table(rows: Sequence[Row]) -> str:
    """Write the counts, and a table for each family with its notes."""
    counts = {status: sum(row.status == status for row in rows) for status in ("works", "friction", "refused", "fails")}
    parts = [f"Of {len(rows)} entries {counts['works']} work as they are, {counts['friction']} with friction, "
             f"{counts['refused']} are refused in a sentence, and {counts['fails']} fail.", ""]
    for family in dict.fromkeys(row.family for row in rows):
        parts += [f"### {family}", "", "| program | version | | after a cut | after 60 s without power | two runs |",
                  "|---|---|---|---|---|---|"]
        notes = []
        for row in rows:
            if row.family == family:
                name = f"{row.name}<br>{row.tried}" if row.tried else row.name
                cells = (name, row.version, row.status, row.cut or "–", row.power or "–", row.captures or "–")
                parts.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
                if row.note:
                    notes.append(f"- {row.name}: {row.note.replace('|', '&#124;').replace('<', '&lt;')}")
        parts += ["", *notes, ""] if notes else [""]
    return "\n".join(parts)
