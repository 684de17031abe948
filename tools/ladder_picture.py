"""Draws a page's example as a picture: runs the page's first Python block and writes its recording's ladder as SVG.

    python tools/ladder_picture.py docs/observing.md docs/observing.svg

The block names its recording ``seen``. The picture needs no font and nothing else from elsewhere.
"""

from __future__ import annotations

import io
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from estab import Recording
from estab.cli.screen import STYLES

WIDTH = 96


def recorded(page: str) -> Recording:
    """Run a page's first Python block."""
    block = re.search(r"```python\n(.*?)```", page, re.S)
    if block is None:
        raise SystemExit("the page has no Python block")
    names: dict[str, object] = {"__name__": "page"}
    with redirect_stdout(io.StringIO()):
        exec(compile(block[1], "page", "exec"), names)
    seen = names.get("seen")
    if not isinstance(seen, Recording):
        raise SystemExit("the page's first Python block has no recording called seen")
    return seen


def picture(seen: Recording) -> str:
    """Draw a recording's ladder as SVG."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in seen.ladder_lines(width=WIDTH):
        console.print(Text.assemble(*((span.text, STYLES.get(span.role, "")) for span in line)), soft_wrap=True)
    svg = console.export_svg(title=seen.title, theme=MONOKAI, unique_id="estab")
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.S)
    svg = svg.replace("Fira Code, monospace", "monospace").replace("font-family: Fira Code", "font-family: monospace")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    page, target = map(Path, sys.argv[1:])
    target.write_text(picture(recorded(page.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
