"""What ``estab up`` is to do, and the two things that are done from it in more than one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from estab.cli.serving import Served

if TYPE_CHECKING:
    from estab.devices.device import Device
    from estab.host.engine import Engine

__all__ = ["Plan", "apply_settings", "open_device"]


@dataclass(slots=True)
class Plan:
    """All that the command line asked for, checked as far as that goes without touching anything."""

    kind: str
    device: str
    addresses: list[str]
    gateways: list[str]
    peer: str
    mtu: int
    served: list[Served]
    program: str | None
    words: list[str]
    sysctls: list[tuple[str, str]]
    congestion: str
    pcap: str | None
    queues: int
    has_offload: bool
    busy_poll_us: int | None = None
    pcap_bytes_max: int = 0
    is_published: bool = True
    notes: list[str] = field(default_factory=list)


def apply_settings(host: Engine, plan: Plan) -> None:
    """Set what --sysctl and --congestion say. ``ValueError`` and its kind on what can't be."""
    for name, value in plan.sysctls:
        try:
            host.sysctl[name] = value
        except KeyError:
            raise ValueError(f"--sysctl: there is no {name!r} here") from None
    if plan.congestion:
        names = host.demux.algorithms.names()
        if plan.congestion not in names:
            raise ValueError(f"--congestion: there is no {plan.congestion!r}, only {', '.join(names)}")
        host.config.tcp_congestion_control = plan.congestion


def open_device(plan: Plan) -> Device:
    """Open the device, or one more queue of it."""
    from estab.devices.tuntap import Tap, Tun

    is_multi = plan.queues > 1
    if plan.kind == "tun":
        return Tun(plan.device, peer=plan.peer or (), mtu=plan.mtu, offload=plan.has_offload, is_multi_queue=is_multi)
    if plan.kind == "tap":
        return Tap(plan.device, peer=plan.peer or (), mtu=plan.mtu, offload=plan.has_offload, is_multi_queue=is_multi)
    from estab.devices.af_packet import AfPacket

    return AfPacket(plan.device, offload=plan.has_offload)
