"""Hosts that are processes of the system: what they see, what is done to them, what is said of them."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

import estab
from tests.kit.unprivileged import call_unprivileged

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="hosts of the kernel are Linux's namespaces")

WAIT = "30s"


@pytest.fixture
def net() -> Iterator[estab.Network]:
    with estab.Network(seed=7, clock="real", late_max="60s") as net:
        yield net


def serve_text(text: bytes = b"hello") -> None:
    """Answer each connection with a text."""
    with socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))


def fetch(url: str) -> bytes:
    """Be a client in a process of its own."""
    with urllib.request.urlopen(url, timeout=20) as answer:
        data: bytes = answer.read()
        return data


def python(*lines: str) -> list[str]:
    return [sys.executable, "-u", "-c", "\n".join(lines)]


def curl_through_a_router(may_use_tun: bool) -> dict[str, Any]:
    """Fetch from a program on estab's stack with the kernel's TCP, over two links and both IP versions."""
    with estab.Network(seed=7, clock="real", late_max="60s") as net:
        if not may_use_tun:
            net.avoid_tun()
        server, router, client = net.host("server"), net.host("router", forwarding=True), net.host("client")
        net.link(server, router, delay="5ms")
        net.link(router, client, delay="5ms", loss="1%")
        server.run(serve_text, daemon=True)
        net.run(until=net.now + 0.01)  # it listens
        seen = {}
        for version in ("4", "6"):
            answer = client.spawn(["curl", f"-{version}", "-s", "-w", " %{http_code}", "http://server/"], quiet=True)
            seen[version] = answer.check(WAIT)
        seen["who"] = client.spawn(["id", "-u"], quiet=True).check(WAIT)
        return seen


def unprivileged_curl() -> dict[str, Any]:
    """Do the same without any rights."""
    return curl_through_a_router(may_use_tun=True)


@pytest.mark.parametrize("may_use_tun", [True, False])
def test_a_program_in_c_talks_to_a_program_on_estabs_stack(may_use_tun: bool) -> None:
    seen = curl_through_a_router(may_use_tun)
    assert (seen["4"], seen["6"]) == ("hello 200", "hello 200")


def test_neither_root_nor_tun_is_needed() -> None:
    assert call_unprivileged(unprivileged_curl) == {"4": "hello 200", "6": "hello 200", "who": "65534"}


def test_two_kernels_talk_over_a_link_that_does_nothing(net: estab.Network) -> None:
    server, client = net.host("server"), net.host("client")
    link = net.link(server, client)
    server.spawn(python("import sys; sys.path[:0] = " + repr(sys.path),
                        "from tests.native.test_spawned import serve_text; serve_text(b'x' * 3_000_000)"), quiet=True)
    server.processes[0].wait_listening(80, WAIT)
    assert len(client.spawn_python(fetch, "http://server/", quiet=True).result(WAIT)) == 3_000_000
    link.set(delay="5ms", loss="0.5%")
    assert len(client.spawn_python(fetch, "http://server/", quiet=True).result(WAIT)) == 3_000_000


def test_names_lead_to_the_lab_and_not_past_it(net: estab.Network) -> None:
    a, b = net.host("a"), net.host("b")
    net.link(a, b)
    found = a.spawn(["getent", "hosts", "b"], quiet=True).check(WAIT)
    assert found.split() == [b.addresses[1], "b"]
    assert a.spawn(["getent", "hosts", "example.org"], quiet=True).wait(WAIT) == 2
    net.link(a, net.host("later"))
    assert "later" in a.spawn(["getent", "ahosts", "later"], quiet=True).check(WAIT)
    net.name("db.internal", [b])
    assert a.spawn(["getent", "ahostsv4", "db.internal"], quiet=True).check(WAIT).startswith(b.address)
    assert a.spawn(["hostname"], quiet=True).check(WAIT) == "a"


def test_output_has_the_hosts_name_before_each_line(net: estab.Network, capsys: pytest.CaptureFixture[str]) -> None:
    host = net.host("db")
    process = host.spawn(["sh", "-c", "echo one; echo two >&2; printf three; exit 5"], stdin=b"")
    assert process.wait(WAIT) == 5
    assert process.lines == ["one", "two", "three"]
    assert capsys.readouterr().out == "db| one\ndb| two\ndb| three\n"
    assert str(process) == f"sh on db (pid {process.pid}, ended with status 5)"
    with pytest.raises(estab.ProcessFailedError, match=r"(?s)ended with status 5\)\n  db\| one.*three"):
        process.check()


def test_a_process_reads_what_it_is_given(net: estab.Network) -> None:
    text = "line\n" * 20_000
    assert net.host("a").spawn(["wc", "-l"], stdin=text.encode(), quiet=True).check(WAIT) == "20000"


def test_a_command_that_is_not_there_is_refused_at_once(net: estab.Network) -> None:
    host = net.host("a")
    with pytest.raises(FileNotFoundError, match="No such file or directory: /nowhere/at-all"):
        host.spawn(["/nowhere/at-all"])
    assert host.processes == []


def test_words_that_no_process_can_be_given_are_refused(net: estab.Network) -> None:
    a = net.host("a")
    with pytest.raises(OSError, match="null") as zero:
        a.spawn(["echo", "a\0b"])
    with pytest.raises(OSError, match="variable name") as name:
        a.spawn(["echo"], env={"A=B": "x"})
    assert zero.value.errno == name.value.errno == errno.EINVAL
    assert a.processes == []


def test_waiting_for_a_port_ends_with_the_process(net: estab.Network) -> None:
    process = net.host("a").spawn(["sh", "-c", "echo no config; exit 1"], quiet=True)
    said = r"(?s)waited until it listens on port 80, and it ended.*no config"
    with pytest.raises(estab.ProcessFailedError, match=said):
        process.wait_listening(80, WAIT)


def test_a_function_raises_what_it_raised_there(net: estab.Network) -> None:
    a, b = net.host("a"), net.host("b")
    net.link(a, b)
    with pytest.raises(urllib.error.URLError, match="refused"):
        a.spawn_python(fetch, "http://b/", quiet=True).result(WAIT)
    with pytest.raises(TypeError, match="define the function at the top of a module"):
        a.spawn_python(lambda: 1)


def test_sockets_and_counters_are_the_kernels(net: estab.Network) -> None:
    server, client = net.host("server"), net.host("client")
    net.link(server, client)
    process = server.spawn(python("import socket, time", "s = socket.create_server(('', 80), backlog=9)",
                                  "c = s.accept()[0]", "print('accepted')", "time.sleep(1000)"), quiet=True)
    process.wait_listening(80, WAIT)
    connection = client.socket()
    connection.connect(("server", 80))
    process.wait_output("accepted", WAIT)
    connection.sendall(b"unread")
    net.run(until=net.now + 0.2)
    rows = {row.state: row for row in server.sockets()}
    assert (rows["LISTEN"].local, rows["LISTEN"].send_q, rows["LISTEN"].peer) == ("0.0.0.0:80", 9, "*:*")
    assert (rows["ESTAB"].local, rows["ESTAB"].recv_q) == (f"{server.address}:80", 6)
    assert server.counters()["TcpPassiveOpens"] == 1
    connection.close()


def test_sysctls_are_the_kernels_in_the_hosts_own_namespace(net: estab.Network) -> None:
    host = net.host("a")
    host.spawn(["true"], quiet=True).wait(WAIT)
    host.sysctl["tcp_syn_retries"] = 2
    host.sysctl["net.ipv4.ip_local_port_range"] = (40_000, 40_009)
    assert host.sysctl["net.ipv4.tcp_syn_retries"] == 2
    assert host.spawn(["cat", "/proc/sys/net/ipv4/ip_local_port_range"], quiet=True).check(WAIT).split() == [
        "40000", "40009"]
    assert Path("/proc/sys/net/ipv4/tcp_syn_retries").read_text() != "2\n"
    with pytest.raises(KeyError, match="the kernel of host a has no such sysctl of its own"):
        host.sysctl["tcp_nonsense"] = 1
    with pytest.raises(ValueError, match="the kernel of host a refuses 'many'"):
        host.sysctl["tcp_syn_retries"] = "many"


def test_settings_of_estabs_stack_are_refused_where_the_kernel_is_the_stack(net: estab.Network) -> None:
    host = net.host("a", tcp_syn_retries=1, wake_up="1ms")
    with pytest.raises(RuntimeError, match="host a was given wake_up=, tcp_syn_retries=, which a host"):
        host.spawn(["true"])


# --- faults


Story: TypeAlias = tuple[estab.Host, estab.Host, estab.Process, Any]


@pytest.fixture
def story(net: estab.Network) -> Iterator[Story]:
    """Give server, client, the server's process, and a connection that is closed in the end."""
    made = begin_story(net)
    with made[3]:
        yield made


def begin_story(net: estab.Network) -> Story:
    """Connect a client on estab's stack to a server on the kernel's that reads nothing."""
    server, client = net.host("server"), net.host("client")
    net.link(server, client, delay="2ms")
    process = server.spawn(python("import socket, time", "s = socket.create_server(('', 80))", "c = s.accept()[0]",
                                  "print('accepted')", "time.sleep(1000)"), quiet=True)
    process.wait_listening(80, WAIT)
    connection = client.socket()
    connection.connect(("server", 80))
    process.wait_output("accepted", WAIT)
    return server, client, process, connection


def test_a_killed_process_is_spoken_for_by_its_kernel(net: estab.Network, story: Story) -> None:
    server, _, process, connection = story
    process.kill()
    connection.settimeout(20)
    assert connection.recv(1) == b""
    assert process.wait(WAIT) == -9
    assert "ended by SIGKILL" in str(process)
    net.run(until=net.now + 0.1)
    assert server.sockets()[0].state == "FIN-WAIT-2"


def test_the_kernel_of_a_paused_process_goes_on(net: estab.Network, story: Story) -> None:
    _, client, process, connection = story
    process.pause()
    connection.sendall(b"acknowledged all the same")
    net.run(until=net.now + 0.3)
    row = next(row for row in client.sockets() if row.state == "ESTAB")
    assert row.send_q == 0
    process.resume()
    process.terminate()
    assert process.wait(WAIT) == -15


def test_a_host_without_power_is_silent_and_one_that_rebooted_resets(net: estab.Network, story: Story) -> None:
    server, client, process, connection = story
    server.power_off()
    assert process.returncode == -9
    connection.settimeout(0.3)
    connection.sendall(b"into the dark")
    with pytest.raises(TimeoutError):
        connection.recv(1)
    assert next(row for row in client.sockets() if row.state == "ESTAB").send_q == len(b"into the dark")
    with pytest.raises(RuntimeError, match="host server has no power"):
        server.spawn(["true"])
    server.power_on()
    connection.settimeout(20)
    with pytest.raises(ConnectionResetError):
        connection.recv(1)


def test_what_starts_at_boot_starts_again(net: estab.Network) -> None:
    server, client = net.host("server"), net.host("client")
    net.link(server, client)
    server.spawn(python("import sys; sys.path[:0] = " + repr(sys.path),
                        "from tests.native.test_spawned import serve_text; serve_text()"), quiet=True, at_boot=True)
    first = server.processes[0]
    first.wait_listening(80, WAIT)
    server.reboot(after="50ms")
    net.run(until=net.now + 0.1)
    (second,) = server.processes
    assert second.pid != first.pid
    second.wait_listening(80, WAIT)
    client.run(fetch, "http://server/")
    net.run()


@pytest.mark.parametrize("may_use_tun", [True, False])
def test_an_interface_sees_a_missing_carrier_only_if_told(net: estab.Network, may_use_tun: bool) -> None:
    if not may_use_tun:
        net.avoid_tun()
    a, b = net.host("a"), net.host("b")
    link = net.link(a, b)
    look = ["sh", "-c", "cat /sys/class/net/eth0/carrier"]
    link.cut()
    assert a.spawn(look, quiet=True).check(WAIT) == "1"
    link.heal()
    link.cut(carrier=True)
    assert _until(net, lambda: a.spawn(look, quiet=True).check(WAIT) == "0")
    link.heal()
    assert _until(net, lambda: a.spawn(look, quiet=True).check(WAIT) == "1")


def _until(net: estab.Network, is_so: Any) -> bool:
    """Look again and again, for the kernel notes a carrier in its own time."""
    return any(is_so() or net.run(until=net.now + 0.1) for _ in range(50))


def test_a_host_of_estab_without_carrier_has_no_route() -> None:
    with estab.Network() as net:
        a, b = net.host("a"), net.host("b")
        link = net.link(a, b)
        link.cut(carrier=True)
        with a.socket() as sock, pytest.raises(OSError, match="unreachable") as refused:
            sock.connect(("b", 80))
        assert refused.value.errno == errno.ENETUNREACH
        link.heal()
        with a.socket() as sock, pytest.raises(ConnectionRefusedError):
            sock.connect(("b", 80))


# --- attached


@pytest.mark.skipif(os.geteuid() != 0, reason="only root enters a namespace that is there")
def test_a_namespace_that_is_there_can_be_a_host(net: estab.Network) -> None:
    name = f"estab-attach-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        server = subprocess.Popen(["ip", "netns", "exec", name, *python(
            "import sys; sys.path[:0] = " + repr(sys.path),
            "from tests.native.test_spawned import serve_text; serve_text()")])
        try:
            web, router, client = net.attach("web", netns=name), net.host("router", forwarding=True), net.host("client")
            net.link(web, router, delay="1ms")
            net.link(router, client, delay="1ms")
            deadline = time.monotonic() + 30
            while not any(row.state == "LISTEN" for row in web.sockets()):
                assert time.monotonic() < deadline
                net.run(until=net.now + 0.05)
            ask = client.run(fetch, "http://web/")
            net.run()
            assert ask.result() == b"hello"
            with pytest.raises(RuntimeError, match="its processes are those of its namespace"):
                web.spawn(["true"])
            net.close()
            shown = subprocess.run(["ip", "-n", name, "-br", "link"], check=True, capture_output=True, text=True).stdout
            assert [line.split()[0] for line in shown.splitlines()] == ["lo"]
        finally:
            server.kill()
            server.wait()
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def test_several_interfaces_rules_and_captures_are_as_on_hosts_of_estab(net: estab.Network, tmp_path: Path) -> None:
    server, left, right = net.host("server"), net.host("left"), net.host("right")
    links = [net.link(server, left, delay="1ms"), net.link(server, right, delay="1ms", mtu=9000)]
    server.spawn(python("import sys; sys.path[:0] = " + repr(sys.path),
                        "from tests.native.test_spawned import serve_text; serve_text()"), quiet=True)
    server.processes[0].wait_listening(80, WAIT)
    shown = server.spawn(["ip", "-o", "-4", "addr"], quiet=True).check(WAIT)
    assert all(f"{name} " in shown and address in shown for name, address in zip(("eth0", "eth1"), server.addresses,
                                                                                 strict=False))
    seen = net.record()
    links[0].rule(estab.nth(1, lambda p: p.sender == "server" and p.tcp and p.tcp.syn))  # it is dropped
    asked = [host.run(fetch, f"http://{address}/")
             for host, address in zip((left, right), server.addresses, strict=False)]
    began = net.now
    net.run()
    assert [one.result() for one in asked] == [b"hello", b"hello"]
    assert net.now - began > 0.9  # the SYN-ACK that the rule dropped was sent again
    assert seen.pcapng(tmp_path / "server.pcapng", host="server") > 10


# --- from a program


def test_a_program_spawns_and_reboots_other_hosts_and_waits_for_them(net: estab.Network) -> None:
    client, server = net.host("client"), net.host("server")
    net.link(client, server, delay="1ms")
    serve = python("import sys; sys.path[:0] = " + repr(sys.path),
                   "from tests.native.test_spawned import serve_text; serve_text()")

    @client.run
    def program() -> tuple[bytes, bool, bytes]:
        server.spawn(serve, quiet=True, at_boot=True).wait_listening(80, WAIT)
        first = fetch("http://server/")
        is_listed = any(row.state == "LISTEN" for row in server.sockets())
        server.power_off()
        server.power_on()
        server.processes[0].wait_listening(80, WAIT)
        return first, is_listed, fetch("http://server/")

    net.run()
    assert program.result() == (b"hello", True, b"hello")


# --- what is refused


def test_what_a_spawned_host_can_not_do_is_said() -> None:
    with estab.Network() as virtual, pytest.raises(RuntimeError, match='has to be one of Network\\(clock="real"\\)'):
        virtual.host("a").spawn(["true"])
    with estab.Network(clock="real") as net:
        a, b = net.host("a"), net.host("b")
        a.run(fetch, "http://b/", daemon=True)
        with pytest.raises(RuntimeError, match="has programs or sockets on estab's stack"):
            a.spawn(["true"])
        b.spawn(["true"], quiet=True)
        with pytest.raises(RuntimeError, match=r"runs there by spawn_python\(\)"):
            b.run(fetch, "http://a/")
        with pytest.raises(RuntimeError, match="whose TCP is the kernel's"):
            b.socket()
        with pytest.raises(TypeError, match="give a list of words"):
            b.spawn([])
        with pytest.raises(FileNotFoundError):
            net.attach("c", netns="/nowhere/net")


def test_a_recording_has_the_segments_from_the_wire(net: estab.Network, tmp_path: Path) -> None:
    server, client = net.host("server"), net.host("client")
    net.link(server, client, delay="1ms")
    seen = net.record()
    server.spawn(python("import sys; sys.path[:0] = " + repr(sys.path),
                        "from tests.native.test_spawned import serve_text; serve_text()"), quiet=True)
    server.processes[0].wait_listening(80, WAIT)
    client.spawn_python(fetch, "http://server/", quiet=True).result(WAIT)
    assert "in real time: not repeatable" in seen.title
    assert "S seq=" in seen.ladder()
    seen.pcapng(tmp_path / "run.pcapng")
    seen.report(tmp_path / "run.html")
    assert (tmp_path / "run.html").stat().st_size > 10_000
