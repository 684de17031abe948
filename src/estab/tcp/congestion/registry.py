"""The congestion controls that one host offers, by name: ours, and those that its user adds."""

from __future__ import annotations

import errno
from typing import Final

from estab.errors import os_error
from estab.tcp.config import Config
from estab.tcp.congestion.bbr import Bbr
from estab.tcp.congestion.cubic import Cubic
from estab.tcp.congestion.dctcp import Dctcp
from estab.tcp.congestion.reno import Reno
from estab.tcp.record.control import CongestionControl

__all__ = ["Registry", "name_of"]

_RENO: Final = Reno()
_BBR: Final = Bbr()
_DCTCP: Final = Dctcp()
"""Reno has no state, and of the other two each flow gets one of its own: all hosts offer the same."""


class Registry:
    """Congestion controls by the name that ``TCP_CONGESTION`` and ``tcp_congestion_control`` take."""

    def __init__(self, config: Config) -> None:
        self._controls: dict[str, CongestionControl] = {
            "reno": _RENO, "cubic": Cubic(config), "bbr": _BBR, "dctcp": _DCTCP,
        }

    def add(self, control: CongestionControl) -> None:
        """Offer another one under its ``name``; its ``for_flow`` is asked for each connection."""
        name = name_of(control)
        if not name or len(name) > 15 or not name.isascii():
            raise ValueError(f"name: {name!r} is not 1 to 15 ASCII characters (TCP_CA_NAME_MAX)")
        self._controls[name] = control

    def find(self, name: str) -> CongestionControl:
        """Return the one of that name. ``OSError`` ENOENT if there is none."""
        control = self._controls.get(name)
        if control is None:
            known = ", ".join(self._controls)
            raise os_error(errno.ENOENT, f"no such file or directory: no congestion control {name!r} among {known}")
        return control

    def names(self) -> list[str]:
        """List them (``tcp_available_congestion_control``)."""
        return list(self._controls)


def name_of(control: CongestionControl) -> str:
    """Return a control's name, also if a class written in plain Python sets it in its body."""
    name: object = getattr(control, "name", "")
    return str(name)
