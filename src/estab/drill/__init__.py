"""The packetdrill language: scripts of calls and packets, run against one host in virtual time.

- ``lexer``, ``cursor``, ``parse_*``, ``parser`` make a ``syntax`` tree of a script in either dialect, Google's or
  nplab's.
- ``interpreter`` does one event after the other: ``calls`` drive the host's sockets, ``inject`` and ``expect`` its
  wire, ``commands`` its settings, ``code`` looks at ``TCP_INFO``.
- ``machine`` is the host and its clock. There is no kernel, no device and no waiting.
"""

from estab.drill.errors import Mismatch, ScriptError, Unsupported
from estab.drill.parser import parse
from estab.drill.runner import Result, run

__all__ = ["Mismatch", "Result", "ScriptError", "Unsupported", "parse", "run"]
