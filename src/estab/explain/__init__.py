"""What the words mean: states, errnos, counters, sysctls, socket options and reasons of drops, in one table.

``estab explain`` and the documentation are made from ``table.terms()``. What a drop or a sysctl is, the engine's own
tables say; the rows here add the cause and what to do.
"""

from __future__ import annotations
