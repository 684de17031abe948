"""Scenario files whose hosts are commands of the system, in real time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import estab
from estab.trial.commands import CommandPlan
from estab.trial.scenario import Action, HostPlan, LinkPlan, ProgramPlan, Scenario, ScenarioError
from tests.native.test_gone import alive, below

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="hosts of the kernel are Linux's namespaces")

SERVE = """
import socket, sys
with socket.create_server(("", 80)) as listener:
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(connection.recv(100).upper())
"""
ASK = """
import socket, sys
with socket.create_connection((socket.gethostbyname("server"), 80), timeout=20) as connection:
    connection.sendall(sys.argv[1].encode())
    print("answer", connection.recv(100).decode(), flush=True)
"""
CLIENT = ASK.replace("sys.argv[1]", '"script"')

SHOP = """
seed = 7
clock = "real"

[hosts.server]
spawn = { command = ["PYTHON", "serve.py"], listens = 80, ready_within = "60s" }

[hosts.command]
spawn = ["PYTHON", "ask.py", "command"]

[hosts.script]
run = "client.py"

[hosts.router]
router = true

[[links]]
between = ["server", "router"]
delay = "5ms"

[[links]]
between = ["command", "router"]

[[links]]
between = ["script", "router"]
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    for name, text in (("serve.py", SERVE), ("ask.py", ASK), ("client.py", CLIENT)):
        (tmp_path / name).write_text(text)
    path = tmp_path / "shop.toml"
    path.write_text(SHOP.replace("PYTHON", sys.executable))
    return path


def run_estab(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "estab", *map(str, words)], capture_output=True, text=True,
                          timeout=120, check=False)


@pytest.mark.parametrize(("given", "said"), [
    ('daemon = "no"', "daemon: 'no' is neither true nor false"),
    ("at_boot = 1", "at_boot: 1 is neither true nor false"),
    ("env = { A = 1 }", "env: .* is not a table of texts"),
])
def test_what_a_program_is_given_must_be_of_its_kind(given: str, said: str) -> None:
    with pytest.raises(ScenarioError, match=f"scenario:2: hosts.a.run.{said}"):
        Scenario.parse(f'[hosts.a]\nrun = {{ run = "a.py", {given} }}\n')


def test_commands_and_scripts_of_a_file_talk_to_each_other(shop: Path) -> None:
    done = run_estab("run", shop)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["command| answer COMMAND", "script| answer SCRIPT", "server| ready"]
    assert "of real time: not repeatable; " in done.stderr
    assert "of their time" in done.stderr  # how late it was


def test_a_command_that_fails_fails_the_run(shop: Path) -> None:
    shop.write_text(shop.read_text().replace('"command"]', '"command"]\nresolver = {}')
                    .replace('"ask.py", "command"', '"-c", "print(1); raise SystemExit(3)"'))
    done = run_estab("run", shop)
    assert done.returncode == 1
    assert "command| 1" in done.stdout
    assert "ended with status 3" in done.stderr


def test_a_command_that_is_not_there_is_named(shop: Path) -> None:
    shop.write_text(shop.read_text().replace(f'["{sys.executable}", "ask.py"', '["no-such-command", "ask.py"'))
    done = run_estab("run", shop)
    assert done.returncode == 1
    assert "no-such-command@command can't be started: " in done.stderr
    assert "o such file or directory: no-such-command" in done.stderr


def test_a_server_that_does_not_listen_ends_the_run_with_a_sentence(shop: Path) -> None:
    shop.write_text(shop.read_text().replace('listens = 80, ready_within = "60s"', 'listens = 81, ready_within = "1s"'))
    done = run_estab("run", shop)
    assert done.returncode == 1
    assert "waited until it listens on port 81, and it did not within 1s" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_the_run_and_all_commands(shop: Path) -> None:
    shop.write_text(shop.read_text().replace('"ask.py", "command"', '"-c", "import time; print(1); time.sleep(1000)"'))
    process = subprocess.Popen([sys.executable, "-u", "-m", "estab", "run", shop], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    while "script| answer" not in process.stdout.readline():
        pass
    started = below([process.pid])
    assert len(started) >= 6  # itself, what starts keepers, two keepers, two commands
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    deadline = time.monotonic() + 20
    while left := alive(started):
        assert time.monotonic() < deadline, f"{left} are still there"


def test_actions_pause_and_end_commands_and_time_begins_when_all_listen(shop: Path) -> None:
    plan = Scenario.read(shop)
    hosts = {**plan.hosts, "script": HostPlan(), "command": HostPlan(commands=(
        CommandPlan((sys.executable, "-c", "import time; time.sleep(1000)")),))}
    name = Path(sys.executable).name
    plan = replace(plan, hosts=hosts, actions=(Action("100ms", f"{name}@command.pause"),
                                               Action("200ms", f"{name}@command.resume"),
                                               Action("300ms", f"{name}@command.terminate"),
                                               Action("300ms", "server-router.cut")))
    plan = Scenario.parse(plan.text(), "shop", plan.folder)
    with plan.network(late_max="60s") as net:
        began = net.now
        (server,) = net.hosts["server"].processes
        assert server.is_running
        plan.run(net)
        assert net.now - began >= 0.3
        (ended,) = net.hosts["command"].processes
        assert ended.returncode == -signal.SIGTERM  # an action is aimed at it, so that is no failure


def test_what_python_writes_the_file_has_and_back(tmp_path: Path) -> None:
    commands = (
        CommandPlan(("redis-server", "--save", ""), listens=6379, is_at_boot=True, ready_within="30s"),
        CommandPlan(("sh", "-c", "echo 'it is'"), start="1s", is_daemon=True, env={"A": "b"}, cwd="data", user="bin"),
        CommandPlan(("true",)),
    )
    plan = Scenario({"db": HostPlan(commands=commands), "one": HostPlan(commands=(CommandPlan(("true",)),)),
                     "app": HostPlan((ProgramPlan("app.py"),))}, (LinkPlan(("db", "app")),), seed=3, clock="real",
                    actions=(Action("1s", "redis-server@db.kill"),), folder=str(tmp_path))
    plan.write(tmp_path / "shop.toml")
    assert Scenario.read(tmp_path / "shop.toml") == plan
    assert 'spawn = [\n    "true",\n]' in (tmp_path / "shop.toml").read_text()
    moved = plan.moved(tmp_path / "elsewhere")
    assert moved.hosts["db"].commands[1].cwd == os.path.join("..", "data")


@pytest.mark.parametrize(("spawn", "said"), [
    ('"curl -s http://a/"', ""), ('["curl", "-s"]', ""), ('[["curl"], { command = "curl", listens = 80 }]', ""),
    ("[]", r"\[\] is not a command; write its words"), ("3", "3 is not a command"),
    ("'curl \"x'", "can't be split into words: no closing quotation"),
    ('{ command = "curl", port = 3 }', "spawn has no 'port'"), ('{ command = "a", listens = 70000 }', "not a port"),
    ('{ command = "a", daemon = "no" }', "daemon: 'no' is neither true nor false"),
    ('{ command = "a", cwd = 3 }', "cwd: 3 is not a text"),
    ('{ command = "a", start = "soon" }', "start"), ('{ command = "a", env = { A = 1 } }', "env"),
])
def test_a_command_is_written_in_several_ways_and_mistakes_are_told_with_their_line(spawn: str, said: str) -> None:
    text = f'clock = "real"\n[hosts.a]\nspawn = {spawn}\n'
    if not said:
        assert Scenario.parse(text).hosts["a"].commands[0].called == "curl"
        return
    with pytest.raises(ScenarioError, match=f"scenario:3: hosts.a.spawn: .*{said}"):
        Scenario.parse(text)


def test_a_command_needs_real_time_and_a_host_of_its_own() -> None:
    with pytest.raises(ScenarioError, match=r'scenario:2: hosts.a.spawn: .* needs real time: clock = "real"'):
        Scenario.parse('[hosts.a]\nspawn = ["true"]')
    with pytest.raises(ScenarioError, match=r"a host has the machine's kernel .* or estab's stack"):
        Scenario.parse('clock = "real"\n[hosts.a]\nspawn = ["true"]\nrun = "a.py"')
    with pytest.raises(ScenarioError, match="clock: 'slow' is neither"):
        Scenario.parse('clock = "slow"\n[hosts.a]')
    plan = Scenario.parse('clock = "real"\n[hosts.a]\nspawn = ["true"]\nsettings = { tcp_syn_retries = 1 }')
    with pytest.raises(ScenarioError, match="spawn: use_kernel: host a was given tcp_syn_retries="):
        plan.network()


def test_a_sweep_of_real_time_is_refused_for_it_is_not_repeatable(shop: Path) -> None:
    done = run_estab("sweep", shop, "--seeds", "2")
    assert done.returncode == 2
    assert 'clock = "real": real time is not repeatable' in done.stderr
    with estab.Network() as net, pytest.raises(ScenarioError, match="real time is not repeatable"):
        Scenario.read(shop)(net)
