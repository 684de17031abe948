"""One rule on links, as the links ask it: whatever a user's function does, the run is told of it.

- A rule is a function of a ``PacketView``, or of the sender's name and the frame's bytes.
- One that raises, or returns what is no verdict, ends the run with a ``RuleError`` that names its line. The packet at
  hand goes on.
"""

from __future__ import annotations

import inspect
import os
import traceback
from collections.abc import Callable
from typing import Any, TypeAlias

from estab.errors import DropReason, is_of_estab
from estab.lab.packets.view import PacketView
from estab.lab.rules.verdicts import PacketRule, Said, Verdict, drop, ok

__all__ = ["FrameRule", "Rule", "RuleEntry", "RuleError"]

FrameRule: TypeAlias = Callable[[str, bytes], DropReason | bool | None]
"""Looks at a frame, given its sender's name and its bytes. ``True`` or a reason: take it out."""
Rule: TypeAlias = PacketRule | FrameRule


class RuleError(RuntimeError):
    """A rule raised, or returned what is no verdict. The text names the rule's line and the packet."""


class RuleEntry:
    """A rule, as links keep it. ``fail`` is told its error."""

    def __init__(self, rule: Rule, fail: Callable[[BaseException], None]) -> None:
        _check(rule)
        self.rule: Any = rule
        self._fail = fail
        self._is_by_packet = _takes_packet(rule)

    def ask(self, link: str, sender: str, frame: bytes, header_bytes: int) -> Verdict:
        """Ask what becomes of a frame."""
        view = PacketView(link, sender, frame, header_bytes)
        try:
            said: Said = self.rule(view) if self._is_by_packet else self.rule(sender, frame)
        except Exception as error:
            failure = RuleError(f"the rule at {_line_of_error(error, self.rule)} raised {_told(error)}; it was asked "
                                f"about {view!r}")
            failure.__cause__ = error
            self._fail(failure.with_traceback(error.__traceback__))
            return ok
        return self._verdict(said, view)

    def _verdict(self, said: object, view: PacketView) -> Verdict:
        if isinstance(said, Verdict):
            return said
        if said is None or said is False:
            return ok
        if said is True:
            return drop
        if isinstance(said, DropReason):
            return Verdict("drop", reason=said)
        hint = "; write it with its brackets" if callable(said) else ""
        self._fail(RuleError(f"the rule at {_line_of(self.rule)} returned {said!r} for {view!r}, which is no verdict: "
                             f"ok, drop, duplicate, delay(\"20ms\") or reject(){hint}"))
        return ok


def _check(rule: object) -> None:
    if not callable(rule):
        raise TypeError(f"rule: {rule!r} is not a function of a packet, like lambda p: drop if p.udp else ok")


def _takes_packet(rule: Any) -> bool:
    """Tell a rule about packets from one about frames: it has one argument to fill, and not two."""
    try:
        parameters = inspect.signature(rule).parameters.values()
    except (TypeError, ValueError):
        return True
    needed = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
              and one.default is one.empty]
    if len(needed) > 2:
        raise TypeError(f"rule: {rule!r} has {len(needed)} arguments to be filled; a rule is asked with one packet, "
                        "like lambda p: drop if p.udp else ok")
    return len(needed) != 2


def _told(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _line_of_error(error: BaseException, rule: Any) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not is_of_estab(frame.filename)]
    return f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else _line_of(rule)


def _line_of(rule: Any) -> str:
    code = getattr(rule, "__code__", None) or getattr(vars(type(rule)).get("__call__"), "__code__", None)
    return "?" if code is None else f"{os.path.basename(code.co_filename)}:{code.co_firstlineno}"
