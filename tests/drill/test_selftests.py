"""Scripts in the style of Linux's own selftests: ``./defaults.sh``, what their runner defines, their IP versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from estab.cli import main as cli
from estab.drill.runner import Result, ip_versions_of, run

LISTEN = """
    0 socket(..., SOCK_STREAM|SOCK_NONBLOCK, IPPROTO_TCP) = 3
   +0 setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0
   +0 bind(3, ..., ...) = 0
   +0 listen(3, 1) = 0
"""
FAST_OPEN = "`./defaults.sh\n ./set_sysctls.py /proc/sys/net/ipv4/tcp_timestamps=0`\n" + LISTEN + """
   +0 setsockopt(3, SOL_TCP, TCP_FASTOPEN, [1], 4) = 0
   +0 < S 0:10(10) win 32792 <mss 1460,sackOK,nop,nop,FO TFO_COOKIE,nop,nop>
   +0 > S. 0:0(0) ack 11 <mss 1460,nop,nop,sackOK>
   +0 accept(3, ..., ...) = 4
   +0 %{ assert (tcpi_options & TCPI_OPT_SYN_DATA) != 0, tcpi_options }%
   +0 read(4, ..., 512) = 10
   +0 `/tmp/sysctl_restore_${PPID}.sh`
"""
WITHOUT_A_COOKIE = FAST_OPEN.replace("FO TFO_COOKIE,nop,nop", "FO TFO_COOKIE_ZERO,nop,nop")
SYN_ACK = "`./defaults.sh`\n" + LISTEN + """
   +0 < S 0:0(0) win 32792 <mss 1000,sackOK,nop,nop,nop,wscale 7>
   +0 > S. 0:0(0) ack 1 <mss 1460,{options}nop,wscale {scale}>
"""


def written(folder: Path, text: str, name: str = "tcp_some_test.pkt") -> Path:
    path = folder / name
    path.write_text("// SPDX-License-Identifier: GPL-2.0\n" + text, encoding="utf-8")
    return path


def outcome(folder: Path, text: str) -> Result:
    return run(written(folder, text))


def test_cookies_are_the_runner_s_in_both_ip_versions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, FAST_OPEN)
    assert cli.main(["drill", "--ip", "all", str(tmp_path)]) == 0
    assert "2 of 2 passed" in capsys.readouterr().out


def test_another_cookie_is_no_good(tmp_path: Path) -> None:
    assert "ack: expected 11, got 1" in outcome(tmp_path, WITHOUT_A_COOKIE).message


def test_what_the_caller_defines_goes_before_the_runner_s(tmp_path: Path) -> None:
    path = written(tmp_path, FAST_OPEN)
    assert not run(path, defines={"TFO_COOKIE": "0102030405060708"}).is_ok


def test_freebsd_s_scripts_have_no_such_names(tmp_path: Path) -> None:
    assert "'TFO_COOKIE' is not" in run(written(tmp_path, FAST_OPEN), profile="freebsd").message


def test_the_defaults_are_those_of_the_selftests(tmp_path: Path) -> None:
    assert outcome(tmp_path, SYN_ACK.format(options="nop,nop,sackOK,", scale=8)).is_ok


def test_a_defaults_sh_that_lies_beside_the_script_is_done_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "defaults.sh").write_text(
        "#!/bin/bash\n# Ours.\nip tcp_metrics flush all > /dev/null 2>&1\n\n"
        'sysctl -q net.ipv4.tcp_rmem="4096 540000 \\\n  $((4*1024*1024))"  # less\n'
        "sysctl -q net.ipv4.tcp_sack=0 net.ipv4.tcp_timestamps=1\nsysctl -q net.ipv4.tcp_no_such_thing=1\n"
        "tc qdisc add dev tun0 root pfifo\n", encoding="utf-8")
    assert outcome(tmp_path, SYN_ACK.format(options="", scale=7)).is_ok


def test_a_command_in_it_that_is_not_known_is_named(tmp_path: Path) -> None:
    (tmp_path / "defaults.sh").write_text("sysctl -q net.ipv4.tcp_sack=0\nmodprobe tcp_bbr\n", encoding="utf-8")
    result = outcome(tmp_path, SYN_ACK.format(options="", scale=8))
    assert (result.outcome, result.message) == ("unsupported", "defaults.sh: unknown command: modprobe tcp_bbr")


@pytest.mark.parametrize(("name", "text", "versions"), [
    ("tcp_some.pkt", "`./defaults.sh`\n", ("ipv4", "ipv6")),
    ("tcp_some.pkt", "--ip_version=ipv6\n`./defaults.sh`\n", ("ipv6",)),
    ("tcp_some_ipv4.pkt", "--ip_version=ipv4\n`./defaults.sh`\n", ("ipv4",)),
    ("tcp_some.pkt", "0.0 `./defaults.sh\n ./set_sysctls.py /proc/sys/net/ipv4/tcp_sack=0`\n", ("ipv4", "ipv6")),
    ("some-v4.pkt", "`./defaults.sh`\n", ("ipv4",)),
    ("some-v4.pkt", "`../common/defaults.sh`\n", ("ipv4", "ipv4-mapped-ipv6")),
    ("some.pkt", "`../common/defaults.sh`\n", ("ipv4", "ipv4-mapped-ipv6", "ipv6")),
    ("some.pkt", "// as `./defaults.sh` does\n", ("ipv4", "ipv4-mapped-ipv6", "ipv6")),
])
def test_a_script_runs_in_the_ip_versions_of_its_own_runner(
    tmp_path: Path, name: str, text: str, versions: tuple[str, ...],
) -> None:
    assert ip_versions_of(written(tmp_path, text, name)) == versions
