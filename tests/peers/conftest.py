"""Nets for tests against real peers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.tun import Net


@pytest.fixture(name="shared", scope="module")
def make_shared() -> Iterator[Net]:
    """A net for a whole file of tests."""
    with Net() as made:
        yield made


@pytest.fixture(name="net")
def make_net(shared: Net) -> Iterator[Net]:
    """The file's net; the stacks on it, and the programs in it, end with the test."""
    yield shared
    shared.close_stacks()
    shared.end_all()


@pytest.fixture(name="own_net")
def make_own_net() -> Iterator[Net]:
    """A net for one test, which may break it."""
    with Net() as made:
        yield made


