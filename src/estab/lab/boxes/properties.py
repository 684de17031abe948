"""How the properties of boxes are written: times in words, what to do with what is unknown."""

from __future__ import annotations

import difflib
from typing import Any, Final, TypedDict, cast

from estab.lab.boxes.box import Conduct
from estab.lab.packets.tracking import Answer, Invalid, Times, WhenIdle
from estab.lab.record.conditions import count_of, one_of
from estab.settings import Duration
from estab.units import duration_ns

__all__ = ["BoxProperties", "port_of", "read_conduct"]

_TIMES: Final = {"idle": "open_ns", "half_open": "half_open_ns", "closed": "closed_ns", "datagrams": "datagrams_ns"}


class BoxProperties(TypedDict, total=False):
    """The keywords that ``Network.nat`` and ``Network.balancer`` share."""

    idle: Duration
    """After how long an open connection without packets is forgotten; without it 5 days, as on Linux."""
    half_open: Duration
    """The same for one that is not open yet: 60 s."""
    closed: Duration
    """The same for one that both sides closed: 120 s."""
    datagrams: Duration
    """The same for flows of UDP and for ICMP echoes: 120 s."""
    flows_max: int
    """How many flows are known at most; more are refused. 262144."""
    ports: tuple[int, int]
    """The ports of the outside address that may be used, the first and the last: 1024 and 65535."""
    unknown: Answer
    """A packet of no known flow: ``"drop"``, or ``"reject"`` it with a reset or an ICMP error."""
    loose: bool
    """Whether a segment in the middle of a connection begins a flow, as on Linux (``nf_conntrack_tcp_loose``): no."""
    when_idle: WhenIdle
    """A connection that was idle for too long: ``"forget"`` it, or ``"reset"`` both ends."""
    invalid: Invalid
    """A segment out of its connection's window: ``"pass"`` it unchanged, as Linux does, or ``"drop"`` it."""


def read_conduct(words: BoxProperties) -> Conduct:
    """Read the keywords. ``TypeError`` and ``ValueError`` name the word, the value and what would be right."""
    given = cast("dict[str, Any]", words)
    for name in given:
        if name not in BoxProperties.__annotations__:
            near = difflib.get_close_matches(name, BoxProperties.__annotations__, 1)
            raise TypeError(f"there is no property {name!r}" + (f"; did you mean {near[0]}?" if near else
                            f"; there are {', '.join(BoxProperties.__annotations__)}"))
    times = Times(**{field: duration_ns(given[name], name) for name, field in _TIMES.items() if name in given})
    base = Conduct(times)
    ports = given.get("ports", base.ports)
    if not isinstance(ports, (tuple, list)) or len(ports) != 2 or not 1 <= port_of("ports", ports[0]) <= port_of(
            "ports", ports[1]):
        raise ValueError(f"ports: {ports!r} is not a first and a last port like (1024, 65535)")
    one_of("unknown", given.get("unknown", base.unknown), ("drop", "reject"))
    one_of("when_idle", given.get("when_idle", base.when_idle), ("forget", "reset"))
    one_of("invalid", given.get("invalid", base.invalid), ("pass", "drop"))
    return Conduct(times, count_of("flows_max", given.get("flows_max", base.flows_max)),
                   given.get("unknown", base.unknown), given.get("when_idle", base.when_idle),
                   given.get("invalid", base.invalid), bool(given.get("loose", False)), (ports[0], ports[1]))


def port_of(name: str, given: object) -> int:
    """Read a port. ``ValueError``."""
    if type(given) is not int or not 1 <= given <= 65_535:
        raise ValueError(f"{name}: {given!r} is not a port from 1 to 65535")
    return given
