"""Print what estab needs to run, and what one of its extras needs, a line each: ``python tools/extras.py test``.

``pip install .[test]`` would build estab only to learn them.
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text())["project"]
print("\n".join(project["dependencies"] + project["optional-dependencies"][sys.argv[1]]))
