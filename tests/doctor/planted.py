"""Programs that get connections of the kernel into trouble, one a name; each says ``ready`` and stays."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
import time

PEER = "10.99.0.2"
kept: list[object] = []


def listen(port: int, backlog: int = 16, rcvbuf: int = 0) -> socket.socket:
    listener = socket.socket()
    if rcvbuf:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    listener.bind(("", port))
    listener.listen(backlog)
    kept.append(listener)
    return listener


def connect(port: int, **options: int) -> socket.socket:
    caller = socket.socket()
    for name, value in options.items():
        level = socket.IPPROTO_TCP if name.startswith("TCP") else socket.SOL_SOCKET
        caller.setsockopt(level, 47 if name == "SO_MAX_PACING_RATE" else getattr(socket, name), value)
    caller.connect((PEER, port))
    kept.append(caller)
    return caller


def lose_the_peer() -> None:
    """Send what is for the peer to an address that nobody has."""
    subprocess.run(["ip", "neigh", "replace", PEER, "lladdr", "02:00:00:00:00:77", "dev", "va", "nud", "permanent"],
                   check=True)


def fill(caller: socket.socket) -> None:
    caller.setblocking(False)
    try:
        while True:
            caller.send(bytes(65536))
    except BlockingIOError:
        pass


def forever(function: object, *args: object) -> None:
    def run() -> None:
        try:
            while True:
                function(*args)  # type: ignore[operator]
        except OSError:
            pass

    threading.Thread(target=run, daemon=True).start()


# --- servers


def serve_nothing() -> None:
    """Accept, and never read."""
    listener = listen(80)
    forever(lambda: kept.append(listener.accept()[0]))


def serve_reading(pause_s: str = "0", rcvbuf: str = "0") -> None:
    """Read all that comes; with a pause after each piece."""
    listener = listen(80, rcvbuf=int(rcvbuf))

    def accept() -> None:
        connection = listener.accept()[0]
        kept.append(connection)

        def read() -> None:
            if not connection.recv(2000 if float(pause_s) else 65536):
                raise OSError
            time.sleep(float(pause_s))

        forever(read)

    forever(accept)


def serve_pairs() -> None:
    """Answer each pair of small writes."""
    listener = listen(80)

    def accept() -> None:
        connection = listener.accept()[0]

        def answer() -> None:
            got = 0
            while got < 300:
                text = connection.recv(300 - got)
                if not text:
                    raise OSError
                got += len(text)
            connection.sendall(bytes(100))

        forever(answer)

    forever(accept)


def serve_closing() -> None:
    """Close at once."""
    listener = listen(80)
    forever(lambda: listener.accept()[0].close())


def serve_closing_second() -> None:
    """Close once the peer has closed, so that TIME-WAIT is the peer's."""
    listener = listen(80)

    def serve() -> None:
        accepted, _ = listener.accept()
        accepted.recv(1)
        accepted.close()

    forever(serve)


def serve_sending_and_nothing() -> None:
    """Send without end on port 82, and read nothing on port 80."""
    sending = listen(82)
    forever(lambda: kept.append(sending.accept()[0]) or forever(kept[-1].sendall, bytes(65536)))  # type: ignore
    serve_nothing()


def serve_full() -> None:
    """Never call accept()."""
    listen(80, backlog=1)


def serve_small() -> None:
    """Accept, with a short queue for handshakes."""
    listener = listen(80, backlog=16)
    forever(lambda: kept.append(listener.accept()[0]))


def many_kinds() -> None:
    """Have sockets of IPv6: listeners of both kinds, one in CLOSE-WAIT, one with much unread, a mapped IPv4 one."""
    listener = socket.create_server(("::", 90), family=socket.AF_INET6, dualstack_ipv6=True)
    kept.extend([listener, socket.create_server(("::1", 91), family=socket.AF_INET6)])
    pairs = [(socket.create_connection((address, 90)), listener.accept()[0]) for address in ("::1", "::1", "127.0.0.1")]
    kept.extend(pairs)
    pairs[0][1].close()
    fill(pairs[1][0])
    time.sleep(1)


# --- clients


def accept_queue_full() -> None:
    for _ in range(5):
        caller = socket.socket()
        caller.setblocking(False)
        caller.connect_ex((PEER, 80))
        kept.append(caller)
    time.sleep(0.3)


def close_wait() -> None:
    for _ in range(3):
        connect(80).recv(1)
    time.sleep(0.6)


def peer_not_reading() -> None:
    fill(connect(80))
    time.sleep(0.7)


def own_queue_full() -> None:
    """Never call accept(), and connect to oneself."""
    listen(81, backlog=1)
    for _ in range(6):
        caller = socket.socket()
        caller.setblocking(False)
        caller.connect_ex(("127.0.0.1", 81))
        kept.append(caller)
    time.sleep(1.3)


def close_before_it_is_read() -> None:
    caller = connect(80)
    fill(caller)
    caller.close()
    time.sleep(0.7)


def relay() -> None:
    """Read from a peer that sends, and write to one that does not read."""
    source, sink = connect(82), connect(80)
    forever(lambda: sink.sendall(source.recv(65536)))
    time.sleep(2)


def refused() -> None:
    def call() -> None:
        with socket.socket() as caller:
            caller.connect_ex((PEER, 9))
        time.sleep(0.02)

    forever(call)


def syn_unanswered() -> None:
    lose_the_peer()
    caller = socket.socket()
    caller.setblocking(False)
    caller.connect_ex((PEER, 80))
    kept.append(caller)
    time.sleep(1.3)


def path_silent() -> None:
    caller = connect(80)
    time.sleep(0.1)
    lose_the_peer()
    caller.send(b"are you there?")
    time.sleep(1.6)


def close_unanswered() -> None:
    caller = connect(80)
    time.sleep(0.1)
    lose_the_peer()
    caller.close()
    time.sleep(1.6)


def unwatched_idle() -> None:
    connect(80)
    time.sleep(1.1)


def time_wait_ports() -> None:
    listener = listen(81)
    del listener
    for _ in range(17):
        caller = socket.create_connection((PEER, 80))
        caller.shutdown(socket.SHUT_WR)
        caller.recv(1)
        caller.close()
    time.sleep(0.1)


def send_syns() -> None:
    """Send SYNs from addresses that never answer."""
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    target = socket.inet_aton(PEER)
    for number in range(60):
        source = bytes((10, 99, 0, 100 + number % 100))
        segment = struct.pack(">HHIIBBHHH", 20_000 + number, 80, number * 1000, 0, 5 << 4, 2, 1024, 0, 0)
        words = source + target + struct.pack(">HH", 6, len(segment)) + segment
        total = sum(struct.unpack(f">{len(words) // 2}H", words))
        total = (total & 0xFFFF) + (total >> 16)
        total = (total & 0xFFFF) + (total >> 16)
        segment = segment[:16] + struct.pack(">H", ~total & 0xFFFF) + segment[18:]
        header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, number, 0, 64, 6, 0, source, target)
        raw.sendto(header + segment, (PEER, 0))
    time.sleep(0.2)


def window_limited() -> None:
    forever(connect(80).send, bytes(20_000))
    time.sleep(0.5)


def pacing_limited() -> None:
    forever(connect(80, SO_MAX_PACING_RATE=150_000).send, bytes(20_000))
    time.sleep(0.5)


def stream() -> None:
    """Send all the time."""
    forever(connect(80).send, bytes(20_000))
    time.sleep(1.5)


def flood_with_datagrams() -> None:
    """Send more datagrams than the interface's queue holds, in bursts."""
    caller = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    kept.append(caller)

    def burst() -> None:
        for _ in range(20):
            caller.sendto(bytes(1000), (PEER, 9))
        time.sleep(0.01)

    forever(burst)
    time.sleep(0.3)


def stream_for_long() -> None:
    """Send until a queue stands."""
    forever(connect(80).send, bytes(20_000))
    time.sleep(3)


def write_seldom() -> None:
    """Write pieces with pauses, on a path that would take far more."""
    caller = connect(80, TCP_NODELAY=1)

    def write() -> None:
        caller.send(bytes(20_000))
        time.sleep(0.08)

    forever(write)
    time.sleep(0.5)


def small_send_buffer() -> None:
    forever(connect(80, SO_SNDBUF=4000).send, bytes(20_000))
    time.sleep(1)


def full_segments_vanish() -> None:
    caller = connect(80, TCP_NODELAY=1)
    caller.send(bytes(300))
    time.sleep(0.1)
    caller.send(bytes(1448))
    caller.send(bytes(300))
    time.sleep(1.5)


def keepalive_unanswered() -> None:
    connect(80, SO_KEEPALIVE=1, TCP_KEEPIDLE=1, TCP_KEEPINTVL=1)
    time.sleep(0.1)
    subprocess.run(["ip", "link", "set", "tun0", "down"], check=True)
    subprocess.run(["ip", "link", "set", "tun0", "up"], check=True)
    subprocess.run(["ip", "route", "replace", "blackhole", PEER], check=True)
    time.sleep(4.2)


def nagle() -> None:
    caller = connect(80)

    def ask() -> None:
        caller.send(bytes(100))
        caller.send(bytes(200))
        got = 0
        while got < 100:
            got += len(caller.recv(100 - got))

    forever(ask)
    time.sleep(1)


def healthy() -> None:
    """Exchange, stay idle with keepalive, and send a little now and then."""
    caller = connect(80, TCP_NODELAY=1)
    connect(80, SO_KEEPALIVE=1)
    connect(80, SO_KEEPALIVE=1).sendall(bytes(10_000))

    def ask() -> None:
        caller.send(bytes(300))
        got = 0
        while got < 100:
            got += len(caller.recv(100 - got))
        time.sleep(0.01)

    forever(ask)
    time.sleep(1)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
    print("ready", flush=True)
    os.read(0, 1)
