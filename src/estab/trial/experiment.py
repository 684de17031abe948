"""An experiment of the lab's page: a scenario whose programs are texts, run once, and what the page shows of the run.

- What goes in and what comes out is JSON, so that the same functions serve a page, a lesson's check and a test.
- A moment of the run is changed by running it again: the seed repeats all that was before. So a change is an action
  with its time, as in a scenario file, or a frame that is to be lost, by the name that weather has for it.
- The page draws a run before all of it is told: ``run_first``, then ``run_rest`` of the same run.
"""

from __future__ import annotations

import gc
import io
import json
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import tomli_w

from estab.events import Event
from estab.lab.links.weather import Way, Weather
from estab.lab.network import Network
from estab.report.recording import Recording
from estab.trial.scenario import Scenario, ScenarioError
from estab.trial.shown import first_part, frame_digest, second_part

__all__ = [
    "answer_from", "answer_of", "name_of", "report_of", "run_experiment", "run_first", "run_rest", "scenario_of",
    "scenario_text", "test_of",
]

_OUT_MAX: Final = 2000
_clock: Final = perf_counter
"""The machine's, also while the lab has put its own in its place: it says when the page is told, not what."""
_FIRST_S: Final = 0.04
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
    if experiment.get("lose"):
        words["weather"] = Weather(frozenset(experiment["lose"]), has_chance=True).words()
    return tomli_w.dumps(words)


def scenario_of(text: str) -> str:
    """Write an experiment, as JSON, as a scenario file."""
    return scenario_text(json.loads(text))


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
              "    with scenario.network() as net:", "        net.run(until=scenario.until)", "        net.check()", ""]
    return "\n".join(lines)


def run_experiment(text: str, language: str = "en") -> str:
    """Run an experiment, both as JSON. What is wrong with it, and what became of its programs, is in ``error``.

    ``language`` is that of the story.
    """
    result, seen = _run(json.loads(text))
    if seen is not None:
        rest = second_part(seen, language)
        result |= first_part(seen) | rest
        arrows = (row for row in result["rows"] if row["row"] == "arrow")
        for row, frame in zip(arrows, rest["frames"], strict=True):
            row["frame"] = frame
    return json.dumps(result)


_to_page: Final = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode
_last: list[Recording] = []
"""The run whose rest was not told yet."""


def run_first(text: str, emit: Callable[[str], object] | None = None) -> str:
    """Run an experiment, and return what the page draws at once. ``run_rest`` has the rest of this run.

    While a run lasts, ``emit`` is given the same of its beginning: first after a twenty-fifth of a second.
    """
    _last.clear()
    with _without_collection():
        result, seen = _run(json.loads(text), emit=emit)
        if seen is not None:
            result |= first_part(seen, is_short=True)
            _last.append(seen)
        return _to_page(result)


def run_rest(language: str) -> str:
    """Return the rest of the run that ``run_first`` was asked for last, its story in a language."""
    return json.dumps(second_part(_last[0], language) if _last else {})


def name_of(text: str) -> str:
    """Name a frame of a run, as ``lose`` of an experiment does: run it again, and look.

    ``frame`` is what ``second_part`` says of it. ``ScenarioError`` if it never got as far as the link's weather.
    """
    asked = json.loads(text)
    sender, digest, number = str(asked["frame"][0]), asked["frame"][1], int(asked["frame"][2])
    names: list[str] = []

    def hear(way: Way, frame: bytes, name: str) -> None:
        if way.sender == sender and frame_digest(frame, way.header_bytes) == digest:
            names.append(name)

    _run(asked["experiment"], hear)
    if not names:
        raise ScenarioError(f"the link lost that frame of {sender} before its weather could")
    return names[min(number, len(names) - 1)]


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
    return answer_from(json.loads(run_experiment(json.dumps(asked["experiment"]))), asked["check"])


def answer_from(result: dict[str, Any], check: str) -> str:
    """Return the number of the answer that a run shows by a lesson's check."""
    if not result["is_built"]:
        raise ScenarioError(result["error"])
    states = [(change[2], change[4]) for change in result["changes"] if change[0] == "state"]
    names: dict[str, Any] = {
        "result": result,
        "out": lambda host: [line for _, name, line in result["out"] if name == host],
        "states": lambda host: [state for name, state in states if name == host],
    }
    exec(check, names)
    return str(int(names["answer"]))


class _Beginning:
    """An observer that tells what is there of a run that lasts: the page shows it, and the run goes on."""

    def __init__(self, net: Network, seen: Recording, output: _Output, emit: Callable[[str], object]) -> None:
        self._net, self._seen, self._output, self._emit = net, seen, output, emit
        self._began = _clock()
        self._due = self._began + _FIRST_S
        self._count = 0

    def __call__(self, _: Event) -> None:
        self._count += 1
        if self._count % 16 == 0 and _clock() >= self._due:
            self._emit(_to_page({"error": "", "is_built": True, "is_part": True, "now_ns": self._net.now_ns,
                                 "out": self._output.lines, "waiting": [], "missed": [],
                                 **first_part(self._seen, is_short=True)}))
            now = _clock()
            self._due = now + max(4 * (now - self._began), _FIRST_S)


def _run(experiment: dict[str, Any], hear: Callable[[Way, bytes, str], object] | None = None,
         emit: Callable[[str], object] | None = None) -> tuple[dict[str, Any], Recording | None]:
    """Run it. No recording: it could not be built. ``hear`` is told the frames' names, ``emit`` how it begins."""
    with tempfile.TemporaryDirectory() as folder, _without_collection():
        for host in experiment["hosts"]:
            Path(folder, f"{host['name']}.py").write_text(host.get("code", ""), encoding="utf-8")
        try:
            plan = Scenario.parse(scenario_text(experiment), "experiment", folder)
            net = Network(plan.seed, weather=Weather(has_chance=True) if hear and not plan.weather else plan.weather)
        except (ScenarioError, TypeError, ValueError) as error:
            return {"error": str(error), "is_built": False}, None
        output = _Output(net)
        kept, sys.stdout = sys.stdout, output
        error_text = ""
        try:
            with net:
                seen = net.record()
                if net.fixed_weather is not None:
                    net.fixed_weather.hear = hear
                if emit is not None:
                    net.observe(_Beginning(net, seen, output, emit))
                try:
                    plan.build(net)
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
                missed = [] if net.fixed_weather is None else net.fixed_weather.missed()
        finally:
            sys.stdout = kept
    return {"error": error_text, "is_built": True, "now_ns": now_ns, "out": output.lines, "waiting": waiting,
            "missed": missed}, seen


@contextmanager
def _without_collection() -> Iterator[None]:
    """Collect no garbage while programs run.

    A socket in a cycle would be closed whenever an interpreter happens to collect. And in Pyodide, what collects on one
    stack while others are suspended has corrupted memory.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _told(error: BaseException, folder: str) -> str:
    """Tell an exception of a program with the lines of its own code."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(folder)]
    where = "".join(f"{Path(frame.filename).name}:{frame.lineno}: " for frame in own[-1:])
    notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
    return f"{where}{type(error).__name__}: {error}{notes}"
