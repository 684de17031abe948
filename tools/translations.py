"""Says which translations may be older than their English originals, and notes those that were brought up to date.

Usage: translations.py            names the translations whose English text has changed since
       translations.py FILE ...   notes that these say what their originals say now (--all: all of them)

``tools/translations.toml`` has for each translation a hash of the English text that it was last compared with. The text
is what a translator reads: without blocks of code, and without what is copied from the original.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

from estab.cli.chapters import CHAPTERS

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "tools" / "translations.toml"
_BLOCK = re.compile(r"^(`{3,})[^\n]*\n.*?^\1\n", re.MULTILINE | re.DOTALL)
_WORDS = re.compile(r"^  en: \{$(.*?)^  \},$", re.MULTILINE | re.DOTALL)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _chapters() -> str:
    """The texts of the tour's chapters, which stand in Python."""
    return "\n".join(text for chapter in CHAPTERS for text in (
        chapter.title, chapter.question, *(part for scene in chapter.scenes for part in (scene.name, scene.setting))))


def _words() -> str:
    """The words of the lab's page."""
    found = _WORDS.search(_read(ROOT / "web" / "lab" / "src" / "words.js"))
    if found is None:
        raise SystemExit("translations: web/lab/src/words.js has no English words")
    return found[1]


def _page(path: Path) -> Callable[[], str]:
    """The prose of a page or a lesson, up to what is copied into its translation."""
    return lambda: _BLOCK.sub("", _read(path)).partition("\n## Try it\n")[0]


def originals() -> dict[str, tuple[str, Callable[[], str]]]:
    """List the translations, each with its original's name and how its text is read."""
    found = {"README.zh-CN.md": ("README.md", _page(ROOT / "README.md")),
             "src/estab/cli/chapters/zh.toml": ("src/estab/cli/chapters", _chapters),
             "web/lab/src/words.js": ("web/lab/src/words.js", _words)}
    folders = {"docs/zh/misconceptions": "docs/misconceptions", "web/lab/lessons/zh": "web/lab/lessons/en"}
    for there, here in folders.items():
        for path in sorted((ROOT / here).glob("*.md")):
            found[f"{there}/{path.name}"] = (f"{here}/{path.name}", _page(path))
    return found


def _hash(text: str) -> str:
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:16]


def due() -> list[str]:
    """Name the translations whose original has another text than when they were last compared."""
    kept = tomllib.loads(_read(KEPT)) if KEPT.exists() else {}
    return [f"{name}: {original} has changed: compare the two, then run tools/translations.py {name}"
            for name, (original, text) in originals().items() if kept.get(name) != _hash(text())]


def note(names: list[str]) -> None:
    """Keep the hashes of what these translations were compared with now."""
    known = originals()
    kept = tomllib.loads(_read(KEPT)) if KEPT.exists() else {}
    kept.update({name: _hash(known[name][1]()) for name in names})
    lines = [f'"{name}" = "{kept[name]}"\n' for name in sorted(known) if name in kept]
    head = "# Hashes of the English texts that translations were last compared with, by tools/translations.py\n"
    KEPT.write_text(head + "".join(lines), encoding="utf-8")


def main() -> int:
    """Name what is due, or note what was done."""
    parser = argparse.ArgumentParser(prog="translations.py", description="Which translations are older than originals.")
    parser.add_argument("--all", action="store_true", help="all of them are up to date")
    parser.add_argument("files", nargs="*", metavar="FILE", help="translations that are up to date")
    asked = parser.parse_args()
    unknown = [name for name in asked.files if name not in originals()]
    if unknown:
        print(f"translations: no translation: {', '.join(unknown)}", file=sys.stderr)
        return 2
    if asked.all or asked.files:
        note(list(originals()) if asked.all else asked.files)
        return 0
    left = due()
    print("\n".join(left) if left else "translations: all are up to date")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
