"""Print the requirements of one of the project's extras, a line each: ``python tools/extras.py test``.

``pip install .[test]`` would build estab once more only to learn them.
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text())["project"]
print("\n".join(project["optional-dependencies"][sys.argv[1]]))
