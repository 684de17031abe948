"""``estab up``: what it refuses and how, what it brings up, and that nothing of it is left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import estab
from estab.cli import main as cli
from estab.cli.rates import Reading, line, summary
from estab.observe import pcapng
from tests.kit.namespaces import Namespace, await_that, needs, requires_kernel

ESTAB = [sys.executable, "-m", "estab.cli.main"]
SOURCES = str(Path(estab.__file__).parent.parent)


@pytest.mark.parametrize(("arguments", "words"), [
    (["--address", "10.7.0.2/24", "--serve", "echo:7"], ["--tun, --tap or --packet"]),
    (["--tun", "a", "--tap", "b", "--address", "10.7.0.2/24", "--serve", "echo:7"], ["--tun, --tap or --packet"]),
    (["--tun", "tun0", "--serve", "echo:7"], ["--address"]),
    (["--tun", "tun0", "--address", "10.7.0.2/24"], ["--serve or --program"]),
    (["--tun", "a" * 16, "--address", "10.7.0.2/24", "--serve", "echo:7"], ["interface's name"]),
    (["--tun", "tun%d", "--address", "10.7.0.2/24", "--serve", "echo:7"], ["--tun", "'tun%d'", "percent"]),
    (["--tun", "tun0", "--address", "10.7.0.2", "--serve", "echo:7"], ["10.7.0.2/24"]),
    (["--tun", "tun0", "--address", "10.7.0.256/24", "--serve", "echo:7"], ["--address", "10.7.0.256"]),
    (["--tun", "tun0", "--address", "224.0.0.1/24", "--serve", "echo:7"], ["224.0.0.1/24"]),
    (["--tun", "tun0", "--address", "10.7.0.2/24", "--address", "10.7.0.2/24", "--serve", "echo:7"],
     ["on tun0 already"]),
    (["--tun", "tun0", "--address", "10.7.0.2/24", "--gateway", "home", "--serve", "echo:7"], ["--gateway", "home"]),
    (["--tun", "tun0", "--address", "10.7.0.2/24", "--peer", "10.7.0.2/24", "--serve", "echo:7"],
     ["--peer", "stack's own address"]),
    (["--tun", "tun0", "--address", "10.7.0.2/24", "--serve", "echo"], ["echo:PORT"]),
    (["--tun", "tun0", "--address", "10.7.0.2/24", "--serve", "echo:70000"], ["70000", "65535"]),
    (["--tun", "tun0", "--address", "10.7.0.2/24", "--serve", "telnet:23"], ["telnet:23", "discard:PORT"]),
    (["--tun", "tun0", "--address", "10.7.0.2/24", "--serve", "http:80"], ["no folder"]),
    (["--tun", "tun0", "--address", "10.7.0.2/24", "--serve", "http:80=/nonexistent"], ["/nonexistent"]),
    (["--tun", "tun0", "--address", "10.7.0.2/24", "--serve", "echo:7=x"], ["takes no folder"]),
    (["--tun", "tun0", "--address", "10.7.0.2/24", "--serve", "echo:7", "--serve", "discard:7"], ["port 7 twice"]),
    (["--tun", "tun0", "--address", "10.7.0.2/24", "--serve", "echo:7", "--congestion", "vegas"],
     ["--congestion: there is no 'vegas', only reno, cubic"]),
    (["--tun", "tun0", "--address", "10.7.0.2/24", "--serve", "echo:7", "--sysctl", "tcp_sac=1"], ["tcp_sac"]),
    (["--tun", "tun0", "--address", "10.7.0.2/24", "--serve", "echo:7", "--sysctl", "tcp_retries2"], ["NAME=VALUE"]),
    (["--tun", "tun0", "--address", "10.7.0.2/24", "--serve", "echo:7", "--sysctl", "tcp_sack=x"], ["tcp_sack"]),
    (["--tun", "tun0", "--address", "10.7.0.2/24", "--program", "/nonexistent.py"], ["/nonexistent.py"]),
    (["--tun", "tun0", "--address", "10.7.0.2/24", "--serve", "echo:7", "more"], ["more", "--program"]),
    (["--tun", "tun0", "--address", "10.7.0.2/24", "--serve", "echo:7", "--mtu", "20"], ["--mtu", "20"]),
    (["--tun", "tun0", "--address", "fd00::2/64", "--serve", "echo:7", "--mtu", "1000"], ["1280", "tun0 has 1000"]),
    (["--tun", "tun0", "--address", "10.7.0.2/24", "--serve", "echo:7", "--queues", "2", "--pcap", "x"], ["--queues"]),
])
def test_a_bad_argument_is_said_in_one_line_and_touches_nothing(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["up", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("estab: ")
    assert err.count("\n") == 1
    assert [word for word in words if word not in err] == []


def test_rates_are_of_the_time_between_two_readings() -> None:
    before = Reading(in_bytes=100, opened=5)
    now = Reading(in_bytes=100 + 2 * 1024 * 1024, out_bytes=1024, in_frames=20, opened=15, open_count=1234, repeated=4)
    assert line(before, now, 2.0) == (
        "1,234 connections · 5 new/s · in 1.0 MiB/s 10 frames/s · out 512 B/s 0 frames/s · 2 sent again/s")
    assert summary(before, now, 2.0) == "2.0 s, 10 connections, 2.0 MiB in, 1.0 KiB out, 4 segments sent again"


def test_one_is_not_told_as_several() -> None:
    one = Reading(opened=1, open_count=1, repeated=1)
    assert line(Reading(), one, 1.0).startswith("1 connection · ")
    assert summary(Reading(), one, 2.0) == "2.0 s, 1 connection, 0 B in, 0 B out, 1 segment sent again"


class Upped:
    """An ``estab up`` in a namespace of its own."""

    def __init__(self, netns: Namespace, *arguments: str, prefix: tuple[str, ...] = (),
                 device: tuple[str, str] = ("--tun", "tun7")) -> None:
        self.netns = netns
        environment = {**os.environ, "PYTHONPATH": SOURCES, "PYTHONUNBUFFERED": "1"}
        command = [*prefix, *ESTAB, "up", *device, *arguments]
        self.process = netns.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)

    def first_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode()

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal; the exit status, and what it said last."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out.decode(), err.decode()


ADDRESS = ("--address", "10.7.0.2/24")
ECHO = ("--serve", "echo:7")


@pytest.mark.kernel
class TestOnTheKernel:
    """With devices of the kernel's."""

    pytestmark = requires_kernel

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_device_made_here_is_reachable_at_once_and_goes_with_a_signal(self, bare: Namespace, number: int) -> None:
        up = Upped(bare, *ADDRESS, "--address", "fd00:7::2/64", *ECHO)
        assert up.first_line() == ("estab: 10.7.0.2/24, fd00:7::2/64 on tun7 (MTU 1500, offload; the kernel is "
                                   "10.7.0.1, fd00:7::1): echo on 7\n")
        assert bare.run("ping", "-c1", "-W2", "10.7.0.2").returncode == 0
        assert bare.run("ping", "-c1", "-W2", "fd00:7::2").returncode == 0
        status, out, err = up.end(number)
        assert (status, err) == (0, "")
        assert out.startswith("estab: ")
        assert out.endswith("; tun7 is gone\n")
        assert "tun7" not in bare.run("ip", "link").stdout

    def test_a_device_made_here_goes_with_a_process_that_is_killed(self, bare: Namespace) -> None:
        up = Upped(bare, *ADDRESS, *ECHO)
        up.first_line()
        assert up.end(signal.SIGKILL)[0] == -signal.SIGKILL
        await_that(lambda: "tun7" not in bare.run("ip", "link").stdout, "the device is gone")

    def test_a_device_that_was_there_stays_as_it_was(self, bare: Namespace) -> None:
        bare.ip("tuntap add tun7 mode tun")
        bare.ip("addr add 10.7.0.9/24 dev tun7")
        bare.ip("link set tun7 up mtu 1400")
        up = Upped(bare, *ADDRESS, *ECHO)
        assert "(MTU 1400, offload)" in up.first_line()
        assert up.end()[1].endswith("; tun7 stays as it was\n")
        shown = bare.run("ip", "addr", "show", "tun7").stdout
        assert "10.7.0.9/24" in shown
        assert "10.7.0.1/24" not in shown
        assert "mtu 1400" in shown

    def test_a_device_that_is_down_is_said_with_the_command(self, bare: Namespace) -> None:
        bare.ip("tuntap add tun7 mode tun")
        status, out, err = Upped(bare, *ADDRESS, *ECHO).wait()
        assert (status, out) == (1, "")
        assert "tun7 is down" in err
        assert "    sudo ip link set dev tun7 up\n" in err

    @needs("setpriv")
    def test_without_the_capability_the_commands_that_give_it_are_said(self, bare: Namespace) -> None:
        status, out, err = Upped(bare, *ADDRESS, *ECHO, prefix=("setpriv", "--bounding-set=-net_admin")).wait()
        assert (status, out) == (1, "")
        assert "CAP_NET_ADMIN" in err
        assert ("sudo ip tuntap add dev tun7 mode tun user root && sudo ip addr add 10.7.0.1/24 dev tun7 && "
                "sudo ip link set dev tun7 up\n") in err
        assert "sudo setcap cap_net_admin+ep /" in err
        assert "Traceback" not in err

    @needs("setpriv")
    def test_a_device_prepared_for_the_user_needs_no_capability(self, bare: Namespace) -> None:
        bare.ip("tuntap add tun7 mode tun user root")
        bare.ip("addr add 10.7.0.1/24 dev tun7")
        bare.ip("link set tun7 up")
        up = Upped(bare, *ADDRESS, *ECHO, prefix=("setpriv", "--bounding-set=-net_admin"))
        assert "echo on 7" in up.first_line()
        assert bare.run("ping", "-c1", "-W2", "10.7.0.2").returncode == 0
        assert up.end()[0] == 0

    def test_a_device_of_another_mode_is_said(self, bare: Namespace) -> None:
        bare.ip("tuntap add tun7 mode tap")
        bare.ip("link set tun7 up")
        status, _, err = Upped(bare, *ADDRESS, *ECHO).wait()
        assert status == 1
        assert "mode tun" in err
        assert "Traceback" not in err

    def test_a_device_in_use_is_said(self, bare: Namespace) -> None:
        first = Upped(bare, *ADDRESS, *ECHO)
        first.first_line()
        status, _, err = Upped(bare, *ADDRESS, *ECHO).wait()
        assert status == 1
        assert "tun7 is open already" in err
        assert first.end()[0] == 0

    @needs("curl")
    def test_a_program_runs_with_its_sockets_on_the_stack(self, bare: Namespace, tmp_path: Path) -> None:
        program = tmp_path / "server.py"
        program.write_text(
            "import http.server, sys\n"
            "class Answer(http.server.BaseHTTPRequestHandler):\n"
            "    def do_GET(self):\n"
            "        self.send_response(200); self.end_headers(); self.wfile.write(sys.argv[1].encode() * 50000)\n"
            "    def log_message(self, *words): pass\n"
            "server = http.server.HTTPServer(('', 8000), Answer)\n"
            "print('ready', flush=True)\n"
            "server.handle_request()\n"
            "sys.exit(3)\n")
        up = Upped(bare, *ADDRESS, "--program", str(program), "word")
        assert "server.py runs" in up.first_line()
        assert up.first_line() == "ready\n"
        assert bare.run("curl", "-sS", "http://10.7.0.2:8000/").stdout == "word" * 50000
        status, out, _ = up.wait()
        assert status == 3
        assert out.endswith("tun7 is gone\n")

    def test_a_program_that_fails_shows_its_own_lines_only(self, bare: Namespace, tmp_path: Path) -> None:
        program = tmp_path / "fails.py"
        program.write_text("def serve():\n    raise ValueError('no more')\n\nserve()\n")
        status, _, err = Upped(bare, *ADDRESS, "--program", str(program)).wait()
        assert status == 1
        assert err == (
            f"Traceback (most recent call last):\n  File \"{program}\", line 4, in <module>\n    serve()\n"
            f"  File \"{program}\", line 2, in serve\n    raise ValueError('no more')\nValueError: no more\n")

    def test_a_capture_that_cannot_be_written_is_said_in_one_line(self, bare: Namespace) -> None:
        status, out, err = Upped(bare, *ADDRESS, *ECHO, "--pcap", "/nonexistent/x.pcapng").wait()
        assert (status, out) == (1, "")
        assert err == "estab: --pcap: cannot write '/nonexistent/x.pcapng': No such file or directory\n"

    def test_sigterm_ends_a_program_that_waits(self, bare: Namespace, tmp_path: Path) -> None:
        program = tmp_path / "waits.py"
        program.write_text("import socket\ns = socket.create_server(('', 9))\nprint('ready', flush=True)\ns.accept()\n")
        up = Upped(bare, *ADDRESS, "--program", str(program))
        up.first_line()
        assert up.first_line() == "ready\n"
        assert up.end()[0] == 128 + signal.SIGTERM

    @needs("curl")
    def test_a_capture_has_every_packet_with_why_it_was_sent(self, bare: Namespace, tmp_path: Path) -> None:
        site = tmp_path / "site"
        site.mkdir()
        (site / "index.html").write_text("<p>hello")
        up = Upped(bare, *ADDRESS, "--serve", f"http:80={site}", "--pcap", str(tmp_path / "out.pcapng"))
        up.first_line()
        assert bare.run("curl", "-sS", "http://10.7.0.2/").stdout == "<p>hello"
        assert bare.run("curl", "-sS", "http://10.7.0.2:81/", check=False).returncode == 7
        assert up.end()[0] == 0
        with open(tmp_path / "out.pcapng", "rb") as file:
            packets = pcapng.read(file).packets
        assert any(b"<p>hello" in packet.data and "new data" in packet.comment for packet in packets)
        assert any("dropped" in packet.comment for packet in packets)

    @needs("curl")
    def test_queues_are_processes_that_share_the_port_and_end_together(self, bare: Namespace, tmp_path: Path) -> None:
        (tmp_path / "index.html").write_text("<p>hello")
        up = Upped(bare, *ADDRESS, "--serve", f"http:80={tmp_path}", "--queues", "3")
        assert "3 queues" in up.first_line()
        urls = ["http://10.7.0.2/"] * 30
        shown = bare.run("curl", "-sS", "--no-keepalive", "-H", "Connection: close", *urls).stdout
        assert shown == "<p>hello" * 30
        workers = [pid for pid in bare.pids() if pid != up.process.pid]
        assert len(workers) == 3
        os.kill(workers[0], signal.SIGKILL)
        status, out, err = up.wait()
        assert status == 1
        assert "SIGKILL" in err
        assert out.endswith("tun7 is gone\n")
        assert "tun7" not in bare.run("ip", "link").stdout

    def test_killing_the_first_of_the_queues_leaves_none(self, bare: Namespace) -> None:
        up = Upped(bare, *ADDRESS, *ECHO, "--queues", "2")
        up.first_line()
        up.end(signal.SIGKILL)
        await_that(lambda: not bare.pids(), "all processes are gone")
        assert "tun7" not in bare.run("ip", "link").stdout

    def test_a_sysctl_and_a_congestion_control_are_the_stacks(self, bare: Namespace, tmp_path: Path) -> None:
        program = tmp_path / "shows.py"
        program.write_text(
            "import socket\ns = socket.create_server(('', 9))\n"
            "print(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b'\\0').decode())\n"
            "print(s.getsockopt(socket.IPPROTO_IP, socket.IP_TTL))\n")
        up = Upped(bare, *ADDRESS, "--program", str(program), "--congestion", "reno", "--sysctl", "ip_default_ttl=33")
        assert up.wait()[1].splitlines()[1:3] == ["reno", "33"]

    @needs("curl", "setpriv")
    def test_an_interface_that_is_there_is_shared_with_the_kernel(self, bare: Namespace) -> None:
        with Namespace() as other:
            bare.ip(f"link add v0 type veth peer name v1 netns {other.name}")
            bare.ip("link set v0 up")
            other.ip("link set v1 up")
            other.ip("addr add 10.7.0.1/24 dev v1")
            poor = ("setpriv", "--bounding-set=-net_raw")
            status, _, err = Upped(bare, *ADDRESS, *ECHO, device=("--packet", "v0"), prefix=poor).wait()
            assert status == 1
            assert "CAP_NET_RAW" in err
            assert "sudo setcap cap_net_raw+ep /" in err
            up = Upped(bare, *ADDRESS, *ECHO, device=("--packet", "v0"))
            assert "on v0 (MTU 1500" in up.first_line()
            shown = other.run("curl", "-sS", "-m3", "telnet://10.7.0.2:7", binary=b"hello\n", check=False).stdout
            assert shown == "hello\n"
            assert up.end()[1].endswith("v0 stays as it was\n")

    def test_a_peer_address_that_cannot_be_is_said(self, bare: Namespace) -> None:
        status, out, err = Upped(bare, *ADDRESS, *ECHO, "--peer", "ff02::1/64").wait()
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert "ff02::1/64" in err

    def test_an_interface_that_is_not_there_is_said(self, bare: Namespace) -> None:
        status, _, err = Upped(bare, *ADDRESS, *ECHO, device=("--packet", "nosuch")).wait()
        assert status == 1
        assert "there is no interface nosuch" in err
        assert err.count("\n") == 1

    def test_a_terminal_shows_a_live_line_that_is_gone_at_the_end(self, bare: Namespace) -> None:
        ours, theirs = os.openpty()
        environment = {**os.environ, "PYTHONPATH": SOURCES, "TERM": "xterm", "COLUMNS": "120"}
        process = bare.start(*ESTAB, "up", "--tun", "tun7", *ADDRESS, *ECHO, stdout=theirs, stderr=theirs,
                            env=environment)
        os.close(theirs)
        seen = b""
        while b"new/s" not in seen:
            seen += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while data := os.read(ours, 4096):
                seen += data
        os.close(ours)
        assert process.wait(10) == 0
        assert b"0 connections \xc2\xb7 0 new/s \xc2\xb7 in " in seen
        assert b"\x1b[2K" in seen[seen.rindex(b"new/s"):]
        assert seen.rstrip().endswith(b"tun7 is gone")
