"""``estab up``: a stack on a TUN or TAP device, with services or a program on it, until it is told to stop.

- A device that is not there is made, given the kernel's address and brought up; it goes with the process, however that
  ends. A device that exists is left as it is.
- What the user has to do is said as the commands that do it, with exit status 1.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Final

import click

from estab.cli.plan import Plan, apply_settings, open_device
from estab.cli.serving import parse_serve
from estab.cli.written import why

if TYPE_CHECKING:
    from estab.devices.device import Device
    from estab.devices.netlink import SystemDevice

__all__ = ["up"]

QUEUES_MAX: Final = 64


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--tun", metavar="NAME", help="Speak IP over this TUN device, made if it is not there.")
@click.option("--tap", metavar="NAME", help="Speak Ethernet over this TAP device, made if it is not there.")
@click.option("--packet", metavar="NAME", help="Speak Ethernet on this interface, beside the kernel (AF_PACKET).")
@click.option("--address", "addresses", metavar="ADDRESS/BITS", multiple=True, required=True,
              help="The stack's own address; again for more, of either version.")
@click.option("--gateway", "gateways", metavar="ADDRESS", multiple=True, help="Where everything else is sent to.")
@click.option("--peer", metavar="ADDRESS/BITS", default="", help="The kernel's address on a device that is made here; "
              "by default the first of the network that is not the stack's.")
@click.option("--serve", "serves", metavar="SERVICE", multiple=True,
              help="echo:PORT, discard:PORT, chargen:PORT, http:PORT=FOLDER; again for more.")
@click.option("--program", metavar="FILE", type=click.Path(exists=True, dir_okay=False),
              help="Run this Python program with its sockets on the stack. What follows is the program's own.")
@click.option("--mtu", type=click.IntRange(68, 65535), help="The MTU; by default the device's, or 1500.")
@click.option("--sysctl", "sysctls", metavar="NAME=VALUE", multiple=True, help="A setting by Linux's name.")
@click.option("--congestion", metavar="NAME", default="", help="The congestion control: cubic, reno, bbr …")
@click.option("--pcap", metavar="FILE", type=click.Path(dir_okay=False), help="Write every packet there (pcapng).")
@click.option("--pcap-max", metavar="MB", type=click.IntRange(1, 1_000_000), help="End that file at so many megabytes.")
@click.option("--queues", type=click.IntRange(1, QUEUES_MAX), default=1, show_default=True,
              help="Share the device among so many processes, each with the same services.")
@click.option("--offload/--no-offload", default=True, show_default=True,
              help="Let super-segments and unfinished checksums pass where the device can.")
@click.option("--busy-poll", type=click.IntRange(0, 1_000_000), metavar="MICROSECONDS",
              help="Don't sleep for so long while answers come sooner; 0: never. By default 50, with two processors.")
@click.option("--publish/--no-publish", default=True, show_default=True,
              help="Let `estab top --stack NAME` of this user see the stack's sockets.")
@click.argument("words", nargs=-1, metavar="[ARGUMENT...]")
def up(
    tun: str | None, tap: str | None, packet: str | None, addresses: tuple[str, ...], gateways: tuple[str, ...],
    peer: str, serves: tuple[str, ...], program: str | None, mtu: int | None, sysctls: tuple[str, ...], congestion: str,
    pcap: str | None, pcap_max: int | None, queues: int, offload: bool, busy_poll: int | None, publish: bool,
    words: tuple[str, ...],
) -> None:
    """Bring a stack up on a device of this machine, and serve on it.

    estab up --tun estab0 --address 10.7.0.2/24 --serve echo:7 --serve http:80=public
    """
    if sys.platform != "linux":
        raise click.ClickException("estab up needs Linux: TUN, TAP and AF_PACKET are its own")
    named = [(kind, name) for kind, name in (("tun", tun), ("tap", tap), ("packet", packet)) if name is not None]
    if len(named) != 1:
        raise click.UsageError("name one device: --tun, --tap or --packet")
    kind, device = named[0]
    _check_name(device, f"--{kind}")
    if program is None and words:
        raise click.UsageError(f"what is {words[0]!r}? Arguments are a program's, and there is no --program")
    if program is None and not serves:
        raise click.UsageError("nothing to do: --serve or --program says what happens on the stack")
    if queues > 1 and (program is not None or pcap is not None or kind == "packet"):
        raise click.UsageError("--queues is for services on a TUN or TAP device, without --program and --pcap")
    if pcap_max is not None and pcap is None:
        raise click.UsageError("--pcap-max is the limit of a file, and there is no --pcap")
    plan = Plan(
        kind, device, [_prefix(text, "--address") for text in addresses], [_address(text) for text in gateways],
        _prefix(peer, "--peer") if peer else "", mtu or 0, [parse_serve(text) for text in serves], program, list(words),
        [_setting(text) for text in sysctls], congestion, pcap, queues, offload, busy_poll,
        pcap_bytes_max=(pcap_max or 0) * 1_000_000, is_published=publish,
    )
    _check(plan)
    status = _run(plan)
    if status:
        raise click.exceptions.Exit(status)


# --- reading the command line


def _check_name(device: str, option: str) -> None:
    from estab.devices.tuntap import check_name

    try:
        check_name(device)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None


def _prefix(text: str, option: str) -> str:
    import ipaddress

    try:
        if "/" not in text:
            raise ValueError(f"{text!r} says no size of its network; write it like 10.7.0.2/24")
        ipaddress.ip_interface(text)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None
    return text


def _address(text: str) -> str:
    import ipaddress

    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise click.UsageError(f"--gateway: {error}") from None


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.UsageError(f"--sysctl: {text!r} is not NAME=VALUE")
    return name.strip(), value.strip()


def _check(plan: Plan) -> None:
    """Try all settings on a stack that is never used, so that a wrong one is told before anything is touched."""
    import ipaddress

    from estab.host.engine import Engine

    trial = Engine("trial", bytes(32))
    interface = trial.find_interface(plan.device) or trial.add_interface(plan.device, mtu=plan.mtu or 1500)
    ports: dict[int, str] = {}
    try:
        for address in plan.addresses:
            trial.add_address(interface, address)
        apply_settings(trial, plan)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise click.UsageError(str(error).strip("'\"")) from None
    if plan.peer and ipaddress.ip_interface(plan.peer).ip in [ipaddress.ip_interface(own).ip for own in plan.addresses]:
        raise click.UsageError(f"--peer: {plan.peer!r} is the stack's own address; the kernel's is another one")
    for served in plan.served:
        if served.port in ports:
            raise click.UsageError(f"--serve: port {served.port} twice, for {ports[served.port]} and {served.name}")
        ports[served.port] = served.name


# --- doing it


def _run(plan: Plan) -> int:
    try:
        device, is_ours = _open(plan)
    except OSError as error:
        return _refuse(plan, error)
    if plan.queues > 1:
        from estab.cli.queues import run_queues

        return run_queues(plan, device, is_ours)
    from estab.cli.standing import stand

    return stand(plan, device, is_ours)


def _open(plan: Plan) -> tuple[Device, bool]:
    """Open the device. Tells whether it was made here: then the stack brings it up, with the other end's addresses."""
    from estab.devices import netlink

    found = netlink.find(plan.device)
    if plan.kind == "packet":
        if found is None:
            raise FileNotFoundError(errno.ENODEV, "no such interface")
        if not found.is_up:
            raise NotReadyError(f"{plan.device} is down", [f"sudo ip link set dev {plan.device} up"])
        return open_device(plan), False
    device = open_device(plan)
    try:
        if found is None:
            peers = [plan.peer] if plan.peer else [netlink.peer_address(text) for text in plan.addresses]
            names = ", ".join(text.partition("/")[0] for text in peers if text is not None)
            plan.notes.append(f"the kernel is {names}" if names else "the kernel has no address on it")
        else:
            _check_found(plan, found)
    except BaseException:
        device.close()
        raise
    if plan.mtu:
        device.mtu = plan.mtu
    return device, found is None


def _check_found(plan: Plan, found: SystemDevice) -> None:
    """Look at a device that was there: is it up? Has the kernel an address on it?"""
    if not found.is_up:
        raise NotReadyError(f"{plan.device} is down", [f"sudo ip link set dev {plan.device} up"])
    if not found.has_addresses:
        plan.notes.append(f"the kernel has no address on {plan.device}, so from here nothing reaches the stack")


class NotReadyError(OSError):
    """Something is missing that the user can do: ``commands`` do it."""

    def __init__(self, text: str, commands: list[str]) -> None:
        super().__init__(text)
        self.commands = commands


def _refuse(plan: Plan, error: OSError) -> int:
    """Say what is missing, and the commands that give it."""
    if isinstance(error, NotReadyError):
        print(f"estab: {error}. This does it:", file=sys.stderr)
        commands = error.commands
    elif isinstance(error, PermissionError):
        what = (f"reading {plan.device} needs CAP_NET_RAW" if plan.kind == "packet"
                else f"making or opening {plan.device} needs CAP_NET_ADMIN")
        print(f"estab: {what}. Either of these gives it:", file=sys.stderr)
        commands = _commands(plan)
    elif plan.kind == "packet":
        is_missing = error.errno == errno.ENODEV
        what = f"there is no interface {plan.device}" if is_missing else f"{plan.device}: {why(error)}"
        print(f"estab: {what}; ip -brief device lists those that are there", file=sys.stderr)
        return 1
    elif isinstance(error, FileNotFoundError):
        print("estab: there is no /dev/net/tun: the kernel has no TUN (modprobe tun), or a container was not given it "
              "(docker run --device /dev/net/tun --cap-add NET_ADMIN)", file=sys.stderr)
        return 1
    elif error.errno == errno.EINVAL:
        print(f"estab: {plan.device} exists and is something else: {_mode_hint(plan)}", file=sys.stderr)
        return 1
    else:
        print(f"estab: {plan.device}: {why(error)}", file=sys.stderr)
        return 1
    for command in commands:
        print(f"    {command}", file=sys.stderr)
    return 1


def _commands(plan: Plan) -> list[str]:
    from estab.devices.netlink import peer_address

    python = os.path.realpath(sys.executable)
    if plan.kind == "packet":
        return [f"sudo {' '.join(sys.argv)}", f"sudo setcap cap_net_raw+ep {python}"]
    commands = [f"sudo ip tuntap add dev {plan.device} mode {plan.kind}{' multi_queue' if plan.queues > 1 else ''} "
                f"user {_user()}"]
    for address in plan.addresses:
        peer = plan.peer or peer_address(address)
        if peer is not None:
            commands.append(f"sudo ip addr add {peer} dev {plan.device}")
    commands.append(f"sudo ip link set dev {plan.device} up")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        commands.append("sudo chmod 0666 /dev/net/tun")
    return [" && ".join(commands), f"sudo setcap cap_net_admin+ep {python}"]


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _mode_hint(plan: Plan) -> str:
    queues = "with" if plan.queues > 1 else "without"
    return (f"estab wants a device of mode {plan.kind}, {queues} multi_queue; ip -d link show {plan.device} tells what "
            "it is")
