"""Effects of options on streams: what the other side, or the program's own clock, shows of them."""

from __future__ import annotations

import array
import fcntl
import select
import socket
import struct
import termios
import time
from collections.abc import Callable
from typing import Any

from tools.option_effects.ends import RTT_S, Effect, End, Program

__all__ = ["STREAMS"]

SOL, TCP, IP6 = socket.SOL_SOCKET, socket.IPPROTO_TCP, socket.IPPROTO_IPV6
SO_MAX_PACING_RATE, TCP_INQ = 47, 36
_SECOND = struct.pack("@ll", 1, 0)
_SND_MSS_AT, _STATE_AT = 16, 0


def _queued(one: socket.socket) -> int:
    """How many bytes the peer has not acknowledged (SIOCOUTQ)."""
    number = array.array("i", [0])
    fcntl.ioctl(one.fileno(), termios.TIOCOUTQ, number)
    return number[0]


def _until_acknowledged(one: socket.socket) -> float:
    began = time.monotonic()
    while _queued(one):
        time.sleep(0.002)
    return time.monotonic() - began


def _read_all(one: socket.socket) -> bytes:
    text = b""
    while data := one.recv(65536):
        text += data
    return text


# --- waiting


def _receive_timeout_near(end: End) -> None:
    one = end.connect(options=[(SOL, socket.SO_RCVTIMEO, _SECOND)])
    one.setblocking(True)
    end.tell_seconds("recv", lambda: one.recv(10))
    one.sendall(b"now")
    end.tell_of("recv", lambda: one.recv(10))


def _receive_timeout_far(end: End) -> None:
    listener = end.listen()
    one = end.accept(listener)
    one.sendall(one.recv(10))
    listener.setblocking(True)
    listener.setsockopt(SOL, socket.SO_RCVTIMEO, _SECOND)
    end.tell_seconds("accept", listener.accept)


def _send_timeout_near(end: End) -> None:
    one = end.connect(options=[(SOL, socket.SO_SNDTIMEO, _SECOND), (SOL, socket.SO_SNDBUF, 8192)])
    one.setblocking(True)
    sizes = []
    while isinstance(result := _try(lambda: one.send(bytes(4096))), int) and len(sizes) < 1000:
        sizes.append(result)
    end.tell("blocked before", sum(sizes) < 200_000, result)
    end.tell_seconds("send", lambda: one.send(bytes(4096)))


def _send_timeout_far(end: End) -> None:
    one = end.accept(end.listen(options=[(SOL, socket.SO_RCVBUF, 8192)]))
    time.sleep(5)
    end.tell("text", len(_read_all(one)) > 8192)


def _try(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except OSError as error:
        return type(error).__name__


def _low_water_near(end: End) -> None:
    one = end.connect(options=[(TCP, socket.TCP_NODELAY, 1)])
    one.sendall(b"12345")
    time.sleep(1)
    one.sendall(b"67890")
    end.tell_of("end", lambda: one.recv(10))


def _low_water_far(end: End) -> None:
    one = end.accept(end.listen(options=[(SOL, socket.SO_RCVLOWAT, 10)]))
    end.tell_of("readable at once", lambda: select.select([one], [], [], 0.5)[0] != [])
    end.tell_of("then", lambda: select.select([one], [], [], 5)[0] != [])
    end.tell_of("recv", lambda: one.recv(100))


# --- closing


def _linger_zero_near(end: End) -> None:
    one = end.connect(options=[(SOL, socket.SO_LINGER, struct.pack("ii", 1, 0))])
    one.sendall(b"text")
    time.sleep(0.5)
    one.close()


def _linger_zero_far(end: End) -> None:
    one = end.accept(end.listen())
    end.tell_of("recv", lambda: one.recv(4))
    end.tell_of("recv", lambda: one.recv(4))


def _linger_near(end: End) -> None:
    one = end.connect(options=[(SOL, socket.SO_LINGER, struct.pack("ii", 1, 2)), (SOL, socket.SO_SNDBUF, 200_000)])
    one.setblocking(False)
    end.tell("sent", _fill(one) > 0)
    one.setblocking(True)
    end.tell_seconds("close while the peer's window is shut", one.close)
    two = end.connect(options=[(SOL, socket.SO_LINGER, struct.pack("ii", 1, 5))], at=1)
    two.sendall(b"text")
    end.tell_seconds("close while the peer reads", two.close)


def _fill(one: socket.socket) -> int:
    count = 0
    while isinstance(size := _try(lambda: one.send(bytes(4096))), int):
        count += size
    return count


def _linger_far(end: End) -> None:
    first, second = end.listen(options=[(SOL, socket.SO_RCVBUF, 4096)]), end.listen(at=1)
    one = end.accept(first)
    two = end.accept(second)
    end.tell_of("recv", lambda: _read_all(two))
    time.sleep(0.5)
    end.tell("unread", one.fileno() > 0)


def _linger2(seconds: int) -> tuple[Program, Program]:
    def near(end: End) -> None:
        one = end.connect(options=[(TCP, socket.TCP_LINGER2, seconds)])
        one.close()

    def far(end: End) -> None:
        one = end.accept(end.listen())
        end.tell_of("recv", lambda: one.recv(10))
        time.sleep(5)
        one.shutdown(socket.SHUT_WR)
        time.sleep(0.5)
        end.tell("state", one.getsockopt(TCP, socket.TCP_INFO, 8)[_STATE_AT])
        end.tell("error", one.getsockopt(SOL, socket.SO_ERROR))

    return near, far


# --- when text goes


def _two_writes(options: list[tuple[int, int, int]]) -> tuple[Program, Program]:
    def near(end: End) -> None:
        one = end.connect(options=options)
        for _ in range(3):
            one.sendall(b"a")
            one.sendall(b"b")
            time.sleep(3 * RTT_S)

    def far(end: End) -> None:
        one = end.accept(end.listen())
        gaps = []
        for _ in range(3):
            one.recv(1)
            began = time.monotonic()
            one.recv(1)
            gaps.append(time.monotonic() - began)
        end.tell("the second write waits", min(gaps) > RTT_S / 2)

    return near, far


def _cork_near(end: End) -> None:
    one = end.connect(options=[(TCP, socket.TCP_NODELAY, 1)])
    one.setsockopt(TCP, socket.TCP_CORK, 1)
    one.sendall(b"a")
    one.sendall(b"b")
    one.setsockopt(TCP, socket.TCP_CORK, 0)
    end.tell_of("answer", lambda: one.recv(1))
    one.setsockopt(TCP, socket.TCP_CORK, 1)
    one.sendall(b"!c")
    began = time.monotonic()
    end.tell("answer", one.recv(1), "after a while", time.monotonic() - began > 2 * RTT_S)


def _cork_far(end: End) -> None:
    one = end.accept(end.listen())
    end.tell_of("recv", lambda: one.recv(10))
    one.sendall(b"1")
    end.tell_of("recv", lambda: one.recv(10))
    one.sendall(b"2")


def _quick_ack(is_quick: int) -> tuple[Program, Program]:
    def near(end: End) -> None:
        one = end.connect(options=[(TCP, socket.TCP_NODELAY, 1)])
        one.recv(1)
        took = []
        for _ in range(5):
            one.sendall(b"x")
            took.append(_until_acknowledged(one))
            time.sleep(RTT_S)
        end.tell("acknowledgments wait", sorted(took)[-2] > RTT_S + 0.025)  # every second one, at most
        one.sendall(b"e")

    def far(end: End) -> None:
        one = end.accept(end.listen())
        one.setsockopt(TCP, socket.TCP_QUICKACK, is_quick)
        one.sendall(b"1")
        while one.recv(1) == b"x":
            one.setsockopt(TCP, socket.TCP_QUICKACK, is_quick)

    return near, far


def _pacing_near(end: End) -> None:
    one = end.connect(options=[(SOL, SO_MAX_PACING_RATE, 50_000)])
    one.sendall(bytes(120_000))
    one.shutdown(socket.SHUT_WR)
    end.tell_of("end", lambda: one.recv(1))


def _pacing_far(end: End) -> None:
    one = end.accept(end.listen())
    end.tell_seconds("all", lambda: len(_read_all(one)))


def _defer(seconds: int) -> tuple[Program, Program]:
    def near(end: End) -> None:
        one = end.connect()
        time.sleep(1.5)
        one.sendall(b"question")
        end.tell_of("answer", lambda: one.recv(10))

    def far(end: End) -> None:
        listener = end.listen(options=[(TCP, socket.TCP_DEFER_ACCEPT, seconds)])
        one = end.accept(listener)
        one.setblocking(False)
        end.tell("text is there at once", _try(lambda: one.recv(10)))
        one.settimeout(5)
        if seconds == 0:
            end.tell_of("recv", lambda: one.recv(10))
        one.sendall(b"answer")

    return near, far


# --- when a peer does not answer


def _keepalive(idle: int, interval: int, count: int, *, is_on: bool = True) -> tuple[Program, Program]:
    def near(end: End) -> None:
        one = end.connect(options=[(SOL, socket.SO_KEEPALIVE, int(is_on)), (TCP, socket.TCP_KEEPIDLE, idle),
                                   (TCP, socket.TCP_KEEPINTVL, interval), (TCP, socket.TCP_KEEPCNT, count)])
        time.sleep(max(0.0, end.cut_at - 0.4 - time.monotonic()))
        one.sendall(b"x")
        one.recv(1)
        one.settimeout(8)
        end.tell_seconds("recv", lambda: one.recv(1))

    return near, _echo_once


def _echo_once(end: End) -> None:
    one = end.accept(end.listen())
    one.sendall(one.recv(1))
    end.keep(one)
    time.sleep(max(0.0, end.cut_at + 9 - time.monotonic()))


def _user_timeout(milliseconds: int) -> tuple[Program, Program]:
    def near(end: End) -> None:
        one = end.connect(options=[(TCP, socket.TCP_USER_TIMEOUT, milliseconds)])
        one.sendall(b"x")
        one.recv(1)
        end.await_cut()
        one.sendall(b"x")
        one.settimeout(8)
        end.tell_seconds("recv", lambda: one.recv(1))

    return near, _echo_once


def _syn_count(count: int) -> tuple[Program, Program]:
    def near(end: End) -> None:
        end.connect().recv(1)  # the neighbour is known
        end.await_cut()
        one = end.make(options=[(TCP, socket.TCP_SYNCNT, count)])
        one.settimeout(15)
        end.tell_seconds("connect", lambda: one.connect(end.address(at=1)))

    def far(end: End) -> None:
        end.accept(end.listen()).sendall(b"1")

    return near, far


# --- ports and families


def _reuse_far(end: End) -> None:
    listener = end.listen(options=[(SOL, socket.SO_REUSEADDR, 1)])
    one = end.accept(listener)
    one.close()  # ours is the TIME-WAIT
    listener.close()
    time.sleep(1)
    for value in (0, 1):
        again = end.make(options=[(SOL, socket.SO_REUSEADDR, value)])
        end.tell_of(f"bind beside TIME-WAIT with {value}", lambda again=again: again.bind(("", end.port)))
        again.close()
    pairs = [end.make(options=[(SOL, socket.SO_REUSEADDR, value)]) for value in (1, 1)]
    for one in pairs:
        end.tell_of("bind", lambda one=one: one.bind(("", end.port + 1)))
    for one in pairs:
        end.tell_of("listen", lambda one=one: one.listen(1))


def _reuse_near(end: End) -> None:
    one = end.connect()
    end.tell_of("recv", lambda: one.recv(1))
    one.close()


def _reuse_port_far(end: End) -> None:
    both = [end.make(options=[(SOL, socket.SO_REUSEPORT, 1)]) for _ in range(2)]
    for one in both:
        end.tell_of("bind", lambda one=one: one.bind(("", end.port)))
        one.listen(64)
    without = end.make()
    end.tell_of("bind without it", lambda: without.bind(("", end.port)))
    counts = [0, 0]
    while sum(counts) < 40:
        for listener in select.select(both, [], [], 10)[0]:
            end.accept(listener)
            counts[both.index(listener)] += 1
    end.tell("both get connections", min(counts) > 0)


def _reuse_port_near(end: End) -> None:
    for _ in range(40):
        end.connect()
    time.sleep(0.5)


def _v6only(is_only: int) -> tuple[Program, Program]:
    def near(end: End) -> None:
        end.connect(socket.AF_INET6).recv(1)
        one = end.make()
        end.tell_of("connect by IPv4", lambda: one.connect(end.address()))

    def far(end: End) -> None:
        listener = end.listen(socket.AF_INET6, [(IP6, socket.IPV6_V6ONLY, is_only)])
        end.accept(listener).sendall(b"1")
        listener.settimeout(2)
        end.tell("accept", _try(lambda: end.accept(listener).getpeername()[0].rpartition(":")[0]))
        other = end.make()
        end.tell_of("bind by IPv4 beside it", lambda: other.bind(("", end.port)))

    return near, far


# --- the rest


def _urgent(is_inline: int) -> tuple[Program, Program]:
    def near(end: End) -> None:
        one = end.connect()
        one.sendall(b"ab")
        one.send(b"!", socket.MSG_OOB)
        one.sendall(b"cd")
        one.shutdown(socket.SHUT_WR)
        end.tell_of("end", lambda: one.recv(1))

    def far(end: End) -> None:
        one = end.accept(end.listen(options=[(SOL, socket.SO_OOBINLINE, is_inline)]))
        time.sleep(1)
        end.tell_of("recv", lambda: one.recv(100))
        end.tell_of("recv MSG_OOB", lambda: one.recv(1, socket.MSG_OOB))
        end.tell_of("recv", lambda: one.recv(100))
        end.tell_of("recv", lambda: one.recv(100))

    return near, far


def _segment_near(end: End) -> None:
    one = end.connect(options=[(TCP, socket.TCP_MAXSEG, 500)])
    end.tell_of("end", lambda: one.recv(1))


def _segment_far(end: End) -> None:
    one = end.accept(end.listen())
    info = one.getsockopt(TCP, socket.TCP_INFO, 24)
    end.tell("segments to a peer with TCP_MAXSEG 500", int.from_bytes(info[_SND_MSS_AT : _SND_MSS_AT + 4], "little"))


def _buffers_near(end: End) -> None:
    one = end.connect(options=[(SOL, socket.SO_SNDBUF, 8192)])
    one.setblocking(False)
    for _ in range(10):
        _fill(one)
        time.sleep(0.1)
    end.tell("what fits", 8192 < _queued(one) < 100_000)


def _buffers_far(end: End) -> None:
    end.accept(end.listen(options=[(SOL, socket.SO_RCVBUF, 8192)])).fileno()
    time.sleep(2)


def _clamp_near(end: End) -> None:
    one = end.connect()
    one.setblocking(False)
    for _ in range(10):
        _fill(one)
        time.sleep(0.1)
    unacknowledged = int.from_bytes(one.getsockopt(TCP, socket.TCP_INFO, 28)[24:28], "little")
    end.tell("in flight is bounded", unacknowledged <= 2)


def _clamp_far(end: End) -> None:
    one = end.accept(end.listen(options=[(TCP, socket.TCP_WINDOW_CLAMP, 2000)]))
    time.sleep(0.5)
    end.tell("read", len(one.recv(100)))
    time.sleep(2)


def _inq_near(end: End) -> None:
    one = end.connect()
    one.sendall(b"0123456789")
    end.tell_of("end", lambda: one.recv(1))


def _inq_far(end: End) -> None:
    one = end.accept(end.listen(options=[(TCP, TCP_INQ, 1)]))
    time.sleep(0.5)
    for size in (4, 6):
        text, ancillary, _, _ = one.recvmsg(size, 64)
        end.tell(text, [(level, kind, int.from_bytes(data, "little")) for level, kind, data in ancillary])


def _error_near(end: End) -> None:
    one = end.make()
    one.setblocking(False)
    end.tell("connect", one.connect_ex(end.address()) != 0)
    end.tell("writable", select.select([], [one], [], 5)[1] != [])
    for _ in range(2):
        end.tell("error", one.getsockopt(SOL, socket.SO_ERROR))


def _nothing(end: End) -> None:
    """Do nothing: the other side alone has a story."""


def _effect(name: str, options: str, programs: tuple[Program, Program], *, needs_cut: bool = False) -> Effect:
    return Effect(name, tuple(options.split()), programs[0], programs[1], needs_cut)


_NODELAY, _PLAIN = [(TCP, socket.TCP_NODELAY, 1)], [(TCP, socket.TCP_NODELAY, 0)]
STREAMS: list[Effect] = [
    _effect("a call that waits for text gives up", "SO_RCVTIMEO", (_receive_timeout_near, _receive_timeout_far)),
    _effect("a call that waits for room gives up", "SO_SNDTIMEO", (_send_timeout_near, _send_timeout_far)),
    _effect("readable from so many bytes on", "SO_RCVLOWAT", (_low_water_near, _low_water_far)),
    _effect("close resets", "SO_LINGER", (_linger_zero_near, _linger_zero_far)),
    _effect("close waits", "SO_LINGER", (_linger_near, _linger_far)),
    _effect("FIN-WAIT-2 ends", "TCP_LINGER2", _linger2(1)),
    _effect("FIN-WAIT-2 lasts", "TCP_LINGER2", _linger2(10)),
    _effect("a small write waits", "TCP_NODELAY", _two_writes(_PLAIN)),
    _effect("a small write does not wait", "TCP_NODELAY", _two_writes(_NODELAY)),
    _effect("writes are held", "TCP_CORK", (_cork_near, _cork_far)),
    _effect("acknowledgments at once", "TCP_QUICKACK", _quick_ack(1)),
    _effect("acknowledgments wait", "TCP_QUICKACK", _quick_ack(0)),
    _effect("a rate", "SO_MAX_PACING_RATE", (_pacing_near, _pacing_far)),
    _effect("accept at once", "TCP_DEFER_ACCEPT", _defer(0)),
    _effect("accept with text", "TCP_DEFER_ACCEPT", _defer(5)),
    _effect("probes of a silent peer", "SO_KEEPALIVE TCP_KEEPIDLE TCP_KEEPINTVL TCP_KEEPCNT", _keepalive(1, 1, 2),
            needs_cut=True),
    _effect("the first probe after three seconds", "SO_KEEPALIVE TCP_KEEPIDLE", _keepalive(3, 1, 1), needs_cut=True),
    _effect("two seconds between probes", "SO_KEEPALIVE TCP_KEEPINTVL", _keepalive(1, 2, 2), needs_cut=True),
    _effect("five probes", "SO_KEEPALIVE TCP_KEEPCNT", _keepalive(1, 1, 5), needs_cut=True),
    _effect("no probes", "SO_KEEPALIVE", _keepalive(1, 1, 1, is_on=False), needs_cut=True),
    _effect("text that nobody acknowledges", "TCP_USER_TIMEOUT", _user_timeout(3000), needs_cut=True),
    _effect("no limit for it", "TCP_USER_TIMEOUT", _user_timeout(0), needs_cut=True),
    _effect("SYNs that nobody answers, two", "TCP_SYNCNT", _syn_count(1), needs_cut=True),
    _effect("SYNs that nobody answers, four", "TCP_SYNCNT", _syn_count(3), needs_cut=True),
    _effect("a port again", "SO_REUSEADDR", (_reuse_near, _reuse_far)),
    _effect("a port for two", "SO_REUSEPORT", (_reuse_port_near, _reuse_port_far)),
    _effect("IPv6 only", "IPV6_V6ONLY", _v6only(1)),
    _effect("both versions", "IPV6_V6ONLY", _v6only(0)),
    _effect("urgent text in the stream", "SO_OOBINLINE", _urgent(1)),
    _effect("urgent text beside it", "SO_OOBINLINE", _urgent(0)),
    _effect("segments of a size", "TCP_MAXSEG", (_segment_near, _segment_far)),
    _effect("small buffers", "SO_SNDBUF SO_RCVBUF", (_buffers_near, _buffers_far)),
    _effect("a window that is clamped", "TCP_WINDOW_CLAMP", (_clamp_near, _clamp_far)),
    _effect("what is left to read", "TCP_INQ", (_inq_near, _inq_far)),
    _effect("an error is told once", "SO_ERROR", (_error_near, _nothing)),
]
