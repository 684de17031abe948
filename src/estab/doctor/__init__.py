"""Says why a connection is stuck or slow: from the kernel's sockets, from captures, and from recordings of the lab.

``diagnose`` takes any of them; ``causes`` has the one table of what can be found.
"""

from __future__ import annotations
