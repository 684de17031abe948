"""The packetdrill language: scripts of calls and packets, run against one host in virtual time.

- ``language/`` makes a syntax tree of a script in either dialect, Google's or nplab's.
- ``machine/`` is the host and its clock. There is no kernel, no device and no waiting.
- ``steps/`` does what one event asks: ``calls`` drive the host's sockets, ``inject`` and ``expect`` its wire,
  ``commands`` its settings, ``code`` looks at ``TCP_INFO``.
- ``interpreter`` does one event after the other; ``runner`` runs a whole script.
"""

from estab.drill.errors import MismatchError, ScriptError, UnsupportedError
from estab.drill.language.parser import parse
from estab.drill.runner import Result, run

__all__ = ["MismatchError", "Result", "ScriptError", "UnsupportedError", "parse", "run"]
