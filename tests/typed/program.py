"""A user's program, as type checkers see it: ``tests/test_typing.py`` has mypy and pyright read it."""

from __future__ import annotations

import asyncio
import socket

import estab
from estab.events import Event


class HalfStep(estab.CongestionControl):
    """A congestion control of one's own."""

    name = "halfstep"

    def for_flow(self) -> estab.CongestionControl:
        return HalfStep()

    # pyright does not know that mypyc's i64 is a plain int at run time; mypy does.
    def on_ack(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, flow: estab.Flow, acked_bytes: int, now_ns: int,
    ) -> None:
        flow.cwnd_bytes += acked_bytes  # pyright: ignore[reportOperatorIssue]


def build() -> tuple[estab.Network, estab.Host, estab.Host]:
    """Make a network."""
    net = estab.Network(seed=7)
    server = net.host("server", tcp_syncookies="always", tcp_fin_timeout="10s", tcp_rmem=(4096, 131072, 6291456))
    phone = net.host("phone", tcp_syn_retries=3, tcp_keepalive_time=60)
    wifi = net.link(server, phone, delay=("40ms", 0.02), jitter="10ms", loss={"phone": "2%"}, rate="20Mbit", queue=100,
                    aqm="codel", mtu=1400)
    net.at("5s", wifi.cut)
    net.at(35, wifi.heal)
    net.at("36s", wifi.set, "unchecked")
    wifi.set(loss=0, rate=None)
    phone.engine.add_congestion_control(HalfStep())
    return net, server, phone


def play(net: estab.Network, server: estab.Host, phone: estab.Host) -> tuple[int, str, bytes]:
    """Run programs, blocking and async, and ask for their results."""

    @server.run
    def serve() -> int:
        with socket.create_server(("", 80)) as listener:
            connection, _ = listener.accept()
            with connection:
                return len(connection.recv(100))

    @phone.run
    async def call() -> str:
        _, writer = await asyncio.open_connection("server", 80)
        writer.write(b"hello")
        await writer.drain()
        return "done"

    @phone.run(start="1s", daemon=True)
    async def tick() -> bytes:
        await asyncio.sleep(1)
        return b""

    facts: list[Event] = []
    stop = net.observe(facts.append)
    with phone.observe(facts.append), net.links[0].observe(facts.append):
        net.run(until="60s")
    stop()
    failure: BaseException | None = call.exception()
    if failure is not None or not serve.done():
        raise SystemExit(str(failure))
    return serve.result(), call.result(timeout=5), tick.result()


def on_a_device() -> estab.Stack:
    """Make a stack, and look at it."""
    stack = estab.Stack(estab.QueueDevice(), "10.7.0.2/24", tcp_retries2=5, tcp_timewait="1s")
    with stack.observe(print):
        sock: socket.socket = stack.socket()
        sock.close()
    when: float = stack.now
    print(when, stack.now_ns + stack.runtime.now_ns, stack.sockets()[0].state)
    return stack
