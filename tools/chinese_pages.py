"""Copy the programs of docs/misconceptions, and what they print, into their Chinese twins in docs/zh/misconceptions.

A twin has prose of its own; all after its heading 试一试 is the original's. Run it after a change of a program.
"""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
ORIGINALS = DOCS / "misconceptions"
TWINS = DOCS / "zh" / "misconceptions"
TRY, TRY_IN_CHINESE = "\n## Try it\n", "\n## 试一试\n"


def twin_text(original: str, twin: str) -> str:
    """Give a twin the programs of its original."""
    prose = twin.partition(TRY_IN_CHINESE)[0]
    program = original.partition(TRY)[2]
    return prose.rstrip("\n") + "\n" + (TRY_IN_CHINESE + program if program else "")


def main() -> None:
    """Rewrite the twins."""
    for original in sorted(ORIGINALS.glob("*.md")):
        twin = TWINS / original.name
        twin.write_text(twin_text(original.read_text(encoding="utf-8"), twin.read_text(encoding="utf-8")),
                        encoding="utf-8")


if __name__ == "__main__":
    main()
