"""The pieces of which ``replay`` writes programs: what all begin with, and a body for each kind of case."""

from __future__ import annotations

from typing import Final

__all__ = ["BODIES", "COMMON"]

COMMON: Final = ('''import errno
import socket
import time

import estab
''', '''def network(**changes):
    """Make a client, a server and the link between them, as they were seen, with changes."""
    seen = {**SEEN, **changes}
    settings = {name: value for name, value in changes.items() if name.startswith("tcp_")}
    settings.setdefault("tcp_timestamps", bool(seen["has_timestamps"]))
    settings.setdefault("tcp_sack", bool(seen["has_sack"]))
    settings.setdefault("tcp_retries2", seen["retries2"])
    settings.setdefault("tcp_congestion_control", seen["congestion"] if seen["congestion"] in KNOWN else "cubic")
    net = estab.Network(seed=1)
    client = net.host("client", **settings)
    server = net.host("server", **{name: value for name, value in settings.items() if name != "tcp_retries2"})
    link = {"delay": f"{seen['rtt_ms'] / 2}ms"}
    if seen["loss"]:
        link["loss"] = {"client": f"{seen['loss'] * 100}%"}
    if seen["reorder"]:
        link["reorder"] = {"client": f"{seen['reorder'] * 100}%"}
    if seen["rate_bps"]:
        link["rate"] = seen["rate_bps"]
    if seen.get("queue"):
        link["queue"] = seen["queue"]
    if seen.get("aqm"):
        link["aqm"] = seen["aqm"]
    cable = net.link(client, server, **link)
    if seen.get("mtu"):
        cable.set(mtu=seen["mtu"])
    return net, client, server, cable, seen


KNOWN = ("cubic", "bbr", "reno", "dctcp")


def seconds(value):
    return f"{value:,.1f} s" if value >= 10 else f"{value:.3f} s"


def sink(server, **options):
    """Serve one connection: read all."""
    def serve():
        with socket.create_server(("", 80)) as listener:
            if options.get("receive_buffer"):
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options["receive_buffer"])
            with listener.accept()[0] as connection:
                time.sleep(options.get("pause", 0))
                while connection.recv(65536):
                    pass

    server.run(serve, daemon=True)


def noticed(client, call):
    """Run a call on the client; give what it says when it fails, and after how long."""
    outcome = []

    def run():
        started = time.monotonic()
        try:
            call()
            outcome.append(f"nothing fails, after {seconds(time.monotonic() - started)}")
        except TimeoutError as error:
            word = errno.errorcode.get(error.errno, "timed out") if error.errno else "timed out"
            outcome.append(f"{word} after {seconds(time.monotonic() - started)}")
        except OSError as error:
            outcome.append(f"{errno.errorcode.get(error.errno, error)} after {seconds(time.monotonic() - started)}")

    client.run(run)
    return outcome
''')

_SILENCE: Final = '''def silence(user_timeout_ms=0, keepalive=False, **changes):
    """Cut the path, then send: when does the program notice?"""
    net, client, server, cable, seen = network(**changes)
    sink(server)

    def call():
        caller = socket.create_connection(("server", 80))
        with caller:
            if user_timeout_ms:
                caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, user_timeout_ms)
            if keepalive:
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            caller.sendall(b"before")
            time.sleep(5)
            nonlocal_started[0] = time.monotonic()
            caller.sendall(b"after the cut")
            caller.recv(1)

    nonlocal_started = [0.0]
    outcome = []

    def run():
        try:
            call()
        except OSError as error:
            outcome.append(f"{errno.errorcode.get(error.errno, error)} after "
                           f"{seconds(time.monotonic() - nonlocal_started[0])}")

    client.run(run)
    net.at(2, cable.cut)
    net.run(until=4000, check=False)
    net.close()
    return outcome[0] if outcome else "not within an hour"


def trials():
    yield "as it is", silence()
    yield "with TCP_USER_TIMEOUT=20s", silence(user_timeout_ms=20_000)
    yield "with tcp_retries2=8", silence(tcp_retries2=8)
    yield "with SO_KEEPALIVE only", silence(keepalive=True)
'''

_OPENING: Final = '''def opening(timeout_s=None, **changes):
    """Connect to a host that is gone."""
    net, client, server, cable, seen = network(**{"tcp_syn_retries": SEEN["syn_retries"], "tcp_syn_linear_timeouts": 4,
                                                 **changes})
    address = server.address
    outcome = noticed(client, lambda: socket.create_connection((address, 80), timeout_s))
    net.at(0, server.power_off)
    net.run(until=4000, check=False)
    net.close()
    return outcome[0] if outcome else "not within an hour"


def trials():
    yield "as it is", opening()
    yield "with a timeout of 5 s", opening(timeout_s=5)
    yield "with tcp_syn_retries=2", opening(tcp_syn_retries=2)
'''

_IDLE: Final = '''def idle(keepalive=False, heartbeat_s=0, **changes):
    """The peer's host dies while the connection is idle; the program only waits."""
    net, client, server, cable, seen = network(**changes)
    sink(server)

    def call():
        with socket.create_connection(("server", 80)) as caller:
            if keepalive:
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
                caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
                caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
            if heartbeat_s:
                caller.settimeout(heartbeat_s)
                while True:
                    caller.sendall(b"are you there?")
                    caller.recv(1)
            caller.recv(1)

    outcome = noticed(client, call)
    net.at(5, server.power_off)
    net.run(until=3 * 3600, check=False)
    net.close()
    return outcome[0] if outcome else "not within three hours"


def trials():
    yield "as it is", idle()
    yield "with keepalive 30 s, 3 probes 10 s apart", idle(keepalive=True)
    yield "with a heartbeat that waits 10 s", idle(heartbeat_s=10)
'''

_WINDOW: Final = '''def window(user_timeout_ms=0, timeout_s=None, reads=False, **changes):
    """The peer does not read: when does the writer notice?"""
    net, client, server, cable, seen = network(**changes)
    sink(server, receive_buffer=int(seen["window_bytes"]) or 65536, pause=0 if reads else 100_000)

    def call():
        with socket.create_connection(("server", 80)) as caller:
            if user_timeout_ms:
                caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, user_timeout_ms)
            caller.settimeout(timeout_s)
            for _ in range(1000):
                caller.sendall(bytes(10_000))

    outcome = noticed(client, call)
    net.run(until=7200, check=False)
    net.close()
    return outcome[0] if outcome else "not within two hours: the probes are answered"


def trials():
    yield "as it is", window()
    yield "with TCP_USER_TIMEOUT=20s", window(user_timeout_ms=20_000)
    yield "with settimeout(10)", window(timeout_s=10)
    yield "with a peer that reads", window(reads=True)
'''

_CLOSE_WAIT: Final = '''def close_wait(closes):
    """The server reads the end; it closes at once, or not for an hour."""
    net, client, server, cable, seen = network()
    stays = []

    def serve():
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            while connection.recv(1000):
                pass
            started = time.monotonic()
            if not closes:
                time.sleep(3600)
            connection.close()
            stays.append(time.monotonic() - started)

    server.run(serve)
    client.run(lambda: socket.create_connection(("server", 80)).close())
    net.run(check=False)
    net.close()
    return f"in CLOSE-WAIT for {seconds(stays[0])}"


def trials():
    yield "as it is: closed after an hour", close_wait(False)
    yield "with close() after recv() returned nothing", close_wait(True)
'''

_ACCEPT: Final = '''def accept(backlog, wakes_s=30, **changes):
    """Ten clients; the program calls accept() after a while only. How long does the slowest wait for its answer?"""
    net, client, server, cable, seen = network(**changes)
    outcomes = []

    def serve():
        with socket.create_server(("", 80), backlog=backlog) as listener:
            time.sleep(wakes_s)
            while True:
                with listener.accept()[0] as connection:
                    connection.recv(100)
                    connection.sendall(b"answer")

    def call():
        with socket.create_connection(("server", 80)) as caller:
            caller.sendall(b"question")
            if not caller.recv(100):
                raise ConnectionError

    server.run(serve, daemon=True)
    for _ in range(10):
        outcomes.append(noticed(client, call))
    net.run(until=600, check=False)
    net.close()
    told = [outcome[0] if outcome else "no answer within ten minutes" for outcome in outcomes]
    failed = sum("nothing fails" not in one for one in told)
    slowest = max(told, key=lambda one: float(one.rpartition(" after ")[2].split()[0]) if " after " in one else 1e9)
    return f"{10 - failed} of 10 served; the slowest: {slowest}"


def trials():
    yield "as it is", accept(int(SEEN["backlog"]))
    yield "with a program that calls accept() at once", accept(int(SEEN["backlog"]), wakes_s=0)
    yield "with a backlog of 100", accept(100)
    yield "with tcp_abort_on_overflow=1", accept(int(SEEN["backlog"]), tcp_abort_on_overflow=True)
'''

_NAGLE: Final = '''def exchanges(nodelay=False, one_write=False):
    """Requests in two small writes, one after the other."""
    net, client, server, cable, seen = network()
    rounds = max(5, min(200, int(seen["stalls"])))

    def serve():
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            got = 0
            while text := connection.recv(1000):
                got += len(text)
                while got >= 300:
                    got -= 300
                    connection.sendall(bytes(100))

    def call():
        with socket.create_connection(("server", 80)) as caller:
            caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(nodelay))
            for _ in range(rounds):
                if one_write:
                    caller.sendall(bytes(300))
                else:
                    caller.sendall(bytes(100))
                    caller.sendall(bytes(200))
                caller.recv(100)

    server.run(serve, daemon=True)
    outcome = noticed(client, call)
    net.run(check=False)
    net.close()
    return f"{rounds} exchanges: " + outcome[0].replace("nothing fails, after ", "")


def trials():
    yield "as it is: two writes", exchanges()
    yield "with TCP_NODELAY", exchanges(nodelay=True)
    yield "with one write", exchanges(one_write=True)
'''

_TRANSFER: Final = '''def transfer(**changes):
    """Move the text, and say how long it takes."""
    if "rtt_ms" in changes:
        changes["rtt_ms"] *= SEEN["rtt_ms"]
    if isinstance(changes.get("pace"), float):
        changes["pace"] = int(changes["pace"] * SEEN["pace"])
    if "congestion" in changes:
        changes["tcp_congestion_control"] = changes["congestion"]
    net, client, server, cable, seen = network(**changes)
    done, longest = [], [0]

    def serve():
        with socket.create_server(("", 80)) as listener:
            if seen["window_bytes"]:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, int(seen["window_bytes"]))
            with listener.accept()[0] as connection:
                while connection.recv(65536):
                    pass
                done.append(time.monotonic())

    def call():
        with socket.socket() as caller:
            if seen.get("send_buffer"):
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, max(2304, int(seen["send_buffer"]) // 2))
            if seen["pace"]:
                caller.setsockopt(socket.SOL_SOCKET, 47, int(seen["pace"]))  # SO_MAX_PACING_RATE
            if seen.get("maxseg"):
                caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, int(seen["maxseg"]))
            caller.connect(("server", 80))
            left = max(1000, int(seen["bytes"]))
            while left > 0:
                piece = min(left, 4096)
                caller.sendall(bytes(piece), socket.MSG_EOR)
                left -= piece
                longest.append(caller.info().rtt_ns)
            caller.shutdown(socket.SHUT_WR)
            caller.recv(1)

    server.run(serve, daemon=True)
    outcome = noticed(client, call)
    if seen.get("spike_ms"):
        trip = seen["rtt_ms"] / 1000
        net.at(4 * trip, lambda: cable.set(delay={"client": f"{seen['spike_ms']}ms"}))
        net.at(6 * trip, lambda: cable.set(delay={"client": f"{seen['rtt_ms'] / 2}ms"}))
    net.run(until=4000, check=False)
    net.close()
    if not done:
        return outcome[0] if outcome else "not done within an hour"
    again = sum(host.counters().get("TcpRetransSegs", 0) for host in net.hosts.values())
    return f"{seconds(done[0])}, {again} sent again, round trip up to {max(longest) / 1e6:.1f} ms"


def trials():
    yield "as it is", transfer()
    for name, changes in CURES:
        yield name if name.startswith("without") else f"with {name}", transfer(**changes)
'''

_RACE: Final = '''def race(client_waits_s, server_waits_s=30.0, repeats=False):
    """A client that uses its connection again just when the server closes it."""
    net, client, server, cable, seen = network()

    def serve():
        with socket.create_server(("", 80)) as listener:
            while True:
                with listener.accept()[0] as connection:
                    connection.settimeout(server_waits_s)
                    try:
                        while connection.recv(100):
                            connection.sendall(b"answer")
                    except TimeoutError:
                        pass

    def ask(caller):
        caller.sendall(b"question")
        if not caller.recv(100):
            raise ConnectionResetError(errno.ECONNRESET, "no answer")

    def call():
        with socket.create_connection(("server", 80)) as caller:
            ask(caller)
            time.sleep(client_waits_s)
            try:
                ask(caller)
            except ConnectionError:
                if not repeats:
                    raise
                with socket.create_connection(("server", 80)) as second:
                    ask(second)

    server.run(serve, daemon=True)
    outcome = noticed(client, call)
    net.run(until=600, check=False)
    net.close()
    return outcome[0] if outcome else "no end"


def trials():
    early = SEEN["rtt_ms"] / 1000 / 4
    yield "as it is", race(30.0 - early * 2 + early)
    yield "with a client that keeps for 25 s", race(25.0)
    yield "with a client that repeats the request", race(30.0 - early, repeats=True)
'''

_UNREAD: Final = '''def unread(reads_all):
    """The server answers and closes, with or without reading the whole request."""
    net, client, server, cable, seen = network()

    def serve():
        with socket.create_server(("", 80)) as listener, listener.accept()[0] as connection:
            connection.recv(100)
            time.sleep(0.5)
            if reads_all:
                got = 100
                while got < 20_000:
                    got += len(connection.recv(65536))
            connection.sendall(b"answer")

    def call():
        with socket.create_connection(("server", 80)) as caller:
            caller.sendall(bytes(20_000))
            time.sleep(1)
            while caller.recv(100):
                pass

    server.run(serve, daemon=True)
    outcome = noticed(client, call)
    net.run(until=600, check=False)
    net.close()
    return outcome[0] if outcome else "no end"


def trials():
    yield "as it is", unread(False)
    yield "with a server that reads to the end", unread(True)
'''

_TRIPS: Final = '''def trips(connections=1, think=True, share=1.0):
    """Ten requests: each on a connection of its own, or all on one."""
    net, client, server, cable, seen = network(rtt_ms=SEEN["rtt_ms"] * share)

    def serve():
        with socket.create_server(("", 80)) as listener:
            while True:
                with listener.accept()[0] as connection:
                    while connection.recv(1000):
                        if think and seen["think_ms"]:
                            time.sleep(seen["think_ms"] / 1000)
                        connection.sendall(b"answer")

    def call():
        for _ in range(connections):
            with socket.create_connection(("server", 80)) as caller:
                for _ in range(10 // connections):
                    caller.sendall(b"question")
                    caller.recv(100)

    server.run(serve, daemon=True)
    outcome = noticed(client, call)
    net.run(until=4000, check=False)
    net.close()
    return "ten requests: " + outcome[0].replace("nothing fails, after ", "")


def trials():
    yield "as it is: a connection a request", trips(10)
    yield "with one connection", trips(1)
    yield "with a program that answers at once", trips(10, think=False)
    yield "with half the round trip", trips(10, share=0.5)
'''

_PORTS: Final = '''def ports(reuse=0, keeps=False, count=20):
    """A client with ten local ports makes twenty connections, one after the other, and closes first."""
    net = estab.Network(seed=1)
    client = net.host("client", tcp_tw_reuse=reuse, ip_local_port_range=(40000, 40009))
    server = net.host("server")
    net.link(client, server, delay=f"{SEEN['rtt_ms'] / 2}ms")
    made = []

    def serve():
        with socket.create_server(("", 80)) as listener:
            while True:
                with listener.accept()[0] as connection:
                    while connection.recv(100):
                        pass

    def call():
        caller = None
        for _ in range(count):
            if caller is None:
                caller = socket.create_connection((server.address, 80))
            caller.sendall(b"question")
            made.append(1)
            if not keeps:
                caller.close()
                caller = None
                time.sleep(1.1)
        if caller is not None:
            caller.close()

    server.run(serve, daemon=True)
    outcome = noticed(client, call)
    net.run(until=600, check=False)
    net.close()
    return f"{len(made)} of {count} requests; {outcome[0] if outcome else 'no end'}"


def trials():
    yield "as it is", ports()
    yield "with tcp_tw_reuse=1", ports(reuse=1)
    yield "with one connection that is kept", ports(keeps=True)
'''

BODIES: Final = {
    "silence": _SILENCE, "opening": _OPENING, "idle": _IDLE, "window": _WINDOW, "close_wait": _CLOSE_WAIT,
    "accept": _ACCEPT, "nagle": _NAGLE, "transfer": _TRANSFER, "race": _RACE, "unread": _UNREAD, "trips": _TRIPS,
    "ports": _PORTS,
}
