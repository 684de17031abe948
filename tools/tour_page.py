"""Write docs/tour.md and docs/zh/tour.md: what each chapter of ``estab tour`` asks and plays, and a lesson of the lab.

Run it after a change of what the chapters say. ``tests/cli/test_tour_page.py`` says if that is due.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from estab.cli.chapters import CHAPTERS
from estab.cli.chapters.languages import chapter_in

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = {"en": DOCS / "tour.md", "zh": DOCS / "zh" / "tour.md"}
LESSONS: Final = {
    "handshake": ("four-outcomes",), "backlog": ("backlog",), "flood": ("syn-flood",), "data": ("slow-reader",),
    "loss": ("loss",), "frames": ("sticky-packets",), "cable": ("heartbeats",), "close": ("simultaneous-close",),
    "half-close": ("four-way-close",), "simultaneous": ("simultaneous-open",), "time-wait": ("time-wait",),
    "close-wait": ("close-wait",),
}
"""What of the lab stands beside each chapter."""
_INTRO: Final = {
    "en": "# The tour\n\n`estab tour` tells the life of a connection in twelve chapters, each from runs of the real "
          "engine: step by step, then as a ladder of\nsegments, then what was found. Here is what each chapter asks "
          "and plays. Beside it a lesson of the lab runs, with something broken to\nlook at.\n",
    "zh": "# 一个连接的一生\n\n`estab tour --lang zh` 用十二章讲述一个连接的一生，每一章都来自真实引擎的运行："
          "先一步一步地讲，再画成报文段的梯形图，最后是所发现的。这里是每一章的问题和所演示的场景。"
          "旁边有实验室的一课正在运行，其中有什么东西是坏的，可以动手看看。\n",
}


def mark(lesson: str, title: str, language: str) -> str:
    """Say which lesson of the lab belongs here; ``tools/lab_in_docs.py`` puts the lesson itself in its place."""
    told = (f"In the lab (<code>estab lab</code>): {title}" if language == "en"
            else f"在实验室中（<code>estab lab</code>）：{title}")
    return f'<div class="estab-lab" data-lesson="{lesson}">{told}</div>\n'


def page(language: str, titles: dict[str, str]) -> str:
    """Write one page. ``titles`` are those of the lessons."""
    option, stop = ("", ".") if language == "en" else (f" --lang {language}", "。")
    parts = [_INTRO[language]]
    for chapter in CHAPTERS:
        told = chapter_in(language, chapter)
        command = f"```sh\nestab tour {told.name}{option}\n```\n"
        parts.append(f"## {told.name}: {told.title}\n\n{_safe(told.question)}\n\n{command}")
        parts.append("".join(f"- **{_safe(scene.name)}{stop}** {_safe(scene.setting)}\n" for scene in told.scenes))
        parts += [mark(lesson, titles[lesson], language) for lesson in LESSONS[chapter.name]]
    return "\n".join(parts)


def _safe(text: str) -> str:
    """Write a text so that Markdown leaves it as it is."""
    return re.sub(r"([*_<>\[\]])", r"\\\1", text)


def main() -> None:
    """Write both pages."""
    from lessons import read_all

    lessons = read_all()
    for language, path in PAGES.items():
        titles = {name: lesson["title"] for name, lesson in lessons[language].items()}
        path.write_text(page(language, titles), encoding="utf-8")


if __name__ == "__main__":
    main()
