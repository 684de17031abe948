"""What the scripts of others count on that starts them: names that their runners define, and IP versions.

Google's packetdrill has a runner for its scripts, and Linux has ``ksft_runner.sh`` for its selftests
(``tools/testing/selftests/net/packetdrill``). Both define names for each IP version; the selftests run in IPv4 and in
IPv6, or in the one that a script's own ``--ip_version=`` says. A selftest is a script that calls ``./defaults.sh``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from estab.drill.machine.settings import IP_VERSIONS

__all__ = ["defines_of", "versions_of"]

_COOKIES: Final = {"TFO_COOKIE": "3021b9d889017eeb", "TFO_COOKIE_ZERO": "b7c12350a90dc8f5"}
_DEFINES: Final[Mapping[str, Mapping[str, str]]] = {
    "ipv4": {**_COOKIES, "CODE": "host_unreachable", "CMSG_LEVEL_IP": "SOL_IP", "CMSG_TYPE_RECVERR": "IP_RECVERR"},
    "ipv4-mapped-ipv6": {**_COOKIES, "CODE": "host_unreachable", "CMSG_LEVEL_IP": "SOL_IPV6",
                         "CMSG_TYPE_RECVERR": "IPV6_RECVERR"},
    "ipv6": {"TFO_COOKIE": "c1d1e9742a47a9bc", "TFO_COOKIE_ZERO": "82af1a8f9a205c34", "CMSG_LEVEL_IP": "SOL_IPV6",
             "CMSG_TYPE_RECVERR": "IPV6_RECVERR"},
}
"""The cookies follow from the key in ``defaults.sh`` and the addresses of the version."""
_SELFTEST: Final = re.compile(r"^[\d.+~* ]*`\s*\./defaults\.sh\b", re.MULTILINE)
_OWN_VERSION: Final = re.compile(r"^--ip_version=(\S+)\s*$", re.MULTILINE)


def defines_of(ip_version: str, profile: str) -> dict[str, str]:
    """Return what the runners define for an IP version. FreeBSD's scripts have no such runner."""
    return {} if profile == "freebsd" else dict(_DEFINES[ip_version])


def versions_of(path: Path) -> tuple[str, ...]:
    """Return the IP versions that a script is for.

    Its own ``--ip_version=`` decides, then its name (``…v4.pkt``, ``…v6.pkt``). A selftest of Linux is for IPv4 and
    IPv6; any other script also for IPv4 by mapped addresses.
    """
    try:
        source = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        source = ""
    is_selftest = _SELFTEST.search(source) is not None
    own = _OWN_VERSION.search(source)
    if own is not None and own[1] in IP_VERSIONS:
        return (own[1],)
    if path.stem.endswith("v6"):
        return ("ipv6",)
    if path.stem.endswith("v4"):
        return ("ipv4",) if is_selftest else IP_VERSIONS[:2]
    return ("ipv4", "ipv6") if is_selftest else IP_VERSIONS
