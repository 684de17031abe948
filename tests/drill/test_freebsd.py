"""The dialect of scripts for FreeBSD: its settings, its tools, what is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from estab.cli import main as cli
from estab.drill.runner import Result, as_expected, run

SOCKET = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 bind(3, ..., ...) = 0\n+0 listen(3, 1) = 0\n"


def outcome(tmp_path: Path, text: str, profile: str = "freebsd") -> Result:
    script = tmp_path / "script.pkt"
    script.write_text(text)
    return run(script, profile=profile)


@pytest.mark.parametrize(("text", "message"), [
    ("--udp_encapsulation=tcp\n" + SOCKET, "UDP encapsulation"),
    ("--tcp_md5_secret=secret\n" + SOCKET, "RFC 2385"),
    ("0 `kldload tcpmd5`\n", "kldload tcpmd5"),
    ("0 `setkey -c`\n", "there are no keys here"),
    ("0 `tcpdrop -s NOWHERE`\n", "unknown command: tcpdrop -s NOWHERE"),
    ("0 `sysctl -w net.inet.tcp.icmp_may_rst=0`\n", "here it is 1, always"),
    ("0 `sysctl -w net.inet.tcp.sendspace=$((1/0))`\n", "unknown arithmetic"),
    ("0 `sysctl -w net.inet.tcp.sendspace=$((open))`\n", "unknown arithmetic"),
])
def test_what_is_not_here_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    result = outcome(tmp_path, text)
    assert result.outcome in ("unsupported", "error")
    assert message in result.message


def test_an_unknown_setting_of_freebsd_is_named_once_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("one.pkt", "two.pkt"):
        (tmp_path / name).write_text("0 `sysctl -w net.inet.tcp.no_such=1 kern.ipc.maxsockbuf=2097152`\n" + SOCKET)
    assert cli.main(["drill", "--profile", "freebsd", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.count("net.inet.tcp.no_such") == 1
    assert "2 of 2 passed" in out


@pytest.mark.parametrize(("command", "is_found"), [
    ("sockstat -4 -P tcp -s | grep -c LISTEN | grep 1", True),
    ("sockstat -4 -P tcp -s | grep -c ESTABLISHED | grep 0", True),
    ("sockstat -4 -P tcp -s | grep -c LISTEN | grep 0", False),
    ("sockstat -4 -P tcp -s -p 8080 | grep packetdril | grep LISTEN", True),
    ("sockstat -4 -P tcp -s -p 80 | grep LISTEN", False),
    ("sockstat -6 -P tcp -s | grep LISTEN", False),
    ("sockstat -4 -P udp -s | grep LISTEN", False),
    ("sockstat -4 -P tcp -s | grep -c LISTEN", True),
    ("sockstat -4 -P tcp -s | grep -c CLOSING", False),
])
def test_the_last_grep_of_a_pipe_decides_as_in_a_shell(tmp_path: Path, command: str, is_found: bool) -> None:
    assert outcome(tmp_path, SOCKET + f"+0 `{command}`\n").is_ok == is_found


def test_the_kernel_s_selftests_have_defaults_of_their_own(tmp_path: Path) -> None:
    looks = "0 `{}`\n+0 `sysctl net.ipv4.tcp_fastopen | grep '= {}'`\n+0 `sysctl net.ipv4.tcp_frto | grep '= 2'`\n"
    assert outcome(tmp_path, looks.format("./defaults.sh", 3), "linux").is_ok
    assert outcome(tmp_path, looks.format("../common/defaults.sh", 0x70403), "linux").is_ok


@pytest.mark.parametrize(("text", "has_file", "is_ok"), [
    (SOCKET, False, True), (SOCKET, True, False), (SOCKET.replace("= 0", "= 7"), True, True),
    ("0 `no such command`\n", True, False),
])
def test_a_script_with_an_exfail_file_is_expected_to_fail(
    tmp_path: Path, text: str, has_file: bool, is_ok: bool,
) -> None:
    if has_file:
        (tmp_path / "script.exfail").write_text("")
    assert as_expected(outcome(tmp_path, text)).is_ok == is_ok
