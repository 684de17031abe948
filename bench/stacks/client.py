"""Measures a TCP server from the kernel's side. It knows nothing of the stack that serves.

    python client.py HOST PORT MODE [options]       one line of JSON on standard output

The server listens on three ports: PORT echoes (RFC 862), PORT+1 discards (RFC 863), PORT+2 sends without end (RFC 864).
Modes:

    ready     connect until it works; how long that took
    sink      send for --seconds; the clock stops when the server's FIN comes back, so that every byte was read by it
    source    receive for --seconds; both with --parallel connections, a process each
    latency   --count round trips of 64 bytes, one after the other
    beside    the same for --seconds, while another connection receives without end
    connect   --count times connect, one byte each way, close; --parallel of them at once; --others idle ones meanwhile
    idle      open --count connections, one byte each way on each, and see how much the memory of --pid grows
    soak      --others idle connections, and --parallel that ping-pong on and on for --seconds; how --pid's memory grows
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

CHUNK = 256 * 1024
PER_SOURCE = 20_000
"""Connections from one local address; the client's namespace has 10.77.0.1 and 10.77.1.1 to 10.77.1.99."""
PER_CROWD = 15_000
Result = dict[str, Any]


def connect(args: argparse.Namespace, port: int, source: str | None = None) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in args.host else socket.AF_INET)
    made.settimeout(30)
    if source:
        made.setsockopt(socket.SOL_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: the port is chosen when the peer is known
        made.bind((source, 0))
    made.connect((args.host, port))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def ready(args: argparse.Namespace) -> Result:
    start = time.perf_counter()
    while True:
        try:
            with connect(args, args.port) as end:
                end.sendall(b"a")
                if end.recv(1) == b"a":
                    return {"seconds": round(time.perf_counter() - start, 3)}
        except OSError:
            if time.perf_counter() - start > args.seconds:
                raise
        time.sleep(0.05)


def sink(args: argparse.Namespace) -> Result:
    view, sent = memoryview(bytes(CHUNK)), 0
    with connect(args, args.port + 1) as end:
        start = time.perf_counter()
        while time.perf_counter() < start + args.seconds:
            sent += end.send(view)
        end.shutdown(socket.SHUT_WR)
        is_whole = end.recv(1) == b""
        took = time.perf_counter() - start
        info = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return {"bytes": sent, "seconds": took, "mb_per_s": sent / took / 1e6, "is_whole": is_whole,
            "retransmitted": struct.unpack_from("I", info, 100)[0]}


def source(args: argparse.Namespace) -> Result:
    buffer, got = bytearray(CHUNK), 0
    end = connect(args, args.port + 2)
    start = time.perf_counter()
    while time.perf_counter() < start + args.seconds:
        count = end.recv_into(buffer)
        if not count:
            break
        got += count
    took = time.perf_counter() - start
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()
    return {"bytes": got, "seconds": took, "mb_per_s": got / took / 1e6}


def begin(one: Callable[[argparse.Namespace], Result], args: argparse.Namespace) -> Callable[[], Result]:
    """Do something in a process of its own. Returns what waits for its result."""
    end, its = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(its, json.dumps(one(args)).encode())
        os._exit(0)
    os.close(its)

    def finish() -> Result:
        with open(end, encoding="ascii") as told:
            text = told.read()
        os.waitpid(pid, 0)
        if not text:
            raise SystemExit("a connection failed")
        result: Result = json.loads(text)
        return result

    return finish


def in_parallel(one: Callable[[argparse.Namespace], Result], args: argparse.Namespace) -> Result:
    """Do the same in --parallel processes, and add what each moved."""
    if args.parallel == 1:
        return one(args)
    begun = [begin(one, args) for _ in range(args.parallel)]
    results = [finish() for finish in begun]
    return {"bytes": sum(result["bytes"] for result in results), "seconds": max(one["seconds"] for one in results),
            "mb_per_s": sum(result["mb_per_s"] for result in results)}


def latency(args: argparse.Namespace) -> Result:
    warm_up = min(500, args.count)
    return _trips(args, warm_up, args.count + warm_up, float("inf"))


def beside(args: argparse.Namespace) -> Result:
    """Measure round trips while another process's connection receives as much as it can."""
    finish = begin(source, args)
    start = time.perf_counter() + args.seconds / 4  # the bulk transfer has its full rate by then
    time.sleep(args.seconds / 4)
    trips = _trips(args, 0, sys.maxsize, start + args.seconds / 2)
    return {**trips, "mb_per_s": finish()["mb_per_s"]}


def _trips(args: argparse.Namespace, warm_up: int, count: int, until_s: float) -> Result:
    """Take the time of round trips, up to ``count`` or ``until_s``. The first ``warm_up`` are left out."""
    message, buffer = b"x" * args.size, bytearray(args.size)
    view, clock, times = memoryview(buffer), time.perf_counter_ns, []
    until_ns = until_s * 1e9
    with connect(args, args.port) as end:
        for number in range(count):
            start = clock()
            if start > until_ns:
                break
            end.send(message)
            got = end.recv_into(buffer)
            while got < args.size:
                more = end.recv_into(view[got:])
                if not more:
                    raise SystemExit("the server closed")
                got += more
            if number >= warm_up:
                times.append(clock() - start)
    times.sort()
    return {"count": len(times), "p50_us": _share(times, 0.5) / 1e3, "p99_us": _share(times, 0.99) / 1e3,
            "mean_us": sum(times) / len(times) / 1e3}


def _share(times: Sequence[float], share: float) -> float:
    return times[min(len(times) - 1, int(len(times) * share))]


class Connecting:
    """``parallel`` non-blocking connections on one selector: connect, one byte out, one byte in, close."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.selector = selectors.DefaultSelector()
        self.address = (args.host, args.port)
        self.family = socket.AF_INET6 if ":" in args.host else socket.AF_INET
        self.started = self.failed = 0
        self.first_failure = ""
        self.times: list[float] = []

    def start(self) -> None:
        """Begin one more connection."""
        end = socket.socket(self.family)
        end.setblocking(False)
        end.connect_ex(self.address)
        self.started += 1
        self.selector.register(end, selectors.EVENT_WRITE, time.perf_counter())

    def run(self) -> float:
        """Make all connections; returns the seconds that it took."""
        count, began = self.args.count, time.perf_counter()
        for _ in range(min(self.args.parallel, count)):
            self.start()
        while len(self.times) + self.failed < count:
            events = self.selector.select(30)
            if not events:
                break
            for key, mask in events:
                if self.is_over(key, mask) and self.started < count:
                    self.start()
        return time.perf_counter() - began

    def is_over(self, key: selectors.SelectorKey, mask: int) -> bool:
        """Take a connection one step on; tell whether that was its last."""
        end = key.fileobj
        assert isinstance(end, socket.socket)
        try:
            if mask & selectors.EVENT_WRITE:
                error = end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    raise OSError(error, os.strerror(error))
                end.send(b"a")
                self.selector.modify(end, selectors.EVENT_READ, key.data)
                return False
            if end.recv(1) != b"a":
                raise OSError("another byte came back")
            self.times.append(time.perf_counter() - key.data)
        except OSError as error:
            self.failed += 1
            self.first_failure = self.first_failure or str(error)
        self.selector.unregister(end)
        end.close()
        return True


def connect_many(args: argparse.Namespace) -> Result:
    others = open_idle(args, args.others)
    running = Connecting(args)
    took = running.run()
    times = sorted(running.times)
    close_all(args, others)
    return {"count": len(times), "failed": running.failed, "first_failure": running.first_failure,
            "unanswered": args.count - len(times) - running.failed, "others": len(others),
            "per_s": len(times) / took, "p50_us": _share(times, 0.5) * 1e6 if times else None}


def raise_file_limit() -> None:
    """Allow as many descriptors as we may: root a million, others their hard limit."""
    for limit in (1 << 20, resource.getrlimit(resource.RLIMIT_NOFILE)[1]):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            return
        except (ValueError, OSError):
            continue


def resident_bytes(pid: int) -> int:
    if not pid:
        return 0
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def open_idle(args: argparse.Namespace, count: int, first: int = 0) -> list[socket.socket]:
    made = []
    for number in range(first, first + count):
        from_address = None
        if number >= PER_SOURCE:
            from_address = f"10.77.1.{number // PER_SOURCE}"
        end = connect(args, args.port, from_address)
        end.sendall(b"a")
        if end.recv(1) != b"a":
            raise OSError("another byte came back")
        made.append(end)
    return made


def close_all(args: argparse.Namespace, ends: Sequence[socket.socket]) -> None:
    """Close connections, and wait until the server is through: many FINs overrun a queue, and with it the next SYN."""
    for end in ends:
        end.close()
    if ends:
        ready(args)


def idle(args: argparse.Namespace) -> Result:
    for end in open_idle(args, 20):  # what is made once is not counted
        end.close()
    time.sleep(0.5)
    before = resident_bytes(args.pid)
    start = time.perf_counter()
    ends = open_idle(args, args.count)
    took = time.perf_counter() - start
    time.sleep(args.hold)
    after = resident_bytes(args.pid)
    sample, alive = ends[:: max(1, len(ends) // 100)], 0
    for end in sample:
        end.sendall(b"b")
        alive += end.recv(1) == b"b"
    close_all(args, ends)
    return {"count": len(ends), "seconds": took, "alive": alive, "asked": len(sample),
            "bytes_per_connection": (after - before) / max(1, len(ends))}


def count_alive(ends: Sequence[socket.socket], step: int) -> tuple[int, int]:
    """Ask every ``step``-th connection for an echo. Gives how many answered, and how many were asked."""
    sample, alive = ends[::step], 0
    for end in sample:
        end.sendall(b"b")
        alive += end.recv(1) == b"b"
    return alive, len(sample)


class Crowd:
    """Idle connections in a process of their own: one process may not have as many descriptors."""

    def __init__(self, args: argparse.Namespace, first: int, count: int) -> None:
        down, self._end = os.pipe()
        self._answer, up = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._end)
            self._hold(args, first, count, down, up)
        os.close(down)
        os.close(up)
        if os.read(self._answer, 1) != b"r":
            raise OSError("idle connections could not be opened")

    def _hold(self, args: argparse.Namespace, first: int, count: int, down: int, up: int) -> None:
        status = 1
        try:
            ends = open_idle(args, count, first)
            os.write(up, b"r")
            os.read(down, 1)  # until it is told to end
            os.write(up, struct.pack("2i", *count_alive(ends, 100)))
            status = 0
        finally:
            os._exit(status)

    def end(self) -> tuple[int, int]:
        """Ask some, and close all. Gives how many answered, and how many were asked."""
        os.write(self._end, b"e")
        os.close(self._end)
        told = os.read(self._answer, 8)
        os.waitpid(self._pid, 0)
        alive, asked = struct.unpack("2i", told)
        return alive, asked


def soak(args: argparse.Namespace) -> Result:
    """Hold idle connections and busy ones, and watch the server's memory."""
    crowds = [Crowd(args, first, min(PER_CROWD, args.others - first)) for first in range(0, args.others, PER_CROWD)]
    crowd = selectors.DefaultSelector()
    for number in range(args.parallel):
        end = connect(args, args.port, f"10.77.1.{90 + number // PER_SOURCE}" if args.others else None)
        end.setblocking(False)
        crowd.register(end, selectors.EVENT_READ)
        end.send(b"p" * args.size)
    busy = [key.fileobj for key in crowd.get_map().values()]
    trips, start, readings = 0, time.perf_counter(), []
    following = start
    while time.perf_counter() < start + args.seconds:
        for key, _ in crowd.select(1):
            end = key.fileobj
            assert isinstance(end, socket.socket)
            data = end.recv(CHUNK)
            if not data:
                raise SystemExit("the server closed a busy connection")
            end.send(data)
            trips += 1
        if time.perf_counter() >= following:
            readings.append(resident_bytes(args.pid))
            following += args.seconds / 20
    took = time.perf_counter() - start
    told = [crowd.end() for crowd in crowds]
    for closing in busy:
        assert isinstance(closing, socket.socket)
        closing.close()
    return {"idle": args.others, "busy": len(busy), "seconds": took, "trips_per_s": trips / took,
            "alive": sum(alive for alive, _ in told), "asked": sum(asked for _, asked in told),
            "resident_mib": [round(reading / 2**20, 1) for reading in readings]}


MODES: dict[str, Callable[[argparse.Namespace], Result]] = {
    "ready": ready, "sink": lambda args: in_parallel(sink, args), "source": lambda args: in_parallel(source, args),
    "latency": latency, "beside": beside, "connect": connect_many, "idle": idle,
    "soak": soak,
}


def main() -> None:
    """Read the arguments, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--others", type=int, default=0)
    parser.add_argument("--pid", type=int, default=0)
    parser.add_argument("--hold", type=float, default=2)
    args = parser.parse_args()
    raise_file_limit()
    print(json.dumps({"mode": args.mode, **MODES[args.mode](args)}))


if __name__ == "__main__":
    sys.exit(main())
