"""The table of words: none of estab's own is missing, and each scene shows what it is said to show."""

from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from estab.cli.main import main
from estab.cli.scenes import SCENES, play, shown_by
from estab.counters import COUNTER_NAMES
from estab.errors import DropReason
from estab.explain.field import FIELD
from estab.explain.shown import SHOWN
from estab.explain.table import KINDS, UNWRITTEN, find, near, terms
from estab.host.sysctls import TABLE
from estab.sockets.socket import options
from estab.tcp.state import State

SOURCES = Path(__file__).resolve().parents[2] / "src" / "estab"


def names(kind: str) -> set[str]:
    return {name for of, name in terms() if of == kind}


def test_every_state_counter_sysctl_option_and_drop_is_explained() -> None:
    assert names("state") == {str(state) for state in State}
    assert names("counter") == set(COUNTER_NAMES)
    assert names("drop") == {reason.name for reason in DropReason}
    assert names("sysctl") == {row.name for row in TABLE}
    assert {text.partition(", ")[2] for text in options._NAMES.values()} - names("option") == set()


def test_every_errno_that_the_sources_raise_is_explained() -> None:
    raised = {name for path in SOURCES.rglob("*.py") if path.parent.name != "explain"
              for name in re.findall(r"\berrno\.(E[A-Z0-9]+)\b", path.read_text(encoding="utf-8"))}
    assert raised - names("errno") == set()
    assert [name for name in names("errno") if not hasattr(errno, name)] == []


def test_no_word_is_left_without_its_text() -> None:
    assert [key for key, term in terms().items() if UNWRITTEN in (term.what, term.causes) or not term.what] == []
    assert [key for key, term in terms().items() if not term.see and term.kind in ("counter", "drop", "sysctl")] == []


@pytest.mark.parametrize(("word", "name"), [
    ("ListenOverflows", "TcpExtListenOverflows"), ("TcpExtListenOverflows", "TcpExtListenOverflows"),
    ("tcp_retries2", "net.ipv4.tcp_retries2"), ("net/ipv4/tcp_retries2", "net.ipv4.tcp_retries2"),
    ("/proc/sys/net/ipv4/tcp_retries2", "net.ipv4.tcp_retries2"), ("close_wait", "CLOSE-WAIT"),
    ("etimedout", "ETIMEDOUT"), ("SO_LINGER", "SO_LINGER"), ("drop:TCP_CSUM", "TCP_CSUM"),
    ("TCP_FASTOPEN", "TCP_FASTOPEN"), ("tcp_fastopen", "net.ipv4.tcp_fastopen"),
])
def test_a_word_is_found_as_people_write_it(word: str, name: str) -> None:
    assert [term.name for term in find(word)] == [name]


@pytest.mark.parametrize(("said", "names"), [
    ("half-close", ["FIN-WAIT-2", "CLOSE-WAIT"]), ("Half Close", ["FIN-WAIT-2", "CLOSE-WAIT"]),
    ("Broken pipe", ["EPIPE"]), ("no route to host", ["EHOSTUNREACH"]), ("nagle", ["TCP_NODELAY", "TCP_CORK"]),
])
def test_a_word_of_the_field_and_an_error_message_give_what_explains_them(said: str, names: list[str]) -> None:
    assert [term.name for term in find(said)] == names


def test_each_word_of_the_field_leads_to_words_that_are_known_and_hides_none() -> None:
    known = {re.sub("[-_. ]", "", text.lower()) for term in terms().values() for text in (term.name, term.short)}
    for row in FIELD.strip().splitlines():
        said, _, names = row.partition(" | ")
        assert said.replace(" ", "") not in known
        assert [name for name in names.split() if not find(name)] == [], said


def test_the_words_of_a_phrase_need_no_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "connection", "refused"]) == 0
    assert capsys.readouterr().out.startswith("ECONNREFUSED  error of a call\n")


@pytest.mark.parametrize(("word", "like"), [
    ("ListenOverflow", "ListenOverflows"), ("tcp_retry2", "tcp_retries2"), ("ETIMEOUT", "ETIMEDOUT"),
    ("CLOSEWAITS", "CLOSE-WAIT"), ("SO_LINGR", "SO_LINGER"),
])
def test_a_near_miss_is_suggested(word: str, like: str) -> None:
    assert find(word) == []
    assert like in near(word)


def by_scene() -> dict[str, set[str]]:
    said = defaultdict(set)
    for word, scene in SHOWN.items():
        said[scene].add(word)
    return said


@pytest.mark.parametrize("name", sorted(by_scene()))
def test_a_scene_shows_what_it_is_said_to_show(name: str) -> None:
    assert by_scene()[name] - set(shown_by(play(SCENES[name]))) == set()


def test_the_common_words_have_scenes() -> None:
    common = ("errno:ETIMEDOUT", "errno:ECONNREFUSED", "errno:ECONNRESET", "errno:EPIPE", "errno:EADDRNOTAVAIL",
              "state:CLOSE-WAIT", "state:TIME-WAIT", "state:CLOSING", "counter:TcpExtListenOverflows",
              "counter:TcpExtSyncookiesSent", "counter:TcpExtTCPTimeouts", "sysctl:net.ipv4.tcp_retries2",
              "option:SO_LINGER", "option:TCP_USER_TIMEOUT", "drop:TCP_LISTEN_OVERFLOW")
    assert [word for word in common if word not in SHOWN] == []
    assert len(SHOWN) >= 150


def test_every_kind_has_words_and_the_list_has_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--all"]) == 0
    told = capsys.readouterr().out
    assert [title for title in KINDS.values() if f"{title}:" not in told] == []
    assert [name for _, name in terms() if f"  {name}\n" not in told] == []


def test_the_command_explains_and_suggests(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "ListenOverflows"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("TcpExtListenOverflows  counter\n  what    handshakes that found the accept queue full\n")
    assert main(["explain", "ListenOverflow"]) == 2
    assert "do you mean ListenOverflows, " in capsys.readouterr().err
    assert main(["explain", "SO_LINGER", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["kind"] == "option"


def test_run_plays_the_scene(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "ETIMEDOUT", "--run"]) == 0
    told = capsys.readouterr().out
    assert "scene no-answer" in told or "scene cable" in told or "scene user-timeout" in told
    assert "ETIMEDOUT is in this run" in told
    assert main(["explain", "TCP_MD5SIG", "--run"]) == 2
    assert "no scene of the lab shows TCP_MD5SIG" in capsys.readouterr().err


def test_the_list_of_scenes_is_what_playing_them_gives() -> None:
    done = subprocess.run([sys.executable, "tools/explain_shown.py", "--stdout"], cwd=SOURCES.parents[1],
                          capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (SOURCES / "explain" / "shown.py").read_text(encoding="utf-8")


def test_what_is_said_of_a_word_stands_alone() -> None:
    left = [term.name for term in terms().values() for text in (term.what, term.causes, term.see, term.do)
            if text.lower() in ("the same", "see there") or text.startswith(("The same", "the same ", "See "))]
    assert left == []
