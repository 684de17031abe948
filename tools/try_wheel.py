"""Install a wheel into a fresh environment and let it tell a tour there: ``python tools/try_wheel.py dist/estab.whl``.

What is tried is what a user gets: the wheel and what it depends on, outside of the source tree.
"""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

wheel = Path(sys.argv[1]).resolve()
wanted = "interpreted" if wheel.stem.endswith("-any") else "compiled"
clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "ESTAB_"))}
with tempfile.TemporaryDirectory(prefix="estab-fresh-") as folder:
    venv.create(folder, with_pip=True)
    binaries = Path(folder) / "bin"
    pip = [binaries / "python", "-m", "pip", "--disable-pip-version-check", "--quiet", "install", wheel]
    subprocess.run(pip, check=True, cwd=folder, env=clean)

    def estab(*arguments: str) -> str:
        command = [binaries / "estab", *arguments]
        return subprocess.run(command, check=True, cwd=folder, env=clean, capture_output=True, text=True).stdout

    version = estab("--version").strip()
    if f"core: {wanted}" not in version:
        sys.exit(f"{wheel.name}: wanted a core that is {wanted}, and got: {version}")
    tour = estab("tour", "handshake").splitlines()
    print(f"{wheel.name}: {version}; a tour of {len(tour)} lines, the last: {tour[-1].strip()}")
