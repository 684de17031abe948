"""Which call each host is in the middle of: the one way to tell what belongs to a call.

A call is under way from its start, or from where it goes on, until it blocks or returns. What its host tells meanwhile
belongs to it. If threads run at the same time, each has a call of its own.
"""

from __future__ import annotations

from estab.events import CallBlocked, CallResumed, CallReturned, CallStarted, Event

__all__ = ["UnderWay"]


class UnderWay:
    """Follows the calls of hosts, fact by fact, in the order in which they came to be."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: dict[tuple[str, int], int] = {}

    def call_now(self, host: str, thread: int = 0) -> int:
        """Return the number of the call that a host is in the middle of; 0: none."""
        return self._calls.get((host, thread), 0)

    def call_of(self, fact: Event, thread: int = 0) -> int:
        """Return the number of the call that a fact belongs to; 0: none. Call it once for each fact."""
        key = (fact.host, thread)
        if isinstance(fact, (CallStarted, CallResumed)):
            self._calls[key] = fact.call
            return fact.call
        if isinstance(fact, (CallBlocked, CallReturned)):
            self._calls.pop(key, None)
            return fact.call
        return self._calls.get(key, 0)

    def forget(self, number: int) -> None:
        """Note that a call ended with its program, which no fact reports."""
        for key in [key for key, call in self._calls.items() if call == number]:
            del self._calls[key]
