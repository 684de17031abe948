"""Unix sockets between programs of one host do what the machine's do, call by call, and are on no wire."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import signal
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from estab import DeadlockError, ExitError, Network

pytestmark = pytest.mark.skipif(not hasattr(socket, "SOCK_SEQPACKET"), reason="the machine has no Unix sockets")

STREAM, DGRAM, SEQPACKET = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET
KINDS = (STREAM, DGRAM, SEQPACKET)


def on_a_host(function: Callable[[], Any]) -> Any:
    """Run a function as a program of a host, alone."""
    with Network() as net:
        program = net.host("a").run(function)
        net.run()
        return program.result()


def both(function: Callable[[], Any]) -> Any:
    """Compare what a function returns on a host with what it returns on the machine. Returns it."""
    found = on_a_host(function)
    assert found == function()
    return found


def tried(call: Callable[..., Any], *args: Any) -> Any:
    """Return what a call returns, or the name of its error."""
    try:
        return call(*args)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def readiness(sock: socket.socket) -> int:
    """Return what ``poll`` says of a socket now."""
    poll = select.poll()
    poll.register(sock, select.POLLIN | select.POLLOUT | select.POLLRDHUP)
    found = poll.poll(0)
    return found[0][1] if found else 0


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Make a path that no file has, on the machine as on a host."""
    return str(tmp_path / "s")


def test_a_name_is_as_long_as_the_machine_lets_it_be() -> None:
    def ask() -> list[object]:
        told: list[object] = []
        for name in [b"\0" + b"n" * 106, b"\0" + b"n" * 107, b"\0" + b"n" * 108, b"n" * 108]:
            with socket.socket(socket.AF_UNIX) as sock:
                try:
                    told.append((sock.bind(name), sock.getsockname()))
                except OSError as error:
                    told.append(str(error))
        return told

    assert both(ask)[1:3] == [(None, b"\0" + b"n" * 107), "AF_UNIX path too long"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_carries_both_ways_and_its_ends_have_no_names(kind: int) -> None:
    def look() -> Any:
        one, two = socket.socketpair(type=kind)
        with one, two:
            one.send(b"there")
            two.send(b"back")
            return [two.recv(100), one.recv(100), one.family, one.type, one.getsockname(), two.getpeername(),
                    readiness(one), readiness(two)]

    both(look)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unread", [0, 1])
def test_what_an_end_sees_when_the_other_is_closed(kind: int, unread: int) -> None:
    def look() -> Any:
        one, two = socket.socketpair(type=kind)
        with one:
            with two:
                two.send(b"last words")
                for _ in range(unread):
                    one.send(b"unread")
            one.setblocking(False)
            return [readiness(one), tried(one.recv, 100), readiness(one), tried(one.recv, 100), tried(one.recv, 100),
                    tried(one.send, b"x"), tried(one.send, b"x"), readiness(one)]

    both(look)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", [socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR])
def test_shutdown_ends_one_direction_or_both(kind: int, how: int) -> None:
    def look() -> Any:
        one, two = socket.socketpair(type=kind)
        with one, two:
            two.send(b"before")
            one.shutdown(how)
            for end in (one, two):
                end.setblocking(False)
            return [[readiness(end), tried(end.recv, 100), tried(end.recv, 100), tried(end.send, b"x"), readiness(end)]
                    for end in (one, two)]

    both(look)


@pytest.mark.parametrize("kind", [STREAM, SEQPACKET])
def test_a_connection_is_made_before_it_is_accepted(kind: int, path: str) -> None:
    def look() -> Any:
        os.path.exists(path) and os.unlink(path)
        with socket.socket(socket.AF_UNIX, kind) as listener, socket.socket(socket.AF_UNIX, kind) as sock:
            found: list[Any] = [readiness(listener), readiness(sock), tried(listener.listen) if kind == 9 else None]
            listener.bind(path)
            listener.listen(1)
            found += [readiness(listener), tried(sock.connect, path), readiness(listener), sock.getpeername()]
            sock.send(b"early")
            taken, peer = listener.accept()
            with taken:
                found += [peer, taken.recv(10), taken.getsockname(), taken.getpeername(), readiness(taken)]
                found += [tried(sock.connect, path), tried(listener.connect, path), tried(taken.listen)]
        return found

    both(look)


@pytest.mark.parametrize("kind", KINDS)
def test_the_errors_of_names(kind: int, path: str) -> None:
    def look() -> Any:
        os.path.exists(path) and os.unlink(path)
        other = DGRAM if kind != DGRAM else STREAM
        with (socket.socket(socket.AF_UNIX, kind) as sock, socket.socket(socket.AF_UNIX, kind) as bound,
              socket.socket(socket.AF_UNIX, other) as wrong):
            found = [tried(sock.connect, path), tried(sock.connect, b"\0nobody-" + path.encode())]
            bound.bind(path)
            found += [tried(bound.bind, path), tried(sock.bind, path), tried(wrong.connect, path),
                      tried(sock.getpeername), tried(sock.send, b"x")]
            if kind != DGRAM:
                found.append(tried(sock.connect, path))  # it does not listen
            with socket.socket(socket.AF_UNIX, kind) as abstract:
                abstract.bind(b"\0abstract-" + path.encode()[-90:])
                found += [tried(wrong.connect, abstract.getsockname()), tried(sock.connect, "")]
            bound.close()
            found += [os.path.exists(path), tried(sock.connect, path), tried(sock.bind, path)]
            os.unlink(path)
            found += [os.path.exists(path), tried(sock.connect, path), tried(sock.bind, path), tried(sock.bind, path)]
            os.unlink(path)
        return found

    both(look)


@pytest.mark.parametrize("kind", KINDS)
def test_calls_on_a_socket_without_a_peer(kind: int) -> None:
    def look() -> Any:
        with socket.socket(socket.AF_UNIX, kind) as sock:
            sock.setblocking(False)
            return [readiness(sock), tried(sock.recv, 1), tried(sock.send, b"x"), tried(sock.accept),
                    tried(sock.listen), tried(sock.shutdown, socket.SHUT_RDWR), readiness(sock), sock.getsockname(),
                    tried(sock.sendto, b"x", "/nowhere/at/all"), tried(sock.send, b"x", socket.MSG_OOB)]

    both(look)


def test_an_abstract_name_goes_with_its_socket_and_an_empty_one_is_made_up() -> None:
    def look() -> Any:
        name = b"\0estab-test-abstract"
        with socket.socket(socket.AF_UNIX) as first:
            first.bind(name)
            first.listen()
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(name)
                found = [first.getsockname(), sock.getpeername(), sock.getsockname()]
        with socket.socket(socket.AF_UNIX) as second:
            second.bind(name)
        with socket.socket(socket.AF_UNIX) as third:
            third.bind("")
            made = third.getsockname()
            return [*found, type(made), len(made), made[:1]]

    both(look)


def test_a_full_backlog_makes_connect_wait_or_say_eagain() -> None:
    def look() -> Any:
        name = b"\0estab-test-backlog"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(name)
            listener.listen(1)
            waiting = [socket.socket(socket.AF_UNIX) for _ in range(4)]
            found: list[Any] = []
            for sock in waiting[:3]:
                sock.setblocking(False)
                found.append(tried(sock.connect, name))
            last = waiting[3]
            done: list[Any] = []

            def connect() -> None:
                done.append(tried(last.connect, name))

            thread = threading.Thread(target=connect)
            thread.start()
            listener.accept()[0].close()
            listener.accept()[0].close()
            thread.join()
            for sock in waiting:
                sock.close()
            return found + done

    both(look)


def test_a_listener_that_closes_resets_who_waits() -> None:
    def look() -> Any:
        name = b"\0estab-test-close"
        with socket.socket(socket.AF_UNIX) as sock:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(name)
                listener.listen()
                sock.connect(name)
            return [readiness(sock), tried(sock.recv, 1), tried(sock.recv, 1), tried(sock.send, b"x")]

    both(look)


def test_datagrams_keep_their_bounds_and_say_from_whom(path: str) -> None:
    def look() -> Any:
        for name in (path, f"{path}2"):
            os.path.exists(name) and os.unlink(name)
        with (socket.socket(socket.AF_UNIX, DGRAM) as server, socket.socket(socket.AF_UNIX, DGRAM) as named,
              socket.socket(socket.AF_UNIX, DGRAM) as nameless):
            server.bind(path)
            named.bind(f"{path}2")
            named.sendto(b"from a name", path)
            nameless.sendto(b"", path)
            nameless.connect(path)
            nameless.send(b"from none, and long")
            found: list[Any] = [server.recvfrom(100), server.recvfrom(100), server.recvmsg(4), server.recv(4, 0)
                                if server.setblocking(False) else tried(server.recv, 4)]
            server.connect(f"{path}2")
            found += [tried(nameless.send, b"x"), tried(nameless.sendto, b"x", path), tried(named.sendto, b"x", path)]
            found += [tried(named.send, b"x" * 300_000), tried(named.sendto, b"x" * 300_000, path)]
        for name in (path, f"{path}2"):
            os.unlink(name)
        return found

    both(look)


def test_a_receiver_holds_eleven_datagrams_and_then_senders_wait(path: str) -> None:
    def look() -> Any:
        os.path.exists(path) and os.unlink(path)
        with socket.socket(socket.AF_UNIX, DGRAM) as server, socket.socket(socket.AF_UNIX, DGRAM) as sender:
            server.bind(path)
            sender.setblocking(False)
            sent = 0
            while tried(sender.sendto, b"x", path) == 1:
                sent += 1
            sender.connect(path)
            found = [sent, readiness(sender), tried(sender.send, b"x")]
            sender.setblocking(True)
            got: list[bytes] = []
            thread = threading.Thread(target=lambda: got.extend(server.recv(10) for _ in range(12)))
            thread.start()
            sender.send(b"y")
            thread.join()
            os.unlink(path)
            return [*found, got, readiness(sender)]

    both(look)


def test_a_stream_takes_what_its_buffer_holds_and_is_writable_again_below_a_quarter() -> None:
    def look() -> Any:
        one, two = socket.socketpair()
        with one, two:
            one.setblocking(False)
            sent = one.send(bytes(1_000_000))
            found = [100_000 < sent < 1_000_000, readiness(one) & select.POLLOUT, tried(one.send, b"x")]
            two.recv(1000)
            found.append(readiness(one) & select.POLLOUT)
            left = sent - 1000
            while left > 10_000:
                left -= len(two.recv(left - 10_000))
            return [*found, readiness(one) & select.POLLOUT, one.send(b"again")]

    both(look)


def test_messages_of_a_stream_join_and_those_of_packets_do_not() -> None:
    def look() -> Any:
        found = []
        for kind in (STREAM, SEQPACKET):
            one, two = socket.socketpair(type=kind)
            with one, two:
                for part in (b"one", b"two", b"three"):
                    one.send(part)
                found += [two.recv(2, socket.MSG_PEEK), two.recv(4), two.recv(100), tried(two.recv, 100,
                                                                                           socket.MSG_DONTWAIT)]
        return found

    both(look)


def test_waitall_waits_for_all() -> None:
    def look() -> Any:
        one, two = socket.socketpair()
        with one, two:
            two.settimeout(None)
            thread = threading.Thread(target=lambda: [one.send(b"abc") for _ in range(4)])
            thread.start()
            found = two.recv(12, socket.MSG_WAITALL)
            thread.join()
            return found

    both(look)


@pytest.mark.parametrize("kind", KINDS)
def test_options_have_the_machines_values(kind: int) -> None:
    def look() -> Any:
        with socket.socket(socket.AF_UNIX, kind) as sock:
            names = ("SO_TYPE", "SO_DOMAIN", "SO_PROTOCOL", "SO_ERROR", "SO_ACCEPTCONN", "SO_REUSEADDR",
                     "SO_KEEPALIVE", "SO_SNDBUF", "SO_RCVBUF", "SO_PASSCRED")
            found = [tried(sock.getsockopt, socket.SOL_SOCKET, getattr(socket, name)) for name in names]
            found.append(tried(sock.getsockopt, socket.IPPROTO_TCP, socket.TCP_NODELAY))
            found.append(tried(sock.setsockopt, socket.IPPROTO_TCP, socket.TCP_NODELAY, 1))
            for name, value in (("SO_REUSEADDR", 1), ("SO_SNDBUF", 10_000), ("SO_RCVBUF", 10_000)):
                sock.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
                found.append(sock.getsockopt(socket.SOL_SOCKET, getattr(socket, name)))
            return found

    both(look)


@pytest.mark.parametrize("name", ["SO_RCVTIMEO", "SO_SNDTIMEO"])
def test_limits_of_time_are_taken_as_by_the_machine(name: str) -> None:
    option = getattr(socket, name)

    def look() -> Any:
        with socket.socket(socket.AF_UNIX, STREAM) as sock:
            given = [struct.pack("ll", *one) for one in ((0, 2_000_000), (0, -1), (-1, 0), (2**62, 0), (3, 0))]
            return [(tried(sock.setsockopt, socket.SOL_SOCKET, option, value),
                     sock.getsockopt(socket.SOL_SOCKET, option, 16)) for value in (*given, 5, b"short", b"")]

    both(look)


def test_sizes_of_buffers_below_zero_are_the_largest_and_an_int_has_four_bytes() -> None:
    def look() -> Any:
        with socket.socket(socket.AF_UNIX, STREAM) as sock:
            found: list[Any] = []
            for name in ("SO_SNDBUF", "SO_RCVBUF"):
                option = getattr(socket, name)
                sock.setsockopt(socket.SOL_SOCKET, option, -1)
                found += [sock.getsockopt(socket.SOL_SOCKET, option) > 212_992,
                          tried(sock.setsockopt, socket.SOL_SOCKET, option, b"abc")]
            return found

    assert both(look) == [True, "EINVAL", True, "EINVAL"]


def test_a_datagram_socket_that_reads_no_more_waits_for_its_timeout() -> None:
    def story() -> list[Any]:
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with one, other:
            one.shutdown(socket.SHUT_RD)
            told = [one.recv(1)]
            one.settimeout(0.05)
            for flags in (0, socket.MSG_DONTWAIT):
                with pytest.raises(TimeoutError):
                    told.append(one.recv(1, flags))
            return told

    assert both(story) == [b""]


def test_a_receive_timeout_of_the_option_counts_in_virtual_time() -> None:
    def look() -> Any:
        one, two = socket.socketpair()
        with one, two:
            one.settimeout(None)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 20_000))
            return tried(one.recv, 1)

    assert both(look) == "EAGAIN"


def test_peercred_names_the_program_on_the_other_side() -> None:
    def serve() -> list[int]:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("/run/cred")
            listener.listen()
            taken, _ = listener.accept()
            with taken:
                found = struct.unpack("3i", taken.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
                taken.send(b"x")
                return [*found, os.getpid()]

    def call() -> list[int]:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect("/run/cred")
            sock.recv(1)
            return [*struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)), os.getpid()]

    with Network() as net:
        a = net.host("a")
        serving, calling = a.run(serve), a.run(call, start=1)
        net.run()
        (seen_client, uid, gid, server), (seen_server, _, _, client) = serving.result(), calling.result()
        assert (seen_client, seen_server) == (client, server)
        assert (uid, gid) == (os.getuid(), os.getgid())


def test_nothing_of_unix_sockets_and_pipes_is_a_packet() -> None:
    def talk() -> None:
        one, two = socket.socketpair()
        with one, two:
            one.sendall(b"x" * 10_000)
            two.recv(10_000)
        reader, writer = os.pipe()
        os.write(writer, b"x")
        os.read(reader, 1)
        os.close(reader)
        os.close(writer)

    with Network() as net:
        a = net.host("a")
        seen = net.record()
        a.run(talk)
        net.run()
        assert [fact for fact in seen.facts if type(fact).__name__ in ("FrameSent", "SegmentSent", "TcbCreated")] == []
        assert [fact.kind for fact in seen.facts if type(fact).__name__ == "FdAllocated"] == [
            "u_str", "u_str", "pipe", "pipe"]


def test_ss_lists_unix_sockets_as_on_linux() -> None:
    def serve() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("/run/listed")
            listener.listen(5)
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect("/run/listed")
                sock.send(b"abc")
                threading.Event().wait(10)

    with Network() as net:
        a = net.host("a")
        a.run(serve)
        net.run(until=1)
        assert [(row.netid, row.state, row.recv_q, row.send_q, row.local, row.peer) for row in a.sockets()] == [
            ("u_str", "LISTEN", 1, 5, "/run/listed", "*"), ("u_str", "ESTAB", 0, 771, "*", "/run/listed")]


def test_a_wait_on_a_unix_socket_is_named_in_a_deadlock() -> None:
    def wait() -> None:
        one, two = socket.socketpair()
        with one, two:
            one.recv(1)

    with Network() as net:
        net.host("a").run(wait)
        with pytest.raises(DeadlockError, match=r"recv\(\) on u_str \*>\* \(ESTAB\)"):
            net.run()


def test_power_loss_forgets_unix_sockets_and_their_names() -> None:
    def serve() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("/run/power")
            listener.listen()
            listener.accept()

    def look() -> Any:
        with socket.socket(socket.AF_UNIX) as sock:
            return sock.connect_ex("/run/power")

    with Network() as net:
        a = net.host("a")
        a.run(serve, daemon=True)
        net.at("1s", a.power_off)
        net.at("2s", a.power_on)
        net.run(until=3)
        program = a.run(look)
        net.run()
        assert program.result() == errno.ENOENT


def test_the_end_of_a_program_closes_its_unix_sockets() -> None:
    kept: list[socket.socket] = []

    def leave() -> None:
        one, two = socket.socketpair()
        kept.append(two)
        one.detach()

    def serve() -> Any:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("/run/end")
            listener.listen()
            taken, _ = listener.accept()
            with taken:
                return taken.recv(10), taken.recv(10)

    def call() -> None:
        sock = socket.socket(socket.AF_UNIX)
        kept.append(sock)
        sock.connect("/run/end")
        sock.send(b"bye")

    with Network() as net:
        a = net.host("a")
        a.run(leave)
        served = a.run(serve)
        a.run(call, start=1)
        net.run()
        assert served.result() == (b"bye", b"")
        kept.clear()


def test_broken_pipe_is_a_signal_for_a_program_that_wants_it() -> None:
    def ignore() -> Any:
        one, two = socket.socketpair()
        two.close()
        with one:
            return tried(one.send, b"x")

    def die() -> None:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        ignore()

    def hear() -> Any:
        heard: list[int] = []
        signal.signal(signal.SIGPIPE, lambda number, frame: heard.append(number))
        return [ignore(), heard]

    with Network() as net:
        a = net.host("a")
        ignoring, hearing, dying = a.run(ignore), a.run(hear), a.run(die)
        net.run(check=False)
        assert (ignoring.result(), hearing.result()) == ("EPIPE", ["EPIPE", [signal.SIGPIPE]])
        with pytest.raises(ExitError, match="SIGPIPE"):
            dying.result()


def test_asyncio_speaks_datagrams_by_paths(path: str) -> None:
    async def talk() -> Any:
        got: asyncio.Queue[Any] = asyncio.Queue()

        class Keep(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                got.put_nowait((data, addr))

        loop = asyncio.get_running_loop()
        server, _ = await loop.create_datagram_endpoint(Keep, local_addr=path, family=socket.AF_UNIX)
        client, _ = await loop.create_datagram_endpoint(Keep, remote_addr=path, family=socket.AF_UNIX)
        client.sendto(b"hello")
        found = await got.get()
        client.close()
        server.close()
        await asyncio.sleep(0)
        os.unlink(path)
        return found

    def look() -> Any:
        return asyncio.run(talk())

    both(look)


def test_tls_runs_over_a_pair(contexts: Any) -> None:
    server, client = contexts

    def look() -> Any:
        one, two = socket.socketpair()
        thread = threading.Thread(target=lambda: server.wrap_socket(two, server_side=True).close())
        thread.start()
        with client.wrap_socket(one, server_hostname="server.example") as secure:
            found = secure.version(), secure.recv(10)
        thread.join()
        return found

    both(look)
