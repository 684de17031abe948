"""The plugin, seen from outside: small suites are run by a pytest of their own."""

from __future__ import annotations

import os
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

LOSSY = """
import socket

import estab


def shop(net, loss="12%"):
    server, phone = net.host("server"), net.host("phone")
    net.link(server, phone, delay="20ms", loss=loss, jitter="3ms", name="wifi")

    @server.run
    def serve():
        with socket.create_server(("", 80)) as listener:
            for _ in range(3):
                accepted, _ = listener.accept()
                with accepted:
                    accepted.settimeout(60)
                    accepted.recv(100)
                    accepted.sendall(b"x" * 20_000)

    @phone.run
    def order():
        for _ in range(3):
            with socket.create_connection(("server", 80), timeout=2) as end:
                end.sendall(b"order")
                while end.recv(4096):
                    pass

    net.run()
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder for a suite, in which the plugin under test is the only one that knows networks."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("ESTAB_CORE", raising=False)
    monkeypatch.setenv("COLUMNS", "240")
    for name in ("CI", "BUILD_NUMBER"):  # with one of these, pytest's summary repeats each message whole
        monkeypatch.delenv(name, raising=False)
    source = Path(sys.modules["estab"].__file__ or "").parent.parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(source), *filter(None, [os.environ.get("PYTHONPATH", "")])]))
    pytester.makeini("[pytest]\n")
    return pytester


def run(suite: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return suite.runpytest_subprocess("-p", "estab.pytest_plugin", "-p", "no:cacheprovider", *arguments)


def test_net_is_one_run_with_a_seed_that_follows_from_the_tests_name(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        def test_one(net):
            host = net.host("a")
            program = host.run(lambda: 7)
            net.run()
            assert program.result() == 7
            print("SEED", net.seed)

        def test_two(net):
            print("SEED", net.seed)
    """)
    seeds = []
    for arguments in (["-s"], ["-s", "-k", "two"], ["-s", "--estab-seed=9"]):
        result = run(suite, *arguments)
        result.assert_outcomes(passed=1 if "-k" in arguments else 2)
        seeds.append([int(line.rpartition(" ")[2]) for line in result.outlines if "SEED" in line])
    assert seeds[0][0] != seeds[0][1]
    assert seeds[1] == seeds[0][1:]
    assert seeds[2] == [9, 9]


def test_a_failing_sweep_says_the_seed_the_weather_the_waits_and_the_line_to_paste(suite: pytest.Pytester) -> None:
    suite.makepyfile(LOSSY + """

@estab.sweep(seeds=50)
def test_orders_arrive(net):
    shop(net)
""")
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines([
        r"-+ estab -+",
        r"seed \d+ \(\d+ passed before\), at .*: TimeoutError: timed out",
        r"enough for it:",
        r"  (phone|server).*, connection \d: .* transmission, lost",
        r"  \(\d+ events shrunk to \d+ in \d+ runs, .*\)",
        r"the last that happened:",
        r"beside seed \d+, which passed:",
        r"again:  pytest '.*::test_orders_arrive' --estab-seed=\d+",
        r"kept:   \.estab/test_orders_arrive-\d+",
        r"FAILED .*::test_orders_arrive - seed \d+ \(\d+ passed before\): TimeoutError: timed out",
    ], consecutive=False)
    seed = next(line for line in result.outlines if "again:" in line).rpartition("=")[2]
    folder = suite.path / ".estab" / f"test_orders_arrive-{seed}"
    kinds = {"report.txt", "scenario.toml", "facts.jsonl", "run.html", "run.pcapng"}
    assert {path.name for path in folder.iterdir()} >= kinds
    kept = tomllib.loads((folder / "scenario.toml").read_text())
    assert kept["seed"] == int(seed)
    # What is kept is enough for a regression test without chance, by copy and paste ...
    suite.makepyfile(test_regression=LOSSY + f"""

def test_regression():
    with estab.Network(seed={seed}, weather={kept["weather"]!r}) as net:
        shop(net)

def test_from_the_file():
    with estab.Network(seed={seed}, weather={str(folder / "scenario.toml")!r}) as net:
        shop(net)
""")
    run(suite, "test_regression.py").assert_outcomes(failed=2)
    # ... and the line replays it.
    again = run(suite, "-k", "orders", f"--estab-seed={seed}")
    again.assert_outcomes(failed=1)
    assert f"seed {seed}: TimeoutError: timed out" in again.stdout.str()


def test_who_waits_for_what_is_told_with_the_sockets_state(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        import socket

        def test_both_wait(net):
            server, phone = net.host("server"), net.host("phone")
            net.link(server, phone, delay="20ms")

            @server.run
            def serve():
                with socket.create_server(("", 80)) as listener:
                    accepted, _ = listener.accept()
                    with accepted:
                        accepted.sendall(b"hello")
                        accepted.recv(100)

            @phone.run
            def ask():
                with socket.create_connection(("server", 80)) as end:
                    end.recv(1, socket.MSG_PEEK)
                    end.recv(100, socket.MSG_WAITALL)

            net.run()
    """)
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines([
        r"enough for it:", r"  no weather at all: it fails on calm links too", r"at the end:",
        r"  serve on server waits for recv\(\) on .* since .* \(ESTAB, 0 unread, 0 unacknowledged\)",
        r"  ask on phone waits for recv\(\) on .* since .* \(ESTAB, 0 unread, 0 unacknowledged\)",
        r"the last that happened:",
    ], consecutive=False)
    assert "src/estab" not in result.stdout.str(), "no frame of estab's own in the traceback"


def test_minimal_weather_is_minimal(suite: pytest.Pytester) -> None:
    """Each event of it is needed: without any one of them the scenario passes, or fails in another way."""
    sys.path.insert(0, str(suite.path))
    suite.makepyfile(shop=LOSSY)
    try:
        from shop import shop  # type: ignore[import-not-found]

        from estab.lab.links.weather import Weather
        from estab.trial.attempt import attempt
        from estab.trial.shrink import minimal_weather
        failed = next(made for seed in range(60) if (made := attempt(shop, seed, logs_chance=True)).is_failure)
        found = minimal_weather(shop, failed, runs_max=5000, seconds_max=120)
        assert found.is_minimal
        assert found.weather is not None
        events = found.weather.happenings()
        assert 0 < len(events) < found.before
        again = attempt(shop, failed.seed, weather=found.weather)
        assert again.signature == failed.signature
        for event in events:
            less = attempt(shop, failed.seed, weather=Weather.of(one for one in events if one != event))
            assert not less.is_failure or less.signature != failed.signature
    finally:
        sys.path.remove(str(suite.path))
        sys.modules.pop("shop", None)


def test_a_program_that_raised_and_was_not_asked_fails_the_test(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        def test_unasked(net):
            net.host("a").run(lambda: 1 / 0)
            net.run(check=False)

        def test_asked(net):
            program = net.host("a").run(lambda: 1 / 0)
            net.run(check=False)
            assert isinstance(program.exception(), ZeroDivisionError)
    """)
    result = run(suite)
    result.assert_outcomes(passed=1, failed=1)
    assert "test_unasked - seed" in result.stdout.str()


def test_a_sweep_refuses_a_fixture_that_its_runs_would_share(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        import pytest

        import estab

        @pytest.fixture
        def basket():
            return []

        @estab.sweep(seeds=3)
        def test_it(net, basket):
            pass

        @pytest.fixture(scope="module")
        def shared():
            return 1

        @pytest.mark.parametrize("size", [1, 2])
        @estab.sweep(seeds=3)
        def test_that(net, shared, size):
            pass
    """)
    result = run(suite)
    result.assert_outcomes(passed=2, failed=1)
    assert "the fixture basket is made once for all of them" in result.stdout.str()


def test_one_run_with_a_shared_fixture_says_why_it_was_not_shrunk(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        def test_it(net, tmp_path):
            assert tmp_path is None, "no"
    """)
    result = run(suite)
    result.assert_outcomes(failed=1)
    assert "the fixture tmp_path would be shared with that run" in result.stdout.str()


def test_options_override_a_sweep(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        import estab

        seeds = []

        @estab.sweep(seeds=200)
        def test_it(net):
            seeds.append(net.seed)

        def test_count():
            print("COUNT", len(seeds), seeds[0])
    """)
    assert "COUNT 200 0" in run(suite, "-s").stdout.str()
    assert "COUNT 7 0" in run(suite, "-s", "--estab-seeds=7").stdout.str()
    assert "COUNT 1 33" in run(suite, "-s", "--estab-seed=33").stdout.str()
    result = run(suite, "-s", "--estab-seconds=0.2")
    count = int(next(line for line in result.outlines if "COUNT" in line).partition("COUNT")[2].split()[0])
    assert count != 200


def test_check_finds_what_follows_neither_seed_nor_clock(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        import itertools, time

        numbers = itertools.count()

        def test_it(net):
            a, b = net.host("a"), net.host("b")
            net.link(a, b)
            count = next(numbers)

            @a.run
            def send():
                import socket
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
                    end.sendto(bytes(count), ("b", 9))

            net.run()

        def test_fine(net):
            net.host("a").run(lambda: time.sleep(1))
            net.run()
    """)
    run(suite).assert_outcomes(passed=2)
    result = run(suite, "--estab-check")
    result.assert_outcomes(passed=1, failed=1)
    text = result.stdout.str()
    assert "gave two different runs" in text
    assert "During handling of the above exception" not in text
    assert text.count("facts are the same; then") == 1


def test_sometimes_that_never_held_fails_its_sweep(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        import estab

        @estab.sweep(seeds=5)
        def test_never(net):
            net.sometimes(lambda: False, "a retransmission")
            net.host("a").run(lambda: None)
            net.run()

        @estab.sweep(seeds=5)
        def test_once(net):
            net.sometimes(lambda: net.seed == 3, "seed three")
            net.host("a").run(lambda: None)
            net.run()
    """)
    result = run(suite)
    result.assert_outcomes(passed=1, failed=1)
    assert "sometimes: 'a retransmission' never held in 5 seeds" in result.stdout.str()


@pytest.mark.parametrize(("body", "sentence"), [
    ("async def test_it(net): pass", "a test with the fixture net is an ordinary function"),
    ("import estab\n@estab.sweep(seeds=2)\ndef test_it(): pass", "is for tests that take the fixture net"),
    ("import estab, unittest\nclass Test(unittest.TestCase):\n @estab.sweep(seeds=2)\n def test_it(self, net): pass",
     "a method of unittest.TestCase gets no network from @estab.sweep; in the test, call estab.sweep(seeds=200).run("),
])
def test_what_is_written_wrongly_is_said(suite: pytest.Pytester, body: str, sentence: str) -> None:
    suite.makepyfile(body)
    result = run(suite)
    result.assert_outcomes(failed=1)
    assert sentence in result.stdout.str()


def test_a_skip_is_a_skip(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        import estab, pytest

        def test_one(net):
            pytest.skip("not here")

        @estab.sweep(seeds=2)
        def test_two(net):
            pytest.skip("not here")
    """)
    run(suite).assert_outcomes(skipped=2)


def test_it_goes_with_xdist_and_the_seed_is_the_same_there(suite: pytest.Pytester) -> None:
    suite.makepyfile(LOSSY + """

@estab.sweep(seeds=50)
def test_orders_arrive(net):
    shop(net)

def test_one(net):
    assert net.seed == 0, f"SEED {net.seed}"
""")
    alone = run(suite)
    shared = suite.runpytest_subprocess("-p", "estab.pytest_plugin", "-p", "xdist", "-n", "2")
    for result in (alone, shared):
        result.assert_outcomes(failed=2)
    lines = [sorted(line for line in result.outlines if line.startswith(("again:", "FAILED")))
             for result in (alone, shared)]
    assert lines[0] == lines[1]


def test_two_tests_of_one_name_and_seed_keep_a_folder_each(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_one="def test_it(net): assert not 1", test_two="def test_it(net): assert not 2")
    for _ in range(2):
        run(suite, "--estab-seed=5").assert_outcomes(failed=2)
    tests = {tomllib.loads((folder / "scenario.toml").read_text())["failed"]["test"]
             for folder in (suite.path / ".estab").iterdir() if folder.is_dir()}
    assert tests == {"test_one.py::test_it", "test_two.py::test_it"}
    assert len(list((suite.path / ".estab").iterdir())) == 3, "two folders, and a .gitignore"


def test_a_report_is_kept_where_the_locale_has_no_arrows(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("LC_ALL", "C"), ("PYTHONCOERCECLOCALE", "0"), ("PYTHONUTF8", "0")):
        monkeypatch.setenv(name, value)
    suite.makepyfile(LOSSY + """

def test_orders_arrive(net):
    shop(net, loss="90%")
""")
    result = run(suite, "--estab-seed=1")
    result.assert_outcomes(failed=1)
    assert "kept:" in result.stdout.str()
    [report] = (suite.path / ".estab").rglob("report.txt")
    assert "│" in report.read_text(encoding="utf-8")


def test_a_failure_that_cannot_be_kept_is_explained_all_the_same(suite: pytest.Pytester) -> None:
    suite.makepyfile(LOSSY + """

def test_orders_arrive(net):
    shop(net, loss="90%")
""")
    (suite.path / ".estab").write_text("a file where the folder would be")
    result = run(suite, "--estab-seed=1")
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines([
        "the last that happened:",
        r"kept:   nothing: .*/\.estab/test_orders_arrive-1 can't be written \(Not a directory\)",
    ], consecutive=False)


def test_the_line_to_paste_survives_a_quote_in_a_tests_name(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        import pytest

        @pytest.mark.parametrize("what", ["it's"])
        def test_it(net, what):
            assert not what
    """)
    result = run(suite)
    line = next(line for line in result.outlines if line.startswith("again:"))
    assert shlex.split(line)[2].endswith("::test_it[it's]")


def test_estabs_own_frames_are_left_out_where_the_test_made_its_network_itself(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
import estab


def raises(net):
    host = net.host("a")
    host.run(lambda: 1 / 0)
    net.run()


def test_checked():
    with estab.checked(seed=3) as net:
        raises(net)


def test_own():
    with estab.Network(weather={}) as net:
        raises(net)
""")
    result = run(suite)
    result.assert_outcomes(failed=2)
    assert "ZeroDivisionError" in result.stdout.str()
    assert "in raises" in result.stdout.str() or "def raises" in result.stdout.str()
    assert "estab/lab" not in result.stdout.str()
    assert "estab/trial" not in result.stdout.str()


def test_a_mistake_before_anything_happened_is_not_called_a_failure_on_calm_links(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_typo="""
def test_typo(net):
    net.hots("a")
""")
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["no program had begun, and no frame was sent: the mistake is in what sets the network "
                                 "up, at test_typo.py:2"])
    assert "calm links" not in result.stdout.str()


def test_a_failure_at_a_programs_first_instant_is_not_called_one_before_the_run(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
def test_config(net):
    net.host("a").run(lambda: {}["config"])
    net.run()
""")
    text = run(suite).stdout.str()
    assert "KeyError: 'config'" in text
    assert "no program had begun" not in text
    assert "the last that happened" not in text  # nothing did
    assert "calm links" in text


def test_a_run_that_was_forgotten_names_no_line_of_estab(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
def test_no_run(net):
    net.host("a").run(lambda: None)
""")
    result = run(suite)
    result.stdout.fnmatch_lines(["no program had begun, and no frame was sent: the mistake is in what sets the network "
                                 "up"])
    assert "network.py" not in result.stdout.str()


@pytest.mark.parametrize(("option", "said"), [
    ("--estab-seeds=0", "0 is not a number of seeds, 1 at least"),
    ("--estab-seeds=-1", "-1 is not a number of seeds, 1 at least"),
    ("--estab-seconds=nan", "nan is no number of seconds, more than 0"),
    ("--estab-seconds=0", "0 is no number of seconds, more than 0"),
])
def test_options_that_would_run_no_seed_or_never_end_are_refused(
    suite: pytest.Pytester, option: str, said: str,
) -> None:
    suite.makepyfile("import estab\n@estab.sweep(seeds=2)\ndef test_it(net): net.run()")
    result = run(suite, option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str()


def test_an_exception_in_a_thread_fails_a_sweep(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
import threading, estab

@estab.sweep(seeds=2)
def test_it(net):
    def program():
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
    net.host("a").run(program)
    net.run()
""")
    result = run(suite)
    result.assert_outcomes(failed=1)
    assert "seed 0, at 0ns: ZeroDivisionError" in result.stdout.str()


def test_a_failing_sweep_shows_what_its_own_seed_printed(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
import estab

@estab.sweep(seeds=9)
def test_talk(net):
    net.host("a").run(lambda: print("printed by", net.seed))
    net.run()
    assert net.seed < 5
""")
    printed = [line for line in run(suite).outlines if line.startswith("printed by")]
    assert printed == ["printed by 5"]
    printed = [line for line in run(suite, "-s").outlines if line[:-1].endswith("printed by ")]
    assert len(printed) == 6  # what nothing captures is shown as it comes


def test_the_ladder_of_a_failure_ends_with_the_run_not_with_the_networks_end(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
import socket


def test_open(net):
    server, phone = net.host("server"), net.host("phone")
    net.link(server, phone, delay="20ms")

    @server.run(daemon=True)
    def serve():
        with socket.create_server(("", 80)) as listener:
            accepted, _ = listener.accept()
            accepted.recv(10)
            accepted.recv(10)

    @phone.run
    def order():
        end = socket.create_connection(("server", 80))
        end.sendall(b"x")
        raise ValueError("no more")

    net.run()
""")
    result = run(suite)
    result.assert_outcomes(failed=1)
    told = result.stdout.str()
    assert "sendall(b'x')" in told
    assert "close()" not in told
