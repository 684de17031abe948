"""Paths of Unix sockets on hosts and on the kernel, which must say the same of them."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from estab import Network

KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)
PATHS = ("missing/x", "file", "file/x", "file/", "folder", "folder/", "folder/../new", "folder/..", "link", "link/y",
         "dangling", "loop", "loop/x", "new", "other", "other/", "none/", ".")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with something of each kind."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for name, target in (("link", "folder"), ("dangling", "nowhere"), ("loop", "loop")):
        (tmp_path / name).symlink_to(target)
    return tmp_path


def tried(name: str, kind: int, *args: Any) -> Any:
    """Make one call on a new socket. Gives its error, and the name that the socket has then."""
    with socket.socket(socket.AF_UNIX, kind) as sock:
        try:
            getattr(sock, name)(*args)
        except OSError as error:
            return type(error).__name__, error.errno, str(error)
        return sock.getsockname()


def everything_about_paths() -> list[Any]:
    """Bind and connect to each path, relative ones: the names do not depend on where the test runs."""
    found: list[Any] = []
    for kind in KINDS:
        for path in PATHS:
            found += [(kind, path, tried(call, kind, path)) for call in ("bind", "connect")]
            if kind == socket.SOCK_DGRAM:
                found.append((path, tried("sendto", kind, b"x", path)))
        for path in ("new", "folder/y", "link/y", "other"):
            found.append((path, os.path.exists(path)))
            if os.path.exists(path) and path != "link/y":
                os.unlink(path)
    return found


def names_of_one_socket() -> list[Any]:
    """Find one socket by several paths, from two directories."""
    found: list[Any] = []
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("link/s\0ignored")
        sock.listen()
        os.symlink("folder/s", "to-it")
        for path in ("folder/s", "link/s", "folder/../link/s", os.path.abspath("folder/s"), "to-it"):
            found.append((os.path.exists(path), os.lstat(path).st_mode, tried("connect", socket.SOCK_STREAM, path)))
        found += [sock.getsockname(), tried("bind", socket.SOCK_STREAM, "folder/s"),
                  tried("bind", socket.SOCK_STREAM, "to-it"), tried("connect", socket.SOCK_DGRAM, "to-it")]
        os.chdir("folder")
        found += [tried("connect", socket.SOCK_STREAM, "s"), tried("connect", socket.SOCK_STREAM, "link/s")]
        os.chdir("..")
        found += [tried_again(sock, path) for path in ("missing/x", "file", "link/s", "free")]
        found.append(os.path.exists("free"))
        os.unlink("to-it")
        os.unlink("link/s")
        found += [os.path.exists("folder/s"), tried("connect", socket.SOCK_STREAM, "folder/s")]
    return found


def tried_again(sock: socket.socket, path: str) -> Any:
    try:
        sock.bind(path)
    except OSError as error:
        return error.errno
    return None


@pytest.mark.parametrize("look", [everything_about_paths, names_of_one_socket])
def test_paths_are_what_they_are_for_the_kernel(look: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    expected = look()
    with Network() as net:
        run = net.host("a").run(look)
        net.run()
        assert run.result() == expected


def test_a_socket_of_the_machine_is_none_of_a_host(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as sock, Network() as net:
        sock.bind(path)
        sock.listen()
        runs = [net.host("a").run(tried, "connect", socket.SOCK_STREAM, path),
                net.host("b").run(tried, "bind", socket.SOCK_STREAM, path)]
        net.run()
        assert runs[0].result()[1] == 2
        assert runs[1].result() == path


def test_two_hosts_have_a_socket_each_of_one_path(tmp_path: Path) -> None:
    path = str(tmp_path / "s")

    def serve() -> Any:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path)
            sock.listen()
            with sock.accept()[0] as made:
                return made.recv(9)

    def call(text: bytes) -> Any:
        time.sleep(1)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.sendall(text)

    with Network() as net:
        servers = []
        for name in ("a", "b"):
            host = net.host(name)
            servers.append(host.run(serve))
            host.run(call, name.encode())
        net.run()
        assert [server.result() for server in servers] == [b"a", b"b"]
    assert not os.path.exists(path)
