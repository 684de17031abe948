"""Scenarios as files and from the command line: what one writes the other reads, and mistakes have their line."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import estab
from estab.cli.main import main
from estab.lab.links.weather import Weather
from estab.trial.scenario import Action, HostPlan, LinkPlan, ProgramPlan, Scenario, ScenarioError

APP = """
import os
import socket
import sys


def main():
    print("serving", sys.argv[1:], os.environ.get("MODE"))
    with socket.create_server(("", 8000)) as listener:
        for _ in range(int(sys.argv[1])):
            accepted, _ = listener.accept()
            with accepted:
                print("got", accepted.recv(100).decode())
                accepted.sendall(b"ok")
    assert sys.argv[0].endswith("app.py")
    assert sys.modules["__main__"].main is main


if __name__ == "__main__":
    main()
"""

LOAD = """
import argparse
import socket
import time

parser = argparse.ArgumentParser()
parser.add_argument("--n", type=int, default=1)
for number in range(parser.parse_args().n):
    with socket.create_connection(("server", 8000)) as end:
        end.sendall(f"hello {number}".encode())
        print("answer", end.recv(10).decode(), f"at {time.monotonic():.2f}")
"""

TOML = """
seed = 7
until = "10m"

[hosts.server]
run = [{ run = "app.py 2", env = { MODE = "fast" } }]
[hosts.client]
run = "load.py --n 2"
[hosts.middle]
router = true

[[links]]
between = ["server", "middle"]
delay = "20ms"
[[links]]
between = ["middle", "client"]
name = "wifi"
delay = ["5ms", "10ms"]

[[at]]
time = "1ms"
do = "wifi.cut"
[[at]]
time = "50ms"
do = "wifi.heal"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in (("app.py", APP), ("load.py", LOAD), ("shop.toml", TOML)):
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_scripts_run_on_hosts_with_their_own_arguments_and_a_prefix(
    folder: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    before = (sys.argv, sys.modules["__main__"])
    command = ["run", "server=app.py 3", "client=load.py --n 3", "--link", "server,client,delay=20ms,loss=1%",
               "--seed", "7"]
    assert main(command) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "server| serving ['3'] None",
        "server| got hello 0", "client| answer ok at 0.08",
        "server| got hello 1", "client| answer ok at 0.16",
        "server| got hello 2", "client| answer ok at 0.24",
    ]
    assert "seed 7" in said.err
    assert (sys.argv, sys.modules["__main__"]) == before
    assert main(command) == 0
    assert capsys.readouterr().out == said.out


def test_a_scenario_file_runs_and_weather_comes_from_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "shop.toml"]) == 0
    said = capsys.readouterr().out
    assert "server| serving ['2'] fast" in said
    assert "client| answer ok at 1." in said, "the first SYN met the cut"
    calm = TOML + '\n[weather]\nskipped = ["0.001s wifi.cut"]\n'
    Path("calm.toml").write_text(calm)
    assert main(["run", "calm.toml"]) == 0
    assert "client| answer ok at 0." in capsys.readouterr().out


def test_a_scenario_cuts_one_direction_and_parts_groups(folder: Path) -> None:
    text = TOML.replace('do = "wifi.cut"', 'do = "wifi.cut"\nsender = "client"').replace(
        'time = "50ms"\ndo = "wifi.heal"', 'time = "2s"\ndo = "net.partition"\na = "server"\nb = ["client", "middle"]\n'
        'one_way = true\n[[at]]\ntime = "3s"\ndo = "net.heal"')
    plan = Scenario.parse(text, folder=str(folder))
    assert Scenario.parse(plan.text(), folder=str(folder)) == plan
    with plan.network() as net:
        assert net.faults == ["0.001s wifi.cut('client')", "2s net.partition([server], [client, middle], one_way=True)",
                              "3s net.heal"]
        net.run(until="10ms")
        assert [way.is_cut for way in (net.links[1].there, net.links[1].back)] == [False, True]
        net.run()


def test_a_scenario_says_whose_a_links_queue_is(folder: Path) -> None:
    text = TOML.replace('delay = "20ms"', 'delay = "20ms"\nrate = "5Mbit"\nqueue = 9\nqueue_of = ["link", "host"]')
    plan = Scenario.parse(text, folder=str(folder))
    assert Scenario.parse(plan.text(), folder=str(folder)) == plan
    with plan.network() as net:
        ways = [way.conditions.is_queue_of_host for way in (net.links[0].there, net.links[0].back)]
        assert ways == [False, True]


PARTS = """
[hosts.phone]
run = "load.py --n 1"
[hosts.gateway]
[hosts.node]
[hosts.server]
run = "app.py 1"
[hosts.spare]
[[switches]]
name = "lan"
hosts = ["phone", "gateway", "spare"]
delay = "1ms"
[[links]]
between = ["gateway", "node"]
[[links]]
between = ["node", "server"]
[[nats]]
inside = "lan-gateway"
outside = "gateway-node"
idle = "5min"
forwards = [{ port = 9000, to = "phone", to_port = 80 }]
[[balancers]]
on = "node"
service = "10.96.0.1:8000"
backends = ["server:8000"]
health = "5s"
[[firewalls]]
on = "node-server"
idle = "1h"
inside = "node"
flows_max = 10
[[at]]
time = "1s"
do = "balancer.drain"
host = "server"
[[at]]
time = "2s"
do = "lan-phone.cut"
[[at]]
time = "3s"
do = "spare.add_address"
prefix = "10.9.0.1/24"
on = "lan"
[[at]]
time = "4s"
do = "nat.forget"
[[at]]
time = "4s"
do = "lan.forget"
"""


def test_a_scenario_has_switches_nats_balancers_and_firewalls(folder: Path) -> None:
    (folder / "load.py").write_text(LOAD.replace('"server"', '"10.96.0.1"'))
    plan = Scenario.parse(PARTS, folder=str(folder))
    assert Scenario.parse(plan.text(), folder=str(folder)) == plan
    with plan.network() as net:
        net.run(until=5)
        assert net.hosts["server"].counters()["TcpPassiveOpens"] >= 1
        assert net.hosts["spare"].addresses[-1] == "10.9.0.1"
        assert next(link for link in net.links if link.name == "lan-phone").is_cut
        assert "4s nat.forget" not in net.faults
        program = net.hosts["phone"].programs[0]
        assert program.done()


@pytest.mark.parametrize(("change", "said"), [
    (('hosts = ["phone", "gateway"', 'hosts = ["phon", "gateway"'), "there is no host 'phon'; did you mean phone?"),
    (('outside = "gateway-node"', 'outside = "gate-node"'), "there is no link 'gate-node'; did you mean gateway-node?"),
    (('backends = ["server:8000"]', 'backends = ["serve:8000"]'), "there is no host 'serve'; did you mean server?"),
    (('idle = "5min"', 'idel = "5min"'), "nats has no 'idel'; did you mean idle?"),
    (('service = "10.96.0.1:8000"\n', ""), "balancers: service is missing"),
    (('host = "server"', ""), "at: balancer.drain: missing a required argument: 'host'"),
    (('name = "lan"', 'name = "node"'), "there is something called 'node' already"),
    (('inside = "node"', 'inside = "nodes"'), "there is no host 'nodes'"),
])
def test_a_mistake_in_a_box_is_told(folder: Path, change: tuple[str, str], said: str) -> None:
    assert change[0] in PARTS
    with pytest.raises(ScenarioError, match=r"parts\.toml:\d+: ") as error:
        Scenario.parse(PARTS.replace(*change, 1), "parts.toml", str(folder))
    assert said in str(error.value)


def test_what_is_written_is_read(folder: Path) -> None:
    plan = Scenario(
        hosts={"server": HostPlan((ProgramPlan("app.py 1", env={"A": "b"}),), settings={"tcp_syncookies": "always"}),
               "r": HostPlan(is_router=True, options={"profile": "linux", "clock": "+3s", "drift": "1%", "nofile": 9,
                                                     "wake_up": "50us"},
                             resolver={"failure": "SERVFAIL", "answers": {"db": "10.0.0.8"}}),
               "client": HostPlan((ProgramPlan("load.py", "2s", True),
                                   ProgramPlan("load.py", is_at_boot=True)))},
        links=(LinkPlan(("server", "r"), "a", {"delay": ("1ms", "2ms"), "mtu": 1400}), LinkPlan(("r", "client"))),
        actions=(Action("5s", "a.cut"), Action("7s", "client.power_off"), Action("9s", "a.set", {"loss": "3%"}),
                 Action("9s", "client.reboot", {"after": "3s"}), Action("9s", "app.py@server.pause"),
                 Action("9s", "net.name", {"name": "db", "addresses": ["server"]}), Action("9s", "net.calm")),
        names={"db": {"addresses": ["server", "10.0.0.9"], "order": "rotate"}}, resolver={"delay": "5ms"},
        seed="a word", until="3h", weather=Weather(lost=frozenset({"x"})), folder=str(folder))
    plan.write("made.toml")
    assert Scenario.read(folder / "made.toml") == plan
    assert Scenario.read(folder / "shop.toml").text() == Scenario.parse(
        Scenario.read(folder / "shop.toml").text(), folder=str(folder)).text()


TICK = """
import time

print("begins at", time.time())
for _ in range(3):
    time.sleep(10)
    print("it is", time.monotonic())
"""

SLEEPY = """
[hosts.a]
clock = "1970-01-01"
run = [{ run = "tick.py", at_boot = true }]

[[at]]
time = "15s"
do = "a.suspend"
[[at]]
time = "65s"
do = "a.resume"
[[at]]
time = "71s"
do = "tick.py@a.pause"
[[at]]
time = "86s"
do = "tick.py@a.resume"
"""


def test_a_setting_of_several_numbers_is_a_list_in_a_file_and_a_tuple_for_the_stack() -> None:
    plan = Scenario.parse("[hosts.a]\nsettings = { ip_local_port_range = [50000, 50003] }")
    again = Scenario.parse(plan.text())
    for one in (plan, again):
        with one.network() as net:
            assert net.hosts["a"].sysctl["net.ipv4.ip_local_port_range"] == (50000, 50003)


def test_hosts_and_programs_sleep_and_clocks_are_set_in_a_scenario_file(
    folder: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    Path("tick.py").write_text(TICK)
    Path("sleepy.toml").write_text(SLEEPY)
    assert main(["run", "sleepy.toml"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == ["a| begins at 0.0", "a| it is 10.0", "a| it is 20.0", "a| it is 36.0"]
    assert "1min 26s" in told.err or "86s" in told.err


def test_a_host_is_rebooted_from_the_command_line_and_a_script_at_boot_begins_anew(
    folder: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    Path("tick.py").write_text("if 'kept' in globals():\n    print('memory!')\nkept = True\n" + TICK)
    Path("boot.toml").write_text('[hosts.a]\nrun = [{ run = "tick.py", at_boot = true }]\n[hosts.b]\nrun = "tick.py"\n')
    assert main(["run", "boot.toml", "--at", "15s a.reboot after=2s", "--at", "16s a.set_clock to=+1h"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("a| ")]
    assert lines[:3] == ["a| begins at 1767225600.0", "a| it is 10.0", "a| begins at 1767229217.0"]
    assert main(["run", "boot.toml", "--at", "15s a.reboot later=2s"]) == 2
    assert "a.reboot: got an unexpected keyword argument 'later'" in capsys.readouterr().err


NAMES = """
[hosts.a]
run = "look.py"
resolver = { delay = "1s" }
[hosts.b]
[hosts.c]

[[links]]
between = ["a", "b"]
[[links]]
between = ["a", "c"]

[names]
db = "b"
both = { addresses = ["b", "c"], order = "ipv6" }

[[at]]
time = "5s"
do = "net.name"
name = "db"
addresses = ["c"]
[[at]]
time = "15s"
do = "a.set_resolver"
failure = "SERVFAIL"
"""

LOOK = """
import socket
import time

for _ in range(3):
    for name in ("db", "both"):
        try:
            found = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
            print(time.monotonic(), name, [info[4][0] for info in found])
        except OSError as error:
            print(time.monotonic(), name, error.strerror)
    time.sleep(8)
"""


def test_names_and_resolvers_of_a_scenario_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("look.py").write_text(LOOK)
    Path("names.toml").write_text(NAMES)
    assert main(["run", "names.toml"]) == 0
    both = "['fd00::2', 'fd00:0:0:1::2', '10.0.0.2', '10.0.1.2']"
    assert capsys.readouterr().out.splitlines() == [
        "a| 1.0 db ['10.0.0.2', 'fd00::2']", f"a| 2.0 both {both}",
        "a| 11.0 db ['10.0.1.2', 'fd00:0:0:1::2']", f"a| 12.0 both {both}",
        "a| 20.0 db Temporary failure in name resolution", "a| 20.0 both Temporary failure in name resolution",
    ]


def test_what_a_host_is_like_may_be_said_on_the_command_line(
    folder: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    Path("tick.py").write_text(TICK)
    command = ["run", "a=tick.py", "--host", "a,clock=1970-01-01,drift=-10%,tcp_syncookies=always",
               "--host", "b,nofile=9"]
    assert main(command) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == ["a| begins at 0.0", "a| it is 10.0", "a| it is 20.0", "a| it is 30.0"]
    assert "seed 0, 33.33s of virtual time" in told.err
    assert main([*command, "--save", "made.toml"]) == 0
    plan = Scenario.read("made.toml")
    assert plan.hosts["a"].settings == {"tcp_syncookies": "always"}
    assert plan.hosts["a"].options == {"clock": "1970-01-01", "drift": "-10%"}
    assert plan.hosts["b"].options == {"nofile": 9}


def test_what_a_scenario_does_to_hosts_are_faults_with_names(folder: Path) -> None:
    Path("tick.py").write_text(TICK)
    Path("sleepy.toml").write_text(SLEEPY)
    plan = Scenario.read("sleepy.toml")
    with plan.network() as net:
        assert net.faults == ["15s a.suspend", "65s a.resume", "71s tick.py@a.pause", "86s tick.py@a.resume"]


@pytest.mark.parametrize(("option", "said"), [
    ("--until=-1s", "--until: '-1s' is negative"), ("--until=soon", "--until: cannot read 'soon'"),
    ("--save=nowhere/x.toml", "--save: cannot write 'nowhere/x.toml': No such file or directory\n"),
    ("--pcap=nowhere/x.pcapng", "--pcap: cannot write 'nowhere/x.pcapng': No such file or directory\n"),
    ("--report=nowhere/x.html", "--report: cannot write 'nowhere/x.html': No such file or directory\n"),
    pytest.param("--save=/dev/full", "--save: cannot write '/dev/full': No space left on device\n",
                 marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")),
])
def test_an_option_that_cannot_be_carried_out_is_said_before_anything_runs(
    option: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    Path("tick.py").write_text(TICK)
    assert main(["run", "a=tick.py", option]) == (1 if "write" in said else 2)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"estab: {said}")
    assert told.err.count("\n") == 1


def test_the_command_line_saves_what_it_would_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "server=app.py 1", "client=load.py", "--link", "server,client,delay=20ms", "--at",
               "5s server-client.cut", "--until", "10s"]
    assert main([*command, "--save", "saved.toml"]) == 0
    saved = Scenario.read("saved.toml")
    assert saved.links == (LinkPlan(("server", "client"), "", {"delay": "20ms"}),)
    assert saved.actions == (Action("5s", "server-client.cut"),)
    capsys.readouterr()
    assert main(command) == 0
    direct = capsys.readouterr().out
    assert main(["run", "saved.toml"]) == 0
    assert capsys.readouterr().out == direct


def test_the_command_line_takes_distributions_and_several_hosts(
    folder: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["run", "server=app.py 1", "client=load.py", "spare=load.py", "--link",
               "server,client,loss=2% in bursts of 5,jitter=3ms normal reorder,aqm=fq", "--link", "client,spare",
               "--at", "5s server-client.cut sender=server", "--at", "6s net.partition a=server b=client,spare"]
    assert main([*command, "--save", "saved.toml"]) == 0
    saved = Scenario.read("saved.toml")
    assert saved.links[0].properties == {"loss": "2% in bursts of 5", "jitter": "3ms normal reorder", "aqm": "fq"}
    assert saved.actions == (Action("5s", "server-client.cut", {"sender": "server"}),
                             Action("6s", "net.partition", {"a": "server", "b": ["client", "spare"]}))
    assert main([*command[:-1], "6s net.partition a"]) == 2
    assert "'a' is no property" in capsys.readouterr().err


def test_a_scenario_from_python_is_one_for_a_network_and_for_a_sweep(folder: Path) -> None:
    plan = Scenario.read("shop.toml")
    with plan.network() as net:
        assert sorted(net.hosts) == ["client", "middle", "server"]
        net.run(until="1s")
    with estab.Network(3) as net:
        plan(net)
        net.check()


def test_a_program_that_raises_and_one_that_waits_for_ever_are_told(
    folder: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    Path("bad.py").write_text("import sys\nprint('so far')\nint('x')\n")
    assert main(["run", "server=bad.py"]) == 1
    said = capsys.readouterr()
    assert said.out == "server| so far\n"
    assert 'File "bad.py", line 3' in said.err
    assert "estab: bad.py on host server: ValueError" in said.err
    assert "src/estab" not in said.err
    deaf = "import socket\nwith socket.create_connection(('server', 8000)) as end:\n    end.recv(1)\n"
    Path("deaf.py").write_text(deaf)
    assert main(["run", "server=app.py 1", "client=deaf.py"]) == 1
    told = capsys.readouterr().err
    assert "app.py on server waits for recv()" in told
    assert "deaf.py on client waits for recv()" in told


def test_pages_and_captures_of_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "server=app.py 1", "client=load.py", "--pcap", "run.pcapng", "--report", "run.html", "--ladder"]
    assert main(command) == 0
    assert Path("run.pcapng").stat().st_size > 500
    assert "<html" in Path("run.html").read_text()
    assert "ESTABLISHED" in capsys.readouterr().out
    assert main([*command[:3], "--pcap", "server.pcapng", "--seen-by", "server"]) == 0
    assert b"as host server saw it" in Path("server.pcapng").read_bytes()
    assert main([*command[:3], "--pcap", "absent/run.pcapng"]) == 1
    assert "--pcap: cannot write 'absent/run.pcapng'" in capsys.readouterr().err


@pytest.mark.parametrize(("change", "line", "said"), [
    (("[\"server\", \"middle\"]", "[\"servr\", \"middle\"]"), 13, "no host 'servr'; did you mean server?"),
    (("do = \"wifi.cut\"", "do = \"wif.cut\""), 22, "no link or host 'wif'; did you mean wifi?"),
    (("do = \"wifi.cut\"", "do = \"wifi.cutt\""), 22, "no action 'cutt'; did you mean cut?"),
    (("do = \"wifi.cut\"", "do = \"cut\""), 22, "names no action"),
    (("wifi.cut", "app.py@serve.pause"), 22, "there is no program 'app.py@serve'; did you mean app.py@server?"),
    (("wifi.cut", "server.reboots"), 22, "there is no action 'reboots'; did you mean reboot?"),
    (("wifi.cut", "server.set_clock"), 22, "at: server.set_clock: missing a required argument: 'to'"),
    (("router = true", "resolver = { dely = 1 }"), 10, "resolver: got an unexpected keyword argument 'dely'"),
    (("until = ", "names = 3\nuntil = "), 3, "names: 3 is not a table"),
    (("wifi.cut", "net.partition"), 22, "at: net.partition: missing a required argument: 'a'"),
    (("wifi.cut\"", "net.partition\"\na = \"servr\"\nb = \"client\""), 23, "no host 'servr'; did you mean server?"),
    (("wifi.cut", "net.cut"), 22, "no action 'cut'"),
    (("router = true", "ruter = true"), 10, "hosts.middle has no 'ruter'; did you mean router?"),
    (("time = \"1ms\"", "time = \"soon\""), 21, "'soon'"),
    (("until = \"10m\"", "until = \"ever\""), 3, "'ever'"),
    (("seed = 7", "seed = 7.5"), 2, "neither a number nor a text"),
    (("seed = 7", "seeds = 7"), 2, "a scenario has no 'seeds'; did you mean seed?"),
    (("[hosts.client]\n", "[[links]]\nbetwen = []\n[hosts.client]\n"), 0, "between"),
])
def test_a_mistake_in_a_file_is_told_with_its_line(
    folder: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], line: int, said: str,
) -> None:
    assert change[0] in TOML
    Path("wrong.toml").write_text(TOML.replace(*change, 1))
    with pytest.raises(ScenarioError) as error:
        Scenario.read("wrong.toml")
    assert said in str(error.value)
    if line:
        assert str(error.value).startswith(f"wrong.toml:{line}:")
    assert main(["run", "wrong.toml"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("estab: wrong.toml")
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize(("change", "line", "said"), [
    (("delay = \"20ms\"", "delay = \"20ms\"\nloss = \"120%\""), 15, "loss: '120%' is more than 100%"),
    (("name = \"wifi\"", "name = \"wifi\"\nlossy = \"1%\""), 18, "a link has no property 'lossy'; did you mean loss?"),
    (("router = true", "settings = { tcp_sincookies = 1 }"), 10, "did you mean tcp_syncookies?"),
    (("load.py", "lod.py"), 8, "hosts.client: run: there is no file lod.py"),
])
def test_what_the_network_refuses_is_told_with_its_line(
    folder: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], line: int, said: str,
) -> None:
    assert change[0] in TOML
    Path("wrong.toml").write_text(TOML.replace(*change, 1))
    assert main(["run", "wrong.toml"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"estab: wrong.toml:{line}: ")
    assert said in told
    assert len(told.splitlines()) == 1


def test_a_function_is_found_in_the_folder_where_the_command_or_the_file_is(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "found_here.py").write_text("def serve():\n    print('served')\n")
    (folder / "deep" / "found_there.py").write_text("def serve():\n    print('served')\n")
    (folder / "deep" / "a.toml").write_text('[hosts.a]\nrun = "found_there:serve"\n')
    for words in (["a=found_here:serve"], ["deep/a.toml"]):
        # the script of a virtual environment has its own folder on its path, not the current one
        done = subprocess.run([sys.executable, "-P", "-m", "estab", "run", *words], capture_output=True, text=True,
                              check=False)
        assert (done.returncode, done.stdout) == (0, "served\n"), done.stderr


def test_a_script_s_output_takes_bytes_as_any_does(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "raw.py").write_text("import sys\nsys.stdout.reconfigure(line_buffering=True)\n"
                                   "sys.stdout.buffer.write(b'by')\nsys.stdout.buffer.write(b'tes\\nmore\\n')\n"
                                   "assert sys.stdout.fileno() >= 0\n")
    assert main(["run", "a=raw.py"]) == 0
    assert capfd.readouterr().out == "a| bytes\na| more\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_output_that_is_full_or_closed_is_the_command_s_failure_and_not_the_program_s(folder: Path) -> None:
    (folder / "talk.py").write_text("for number in range(9):\n    print(number, flush=True)\n")
    command = [sys.executable, "-m", "estab", "run", "a=talk.py"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "estab: cannot write to standard output: No space left on device\n")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(60) == 141
        assert process.stderr.read() == ""


@pytest.mark.parametrize(("arguments", "said"), [
    ([], "nothing to run"), (["server"], "write HOST=PROGRAM"), (["server=absent.py"], "there is no file absent.py"),
    (["server=app"], "neither a script"), (["server=json:absent"], "absent"), (["absent.toml"], "No such file"),
    (["a=app.py", "--at", "5s a.explode"], "estab: --at '5s a.explode': there is no action 'explode'; there are"),
    (["a=my app.py 2"], """'my app.py 2': a file's name with spaces stands in quotes: "'my app.py' 2\""""),
    (["a=app.py", "--link", "a"], "write two hosts first"), (["a=app.py", "--link", "a,b,delay"], "is no property"),
    (["a=app.py", "--link", "a,b,latency=1ms"], "no property 'latency'"), (["a=app.py", "--at", "5s"], "write a time"),
    (["shop.toml", "--host", "a,nofile=9"], "give it alone"), (["a=app.py", "--host", "a"], "write a host first"),
    (["a=app.py", "--host", "a,nofile"], "'nofile' is no property"),
    (["a=app.py", "--host", "a,nofile=2"], "hosts.a: nofile: 2 is less than the 3 standard streams"),
    (["a=app.py", "--host", "a,tcp_sincookies=1"], "did you mean tcp_syncookies?"),
    (["shop.toml", "--link", "a,b"], "give it alone"), (["shop.toml", "--seen-by", "server"], "give that, too"),
    (["shop.toml", "--pcap", "x.pcapng", "--seen-by", "sever"], "there is no host 'sever', only server, client"),
])
def test_a_command_that_can_not_be_carried_out_is_told_in_a_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str,
) -> None:
    Path("my app.py").touch()
    assert main(["run", *arguments]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert len(told.err.splitlines()) == 1
    assert told.out == ""


def test_the_page_about_scenarios_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "scenarios.md").read_text(encoding="utf-8")
    scripts = re.findall(r"```py\n(.*?)```", page, re.S)
    command = re.findall(r"```sh\nestab (.*?)\n```", page, re.S)[0]
    printed = re.findall(r"```text\n(.*?)```", page, re.S)[0]
    toml = re.findall(r"```toml\n(.*?)```", page, re.S)[0]
    monkeypatch.chdir(tmp_path)
    for name, text in zip(("app.py", "load.py"), scripts, strict=True):
        Path(name).write_text(text)
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out == printed
    Path("shop.toml").write_text(toml)
    assert main(["run", "shop.toml"]) == 0
    assert "client| answer ok at 2." in capsys.readouterr().out, "the first SYN, a second after the start, was lost"


def test_run_says_why_a_call_failed_and_which_host_is_only_an_end_of_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ask.py").write_text("import urllib.request\nurllib.request.urlopen('http://srever/')\n")
    Path("connect.py").write_text("import socket\nsocket.create_connection(('server', 80))\n")
    assert main(["run", "client=ask.py", "--link", "client,server"]) == 1
    said = capsys.readouterr().err
    assert "estab: host server is only named in --link: it runs no program, and forwards nothing" in said
    assert "\n  'srever' is no name that host client can look up\n" in said
    assert main(["run", "client=connect.py", "server=ask.py"]) == 1
    said = capsys.readouterr().err
    assert "only named in --link" not in said
    assert main(["run", "client=connect.py", "server=connect.py"]) == 1
    said = capsys.readouterr().err
    assert "\n  connection refused: " in said
    assert "in program" not in said
