"""Where in a scenario file something stands that was read well and is refused when it is put on a network."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["Block", "find_blocks", "place"]

_HEADER: Final = re.compile(r"""\s*(\[\[?)\s*([\w.\s"'-]+?)\s*\]\]?\s*(#.*)?""")
_WORD: Final = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of a file under one header, from number ``first`` on."""

    file: str
    first: int
    lines: tuple[str, ...]


def find_blocks(text: str, file: str, called: Mapping[str, Iterable[str]]) -> dict[str, Block]:
    """Find the tables of a file by what errors call them: ``hosts.server``, ``links: wifi``.

    ``called``: the names of the items of each list of tables, in their order.
    """
    lines = text.splitlines()
    starts = [(number, found) for number, line in enumerate(lines) if (found := _HEADER.fullmatch(line)) is not None]
    names = {kind: iter(items) for kind, items in called.items()}
    blocks: dict[str, Block] = {}
    for at, (number, found) in enumerate(starts):
        end = starts[at + 1][0] if at + 1 < len(starts) else len(lines)
        key = found[2].replace('"', "").replace("'", "")
        if found[1] == "[[":
            item = next(names.get(key, iter(())), None)
            if item is None:
                continue
            key = f"{key}: {item}"
        blocks[key] = Block(file, number + 1, tuple(lines[number:end]))
    return blocks


def place(said: str, blocks: Mapping[str, Block]) -> str:
    """Put the file and the line before what was said of one of its tables, if it is known where that stands."""
    key = max((key for key in blocks if said.startswith((f"{key}:", f"{key}."))), key=len, default=None)
    if key is None:
        return said
    block = blocks[key]
    words = set(_WORD.findall(said[len(key):]))
    settings = blocks.get(f"{key}.settings")
    for one in (block, settings) if settings is not None else (block,):
        for number, line in enumerate(one.lines[1:], one.first + 1):
            if line.partition("=")[0].strip() in words or any(f"{word} =" in line for word in words):
                return f"{one.file}:{number}: {said}"
    return f"{block.file}:{block.first}: {said}"
