"""An experiment of the lab's page: a scenario whose programs are texts, run once, and what the page shows of the run.

- What goes in and what comes out is JSON, so that the same functions serve a page, a lesson's check and a test.
- A moment of the run is changed by running it again: the seed repeats all that was before. So a change is an action
  with its time, as in a scenario file, or a frame that is to be lost, named by its time, its sender and a hash.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
import tempfile
import traceback
from collections import defaultdict
from dataclasses import replace
from errno import errorcode
from pathlib import Path
from typing import Any, Final

import tomli_w

from estab.events import (
    BufferChanged,
    ErrorReported,
    Event,
    QueueChanged,
    SegmentReceived,
    SegmentSent,
    StateChanged,
    TcbCreated,
    TcbReleased,
    TimeWaitEnded,
)
from estab.lab.network import Network
from estab.observe.flights import flights
from estab.observe.ladder import ladder
from estab.report.recording import Recording
from estab.trial.scenario import Scenario, ScenarioError

__all__ = ["answer_of", "report_of", "run_experiment", "scenario_of", "scenario_text", "test_of"]

_OURS: Final = str(Path(__file__).resolve().parent.parent)
_OUT_MAX: Final = 2000
_SECONDS_MAX: Final = 3600
"""A run ends after an hour of virtual time, if the experiment does not say another."""


class _Output(io.TextIOBase):
    """Keeps what programs print, with the time at which they did."""

    def __init__(self, net: Network) -> None:
        self.lines: list[list[Any]] = []
        self._net = net
        self._rest = ""

    def write(self, text: str) -> int:
        self._rest += text
        *whole, self._rest = self._rest.split("\n")
        for line in whole:
            host, bar, said = line.partition("| ")
            if len(self.lines) < _OUT_MAX:
                self.lines.append([self._net.now_ns, host if bar else "", said if bar else line])
        return len(text)


def scenario_text(experiment: dict[str, Any]) -> str:
    """Write an experiment as a scenario file, whose programs are the files ``HOST.py`` beside it."""
    words: dict[str, Any] = {"seed": experiment.get("seed", 0), "until": experiment.get("until", f"{_SECONDS_MAX}s")}
    words["hosts"] = {}
    for host in experiment["hosts"]:
        table: dict[str, Any] = {"run": f"{host['name']}.py"} if host.get("code", "").strip() else {}
        if host.get("router"):
            table["router"] = True
        if host.get("settings"):
            table["settings"] = host["settings"]
        words["hosts"][host["name"]] = table
    words["links"] = [dict(link) for link in experiment.get("links", ())]
    if experiment.get("at"):
        words["at"] = [dict(action) for action in experiment["at"]]
    return tomli_w.dumps(words)


def scenario_of(text: str) -> str:
    """Write an experiment, as JSON, as a scenario file. A frame that is to be lost has no words there: it is noted."""
    experiment = json.loads(text)
    noted = [f"# not in this file: the frame that {sender} sends at {at_ns} ns is lost\n"
             for at_ns, sender, _ in experiment.get("lose", ())]
    return "".join(noted) + scenario_text(experiment)


def test_of(text: str) -> str:
    """Write an experiment, as JSON, as a test for pytest that stands alone."""
    return _test_text(json.loads(text))


def _test_text(experiment: dict[str, Any]) -> str:
    codes = {host["name"]: host["code"] for host in experiment["hosts"] if host.get("code", "").strip()}
    lines = ["from estab.trial.scenario import Scenario", "", f"SCENARIO = {scenario_text(experiment)!r}",
             "PROGRAMS = {"]
    lines += [f"    {name!r}: {code!r}," for name, code in codes.items()]
    lines += ["}", "", "", "def test_experiment(tmp_path):", "    for name, code in PROGRAMS.items():",
              "        (tmp_path / f\"{name}.py\").write_text(code, encoding=\"utf-8\")",
              "    scenario = Scenario.parse(SCENARIO, folder=str(tmp_path))",
              "    with scenario.network() as net:", "        net.run(until=scenario.until)", ""]
    return "\n".join(lines)


def run_experiment(text: str) -> str:
    """Run an experiment, both as JSON. What is wrong with it, and what became of its programs, is in ``error``."""
    result, seen = _run(json.loads(text))
    if seen is not None:
        result.update(_shown(seen))
    return json.dumps(result)


def report_of(text: str) -> str:
    """Run an experiment and write its report page, as ``estab report`` draws one; and its capture, in hexadecimal."""
    _, seen = _run(json.loads(text))
    if seen is None:
        raise ScenarioError("the experiment could not be run")
    with tempfile.TemporaryDirectory() as folder:
        page, capture = Path(folder, "run.html"), Path(folder, "run.pcapng")
        seen.report(page, payload=True)
        seen.pcapng(capture)
        return json.dumps({"page": page.read_text(encoding="utf-8"), "pcapng": capture.read_bytes().hex()})


def answer_of(text: str) -> str:
    """Run a lesson's experiment and return the number of the answer that the run shows.

    ``check`` is a lesson's own code. It sees ``result`` (what ``run_experiment`` returns), ``out(host)``, the lines
    that a host printed, and ``states(host)``, the states that its connections went through; it sets ``answer``.
    """
    asked = json.loads(text)
    result = json.loads(run_experiment(json.dumps(asked["experiment"])))
    if not result["is_built"]:
        raise ScenarioError(result["error"])
    states = [(change[2], change[4]) for change in result["changes"] if change[0] == "state"]
    names: dict[str, Any] = {
        "result": result,
        "out": lambda host: [line for _, name, line in result["out"] if name == host],
        "states": lambda host: [state for name, state in states if name == host],
    }
    exec(asked["check"], names)
    return str(int(names["answer"]))


def _run(experiment: dict[str, Any]) -> tuple[dict[str, Any], Recording | None]:
    """Run it. No recording: it could not be built."""
    with tempfile.TemporaryDirectory() as folder:
        for host in experiment["hosts"]:
            Path(folder, f"{host['name']}.py").write_text(host.get("code", ""), encoding="utf-8")
        try:
            plan = Scenario.parse(scenario_text(experiment), "experiment", folder)
            net = Network(plan.seed)
        except (ScenarioError, TypeError, ValueError) as error:
            return {"error": str(error), "is_built": False}, None
        output = _Output(net)
        kept, sys.stdout = sys.stdout, output
        error_text = ""
        try:
            with net:
                seen = net.record()
                try:
                    plan.build(net)
                    _lose(net, experiment.get("lose", ()))
                except (ScenarioError, TypeError, ValueError) as error:
                    return {"error": str(error), "is_built": False}, None
                try:
                    net.run(until=plan.until or None)
                    net.check()
                except Exception as error:
                    error_text = _told(error, folder)
                waiting = list(net.waiting())
                seen.stop()
                now_ns = net.now_ns
        finally:
            sys.stdout = kept
    return {"error": error_text, "is_built": True, "now_ns": now_ns, "out": output.lines, "waiting": waiting}, seen


def _told(error: BaseException, folder: str) -> str:
    """Tell an exception of a program with the lines of its own code."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(folder)]
    where = "".join(f"{Path(frame.filename).name}:{frame.lineno}: " for frame in own[-1:])
    notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
    return f"{where}{type(error).__name__}: {error}{notes}"


def _lose(net: Network, frames: Any) -> None:
    """Lose frames: each is its time in nanoseconds, its sender and the hash of its bytes."""
    wanted = {(int(at_ns), str(sender), str(digest)) for at_ns, sender, digest in frames}
    if not wanted:
        return

    def rule(sender: str, frame: bytes) -> bool:
        return (net.now_ns, sender, _digest(frame)) in wanted

    for link in net.links:
        link.rule(rule)


def _digest(frame: bytes) -> str:
    return hashlib.sha256(frame).hexdigest()[:12]


# --- what the page shows


def _shown(seen: Recording) -> dict[str, Any]:
    facts = seen.facts
    digest = hashlib.sha256()
    for fact in facts:
        if isinstance(fact, ErrorReported):
            # The number of an error is the platform's own: 111 on Linux, 14 in WebAssembly.
            digest.update(errorcode.get(fact.errno, "").encode())
            fact = replace(fact, errno=0)
        digest.update(repr(fact).encode())
    return {"rows": _rows(facts), "changes": _changes(facts), "facts": len(facts), "hash": digest.hexdigest(),
            "hosts": seen.hosts(), "story": seen.story(), "calls": _calls(seen)}


def _rows(facts: list[Event]) -> list[Any]:
    """List the rows of the ladder; an arrow also has its frame: the hash that names it, and its bytes."""
    by_sending: dict[tuple[int, str, str], list[bytes]] = defaultdict(list)
    for item in flights(facts):
        by_sending[item.sent_ns, item.sender, item.connection].append(item.data)
    rows: list[Any] = ladder(facts).to_json()["rows"]  # type: ignore[assignment]
    for row in rows:
        if row["row"] == "arrow":
            found = by_sending.get((row["sent_ns"], row["sender"], row["connection"]))
            if found:
                data = found.pop(0)
                row["frame"], row["hex"] = _digest(data), data[:128].hex()
    return rows


def _changes(facts: list[Event]) -> list[list[Any]]:
    """List what changed at sockets and queues, in the order of time: each names what it is first."""
    changes: list[list[Any]] = []
    waiting: set[tuple[str, str]] = set()  # in TIME-WAIT: what is left of a connection whose TCB is gone
    for fact in facts:
        match fact:
            case TcbCreated():
                changes.append(["state", fact.at_ns, fact.host, fact.connection, fact.state, fact.why])
            case StateChanged():
                changes.append(["state", fact.at_ns, fact.host, fact.connection, fact.new, fact.why])
                if fact.new == "TIME-WAIT":
                    waiting.add((fact.host, fact.connection))
            case TcbReleased() if (fact.host, fact.connection) in waiting:
                pass
            case TcbReleased() | TimeWaitEnded():
                waiting.discard((fact.host, fact.connection))
                changes.append(["gone", fact.at_ns, fact.host, fact.connection])
            case QueueChanged():
                changes.append(["queue", fact.at_ns, fact.host, fact.connection, fact.queue, fact.depth, fact.limit,
                                fact.what, fact.peer])
            case BufferChanged():
                changes.append(["buffer", fact.at_ns, fact.host, fact.connection, fact.which, fact.size_bytes,
                                fact.limit_bytes])
            case SegmentSent() | SegmentReceived() if fact.tcb is not None:
                tcb = fact.tcb
                changes.append(["tcb", fact.at_ns, fact.host, fact.connection, tcb.snd_nxt - tcb.snd_una,
                                tcb.cwnd_bytes, tcb.send_buffer_bytes, tcb.receive_buffer_bytes, tcb.snd_wnd,
                                tcb.rto_ns, tcb.srtt_ns])
    return changes


def _calls(seen: Recording) -> list[dict[str, Any]]:
    """List the calls, each with what it changed."""
    return [{
        "host": call.host, "fd": call.fd, "name": call.name, "arguments": call.arguments, "at_ns": call.started_ns,
        "until_ns": call.returned_ns, "result": call.error or call.result,
        "waits": [wait.waits_for for wait in call.waits],
        "changes": [re.sub(r"\s+", " ", str(fact))[:160] for fact in call.facts
                    if isinstance(fact, (TcbCreated, StateChanged, TcbReleased, QueueChanged, BufferChanged))][:12],
        "fields": [f"{change.field}: {change.before} → {change.after}" for change in call.tcb_changes][:12],
    } for call in seen.calls()]
