"""An experiment of the lab's page: run, changed at a moment, told in two parts, saved as what gives the same."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest

from estab.events import QueueChanged
from estab.lab.network import Network
from estab.report.recording import Recording
from estab.trial import experiment
from estab.trial.experiment import name_of, run_experiment, run_first, run_rest, scenario_of
from estab.trial.experiment import test_of as written_test_of
from estab.trial.scenario import Scenario, ScenarioError
from estab.trial.shown import facts_hash

SERVER = """import socket
import time

listener = socket.socket()
listener.bind(("", 80))
listener.listen(1)
time.sleep(2)
while True:
    sock, _ = listener.accept()
    while part := sock.recv(4096):
        pass
    print("got all")
    sock.close()
"""
CLIENT = """import socket
import threading


def call(number):
    with socket.create_connection(("server", 80)) as sock:
        sock.sendall(bytes(20_000))
    print("client", number, "is done")


for number in (1, 2, 3, 4):
    threading.Thread(target=call, args=(number,)).start()
"""


def _experiment(**more: Any) -> dict[str, Any]:
    link = {"between": ["client", "server"], "delay": "20ms", "loss": "3%", "jitter": "2ms", "rate": "5Mbit"}
    hosts = [{"name": "server", "code": SERVER}, {"name": "client", "code": CLIENT}]
    return {"seed": 5, "until": "20s", "hosts": hosts, "links": [link], **more}


def _run(**more: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run_experiment(json.dumps(_experiment(**more))))
    assert found["is_built"], found["error"]
    return found


def _arrow(run: dict[str, Any], number: int) -> dict[str, Any]:
    """Return one of the arrows that carry text and arrive."""
    arrows = [row for row in run["rows"] if row["row"] == "arrow" and row["length"] and row["fate"] == "arrived"]
    found: dict[str, Any] = arrows[number]
    return found


def _name(run: dict[str, Any], number: int, **more: Any) -> str:
    return name_of(json.dumps({"experiment": _experiment(**more), "frame": _arrow(run, number)["frame"]}))


def test_a_frame_that_is_lost_by_its_name_changes_nothing_before() -> None:
    whole = _run()
    arrow = _arrow(whole, 3)
    name = _name(whole, 3)
    assert name.startswith("client > server:80, connection ")
    lost = _run(lose=[name])
    at_ns = arrow["sent_ns"]
    assert [change for change in whole["changes"] if change[1] < at_ns] == [
        change for change in lost["changes"] if change[1] < at_ns]
    now = next(row for row in lost["rows"] if row["row"] == "arrow" and row["frame"][:3] == arrow["frame"][:3])
    assert (arrow["fate"], now["fate"]) == ("arrived", "lost")
    assert lost["missed"] == []


def test_a_frame_that_is_never_sent_is_told() -> None:
    name = "client > server:81, connection 1: SYN, 1st transmission"
    assert _run(lose=[name])["missed"] == [name]


def test_a_frame_that_the_link_lost_before_has_no_name() -> None:
    with pytest.raises(ScenarioError, match="before its weather"):
        name_of(json.dumps({"experiment": _experiment(), "frame": ["client", "no such frame", 0]}))


def test_a_backlog_that_is_changed_lets_more_clients_in() -> None:
    at = [{"time": "10ms", "do": "server.set_backlog", "port": 80, "backlog": 8}]

    def is_full(run: dict[str, Any]) -> bool:
        return any(change[0] == "queue" and change[7].startswith("overflow") for change in run["changes"])

    assert is_full(_run())
    changed = _run(at=at)
    assert not is_full(changed)
    limits = [change[4:8] for change in changed["changes"] if change[0] == "queue" and change[1] == 10_000_000]
    assert limits == [["half-open", 0, 9, "the backlog was changed"], ["accept", 0, 9, "the backlog was changed"]]


def test_a_backlog_of_no_listener_is_an_error() -> None:
    run = _run(at=[{"time": "10ms", "do": "server.set_backlog", "port": 81, "backlog": 8}])
    assert "nobody listens on port 81 of server" in run["error"]


def test_both_parts_together_are_the_whole() -> None:
    whole = _run()
    text = json.dumps(_experiment())
    first = json.loads(run_first(text))
    rest = json.loads(run_rest(""))
    fields = first.pop("fields")
    first["rows"] = [{"row": kind, **dict(zip(fields[kind], values, strict=True))} for kind, *values in first["rows"]]
    arrows = [row for row in first["rows"] if row["row"] == "arrow"]
    for row, frame in zip(arrows, rest["frames"], strict=True):
        row["frame"] = frame
    assert first | rest == whole


def test_the_page_is_told_little_of_each_segment() -> None:
    """What is told at once has to be written, sent and read before anything is drawn: 500 bytes, and 800 with names."""
    hosts = [{"name": "server", "code": SERVER.replace("time.sleep(2)", "")},
             {"name": "client", "code": CLIENT.replace("20_000", "100_000")}]
    text = run_first(json.dumps(_experiment(hosts=hosts)))
    arrows = sum(row[0] == "arrow" for row in json.loads(text)["rows"])
    assert arrows > 400
    assert len(text) / arrows < 600


def test_a_run_that_lasts_is_told_from_its_beginning_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "_FIRST_S", 0.0)
    text, parts = json.dumps(_experiment()), []
    whole = json.loads(run_first(text, lambda part: parts.append(json.loads(part))))
    assert parts
    for part in parts:
        assert part["is_part"]
        assert part["now_ns"] < whole["now_ns"]
        assert part["changes"] == whole["changes"][:len(part["changes"])]
        assert part["out"] == whole["out"][:len(part["out"])]
    assert json.loads(run_rest(""))["hash"] == _run()["hash"]


def test_nothing_is_collected_while_programs_run() -> None:
    hosts = [{"name": "server", "code": "import gc\nprint(gc.isenabled())\n"}]
    run = json.loads(run_experiment(json.dumps({"hosts": hosts})))
    assert [line for _, _, line in run["out"]] == ["False"]
    assert gc.isenabled()


CHANGES = [
    {"time": "10ms", "do": "server.set_backlog", "port": 80, "backlog": 2},
    {"time": "2500ms", "do": "client-server.cut"}, {"time": "2800ms", "do": "client-server.heal"},
    {"time": "9s", "do": "client.power_off"},
]


def _hash_of_test(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test that was saved, and hash the facts of its network until it closes."""
    seen: list[Recording] = []
    network, check = Scenario.network, Network.check

    def recorded(scenario: Scenario) -> Network:
        net = network(scenario)
        seen.append(net.record())
        return net

    def checked(net: Network) -> None:
        check(net)
        seen[0].stop()

    monkeypatch.setattr(Scenario, "network", recorded)
    monkeypatch.setattr(Network, "check", checked)
    names: dict[str, Any] = {}
    exec(text, names)
    names["test_experiment"](folder)
    assert any(isinstance(fact, QueueChanged) for fact in seen[0].facts)
    return facts_hash(seen[0].facts)


def test_a_saved_test_gives_the_run_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {"at": CHANGES, "lose": [_name(_run(at=CHANGES), 5, at=CHANGES)]}
    run = _run(**changed)
    assert run["error"] == ""
    assert run["missed"] == []
    assert run["hash"] != _run(at=CHANGES)["hash"]
    text = written_test_of(json.dumps(_experiment(**changed)))
    assert _hash_of_test(text, tmp_path, monkeypatch) == run["hash"]


def test_a_saved_scenario_gives_the_run_of_the_page(tmp_path: Path) -> None:
    changed = {"at": CHANGES, "lose": [_name(_run(at=CHANGES), 5, at=CHANGES)]}
    for host in _experiment()["hosts"]:
        (tmp_path / f"{host['name']}.py").write_text(host["code"], encoding="utf-8")
    (tmp_path / "run.toml").write_text(scenario_of(json.dumps(_experiment(**changed))), encoding="utf-8")
    scenario = Scenario.read(tmp_path / "run.toml")
    # What is written from what was read is the same scenario.
    assert Scenario.parse(scenario.text(), folder=str(tmp_path)) == scenario
    with scenario.network() as net:
        seen = net.record()
        net.run(until=scenario.until)
        seen.stop()
        assert net.fixed_weather is not None
        assert net.fixed_weather.missed() == []
    assert facts_hash(seen.facts) == _run(**changed)["hash"]
