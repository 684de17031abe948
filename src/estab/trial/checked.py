"""One run in a ``with`` statement, for ``unittest`` and scripts: what is wrong is explained as in pytest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from estab.events import Event
from estab.lab.network import Network
from estab.observe.ladder_text import render_plain
from estab.trial.explain import last_rows

__all__ = ["checked"]

_FACTS_MAX = 50_000


@contextmanager
def checked(seed: int | str = 0, **options: Any) -> Iterator[Network]:
    """Return a network, check it at the end and close it: ``with estab.checked(seed=7) as net:``.

    If the body raises, or a program raised and its result was not requested, the exception gets a note with what
    programs waited for, the ladder around the end and the seed. The body of a ``with`` can't be run again, so the
    weather is not shrunk; a function can: ``estab.sweep(seeds=1).run(scenario)``. ``options`` are those of ``Network``.
    """
    net = Network(seed, **options)
    facts: list[Event] = []

    def keep(fact: Event) -> None:
        facts.append(fact)
        if len(facts) > 2 * _FACTS_MAX:
            del facts[:_FACTS_MAX]

    net.observe(keep)
    try:
        yield net
        net.check()
    except Exception as error:
        waiting = net.waiting()
        drawn = last_rows(facts, error)
        error.add_note("\n".join([
            f"seed {seed}, at {net.now:g}s", *(["at the end:"] if waiting else []), *(f"  {line}" for line in waiting),
            *(["the last that happened:", render_plain(drawn).rstrip()] if drawn.rows else [])]))
        raise
    finally:
        net.close()
