"""estab: a TCP/IP stack in user space with the Berkeley sockets API.

``import estab`` is cheap: the module of a name is imported when the name is first used.
"""

from __future__ import annotations

from importlib import import_module as _import_module

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
    from estab.lab.boxes.balancer import Balancer as Balancer
    from estab.lab.boxes.nat import Nat as Nat
    from estab.lab.host import Host as Host
    from estab.lab.host import this_host as this_host
    from estab.lab.link import Link as Link
    from estab.lab.network import LateClockWarning as LateClockWarning
    from estab.lab.network import LostFramesWarning as LostFramesWarning
    from estab.lab.network import Network as Network
    from estab.lab.packets.view import PacketView as PacketView
    from estab.lab.programs.program import ExitError as ExitError
    from estab.lab.programs.program import Program as Program
    from estab.lab.programs.program import UnfinishedError as UnfinishedError
    from estab.lab.programs.watch import DeadlockError as DeadlockError
    from estab.lab.programs.watch import OverlongRunError as OverlongRunError
    from estab.lab.record.shapes import Bursts as Bursts
    from estab.lab.record.shapes import Jitter as Jitter
    from estab.lab.rules.partition import Partition as Partition
    from estab.lab.rules.rule import RuleError as RuleError
    from estab.lab.rules.verdicts import Verdict as Verdict
    from estab.lab.rules.verdicts import delay as delay
    from estab.lab.rules.verdicts import drop as drop
    from estab.lab.rules.verdicts import duplicate as duplicate
    from estab.lab.rules.verdicts import nth as nth
    from estab.lab.rules.verdicts import ok as ok
    from estab.lab.rules.verdicts import reject as reject
    from estab.lab.switch import Switch as Switch
    from estab.native.called import PythonProcess as PythonProcess
    from estab.native.process import Process as Process
    from estab.native.process import ProcessFailedError as ProcessFailedError
    from estab.report.recording import Recording as Recording
    from estab.sockets.socket.socket import Socket as Socket
    from estab.stack.queues import QueueEndedError as QueueEndedError
    from estab.stack.queues import run_queues as run_queues
    from estab.stack.stack import Stack as Stack
    from estab.tcp.record.control import CongestionControl as CongestionControl
    from estab.tcp.record.control import Flow as Flow
    from estab.tcp.state import State as State
    from estab.trial.checked import checked as checked
    from estab.trial.sweep import SweepError as SweepError
    from estab.trial.sweep import sweep as sweep

__all__ = [
    "AfPacket",
    "Balancer",
    "Bursts",
    "CongestionControl",
    "DeadlockError",
    "ExitError",
    "Faulty",
    "Flow",
    "Host",
    "Jitter",

    "LateClockWarning",
    "Link",
    "LostFramesWarning",
    "Nat",
    "Network",
    "OverlongRunError",
    "PacketView",
    "Partition",
    "PcapDevice",
    "Process",
    "ProcessFailedError",
    "Program",
    "PythonProcess",
    "QueueDevice",
    "QueueEndedError",
    "Recording",
    "RuleError",
    "Socket",
    "Stack",
    "State",
    "SweepError",
    "Switch",
    "Tap",
    "Tun",
    "UdpTunnel",
    "UnfinishedError",
    "Verdict",
    "__version__",
    "checked",
    "delay",
    "drop",
    "duplicate",
    "nth",
    "ok",
    "reject",
    "run_queues",
    "sweep",
    "this_host",
]

_ROOMS = {
    "AfPacket": "devices.af_packet",
    "Balancer": "lab.boxes.balancer",
    "Bursts": "lab.record.shapes",
    "CongestionControl": "tcp.record.control",
    "DeadlockError": "lab.programs.watch",
    "ExitError": "lab.programs.program",
    "Faulty": "devices.faulty",
    "Flow": "tcp.record.control",
    "Host": "lab.host",
    "Jitter": "lab.record.shapes",
    "Link": "lab.link",
    "Nat": "lab.boxes.nat",

    "LateClockWarning": "lab.network",
    "LostFramesWarning": "lab.network",
    "Network": "lab.network",
    "OverlongRunError": "lab.programs.watch",
    "PacketView": "lab.packets.view",
    "Partition": "lab.rules.partition",
    "PcapDevice": "devices.pcap",
    "Process": "native.process",
    "ProcessFailedError": "native.process",
    "PythonProcess": "native.called",
    "Program": "lab.programs.program",
    "QueueDevice": "devices.queue",
    "QueueEndedError": "stack.queues",
    "Recording": "report.recording",
    "RuleError": "lab.rules.rule",
    "Socket": "sockets.socket.socket",
    "Stack": "stack.stack",
    "State": "tcp.state",
    "SweepError": "trial.sweep",
    "Switch": "lab.switch",
    "Tap": "devices.tuntap",
    "Tun": "devices.tuntap",
    "UdpTunnel": "devices.udp",
    "UnfinishedError": "lab.programs.program",
    "Verdict": "lab.rules.verdicts",
    "checked": "trial.checked",
    "delay": "lab.rules.verdicts",
    "drop": "lab.rules.verdicts",
    "duplicate": "lab.rules.verdicts",
    "nth": "lab.rules.verdicts",
    "ok": "lab.rules.verdicts",
    "reject": "lab.rules.verdicts",
    "run_queues": "stack.queues",
    "sweep": "trial.sweep",
    "this_host": "lab.host",
}
"""In which module below this one each name is."""


def __getattr__(name: str) -> Any:
    room = _ROOMS.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(_import_module(f"{__name__}.{room}"), name)
    return found


def __dir__() -> list[str]:
    return list(__all__)
