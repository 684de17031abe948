"""Prints the pinned requirements of the table: what its entries name, at the versions that are installed here.

``python -m tools.programs.versions > tools/programs/requirements-all.txt``, and with ``--ci`` what CI tries, for
``requirements-ci.txt``.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from typing import Final

from tools.programs.families import load

_MORE: Final = {
    "SQLAlchemy, asyncio": ("greenlet",), "aiohttp": ("aiodns",), "boto3, moto": ("flask-cors", "docker"),
}
"""What entries use beside what they import by name."""
_BINARIES: Final = {"psycopg": ("psycopg-binary",)}
"""Extras without which a distribution does nothing."""
_NEEDED: Final = ("click", "librt", "mypy_extensions", "pyroute2", "rich", "tomli_w")
"""What estab itself needs."""


def main() -> None:
    """Print a line for each distribution, with all that those depend on."""
    by_module = importlib.metadata.packages_distributions()
    asked: set[str] = set(_NEEDED)
    for entry in load().values():
        if "--ci" in sys.argv and not entry.is_in_ci:
            continue
        if entry.package:
            asked.add(entry.package)
            asked.update(_BINARIES.get(entry.package, ()))
        for module in (*entry.imports, *entry.fresh):
            asked.update(by_module.get(module.partition(".")[0], ())[:1])
        asked.update(_MORE.get(entry.name, ()))
    print("# What the table of docs/programs.md is made with: python -m tools.programs.versions wrote it.")
    for name, version in sorted(_closure(asked).items()):
        print(f"{name}=={version}")


def _closure(asked: set[str]) -> dict[str, str]:
    """Find the versions of distributions, and of those that they need."""
    found: dict[str, str] = {}
    left = sorted(asked)
    while left:
        name = left.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found or key == "estab":
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found[key] = distribution.version
        for text in distribution.requires or ():
            if "extra ==" not in text:
                left.append(re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0])
    return found


if __name__ == "__main__":
    main()
