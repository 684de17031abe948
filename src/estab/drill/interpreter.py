"""Running a script: one event after the other, in virtual time.

Times follow packetdrill: a relative time counts from the end of the event before, but from its scripted time if both
are injected packets. Calls, commands and injected packets happen at their time; an expected packet is waited for from
the moment its line is reached, and the time at which it was sent must be near enough.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from estab.drill.errors import MismatchError, ScriptError
from estab.drill.language.syntax import Call, Code, Command, Event, PacketAction, Script, TcpPacket
from estab.drill.language.text import packet_text, time_text
from estab.drill.machine.flow import Flow, Stage
from estab.drill.machine.machine import START_NS, Machine
from estab.drill.machine.settings import Settings
from estab.drill.steps.blocking import CallUnderWay
from estab.drill.steps.calls import Calls
from estab.drill.steps.code import Namespace
from estab.drill.steps.commands import Commands
from estab.drill.steps.expect import check_follows, check_packet, check_timestamp
from estab.drill.steps.inject import packet_bytes
from estab.drill.steps.seen import Seen, is_of_flow, joined, read
from estab.events import Observer
from estab.tcp.profile import profile_config
from estab.units import NEVER, SECOND
from estab.wire import ip
from estab.wire.tcp import ACK, SYN

__all__ = ["Interpreter", "Make"]

_GIVE_UP_NS = 2 * SECOND
"""How long past its time an expected packet is waited for."""
_CALL_LIMIT_NS = 3600 * SECOND
"""How long a call may block that is not written as one that does."""
_BLOCKED_LIMIT_NS = SECOND
"""How long the next call waits for the one before, which still blocks."""
_RMEM = (4096, 131072, 6291456)
"""Linux's before 6.16: packetdrill's scripts expect the window scale that follows from it."""
_REMOTE_PORTS = 32768


Make = Callable[[Settings], tuple[Machine, Calls, Commands]]
"""What makes the machine that a script is run on, its calls and its commands."""


def _engine(settings: Settings, observer: Observer | None) -> tuple[Machine, Calls, Commands]:
    system = "linux" if settings.is_neutral else settings.profile
    config = profile_config(system)
    if system == "linux":
        config.tcp_rmem = _RMEM
    machine = Machine(settings, config, observer)
    return machine, Calls(machine), Commands(machine)


class Interpreter:
    """One run of a script. ``event`` is the one that is being done, for messages.

    ``make`` makes what the script is run on, from the settings: the engine, if none is given.
    """

    def __init__(self, script: Script, settings: Settings, observer: Observer | None = None,
                 make: Make | None = None) -> None:
        for option in script.options:
            try:
                settings = settings.with_option(option.name, option.value)
            except MismatchError as error:
                raise ScriptError(script.path, option.place, script.line(option.place.line), error.message) from None
        self.script = script
        self.machine, self.calls, self.commands = _engine(settings, observer) if make is None else make(settings)
        if make is None:
            self.commands.folder = Path(script.path).parent
        self.settings = self.machine.settings
        self.seen: list[tuple[int, str]] = []
        """What was sent, by the line of the script that expects it."""
        self.namespace = Namespace()
        self.event: Event | None = None
        self.warnings: list[tuple[Event, MismatchError]] = []
        """What was not as the script says if it also says that this is not fatal (``--non_fatal``)."""
        self._under_way: CallUnderWay | None = None
        self._before: Event | None = None
        self._before_ns = 0
        self._next_port = _REMOTE_PORTS
        self._call_count = 0
        self.machine.on_news = self._on_news
        self.machine.next_wake_ns = self._next_wake_ns

    def run(self) -> None:
        """Run everything. ``MismatchError`` on the first thing that is not as the script says."""
        try:
            for name in self.settings.init_scripts:
                self.commands.run(name)
            if self.script.first is not None:
                self.commands.run(self.script.first.text)
            for event in self.script.events:
                if self._under_way is not None and self._under_way.is_done:
                    self._finish_call(0)
                self.event = event
                start_ns = self._start_ns(event)
                try:
                    self._do(event, start_ns)
                except MismatchError as error:
                    if self._is_fatal(event):
                        raise
                    self.warnings.append((event, error))
                self._before, self._before_ns = event, start_ns
            if self._under_way is not None:
                self._finish_call(_BLOCKED_LIMIT_NS)
        finally:
            if self.script.last is not None:
                self.commands.run(self.script.last.text)

    def _is_fatal(self, event: Event) -> bool:
        if isinstance(event.action, PacketAction):
            return self.settings.is_packet_fatal
        return self.settings.is_call_fatal or not isinstance(event.action, Call)

    # --- time

    def _start_ns(self, event: Event) -> int:
        """When an event is to be, counted from the script's beginning."""
        when = event.when
        if when.kind == "absolute":
            return when.start_ns
        return self._base_ns(event) + when.start_ns

    def _base_ns(self, event: Event) -> int:
        if self._before is not None and _is_injection(self._before) and _is_injection(event):
            return self._before_ns
        return self.machine.script_ns

    def _wait_until(self, start_ns: int, what: str) -> None:
        self.machine.advance(START_NS + start_ns)
        assert self.event is not None
        if self.event.when.kind == "absolute":
            self._check_time(start_ns, start_ns, self.machine.script_ns, what)

    def _check_time(self, first_ns: int, last_ns: int, at_ns: int, what: str) -> None:
        """See whether something was near enough to its time; the tolerance grows with the time since the last event."""
        share = self.settings.tolerance_percent / 100 * (first_ns - self._before_ns)
        tolerance_ns = max(self.settings.tolerance_ns, int(share))
        if not first_ns - tolerance_ns <= at_ns <= last_ns + tolerance_ns:
            wanted = time_text(first_ns) + (f"~{time_text(last_ns)}" if last_ns != first_ns else "")
            near = f"tolerance {time_text(tolerance_ns)} s"
            raise MismatchError(f"{what}: expected at {wanted} s, was at {time_text(at_ns)} s ({near})")

    # --- events

    def _do(self, event: Event, start_ns: int) -> None:
        action = event.action
        if isinstance(action, PacketAction):
            if action.is_inbound:
                self._inject(action, start_ns)
            else:
                self._expect(event, action, start_ns)
        elif isinstance(action, Call):
            self._call(event, action, start_ns)
        elif isinstance(action, Command):
            self._wait_until(start_ns, "command")
            self.commands.run(action.text)
            self.machine.settle()
        else:
            assert isinstance(action, Code)
            self._wait_until(start_ns, "code")
            self.namespace.run(action.text, self.script.path, event.place.line, self.calls.fields_under_test())

    # --- packets in

    def _inject(self, action: PacketAction, start_ns: int) -> None:
        self._wait_until(start_ns, "injected packet")
        flow = self._flow_for(action)
        packet = action.packet
        if isinstance(packet, TcpPacket):
            self._note_injected(packet, flow)
        self.machine.inject(packet_bytes(action, flow, self.settings))

    def _flow_for(self, action: PacketAction) -> Flow:
        """Find the flow of a packet; one injected into a listener, or into nothing, begins a new one."""
        flow = self.calls.flow
        is_tcp = isinstance(action.packet, TcpPacket)
        stage = Stage.LISTENING if flow is None else flow.stage
        if action.is_inbound and is_tcp and stage in (Stage.LISTENING, Stage.NEW):
            flow = Flow("tcp", self.machine.local, self.machine.remote)
            flow.local_port = self.settings.bind_port
            flow.remote_port = self._next_port
            self._next_port += 1
            assert isinstance(action.packet, TcpPacket)
            if action.packet.flags & SYN or stage is Stage.LISTENING:
                flow.stage = Stage.SYN_INJECTED
                flow.script_remote_isn = flow.live_remote_isn = action.packet.sequence.start
            else:  # into a socket that has no connection: its numbers are as they are
                flow.stage = Stage.STRAY
            self.calls.flow = flow
        if flow is None:
            raise MismatchError("there is no socket that this packet could belong to", packet_text(action))
        return flow

    def _note_injected(self, packet: TcpPacket, flow: Flow) -> None:
        if flow.stage is Stage.SYN_SEEN and packet.flags & SYN and packet.flags & ACK:
            flow.stage = Stage.CONNECTED
            flow.script_remote_isn = flow.live_remote_isn = packet.sequence.start

    # --- packets out

    def _expect(self, event: Event, action: PacketAction, start_ns: int) -> None:
        flow = self._flow_for(action)
        packet = action.packet
        if isinstance(packet, TcpPacket) and packet.flags & SYN:
            self._note_expected_syn(packet, flow)
        seen = self._next_segment(event, action, flow, start_ns)
        self.seen.append((event.place.line, packet_text(seen.action)))
        check_packet(action, seen, flow, self.settings)
        check_timestamp(action, seen, flow, self.settings, self.machine.script_ns)
        if event.when.kind != "any":
            end_ns = start_ns
            if event.when.end_ns is not None:
                end_ns += event.when.end_ns - event.when.start_ns
            try:
                self._check_time(start_ns, end_ns, seen.at_ns - START_NS, "packet")
            except MismatchError as error:
                error.expected = f"{time_text(start_ns)} {packet_text(action)}"
                error.got = f"{time_text(seen.at_ns - START_NS)} {packet_text(action)}"
                raise

    def _note_expected_syn(self, packet: TcpPacket, flow: Flow) -> None:
        if packet.flags & ACK:
            if flow.stage is Stage.SYN_INJECTED:
                flow.script_local_isn = packet.sequence.start
        elif flow.stage is Stage.CONNECTING:
            flow.stage = Stage.SYN_SEEN
            flow.script_local_isn = packet.sequence.start

    def _next_segment(self, event: Event, action: PacketAction, flow: Flow, start_ns: int) -> Seen:
        """Take the packet that is expected, or the packets that make it up."""
        packet = action.packet
        length = packet.sequence.length if isinstance(packet, TcpPacket) else 0
        pieces = [self._next_packet(event, action, flow, start_ns)]
        while not self.settings.is_strict and (missing := length - sum(piece.length for piece in pieces)) > 0:
            if not pieces[-1].length:
                break
            seen = self._next_packet(event, action, flow, start_ns, pieces)
            try:
                check_follows(seen, pieces[-1], missing)
            except MismatchError as error:
                error.expected = packet_text(action)
                error.got = "; ".join(packet_text(piece.action) for piece in [*pieces, seen])
                raise
            pieces.append(seen)
        return joined(pieces)

    def _next_packet(
        self, event: Event, action: PacketAction, flow: Flow, start_ns: int, pieces: list[Seen] | None = None,
    ) -> Seen:
        limit_ns = START_NS + max(start_ns, self.machine.script_ns) + _GIVE_UP_NS
        if event.when.end_ns is not None:
            limit_ns += event.when.end_ns - event.when.start_ns
        if event.when.kind == "any":
            limit_ns = START_NS + _CALL_LIMIT_NS
        while True:
            while self.machine.sent:
                at_ns, data = self.machine.sent.popleft()
                if self._is_for(data, flow):
                    return read(at_ns, data, flow)
            if not self.machine.step(limit_ns):
                break
        got = "; ".join(packet_text(piece.action) for piece in pieces) if pieces else "no packet"
        raise MismatchError("packet: expected, and none came" if not pieces else "packet: a part of it did not come",
                       packet_text(action), got)

    def _is_for(self, data: bytes, flow: Flow) -> bool:
        """Tell whether a packet is the flow's; the first ones tell what port and number the stack chose."""
        if not is_of_flow(data, flow):
            return False
        packet = ip.parse(data, 0)
        if packet.protocol == ip.TCP:
            flags = data[packet.start + 13]
            seq = int.from_bytes(data[packet.start + 4 : packet.start + 8], "big")
            if flow.stage is Stage.SYN_SEEN and flags & SYN and not flags & ACK:
                flow.local_port = int.from_bytes(data[packet.start : packet.start + 2], "big")
                flow.live_local_isn = seq
            elif flow.stage is Stage.SYN_INJECTED and flags & SYN and flags & ACK:
                flow.stage = Stage.SYN_ACK_SEEN
                flow.live_local_isn = seq
            return bool(flow.local_port)
        if packet.protocol == ip.UDP and not flow.local_port:
            flow.local_port = int.from_bytes(data[packet.start : packet.start + 2], "big")
        return True

    # --- calls

    def _call(self, event: Event, call: Call, start_ns: int) -> None:
        if self._under_way is not None:
            self._finish_call(_BLOCKED_LIMIT_NS)
        self._wait_until(start_ns, "call")
        end_ns = None
        if call.end_ns is not None:
            base_ns = start_ns - event.when.start_ns if event.when.kind == "relative" else 0
            end_ns = base_ns + call.end_ns
        self._call_count += 1
        under_way = CallUnderWay(self._call_count, call, event, self.machine.script_ns, end_ns)
        self._under_way = under_way
        under_way.begin(self.calls)
        self.machine.settle()
        if end_ns is None or under_way.is_done:
            self._finish_call(_CALL_LIMIT_NS)

    def _finish_call(self, limit_ns: int) -> None:
        """Let time pass until the call returns, and compare what it returned."""
        under_way = self._under_way
        assert under_way is not None
        event, self.event = self.event, under_way.event
        limit_ns = max(limit_ns + self.machine.now_ns, START_NS + (under_way.end_ns or 0) + limit_ns)
        while not under_way.is_done:
            if not self.machine.step(limit_ns):
                raise MismatchError(f"{under_way.call.text}: still blocked", under_way.call.text, "no return")
        self._under_way = None
        under_way.check()
        self._check_return_time(under_way)
        self.event = event

    def _check_return_time(self, under_way: CallUnderWay) -> None:
        if under_way.end_ns is None:
            return
        before_ns, self._before_ns = self._before_ns, under_way.start_ns
        try:
            what = f"{under_way.call.name}()'s return"
            self._check_time(under_way.end_ns, under_way.end_ns, under_way.returned_ns, what)
        finally:
            self._before_ns = before_ns

    def _on_news(self) -> bool:
        """Let the blocking call check again. ``True`` if it returned."""
        has_gone_on = self.calls.implied.go_on()
        under_way = self._under_way
        if under_way is None or under_way.is_done or under_way.is_running:
            return has_gone_on
        under_way.resume(self.machine.script_ns)
        return under_way.is_done or has_gone_on

    def _next_wake_ns(self) -> int:
        under_way = self._under_way
        if under_way is None or under_way.is_done:
            return NEVER
        return under_way.wake_ns


def _is_injection(event: Event) -> bool:
    return isinstance(event.action, PacketAction) and event.action.is_inbound


