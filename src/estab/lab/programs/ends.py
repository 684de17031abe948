"""What the result of a program is that did not return."""

from __future__ import annotations

__all__ = ["ExitError", "UnfinishedError"]


class UnfinishedError(RuntimeError):
    """The result of a program was requested before it finished."""


class ExitError(RuntimeError):
    """A program ended itself with a ``status`` other than 0, or a signal ended it: then minus the signal's number.

    It is no ``SystemExit``, which would end the test, too.
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status
