"""Each field of a connection has an owner: only the files that its record names may write it. So do the fields of its
losses and segments in flight, of ECN, of a search for the path's MTU, of Fast Open and of its other parts.

The record tells it below each field: unit, meaning, and the files that may write the field once it is made. The rule is
a function from a tree of sources to a list of complaints, so that it can be shown a tree that breaks it.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parent.parent / "src"


@dataclass(frozen=True)
class Family:
    """Classes whose fields are told apart by name, each on top of the one before, and their files.

    ``names``: what a variable without an annotation is called that holds one.
    """

    records: Mapping[str, str]
    names: frozenset[str]


CONNECTION = Family({
    "Endpoint": "tcp/record/timers.py", "TimerTable": "tcp/record/timer_table.py", "Flow": "tcp/record/control.py",
    "Tcb": "tcp/record/tcb.py", "Connection": "tcp/connection.py",
}, frozenset({"child", "connection", "endpoint", "tcb"}))
FAMILIES = {
    "connection": CONNECTION,
    "losses": Family({"Losses": "tcp/record/inflight.py"}, frozenset({"losses"})),
    "troubles": Family({"Troubles": "tcp/record/troubles.py"}, frozenset({"troubles"})),
    "traffic": Family({"Traffic": "tcp/record/measured.py"}, frozenset({"traffic"})),
    "marks": Family({"Marks": "tcp/record/measured.py"}, frozenset({"marks"})),
    "seldom timers": Family({"SeldomTimers": "tcp/record/timer_table.py"}, frozenset({"seldom"})),
    "later minima": Family({"LaterMinima": "tcp/record/measured.py"}, frozenset({"later"})),
    "search": Family({"MtuSearch": "tcp/record/inflight.py"}, frozenset({"mtu_search", "search"})),
    "ecn": Family({"Ecn": "tcp/record/ecn_state.py"}, frozenset({"ecn"})),
    "fast open": Family({"FastOpen": "tcp/record/fast_open.py"}, frozenset({"fast_open"})),
    "segments in flight": Family({"SentSegment": "tcp/record/inflight.py"}, frozenset({"first", "rest"})),
    "runs": Family({"Run": "tcp/record/inflight.py"}, frozenset({"merged"})),
    "queue": Family({"FastOpenQueue": "tcp/record/fast_open.py"}, frozenset({"queue"})),
    "pending": Family({"PendingSynAck": "tcp/record/fast_open.py"}, frozenset({"pending"})),
}

UNITS = {
    "address", "bits", "bytes", "bytes a second", "count", "ns", "ns, time", "number", "octets", "record", "segments",
    "seq", "text", "ticks", "yes or no",
}
WRITERS_MAX = 3
CONGESTION = "tcp/congestion/"
"""The congestion controls count as one owner: each flow has one of them."""

_LINE = re.compile(r"^(?P<unit>[a-z, ]+): (?P<meaning>.+)\.? Writers: (?P<writers>[^.]+)\.$", re.DOTALL)


@dataclass(frozen=True)
class Field:
    """What a record says of one of its fields."""

    name: str
    record: str
    unit: str
    meaning: str
    writers: tuple[str, ...]


@functools.cache
def parsed(path: Path) -> ast.Module:
    """Parse a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def own_attribute(node: ast.stmt) -> str:
    """Give ``name`` of a statement ``self.name = …``, else an empty text."""
    target: ast.expr | None = None
    if isinstance(node, ast.AnnAssign):
        target = node.target
    elif isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
    is_own = isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self"
    return target.attr if is_own and isinstance(target, ast.Attribute) else ""


def read_record(root: Path, record: str, complaints: list[str], family: Family = CONNECTION) -> Iterator[Field]:
    """Yield the fields of one class, complaining of those that say too little."""
    path = root / "estab" / family.records[record]
    if not path.exists():
        return
    classes = [node for node in parsed(path).body if isinstance(node, ast.ClassDef) and node.name == record]
    starts = [node for found in classes for node in found.body
              if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    for start in starts:
        for node, after in zip(start.body, [*start.body[1:], ast.Pass()], strict=True):
            name = own_attribute(node)
            if not name:
                continue
            told = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                told = " ".join(str(after.value.value).split())
            match = _LINE.match(told)
            if match is None:
                complaints.append(f"{record}.{name}: expected 'unit: meaning. Writers: files.', not {told[:60]!r}")
            elif match["unit"] not in UNITS:
                complaints.append(f"{record}.{name}: no unit is called {match['unit']!r}")
            else:
                writers = tuple(part.strip() for part in match["writers"].split(",") if part.strip() != "none")
                yield Field(name, record, match["unit"], match["meaning"], writers)


def annotation_of(node: ast.expr | None) -> str:
    """Give the name in ``x: Tcb`` or ``x: Tcb | None``."""
    if isinstance(node, ast.BinOp):
        return annotation_of(node.left)
    return node.id if isinstance(node, ast.Name) else node.value if isinstance(node, ast.Constant) else ""


def holder_of(node: ast.expr) -> str:
    """Give the name of what holds an attribute: ``x`` of ``x.a``, ``self.x.a`` and ``x_of(…).a``."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id.removesuffix("_of")
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def writes_in(path: Path, family: Family) -> Iterator[tuple[str, int]]:
    """Yield name and line of each attribute of a connection that a file assigns, changes or deletes.

    What a record's ``__init__`` sets in itself is not counted: it makes the field. A variable holds a connection if it
    is annotated so, or, without an annotation, is called so, or is ``self`` in one of the records' classes. A class of
    the same name from elsewhere is another one.
    """
    tree = parsed(path)
    strangers = {
        alias.asname or alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
        and not (node.module or "").startswith("estab.tcp") for alias in node.names
    } | {node.name for node in tree.body if isinstance(node, ast.ClassDef) if not path.as_posix().endswith(
        family.records.get(node.name, "no record"))}
    records = family.records.keys() - strangers

    def visit(node: ast.AST, types: Mapping[str, str]) -> Iterator[tuple[str, int]]:
        if isinstance(node, ast.ClassDef):
            bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
            is_record = node.name in records or bool(bases & records - {"Endpoint"})
            types = {**types, "self": "record" if is_record else "another"}
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            named = {one.arg: annotation_of(one.annotation) for one in (*node.args.args, *node.args.kwonlyargs)
                     if one.annotation is not None}
            inner = {one.target.id: annotation_of(one.annotation) for one in ast.walk(node)
                     if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)}
            types = {**types, **named, **inner}
            if node.name == "__init__" and types.get("self") == "record":
                types = {**types, "self": "another"}
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            holder = holder_of(node.value)
            known = types.get(holder, "") if isinstance(node.value, ast.Name) else ""
            if known == "record" or known in records or (not known and holder.lstrip("_") in family.names):
                yield node.attr, node.lineno
        for child in ast.iter_child_nodes(node):
            yield from visit(child, types)

    yield from visit(tree, {})


def owner_complaints(root: Path, family: Family = CONNECTION) -> list[str]:
    """Complain of fields without unit, meaning or owner, of too many owners, of writers that no field names, and of
    owners that write nothing.
    """
    complaints: list[str] = []
    fields = {field.name: field for record in family.records
              for field in read_record(root, record, complaints, family)}
    for field in fields.values():
        owners = {CONGESTION if name.startswith("congestion/") else name for name in field.writers}
        if len(owners) > WRITERS_MAX:
            complaints.append(f"{field.record}.{field.name}: {len(owners)} owners, more than {WRITERS_MAX}")
    used: set[tuple[str, str]] = set()
    for path in sorted((root / "estab").rglob("*.py")):
        file = path.relative_to(root).as_posix()
        short = file.removeprefix("estab/").removeprefix("tcp/").removesuffix(".py")
        for name, line in writes_in(path, family):
            found = fields.get(name)
            if found is None:
                continue
            used.add((name, short))
            if short not in found.writers:
                complaints.append(f"{file}:{line} writes {name}: only {', '.join(found.writers) or 'its record'} may")
    for field in fields.values():
        complaints += [f"{field.record}.{field.name}: {name} is named as a writer, and is none"
                       for name in field.writers if (field.name, name) not in used]
    return complaints


@pytest.mark.parametrize("name", FAMILIES)
def test_each_field_has_a_unit_a_meaning_and_owners_and_no_other_file_writes_it(name: str) -> None:
    assert owner_complaints(SOURCES, FAMILIES[name]) == []


def test_nothing_above_tcp_writes_a_field() -> None:
    fields = [field for family in FAMILIES.values() for record in family.records
              for field in read_record(SOURCES, record, [], family)]
    assert len(fields) > 260
    rooms = {path.name for path in (SOURCES / "estab" / "tcp").iterdir() if path.is_dir()} | {"connection"}
    assert {name for field in fields for name in field.writers if name.split("/")[0] not in rooms} == set()


def test_the_windows_belong_to_congestion_control_and_to_recovery() -> None:
    fields = {field.name: field.writers for field in read_record(SOURCES, "Flow", [])}
    for name in ("cwnd_bytes", "ssthresh_bytes"):
        assert [writer for writer in fields[name] if not writer.startswith("congestion/")] == ["recovery/cwnd"]


# --- the rule can fail


def tree(root: Path, files: Mapping[str, str]) -> Path:
    """Write a small house around a record with one field, ``a``, which ``sending/output`` owns."""
    record = 'class Tcb:\n    def __init__(self) -> None:\n        self.a: int = 0\n        """bytes: it. Writers: ' \
        'sending/output."""\n'
    owner = "def one(tcb: Tcb) -> None:\n    tcb.a = 1\n"
    for name, text in {"tcp/record/tcb.py": record, "tcp/sending/output.py": owner, **files}.items():
        path = root / "estab" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_house_in_order_is_let_through(tmp_path: Path) -> None:
    files = {
        "host/a.py": "def one(tcb: Tcb, other: Other) -> None:\n    x = tcb.a\n    other.a = 1\n",
        "lab/b.py": "class Other:\n    def __init__(self) -> None:\n        self.a = 1\n",
    }
    assert owner_complaints(tree(tmp_path, files)) == []


@pytest.mark.parametrize("statement", [
    "tcb.a = 1", "tcb.a += 1", "del tcb.a", "x, tcb.a = 1, 2", "for tcb.a in range(3): pass", "tcb.a: int = 1",
])
def test_a_write_by_a_file_that_is_not_named_is_found(tmp_path: Path, statement: str) -> None:
    for name in ("tcp/arriving/a.py", "host/a.py", "lab/a.py"):
        root = tree(tmp_path / name.replace("/", "-"), {name: f"def one(tcb: Tcb) -> None:\n    {statement}\n"})
        assert owner_complaints(root) == [f"estab/{name}:2 writes a: only sending/output may"]


@pytest.mark.parametrize("text", [
    "def one(x: Tcb) -> None:\n    x.a = 1",
    "def one(x: Tcb | None) -> None:\n    x.a = 1",
    "def one(x: 'Connection') -> None:\n    x.a = 1",
    "def one() -> None:\n    connection = made()\n    connection.a = 1",
    "def one(self) -> None:\n    self.connection.a = 1",
    "class Mine(Tcb):\n    def one(self) -> None:\n        self.a = 1",
])
def test_a_connection_is_known_by_annotation_name_and_class(tmp_path: Path, text: str) -> None:
    assert len(owner_complaints(tree(tmp_path, {"lab/a.py": text}))) == 1


@pytest.mark.parametrize("told", [
    "", '"""It."""', '"""bytes: it."""', '"""it. Writers: sending/output."""',
    '"""furlongs: it. Writers: sending/output."""', '"""bytes: it. Writers: sending/output, sending/plan."""',
])
def test_a_field_that_says_too_little_or_too_much_is_found(tmp_path: Path, told: str) -> None:
    record = f"class Tcb:\n    def __init__(self) -> None:\n        self.a: int = 0\n        {told or 'pass'}\n"
    assert len(owner_complaints(tree(tmp_path, {"tcp/record/tcb.py": record}))) == 1


def test_a_class_of_the_same_name_from_elsewhere_is_another(tmp_path: Path) -> None:
    files = {
        "drill/a.py": "class Tcb:\n    pass\n\ndef one(x: Tcb) -> None:\n    x.a = 1\n",
        "lab/a.py": "from estab.drill.a import Tcb\n\ndef one(x: Tcb) -> None:\n    x.a = 1\n",
    }
    assert owner_complaints(tree(tmp_path, files)) == []


def test_too_many_owners_are_found(tmp_path: Path) -> None:
    names = ["sending/output", *(f"sending/{letter}" for letter in "abc")]
    record = "class Tcb:\n    def __init__(self) -> None:\n        self.a: int = 0\n" \
        f'        """bytes: it. Writers: {", ".join(names)}."""\n'
    writer = "def one(tcb: Tcb) -> None:\n    tcb.a = 1\n"
    files = {"tcp/record/tcb.py": record, **{f"tcp/{name}.py": writer for name in names}}
    assert owner_complaints(tree(tmp_path, files)) == ["Tcb.a: 4 owners, more than 3"]


def test_a_write_to_a_record_beside_the_connection_is_found(tmp_path: Path) -> None:
    losses = 'class Losses:\n    def __init__(self) -> None:\n        self.b: int = 0\n        """seq: it. Writers: ' \
        'recovery/rack."""\n'
    files = {
        "tcp/record/inflight.py": losses,
        "tcp/recovery/rack.py": "def one(x: Losses) -> None:\n    x.b = 1\n",
        "host/a.py": "def one(tcb: Tcb) -> None:\n    tcb.losses.b = 1\n",
        "host/b.py": "def one(tcb: Tcb) -> None:\n    tcb.b = 1\n",
        "host/c.py": "def one(tcb: Tcb) -> None:\n    losses_of(tcb).b = 1\n",
    }
    assert owner_complaints(tree(tmp_path, files), FAMILIES["losses"]) == \
        [f"estab/host/{name}.py:2 writes b: only recovery/rack may" for name in "ac"]
