"""``estab drill --against-kernel``: the same script on Linux's TCP, in a namespace that is made and removed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from estab.cli import drill_kernel
from estab.cli import main as cli
from estab.drill.kernel import why_not
from estab.drill.runner import Result
from estab.errors import os_error

needs_root = [pytest.mark.kernel, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]
HEAD = """\
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 65535 <mss 1000>
+0 > S. 0:0(0) ack 1 <...>
+.01 < . 1:1(0) ack 1 win 65535
+0 accept(3, ..., ...) = 4
"""
SAME = HEAD + """\
+0 < P. 1:101(100) ack 1 win 65535
+0 > . 1:1(0) ack 101
+0 read(4, ..., 1000) = 100
+0 write(4, ..., 10) = 10
+0 > P. 1:11(10) ack 101
+.01 < . 101:101(0) ack 11 win 65535
+0 getsockopt(4, SOL_SOCKET, SO_ERROR, [0], [4]) = 0
+0 %{ assert tcpi_unacked == 0, tcpi_unacked; assert tcpi_snd_mss == 1000 }%
+0 `nstat -n | grep TcpPassiveOpens`
+0 close(4) = 0
+0 > F. 11:11(0) ack 101
+.01 < F. 101:101(0) ack 12 win 65535
+0 > . 12:12(0) ack 102
"""
# After a report of the path's MTU, Linux offers its MSS for both directions (RFC 9293 section 3.7.1 has the link's).
OTHER = """\
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0 connect(3, ..., ...) = -1 EINPROGRESS (x)
+0 > S 0:0(0) <...>
+.01 < S. 0:0(0) ack 1 win 65535 <mss 1460>
+0 > . 1:1(0) ack 1
+0 write(3, ..., 1460) = 1460
+0 > P. 1:1461(1460) ack 1
+0 < icmp unreachable frag_needed mtu 1200 [1:1461(1460)]
+0 > . 1:1161(1160) ack 1
+0 > P. 1161:1461(300) ack 1
+.01 < R 1:1(0) win 0
+0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 4
+0 fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0 connect(4, ..., ...) = -1 EINPROGRESS (x)
+0 > S 0:0(0) <mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7>
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = cli.main(["drill", "--against-kernel", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out + err


class TestOnTheKernel:
    pytestmark = needs_root

    @pytest.mark.parametrize("version", ["ipv4", "ipv6"])
    def test_a_script_that_both_fulfil_is_the_same(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], version: str,
    ) -> None:
        script = tmp_path / "same.pkt"
        script.write_text(SAME)
        code, text = run(capsys, "--ip", version, script)
        assert "both the same, as the script says" in text
        assert (code, text.splitlines()[-1][:10]) == (0, "1 of 1 the")

    def test_a_difference_has_its_line_and_what_each_did(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    ) -> None:
        script = tmp_path / "other.pkt"
        script.write_text(OTHER)
        code, text = run(capsys, script)
        assert code == 1
        assert f"{script}:16: they differ\n" in text
        assert "expected mss 1460, got mss 1160" in text
        assert "  estab          does what the script says" in text

    def test_nothing_is_left_of_the_namespace(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        before = os.readlink("/proc/self/ns/net"), sorted(os.listdir("/sys/class/net"))
        script = tmp_path / "same.pkt"
        script.write_text(SAME)
        run(capsys, script)
        assert (os.readlink("/proc/self/ns/net"), sorted(os.listdir("/sys/class/net"))) == before


def test_without_what_it_takes_one_sentence_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drill_kernel, "why_not", lambda: "it takes root, for a network namespace and a TUN in it")
    script = tmp_path / "same.pkt"
    script.write_text(SAME)
    code, text = run(capsys, script)
    assert code == 2
    assert "--against-kernel: it takes root, for a network namespace and a TUN in it" in text


def test_a_namespace_that_cannot_be_made_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drill_kernel, "why_not", lambda: "")
    monkeypatch.setattr(drill_kernel, "run_on_kernel", refused)
    script = tmp_path / "same.pkt"
    script.write_text(SAME)
    code, text = run(capsys, script)
    assert (code, text) == (1, "estab: --against-kernel: can't make a network namespace\n")


def refused(*_: object, **__: object) -> Result:
    """What ``run_on_kernel`` meets as root without CAP_SYS_ADMIN, in the process that asks the kernel."""
    raise os_error(errno.EPERM, "Operation not permitted: can't make a network namespace")


def result(profile: str, line: int = 0, message: str = "", seen: tuple[tuple[int, str], ...] = ()) -> Result:
    return Result("x.pkt", "ipv4", profile, "failed" if line else "passed", line, "", message, "", "", 0.0, 0.0, seen)


def test_timestamps_and_cookies_are_no_difference_and_windows_are_one_that_the_script_leaves_open() -> None:
    mine = ((3, "> S. 0:0(0) <TS val 1 ecr 5,FO 0102>"), (5, "> . 1:1(0) win 100"))
    theirs = ((3, "> S. 0:0(0) <TS val 9 ecr 5,FO 0a0b>"), (5, "> . 1:1(0) win 200"))
    found = drill_kernel.differences(result("kernel", seen=theirs), result("linux", seen=mine))
    assert [(one.line, one.is_beyond) for one in found] == [(5, True)]


def test_the_line_of_a_difference_is_where_the_first_of_the_two_leaves_the_script() -> None:
    (one,) = drill_kernel.differences(result("kernel", 7, "late"), result("linux", 9, "lost"))
    assert (one.line, one.kernel, one.ours) == (7, "late", "does what the script says")
    assert drill_kernel.differences(result("kernel", 7, "late"), result("linux", 7, "late")) == []


@pytest.mark.parametrize("profile", ["estab", "linux"])
def test_the_profile_estab_is_the_shipped_defaults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], profile: str,
) -> None:
    script = tmp_path / "retries.pkt"
    script.write_text('0 `sysctl net.ipv4.tcp_syn_retries | grep "= 7"`\n')
    assert cli.main(["drill", "--profile", profile, str(script)]) == (0 if profile == "estab" else 1)
    capsys.readouterr()
