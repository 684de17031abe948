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

    from estab.devices.af_packet import AfPacket as AfPacket
    from estab.devices.faulty import Faulty as Faulty
    from estab.devices.pcap import PcapDevice as PcapDevice
    from estab.devices.queue import QueueDevice as QueueDevice
    from estab.devices.tuntap import Tap as Tap
    from estab.devices.tuntap import Tun as Tun
    from estab.devices.udp import UdpTunnel as UdpTunnel
    from estab.lab.host import Host as Host
    from estab.lab.link import Link as Link
    from estab.lab.network import Network as Network
    from estab.lab.programs.program import DeadlockError as DeadlockError
    from estab.lab.programs.program import Program as Program
    from estab.lab.programs.program import UnfinishedError as UnfinishedError
    from estab.sockets.socket.socket import Socket as Socket
    from estab.stack.queues import QueueEndedError as QueueEndedError
    from estab.stack.queues import run_queues as run_queues
    from estab.stack.stack import Stack as Stack
    from estab.tcp.state import State as State
    from estab.trial.checked import checked as checked
    from estab.trial.sweep import SweepError as SweepError
    from estab.trial.sweep import sweep as sweep

__all__ = [
    "AfPacket",
    "DeadlockError",
    "Faulty",
    "Host",
    "Link",
    "Network",
    "PcapDevice",
    "Program",
    "QueueDevice",
    "QueueEndedError",
    "Socket",
    "Stack",
    "State",
    "SweepError",
    "Tap",
    "Tun",
    "UdpTunnel",
    "UnfinishedError",
    "__version__",
    "checked",
    "run_queues",
    "sweep",
]

_HOMES = {
    "DeadlockError": "estab.lab.programs.program",
    "Faulty": "estab.devices.faulty",
    "Link": "estab.lab.link",
    "Network": "estab.lab.network",
    "Host": "estab.lab.host",
    "AfPacket": "estab.devices.af_packet",
    "PcapDevice": "estab.devices.pcap",
    "Program": "estab.lab.programs.program",
    "QueueEndedError": "estab.stack.queues",
    "QueueDevice": "estab.devices.queue",
    "Socket": "estab.sockets.socket.socket",
    "Stack": "estab.stack.stack",
    "State": "estab.tcp.state",
    "Tap": "estab.devices.tuntap",
    "Tun": "estab.devices.tuntap",
    "UdpTunnel": "estab.devices.udp",
    "UnfinishedError": "estab.lab.programs.program",
    "run_queues": "estab.stack.queues",
    "SweepError": "estab.trial.sweep",
    "checked": "estab.trial.checked",
    "sweep": "estab.trial.sweep",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(home), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
