"""The record of options: nothing in it is forgotten, and nothing changes under a connection that shares it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from estab.tcp.config import Config
from estab.tcp.congestion.reno import Reno
from estab.tcp.record.options import OptionPool, Options
from tests.kit.peer import Peer

SOURCE = Path(__file__).resolve().parents[2] / "src" / "estab" / "tcp" / "record" / "options.py"


def fields() -> list[str]:
    """Read the names of all options from the record's source."""
    (record,) = (
        node for node in ast.parse(SOURCE.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name == "Options"
    )
    start = next(node for node in record.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    targets = [
        node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        for node in start.body if isinstance(node, (ast.Assign, ast.AnnAssign))
    ]
    names = [target.attr for target in targets if isinstance(target, ast.Attribute)]
    return [name for name in names if not name.startswith("_")]


FIELDS = fields()


def default() -> Options:
    """Make the options of a new socket."""
    return OptionPool(Config()).default(Reno())


def different(value: object) -> object:
    """Give another value of the same type."""
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else Reno()


def test_there_are_options() -> None:
    assert {"nodelay", "ttl", "congestion", "receive_buffer_bytes"} <= set(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_a_copy_has_every_option(name: str) -> None:
    options = default().copy()
    setattr(options, name, different(getattr(options, name)))
    assert getattr(options.copy(), name) == getattr(options, name)


@pytest.mark.parametrize("name", FIELDS)
def test_records_that_differ_in_any_option_are_not_equal(name: str) -> None:
    options = default()
    other = options.copy()
    assert options.equals(other)
    setattr(other, name, different(getattr(other, name)))
    assert not options.equals(other)
    assert not other.equals(options)


@pytest.mark.parametrize("name", FIELDS)
def test_every_option_reaches_a_connection_that_a_listener_makes(name: str) -> None:
    peer = Peer()
    value = different(getattr(peer.demux.new_options(), name))
    connection = peer.accept(**{name: value})  # type: ignore[arg-type]
    assert getattr(connection.options, name) == value


def test_a_change_gives_another_record_and_leaves_the_first() -> None:
    options = default()
    changed = options.with_ttl(9)
    assert (options.ttl, changed.ttl) == (64, 9)


def test_equal_options_are_one_record() -> None:
    options = default()
    assert options.with_nodelay(True) is options.with_nodelay(True)
    assert options.with_nodelay(True).with_nodelay(False) is options


def test_the_pool_forgets_the_oldest() -> None:
    options = default()
    first = options.with_ttl(100)
    for ttl in range(1, 50):
        options.with_ttl(ttl)
    assert options.with_ttl(100) is not first
    assert options.with_ttl(100).equals(first)


def test_every_option_has_a_function_that_changes_it() -> None:
    changed = {
        target.attr
        for node in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("with_")
        for inner in ast.walk(node) if isinstance(inner, ast.Assign)
        for target in inner.targets if isinstance(target, ast.Attribute)
    }
    assert changed == set(FIELDS)
