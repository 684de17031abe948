"""The page in use: mouse, keys, addresses, what it saves, how it looks at several sizes; hostile data stay data."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from estab.cli.chapters import find
from estab.cli.chapters.chapter import Chapter
from estab.cli.perform import perform
from estab.devices.capture_file import read_capture
from estab.events import CallStarted, Event, FrameSent, LinkConditions, SegmentSent, StateChanged
from estab.observe.flights import flights
from estab.observe.pcapng import PcapngWriter, read
from estab.report.captured import captured
from estab.report.columns import Columns
from estab.report.page import Found, Scene, page_of
from tests.report.conftest import Run, Shown
from tests.report.test_page import HOSTILE

Show = Callable[..., Shown]
VIEWS = ["held", "ladder", "sequence", "flight", "rtt", "rates", "states", "buffers", "calls", "weather"]


def windows(shown: Shown) -> set[tuple[float, float]]:
    """Give the stretches of time that the views show when each comes into sight; one if they agree."""
    shown.settle()
    for view in VIEWS:
        shown.ask("""view => {
            const panel = estab.panels[view];
            panel.marks = [];
            panel.redraw();
            panel.marks = null;
        }""", view)
    shown.settle()
    return {tuple(pair) for pair in shown.ask("""() => Object.values(estab.panels).filter(panel => !panel.box.hidden)
        .map(({ plot }) => [plot.scales.x.min, plot.scales.x.max])""")}


def test_all_ten_views_are_drawn_on_one_clock(run: Run, show: Show) -> None:
    shown = show(run.columns)
    assert shown.ask("() => Object.keys(estab.panels)") == VIEWS
    for view in VIEWS:
        shown.page.locator(f"#view-{view}").scroll_into_view_if_needed()
        shown.page.wait_for_function("view => !estab.panels[view].isStale && estab.panels[view].paints > 0", arg=view)
    scales = shown.ask("() => Object.values(estab.panels).map(({ plot }) => [plot.scales.x.min, plot.scales.x.max])")
    assert scales == [[0, run.columns.end_ns / 1e9]] * 10
    for view in ("ladder", "sequence", "flight", "rtt", "rates", "weather"):
        assert shown.page.locator(f"#view-{view} .key").count() > 1
    shown.page.locator("#view-rtt .key", has_text="RTO").click()
    shown.settle()
    assert {mark[0] for mark in shown.marks("rtt")} >= {"sample", "srtt"}
    assert "rto" not in {mark[0] for mark in shown.marks("rtt")}
    assert re.search(r"client → server: \d+ kB acknowledged", shown.page.inner_text(".verdict"))


def test_a_drag_in_one_view_zooms_all_and_a_double_click_goes_back(run: Run, show: Show) -> None:
    shown = show(run.columns)
    over = shown.page.locator("#rtt .u-over, #view-rtt .u-over").first
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    shown.page.mouse.move(box["x"] + box["width"] * 0.25, y)
    shown.page.mouse.down()
    shown.page.mouse.move(box["x"] + box["width"] * 0.5, y, steps=5)
    shown.page.mouse.up()
    end = run.columns.end_ns / 1e9
    [(low, high)] = windows(shown)
    assert (low, high) == (pytest.approx(end / 4, rel=0.02), pytest.approx(end / 2, rel=0.02))
    assert "#t=" in shown.page.url
    shown.page.mouse.dblclick(box["x"] + 10, y)
    assert windows(shown) == {(0, end)}


def test_keys_move_zoom_turn_and_go_through_the_bookmarks(run: Run, show: Show) -> None:
    shown = show(run.columns)
    shown.page.keyboard.press("+")
    [(low, high)] = windows(shown)
    end = run.columns.end_ns / 1e9
    assert high - low == pytest.approx(end / 2)
    shown.page.keyboard.press("ArrowRight")
    [(moved, _)] = windows(shown)
    assert moved == pytest.approx(low + end / 8)
    shown.page.keyboard.press("Escape")
    shown.page.keyboard.press("]")
    names = shown.ask("() => estab.page.marks.map(mark => mark.slice(0, 3))")
    assert list(windows(shown)) == [pytest.approx(names[0][1:])]
    shown.page.keyboard.press("x")
    shown.settle()
    assert shown.ask("() => estab.timeline.sender") == 1
    assert "server → client" in shown.page.inner_text(".verdict")


def test_an_address_leads_to_its_moment_and_a_bad_one_to_the_whole_run(run: Run, show: Show) -> None:
    shown = show(run.columns, fragment="#t=0.25,0.5&c=0&d=1&f=7")
    assert windows(shown) == {(0.25, 0.5)}
    assert shown.ask("() => [estab.timeline.side, estab.timeline.frame]") == [1, 7]
    assert shown.page.is_visible("#detail")
    shown = show(run.columns, fragment="#t=nan,9&c=77&d=x&f=999999&s=5")
    assert windows(shown) == {(0, run.columns.end_ns / 1e9)}


def test_a_click_on_an_arrow_tells_all_about_its_frame(run: Run, show: Show) -> None:
    shown = show(run.columns, fragment="#t=0,0.13")
    mark = next(mark for mark in shown.marks("ladder") if mark[0] == "frame" and mark[2] == "data")
    _, row, _, x0, y0, x1, y1 = mark
    over = shown.page.locator("#view-ladder .u-over")
    over.scroll_into_view_if_needed()
    box, plot = over.bounding_box(), shown.box("ladder")
    assert box is not None
    at = [(first * 0.06 + last * 0.94) - edge for first, last, edge in ((x0, x1, plot["left"]), (y0, y1, plot["top"]))]
    shown.page.mouse.click(box["x"] + at[0], box["y"] + at[1])
    shown.settle()
    chosen = shown.ask("() => estab.timeline.frame")
    segment = flights(run.facts)[chosen].segment
    assert segment is not None
    assert abs(chosen - row) <= 2  # those of one burst lie on each other
    told = shown.page.inner_text("#detail")
    assert segment.why in told
    assert f"seq {segment.seq}, ack {segment.ack}, {segment.length} bytes of text" in told
    assert "3.10.7.4" in told
    assert "check sequence number: acceptable, it is the one expected next" in told
    assert "TCP ports" in told
    shown.page.keyboard.press("Escape")
    assert not shown.page.is_visible("#detail")


def test_the_table_follows_the_time_shown_and_its_rows_choose_a_frame(run: Run, show: Show) -> None:
    shown = show(run.columns, fragment="#t=0.2,0.4")
    shown.page.wait_for_timeout(150)
    inside = [flight for flight in flights(run.facts) if 200_000_000 <= flight.sent_ns <= 400_000_000]
    assert shown.page.locator("#segments tbody tr").count() == min(200, len(inside))
    assert f"of {len(inside)} in the time shown" in shown.page.inner_text("#segments caption")
    shown.page.locator("#segments tbody tr").nth(3).click()
    assert shown.ask("() => estab.store.tables.frame.t[estab.timeline.frame]") == inside[3].sent_ns / 1e9


def test_every_view_has_words_for_those_who_do_not_see_it(run: Run, show: Show) -> None:
    shown = show(run.columns)
    for view in VIEWS:
        assert len(shown.ask("view => document.getElementById(`view-${view}-words`).textContent", view)) > 30
        canvas = shown.page.locator(f"#view-{view} .canvas")
        assert canvas.get_attribute("aria-describedby") == f"view-{view}-words"


@pytest.mark.parametrize("width", [400, 1280, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_runs_over_the_edge_at_any_width(run: Run, show: Show, width: int, scheme: str) -> None:
    shown = show(run.columns, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert shown.ask("() => document.documentElement.scrollWidth") == width
    over = shown.ask("""() => [...document.querySelectorAll("button, select, h1, h2, .verdict")].filter(item => {
        const box = item.getBoundingClientRect();
        return box.width && (box.left < 0 || box.right > innerWidth + 0.5);
    }).map(item => item.outerHTML)""")
    assert over == []
    ground = shown.ask("() => getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") is (scheme == "light")


def test_nothing_runs_over_the_edge_beside_a_scroll_bar_that_takes_room(
    run: Run, chromium: Browser, tmp_path: Path,
) -> None:
    path = tmp_path / "run.html"
    path.write_text(page_of(Scene(run.columns, "a run")))
    browser = chromium.browser_type.launch(
        executable_path=shutil.which("chromium") or shutil.which("chromium-browser"),
        args=["--no-sandbox", "--disable-gpu"], ignore_default_args=["--hide-scrollbars"])
    page = browser.new_page(viewport={"width": 400, "height": 800})
    page.goto(path.as_uri())
    page.wait_for_function("document.querySelectorAll('canvas').length > 3")
    inside, wide = page.evaluate("[document.documentElement.clientWidth, document.documentElement.scrollWidth]")
    browser.close()
    assert inside < 400
    assert wide == inside


def test_ticks_of_an_axis_have_the_digits_that_their_step_needs(chromium: Browser) -> None:
    source = (Path(__file__).parents[2] / "web" / "src" / "format.js").read_text().replace("export ", "")
    page = chromium.new_page()
    told = page.evaluate("() => { " + source + """
        return [
            [0.025, 0.075, 0.125].map(at => timeTick(at, 0.025)), [2.5, 5, 7.5].map(at => timeTick(at, 2.5)),
            [0, 20].map(at => timeTick(at, 10)), [0.000001, 0.000002].map(at => timeTick(at, 1e-6)),
            spanTicks([0, 0.0125, 0.025]), byteTicks([0, 25000, 50000]), [0, 0.0001, 0.012, 0.5].map(percent),
        ];
    }""")
    page.close()
    assert told == [
        ["0.025 s", "0.075 s", "0.125 s"], ["2.5 s", "5.0 s", "7.5 s"], ["0 s", "20 s"], ["0.000001 s", "0.000002 s"],
        ["0", "12.5 ms", "25.0 ms"], ["0", "25 kB", "50 kB"], ["0.0%", "<0.1%", "1.2%", "50%"],
    ]


def test_printing_is_light_and_goes_back(run: Run, show: Show) -> None:
    shown = show(run.columns, color_scheme="dark")
    shown.ask("() => dispatchEvent(new Event('beforeprint'))")
    assert shown.ask("() => document.documentElement.dataset.theme") == "light"
    shown.ask("() => dispatchEvent(new Event('afterprint'))")
    assert shown.ask("() => document.documentElement.dataset.theme") == "dark"
    assert len(shown.page.pdf()) > 10_000


def test_on_paper_nothing_is_cut_off_closed_or_to_be_clicked(run: Run, show: Show) -> None:
    found = [Found(f"finding {number}", "", 0, 10**9, ("evidence",), "", ("a cure",)) for number in range(30)]
    shown = show(Scene(run.columns, "on paper", findings=found), viewport={"width": 718, "height": 900})
    shown.page.emulate_media(media="print")
    shown.ask("() => dispatchEvent(new Event('beforeprint'))")
    assert shown.ask("() => document.documentElement.scrollWidth") == 718
    cut = shown.ask("""() => [...document.querySelectorAll(".findings, .scroll, main, canvas")].filter(box => {
        return box.scrollHeight > box.clientHeight + 1 || box.getBoundingClientRect().right > innerWidth;
    }).map(box => box.className)""")
    assert cut == []
    assert shown.page.locator("details:not([open])").count() == 0
    assert shown.page.locator(".bar:visible, .saves:visible, .findings button:visible").count() == 0
    shown.ask("() => dispatchEvent(new Event('afterprint'))")
    assert shown.page.locator("details:not([open])").count() == 29


# --- what it saves


def test_it_saves_the_frames_as_a_capture(run: Run, show: Show, tmp_path: Path) -> None:
    shown = show(run.columns)
    with shown.page.expect_download() as download:
        shown.page.get_by_text("save pcapng").click()
    download.value.save_as(tmp_path / "run.pcapng")
    packets = read(io.BytesIO((tmp_path / "run.pcapng").read_bytes())).packets
    sent = run.of(FrameSent)
    assert len(packets) == len(sent)
    for packet, fact in zip(packets, sent, strict=True):
        assert (packet.at_ns, packet.length) == (fact.at_ns, len(fact.data))
        assert packet.data == fact.data[:len(packet.data)]
        assert packet.interface.name == f"{fact.host}:eth0"
    assert any("fast retransmission" in packet.comment for packet in packets)


def test_it_saves_a_trace_that_perfetto_reads(run: Run, show: Show, tmp_path: Path) -> None:
    trace_pb2 = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    shown = show(run.columns)
    with shown.page.expect_download() as download:
        shown.page.get_by_text("save Perfetto trace").click()
    assert download.value.suggested_filename == "run.pftrace"
    download.value.save_as(tmp_path / "run.pftrace")
    trace = trace_pb2.Trace.FromString((tmp_path / "run.pftrace").read_bytes())
    assert_a_trace_processor_takes(trace)
    tracks = {packet.track_descriptor.uuid: packet.track_descriptor for packet in trace.packet
              if packet.HasField("track_descriptor")}
    hosts = {track.process.process_name for track in tracks.values() if track.HasField("process")}
    assert hosts == {"client", "server"}
    assert all(track.parent_uuid in tracks for track in tracks.values() if track.HasField("parent_uuid"))
    events = [packet for packet in trace.packet if packet.HasField("track_event")]
    assert [packet.timestamp for packet in events] == sorted(packet.timestamp for packet in events)
    depth: dict[int, int] = {}
    for packet in events:
        event = packet.track_event
        step = {event.TYPE_SLICE_BEGIN: 1, event.TYPE_SLICE_END: -1}.get(event.type, 0)
        depth[event.track_uuid] = depth.get(event.track_uuid, 0) + step
        assert depth[event.track_uuid] in (0, 1)
        assert event.track_uuid in tracks
    assert set(depth.values()) == {0}
    states = {(packet.timestamp, packet.track_event.name) for packet in events
              if tracks[packet.track_event.track_uuid].name.startswith("state")
              and packet.track_event.type == packet.track_event.TYPE_SLICE_BEGIN}
    told = {(fact.at_ns, fact.new) for fact in run.of(StateChanged) if not fact.connection.endswith("*")}
    assert {(at, name) for at, name in told if name in ("ESTABLISHED", "FIN-WAIT-1")} <= states
    windows = [packet.track_event.counter_value for packet in events
               if tracks[packet.track_event.track_uuid].name.startswith("cwnd 10.0.0.1")]
    assert max(windows) == max(fact.tcb.cwnd_bytes for fact in run.of(SegmentSent, "client"))
    frames = [packet for packet in events if packet.track_event.type == packet.track_event.TYPE_INSTANT]
    assert len(frames) == len(run.of(FrameSent))
    for packet, fact in zip(frames, flights(run.facts), strict=True):
        notes = {note.name: note for note in packet.track_event.debug_annotations}
        assert fact.segment is not None
        assert (packet.timestamp, notes["length"].int_value) == (fact.sent_ns, fact.segment.length)
        assert notes["why"].string_value == fact.segment.why


def assert_a_trace_processor_takes(trace: Any) -> None:
    """Check what Perfetto's trace processor asks of a TrackEvent trace, as far as it can be seen in the messages."""
    known = trace.__class__()
    known.CopyFrom(trace)
    known.DiscardUnknownFields()
    assert known.SerializeToString() == trace.SerializeToString()  # every field is one that Perfetto has, with its type
    packets = list(trace.packet)
    assert {packet.trusted_packet_sequence_id for packet in packets} == {1}
    cleared = packets[0].SEQ_INCREMENTAL_STATE_CLEARED
    assert [n for n, packet in enumerate(packets) if packet.sequence_flags & cleared] == [0]
    described = [packet.track_descriptor for packet in packets if packet.HasField("track_descriptor")]
    tracks = {track.uuid: track for track in described}
    assert len(tracks) == len(described)
    assert 0 not in tracks  # the trace's own track
    pids = [track.process.pid for track in described if track.HasField("process")]
    assert len(set(pids)) == len(pids)
    assert 0 not in pids  # the idle process
    first = next(n for n, packet in enumerate(packets) if packet.HasField("track_event"))
    assert all(packet.HasField("track_descriptor") for packet in packets[:first])  # a track is told before it is used
    assert all(packet.HasField("track_event") for packet in packets[first:])
    for packet in packets[first:]:
        event = packet.track_event
        is_counter = event.type == event.TYPE_COUNTER
        assert tracks[event.track_uuid].HasField("counter") is is_counter
        assert event.HasField("counter_value") is is_counter
        assert bool(event.name) is (event.type in (event.TYPE_SLICE_BEGIN, event.TYPE_INSTANT))


# --- data that wants to be more


def test_hostile_hosts_words_and_payloads_are_inert(show: Show) -> None:
    columns = Columns(has_payload=True)
    facts: list[Event] = []
    for played in perform(_chapter("data"), 1)[:1]:
        facts = played.recorder.facts
    for fact in facts:
        changes = {"host": HOSTILE} if fact.host == "client" else {}
        if isinstance(fact, CallStarted):
            changes["arguments"] = HOSTILE
        if isinstance(fact, SegmentSent):
            changes["why"] = HOSTILE
        if isinstance(fact, LinkConditions):
            changes["link"] = HOSTILE
        columns(type(fact)(**{name: changes.get(name, getattr(fact, name)) for name in fact.__dataclass_fields__}))
    shown = show(Scene(columns, HOSTILE, HOSTILE), fragment="#f=3")
    assert shown.ask("() => window.hacked") is None
    assert shown.page.inner_text("h1") == HOSTILE
    assert shown.page.locator("img").count() == 0
    assert shown.page.locator("script").count() == 3
    shown.page.keyboard.press("]")
    shown.page.keyboard.press(".")
    shown.settle()
    assert shown.ask("() => window.hacked") is None
    assert HOSTILE[:20] in shown.page.inner_text("#detail")


def test_a_script_that_gets_into_the_page_does_not_run(run: Run, show: Show) -> None:
    shown = show(run.columns)
    shown.ask("""() => {
        const script = document.createElement("script");
        script.textContent = "window.hacked = 1";
        document.body.append(script);
    }""")
    assert shown.ask("() => window.hacked") is None
    assert len(shown.errors) == 1  # the policy's own complaint
    assert "Content Security Policy" in shown.errors.pop()


# --- other data


def _chapter(name: str) -> Chapter:
    found = find(name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["flood", "close-wait", "loss", "backlog", "frames", "simultaneous"])
def test_chapters_of_the_tour_are_shown_scene_by_scene(show: Show, name: str) -> None:
    scenes = []
    for played in perform(_chapter(name), 1):
        columns = Columns()
        for fact in played.recorder.facts:
            columns(fact)
        scenes.append(Scene(columns, f"{name}: {played.scene.name}"))
    last = len(scenes) - 1
    shown = show(*scenes, fragment=f"#s={last}")
    assert shown.page.inner_text("h1") == scenes[last].title
    assert shown.ask("() => estab.store.tables.frame.rows") == scenes[last].tables.count("frame")
    assert len(shown.marks("ladder")) == scenes[last].tables.count("frame")


def test_a_capture_is_shown_with_what_it_cannot_know_left_out_and_said(run: Run, show: Show) -> None:
    stream = io.BytesIO()
    writer = PcapngWriter(stream)
    writer.section()
    writer.interface("eth0", 101)
    seen = [fact for fact in run.facts if isinstance(fact, FrameSent) and fact.host == "client"]
    for fact in seen:
        writer.packet(0, 1_700_000_000 * 10**9 + fact.at_ns, fact.data)
    stream.seek(0)
    tables = captured(read_capture(stream))
    shown = show(Scene(tables, "Capture x.pcapng"))
    assert shown.ask("() => estab.store.tables.frame.rows") == len(seen)
    assert "Made from a capture" in shown.page.inner_text(".notes")
    assert "No call is known" in shown.page.inner_text("#view-calls")
    first_ns = seen[0].at_ns
    bars = sorted((round(mark[1] * 1e9), tables.columns["frame"]["seq"][mark[2]])
                  for mark in shown.marks("sequence") if mark[0] == "segment")
    sent = [fact for fact in run.of(SegmentSent, "client") if fact.length or set(fact.flags) & set("SFR")]
    assert bars == sorted((fact.at_ns - first_ns, fact.seq) for fact in sent)
