"""Compile the core to WebAssembly, for the lab's page: the file ``estab.core.wasm`` of what ``build_lab.py`` builds.

Usage: wasm_core.py, which makes it and names the file. mypyc turns the core into C for a 32-bit machine, and the clang
of Zig makes a library of it that Pyodide loads when it starts. The tools come from registries once and are kept in
``build/wasm``: from PyPI mypyc and ``ziglang``, which has clang, ``wasm-ld`` and the C library's headers. CPython's own
headers come from an installed CPython of Pyodide's version, or from Debian's package of it.

Without these the core stays interpreted, and one line says why. With them, what does not compile is an error.
``ESTAB_COMPILE=0`` leaves the core interpreted.

- Its modules are built-in ones. The library's constructor names them to Python before that starts. So nothing is looked
  up by file, and the memory of a Python that has imported them can be kept (``web/lab/snapshot.mjs``): the library is
  loaded at the same place in memory wherever Pyodide starts.
- ``librt.strings`` is of mypyc's own sources and goes in, too.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "estab"
KEPT = ROOT / "build" / "wasm"
TOOLS = KEPT / "tools"
ZIG = "ziglang==0.17.1"
SUITE = "sid"
"""Debian's suite that has the newest Python."""
FLAGS = ("-O2", "-DNDEBUG", "-DPY_CALL_TRAMPOLINE", "-fPIC", "-fvisibility=hidden", "-w")
LINK = ("--experimental-pic", "-shared", "-Bsymbolic", "--no-entry", "--import-memory", "--allow-undefined",
        "--strip-all", "--export=__wasm_call_ctors")
CORES_KEPT = 3


class NoToolsError(Exception):
    """What compiling needs is not here; the text says what, in one line."""


def of_setup(name: str) -> Any:
    """Read a constant of ``setup.py``, which can't be imported."""
    for node in ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return ast.literal_eval(node.value)
    raise KeyError(name)


def core_sources() -> list[Path]:
    """List the files that are compiled, as ``setup.py`` does."""
    rooms = [path for room in of_setup("ROOMS") for path in (PACKAGE / room).rglob("*.py")
             if path.name != "__init__.py"]
    return sorted([PACKAGE / "counters.py", *rooms, *(PACKAGE / f"{name}.py" for name in of_setup("LAB"))])


def core(pyodide: Path) -> Path | None:
    """Return the compiled core for the Pyodide in a folder, made if it is not kept; else ``None``, and a line why."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with open(KEPT / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two builds at once, one makes it
        try:
            return _bring_core(pyodide)
        except NoToolsError as why:
            print(f"build_lab: the page's core stays interpreted: {why}", flush=True)
            return None


def _bring_core(pyodide: Path) -> Path:
    if os.environ.get("ESTAB_COMPILE", "").strip().lower() in ("0", "no", "never"):
        raise NoToolsError("ESTAB_COMPILE=0")
    kept = KEPT / "core" / _fingerprint(pyodide)
    made = kept / "core.wasm"
    if not made.exists():
        bring_tools()
        include = bring_headers(pyodide)
        print("build_lab: the core is compiled to WebAssembly, in a minute or two; then it is kept", flush=True)
        _forget_old_cores(kept.parent)
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        compile_core(kept, include)
    return made


def _fingerprint(pyodide: Path) -> str:
    digest = hashlib.sha256(repr([of_setup("COMPILE_REQUIRES"), ZIG, _python(pyodide)]).encode())
    for path in sorted({*core_sources(), *PACKAGE.glob("*.py"), Path(__file__)}):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _forget_old_cores(folder: Path) -> None:
    for old in sorted(folder.glob("*"), key=lambda path: path.stat().st_mtime)[: 1 - CORES_KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def bring_tools() -> None:
    """Install mypyc and the C compiler into a folder of their own, once."""
    wanted = [*of_setup("COMPILE_REQUIRES"), "setuptools", ZIG]
    note = TOOLS / "installed"
    if note.exists() and note.read_text() == repr(wanted):
        return
    print("build_lab: pip installs what the core is compiled with, once (about 500 MB)", flush=True)
    shutil.rmtree(TOOLS, ignore_errors=True)
    done = subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install",
                           "--only-binary", ":all:", "--target", str(TOOLS), *wanted],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise NoToolsError(f"pip can't install {ZIG} and mypyc: {lines[-1] if lines else 'it says nothing'}")
    note.write_text(repr(wanted))


# --- CPython's headers


def _python(pyodide: Path) -> str:
    """Read the version of Pyodide's CPython: ``3.14.2``."""
    lock = json.loads((pyodide / "pyodide-lock.json").read_text(encoding="utf-8"))
    return str(lock["info"]["python"])


def bring_headers(pyodide: Path) -> Path:
    """Return a folder with the headers of Pyodide's CPython, and its own ``pyconfig.h``."""
    version = ".".join(_python(pyodide).split(".")[:2])
    place = KEPT / "include" / f"python{version}"
    if not place.exists():
        part = place.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(_installed_headers(version) or _headers_of_debian(version), part)
        shutil.rmtree(KEPT / "apt", ignore_errors=True)
        part.rename(place)
    (place / "pyconfig.h").write_text(_configuration(pyodide), encoding="utf-8")
    return place


def _configuration(pyodide: Path) -> str:
    """Write ``pyconfig.h`` from what Pyodide's ``sysconfig`` knows: there what is not defined is 0."""
    with zipfile.ZipFile(pyodide / "python_stdlib.zip") as archive:
        name, = (name for name in archive.namelist() if re.fullmatch(r"_sysconfigdata_\w*\W\w*\.py", name))
        names: dict[str, Any] = {}
        exec(archive.read(name), names)
    known = {key: value for key, value in names["build_time_vars"].items() if isinstance(value, int) and value}
    return "\n".join(["#define _GNU_SOURCE 1", *(f"#define {key} {value}" for key, value in known.items()), ""])


def _installed_headers(version: str) -> Path | None:
    """Find the headers of an installed CPython, with those inside that mypyc's run-time library reads."""
    python = shutil.which(f"python{version}")
    if python is None:
        return None
    asked = "import sysconfig; print(sysconfig.get_path('include'))"
    found = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=False).stdout.strip()
    return Path(found) if found and Path(found, "internal", "pycore_frame.h").exists() else None


def _headers_of_debian(version: str) -> Path:
    """Take the headers from Debian's package of that Python, of whatever suite has it. Nothing is installed."""
    package = f"libpython{version}-dev"
    needed = f"CPython {version}'s headers ({package})"
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NoToolsError(f"{needed} are not installed")
    apt = KEPT / "apt"
    shutil.rmtree(apt, ignore_errors=True)
    for folder in ("lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True)
    listed = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE) $(ORIGIN)", "Created-By: Packages"],
                            capture_output=True, text=True, check=False).stdout
    sites = sorted({line.removesuffix(" Debian") for line in listed.splitlines()
                    if line.endswith(" Debian") and "security" not in line})
    if not sites:
        raise NoToolsError(f"{needed} are not installed, and apt names no archive of Debian's (apt-get update?)")
    (apt / "sources.list").write_text(f"deb {sites[0]} {SUITE} main\n")
    options = [f"-oDir::State::Lists={apt / 'lists'}", f"-oDir::Cache={apt / 'cache'}", "-oAPT::Sandbox::User=root",
               f"-oDir::Etc::SourceList={apt / 'sources.list'}", "-oDir::Etc::SourceParts=/dev/null"]
    for command in (["update"], ["download", package]):
        done = subprocess.run(["apt-get", "-q", *options, *command], cwd=apt, capture_output=True, check=False)
        if done.returncode != 0:
            raise NoToolsError(f"{needed} are not installed, and apt can't {command[0]} from Debian {SUITE}")
    deb, = apt.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", str(deb), str(apt / "root")], check=True)
    return apt / "root" / "usr" / "include" / f"python{version}"


# --- compiling


def compile_core(folder: Path, include: Path) -> None:
    """Make ``core.wasm`` in a folder: C by mypyc, then objects, then the library."""
    environment = {**os.environ, "PYTHONPATH": str(TOOLS)}
    done = subprocess.run([sys.executable, __file__, "--generate", str(folder)], cwd=ROOT, env=environment,
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"build_lab: mypyc refused the core:\n{done.stdout}{done.stderr}")
    runtime = TOOLS / "mypyc" / "lib-rt"
    sources = {"core": folder / "c" / "estab" / "__native__core.c", "builtins": folder / "c" / "builtins.c",
               "strings": runtime / "strings" / "librt_strings.c"}
    zig = [str(TOOLS / "ziglang" / ("zig.exe" if os.name == "nt" else "zig"))]
    headers = TOOLS / "ziglang" / "lib"
    # Emscripten's C library is musl. Of its headers only what depends on the machine comes from another 32-bit one's:
    # sizes are clang's own, then, as those of Emscripten are.
    system = [headers / "include", headers / "libc/include/arm-linux-musl", headers / "libc/include/generic-musl"]
    flags = ["-target", "wasm32-unknown-emscripten", "-nostdinc", "-D__DEFINED_size_t", "-D__DEFINED_wchar_t",
             "-include", "stddef.h", *(word for path in system for word in ("-isystem", str(path))),
             f"-I{include}", f"-I{runtime}", f"-I{folder / 'c'}", *FLAGS]
    for name, source in sources.items():
        _run([*zig, "clang", *flags, "-c", str(source), "-o", str(folder / f"{name}.o")])
    part = folder / "core.part"
    _run([*zig, "wasm-ld", *LINK, "-o", str(part), *(str(folder / f"{name}.o") for name in sources)])
    for name in sources:
        (folder / f"{name}.o").unlink()
    shutil.rmtree(folder / "c")
    part.rename(folder / "core.wasm")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"build_lab: compiling the core to WebAssembly failed:\n{done.stderr[:2000]}")


_MODULE = """
#define PyInit_{last} PyInit_{mine}
#define PyInit___init__ PyInit_{mine}_package
#include "{source}"
#undef PyInit_{last}
#undef PyInit___init__
"""
_REST = """
PyObject *PyInit__core__mypyc(void);
PyObject *PyInit_strings(void);

/* Each of the core's modules is told a file, made from that of their library: one of the archive that has estab. */
static PyObject *library(void) {{
    PyObject *module = PyInit__core__mypyc();
    if (module != NULL && !PyObject_HasAttrString(module, "__file__")
            && PyModule_AddStringConstant(module, "__file__", "/estab.zip/_core__mypyc.so") < 0) {{
        Py_DECREF(module);
        return NULL;
    }}
    return module;
}}

static struct _inittab modules[] = {{
    {{"estab._core__mypyc", library}},
    {{"librt.strings", PyInit_strings}},
{rows}
    {{NULL, NULL}},
}};

__attribute__((constructor)) static void add(void) {{ PyImport_ExtendInittab(modules); }}
"""


def generate(folder: Path) -> None:
    """Turn the core into C for a 32-bit machine, and write the table of its modules. Run with ``TOOLS`` on the path."""
    sysconfig.get_config_vars().update(SIZEOF_SIZE_T=4, EXT_SUFFIX=".so")
    from mypyc.build import mypycify
    from mypyc.common import IS_32_BIT_PLATFORM

    assert IS_32_BIT_PLATFORM, "mypyc has read the machine's own sizes"
    os.chdir(ROOT)
    sources = [str(path.relative_to(ROOT)) for path in core_sources()]
    target = folder / "c"
    extensions = mypycify(["--follow-imports=silent", *sources], opt_level="2", debug_level="0",
                          group_name="estab._core", target_dir=str(target))
    text, rows = "#include <Python.h>\n", []
    for extension in extensions:
        if extension.name.endswith("__mypyc"):
            continue
        mine = extension.name.replace(".", "__")
        source, = extension.sources
        text += _MODULE.format(last=extension.name.rpartition(".")[2], mine=mine, source=Path(source).resolve())
        rows.append(f'    {{"{extension.name}", PyInit_{mine}}},')
    (target / "builtins.c").write_text(text + _REST.format(rows="\n".join(rows)), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--generate"]:
        generate(Path(sys.argv[2]))
    else:
        import build_lab

        print(core(build_lab.install() / "pyodide"))
