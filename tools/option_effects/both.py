"""Every effect on the kernel and on estab: the same programs, hosts, link and cut, in real and in virtual time.

On the kernel, the hosts are network namespaces with a Python each, joined by the lab's link in real time
(``Network(clock="real")``); no root is needed where the system lets users have namespaces.
"""

from __future__ import annotations

import time
from pathlib import Path

from estab import Host, Network
from tools.option_effects.datagrams import DATAGRAMS
from tools.option_effects.ends import FAR, NEAR, RTT_S, Effect, Story, tell_all
from tools.option_effects.groups import GROUPS
from tools.option_effects.sources import SOURCES
from tools.option_effects.streams import STREAMS

__all__ = ["EFFECTS", "compare", "named", "of_estab", "of_kernel"]

EFFECTS: list[Effect] = [*STREAMS, *DATAGRAMS, *GROUPS, *SOURCES]
FIRST_PORT = 5000
CUT_AFTER_S = 7.0
"""So long after the start the link is cut: two interpreters have begun by then, and all are connected."""
PATIENCE = "60s"
TAKEN = ("tcp_syn_linear_timeouts", "tcp_fin_timeout", "tcp_rmem", "tcp_wmem")
"""Sysctls that the lab's hosts take from this machine, beside defaults that are Linux's."""
Told = dict[str, tuple[Story, Story]]
"""The stories of both hosts, by the effect's name: the near one's first."""


def named(names: tuple[str, ...], side: str, peer: str, cut_at: float = 0) -> dict[str, Story]:
    """Be one host's part of some effects. In the lab, a program begins when the network does."""
    effects = [effect for effect in EFFECTS if effect.name in names]
    return tell_all(effects, side, peer, cut_at or time.monotonic() + CUT_AFTER_S, FIRST_PORT)


def groups(effects: list[Effect]) -> list[tuple[str, ...]]:
    """Divide effects into those with a cut and those without: each a network of its own."""
    both = [tuple(effect.name for effect in effects if effect.needs_cut is needs_cut) for needs_cut in (False, True)]
    return [group for group in both if group]


def of_kernel(effects: list[Effect]) -> Told:
    """Let the kernel of this machine tell. Those with a cut have hosts and a link of their own."""
    with Network(seed=1, clock="real", late_max="60s") as net:
        began, cut_at = net.now, time.monotonic() + CUT_AFTER_S
        processes = []
        for number, names in enumerate(groups(effects)):
            near, far = _pair(net, number, began, names)
            processes += [far.spawn_python(named, names, FAR, near.name, cut_at, quiet=True),
                          near.spawn_python(named, names, NEAR, far.name, cut_at, quiet=True)]
        return _told([process.result(PATIENCE) for process in processes])


def of_estab(effects: list[Effect]) -> Told:
    """Let estab tell, in virtual time."""
    with Network(seed=1) as net:
        programs = []
        for number, names in enumerate(groups(effects)):
            near, far = _pair(net, number, 0.0, names)
            for host in (near, far):
                _take_sysctls(host.sysctl)
            programs += [far.run(named, names, FAR, near.name), near.run(named, names, NEAR, far.name)]
        net.run(until=PATIENCE)
        return _told([program.result() for program in programs])


def _pair(net: Network, number: int, began: float, names: tuple[str, ...]) -> tuple[Host, Host]:
    """Make two hosts with a link, which is cut after some time if the effects want it."""
    near, far = net.host(f"{NEAR}{number}"), net.host(f"{FAR}{number}")
    link = net.link(near, far, delay=f"{RTT_S / 2}s")
    if any(effect.needs_cut for effect in EFFECTS if effect.name in names):
        net.at(f"{began + CUT_AFTER_S}s", link.cut)
    return near, far


def _told(stories: list[dict[str, Story]]) -> Told:
    told: Told = {}
    for far, near in zip(stories[::2], stories[1::2], strict=True):
        told |= {name: (near[name], far[name]) for name in near}
    return told


def _take_sysctls(sysctl: object) -> None:
    for name in TAKEN:
        path = Path("/proc/sys/net/ipv4") / name
        if path.exists():
            sysctl[f"net.ipv4.{name}"] = path.read_text()  # type: ignore[index]


def compare(effects: list[Effect], tries: int = 2) -> dict[str, tuple[tuple[Story, Story], tuple[Story, Story]]]:
    """Give the effects that differ, the kernel's stories first. What a busy machine made different is tried again."""
    ours = of_estab(effects)
    wrong = effects
    kernel: Told = {}
    for _ in range(tries):
        kernel |= of_kernel(wrong)
        wrong = [effect for effect in wrong if kernel[effect.name] != ours[effect.name]]
        if not wrong:
            break
    return {effect.name: (kernel[effect.name], ours[effect.name]) for effect in wrong}
