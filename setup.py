"""Build estab: the files as they are, or with a core that mypyc compiles.

``ESTAB_COMPILE`` says what is wanted. Unset, or ``0``, leaves the core interpreted: a build then takes seconds, needs
no compiler, and gives a wheel for every platform. ``1`` compiles it, which takes minutes, and makes a core that does
not compile an error. ``auto`` compiles where possible and says in one line why not. What was decided goes into the
package (``_core.txt``), from where ``estab --version`` tells it. ``ESTAB_OPTIMIZE`` is the C compiler's level, 3 unless
set: 1 takes half of its time, and the core a tenth more. Only a build that compiles asks for what that needs (mypyc).

A compiled core is kept under ``build/core`` by the hash of all that it was made from, so that a build in which no
source of the core changed takes no compiler's time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import sysconfig
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from setuptools import Distribution, setup
from setuptools._distutils.ccompiler import new_compiler
from setuptools._distutils.sysconfig import customize_compiler
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import BaseError as SetupError

HERE = Path(__file__).resolve().parent
PACKAGE = HERE / "src" / "estab"
ROOMS = ("wire", "tcp", "host", "serve")
LAB = ("lab/ending", "lab/host_time", "lab/making", "lab/topology", "lab/record/chance", "lab/record/clock",
       "lab/record/host_clock", "lab/record/lateness", "lab/links/aqm", "lab/links/direction", "lab/links/flights",
       "lab/links/frame", "lab/links/host_side", "lab/links/queues", "lab/links/rate", "lab/links/stages",
       "lab/links/way", "lab/programs/habit", "lab/programs/host_calls", "lab/programs/one_cpu",
       "lab/programs/socket_calls", "lab/programs/strands", "lab/programs/workers", "sockets/lookups",
       "sockets/process", "sockets/runtime", "sockets/waiting", "sockets/polling/callbacks",
       "sockets/polling/interests", "sockets/polling/open_file", "sockets/polling/real_descriptor",
       "sockets/socket/options", "sockets/socket/setters", "sockets/socket/addresses", "sockets/standin/early")
"""What each packet of the lab passes, each wait of a program, and what a network is made of."""
C_FLAGS = ["-fno-semantic-interposition", "-Wno-error"]
LIBRARY = "estab._core"
COMPILE_REQUIRES = ["mypy[mypyc]>=2.4,<3", "mypy_extensions>=1.0", "librt>=0.16"]
NOT_COMPILED = "compiling was not asked for; ESTAB_COMPILE=1 pip install does"
CORES_KEPT = 3


class CoreNotCompiledError(Exception):
    """The core stays interpreted; the text says why, in one line."""


def wish() -> str:
    """Read ``ESTAB_COMPILE``: ``never``, ``auto`` or ``require``."""
    text = os.environ.get("ESTAB_COMPILE", "").strip().lower()
    wishes = {"": "never", "0": "never", "no": "never", "1": "require", "require": "require", "auto": "auto"}
    if text not in wishes:
        sys.exit(f"ESTAB_COMPILE={text!r}: 0 (interpreted), 1 (compiled, or fail) or auto")
    return wishes[text]


def optimize() -> str:
    """Read ``ESTAB_OPTIMIZE``: the level of optimization, ``0`` to ``3``."""
    text = os.environ.get("ESTAB_OPTIMIZE", "3").strip()
    if text not in ("0", "1", "2", "3"):
        sys.exit(f"ESTAB_OPTIMIZE={text!r}: 0, 1, 2 or 3")
    return text


def core_sources() -> list[Path]:
    """List the files that are compiled, as one group: ``counters``, every room of the core, and some of the lab."""
    rooms = [path for room in ROOMS for path in (PACKAGE / room).rglob("*.py") if path.name != "__init__.py"]
    lab = [PACKAGE / f"{name}.py" for name in LAB]
    return sorted([PACKAGE / "counters.py", *rooms, *lab])


def fingerprint(flags: list[str]) -> str:
    """Hash all that a compiled core depends on: its sources, what they import, the tools and the flags."""
    tools = [f"{name} {metadata.version(name)}" for name in ("mypy", "librt", "setuptools")]
    platform = [sys.version, sysconfig.get_platform(), sysconfig.get_config_var("EXT_SUFFIX"), os.environ.get("CC", "")]
    digest = hashlib.sha256(repr([tools, platform, flags, optimize(), os.environ.get("CFLAGS", "")]).encode())
    for path in sorted({*core_sources(), *PACKAGE.glob("*.py"), Path(__file__)}):
        digest.update(f"{path.relative_to(HERE)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def forget_old_cores(folder: Path) -> None:
    """Leave only the latest of the compiled cores, and so room for one more."""
    cores = sorted(folder.glob("*"), key=lambda path: path.stat().st_mtime)
    for old in cores[: 1 - CORES_KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def require_compiler(include_dirs: list[str]) -> None:
    """Compile two lines against Python's headers, or say why that can't be done."""
    compiler = new_compiler()
    customize_compiler(compiler)
    command = getattr(compiler, "compiler_so", None)
    if command and shutil.which(command[0]) is None:
        raise CoreNotCompiledError(f"no C compiler ({command[0]} is not installed)")
    with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "errors", "w+b") as errors:
        source = Path(folder) / "probe.c"
        source.write_text("#include <Python.h>\nint estab_probe(void) { return (int)sizeof(PyObject); }\n")
        stderr = os.dup(2)
        os.dup2(errors.fileno(), 2)
        try:
            compiler.compile([str(source)], output_dir=folder, include_dirs=include_dirs)
        except Exception as error:
            errors.seek(0)
            lines = [line for line in errors.read().decode(errors="replace").splitlines() if "error" in line]
            what = lines[0].rpartition("error:")[2].strip() if lines else "it says nothing"
            name = command[0] if command else "the C compiler"
            raise CoreNotCompiledError(f"{name} can't compile against Python's headers: {what}") from error
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def run_mypyc() -> list[Any]:
    """Turn the core into C, one library for all of it, and say how it is to be compiled."""
    try:
        from mypyc.build import mypycify
    except ImportError as error:
        raise CoreNotCompiledError(f"mypyc can't be imported: {error}") from error
    sources = [str(path.relative_to(HERE)) for path in core_sources()]
    try:
        extensions: list[Any] = mypycify(
            ["--follow-imports=silent", *sources], opt_level=optimize(), debug_level="0", group_name=LIBRARY,
            target_dir="build/mypyc",
        )
    except SystemExit as error:
        print(error.code, file=sys.stderr)
        raise CoreNotCompiledError("mypyc refused the sources (its errors stand above)") from error
    if sys.platform != "win32":
        for extension in extensions:
            extension.extra_compile_args = [*extension.extra_compile_args, *C_FLAGS]
    return extensions


def tell(line: str) -> None:
    """Say one line where whoever builds can see it."""
    print(f"estab: {line}", file=sys.stderr, flush=True)


class CoreDistribution(Distribution):
    """A distribution whose wheel belongs to one platform, unless the core is left interpreted."""

    is_core_interpreted = wish() == "never"

    def has_ext_modules(self) -> bool:
        """Say whether ``build_ext`` has anything to do."""
        return not self.is_core_interpreted


class BuildPackage(build_py):
    """Copies the Python files, after clearing what an earlier build left."""

    def run(self) -> None:
        """Copy, then note that the core is interpreted: ``build_ext`` runs later, and knows better."""
        if not self.editable_mode:
            shutil.rmtree(Path(self.build_lib) / "estab", ignore_errors=True)
        super().run()
        if not self.editable_mode:
            note = NOT_COMPILED if wish() == "never" else "not compiled yet"
            (Path(self.build_lib) / "estab" / "_core.txt").write_text(note + "\n")


class BuildCore(build_ext):
    """Compiles the core, or brings the same one from an earlier build."""

    def run(self) -> None:
        """Put a compiled core beside the Python files, or say why there is none."""
        if self.editable_mode or self.inplace:
            tell("an editable install runs the interpreted files")
            return
        note = "compiled"
        try:
            self.bring_core()
        except CoreNotCompiledError as error:
            if wish() == "require":
                raise SetupError(f"ESTAB_COMPILE=1, but the core does not compile: {error}") from error
            note = str(error)
            tell(f"the core stays interpreted, several times slower: {note}")
            self.distribution.is_core_interpreted = True
            self.distribution.get_command_obj("bdist_wheel").root_is_pure = True
        (Path(self.build_lib) / "estab" / "_core.txt").write_text(note + "\n")

    def bring_core(self) -> None:
        """Copy the core's extension modules into ``build_lib``, compiling them first where none are kept."""
        try:
            kept = HERE / "build" / "core" / fingerprint(C_FLAGS)
        except metadata.PackageNotFoundError as error:
            raise CoreNotCompiledError(f"{error.name} is not installed") from error
        if not (kept / "complete").exists():
            forget_old_cores(kept.parent)
            shutil.rmtree(kept, ignore_errors=True)
            self.compile_core(kept)
            (kept / "complete").touch()
        for module in kept.rglob("*" + sysconfig.get_config_var("EXT_SUFFIX")):
            target = Path(self.build_lib) / module.relative_to(kept)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(module, target)

    def compile_core(self, target: Path) -> None:
        """Run mypyc, then the C compiler; the modules end in ``target``."""
        require_compiler(self.include_dirs)
        command = build_ext(Distribution({"name": "estab", "ext_modules": run_mypyc(), "package_dir": {"": "src"}}))
        command.build_lib = str(target)
        command.build_temp = "build/temp"
        command.force = True
        command.ensure_finalized()
        try:
            command.run()
        except (SetupError, OSError) as error:
            raise CoreNotCompiledError("the C compiler failed on what mypyc made (its errors stand above)") from error


setup(
    distclass=CoreDistribution, cmdclass={"build_py": BuildPackage, "build_ext": BuildCore},
    setup_requires=[] if wish() == "never" else COMPILE_REQUIRES,
)
