"""What socket options do, seen by two programs on two hosts: on the kernel as on estab (``tools/option_effects``)."""

from __future__ import annotations

import sys

import pytest

from tools.option_effects.both import EFFECTS, compare, of_estab

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with Linux")

PAIRS = (
    ("FIN-WAIT-2 ends", "FIN-WAIT-2 lasts"), ("a small write waits", "a small write does not wait"),
    ("acknowledgments at once", "acknowledgments wait"), ("accept at once", "accept with text"),
    ("probes of a silent peer", "no probes"), ("text that nobody acknowledges", "no limit for it"),
    ("SYNs that nobody answers, two", "SYNs that nobody answers, four"), ("IPv6 only", "both versions"),
    ("urgent text in the stream", "urgent text beside it"), ("errors are queued", "errors are not queued"),
    ("errors are queued, IPv6", "errors are not queued, IPv6"),
)
"""Effects with and without an option: each must tell something else, or it would show nothing."""


def test_effects_are_as_on_linux() -> None:
    assert compare(EFFECTS, tries=3) == {}


def test_every_effect_tells_a_story_and_none_ends_with_an_exception() -> None:
    told = of_estab(EFFECTS)
    assert set(told) == {effect.name for effect in EFFECTS}
    for name, (near, far) in told.items():
        assert near or far, name
        assert not any(isinstance(words, str) and "Error" in words for words in [*near, *far]), (name, near, far)


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_an_option_makes_the_difference_that_its_effect_claims(one: str, other: str) -> None:
    told = of_estab([effect for effect in EFFECTS if effect.name in (one, other)])
    assert told[one] != told[other]
