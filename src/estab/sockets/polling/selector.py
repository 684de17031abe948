"""A selector over sockets of ours, for asyncio's own ``SelectorEventLoop``.

Timeouts are exact: they are not rounded to milliseconds, as those of ``selectors.EpollSelector`` are.
"""

from __future__ import annotations

import selectors
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from estab.sockets.polling.callbacks import poll_bits
from estab.sockets.polling.poll import Interests, find_socket

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from estab.sockets.runtime import Runtime

__all__ = ["Selector"]


class Selector(selectors.BaseSelector):
    """Waits for sockets of one host. ``wake`` ends a wait from another program or thread."""

    def __init__(self, runtime: Runtime, loop: AbstractEventLoop | None = None) -> None:
        self.runtime = runtime
        self.interests = Interests(runtime, self.describe_waiting)
        self.interests.loop = loop
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._is_closed = False

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Register a socket for ``events``. ``KeyError`` if it is registered already."""
        self._check(events)
        number = self._number(fileobj)
        if number in self._keys:
            raise KeyError(f"{fileobj!r} (FD {number}) is already registered")
        self.interests.add(number, find_socket(self.runtime, number), poll_bits(events))
        key = self._keys[number] = selectors.SelectorKey(fileobj, number, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Remove it. ``KeyError`` if it is not registered."""
        key = self._key(fileobj)
        del self._keys[key.fd]
        if key.fd in self.interests:
            self.interests.remove(key.fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Change the events. ``KeyError`` if it is not registered."""
        self._check(events)
        key = self._key(fileobj)
        if events != key.events and key.fd in self.interests:
            self.interests.modify(key.fd, poll_bits(events))
        key = self._keys[key.fd] = key._replace(events=events, data=data)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait until a socket is ready, ``wake`` is called, or ``timeout`` seconds are over."""
        return self.interests.select(timeout, self._keys)

    def describe_waiting(self, name: str) -> str:
        """Say what a wait waits for."""
        return self.interests.describe(name)

    def wake(self) -> None:
        """Let ``select`` return now."""
        self.interests.wake()

    def close(self) -> None:
        """Forget all sockets."""
        self.interests.clear()
        self.interests.release()
        self._keys.clear()
        self._is_closed = True

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """Return the key of a registered socket, or raise ``KeyError``."""
        if self._is_closed:
            raise RuntimeError("Selector is closed")
        return self._key(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return the keys by number; ``None`` once closed, as the standard selectors do."""
        return None if self._is_closed else _ByFileObject(self)  # type: ignore[return-value]

    def keys(self) -> dict[int, selectors.SelectorKey]:
        """Return the keys by number."""
        return self._keys

    def _key(self, fileobj: Any) -> selectors.SelectorKey:
        try:
            number = self._number(fileobj)
        except ValueError:
            # A closed socket no longer has its number.
            for key in self._keys.values():
                if key.fileobj is fileobj:
                    return key
            raise
        if number not in self._keys:
            raise KeyError(f"{fileobj!r} is not registered")
        return self._keys[number]

    @staticmethod
    def _number(fileobj: Any) -> int:
        number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if number < 0:
            raise ValueError(f"Invalid file descriptor: {number}")
        return int(number)

    @staticmethod
    def _check(events: int) -> None:
        if not events or events & ~(selectors.EVENT_READ | selectors.EVENT_WRITE):
            raise ValueError(f"Invalid events: {events!r}")


class _ByFileObject(Mapping[Any, selectors.SelectorKey]):
    """What ``get_map`` returns: keys by socket or number."""

    def __init__(self, selector: Selector) -> None:
        self._selector = selector

    def __len__(self) -> int:
        return len(self._selector.keys())

    def __getitem__(self, fileobj: Any) -> selectors.SelectorKey:
        return self._selector.get_key(fileobj)

    def __iter__(self) -> Any:
        return iter(self._selector.keys())
