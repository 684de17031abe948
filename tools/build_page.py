"""Build the report page's own text: ``web/`` into one file, ``src/estab/report/page.html``.

Usage: build_page.py [--check]. The modules of ``web/src`` become functions in one script, in the order in which they
need each other; a module imports by name from files beside it and exports what it declares. Script and style are
allowed by their hashes, so that nothing else in the page can run. ``--check`` only says whether the built file is that
of the sources: exit code 1 if not.
"""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "web"
BUILT = ROOT / "src" / "estab" / "report" / "page.html"
_IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.[^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|let|class) (\w+))", re.MULTILINE)
_NAME = re.compile(r"^export (?:async )?(?:function|const|let|class) (\w+)", re.MULTILINE)


def bundle(entry: Path) -> str:
    """Join a module and all that it imports into one script."""
    done: dict[Path, str] = {}
    parts: list[str] = []
    _add(entry.resolve(), done, parts, ())
    return '(() => {\n"use strict";\n' + "".join(parts) + "})();\n"


def _add(path: Path, done: dict[Path, str], parts: list[str], above: tuple[Path, ...]) -> str:
    """Add a module after those it needs. Returns the name of what it exports."""
    if path in above:
        raise SystemExit(f"{path.name} imports itself by way of {', '.join(item.name for item in above)}")
    if path in done:
        return done[path]
    text = path.read_text(encoding="utf-8")
    exported = _NAME.findall(text)

    def imported(match: re.Match[str]) -> str:
        other = (path.parent / match[2]).resolve()
        name = _add(other, done, parts, (*above, path))
        wanted = [word.strip().replace(" as ", ": ") for word in match[1].split(",") if word.strip()]
        missing = {word.partition(":")[0] for word in wanted} - set(_NAME.findall(other.read_text(encoding="utf-8")))
        if missing:
            raise SystemExit(f"{path.name}: {other.name} does not export {', '.join(sorted(missing))}")
        return f"const {{ {', '.join(wanted)} }} = {name};\n"

    body = _EXPORT.sub("", _IMPORT.sub(imported, text))
    if re.search(r"^\s*(import|export)\b", body, re.MULTILINE):
        raise SystemExit(f"{path.name}: an import or export that this step does not know")
    name = done[path] = "m_" + re.sub(r"\W", "_", str(path.relative_to(WEB.resolve() / "src").with_suffix("")))
    parts.append(f"const {name} = (() => {{\n{body}return {{ {', '.join(exported)} }};\n}})();\n")
    return name


def build() -> str:
    """Give the text of the page, with places for title and data."""
    vendor = WEB / "vendor" / "uplot"
    script = (vendor / "uPlot.iife.min.js").read_text(encoding="utf-8") + "\n" + bundle(WEB / "src" / "main.js")
    style = (vendor / "uPlot.min.css").read_text(encoding="utf-8") + (WEB / "page.css").read_text(encoding="utf-8")
    for text, tag in ((script, "script"), (style, "style")):
        if f"</{tag}" in text.lower() or "<!--" in text:
            raise SystemExit(f"the {tag} would end its own element")
    page = (WEB / "page.html").read_text(encoding="utf-8")
    for place, value in (("@script-hash@", _hash(script)), ("@style-hash@", _hash(style)), ("@style@", style),
                         ("@script@", script)):
        before, found, after = page.partition(place)
        if not found:
            raise SystemExit(f"page.html has no {place}")
        page = before + value + after
    return page


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def main() -> int:
    """Build the page, or check it."""
    page = build()
    if "--check" in sys.argv[1:]:
        if BUILT.exists() and BUILT.read_text(encoding="utf-8") == page:
            return 0
        print(f"{BUILT.relative_to(ROOT)} is not what web/ gives: run make web", file=sys.stderr)
        return 1
    BUILT.write_text(page, encoding="utf-8", newline="\n")
    print(f"{BUILT.relative_to(ROOT)}: {len(page.encode()):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
