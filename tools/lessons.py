"""Read the lessons of ``web/lab/lessons``: Markdown with an experiment, a question, and code that answers it by a run.

A lesson in English has everything; a translation has its title, text, question and choices, in the same order. The
file's number is its place. ``docs/teaching.md`` says how one is written.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

LESSONS = Path(__file__).resolve().parent.parent / "web" / "lab" / "lessons"
LANGUAGES = ("en", "zh")
_BLOCK = re.compile(r"^```(\w+) (\S+)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_RIGHT = "[x] "
_CHOICE = re.compile(r"^- (.+)$", re.MULTILINE)
_TOLD = re.compile(r"^> (.+)$", re.MULTILINE)


def read(path: Path, original: dict[str, Any] | None = None) -> dict[str, Any]:
    """Read one. ``original`` is the English one, for a translation. ``ValueError`` says what is missing."""
    text = path.read_text(encoding="utf-8")
    blocks = {(kind, name): body for kind, name, body in _BLOCK.findall(text)}
    text = _BLOCK.sub("", text)
    title, _, text = text.partition("\n")
    prose, _, asked = text.partition("\n## ")
    question, _, rest = asked.partition("\n")
    choices = _CHOICE.findall(rest)
    lesson: dict[str, Any] = {
        "title": title.removeprefix("# ").strip(), "html": MarkdownIt().render(prose),
        "question": MarkdownIt().renderInline(question.strip()),
        "choices": [MarkdownIt().renderInline(choice.removeprefix(_RIGHT)) for choice in choices],
    }
    told = _TOLD.search(rest)
    if told is not None:
        lesson["told"] = MarkdownIt().renderInline(told[1])
    if not title.startswith("# ") or not question or len(lesson["choices"]) < 2:
        raise ValueError(f"{path}: a lesson has a title, a question (##) and at least two choices (-)")
    if original is not None:
        if blocks:
            raise ValueError(f"{path}: the code of a translation is the original's; leave it out")
        if len(original["choices"]) != len(lesson["choices"]):
            raise ValueError(f"{path}: it has {len(lesson['choices'])} choices, not {len(original['choices'])}")
        if ("told" in original) != ("told" in lesson):
            raise ValueError(f"{path}: it has a line (>) that says what the cure is if the original has one, else none")
        return {**{key: original[key] for key in ("experiment", "check", "right", "cure", "cured") if key in original},
                **lesson}
    for wanted in (("toml", "experiment"), ("python", "check")):
        if wanted not in blocks:
            raise ValueError(f"{path}: it has no block ```{' '.join(wanted)}")
    experiment = tomllib.loads(blocks.pop(("toml", "experiment")))
    lesson["check"] = blocks.pop(("python", "check"))
    settings = experiment.pop("settings", {})
    shown = blocks.pop(("python", "cured"), "")
    cure = _cure(blocks)
    if len({cure is None, told is None, not shown}) > 1:
        raise ValueError(f"{path}: a cure has a program or a ```toml cure, a line (>) that says what it is, and a "
                         "```python cured that says what is so with it")
    experiment["hosts"] = [{"name": name, "code": code, **({"settings": settings[name]} if name in settings else {})}
                           for (kind, name), code in blocks.items() if kind == "python"]
    lesson["experiment"] = experiment
    if cure is not None:
        unknown = set(cure["hosts"]) - {host["name"] for host in experiment["hosts"]}
        if unknown:
            raise ValueError(f"{path}: the cure is for {', '.join(sorted(unknown))}, which the lesson does not have")
        lesson["cure"] = cure
        lesson["cured"] = shown
    right = [number for number, choice in enumerate(choices) if choice.startswith(_RIGHT)]
    if len(right) != 1:
        raise ValueError(f"{path}: one choice is the right one: - [x]")
    lesson["right"] = right[0]
    return lesson


def _cure(blocks: dict[tuple[str, str], str]) -> dict[str, Any] | None:
    """Take the blocks of a cure: what is other in the second of two runs, programs (``server.cure``) and the rest."""
    found = {name.removesuffix(".cure"): body for (kind, name), body in blocks.items()
             if kind == "python" and name.endswith(".cure")}
    for name in found:
        del blocks["python", f"{name}.cure"]
    changed = tomllib.loads(blocks.pop(("toml", "cure"), ""))
    settings = changed.pop("settings", {})
    if not found and not changed and not settings:
        return None
    hosts = {name: {**({"code": found[name]} if name in found else {}),
                    **({"settings": settings[name]} if name in settings else {})} for name in {**found, **settings}}
    return {"hosts": hosts, "experiment": changed}


def cured(lesson: dict[str, Any]) -> dict[str, Any]:
    """Give the experiment of a lesson with its cure: the second of the two runs that the page shows."""
    experiment, cure = lesson["experiment"], lesson["cure"]
    hosts = [{**host, **cure["hosts"].get(host["name"], {})} for host in experiment["hosts"]]
    return {**experiment, **cure["experiment"], "hosts": hosts}


def read_all() -> dict[str, dict[str, dict[str, Any]]]:
    """Read all, by language and by file name, in order. One that has no translation is read in English."""
    found: dict[str, dict[str, dict[str, Any]]] = {language: {} for language in LANGUAGES}
    for path in sorted((LESSONS / "en").glob("*.md")):
        name = path.stem.partition("-")[2]
        found["en"][name] = read(path)
        for language in LANGUAGES[1:]:
            other = LESSONS / language / path.name
            found[language][name] = read(other, found["en"][name]) if other.exists() else found["en"][name]
    return found
