"""Two hosts, random calls of their programs, and a wire that loses, copies, reorders and delays: what must always hold.

Bytes arrive in order, once and unchanged; states take only the diagram's edges; nothing grows past its bound; and when
the wire heals, everything written arrives, and when the programs close, nothing is left. Faults are drawn from a seed
that Hypothesis chooses, so that a failure replays. ``ESTAB_CI`` raises the number of cases to thousands.
"""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from estab import abi
from estab.events import Event, StateChanged
from estab.tcp.connection import Connection
from estab.tcp.context import Owner
from estab.tcp.listening.listener import Listener
from estab.tcp.state import EDGES, State
from estab.tcp.window.pacing import GSO_BYTES_MAX
from estab.units import MS, SECOND
from tests.kit.invariants import check_demux, check_quiet
from tests.kit.pair import Pair, Passed, Side
from tests.kit.peer import set_options

IS_CI = os.environ.get("ESTAB_CI", "") not in ("", "0")
PATTERN = random.Random(0).randbytes(1 << 21)
TEXTS = {str(state): state for state in State}
MASK = 0xFFFFFFFF
HOUR = 3600 * SECOND
DURATIONS = st.sampled_from([0, MS, 5 * MS, 10 * MS, 50 * MS, 300 * MS, SECOND, 5 * SECOND, 70 * SECOND, 700 * SECOND])
SOON = st.sampled_from([0, 0, MS, 5 * MS, 12 * MS, 100 * MS, 400 * MS])
SIZES = st.sampled_from([1, 2, 100, 1447, 1448, 1460, 3000, 20_000, 200_000])


class End:
    """One end of a connection, as its program sees it."""

    def __init__(self, side: Side, connection: Connection) -> None:
        self.side = side
        self.connection = connection
        self.written = 0
        self.read = 0
        self.is_closed = False
        """The program let go of it."""
        self.has_aborted = False
        self.error = 0
        self.buffer_most = int(connection.receive_buffer_bytes)
        self.send_most = int(connection.send_buffer_bytes)
        self.edge = 0
        self.other: End | None = None

    def place(self) -> int:
        """Give where in the pattern the stream that this end sends begins."""
        return hash((int(self.connection.iss), int(self.connection.local_port))) % 100_000

    def is_peer_of(self, other: End) -> bool:
        """Tell whether the other is this connection's other end: the same incarnation, too."""
        one, two = self.connection, other.connection
        return (one.irs & MASK, one.remote_port, one.local_port) == (two.iss & MASK, two.local_port, two.remote_port)


class TwoHosts(RuleBasedStateMachine):
    """Hosts ``a`` and ``b``; either may listen on port 80 and connect to the other's."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[End] = []
        self.buffers: dict[bytes, int] = {}
        self.listeners: list[Listener] = []
        self.last: dict[tuple[str, str], State] = {}
        self.loss = self.copies = 0.0
        self.jitter_ns = 0
        self.is_cut = False
        self.ports = 0
        self.is_over = False

    @initialize(
        seed=st.integers(0, 1 << 30), options=st.lists(st.booleans(), min_size=6, max_size=6), is_v6=st.booleans(),
        mtu=st.sampled_from([1500, 1500, 1280, 9000, 600]), super_bytes=st.sampled_from([0, 0, 20_000, 60_000]),
        buffer=st.sampled_from([131_072, 131_072, 4096, 30_000]), policy=st.sampled_from(["accept", "sum", "syn"]),
        syncookies=st.sampled_from(["never", "when full", "always"]), backlog=st.integers(0, 4),
        start=st.sampled_from([SECOND, 17_179 * SECOND, 4_294_967 * SECOND]), faults=st.booleans(),
        loss=st.sampled_from([0.0, 0.1, 0.3]), copies=st.sampled_from([0.0, 0.2]), jitter=st.sampled_from([0, 80 * MS]),
        ecn=st.tuples(st.integers(0, 5), st.integers(0, 5)), control=st.sampled_from(["reno", "cubic", "dctcp"]),
        marks=st.sampled_from([0.0, 0.1, 0.6]),
    )
    def begin(
        self, seed: int, options: list[bool], is_v6: bool, mtu: int, super_bytes: int, buffer: int, policy: str,
        syncookies: str, backlog: int, start: int, faults: bool, loss: float, copies: float, jitter: int,
        ecn: tuple[int, int], control: str, marks: float,
    ) -> None:
        """Set both hosts up, and let both listen."""
        self.chance = random.Random(seed)
        self.pair = Pair(mtu=mtu, is_v6=is_v6, segment_bytes_max=super_bytes)
        self.pair.now_ns = start
        self.pair.filter = self.weather
        self.pair.marks = lambda _passed: self.chance.random() < marks
        self.may_fault = faults
        # With cookies a segment that was on its way when a program aborted opens the connection again, until the reset.
        self.may_fail = faults or syncookies != "never"
        for side, own in ((self.pair.a, options[:3]), (self.pair.b, options[3:])):
            side.context.now_ns = start
            config = side.config
            config.tcp_timestamps, config.tcp_sack, config.tcp_window_scaling = own
            config.tcp_rmem = (4096, buffer, max(buffer, 500_000))
            config.backlog_policy = policy
            config.tcp_syncookies = syncookies
            config.tcp_ecn = ecn[side is self.pair.b]
            config.tcp_congestion_control = control
            side.context.observer = self.watch
        self.change_the_weather(loss, copies, jitter, False)
        for side in (self.pair.a, self.pair.b):
            self.listeners.append(self.pair.listen(side=side, backlog=backlog))
        self.connect(True, False)
        self.time_passes(SECOND)
        self.accept()

    # --- what goes on below

    def weather(self, passed: Passed) -> list[int]:
        """Decide on a segment: no copies, one, or two, each with its delay."""
        if self.is_cut or self.chance.random() < self.loss:
            return []
        count = 2 if self.chance.random() < self.copies else 1
        return [self.pair.delay_ns + self.chance.randrange(self.jitter_ns + 1) for _ in range(count)]

    def watch(self, event: Event) -> None:
        """Check every change of state."""
        if isinstance(event, StateChanged):
            old, new = TEXTS[event.old], TEXTS[event.new]
            assert (old, new) in EDGES, f"{old} to {new} is no edge"
            where = (event.host, event.connection)
            if where in self.last and old not in (State.LISTEN, State.CLOSED):
                assert self.last[where] == old
            self.last[where] = new

    @rule(
        loss=st.sampled_from([0.0, 0.02, 0.2, 0.5]), copies=st.sampled_from([0.0, 0.2]),
        jitter=st.sampled_from([0, 2 * MS, 80 * MS]), is_cut=st.sampled_from([False, False, False, True]),
    )
    def the_weather_changes(self, loss: float, copies: float, jitter: int, is_cut: bool) -> None:
        """Let other weather come."""
        self.change_the_weather(loss, copies, jitter, is_cut)

    def change_the_weather(self, loss: float, copies: float, jitter: int, is_cut: bool) -> None:
        """From now on segments are lost, copied and delayed like this."""
        self.copies, self.jitter_ns = copies, jitter
        if self.may_fault:
            self.loss, self.is_cut = loss, is_cut

    @rule(duration=DURATIONS)
    def time_passes(self, duration: int) -> None:
        """Let time pass."""
        self.pair.run_for(duration)
        self.pair.passed.clear()

    # --- what programs do

    @precondition(lambda self: len(self.ends) < 12)
    @rule(from_a=st.booleans(), is_port_used_again=st.booleans())
    def connect(self, from_a: bool, is_port_used_again: bool) -> None:
        """Open a connection; the port may be one that was in use before, if nothing old is on the wire."""
        side = self.pair.a if from_a else self.pair.b
        if not is_port_used_again or not self.ports or not self.pair.is_wire_empty():
            self.ports += 1
        try:
            connection = self.pair.connect(side=side, local_port=40_000 + self.ports)
        except OSError:
            return
        self.ends.append(End(side, connection))

    @precondition(lambda self: len(self.ends) < 12)
    @rule()
    def connect_both_ways(self) -> None:
        """Open from both sides at once, each to the other's port."""
        self.ports += 1
        one, other = 20_000 + self.ports, 30_000 + self.ports
        self.ends.append(End(self.pair.a, self.pair.connect(side=self.pair.a, port=other, local_port=one)))
        self.ends.append(End(self.pair.b, self.pair.connect(side=self.pair.b, port=one, local_port=other)))

    @rule()
    def accept(self) -> None:
        """Take all that wait."""
        for listener in self.listeners:
            side = self.pair.a if listener.context is self.pair.a.context else self.pair.b
            while (connection := listener.accept()) is not None:
                connection.owner = Owner()
                self.ends.append(End(side, connection))

    @rule(which=st.integers(0, 11), size=SIZES, then=SOON)
    def write(self, which: int, size: int, then: int = 0) -> None:
        """Write what fits, and go on a little later."""
        end = self.pick(which)
        if end is not None:
            start = end.place() + end.written
            try:
                end.written += self.pair.write(end.connection, PATTERN[start : start + size])
            except OSError as error:
                self.failed(end, error)
            self.time_passes(then)

    @rule(which=st.integers(0, 11), size=SIZES)
    def read(self, which: int, size: int) -> None:
        """Read what is there."""
        end = self.pick(which)
        if end is not None:
            self.take(end, size)

    @rule(then=SOON)
    def read_everything(self, then: int) -> None:
        """Read all there is, everywhere."""
        for end in self.ends:
            if not end.is_closed:
                self.take(end, 1 << 30)
        self.time_passes(then)

    @rule(which=st.integers(0, 11))
    def shutdown(self, which: int) -> None:
        """Say that no more will be written."""
        end = self.pick(which)
        if end is not None:
            # While it opens, that gives the connection up, as in Linux.
            end.has_aborted = end.has_aborted or end.connection.state == abi.SYN_SENT
            self.pair.shutdown(end.connection)

    @rule(which=st.integers(0, 11))
    def close(self, which: int) -> None:
        """Close."""
        end = self.pick(which)
        if end is not None:
            end.is_closed = True
            self.pair.close(end.connection)

    @rule(which=st.integers(0, 11))
    def abort(self, which: int) -> None:
        """Close with a reset."""
        end = self.pick(which)
        if end is not None:
            end.is_closed = end.has_aborted = True
            self.pair.abort(end.connection)
            end.side.demux.forget_owner(end.connection)

    @rule(which=st.integers(0, 11), what=st.sampled_from(["nodelay", "keepalive", "small", "large", "timeout"]))
    def set_an_option(self, which: int, what: str) -> None:
        """Change a setting of a connection."""
        end = self.pick(which)
        if end is None:
            return
        c = end.connection
        if what == "nodelay":
            c.set_nodelay(not c.options.nodelay)
        elif what == "keepalive":
            set_options(c, keep_idle_ns=5 * SECOND, keep_interval_ns=2 * SECOND, keep_count=3)
            c.set_keepalive(self.pair.now_ns, is_on=not c.options.keepalive)
        elif what == "timeout":
            set_options(c, user_timeout_ns=20 * SECOND)
        else:
            c.set_receive_buffer(2304 if what == "small" else 400_000)
        self.pair.touch(c)

    @rule(which=st.integers(0, 11), size=SIZES, mtu=st.sampled_from([300, 600, 1280]))
    def write_as_the_path_narrows(self, which: int, size: int, mtu: int) -> None:
        """What is in flight is cut anew, and overlaps with its first copies."""
        end = self.pick(which)
        if end is not None:
            self.write(which, size)
            self.the_path_narrows(end.side is self.pair.a, mtu)

    @rule(from_a=st.booleans(), mtu=st.sampled_from([600, 1280]))
    def the_path_narrows(self, from_a: bool, mtu: int) -> None:
        """A router says that packets are too big."""
        side = self.pair.a if from_a else self.pair.b
        if (len(side.address) == 16 and mtu < 1280) or mtu >= side.paths.mtu:
            return
        side.paths.mtu = mtu
        for end in self.ends:
            if end.side is side and end.connection.in_flight_count() > 0:
                side.demux.on_mtu_changed(end.connection.key, end.connection.snd_una & MASK)
        self.pair.flush()

    @rule(index=st.integers(0, 1), backlog=st.integers(0, 6))
    def listen_again(self, index: int, backlog: int) -> None:
        """Change the backlog; it only grows, so that what is queued stays within it."""
        self.listeners[index].set_backlog(max(backlog, int(self.listeners[index].backlog)))

    # --- helpers

    def pick(self, which: int) -> End | None:
        """Give an end that its program still holds."""
        held = [end for end in self.ends if not end.is_closed]
        return held[which % len(held)] if held else None

    def failed(self, end: End, error: OSError) -> None:
        """Note an error that a program met."""
        assert error.errno in (32, 104, 110, 111), error
        if error.errno != 32 or not end.connection.fin_wanted:
            end.error = end.error or error.errno

    def partner(self, end: End) -> End | None:
        """Find the other end."""
        if end.other is None:
            end.other = next((other for other in self.ends if other is not end and end.is_peer_of(other)), None)
        return end.other

    def take(self, end: End, size: int) -> int:
        """Read and compare with what the other end wrote."""
        data = self.pair.read(end.connection, size)
        if data:
            other = self.partner(end)
            assert other is not None, "text from nobody"
            start = other.place() + end.read
            assert data == PATTERN[start : start + len(data)], "text arrived changed, twice or out of order"
            end.read += len(data)
            assert end.read <= other.written
        if end.connection.is_eof() and end.connection.error == 0 and not end.error:
            other = self.partner(end)
            if other is not None and end.connection.is_fin_received:
                assert end.read == other.written, "the end of the stream came before its text"
        return len(data)

    @invariant()
    def everything_holds(self) -> None:
        """Check all bounds and tables of both hosts."""
        if self.is_over or not hasattr(self, "pair"):
            return
        for end in self.ends:
            c = end.connection
            end.buffer_most = max(end.buffer_most, int(c.receive_buffer_bytes))
            end.send_most = max(end.send_most, int(c.send_buffer_bytes))
            self.buffers[c.key] = max(end.buffer_most, self.buffers.get(c.key, 0))
            if c.state != abi.CLOSED:
                assert c.outq_bytes() < end.send_most + GSO_BYTES_MAX, "a piece that began in time may go over"
            assert c.rcv_adv >= end.edge, "the right window edge moved left"
            end.edge = int(c.rcv_adv) if c.irs else 0
        for side in (self.pair.a, self.pair.b):
            check_demux(side.demux, side.counters, self.buffers)
        assert self.pair.a.demux.next_deadline_ns() > self.pair.now_ns
        assert self.pair.b.demux.next_deadline_ns() > self.pair.now_ns

    def teardown(self) -> None:
        """Heal the wire: what was written arrives. Close everything: nothing is left."""
        if not hasattr(self, "pair"):
            return
        self.is_over = True
        self.loss = self.copies = 0.0
        self.jitter_ns = 0
        self.is_cut = False
        quiet = 0
        for _ in range(1000):  # a window of a kilobyte takes many
            self.accept()
            taken = sum(self.take(end, 1 << 30) for end in self.ends if not end.is_closed)
            quiet = 0 if taken else quiet + 1
            if quiet > 8 and not any(end.connection.outq_bytes() for end in self.ends if not end.is_closed):
                break
            self.pair.run_for(30 * SECOND)
            self.pair.passed.clear()
        for end in self.ends:
            self.check_delivery(end)
        for end in self.ends:
            if not end.is_closed:
                self.pair.close(end.connection)
        for listener in self.listeners:
            side = self.pair.a if listener.context is self.pair.a.context else self.pair.b
            side.demux.close_listener(listener)
        self.pair.flush()
        self.pair.run_for(3 * HOUR)
        for side in (self.pair.a, self.pair.b):
            check_quiet(side.demux, side.counters)

    def check_delivery(self, end: End) -> None:
        """Check that an end whose program still reads got all that the other wrote, unless the connection failed."""
        other = self.partner(end)
        end.error = end.error or int(end.connection.take_error())
        if other is None or end.is_closed or end.has_aborted or other.has_aborted:
            return
        other.error = other.error or int(other.connection.take_error())
        if other.is_closed and other.connection.state == abi.CLOSED and not end.connection.is_fin_received:
            return  # an orphan that gave up, or that unread text made a reset
        if end.error or other.error:
            # TCP_USER_TIMEOUT ends a connection whose peer does not read for so long: here programs rest for longer.
            was_shut = any("window was shut" in one.connection.error_text for one in (end, other))
            assert self.may_fail or other.is_closed or was_shut, "a connection failed on a good wire"
            return
        assert end.read == other.written, "not everything that was written arrived"


def walk(seed: int, steps: int) -> None:
    """Take a long random walk, with the same calls and the same checks."""
    chance = random.Random(seed)
    some = chance.choice
    hosts = TwoHosts()
    hosts.begin(
        seed=seed, options=[chance.random() < 0.7 for _ in range(6)], is_v6=chance.random() < 0.3,
        mtu=some([1500, 1500, 1280, 9000, 600]), super_bytes=some([0, 0, 20_000, 60_000]),
        buffer=some([131_072, 131_072, 4096, 30_000]), policy=some(["accept", "sum", "syn"]),
        syncookies=some(["never", "when full", "always"]), backlog=chance.randint(0, 4),
        start=some([SECOND, 17_179 * SECOND, 4_294_967 * SECOND]), faults=chance.random() < 0.8,
        loss=some([0.0, 0.1, 0.3]), copies=some([0.0, 0.2]), jitter=some([0, 80 * MS]),
        ecn=(chance.randrange(6), chance.randrange(6)), control=some(["reno", "cubic", "dctcp"]),
        marks=some([0.0, 0.1, 0.6]),
    )
    soon = [0, 0, MS, 5 * MS, 12 * MS, 100 * MS, 400 * MS]
    sizes = [1, 2, 100, 1447, 1448, 1460, 3000, 20_000, 200_000]
    for _ in range(steps):
        which = chance.randrange(12)
        draw = chance.random()
        if draw < 0.40:
            hosts.write(which, some(sizes), some(soon))
        elif draw < 0.55:
            hosts.read_everything(some(soon))
        elif draw < 0.63:
            hosts.read(which, some(sizes))
        elif draw < 0.75:
            hosts.time_passes(some([MS, 20 * MS, 300 * MS, SECOND, 5 * SECOND, 70 * SECOND]))
        elif draw < 0.80:
            hosts.the_weather_changes(some([0.0, 0.02, 0.2, 0.5]), some([0.0, 0.2]), some([0, 80 * MS]), draw < 0.755)
        elif draw < 0.84:
            hosts.set_an_option(which, some(["nodelay", "keepalive", "small", "large", "timeout"]))
        elif draw < 0.88:
            hosts.write_as_the_path_narrows(which, 20_000, some([300, 600, 1280]))
        elif draw < 0.94:
            hosts.accept()
            if len(hosts.ends) < 30:
                if chance.random() < 0.5:
                    hosts.connect_both_ways()
                else:
                    hosts.connect(draw < 0.91, draw < 0.9)
        else:
            some([hosts.shutdown, hosts.close, hosts.close, hosts.abort])(which)
        hosts.everything_holds()
    hosts.teardown()


@pytest.mark.parametrize("seed", range(200 if IS_CI else 25))
def test_a_long_random_walk_of_two_hosts(seed: int) -> None:
    walk(seed, 120)


TestTwoHosts = TwoHosts.TestCase
TestTwoHosts.settings = settings(
    max_examples=2500 if IS_CI else 60, stateful_step_count=40, deadline=None, derandomize=True, print_blob=True,
    suppress_health_check=list(HealthCheck),
)


def test_a_fin_leaves_after_a_timeout_that_new_text_followed() -> None:
    """F-RTO sends new text first (RFC 5682), and is over when all that was sent before the timeout is acknowledged."""
    state = TwoHosts()
    state.begin(seed=0, options=[False, True, False, False, True, False], is_v6=False, mtu=1500, super_bytes=0,
                buffer=131072, policy="accept", syncookies="never", backlog=0, start=1_000_000_000, faults=True,
                loss=0.0, copies=0.0, jitter=0, ecn=(0, 0), control="reno", marks=0.0)
    for _ in range(10):
        state.read_everything(then=0)
    state.write(size=1, then=0, which=0)
    state.read_everything(then=0)
    state.read_everything(then=0)
    state.write(size=1, then=0, which=0)
    state.the_weather_changes(copies=0.0, is_cut=True, jitter=0, loss=0.0)
    state.read_everything(then=400_000_000)
    state.write(size=1, then=0, which=0)
    state.teardown()
