"""``record().report()``: a page of a recording, of one host, of a clock that runs; whole if facts were not kept too."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

import estab
from estab.events import FrameReceived, FrameSent
from estab.report.columns import Columns
from estab.report.recording import Recording
from tests.report.conftest import Run, Shown
from tests.report.test_page import blocks


def talk(net: estab.Network) -> None:
    """Have two hosts exchange a few words."""
    client, server = net.host("client"), net.host("server")
    net.link(client, server, delay="10ms")

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            connection.sendall(connection.recv(100))

    @client.run
    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            caller.sendall(b"hello")
            caller.recv(100)


def test_a_network_s_recording_makes_a_page(show: Callable[..., Shown], tmp_path: Path) -> None:
    net = estab.Network(seed=3)
    seen = net.record()
    talk(net)
    net.run()
    seen.report(tmp_path / "run.html", title="Hello")
    shown = show(text=(tmp_path / "run.html").read_text())
    assert shown.page.inner_text("h1") == "Hello"
    assert shown.ask("() => estab.store.tables.frame.rows") == sum(isinstance(fact, FrameSent) for fact in seen.facts)


def test_a_page_has_what_came_after_the_recording_was_full(tmp_path: Path) -> None:
    texts = []
    for facts_max in (20, 1_000_000):
        net = estab.Network(seed=3)
        seen = net.record(facts_max=facts_max)
        talk(net)
        net.run()
        assert (seen.not_kept > 0) is (facts_max == 20)
        seen.report(tmp_path / "run.html")
        texts.append(blocks((tmp_path / "run.html").read_text()).scripts[:2])
    assert texts[0] == texts[1]


def test_payload_is_on_the_page_only_if_asked_for(tmp_path: Path) -> None:
    net = estab.Network(seed=3)
    seen = net.record()
    talk(net)
    net.run()
    sizes = []
    for payload in (False, True):
        seen.report(tmp_path / "run.html", payload=payload)
        sizes.append(len(blocks((tmp_path / "run.html").read_text()).scripts[1][1]))
    assert sizes[0] < sizes[1]


def test_a_host_s_own_recording_shows_what_it_alone_saw(run: Run, show: Callable[..., Shown]) -> None:
    columns = Columns()
    for fact in run.facts:
        if fact.host == "client" and not type(fact).__name__.startswith("Link"):
            columns(fact)
    shown = show(columns)
    frames = [fact for fact in run.facts if isinstance(fact, (FrameSent, FrameReceived)) and fact.host == "client"]
    marks = shown.marks("ladder")
    assert len(marks) == len(frames)
    assert shown.ask("() => estab.store.hostOf(1)") == "10.0.0.2"
    assert [view for view in ("sequence", "flight", "rtt", "states") if not shown.marks(view)] == []


def test_times_are_counted_from_the_recording_s_start(run: Run, show: Callable[..., Shown], tmp_path: Path) -> None:
    start_ns = 123_456_789_000

    class Late:
        """Facts of a clock that has run for a while."""

        def __init__(self) -> None:
            self.observer: Callable[..., None] = lambda fact: None

        def observe(self, observer: Callable[..., None]) -> Callable[[], None]:
            self.observer = observer
            return lambda: None

    late = Late()
    seen = Recording(late.observe, "late", start_ns=start_ns, epoch_ns=10**18)  # type: ignore[arg-type]
    for fact in run.facts:
        fields = {name: getattr(fact, name) for name in fact.__dataclass_fields__}
        late.observer(type(fact)(**{**fields, "at_ns": fact.at_ns + start_ns}))
    seen.report(tmp_path / "late.html")
    shown = show(text=(tmp_path / "late.html").read_text())
    assert shown.ask("() => [estab.store.begin, estab.store.end]") == [0, pytest.approx(run.columns.end_ns / 1e9)]
    sent = [fact.at_ns for fact in run.facts if isinstance(fact, FrameSent)]
    assert shown.ask("() => [...estab.store.tables.frame.t]") == [pytest.approx(at_ns / 1e9) for at_ns in sent]
    assert shown.page.get_by_text("cable cut").first.get_attribute("title") == "0.825 s"
