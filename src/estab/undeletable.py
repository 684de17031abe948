"""Properties of compiled classes that ``del`` does not crash.

mypyc (2.4) makes a property's setter such that ``del`` calls it without a value: a segmentation fault, where Python has
an AttributeError. Each compiled module whose classes have properties with setters ends by calling ``undeletable``;
``tests/test_house.py`` checks that none is forgotten.
"""

from __future__ import annotations

from types import GetSetDescriptorType

__all__ = ["undeletable"]


def undeletable(owner: type, *names: str) -> None:
    """Make ``del`` of those properties raise AttributeError. Compiled code is not affected: it calls them directly."""
    for name in names:
        found = vars(owner)[name]
        if isinstance(found, GetSetDescriptorType):
            setattr(owner, name, property(found.__get__, found.__set__, doc=found.__doc__))
