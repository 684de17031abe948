"""The chapters of the tour in another language: ``zh.toml`` has the texts of each, by its name."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

from estab.cli.chapters.chapter import Chapter

__all__ = ["chapter_in"]


def chapter_in(language: str, chapter: Chapter) -> Chapter:
    """Give a chapter with its texts in a language; what it does stays the same."""
    told = _texts(language).get(chapter.name)
    if told is None:
        return chapter
    scenes = tuple(replace(scene, name=name, setting=setting)
                   for scene, (name, setting) in zip(chapter.scenes, told["scenes"], strict=True))
    return replace(chapter, title=told["title"], question=told["question"], scenes=scenes)


@cache
def _texts(language: str) -> dict[str, Any]:
    if language == "en":
        return {}
    text = files("estab.cli.chapters").joinpath(f"{language}.toml").read_text(encoding="utf-8")
    found: dict[str, Any] = tomllib.loads(text)["chapters"]
    return found
