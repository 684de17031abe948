"""Each rule of the house can fail: it is shown a tree of sources that breaks it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.test_house import (
    LINES_MAX,
    bare_booleans,
    chance_of_the_system,
    circles,
    deletable_properties,
    forbidden_imports,
    long_files,
    machine_paths,
    misnamed_errors,
    private_interfaces,
    upward_imports,
)


def tree(root: Path, files: Mapping[str, str]) -> Path:
    """Write a small house: ``{"tcp/output.py": "import time"}``."""
    for name, text in {"__init__.py": "", **files}.items():
        path = root / "estab" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    "files",
    [
        {"wire/ip.py": "from estab.tcp import output", "tcp/output.py": ""},
        {"wire/ip.py": "import estab.tcp.output", "tcp/output.py": ""},
        {"wire/ip.py": "from ..tcp.output import send", "tcp/output.py": ""},
        {"wire/ip.py": "def late():\n    from estab.tcp.output import send", "tcp/output.py": ""},
        {"devices/memory.py": "from estab.host.engine import Engine", "host/engine.py": ""},
        {"messages/framing.py": "from estab.wire.octets import u8", "wire/octets.py": ""},
        {"messages/framing.py": "import estab.sockets.socket.socket", "sockets/socket/socket.py": ""},
        {"sockets/socket/socket.py": "from estab.observe.recorder import Recorder", "observe/recorder.py": ""},
        {"host/engine.py": "from estab.lab.network import Network", "lab/network.py": ""},
        {"host/engine.py": "import estab"},
        {"errors.py": "from estab.wire.octets import u8", "wire/octets.py": ""},
        {"__init__.py": "from estab.cli.main import main", "cli/main.py": ""},
        {"attic/box.py": ""},
        {"lab/a.py": "if TYPE_CHECKING:\n    from estab.cli.main import main", "cli/main.py": ""},
    ],
)
def test_an_import_that_goes_up_is_found(tmp_path: Path, files: dict[str, str]) -> None:
    assert len(upward_imports(tree(tmp_path, files))) == 1


@pytest.mark.parametrize(
    "files",
    [
        {"tcp/a.py": "from estab.wire.ip import parse", "wire/ip.py": "import estab.errors", "errors.py": ""},
        {"tcp/output.py": "from estab.tcp.record.tcb import Tcb\nimport json", "tcp/record/tcb.py": ""},
        {"events.py": "from estab.errors import x", "errors.py": ""},
        {"__init__.py": "from estab.lab.network import Network", "lab/network.py": ""},
        {"cli/main.py": "import estab\nfrom estab._version import v", "_version.py": ""},
    ],
)
def test_imports_that_go_down_are_let_through(tmp_path: Path, files: dict[str, str]) -> None:
    root = tree(tmp_path, files)
    assert upward_imports(root) == circles(root) == forbidden_imports(root) == []


@pytest.mark.parametrize(
    "files",
    [
        {"tcp/a.py": "from estab.tcp import b", "tcp/b.py": "from estab.tcp.a import x"},
        {"tcp/a.py": "import estab.tcp.b", "tcp/b.py": "from . import c", "tcp/c.py": "from .a import x"},
        {"tcp/a.py": "def late():\n    from estab.tcp.b import B", "tcp/b.py": "from estab.tcp.a import A"},
        {"lab/a.py": "if TYPE_CHECKING:\n    from estab.lab.b import B", "lab/b.py": "from estab.lab.a import A"},
        {"tcp/__init__.py": "from estab.tcp.a import x", "tcp/a.py": "from estab.tcp import y"},
    ],
)
def test_a_circle_is_found(tmp_path: Path, files: dict[str, str]) -> None:
    assert len(circles(tree(tmp_path, files))) == 1


@pytest.mark.parametrize("text", [
    "class Lost(OSError): ...", "class Fine(errors.FrameError): ...\nclass LostError(Fine): ...",
    "class LostError(Exception): ...\nclass Gone(LostError): ...",
])
def test_an_error_that_is_not_called_one_is_found(tmp_path: Path, text: str) -> None:
    assert len(misnamed_errors(tree(tmp_path, {"tcp/a.py": text}))) == 1
    fine = {"tcp/a.py": "class Ended(BaseException): ...\nclass LostError(OSError): ...\nclass Queued: ..."}
    assert misnamed_errors(tree(tmp_path / "fine", fine)) == []


@pytest.mark.parametrize(
    "files",
    [
        *({"wire/a.py": f"import {name}"} for name in ("time", "random", "socket", "os")),
        *({"tcp/a.py": f"import {name}"} for name in ("time", "random", "asyncio", "threading")),
        *({"host/a.py": f"import {name}"} for name in ("time", "random", "socket", "logging")),
        {"tcp/a.py": "from asyncio.events import get_event_loop"},
        {"host/a.py": "def late():\n    import threading"},
        {"wire/a.py": "import logging.handlers"},
        {"wire/a.py": "from librt.strings import BytesWriter"},
        {"cli/a.py": "import librt"},
        {"lab/a.py": "import random"},
        {"lab/a.py": "from time import monotonic"},
    ],
)
def test_a_forbidden_module_is_found(tmp_path: Path, files: dict[str, str]) -> None:
    assert len(forbidden_imports(tree(tmp_path, files))) == 1


def test_octets_may_know_librt_and_realtime_may_know_the_clock(tmp_path: Path) -> None:
    files = {"wire/octets.py": "import librt.strings", "realtime/a.py": "import time", "lab/a.py": "import threading"}
    assert forbidden_imports(tree(tmp_path, files)) == []


@pytest.mark.parametrize("text", ["import os\nos.urandom(8)", "x = hash('a')", "x = sorted(y, key=lambda z: id(z))"])
def test_chance_of_the_system_is_found(tmp_path: Path, text: str) -> None:
    assert len(chance_of_the_system(tree(tmp_path, {"lab/a.py": text}))) == 1
    assert chance_of_the_system(tree(tmp_path / "elsewhere", {"realtime/a.py": text})) == []


@pytest.mark.parametrize("text", [
    "import threading\nthreading._limbo", "import os as s\ns._private()", "def f(thread):\n    thread._daemonic = True",
])
def test_a_private_interface_is_found(tmp_path: Path, text: str) -> None:
    assert len(private_interfaces(tree(tmp_path, {"lab/a.py": text}))) == 1
    assert private_interfaces(tree(tmp_path / "elsewhere", {"cpython.py": text})) == []
    assert private_interfaces(tree(tmp_path / "fine", {"lab/a.py": "import os\nos._exit(1)\nself._limbo"})) == []


def test_a_bare_boolean_is_found(tmp_path: Path) -> None:
    files = {"tcp/a.py": "send(1, True)\nsend(1, is_new=True)", "lab/a.py": "send(1, True)"}
    assert bare_booleans(tree(tmp_path, files)) == ["estab.tcp.a:1 calls send with a bare True"]


def test_a_property_that_crashes_when_it_is_deleted_is_found(tmp_path: Path) -> None:
    text = "class A:\n    @property\n    def x(self): ...\n    @x.setter\n    def x(self, value): ...\n"
    assert deletable_properties(tree(tmp_path / "bad", {"host/a.py": text})) == ["estab.host.a: A.x"]
    assert deletable_properties(tree(tmp_path / "good", {"host/a.py": text + "undeletable(A, 'x')\n"})) == []


def test_a_long_file_is_found(tmp_path: Path) -> None:
    root = tree(tmp_path, {"tcp/a.py": "x = 1\n" * (LINES_MAX + 1), "tcp/b.py": "x = 1\n" * LINES_MAX})
    assert long_files(root) == [f"{Path('estab/tcp/a.py')}: {LINES_MAX + 1} lines"]


@pytest.mark.parametrize("folder", ["root", "work", "home/ann", "Users/ann"])
def test_a_path_of_one_machine_is_found(folder: str) -> None:
    assert machine_paths({"a.py": f"x = 1\ny = '/{folder}/estab'\n"}) == [f"a.py:2: y = '/{folder}/estab'"]
    assert machine_paths({"a.py": f"see http://example.org/{folder}/ and a/{folder}/b"}) == []
