"""Writes ``src/estab/explain/shown.py``: which scene of the lab shows each word, found by playing all of them."""

from __future__ import annotations

import sys
from pathlib import Path

from estab.cli.scenes import SCENES, play, shown_by
from estab.explain.table import terms

PATH = Path(__file__).resolve().parent.parent / "src" / "estab" / "explain" / "shown.py"
HEAD = '''"""Which scene of the lab shows a word, by ``kind:name``: written by ``tools/explain_shown.py``."""

from __future__ import annotations

from typing import Final

__all__ = ["SHOWN"]

'''


def main() -> int:
    """Play every scene, and give each word the scene that shows the fewest other words."""
    known = {f"{kind}:{name}" for kind, name in terms()}
    by_scene = {name: {word for word in shown_by(play(scene)) if word in known} for name, scene in SCENES.items()}
    chosen: dict[str, str] = {}
    for name in sorted(by_scene, key=lambda name: len(by_scene[name])):
        for word in by_scene[name]:
            chosen.setdefault(word, name)
    rows = "".join(f'    "{word}": "{chosen[word]}",\n' for word in sorted(chosen))
    text = f"{HEAD}SHOWN: Final[dict[str, str]] = {{\n{rows}}}\n"
    if sys.argv[1:] == ["--stdout"]:
        sys.stdout.write(text)
        return 0
    PATH.write_text(text, encoding="utf-8")
    print(f"{len(chosen)} of {len(known)} words have a scene")
    return 0


if __name__ == "__main__":
    sys.exit(main())
