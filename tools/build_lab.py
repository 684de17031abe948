"""Build the lab's page, for `estab lab` or any static host: ``build/lab``.

Usage: build_lab.py [FOLDER]. The folder then has all that the page needs, and the page asks for nothing outside of it:
Pyodide and the editor come from npm once (``web/lab/package.json`` pins the versions, ``build/npm`` keeps
them), estab's own sources go in as a zip archive, and the lessons of ``web/lab/lessons`` as JSON. Beside them are the
core as a WebAssembly library, if it could be compiled (``wasm_core.py``), the memory of a Python that has imported
estab, with which the page is ready sooner, and a recorded run of each lesson, for browsers that can't run one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import wasm_core
from lessons import LANGUAGES, read_all

from estab.trial.experiment import answer_from, run_experiment

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "web" / "lab"
NPM = ROOT / "build" / "npm"
PYODIDE = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "pyodide-lock.json")
"""What the page loads of Pyodide, beside its standard library."""
LEFT_OUT = ("cli", "doctor", "drill", "native", "stack")
"""Rooms that need a terminal or a machine of one's own."""
MODULES = ("mypy_extensions", "tomli_w")
"""Pure Python that estab imports."""


def install() -> Path:
    """Install what npm has, unless it is there. Returns ``node_modules``."""
    wanted = (WEB / "package.json").read_text(encoding="utf-8")
    kept = NPM / "package.json"
    modules = NPM / "node_modules"
    if not (kept.exists() and kept.read_text(encoding="utf-8") == wanted and (modules / "pyodide").exists()):
        if shutil.which("npm") is None:
            raise SystemExit("build_lab: npm is not installed, from which Pyodide comes")
        NPM.mkdir(parents=True, exist_ok=True)
        kept.write_text(wanted, encoding="utf-8")
        print("build_lab: npm installs what the page is made of, once", flush=True)
        (NPM / "python_stdlib.zip").unlink(missing_ok=True)
        subprocess.run(["npm", "install", "--no-fund", "--no-audit", "--no-package-lock", "--silent"], cwd=NPM,
                       check=True)
    return modules


def compile_python(modules: Path, source: Path, target: Path, place: str) -> None:
    """Add bytecode to an archive, made by Pyodide itself. ``place`` is where the archive is when it is imported."""
    part = target.with_suffix(".part")
    subprocess.run(["node", str(WEB / "compile.mjs"), str(modules / "pyodide"), str(source), str(part), place],
                   check=True)
    part.replace(target)


def write_recorded(folder: Path, lessons: dict[str, Any]) -> None:
    """Run each lesson, and write what a page shows that can't run it: ``recorded/NAME.json``."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, lesson in lessons.items():
        text = json.dumps(lesson["experiment"])
        run = json.loads(run_experiment(text))
        run["stories"] = {language: json.loads(run_experiment(text, language))["story"] for language in LANGUAGES[1:]}
        recorded = {"run": run, "answer": int(answer_from(run, lesson["check"]))}
        (folder / f"{name}.json").write_text(json.dumps(recorded, separators=(",", ":")), encoding="utf-8")


def pack(path: Path, has_core: bool) -> None:
    """Write the sources of estab, and of what it imports, into an archive that is the same for the same sources."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        if has_core:  # the package of ``librt.strings``, which is in the core's library
            _write(archive, "librt/__init__.py", b"")
        package = ROOT / "src" / "estab"
        for file in sorted(package.rglob("*")):
            place = file.relative_to(package)
            if file.suffix in (".py", ".html", ".toml") and place.parts[0] not in LEFT_OUT:
                _add(archive, file, f"estab/{place.as_posix()}")
        for name in MODULES:
            spec = importlib.util.find_spec(name)
            if spec is None or spec.origin is None:
                raise SystemExit(f"build_lab: {name} is not installed")
            origin = Path(spec.origin)
            if origin.name != "__init__.py":
                _add(archive, origin, origin.name)
                continue
            for file in sorted(origin.parent.rglob("*.py")):
                _add(archive, file, f"{name}/{file.relative_to(origin.parent).as_posix()}")


def _add(archive: zipfile.ZipFile, file: Path, name: str) -> None:
    _write(archive, name, file.read_bytes())


def _write(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    made = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    made.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(made, data)


def build(folder: Path) -> None:
    """Fill the folder."""
    modules = install()
    folder.mkdir(parents=True, exist_ok=True)
    for name in PYODIDE:
        shutil.copyfile(modules / "pyodide" / name, folder / name)
    core = wasm_core.core(modules / "pyodide")
    (folder / "built.js").write_text(f"export const hasCore = {'true' if core else 'false'};\n", encoding="utf-8")
    (folder / "estab.core.wasm").unlink(missing_ok=True)
    if core:
        shutil.copyfile(core, folder / "estab.core.wasm")
    pack(NPM / "estab.zip", core is not None)
    compile_python(modules, NPM / "estab.zip", folder / "estab.zip", "/estab.zip")
    library = NPM / "python_stdlib.zip"
    if not library.exists():
        compile_python(modules, modules / "pyodide" / library.name, library, "/lib/python314.zip")
    shutil.copyfile(library, folder / library.name)
    subprocess.run(["node", str(WEB / "snapshot.mjs"), str(modules / "pyodide"), str(folder / "estab.zip"),
                    str(library), str(folder / "estab.snapshot"), *([str(core)] if core else [])], check=True)
    shutil.copyfile(ROOT / "LICENSE", folder / "LICENSE.txt")
    for file in sorted(WEB.glob("static/*")):
        shutil.copyfile(file, folder / file.name)
    lessons = read_all()
    (folder / "lessons.json").write_text(json.dumps(lessons, ensure_ascii=False), encoding="utf-8")
    sentences = tomllib.loads((ROOT / "src" / "estab" / "observe" / "zh.toml").read_text(encoding="utf-8"))
    (folder / "sentences.json").write_text(json.dumps({"zh": sentences}, ensure_ascii=False), encoding="utf-8")
    write_recorded(folder / "recorded", lessons["en"])
    subprocess.run(
        [str(modules / ".bin" / "esbuild"), str(WEB / "src" / "main.js"), "--bundle", "--minify", "--format=iife",
         "--target=chrome110,firefox115", "--log-level=warning", f"--outfile={folder / 'lab.js'}"],
        check=True, env={**os.environ, "NODE_PATH": str(modules)})


def main() -> int:
    """Build it, and say how large it became."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "lab"
    build(folder)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"build_lab: {folder}: {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
