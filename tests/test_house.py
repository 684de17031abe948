"""The house holds: rooms import downwards only, without circles, and none knows what it must not.

The rules are functions from a tree of sources to a list of complaints, so that each can be shown a tree that breaks it.
"""

from __future__ import annotations

import ast
import builtins
import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "src"

FLOORS: Mapping[str, int] = {
    "abi": 1, "counters": 1, "cpython": 1, "errors": 1, "events": 1, "frozen": 1, "observers": 1, "under_way": 1,
    "undeletable": 1, "units": 1, "_build": 1, "_version": 1,
    "wire": 2, "devices": 2, "messages": 2,
    "tcp": 3,
    "host": 4,
    "settings": 5, "sockets": 5, "serve": 5,
    "explain": 6, "names": 6, "observe": 6, "realtime": 6,
    "native": 7, "report": 7,
    "doctor": 8, "lab": 8, "drill": 8, "stack": 8,
    "top": 9, "trial": 9,
    "estab": 10,  # the package's own __init__: what a user imports
    "cli": 11, "pytest_plugin": 11,
    "__main__": 12,
}
"""A room imports from itself and from floors below. Two rooms of one floor don't know each other, but on the first."""

INNER: Mapping[str, Mapping[str, int]] = {
    "tcp": {
        "config": 1, "info": 1, "siphash": 1, "state": 1,
        "fastopen": 2, "memory": 2, "profile": 2, "ring": 1,
        "context": 3,
        "record": 4,
        "congestion": 5, "window": 5,
        "receiving": 6,
        "ecn": 7,
        "recovery": 8,
        "sending": 9,
        "arriving": 10,
        "report": 11,
        "connection": 12,
        "listening": 13,
    },
    "lab": {
        "packets": 1, "record": 1,
        "rules": 2, "boxes": 3, "links": 3, "programs": 4, "topology": 5, "ending": 6, "naming": 6, "host_time": 6,
        "making": 7, "runtime": 7, "host": 8, "link": 9, "boxing": 10, "switch": 10, "cabling": 11, "spawning": 11,
        "network": 12,
    },
    "sockets": {
        "arguments": 1, "history": 1, "lines": 1, "process": 1, "waiting": 1,
        "quick": 2, "runtime": 3, "lookups": 4, "names": 5, "ordinals": 4, "polling": 6, "socket": 7, "standin": 8,
    },
    "drill": {"errors": 1, "language": 2, "machine": 3, "steps": 4, "kernel": 5, "interpreter": 5, "runner": 6},
    "host": {"ip": 1, "sockets": 2, "arriving": 3, "snapshot": 3, "sysctls": 4, "engine": 5, "drive": 6},
}
"""The floors inside of a big room: its folders and its own files. The same rule holds between them."""

WORLD = {
    "_thread", "asyncio", "concurrent", "datetime", "fcntl", "io", "logging", "multiprocessing", "os", "pathlib",
    "random", "secrets", "select", "selectors", "signal", "socket", "ssl", "subprocess", "sys", "tempfile", "threading",
    "time", "uuid",
}
CHANCE_AND_CLOCK = {"datetime", "random", "secrets", "time", "uuid"}
FORBIDDEN: Mapping[str, set[str]] = {
    "wire": WORLD, "tcp": WORLD, "host": WORLD, "serve": WORLD, "lab": CHANCE_AND_CLOCK,
}
"""Modules from outside that a room never imports: the core is sans-IO, the lab has its own clock and its own chance."""

ONLY_IN = {"_thread": {"estab.cpython"}, "librt": {"estab.wire.octets"}}
"""Modules from outside that only these files know."""

PRIVATE_MEMBERS = {
    "_acquire_restore", "_create", "_daemonic", "_get_app_transport", "_GiveupOnSendfile", "_check_sendfile_params",
    "_is_stopped", "_release_save", "_selector_cls", "_tstate_lock", "_wrap_socket",
}
"""Members of the standard library's classes that it keeps for itself, as far as anything here ever used them."""
PUBLIC_ALL_THE_SAME = {"os._exit", "sys._getframe"}

LINES_MAX = 600
LONG: Mapping[str, str] = {}
"""Files over ``LINES_MAX`` lines, each with its reason."""


@dataclass(frozen=True)
class Import:
    """One import: ``source`` and ``target`` are full names of modules, ``target`` of a module or of one thing in it."""

    source: str
    target: str
    line: int
    is_for_types: bool

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


def modules_under(root: Path) -> dict[str, Path]:
    """Map the full name of each module below ``root`` (a ``src`` folder) to its file."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = list(path.relative_to(root).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def parsed(path: Path) -> ast.Module:
    """Parse a file, once."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def is_type_checking(test: ast.expr) -> bool:
    """Tell whether a condition is ``TYPE_CHECKING`` or ``typing.TYPE_CHECKING``."""
    return "TYPE_CHECKING" in (getattr(test, "id", ""), getattr(test, "attr", ""))


def imports_of(name: str, path: Path) -> Iterator[Import]:
    """Yield all imports of a file, also those inside functions and those only for types."""
    tree = parsed(path)
    for_types = {
        id(inner) for node in ast.walk(tree) if isinstance(node, ast.If) and is_type_checking(node.test)
        for statement in node.body for inner in ast.walk(statement)
    }
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, alias.name, node.lineno, id(node) in for_types)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                yield Import(name, f"{base}.{alias.name}", node.lineno, id(node) in for_types)


@cache
def all_imports(root: Path) -> list[Import]:
    """List every import below ``root``."""
    return [found for name, path in modules_under(root).items() for found in imports_of(name, path)]


def room_of(name: str) -> str:
    """Name the room of a module: ``estab.tcp.sending.output`` is in ``tcp``, ``estab`` itself is the room ``estab``."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def module_of(target: str, modules: Mapping[str, Path]) -> str | None:
    """Find the module that an import names: itself, or the one that the imported thing is in."""
    for name in (target, target.rpartition(".")[0]):
        if name in modules:
            return name
    return None


def inner_room_of(name: str) -> str:
    """Name the room inside of a room: ``estab.tcp.sending.output`` is in ``sending``; ``""`` for the package itself."""
    parts = name.split(".")
    return parts[2] if len(parts) > 2 else ""


def upward_imports_inside(root: Path) -> list[str]:
    """Complain of each import within a room of ``INNER`` that does not go down, and of files without a floor."""
    modules = modules_under(root)
    complaints = [
        f"{name}: no floor inside of {room_of(name)} is known for it" for name in modules
        if room_of(name) in INNER and inner_room_of(name) and inner_room_of(name) not in INNER[room_of(name)]
    ]
    for found in all_imports(root):
        target = module_of(found.target, modules)
        room = room_of(found.source)
        if target is None or room not in INNER or room_of(target) != room:
            continue
        here, there = inner_room_of(found.source), inner_room_of(target)
        floors = INNER[room]
        if here != there and here in floors and floors.get(there, 0) >= floors[here]:
            complaints.append(f"{found}: inner floor {floors[there]} is not below inner floor {floors[here]}")
    return complaints


def upward_imports(root: Path) -> list[str]:
    """Complain of each import that does not go down, and of each room that no floor is known of."""
    modules = modules_under(root)
    unknown = {room_of(name) for name in modules} - FLOORS.keys()
    complaints = [f"{room}: no floor is known for this room" for room in sorted(unknown)]
    for found in all_imports(root):
        target = module_of(found.target, modules)
        if target is None or room_of(found.source) not in FLOORS or room_of(target) not in FLOORS:
            continue
        here, there = room_of(found.source), room_of(target)
        if here != there and FLOORS[there] >= FLOORS[here] and FLOORS[here] > 1:
            complaints.append(f"{found}: floor {FLOORS[there]} is not below floor {FLOORS[here]}")
        elif FLOORS[there] > FLOORS[here]:
            complaints.append(f"{found}: floor {FLOORS[there]} is above floor {FLOORS[here]}")
    return complaints


def circles(root: Path) -> list[str]:
    """Complain of each circle of modules, once. Imports for types count too: a Protocol or a value cuts a circle."""
    modules = modules_under(root)
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for found in all_imports(root):
        target = module_of(found.target, modules)
        if target is not None and target != found.source:
            graph[found.source].add(target)
    complaints: list[str] = []
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> None:
        if name in way:
            complaints.append("a circle: " + " -> ".join([*way[way.index(name):], name]))
            return
        if name in done:
            return
        for following in sorted(graph[name]):
            walk(following, [*way, name])
        done.add(name)

    for name in sorted(graph):
        walk(name, [])
    return complaints


def forbidden_imports(root: Path) -> list[str]:
    """Complain where a room imports a module from outside that it must not know."""
    complaints = []
    for found in all_imports(root):
        outside = found.target.split(".")[0]
        if outside in FORBIDDEN.get(room_of(found.source), set()):
            complaints.append(f"{found}: {room_of(found.source)} must not know {outside}")
        if outside in ONLY_IN and found.source not in ONLY_IN[outside]:
            complaints.append(f"{found}: only {', '.join(sorted(ONLY_IN[outside]))} may")
    return complaints


def chance_of_the_system(root: Path) -> list[str]:
    """Complain where the core or the lab draws from the system's entropy or asks for hash or identity order."""
    complaints = []
    for name, path in modules_under(root).items():
        if room_of(name) not in ("wire", "tcp", "host", "serve", "lab"):
            continue
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Attribute) and node.attr in ("urandom", "getrandom"):
                complaints.append(f"{name}:{node.lineno} draws from the system's entropy")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("hash", "id"):
                complaints.append(f"{name}:{node.lineno} calls {node.func.id}(), which differs from run to run")
    return complaints


def private_interfaces(root: Path) -> list[str]:
    """Complain where a file other than ``estab.cpython`` uses what CPython keeps for itself."""
    complaints = []
    for name, path in modules_under(root).items():
        if name == "estab.cpython":
            continue
        tree = parsed(path)
        outside = {
            alias.asname or alias.name: alias.name for node in ast.walk(tree) if isinstance(node, ast.Import)
            for alias in node.names if not alias.name.startswith("estab")
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or not node.attr.startswith("_") or node.attr.startswith("__"):
                continue
            owner = ast.unparse(node.value)
            is_of_module = owner in outside and f"{outside[owner]}.{node.attr}" not in PUBLIC_ALL_THE_SAME
            if is_of_module or (node.attr in PRIVATE_MEMBERS and owner != "self"):
                complaints.append(f"{name}:{node.lineno} uses {ast.unparse(node)}, which is CPython's own")
    return complaints


def misnamed_errors(root: Path) -> list[str]:
    """Complain of classes that derive from an exception and whose name does not end in ``Error``.

    A ``BaseException`` that is no ``Exception`` is no error: it ends a program, as ``SystemExit`` does. Nor is a
    warning, whose name says so.
    """
    classes = [(name, node) for name, path in modules_under(root).items() for node in ast.walk(parsed(path))
               if isinstance(node, ast.ClassDef)]
    errors = {name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, Exception)
              and not issubclass(kind, Warning)}
    while True:
        found = {node.name for _, node in classes for base in node.bases
                 if (name := getattr(base, "id", getattr(base, "attr", ""))) in errors or name.endswith("Error")}
        if found <= errors:
            break
        errors |= found
    return [f"{name}:{node.lineno}: {node.name} is an error, and its name does not end so" for name, node in classes
            if node.name in errors and not node.name.endswith("Error")]


def bare_booleans(root: Path) -> list[str]:
    """Complain where the core calls something with a bare ``True`` or ``False``: a keyword says what it means."""
    return [
        f"{name}:{node.lineno} calls {ast.unparse(node.func)} with a bare {ast.unparse(argument)}"
        for name, path in modules_under(root).items() if room_of(name) in ("wire", "tcp", "host", "serve")
        for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)
        for argument in node.args if isinstance(argument, ast.Constant) and isinstance(argument.value, bool)
    ]


def compiled_modules(root: Path) -> dict[str, Path]:
    """Find the modules that ``setup.py`` has compiled: the rooms of the core, and some of the lab and the sockets."""
    setup = parsed(ROOT / "setup.py")
    lists = {ast.unparse(node.targets[0]): ast.literal_eval(node.value) for node in setup.body
             if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("ROOMS", "LAB")}
    single = {"estab." + part.replace("/", ".") for part in lists["LAB"]}
    return {name: path for name, path in modules_under(root).items()
            if room_of(name) in lists["ROOMS"] or name in single}


def platform_branches(root: Path) -> list[str]:
    """Complain where a compiled module asks for the platform or Python's version.

    The type checker leaves out what is not for the platform it runs on. So the core for WebAssembly, which is made on
    another, lacked it ("Reached allegedly unreachable code").
    """
    return [f"{name}:{node.lineno} reads {ast.unparse(node)}"
            for name, path in compiled_modules(root).items() for node in ast.walk(parsed(path))
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.platform", "sys.version_info", "os.name")]


def deletable_properties(root: Path) -> list[str]:
    """Find properties with setters in the compiled rooms that their module does not hand to ``undeletable``."""
    found = []
    for name, path in compiled_modules(root).items():
        named = {(ast.unparse(call.args[0]), argument.value) for call in ast.walk(parsed(path))
                 if isinstance(call, ast.Call) and ast.unparse(call.func) == "undeletable"
                 for argument in call.args[1:] if isinstance(argument, ast.Constant)}
        for owner in ast.walk(parsed(path)):
            if isinstance(owner, ast.ClassDef):
                found += [f"{name}: {owner.name}.{member.name}" for member in owner.body
                          if isinstance(member, ast.FunctionDef)
                          and any(ast.unparse(one).endswith(".setter") for one in member.decorator_list)
                          and (owner.name, member.name) not in named]
    return found


def finalizers(root: Path) -> list[str]:
    """Find public compiled classes with a ``__del__``.

    It is called for an object whose making was refused, too, and compiled it then reads what was never set: a crash.
    A private class that is made last, and can't be refused, may have one.
    """
    return [f"{name}: {owner.name}.__del__"
            for name, path in compiled_modules(root).items() for owner in ast.walk(parsed(path))
            if isinstance(owner, ast.ClassDef) and not owner.name.startswith("_")
            and any(isinstance(member, ast.FunctionDef) and member.name == "__del__" for member in owner.body)]


def long_files(root: Path) -> list[str]:
    """Complain of files over ``LINES_MAX`` lines that ``LONG`` gives no reason for, and of reasons without a need."""
    paths = root.rglob("*.py")
    lengths = {str(path.relative_to(root)): path.read_text(encoding="utf-8").count("\n") for path in paths}
    complaints = [f"{name}: {lines} lines" for name, lines in lengths.items() if lines > LINES_MAX and name not in LONG]
    return complaints + [f"{name}: listed as long, and is not" for name in LONG if lengths.get(name, 0) <= LINES_MAX]


_MACHINE = re.compile(r"(?:^|[^A-Za-z0-9_.])/(?:root|work|home/[a-z]\w*|Users/[a-z]\w*)/")


def machine_paths(files: Mapping[str, str]) -> list[str]:
    """Complain of lines that name a path of one machine."""
    return [
        f"{name}:{number}: {line.strip()[:80]}" for name, text in files.items()
        for number, line in enumerate(text.splitlines(), 1) if _MACHINE.search(line)
    ]


def committed_files() -> dict[str, str]:
    """Read every text file that belongs to the project: what git knows, or what a source distribution holds."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode == 0:
        names = listing.stdout.split("\0")
    else:
        names = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if not {".venv", "build"} & set(path.parts)]
    texts = {}
    for name in names:
        path = ROOT / name
        if path.is_file() and b"\0" not in (data := path.read_bytes()):
            texts[name] = data.decode("utf-8")
    return texts


# --- the house itself


def test_imports_go_down_only() -> None:
    assert upward_imports(SOURCES) == []


def test_imports_go_down_only_inside_of_the_big_rooms() -> None:
    assert upward_imports_inside(SOURCES) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(SOURCES) == []


def test_the_core_knows_no_clock_no_chance_and_no_operating_system() -> None:
    assert forbidden_imports(SOURCES) == []


def test_the_core_and_the_lab_draw_nothing_that_differs_from_run_to_run() -> None:
    assert chance_of_the_system(SOURCES) == []


def test_private_interfaces_of_cpython_are_used_in_one_file() -> None:
    assert private_interfaces(SOURCES) == []


def test_errors_end_in_error() -> None:
    assert misnamed_errors(SOURCES) == []


def test_the_core_says_what_a_boolean_means() -> None:
    assert bare_booleans(SOURCES) == []


def test_no_property_of_a_compiled_class_crashes_when_it_is_deleted() -> None:
    assert deletable_properties(SOURCES) == []


def test_no_public_compiled_class_has_a_finalizer() -> None:
    assert finalizers(SOURCES) == []


def test_compiled_modules_are_the_same_for_every_platform() -> None:
    assert platform_branches(SOURCES) == []


def test_no_source_file_is_too_long() -> None:
    assert long_files(SOURCES) == []


def test_no_committed_file_names_a_path_of_one_machine() -> None:
    assert machine_paths(committed_files()) == []


def test_every_room_has_a_package_and_every_module_opens_with_its_rules() -> None:
    without = [
        str(path.relative_to(SOURCES)) for path in SOURCES.rglob("*.py")
        if ast.get_docstring(parsed(path)) is None
    ]
    assert without == []
    assert [str(path) for path in SOURCES.rglob("*.py") if not (path.parent / "__init__.py").exists()] == []


def test_every_dependency_has_its_reason() -> None:
    told = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    description = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project, build = description["project"], description["build-system"]
    lists = [project["dependencies"], build["requires"], *project["optional-dependencies"].values()]
    names = {re.split(r"[\s<>=!~;]", line)[0] for lines in lists for line in lines}
    assert [name for name in sorted(names) if f"`{name}`" not in told] == []
