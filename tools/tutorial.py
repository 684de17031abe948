"""Play ``docs/testing.md`` and ``examples/README.md``, and write into them what is printed: after a change in estab."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import estab  # noqa: E402, F401
from tests.trial.test_tutorial import BLOCK, PAGE, play  # noqa: E402


def stories() -> None:
    """Rewrite the page of the stories."""

    def fill(block: re.Match[str]) -> str:
        command = block.group(1)
        return f"```console\n$ {command}\n{play(command, ROOT)}```"

    page = ROOT / "examples" / "README.md"
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"^```console\n\$ (python [^\n]*)\n.*?^```$", fill, text, flags=re.MULTILINE | re.DOTALL)
    page.write_text(text, encoding="utf-8")


def tutorial() -> None:
    """Rewrite the tutorial."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def fill(block: re.Match[str]) -> str:
            kind, title, text = block.groups()
            if kind != "console":
                (folder / title).write_text(text, encoding="utf-8")
                return block.group()
            command = text.partition("\n")[0].removeprefix("$ ")
            printed = play(command, folder).replace(f"{folder}/", "")
            return f'```console title="{title}"\n$ {command}\n{printed}```'

        PAGE.write_text(BLOCK.sub(fill, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    stories()
    tutorial()
