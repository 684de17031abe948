"""Text files as users give them: UTF-8, or it is said which file is not."""

from __future__ import annotations

from pathlib import Path

__all__ = ["read_text"]


def read_text(path: str | Path, wrong: type[ValueError]) -> str:
    """Read a file of text. ``OSError``; ``wrong`` names the file and the byte if it is not UTF-8."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise wrong(f"{path}: it is not UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}") from None
