"""What this machine lets this user do: can hosts of the lab be processes of the system here?"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from estab.native.spaces import Spaces, why_not

__all__ = ["Check", "check_lab"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried. ``remark`` says what follows from it, or what helps."""

    what: str
    is_ok: bool
    is_needed: bool
    remark: str


def check_lab() -> list[Check]:
    """Try what ``Host.spawn`` needs, by making namespaces and ending them again."""
    if sys.platform != "linux":
        return [Check("network namespaces", False, True, why_not())]
    reason = why_not()
    checks = [Check("network namespaces", not reason, True, reason or (
        "as root" if os.geteuid() == 0 else "in a user namespace, without root"))]
    if not reason:
        checks.extend(_try_host())
    return checks


def _try_host() -> list[Check]:
    spaces = Spaces()
    try:
        space = spaces.make("doctor", {"/etc/hosts": "127.0.0.1 localhost\n"})
        try:
            answer = space.ask("plug", name="eth0", mtu=1500, mac="", addresses=["10.0.0.1/24"], has_offload=False,
                               may_use_tun=True)
            for fd in answer.fds:
                os.close(fd)
            is_tun = answer.words["is_tun"]
        finally:
            space.close()
    except OSError as error:
        return [Check("a host", False, True, str(error))]
    finally:
        spaces.close()
    has_pids = spaces.has_pid_namespaces
    return [
        Check("a host with an interface", True, True, "made, and removed again"),
        Check("pid namespaces", has_pids, False, "processes of a host see only each other" if has_pids else
              "/proc can't be mounted here, so processes of a host see those of the machine"),
        Check("/dev/net/tun", is_tun, False, "used" if is_tun else
              "it does not open, so veth pairs and packet sockets are used: bulk is slower"),
    ]
