"""The UDP tunnel: packets in the operating system's datagrams."""

from __future__ import annotations

import select
import socket
import threading

import pytest

import estab
from estab.wire import ip


def packet(src: bytes, dst: bytes) -> bytes:
    """Make a small packet."""
    return ip.emit(src, dst, ip.UDP, b"\0\1\0\2\0\x08\0\0")


HERE, THERE = b"\x0a\x09\0\1", b"\x0a\x09\0\2"


def receive(tunnel: estab.UdpTunnel) -> bytes | None:
    """Take a packet, waiting for it."""
    readable, _, _ = select.select([tunnel.fileno()], [], [], 5)
    return tunnel.receive() if readable else None


def test_two_stacks_are_joined_by_datagrams() -> None:
    server_end = estab.UdpTunnel(("127.0.0.1", 0))
    client_end = estab.UdpTunnel(("127.0.0.1", 0), server_end.address)
    with (estab.Stack(server_end, "10.9.0.2/24", name="server") as there,
          estab.Stack(client_end, "10.9.0.1/24", name="client") as here,
          there.socket() as listener, here.socket() as client):
        listener.bind(("", 7))
        listener.listen()
        listener.settimeout(20)
        client.settimeout(20)
        client.connect(("10.9.0.2", 7))
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(20)
            data = bytes(range(256)) * 1000
            sender = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
            sender.start()
            got = b""
            while part := accepted.recv(65_536):
                got += part
            sender.join()
        assert got == data
        assert server_end.peers == {b"\x0a\x09\0\1": client_end.address}


def test_a_fixed_peer_is_the_only_one_that_is_heard() -> None:
    here, there = estab.UdpTunnel(("127.0.0.1", 0)), estab.UdpTunnel(("127.0.0.1", 0))
    fixed = estab.UdpTunnel(("127.0.0.1", 0), there.address)
    try:
        stranger = estab.UdpTunnel(("127.0.0.1", 0), fixed.address)
        stranger.send(packet(HERE, THERE))
        assert receive(fixed) is None
        assert fixed.dropped_frames == 1
        stranger.close()
    finally:
        for tunnel in (here, there, fixed):
            tunnel.close()


def test_no_more_peers_are_remembered_than_there_is_room_for() -> None:
    hub = estab.UdpTunnel(("127.0.0.1", 0), peers_max=2)
    spoke = estab.UdpTunnel(("127.0.0.1", 0), hub.address)
    try:
        for last in (1, 2, 1, 3):
            spoke.send(packet(bytes([10, 9, 0, last]), THERE))
            assert receive(hub) is not None
        assert list(hub.peers) == [bytes([10, 9, 0, 1]), bytes([10, 9, 0, 3])]
        assert hub.send(packet(THERE, bytes([10, 9, 0, 2])))
        assert hub.dropped_frames == 1
    finally:
        hub.close()
        spoke.close()


@pytest.mark.parametrize("junk", [b"", b"\0", b"\x45\0", b"\x60" + bytes(20), b"hello, this is no packet at all"])
def test_what_is_no_packet_is_dropped_and_counted(junk: bytes) -> None:
    tunnel = estab.UdpTunnel(("127.0.0.1", 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(junk, tunnel.address)
    assert receive(tunnel) is None
    assert tunnel.dropped_frames == 1
    tunnel.close()
