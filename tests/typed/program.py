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


def boxes() -> list[str]:
    """Put rules, boxes and a switch between hosts."""
    net = estab.Network(seed=1)
    phone, gateway, node, web, spare = (net.host(name) for name in ("phone", "gateway", "node", "web", "spare"))
    lan = net.switch("lan", phone, gateway, delay="1ms", loss=estab.Bursts("2%", 5))
    lan.plug(spare, jitter=(estab.Jitter("1ms", "pareto", reorders=True), "2ms normal"))
    uplink, far = net.link(gateway, node, aqm="fq_codel", rate="1Mbit"), net.link(node, web)
    nat = net.nat(lan.cable(gateway), uplink, idle="5min", when_idle="reset", ports=(2000, 3000))
    nat.forward(8080, phone, 80)
    balancer = net.balancer(node, "10.96.0.1:80", [(web, 8080)], policy="least connections", health="5s", loose=True)
    balancer.drain(web)
    wall = far.firewall(idle="1h", inside=node, unknown="reject")
    net.at("5s", spare.add_address, "10.9.0.1/24", lan)

    def syns_to_web(packet: estab.PacketView) -> bool:
        return packet.tcp is not None and packet.tcp.syn and packet.dst.startswith("10.0.")

    with net.rule(lambda p: estab.drop if p.tcp and p.tcp.syn else estab.ok), net.partition(phone, [web], one_way=True):
        net.run(until="5s")
    far.rule(estab.nth(range(1, 4), syns_to_web, estab.delay("20ms")), sender=node)()
    far.rule(lambda sender, frame: sender == "web" and len(frame) > 100)
    net.rule(lambda p: estab.reject() if p.udp else None, on=phone)
    return [*nat.flows, *balancer.flows, *wall.flows]
