"""estab: a TCP/IP stack in user space with the Berkeley sockets API.

``import estab`` is cheap: what stands behind a name is imported when the name is first used.
"""

from __future__ import annotations

from importlib import import_module

from estab._version import __version__

TYPE_CHECKING = False
"""Type checkers know this name; ``typing`` itself would be most of the time that ``import estab`` takes."""
if TYPE_CHECKING:
    from typing import Any

    from estab.lab.link import Link as Link
    from estab.lab.network import Network as Network
    from estab.lab.node import Node as Node
    from estab.lab.programs import Deadlock as Deadlock
    from estab.lab.programs import Program as Program
    from estab.lab.programs import Unfinished as Unfinished
    from estab.links.faulty import Faulty as Faulty
    from estab.links.packet import Packet as Packet
    from estab.links.pcap import PcapLink as PcapLink
    from estab.links.queue import QueueLink as QueueLink
    from estab.links.tuntap import Tap as Tap
    from estab.links.tuntap import Tun as Tun
    from estab.links.udp import UdpTunnel as UdpTunnel
    from estab.sockets.socket.socket import Socket as Socket
    from estab.stack.queues import QueueEndedError as QueueEndedError
    from estab.stack.queues import run_queues as run_queues
    from estab.stack.stack import Stack as Stack
    from estab.tcp.state import State as State

__all__ = [
    "Deadlock", "Faulty", "Link", "Network", "Node", "Packet", "PcapLink", "Program", "QueueEndedError", "QueueLink",
    "Socket", "Stack", "State", "Tap", "Tun", "UdpTunnel", "Unfinished", "__version__", "run_queues",
]

_HOMES = {
    "Deadlock": "estab.lab.programs",
    "Faulty": "estab.links.faulty",
    "Link": "estab.lab.link",
    "Network": "estab.lab.network",
    "Node": "estab.lab.node",
    "Packet": "estab.links.packet",
    "PcapLink": "estab.links.pcap",
    "Program": "estab.lab.programs",
    "QueueEndedError": "estab.stack.queues",
    "QueueLink": "estab.links.queue",
    "Socket": "estab.sockets.socket.socket",
    "Stack": "estab.stack.stack",
    "State": "estab.tcp.state",
    "Tap": "estab.links.tuntap",
    "Tun": "estab.links.tuntap",
    "UdpTunnel": "estab.links.udp",
    "Unfinished": "estab.lab.programs",
    "run_queues": "estab.stack.queues",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(home), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
