"""The plugin beside what else suites have: fixtures that fail, ``TestCase``, logs, time-outs, exits."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import estab
from estab.events import CallReturned
from estab.trial.compare import first_difference
from tests.trial.test_in_pytest import run, suite

__all__ = ["suite"]

pytest_plugins = ["pytester"]


def section(result: pytest.RunResult) -> list[str]:
    """Return the lines of the section that the plugin adds to a report."""
    lines = result.outlines
    begin = next(number for number, line in enumerate(lines) if line.strip("-") == " estab ")
    return lines[begin + 1 :]


FAILS = "    raise ValueError('in a fixture')"


@pytest.mark.parametrize(("place", "text"), [("setup", f"{FAILS}\n    yield"), ("teardown", f"    yield\n{FAILS}")],
                         ids=["setup", "teardown"])
def test_a_fixture_that_fails_is_told_with_seed_and_waits(suite: pytest.Pytester, place: str, text: str) -> None:
    suite.makepyfile(f"""
import socket
import pytest

@pytest.fixture
def shop(net):
    with_server = net.host("a")
    @with_server.run
    def serve():
        socket.create_server(("", 80)).accept()
    net.run(until="1s")
{text}

def test_it(net, shop):
    pass
""")
    result = run(suite)
    result.assert_outcomes(errors=1, passed=int(place == "teardown"))
    told = section(result)
    assert told[0].endswith("ValueError: in a fixture")
    assert (place == "teardown") != any("serve on a waits" in line for line in told)  # by then the run is over
    assert any(f"it failed in the {place} of a fixture" in line for line in told)
    assert any("--estab-seed=" in line for line in told)


CALLED_BY_OTHERS = {
    "a TestCase": """
class Test(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def take(self, net):
        self.net = net

    def test_it(self):
        body(self.net)
""",
    "by name": """
def test_it(request):
    body(request.getfixturevalue("net"))
""",
}


@pytest.mark.parametrize("test", CALLED_BY_OTHERS.values(), ids=CALLED_BY_OTHERS.keys())
def test_a_test_that_the_plugin_does_not_call_is_told_with_its_seed(suite: pytest.Pytester, test: str) -> None:
    suite.makepyfile(f"""
import unittest
import pytest

def body(net):
    assert net.seed < 0
{test}""")
    result = run(suite)
    result.assert_outcomes(failed=1)
    told = section(result)
    assert told[0].startswith("seed ")
    assert any("--estab-seed=" in line for line in told)


def test_how_the_run_of_such_a_test_ended_is_checked(suite: pytest.Pytester) -> None:
    suite.makepyfile(f"""
import unittest
import pytest
import estab

def body(net):
    net.host("a")
    @net.host("b").run
    def program():
        pass
{CALLED_BY_OTHERS["a TestCase"]}""")
    result = run(suite)
    result.assert_outcomes(passed=1, errors=1)
    assert any("was never run" in line or "forgot" in line or "not run" in line for line in result.outlines)


@pytest.mark.parametrize("sweep", ["", "@estab.sweep(seeds=5)"], ids=["one run", "a sweep"])
def test_what_is_shown_as_printed_and_logged_is_of_the_run_that_failed(suite: pytest.Pytester, sweep: str) -> None:
    suite.makepyfile(f"""
import logging
import time
import estab

{sweep}
def test_talk(net):
    print(f"<printed by {{net.seed}}>")
    logging.getLogger("app").warning("<logged by %s>", net.seed)
    net.host("a").run(time.sleep, 1)
    net.run()
    assert net.seed in (0, 1, 2)
""")
    result = run(suite, *([] if sweep else ["--estab-seed=3"]))
    result.assert_outcomes(failed=1)
    assert [line for line in result.outlines if line.startswith("<printed by")] == ["<printed by 3>"]
    logged = [line for line in result.outlines if line.startswith("WARNING") and "<logged by" in line]
    assert [line.partition("<")[2] for line in logged] == ["logged by 3>"]


def test_a_run_that_a_time_out_stopped_is_not_run_again(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
import signal
import pytest

def test_it(net):
    def on_alarm(number, frame):
        pytest.fail("Timeout")

    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.3)

    def compute():
        open("began", "a").write("x")
        while True:
            sum(range(1000))

    net.host("a").run(compute)
    net.run()
""")
    result = run(suite)
    result.assert_outcomes(failed=1)
    assert (suite.path / "began").read_text() == "x"
    assert any("the handler of SIGALRM stopped this run in real time, so it was not run again" in line
               for line in section(result))


def test_an_exit_is_a_failure_and_one_of_pytest_s_ends_the_session(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
import sys
import pytest

def test_exits(net):
    net.host("a").run(print)
    net.run()
    sys.exit("the disk is full")

def test_ends(net):
    pytest.exit("enough")

def test_later(net):
    pass
""")
    result = run(suite)
    result.assert_outcomes(failed=1)
    assert any("the disk is full" in line for line in section(result))
    assert any("enough" in line for line in result.outlines)


def test_a_fixture_that_comes_by_itself_and_works_on_net_is_shared_too(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
import pytest
import estab

@pytest.fixture(autouse=True)
def shop(net):
    net.host("server")

@pytest.fixture(autouse=True)
def other():
    pass

def test_once(net):
    assert net.seed < 0

@estab.sweep(seeds=3)
def test_many(net):
    pass
""")
    result = run(suite)
    result.assert_outcomes(failed=2)
    assert any("the fixture shop would be shared with that run" in line for line in result.outlines)
    assert not any("the fixture other" in line for line in result.outlines)


LOGGING = """
import logging
import sys

logging.basicConfig(format="by the root: %(message)s")
logging.getLogger("app").addHandler(logging.StreamHandler(sys.stdout))

def talk(net):
    logging.getLogger("app").error("seed %s", net.seed)
    assert net.seed != 2
"""


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_sweep_keeps_apart_what_loggers_write_that_were_set_up_at_import(tmp_path: Path, jobs: str) -> None:
    (tmp_path / "talk.py").write_text(LOGGING)
    command = [sys.executable, "-m", "estab", "sweep", "talk.py::talk", "--seeds", "4", "--jobs", jobs, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    group, = json.loads(done.stdout)["groups"]
    assert (tmp_path / group["kept"] / "output.txt").read_text() == "seed 2\nby the root: seed 2\n"


def test_what_the_run_raised_is_not_raised_by_the_check_again() -> None:
    def program() -> None:
        raise RuntimeError("its own")

    with estab.Network() as net:
        net.host("a").run(program)
        with pytest.raises(RuntimeError, match="its own"):
            net.run()
        net.check()


def test_a_program_that_stands_in_real_time_is_not_told_as_one_about_to_run() -> None:
    lock = threading.Lock()
    with lock, estab.Network() as net:
        net.host("a").run(lock.acquire)
        with pytest.raises(estab.DeadlockError):
            net.run()
        assert net.waiting() == ["acquire on a runs"]


def test_ports_in_addresses_that_programs_print_are_no_difference() -> None:
    facts = [[CallReturned(at_ns=0, host="a", call=1, fd=3, name="accept",
                           result=f"(4, ('10.0.0.1', {port}))", error="")]
             for port in (40_001, 51_234)]
    assert first_difference(*facts) is None
