"""``docs/faults.md`` is so: each fault is done to a connection, and what its peer gets is compared with its row."""

from __future__ import annotations

import re
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from estab import Host, Link, Network, Program, ok, reject

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "faults.md").read_text(encoding="utf-8")
FAULT_S: Final = 10
A_DAY_S: Final = 86_400
_FLAGS_AT: Final = 20 + 13
_FIN, _RST = 0x01, 0x04
_VIRTUAL: Final = "10.9.0.100"
_KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))


@dataclass(slots=True)
class Lab:
    """A client with a connection to a server that answers everything, until second 10."""

    net: Network
    client: Host
    server: Host
    link: Link
    sock: socket.socket | None = None
    """The server's end."""
    program: Program[None] | None = None
    """The server's program."""

    @property
    def end(self) -> socket.socket:
        """The server's end, once it is there."""
        assert self.sock is not None
        return self.sock

    @property
    def serving(self) -> Program[None]:
        """The server's program, once it is there."""
        assert self.program is not None
        return self.program


def _cut(lab: Lab) -> None:
    lab.link.cut()


def _cut_and_heal(lab: Lab) -> None:
    lab.link.cut()
    lab.net.at(FAULT_S + 60, lab.link.heal)


def _cut_one_way(lab: Lab) -> None:
    lab.link.rule(lambda sender, frame: sender == "server")


def _cut_what_the_client_sends(lab: Lab) -> None:
    lab.link.cut("client")


def _part(lab: Lab) -> None:
    lab.net.partition(lab.client, lab.server)


def _reject(lab: Lab) -> None:
    lab.link.rule(lambda p: reject() if p.tcp else ok, sender="client")


def _power_off(lab: Lab) -> None:
    lab.server.power_off()


def _reboot(lab: Lab) -> None:
    lab.server.power_off()
    lab.net.at(FAULT_S + 0.5, lab.server.power_on)


def _reboot_at_once(lab: Lab) -> None:
    lab.server.reboot("30s")


def _kill(lab: Lab) -> None:
    lab.server.kill()


def _suspend(lab: Lab) -> None:
    lab.server.suspend()


def _suspend_and_resume(lab: Lab) -> None:
    lab.server.suspend()
    lab.net.at(FAULT_S + 60, lab.server.resume)


def _pause(lab: Lab) -> None:
    lab.server.pause()
    lab.net.at(FAULT_S + 60, lab.server.resume)


def _stop(lab: Lab) -> None:
    lab.serving.pause()


def _stop_and_go_on(lab: Lab) -> None:
    lab.serving.pause()
    lab.net.at(FAULT_S + 60, lab.serving.resume)


def _terminate(lab: Lab) -> None:
    lab.serving.terminate()


def _raise(lab: Lab) -> None:
    raise ValueError("a bug in the server")


def _close(lab: Lab) -> None:
    lab.end.close()


def _shut_down(lab: Lab) -> None:
    lab.end.shutdown(socket.SHUT_WR)


def _reset(lab: Lab) -> None:
    lab.end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    lab.end.close()


def _narrow(lab: Lab) -> None:
    lab.link.set(mtu=1000)


def _move(lab: Lab) -> None:
    lab.server.power_off()
    lab.net.hosts["spare"].add_address(f"{_VIRTUAL}/24")


def _move_in_silence(lab: Lab) -> None:
    lab.server.power_off()
    lab.net.hosts["spare"].add_address(f"{_VIRTUAL}/24", announce=False)


def _restart_gateway(lab: Lab) -> None:
    lab.net.hosts["gateway"].power_off()
    lab.net.at(FAULT_S + 0.5, lab.net.hosts["gateway"].power_on)


def _lay(net: Network, client: Host, server: Host, name: str) -> tuple[Link, str]:
    """Lay the cables of a row, with the box that it names. Returns the last one, and what the client calls."""
    if "address" in name:
        segment = net.switch("lan", client, server, net.host("spare"), delay="5ms")
        server.add_address(f"{_VIRTUAL}/24", segment)
        return segment.cable(server), _VIRTUAL
    if "nat(" not in name and "NAT" not in name and "balancer(" not in name:
        return net.link(client, server, delay="10ms"), "10.0.0.2"
    gateway = net.host("gateway", forwarding=True)
    home, uplink = net.link(client, gateway, delay="5ms"), net.link(gateway, server, delay="5ms")
    words: Any = {"idle": 9} if "idle=9" in name else {}
    if "reject" in name:
        words["unknown"] = "reject"
    if "balancer(" in name:
        net.balancer(gateway, 80, [server], **words)
        return uplink, "10.0.0.2"
    net.nat(home, uplink, **words)
    return uplink, "10.0.1.2"


def _firewall(lab: Lab, name: str) -> None:
    """Put the firewall of a row on the link."""
    if "reject" in name:
        lab.link.firewall(idle=9, unknown="reject")
    elif "reset" in name:
        lab.link.firewall(idle=10, when_idle="reset")
    else:
        lab.link.firewall(idle=9)


Fault = Callable[[Lab], None]
FROM_OUTSIDE: Final[dict[str, Fault]] = {
    "`link.cut()`": _cut,
    "`link.cut()`, and `link.heal()` a minute later": _cut_and_heal,
    "`link.cut(client)`: what the peer sends": _cut_what_the_client_sends,
    "a rule that drops what the host sends": _cut_one_way,
    "`net.partition(client, server)`": _part,
    "a rule that rejects what the peer sends": _reject,
    "`host.power_off()`": _power_off,
    "`host.power_off()`, `host.power_on()`": _reboot,
    '`host.reboot("30s")`': _reboot_at_once,
    "`host.suspend()`": _suspend,
    "`host.suspend()`, and `host.resume()` a minute later": _suspend_and_resume,
    "`host.pause()`, and `host.resume()` a minute later": _pause,
    "`program.pause()`": _stop,
    "`program.pause()`, and `program.resume()` a minute later": _stop_and_go_on,
    "`host.kill()`, all is read": _kill,
    "`host.kill()` with unread data": _kill,
    "`program.terminate()`, all is read": _terminate,
    "`link.set(mtu=1000)`, a black hole": _narrow,
    "`link.firewall(idle=9)`: forgotten": lambda lab: None,
    '`link.firewall(idle=9, unknown="reject")`: forgotten': lambda lab: None,
    '`link.firewall(idle=10, when_idle="reset")`: forgotten': lambda lab: None,
    "its address moves to another host, which announces it": _move,
    "its address moves to another host, and nobody is told": _move_in_silence,
    "`net.nat(home, uplink, idle=9)`: forgotten": lambda lab: None,
    '`net.nat(home, uplink, idle=9, unknown="reject")`: forgotten': lambda lab: None,
    "the gateway with the NAT starts again": _restart_gateway,
    "`net.balancer(node, 80, [server], idle=9)`: forgotten": lambda lab: None,
    '`net.balancer(node, 80, [server], idle=9, unknown="reject")`: forgotten': lambda lab: None,
}
BY_THE_PROGRAM: Final[dict[str, Fault]] = {
    "the program raises, in a `with`": _raise,
    "`close()`, all is read": _close,
    "`close()` with unread data": _close,
    "`close()` with `SO_LINGER` of 0": _reset,
    "`shutdown(SHUT_WR)`": _shut_down,
}
NAMES: Final = (*FROM_OUTSIDE, *BY_THE_PROGRAM)


def outcome(name: str, *, is_sending: bool = False, has_keepalive: bool = False) -> str:
    """Do a fault, and say what the server's host sent then, what the client's call made of it, and when."""
    with Network(seed=1) as net:
        client, server = net.host("client"), net.host("server")
        link, address = _lay(net, client, server, name)
        lab = Lab(net, client, server, link)
        said: list[str] = []
        noticed: list[str] = []
        if "firewall(" in name:
            _firewall(lab, name)

        def watch(sender: str, frame: bytes) -> bool:
            if sender == "server" and net.now >= FAULT_S and not said and not noticed:
                said.extend(["RST"] * bool(frame[_FLAGS_AT] & _RST) or ["FIN"] * bool(frame[_FLAGS_AT] & _FIN))
            return False

        def serve() -> None:
            with socket.create_server(("", 80)) as listener:
                lab.sock, _ = listener.accept()
            with lab.end as sock:
                if "unread" not in name:
                    sock.recv(5, socket.MSG_WAITALL)
                elif name in FROM_OUTSIDE:
                    time.sleep(A_DAY_S)
                if name in BY_THE_PROGRAM:
                    time.sleep(FAULT_S - time.monotonic())
                    BY_THE_PROGRAM[name](lab)
                    time.sleep(A_DAY_S if sock.fileno() >= 0 else 0)
                with suppress(OSError):
                    while sock.fileno() >= 0 and sock.recv(10_000):
                        sock.sendall(b"answer")

        def wait() -> None:
            with socket.create_connection((address, 80)) as sock:
                for option, value in _KEEPALIVE if has_keepalive else ():
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                    sock.setsockopt(socket.IPPROTO_TCP, option, value)
                sock.sendall(b"hello")
                started = float(FAULT_S)
                try:
                    if is_sending:
                        time.sleep(FAULT_S + 1 - time.monotonic())
                        started = time.monotonic()
                        sock.sendall(bytes(3000))
                    what = "an answer" if sock.recv(10_000) else "end of stream"
                except OSError as error:
                    what = type(error).__name__
                noticed.append(f"{what} {_told(time.monotonic() - started)}")

        lab.program = server.run(serve)
        lab.link.rule(watch)
        if name in FROM_OUTSIDE:
            net.at(FAULT_S, FROM_OUTSIDE[name], lab)
        client.run(wait)
        net.run(until=A_DAY_S / 2, check=False)
        return f"{said[0] if said else 'silence'}: {noticed[0] if noticed else 'never'}"


def _told(seconds: float) -> str:
    return "at once" if seconds < 0.1 else f"after {seconds:.0f} s"


def row(name: str) -> str:
    """Compute a row of the page."""
    return f"| {name} | {outcome(name)} | {outcome(name, has_keepalive=True)} | {outcome(name, is_sending=True)} |"


@pytest.mark.parametrize("name", NAMES)
def test_a_row_of_the_page_is_what_happens(name: str) -> None:
    assert row(name) in PAGE.splitlines()


def test_the_page_has_no_other_rows() -> None:
    assert re.findall(r"^\| (.*?) \| (?:FIN|RST|silence):", PAGE, re.MULTILINE) == list(NAMES)
