"""Sweeps over processes and clusters: the answer does not depend on where it was found."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from estab.cli.main import main
from estab.trial.many import Outcome, Rules, Sweeping, groups_of
from estab.trial.quiet import OUTPUT_BYTES_MAX, quiet
from estab.trial.target import Target, TargetError, load, read_target
from estab.trial.workers import ClusterError, cluster, local
from tests.native.test_gone import alive, below

SCENARIOS = """
import os
import socket
import time


def steady(net):
    if net.seed % 7 == 3:
        raise ValueError("three of seven")
    if net.seed % 50 == 20:
        raise KeyError("twenty of fifty")


def told(net):
    with open("told", "a") as file:
        file.write(f"{net.seed}\\n")
    steady(net)


def deadly(net):
    if net.seed == 13:
        os._exit(9)


def slow(net):
    time.sleep(0.02)


def lossy(net):
    server, phone = net.host("server"), net.host("phone")
    net.link(server, phone, delay="20ms", loss="10%")

    @server.run
    def serve():
        with socket.create_server(("", 80)) as listener:
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(b"x" * 5000)

    @phone.run
    def ask():
        with socket.create_connection(("server", 80), timeout=2) as end:
            while end.recv(4096):
                pass

    net.run()


def two(net, other):
    pass
"""


@pytest.fixture
def scenarios(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "scenarios.py"
    path.write_text(SCENARIOS)
    monkeypatch.chdir(tmp_path)
    source = Path(sys.modules["estab"].__file__ or "").parent.parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(source), *filter(None, [os.environ.get("PYTHONPATH", "")])]))
    return path


def sweep(path: Path, function: str, seeds: int, jobs: int = 2, **rules: Any) -> tuple[Sweeping, list[Outcome]]:
    work = Sweeping(read_target(f"{path}::{function}"), range(seeds), Rules(**rules))
    workers = local(jobs)
    return work, work.run(workers.executor, workers.count)


def test_failures_are_grouped_and_the_lowest_seed_stands_for_its_group(scenarios: Path) -> None:
    work, outcomes = sweep(scenarios, "steady", 120)
    assert [one.seed for one in outcomes] == list(range(120))
    groups = groups_of(outcomes)
    assert [(group.sentence, group.lowest, len(group.seeds)) for group in groups] == [
        ("ValueError: three of seven", 3, 17), ("KeyError: 'twenty of fifty'", 20, 2)]
    assert "scenarios.py:9" in groups[0].failure
    assert not work.is_stopped
    assert work.differing == []


@pytest.mark.parametrize("rules", [{"failures_max": 3}, {"groups_max": 2}])
def test_a_stop_rule_gives_the_same_answer_whatever_runs_the_seeds(scenarios: Path, rules: dict[str, int]) -> None:
    target = read_target(f"{scenarios}::steady")
    answers = []
    for workers in (1, 2, 5):
        work = Sweeping(target, range(500), Rules(**rules))
        outcomes = work.run(lambda: ThreadPoolExecutor(1), workers)
        assert work.is_stopped
        answers.append(outcomes)
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][-1].failure
    assert len(answers[0]) < 60


def test_a_seed_that_kills_its_worker_is_named_and_nothing_else_is_lost(scenarios: Path) -> None:
    _, outcomes = sweep(scenarios, "deadly", 30)
    assert [one.seed for one in outcomes] == list(range(30))
    assert [one.seed for one in outcomes if one.failure] == [13]
    assert outcomes[13].has_killed


def test_facts_that_a_worker_has_otherwise_are_told(scenarios: Path) -> None:
    target = read_target(f"{scenarios}::lossy")
    work = Sweeping(target, range(2))
    work.known[0] = Outcome(0, facts="0123456789abcdef")
    work.run(lambda: ThreadPoolExecutor(1), 1)
    assert work.differing == [0]
    work = Sweeping(target, range(2))
    work.run(lambda: ThreadPoolExecutor(1), 1)
    assert work.differing == []


def test_results_are_kept_and_gone_on_from(scenarios: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sweep", f"{scenarios}::steady", "--results", "out.jsonl", "--json", "-j", "1", "--no-shrink"]
    assert main([*command, "--seeds", "30"]) == 1
    first = Path("out.jsonl").read_text()
    assert len(first.splitlines()) == 31
    capsys.readouterr()
    assert main([*command, "--seeds", "40"]) == 1
    second = Path("out.jsonl").read_text()
    assert second.startswith(first)
    assert len(second.splitlines()) == 41
    summary = json.loads(capsys.readouterr().out)
    assert summary["seeds"] == 40
    assert [group["lowest"] for group in summary["groups"]] == [3, 20]
    scenarios.write_text(SCENARIOS.replace("% 7", "% 8"))
    assert main([*command, "--seeds", "40"]) == 2
    assert "another fingerprint" in capsys.readouterr().err


def test_a_scenario_file_or_a_script_of_it_that_was_edited_has_other_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    scenario, script = tmp_path / "s.toml", tmp_path / "app.py"
    text = '[hosts.a]\nrun = "app.py"\n'
    for edited, other in ((scenario, text + "nofile = 99\n"), (script, "print('mended')\n")):
        scenario.write_text(text)
        script.write_text("1 / 0\n")
        results = str(tmp_path / f"{edited.name}.jsonl")
        command = ["sweep", str(scenario), "--results", results, "--seeds", "2", "-j", "1", "--no-shrink"]
        assert main(command) == 1
        assert main(command) == 1
        edited.write_text(other)
        assert main(command) == 2
        assert "another fingerprint" in capsys.readouterr().err


def test_results_whose_last_line_was_cut_short_are_gone_on_from(
    scenarios: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["sweep", f"{scenarios}::steady", "--results", "out.jsonl", "-j", "1", "--no-shrink", "--seeds", "3"]
    assert main(command) == 0
    whole = Path("out.jsonl").read_bytes()
    Path("out.jsonl").write_bytes(whole[:-5])
    assert main(command) == 0
    assert Path("out.jsonl").read_bytes() == whole


@pytest.mark.parametrize("held", [b"[]\n", b"\xff\xfe\n", b"no newline", b"two\nlines"])
def test_a_file_that_holds_something_else_than_results_stays_as_it_is(
    held: bytes, scenarios: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    Path("out.jsonl").write_bytes(held)
    assert main(["sweep", f"{scenarios}::steady", "--results", "out.jsonl"]) == 2
    assert "something else than results" in capsys.readouterr().err
    assert Path("out.jsonl").read_bytes() == held


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_results_that_cannot_be_written_are_said_with_their_file(
    scenarios: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["sweep", f"{scenarios}::steady", "--results", "/dev/full", "--seeds", "3", "-j", "1"]) == 1
    assert capsys.readouterr().err == "estab: --results /dev/full: No space left on device\n"


@pytest.mark.parametrize("name", ["s.toml", "s.py::run"])
def test_a_scenario_that_is_not_utf_8_is_said_with_its_file(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / name.partition("::")[0]
    file.write_bytes(b"# \xff\n")
    assert main(["sweep", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert f"{file}: it is not UTF-8 text: byte 2 is 0xff" in said
    assert said.count("\n") == 1


def test_shards_share_the_seeds_out(scenarios: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[int] = []
    for shard in ("1/3", "2/3", "3/3"):
        main(["sweep", f"{scenarios}::steady", "--seeds", "31", "--shard", shard, "--results", f"{shard[0]}.jsonl",
              "-j", "1", "--no-shrink"])
        seen += [json.loads(line)["seed"] for line in Path(f"{shard[0]}.jsonl").read_text().splitlines()[1:]]
    assert sorted(seen) == list(range(31))
    capsys.readouterr()
    for wrong in ("0/3", "4/3", "3", "a/b"):
        assert main(["sweep", f"{scenarios}::steady", "--shard", wrong]) == 2
        assert "write K/N" in capsys.readouterr().err


def test_the_command_explains_the_lowest_seed(scenarios: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", f"{scenarios}::lossy", "--seeds", "300", "--stop-after", "1", "-j", "1"]) == 1
    told = capsys.readouterr().out
    assert "enough for it:" in told
    assert "again:  estab sweep" in told
    seed = told.partition("--from ")[2].split()[0]
    assert main(["sweep", f"{scenarios}::lossy", "--from", seed, "--seeds", "1", "-j", "1", "--no-shrink"]) == 1
    assert Path(".estab", f"lossy-{seed}", "run.pcapng").stat().st_size > 0


SERVER = """
import socket
with socket.create_server(("", 80)) as listener:
    accepted, _ = listener.accept()
    with accepted:
        accepted.sendall(b"x" * 5000)
"""
CLIENT = """
import socket, sys
with socket.create_connection(("server", 80), timeout=float(sys.argv[1])) as end:
    while end.recv(4096):
        pass
"""
LOSSY = """
[hosts]
server = { run = "server.py" }
phone = { run = "client.py 2" }
[[links]]
between = ["phone", "server"]
delay = "20ms"
loss = "10%"
"""


TALK = """
import sys
import threading


def talk(net):
    host = net.host("a")

    @host.run
    def program():
        print("printed", net.seed)
        sys.stderr.write("complained\\n")
        thread = threading.Thread(target=lambda: 1 / 0, daemon=True)
        thread.start()
        thread.join()
        raise ValueError("wrong")

    net.run()
"""


def test_what_programs_print_is_kept_apart_from_what_a_sweep_says(scenarios: Path) -> None:
    scenarios.with_name("it's talk.py").write_text(TALK)
    command = [sys.executable, "-m", "estab", "sweep", "it's talk.py::talk", "--seeds", "6", "--jobs", "2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    group, = json.loads(done.stdout)["groups"]
    assert shlex.split(group["again"])[2] == "it's talk.py::talk"
    assert group["kept"] == ".estab/talk-0"
    printed = Path(group["kept"], "output.txt").read_text()
    assert printed.startswith("printed 0\ncomplained\n")
    assert "ZeroDivisionError" in printed
    subprocess.run(command, capture_output=True, check=False)  # the same failure, in the same folder
    assert [path.name for path in Path(".estab").iterdir() if path.is_dir()] == ["talk-0"]


def test_only_the_end_of_much_output_is_kept_and_bytes_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet() as output:
        for number in range(3):
            print(str(number) * OUTPUT_BYTES_MAX)
        sys.stdout.buffer.write(b"end\n")
        sys.stderr.write("estab: a takes real time\n")
    assert len(output.text()) <= OUTPUT_BYTES_MAX
    assert output.text().endswith("2\nend\n")
    assert capsys.readouterr() == ("", "estab: a takes real time\n")  # what estab itself says is shown at once


def test_a_failure_that_cannot_be_kept_is_explained_all_the_same(
    scenarios: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    Path(".estab").write_text("a file where the folder would be")
    assert main(["sweep", f"{scenarios}::lossy", "--seeds", "40", "--jobs", "1", "--no-shrink"]) == 1
    out = capsys.readouterr().out
    assert "the last that happened:" in out
    assert re.search(r"kept: +nothing: .*\.estab/lossy-\d+ can't be written \(Not a directory\)", out)


def test_a_scenario_file_that_fails_is_kept_whole_and_runs_without_chance(
    scenarios: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    folder = scenarios.parent
    for name, text in (("server.py", SERVER), ("client.py", CLIENT), ("lossy.toml", LOSSY)):
        (folder / name).write_text(text)
    assert main(["sweep", "lossy.toml", "--seeds", "300", "--stop-after", "1", "-j", "1"]) == 1
    capsys.readouterr()
    (kept,) = folder.glob(".estab/lossy-*/scenario.toml")
    words = tomllib.loads(kept.read_text())
    assert words["weather"]["lost"]
    assert words["failed"]["test"] == "lossy.toml"
    assert main(["run", str(kept)]) == 1
    assert "TimeoutError" in "".join(capsys.readouterr())


def test_what_is_kept_of_a_function_says_how_to_repeat_it(
    scenarios: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["sweep", f"{scenarios}::lossy", "--seeds", "300", "--stop-after", "1", "-j", "1"]) == 1
    capsys.readouterr()
    (kept,) = scenarios.parent.glob(".estab/lossy-*/scenario.toml")
    assert main(["run", str(kept)]) == 2
    said = capsys.readouterr().err
    assert "it keeps a failure of" in said
    assert "estab sweep" in said


@pytest.mark.parametrize(("target", "said"), [
    ("nothing.py::f", "No such file"), ("scenarios.txt::f", "is not a Python file"),
    ("scenarios.py::absent", "there are: steady, told, deadly, slow, lossy, two"),
    ("scenarios.py::two", "a scenario takes one argument"), ("json:absent", "there is no function"),
    ("scenarios", "names no scenario"), ("absent_module:f", "importing it failed"),
])
def test_a_scenario_that_is_not_there_is_said(scenarios: Path, target: str, said: str) -> None:
    with pytest.raises(TargetError, match=said):
        load(read_target(target))


def test_a_target_carries_its_text_to_a_worker_that_has_no_such_file(scenarios: Path) -> None:
    target = read_target(f"{scenarios}::steady")
    scenarios.unlink()
    assert load(Target(target.name, "/nowhere/scenarios.py", "", "steady", target.source)) is not None


def test_a_cluster_that_is_not_there_is_said() -> None:
    for address, said in (("spark://x", "only dask://"), ("dask://127.0.0.1:1", "no scheduler answers there")):
        with pytest.raises(ClusterError, match=said), cluster(address):
            pass


# --- how it ends


@pytest.mark.parametrize("kept", [(), ("--results", "kept.jsonl")])
def test_ctrl_c_ends_a_sweep_with_its_workers_and_says_what_is_known(scenarios: Path, kept: tuple[str, ...]) -> None:
    process = subprocess.Popen([sys.executable, "-m", "estab", "sweep", "scenarios.py::told", "--seeds", "100000",
                                "--jobs", "2", *kept], stderr=subprocess.PIPE, text=True, start_new_session=True)
    told = scenarios.parent / "told"
    deadline = time.monotonic() + 60
    while not (told.exists() and told.stat().st_size > 2000):
        assert process.poll() is None
        assert time.monotonic() < deadline
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the command and to its workers
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert re.search(r"estab: stopped after [\d,]+ seeds of 100000, \d+ failed; ", errors), errors
    assert ("the same command goes on" if kept else "--results FILE would have kept them") in errors
    first = re.search(r"  seed (\d+): ValueError: three of seven\n", errors)  # 3, if its worker was the first to tell
    assert first is not None
    assert f"{first[0]}    again: estab sweep 'scenarios.py::told' --from {first[1]} --seeds 1\n" in errors


def test_workers_end_with_a_sweep_that_is_killed(scenarios: Path) -> None:
    process = subprocess.Popen([sys.executable, "-m", "estab", "sweep", "scenarios.py::told", "--seeds", "100000",
                                "--jobs", "2"], start_new_session=True)
    told = scenarios.parent / "told"
    deadline = time.monotonic() + 60
    while not (told.exists() and told.stat().st_size > 500):
        assert process.poll() is None
        assert time.monotonic() < deadline
    started = below([process.pid])
    assert len(started) >= 3  # itself and two workers
    process.kill()
    process.wait()
    while left := alive(started):
        assert time.monotonic() < deadline, f"{left} are still there"


# --- a real scheduler of Dask, and workers in processes of their own


@pytest.fixture
def dask(scenarios: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Start a scheduler and two workers on loopback, and end them."""
    environment = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
    base = [sys.executable, "-W", "ignore", "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1",
            "--port", "0", "--no-dashboard", "--scheduler-file", "scheduler.json"]
    scheduler = subprocess.Popen(base, env=environment, stderr=subprocess.DEVNULL)
    running = [scheduler]
    try:
        deadline = time.monotonic() + 60
        while not Path("scheduler.json").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        address = json.loads(Path("scheduler.json").read_text())["address"]
        workers = [subprocess.Popen([
            sys.executable, "-W", "ignore", "-m", "distributed.cli.dask_worker", address, "--nthreads", "1",
            "--no-dashboard", "--local-directory", str(scenarios.parent), "--name", f"worker{number}",
        ], env=environment, stderr=subprocess.DEVNULL) for number in range(2)]
        running += workers
        from distributed import Client

        with Client(address) as client:
            client.wait_for_workers(2, timeout=60)
        yield address.replace("tcp://", "dask://"), workers
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_gives_the_same_answer_and_survives_the_loss_of_a_worker(
    scenarios: Path, dask: tuple[str, list[subprocess.Popen[bytes]]],
) -> None:
    address, processes = dask
    here, expected = sweep(scenarios, "steady", 300)
    with cluster(address) as workers:
        assert workers.count == 2
        work = Sweeping(here.target, range(300))
        assert work.run(workers.executor, workers.count) == expected
        # A worker is killed in the middle: nothing is lost.
        work = Sweeping(read_target(f"{scenarios}::slow"), range(200))
        killed = []

        def told(outcomes: object) -> None:
            if not killed:
                killed.append(processes[0].pid)
                os.kill(processes[0].pid, signal.SIGKILL)

        work.told = told
        outcomes = work.run(workers.executor, workers.count)
        assert killed
        assert [one.seed for one in outcomes if not one.failure] == list(range(200))
    with cluster(address) as workers:
        # A seed that kills whoever runs it is named (its nanny starts a new worker each time).
        work = Sweeping(read_target(f"{scenarios}::deadly"), range(20))
        outcomes = work.run(workers.executor, workers.count)
        assert [one.seed for one in outcomes if one.failure] == [13]
        assert outcomes[13].has_killed
