"""``estab explain``: what a word means, what causes it, how to see it, what to do, and a scene that shows it.

Exit status: 0 explained, 2 the word is not known (names like it are suggested).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

from estab.cli.ascii import echo
from estab.cli.screen import Screen
from estab.explain.table import KINDS, Term, find, near, terms
from estab.observe.text import Line, Span, wrapped

__all__ = ["explain"]

_LABEL = 8
_LADDER_LINES = 60


@click.command()
@click.argument("words", metavar="[WORD]...", nargs=-1)
@click.option("--run", is_flag=True, help="Play the scene of the lab that shows it, and draw its segments.")
@click.option("--all", "as_list", is_flag=True, help="List all words that are known.")
@click.option("--json", "as_json", is_flag=True, help="Write plain data instead of text.")
def explain(words: tuple[str, ...], run: bool, as_list: bool, as_json: bool) -> None:
    """Explain WORD: a state, an errno, a socket option, a sysctl, a counter, or the reason of a drop.

    A word of the field, like half-close, and an error message give what explains them.

    For example: estab explain ETIMEDOUT, estab explain CLOSE-WAIT, estab explain ListenOverflows --run
    """
    screen = Screen()
    width = min(screen.width, 100)
    if as_list:
        _list(as_json)
        return
    if not words:
        raise click.UsageError("give a word, like ETIMEDOUT, or --all for the list")
    whole = find(" ".join(words)) if len(words) > 1 else []
    found = whole or [term for word in words for term in _find(word)]
    if as_json:
        echo(json.dumps([_plain(term) for term in found], indent=2))
        return
    for number, term in enumerate(found):
        screen.lines([()] if number else [])
        screen.lines(_told(term, width))
    if run:
        _play(screen, found)


def _find(word: str) -> list[Term]:
    found = find(word)
    if not found:
        like = near(word)
        hint = f"; do you mean {', '.join(like)}?" if like else "; estab explain --all lists what is known"
        raise click.UsageError(f"{word} is not known here{hint}")
    return found


def _told(term: Term, width: int) -> Iterator[Line]:
    yield Span(term.name, "heading"), Span(f"  {_SINGULAR[term.kind]}", "legend")
    who, then = ("for", "mind") if term.kind in ("option", "sysctl") else ("causes", "do")
    rows = [("what", term.what), (who, term.causes), ("see", term.see), (then, term.do)]
    if term.shown:
        from estab.cli.scenes import SCENES

        rows.append(("shown", f"{SCENES[term.shown].title}: estab explain {term.short} --run"))
    for label, text in rows:
        for number, part in enumerate(wrapped(text, width - _LABEL - 2)) if text else ():
            yield Span("  "), Span(("" if number else label).ljust(_LABEL), "label"), Span(part)


_SINGULAR = {"state": "state of a connection", "errno": "error of a call", "option": "socket option",
             "sysctl": "sysctl", "counter": "counter", "drop": "reason why a packet was dropped"}


def _plain(term: Term) -> dict[str, str]:
    return {"name": term.name, "kind": term.kind, "what": term.what, "causes": term.causes, "see": term.see,
            "do": term.do, "scene": term.shown}


def _list(as_json: bool) -> None:
    if as_json:
        echo(json.dumps([_plain(term) for term in terms().values()], indent=2))
        return
    for kind, title in KINDS.items():
        echo(f"{title}:")
        for term in terms().values():
            if term.kind == kind:
                echo(f"  {term.name}")


def _play(screen: Screen, found: list[Term]) -> None:
    """Play the first scene that there is, draw it, and say what of the words it shows."""
    from estab.cli.scenes import SCENES, play, shown_by
    from estab.observe.ladder import ladder
    from estab.observe.ladder_text import render
    from estab.units import format_duration

    name = next((term.shown for term in found if term.shown), "")
    if not name:
        raise click.UsageError(f"no scene of the lab shows {found[0].name}")
    outcome = play(SCENES[name])
    screen.lines([(), (Span(f"scene {name}", "heading"), Span(f": {outcome.scene.title}", "legend"))])
    lines = render(ladder(outcome.facts, hosts=list(outcome.counters)), screen.width)
    screen.lines(lines[:_LADDER_LINES])
    if len(lines) > _LADDER_LINES:
        screen.lines([(Span(f"⋮ {len(lines) - _LADDER_LINES} lines more", "skip"),)])
    shown = set(shown_by(outcome))
    screen.lines([()])
    for term in found:
        if f"{term.kind}:{term.name}" not in shown:
            continue
        counts = [f"{host}: {counters[key]:,}" for host, counters in outcome.counters.items()
                  for key in (term.name, f"drop:{term.name}") if counters.get(key)]
        tail = f" {', '.join(counts)}" if counts else ""
        screen.lines([(Span(f"{term.name} is in this run{':' if tail else ''}{tail}", "finding"),)])
    screen.lines([(Span(f"virtual time that passed: {format_duration(outcome.ended_ns)}", "legend"),)])
