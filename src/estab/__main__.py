"""``python -m estab`` is the command ``estab``."""

from __future__ import annotations

import sys

from estab.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
