"""How chance is distributed: losses in bursts, and by how much frames are late (``lateness`` draws that)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from estab.settings import Duration
from estab.units import duration_ns, share

__all__ = ["Bursts", "Jitter", "Shape"]

Shape: TypeAlias = Literal["uniform", "normal", "pareto", "table"]

_SHAPES: Final = ("uniform", "normal", "pareto")
_BURSTS: Final = re.compile(r"(\S+)\s+in\s+bursts\s+of\s+(\S+)\Z")


@dataclass(frozen=True, init=False, slots=True)
class Bursts:
    """Losses in bursts: the Gilbert-Elliott model, which is in a good or in a bad state for each frame.

    ``Bursts("2%", 5)`` loses 2 % of the frames, 5 in a row on average. The model's own parameters are shares,
    ``Bursts(enter="0.5%", leave="20%", bad="100%", good="0%")``: ``enter`` and ``leave`` of the frames at which a good
    link turns bad, or a bad one good; ``bad`` and ``good`` of the frames that are lost in either state. As text: ``"2%
    in bursts of 5"``, or ``"gemodel 0.5% 20% 100% 0%"``, the last two of which may be left out.
    """

    enter: float
    leave: float
    bad: float
    good: float

    def __init__(
        self, loss: float | str | None = None, length: float | None = None, *, enter: float | str | None = None,
        leave: float | str | None = None, bad: float | str = 1.0, good: float | str = 0.0,
    ) -> None:
        set_field = object.__setattr__
        set_field(self, "bad", share(bad, "bad"))
        set_field(self, "good", share(good, "good"))
        if loss is not None and length is not None and enter is None and leave is None:
            wanted = share(loss, "loss")
            if isinstance(length, bool) or not isinstance(length, (int, float)) or length < 1:
                raise ValueError(f"length: {length!r} is no mean length of a burst: at least 1 frame")
            if not self.good <= wanted < self.bad:
                raise ValueError(f"loss: {loss!r} is not from what the good state loses to what the bad one does")
            in_bad = (wanted - self.good) / (self.bad - self.good)
            set_field(self, "leave", 1.0 / length)
            set_field(self, "enter", in_bad / (1.0 - in_bad) / length)
            if self.enter > 1:
                raise ValueError(f"length: so much loss needs bursts longer than {length} frames")
        elif loss is None and length is None and enter is not None and leave is not None:
            set_field(self, "enter", share(enter, "enter"))
            set_field(self, "leave", share(leave, "leave"))
            if not self.leave:
                raise ValueError("leave: with 0 a bad link never gets well; that is loss=, or link.cut()")
        else:
            raise TypeError("Bursts: give loss and mean length, Bursts(\"2%\", 5), or enter= and leave=")

    @property
    def loss(self) -> float:
        """The share of frames that is lost on average."""
        in_bad = self.enter / (self.enter + self.leave)
        return in_bad * self.bad + (1.0 - in_bad) * self.good

    @classmethod
    def read(cls, text: str) -> Bursts | None:
        """Read its text; ``None`` for a text of another kind."""
        found = _BURSTS.match(text.strip())
        if found is not None:
            try:
                length = float(found[2])
            except ValueError:
                raise ValueError(f"loss: {text!r}: {found[2]!r} is no number of frames") from None
            return cls(found[1], length)
        words = text.split()
        if words[:1] != ["gemodel"]:
            return None
        if not 3 <= len(words) <= 5:
            raise ValueError(f"loss: {text!r}: write \"gemodel ENTER LEAVE [BAD [GOOD]]\", each a share")
        bad, good = (words[3:] + ["100%", "0%"][len(words) - 3:])[:2]
        return cls(enter=words[1], leave=words[2], bad=bad, good=good)

    def __str__(self) -> str:
        return f"gemodel {self.enter!r} {self.leave!r} {self.bad!r} {self.good!r}"


@dataclass(frozen=True, slots=True)
class Jitter:
    """By how much a link's delay differs. ``Jitter("10ms", "normal")``; as text ``"10ms normal"``.

    ``by`` is the greatest difference of ``"uniform"``, and the standard deviation of ``"normal"`` and ``"pareto"``
    (most a little early, few very late; no more than four times ``by``). ``table`` is a file of netem's
    (``/usr/lib/tc/*.dist``) or one's own: whole numbers, one of which is drawn each time, where 8192 stands for ``by``.
    Nothing arrives before it was sent.

    Frames stay in order unless ``reorders``. As text: ``"10ms pareto reorder"``, ``"10ms table:wifi.dist"``.
    """

    by: Duration
    shape: Shape = "uniform"
    reorders: bool = False
    table: str = ""

    def fields(self) -> dict[str, Any]:
        """Read it into the fields of ``Conditions``. ``ValueError``, ``OSError``."""
        shape = "table" if self.table else self.shape
        if shape not in _SHAPES and not self.table:
            raise ValueError(f"jitter: {self.shape!r} is none of {', '.join(_SHAPES)}, and no table was given")
        numbers = _read_table(self.table) if self.table else ()
        return {"jitter_ns": duration_ns(self.by, "jitter"), "jitter_shape": shape, "jitter_reorders": self.reorders,
                "jitter_table": numbers}

    @classmethod
    def read(cls, text: str) -> Jitter | None:
        """Read its text; ``None`` for one that is only a length of time."""
        words = text.split()
        if len(words) < 2 or (len(words) == 2 and words[1] in ("ns", "us", "µs", "ms", "s", "m", "min", "h", "d")):
            return None
        shape, table, reorders = "uniform", "", False
        for word in words[1:]:
            if word == "reorder":
                reorders = True
            elif word in _SHAPES:
                shape = word
            elif word.startswith("table:") and len(word) > len("table:"):
                table = word.removeprefix("table:")
            else:
                raise ValueError(f"jitter: {text!r}: {word!r} is none of {', '.join(_SHAPES)}, table:FILE, reorder")
        return cls(words[0], shape, reorders, table)  # type: ignore[arg-type]

    def __str__(self) -> str:
        shape = f"table:{self.table}" if self.table else self.shape
        return f"{duration_ns(self.by, 'jitter')}ns {shape}{' reorder' if self.reorders else ''}"


def _read_table(path: str) -> tuple[int, ...]:
    words: list[str] = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        words.extend(line.partition("#")[0].split())
    try:
        numbers = tuple(map(int, words))
    except ValueError as error:
        raise ValueError(f"jitter: {path}: {error}: a table has whole numbers, 8192 for one jitter") from None
    if not numbers:
        raise ValueError(f"jitter: {path} holds no numbers")
    return numbers
