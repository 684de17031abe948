"""Put the lab's page into the built documentation: ``site/lab``, and a frame with a lesson at each mark of a page.

Usage: lab_in_docs.py [SITE]. A mark is ``<div class="estab-lab" data-lesson="NAME">TEXT</div>``. Without npm,
from which the lab's page is made, the marks stay what they are: a text that says which lesson belongs there.
"""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import build_lab

ROOT = Path(__file__).resolve().parent.parent
MARK: Final = re.compile(r'<div class="estab-lab" data-lesson="([\w-]+)">(.*?)</div>', re.DOTALL)
_ALONE: Final = {"en": "Open it on a page of its own", "zh": "在单独的页面中打开"}
_STYLE: Final = "width:100%;height:46rem;border:1px solid #8888;border-radius:4px"


def embedded(text: str, lab: str, language: str) -> str:
    """Put frames in the place of a page's marks. ``lab`` is the way from the page to the lab's folder."""

    def frame(mark: re.Match[str]) -> str:
        lesson, told = mark.groups()
        title = html.escape(re.sub(r"<[^>]*>", "", told), quote=True)
        address = f"{lab}/index.html#lesson={lesson}&amp;lang={language}"
        return (f'<div class="estab-lab"><iframe loading="lazy" title="{title}" src="{address}&amp;embedded" '
                f'style="{_STYLE}"></iframe><p><a href="{address}">{_ALONE[language]}</a></p></div>')

    return MARK.sub(frame, text)


def main() -> int:
    """Build the lab and set the frames; say so if the lab is left out."""
    site = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "site"
    try:
        build_lab.build(site / "lab")
    except (SystemExit, OSError, subprocess.CalledProcessError) as error:
        print(f"docs: the lab is left out, and named where it would run: {error}", file=sys.stderr)
        return 0
    count = 0
    for page in sorted(site.rglob("*.html")):
        if site / "lab" in page.parents:
            continue
        text = page.read_text(encoding="utf-8")
        language = "zh" if page.relative_to(site).parts[0] == "zh" else "en"
        changed = embedded(text, os.path.relpath(site / "lab", page.parent), language)
        if changed != text:
            count += 1
            page.write_text(changed, encoding="utf-8")
    print(f"docs: the lab is in {site / 'lab'}, and runs on {count} pages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
