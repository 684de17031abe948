"""The labelled scenarios, by kind: a network of the lab, what goes wrong in it, and what is true of it afterwards.

The kinds are in ``captures``, ``stuck``, ``ended`` and ``slow``.
"""

from __future__ import annotations

from bench.doctor import captures, ended, slow, stuck  # noqa: F401 (each enters its kinds)
from bench.doctor.stage import BETWEEN, KINDS, ON_THE_WAY, RECEIVER, SENDER, Scenario, Stage, Void

__all__ = ["BETWEEN", "KINDS", "ON_THE_WAY", "RECEIVER", "SENDER", "Scenario", "Void", "make"]

def make(kind_name: str, seed: int, has_router: bool = False) -> Scenario:
    """Play one; with a router, the capture is the router's. ``Void``: its fault took no effect."""
    stage = Stage(kind_name, seed, has_router)
    with stage.net:
        return KINDS[kind_name](stage, seed)
