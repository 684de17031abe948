"""Run the lab's tests on every CPython from 3.12 on that is installed here: ``python tools/try_pythons.py [WHEEL]``.

Found are ``python3.12`` and its later brothers on PATH, and what pyenv keeps. Each gets an environment of its own under
``build/pythons``, with estab as it is here or as the wheel has it. Where no other Python is found, that is said.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.12", "3.13", "3.14")
TESTS = (
    "tests/lab/test_network.py", "tests/lab/test_programs.py", "tests/lab/test_end_of_a_run.py",
    "tests/lab/test_determinism.py", "tests/lab/test_rules_and_power.py", "tests/drill/test_scripts.py",
    "tests/cli/test_tour.py",
)
NEEDED = ("pytest", "pytest-xdist", "hypothesis", "trustme")


def find(version: str) -> str | None:
    """Find an interpreter of a version that works: a name on PATH may be pyenv's, for a version that is not chosen."""
    pyenv = Path(os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))) / "versions"
    kept = sorted(map(str, pyenv.glob(f"{version}.*/bin/python")), reverse=True)
    for path in filter(None, [shutil.which(f"python{version}"), *kept]):
        asked = [path, "-c", "import sys, venv; print(sys.version.split()[0])"]
        told = subprocess.run(asked, capture_output=True, text=True, check=False)
        if told.returncode == 0 and told.stdout.startswith(version):
            return path
    return None


def run_tests(version: str, python: str, what: str) -> bool:
    """Install into an environment of that Python, and run the tests. Tells whether they passed."""
    folder = ROOT / "build" / "pythons" / version
    binary = folder / "bin" / "python"
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if not binary.exists():
        subprocess.run([python, "-m", "venv", str(folder)], check=True, env=clean)
    pip = [str(binary), "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--force-reinstall"]
    subprocess.run([*pip, what, *NEEDED], check=True, env=clean | {"ESTAB_COMPILE": "0"}, cwd=ROOT)
    tests = [str(binary), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--numprocesses=2", *TESTS]
    done = subprocess.run(tests, check=False, env=clean | {"ESTAB_CORE": "interpreted"}, cwd=ROOT)
    return done.returncode == 0


def main() -> int:
    """Run all; the exit status says whether all passed."""
    what = sys.argv[1] if len(sys.argv) > 1 else "."
    found = {version: path for version in VERSIONS if (path := find(version)) is not None}
    missing = [version for version in VERSIONS if version not in found]
    if missing:
        print(f"estab: not tried, for it is not installed here: CPython {', '.join(missing)}", flush=True)
    passed = {}
    for version, python in found.items():
        print(f"estab: the lab on CPython {version} ({python})", flush=True)
        passed[version] = run_tests(version, python, what)
    for version, is_good in passed.items():
        print(f"estab: the lab on CPython {version}: {'all tests passed' if is_good else 'tests FAILED'}")
    return 0 if all(passed.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
