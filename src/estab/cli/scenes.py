"""Scenes of the lab that show what a word means: ``estab explain WORD --run`` plays one.

A scene is a few hosts, programs and a fault. Which words it shows is not claimed but found in its facts: counters that
moved, states that were entered, errors that calls returned, drops, options that were set. ``explain.shown`` keeps that,
and a test plays all scenes and compares.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from estab.cli.scene_programs import connect, pair, quietly, set_options, sink, source
from estab.errors import DropReason
from estab.events import CallReturned, CallStarted, Event, StateChanged
from estab.lab.network import Network
from estab.observe.recorder import Recorder

__all__ = ["SCENES", "Outcome", "Scene", "play", "shown_by"]

_ERRNO: Final = re.compile(r"^(E[A-Z0-9]+):")
_OPTION: Final = re.compile(r"\b(?:SO|TCP|IP|IPV6|UDP)_[A-Z0-9_]+")


@dataclass(frozen=True, slots=True)
class Scene:
    """``title`` says what is set up. ``sysctls`` are those that it sets to show what they do."""

    name: str
    title: str
    build: Callable[[Network], None]
    until: str | None = None
    sysctls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """A scene that was played: its facts, and each host's counters."""

    scene: Scene
    facts: list[Event]
    counters: dict[str, dict[str, int]]
    ended_ns: int


def play(scene: Scene) -> Outcome:
    """Play a scene. The same facts each time."""
    net = Network(seed=f"explain/{scene.name}")
    recorder = Recorder(facts_max=200_000)
    net.observe(recorder)
    with net:
        scene.build(net)
        net.run(until=scene.until, check=False)
        recorder.is_recording = False
        counters = {name: host.counters() for name, host in net.hosts.items()}
        return Outcome(scene, list(recorder.facts), counters, net.now_ns)


def shown_by(outcome: Outcome) -> Iterator[str]:
    """Name all that a scene shows, as ``kind:name``, from its facts."""
    for counters in outcome.counters.values():
        for name, count in counters.items():
            if count:
                yield name if name.startswith("drop:") else f"counter:{name}"
    for fact in outcome.facts:
        if isinstance(fact, StateChanged):
            yield f"state:{fact.new}"
            yield f"state:{fact.old}"
        elif isinstance(fact, CallReturned) and (match := _ERRNO.match(fact.error)):
            yield f"errno:{match[1]}"
        elif isinstance(fact, CallStarted) and fact.name in ("setsockopt", "getsockopt"):
            yield from (f"option:{name}" for name in _OPTION.findall(fact.arguments))
    yield from (f"sysctl:{name}" for name in outcome.scene.sysctls)


# --- scenes


def _exchange(net: Network) -> None:
    client, server, _ = pair(net)

    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            while text := connection.recv(1000):
                connection.sendall(text)

    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            for name in ("TCP_NODELAY", "TCP_QUICKACK", "TCP_CORK"):
                caller.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), int(name != "TCP_CORK"))
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            for _ in range(3):
                caller.sendall(b"question")
                caller.recv(100)
                time.sleep(0.1)
            caller.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            caller.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 300)

    server.run(serve)
    client.run(call)


def _refused(net: Network) -> None:
    client, _, _ = pair(net)
    client.run(quietly(lambda: socket.create_connection(("server", 81))))


def _no_answer(net: Network) -> None:
    client, server, _ = pair(net, client={"tcp_syn_retries": 2})
    net.at(0, server.power_off)
    client.run(quietly(lambda: socket.create_connection((server.address, 80))))


def _cable(net: Network) -> None:
    client, server, link = pair(net)
    server.run(sink(), daemon=True)

    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            caller.sendall(b"first")
            time.sleep(1)
            caller.sendall(b"second")
            caller.recv(1)

    client.run(quietly(call))
    net.at("0.5s", link.cut)


def _user_timeout(net: Network) -> None:
    client, server, link = pair(net)
    server.run(sink(), daemon=True)

    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000)
            time.sleep(1)
            caller.sendall(b"text")
            caller.recv(1)

    client.run(quietly(call))
    net.at("0.5s", link.cut)


def _keepalive(net: Network) -> None:
    client, server, link = pair(net)
    server.run(sink(), daemon=True)

    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            set_options(caller, {"SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3})
            caller.recv(1)

    client.run(quietly(call))
    net.at("15s", link.cut)


def _loss(net: Network) -> None:
    client, server, _ = pair(net, loss="4%")
    server.run(sink())
    client.run(source(300_000))


def _reordering(net: Network) -> None:
    client, server, _ = pair(net, reorder="8%", rate="50Mbit")
    server.run(sink())
    client.run(source(400_000))


def _delay_jump(net: Network) -> None:
    client, server, link = pair(net)
    server.run(sink())

    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            for _ in range(200):
                caller.sendall(bytes(8000))
                time.sleep(0.02)

    client.run(quietly(call))
    net.at("1s", lambda: link.set(delay={"client": "900ms"}))
    net.at("1.3s", lambda: link.set(delay={"client": "10ms"}))


def _not_reading(net: Network) -> None:
    client, server, _ = pair(net)
    server.run(sink(pause_s=8, SO_RCVBUF=8192))
    client.run(source(300_000, SO_SNDBUF=20_000))


def _accept_queue(net: Network) -> None:
    client, server, _ = pair(net)

    def serve() -> None:
        with socket.create_server(("", 80), backlog=1) as listener:
            time.sleep(6)
            for _ in range(5):
                listener.accept()[0].close()

    server.run(quietly(serve), daemon=True)
    for _ in range(5):
        client.run(source(100))


def _accept_reset(net: Network) -> None:
    client, server, _ = pair(net, server={"tcp_abort_on_overflow": True, "somaxconn": 1})

    def serve() -> None:
        with socket.create_server(("", 80), backlog=50):
            time.sleep(6)

    server.run(quietly(serve), daemon=True)
    for _ in range(5):
        client.run(source(100))


def _flood(cookies: str) -> Callable[[Network], None]:
    def build(net: Network) -> None:
        client, server, link = pair(net, server={"tcp_max_syn_backlog": 4, "tcp_syncookies": cookies})
        lost = link.rule(lambda sender, frame: DropReason.LINK_RULE if sender == "client" and len(frame) < 56 else None)

        def serve() -> None:
            with socket.create_server(("", 80), backlog=4) as listener:
                while True:
                    listener.accept()[0].close()

        def call() -> None:
            with socket.socket() as caller:
                caller.settimeout(4)
                connect(caller)
                caller.recv(1)

        server.run(quietly(serve), daemon=True)
        for _ in range(9):
            client.run(quietly(call))
        net.at("1.5s", lost)
    return build


def _reset_unread(net: Network) -> None:
    client, server, _ = pair(net)

    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            connection.recv(10)
            time.sleep(1)

    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            caller.sendall(bytes(5000))
            try:
                caller.recv(100)
            except OSError:
                caller.sendall(b"more")

    server.run(quietly(serve))
    client.run(quietly(call))


def _after_close(net: Network) -> None:
    client, server, _ = pair(net)

    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            listener.accept()[0].close()

    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            time.sleep(1)
            caller.sendall(b"too late")
            time.sleep(1)
            caller.sendall(b"and again")

    server.run(quietly(serve))
    client.run(quietly(call))


def _linger(net: Network) -> None:
    client, server, _ = pair(net)
    server.run(sink())

    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            caller.sendall(b"text")
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    client.run(quietly(call))


def _close_wait(net: Network) -> None:
    client, server, _ = pair(net)

    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            connection.recv(100)
            connection.recv(100)
            time.sleep(30)

    server.run(serve)
    client.run(quietly(lambda: socket.create_connection(("server", 80)).close()))


def _both_close(net: Network) -> None:
    client, server, _ = pair(net)

    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0]:
            time.sleep(2 - 0.03)

    def call() -> None:
        with socket.create_connection(("server", 80)):
            time.sleep(2 - 0.02)

    server.run(serve)
    client.run(call)


def _time_wait(net: Network) -> None:
    client, server, _ = pair(net, client={"ip_local_port_range": (40000, 40001), "tcp_tw_reuse": 0})

    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            while True:
                with listener.accept()[0] as connection:
                    connection.recv(1)

    def call() -> None:
        for _ in range(3):
            _connection = socket.create_connection((server.address, 80))
            _connection.close()
            time.sleep(0.5)

    server.run(quietly(serve), daemon=True)
    client.run(quietly(call))


def _black_hole(net: Network) -> None:
    client, server, link = pair(net, client={"tcp_mtu_probing": 1})
    link.set(mtu=1200)
    server.run(sink())
    client.run(source(30_000))


def _router(net: Network) -> None:
    client, router, server = net.host("client"), net.host("router", forwarding=True), net.host("server")
    net.link(client, router, delay="5ms")
    net.link(router, server, delay="5ms", mtu=1300)
    server.run(sink())
    client.run(source(20_000))


def _fast_open(net: Network) -> None:
    client, server, _ = pair(net, client={"tcp_fastopen": 1}, server={"tcp_fastopen": 2})

    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
            for _ in range(2):
                with listener.accept()[0] as connection:
                    connection.recv(100)

    def call() -> None:
        for _ in range(2):
            with socket.socket() as caller:
                caller.sendto(b"hello", 0x20000000, ("server", 80))
                caller.shutdown(socket.SHUT_WR)
                caller.recv(1)
            time.sleep(0.2)

    server.run(serve)
    client.run(quietly(call))


def _marks(net: Network) -> None:
    client, server, _ = pair(net, client={"tcp_ecn": 1}, rate="5Mbit", ecn_mark=5)
    server.run(sink())
    client.run(source(300_000))


def _datagrams(net: Network) -> None:
    client, server, _ = pair(net)

    def serve() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as receiver:
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            receiver.bind(("", 53))
            time.sleep(3)

    def call() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            for _ in range(8):
                sender.sendto(bytes(1000), ("server", 53))
            sender.sendto(bytes(5000), ("server", 53))
            sender.connect(("server", 99))
            sender.send(b"anybody?")
            time.sleep(1)
            sender.send(b"anybody?")

    server.run(serve)
    client.run(quietly(call))


def _six(net: Network) -> None:
    client, server, _ = pair(net, ethernet=True)

    def serve() -> None:
        with socket.create_server(("::", 80), family=socket.AF_INET6) as listener, listener.accept()[0] as connection:
            while connection.recv(65536):
                pass

    def call() -> None:
        with socket.create_connection((server.addresses[-1], 80)) as caller:
            caller.sendall(bytes(20_000))
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
            sender.sendto(bytes(4000), (server.addresses[-1], 99))
            time.sleep(1)

    server.run(serve)
    client.run(quietly(call))


def _firewall(net: Network) -> None:
    client, server, link = pair(net)
    link.firewall(idle="30s")

    def serve() -> None:
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            connection.recv(1)

    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10_000)
            time.sleep(60)
            caller.sendall(b"text")
            caller.recv(1)

    server.run(quietly(serve), daemon=True)
    client.run(quietly(call))


def _reboot(net: Network) -> None:
    client, server, _ = pair(net)
    server.run(sink())

    def call() -> None:
        with socket.create_connection(("server", 80)) as caller:
            time.sleep(10)
            caller.sendall(b"text")
            caller.recv(1)

    client.run(quietly(call))
    net.at("5s", server.power_off)
    net.at("6s", server.power_on)


def _full_queue(net: Network) -> None:
    client, server, _ = pair(net, rate="5Mbit", queue=20)
    server.run(sink())
    client.run(source(500_000, SO_MAX_PACING_RATE=2_000_000))


def _codel(net: Network) -> None:
    client, server, _ = pair(net, rate="5Mbit", queue=500, aqm="codel")
    server.run(sink())
    client.run(source(800_000))


def _damage(net: Network) -> None:
    client, server, _ = pair(net, corrupt="3%")
    server.run(sink())
    client.run(source(200_000))


def _damage_ethernet(net: Network) -> None:
    client, server, _ = pair(net, corrupt="3%", ethernet=True)
    server.run(sink())
    client.run(source(200_000))


def _mistakes(net: Network) -> None:
    client, server, _ = pair(net)

    def call() -> None:
        with (socket.socket() as first, socket.socket() as second, socket.socket() as third,
              socket.socket(type=socket.SOCK_DGRAM) as sender):
            first.bind(("", 80))
            third.setblocking(False)
            attempts: tuple[Callable[[], object], ...] = (
                lambda: second.bind(("", 80)),
                lambda: second.bind(("192.0.2.1", 80)),
                lambda: second.send(b"x"),
                lambda: second.connect(("198.51.100.1", 80)),
                lambda: second.setsockopt(socket.IPPROTO_TCP, 31, 1),
                lambda: second.accept(),
                lambda: sender.send(b"x"),
                lambda: sender.sendto(bytes(70_000), ("server", 9)),
                lambda: sender.sendto(b"x", ("255.255.255.255", 9)),
                lambda: third.connect((server.address, 80)),
                lambda: third.connect((server.address, 80)),
                lambda: third.recv(1),
            )
            for attempt in attempts:
                with contextlib.suppress(OSError):
                    attempt()

    client.run(call)


SCENES: Final = {scene.name: scene for scene in (
    Scene("exchange", "a client asks three times, a server answers; the client closes", _exchange, "70s"),
    Scene("refused", "nobody listens on the port", _refused),
    Scene("no-answer", "the server's host has no power; two retries of the SYN", _no_answer,
          sysctls=("net.ipv4.tcp_syn_retries",)),
    Scene("cable", "the cable is cut, then the client sends; nothing bounds the wait", _cable,
          sysctls=("net.ipv4.tcp_retries2", "net.ipv4.tcp_retries1")),
    Scene("user-timeout", "the same with TCP_USER_TIMEOUT of 20 s", _user_timeout),
    Scene("keepalive", "an idle connection with keepalive: 10 s, then 3 probes 5 s apart; the cable is cut", _keepalive,
          sysctls=("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes")),
    Scene("loss", "a path that loses 4 % of the frames", _loss, sysctls=("net.ipv4.tcp_sack",)),
    Scene("reordering", "a path that reorders 8 % of the frames", _reordering, sysctls=("net.ipv4.tcp_reordering",)),
    Scene("delay-jump", "a path whose delay jumps from 10 ms to 900 ms for a moment", _delay_jump,
          sysctls=("net.ipv4.tcp_frto", "net.ipv4.tcp_dsack")),
    Scene("not-reading", "the server's program sleeps for 8 s before it reads", _not_reading,
          sysctls=("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem")),
    Scene("accept-queue", "a listener with backlog 1 whose program does not call accept() for 6 s", _accept_queue),
    Scene("accept-reset", "the same with tcp_abort_on_overflow and somaxconn 1", _accept_reset,
          sysctls=("net.ipv4.tcp_abort_on_overflow", "net.core.somaxconn")),
    Scene("syn-queue", "nine handshakes whose last ACK is lost, a SYN queue of 4, no cookies", _flood("never"), "9s",
          ("net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_synack_retries")),
    Scene("syn-cookies", "the same with SYN cookies", _flood("when full"), "9s", ("net.ipv4.tcp_syncookies",)),
    Scene("reset-unread", "the server closes without reading all that came", _reset_unread),
    Scene("after-close", "the client writes after the server has closed", _after_close),
    Scene("linger", "the client closes with SO_LINGER 0", _linger),
    Scene("close-wait", "the server reads the end and closes 30 s later", _close_wait, "120s",
          ("net.ipv4.tcp_fin_timeout",)),
    Scene("both-close", "both ends close at the same moment", _both_close),
    Scene("time-wait", "a client with two local ports connects three times, and closes first", _time_wait, "70s",
          ("net.ipv4.ip_local_port_range", "net.ipv4.tcp_tw_reuse")),
    Scene("black-hole", "the path carries 1200 bytes and nobody says so; tcp_mtu_probing is 1", _black_hole, "60s",
          ("net.ipv4.tcp_mtu_probing", "net.ipv4.tcp_base_mss")),
    Scene("router", "behind a router is a link with a smaller MTU", _router, sysctls=("net.ipv4.ip_forward",)),
    Scene("fast-open", "two connections with TCP Fast Open: the first asks for a cookie", _fast_open,
          sysctls=("net.ipv4.tcp_fastopen",)),
    Scene("marks", "a queue that marks instead of dropping (ECN)", _marks, sysctls=("net.ipv4.tcp_ecn",)),
    Scene("datagrams", "datagrams to a program that does not read, too large ones, and to a closed port", _datagrams),
    Scene("ipv6", "IPv6 over Ethernet: neighbour discovery, a stream, a datagram that is cut", _six),
    Scene("firewall", "a firewall forgets the idle connection after 30 s; the client sends after 60 s", _firewall),
    Scene("reboot", "the server's host restarts while the connection is idle", _reboot),
    Scene("full-queue", "a slow link with a queue of 20 frames", _full_queue),
    Scene("codel", "a slow link with CoDel", _codel),
    Scene("damage", "a path that damages 3 % of the packets", _damage),
    Scene("damage-ethernet", "the same on Ethernet, whose check finds it", _damage_ethernet),
    Scene("mistakes", "a program that makes one mistake after the other", _mistakes),
)}
"""All scenes, those that show the least first claim a word: see ``explain.shown``."""
