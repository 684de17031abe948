"""What runs beside the test's process: it makes the namespaces of spawned hosts and starts their processes (Linux).

- ``serve`` is a process of its own, started by ``spaces.Spaces``. For each host it forks a keeper, which is the first
  process of the host's namespaces. If the test's process ends, however it ends, the keeper reads the end of its socket
  and ends; then the kernel ends all processes of the host, and its devices are gone.
- A host has two network namespaces: its processes live in the inner one. The outer one holds the far ends of its
  interfaces, where no process sees them.
- Messages are JSON objects on a socket that keeps their bounds. Each request has a number, which its answer repeats.
- Nothing of estab is imported here: this is the least that a fresh interpreter has to load.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import pwd
import select
import signal
import socket
import struct
import sys
from typing import Any, Final, NoReturn

__all__ = ["MESSAGE_BYTES_MAX", "serve"]

MESSAGE_BYTES_MAX: Final = 1 << 20

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (
    0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
_MS_BIND, _MS_REC, _MS_PRIVATE, _MNT_DETACH = 0x1000, 0x4000, 0x40000, 2
_PR_SET_CHILD_SUBREAPER: Final = 36
_SOL_PACKET, _PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING, _ETH_P_ALL = 263, 15, 23, 3
_SO_RCVBUFFORCE: Final = 33
_BUFFER_BYTES: Final = 32 << 20
_SIOCETHTOOL: Final = 0x8946
_OFFLOADS: Final = (0x17, 0x19, 0x1F, 0x24, 0x2C)  # ETHTOOL_STXCSUM, SSG, STSO, SGSO, SGRO
_TUNSETIFF, _TUNSETOFFLOAD, _TUNSETVNETLE, _TUNSETVNETHDRSZ = 0x400454CA, 0x400454D0, 0x400454DC, 0x400454D8
_TUN, _TAP, _NO_PI, _VNET_HDR = 1, 2, 0x1000, 0x4000
_TUN_QUEUE_FRAMES: Final = 20_000
"""What a TUN device holds that the lab has not read; the kernel's own default of 500 is soon full."""
_TUN_OFFLOADS: Final = 0x01 | 0x02 | 0x04 | 0x08
_IFF_NOARP: Final = 0x80
_STATIC, _PROTOCOL = 4, 229
"""Who made a route, as ``ip route`` shows it: 229 in a namespace that has others'."""
_IFA_F_NODAD: Final = 2
_HIDDEN: Final = ("/run/nscd", "/var/run/nscd", "/run/systemd/resolve", "/run/netns", "/run/avahi-daemon")
_ROOM_FOR_FILES: Final = ("/mnt", "/media", "/srv", "/opt", "/home")

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *words: Any) -> None:
    """Call a function of the C library, and raise ``OSError`` if it fails."""
    if getattr(_libc, name)(*words) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int = 0) -> None:
    _call("mount", source.encode(), target.encode(), kind.encode(), flags, None)


def serve(fd: int) -> None:
    """Fork a keeper for each host that is asked for on the socket ``fd``, until its other end is closed."""
    with contextlib.suppress(ImportError):
        import pyroute2  # noqa: F401 - loaded once, for all keepers
    control = socket.socket(fileno=fd)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    while True:
        data, fds, _, _ = socket.recv_fds(control, MESSAGE_BYTES_MAX, 1)
        if not data:
            break
        if os.fork() == 0:
            control.close()
            _begin(socket.socket(fileno=fds[0]), json.loads(data))
        for left in fds:
            os.close(left)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    control.close()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def _begin(control: socket.socket, wanted: dict[str, Any]) -> NoReturn:
    """Make the namespaces, and become the keeper in them. Tells what failed, and ends."""
    status = 1
    try:
        step = "make namespaces"
        try:
            _make_namespaces(control, wanted)
            step = "mount /proc"
            keeper = _Keeper(control, wanted)
        except OSError as error:
            control.send(json.dumps({"failed": step, "errno": error.errno, "text": str(error)}).encode())
        else:
            control.send(b'{"ready": true}')
            keeper.run()
            status = 0
    finally:
        os._exit(status)


def _make_namespaces(control: socket.socket, wanted: dict[str, Any]) -> None:
    if wanted["netns"]:
        wanted["inner"] = os.open(wanted["netns"], os.O_RDONLY | os.O_CLOEXEC)
        _call("unshare", _NEWNET)
        wanted["outer"] = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _call("setns", wanted["inner"], _NEWNET)
        return
    uid, gid = os.getuid(), os.getgid()
    flags = _NEWNET | _NEWNS | _NEWUTS | _NEWIPC
    if wanted["has_user_namespace"]:
        flags |= _NEWUSER
    if wanted["has_pid_namespace"]:
        flags |= _NEWPID
    _call("unshare", flags)
    if wanted["has_user_namespace"]:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    wanted["outer"] = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    _call("unshare", _NEWNET)
    wanted["inner"] = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    if wanted["has_pid_namespace"] and os.fork():
        os._exit(0)  # the child is the first process of the namespace, and ends with the socket


class _Keeper:
    """The first process of a host."""

    def __init__(self, control: socket.socket, wanted: dict[str, Any]) -> None:
        self._control = control
        self._outer, self._inner = wanted["outer"], wanted["inner"]
        self._has_pid_namespace = wanted["has_pid_namespace"]
        self._is_over = False
        self._numbers: dict[int, int] = {}
        """The number of a process by its pid in here."""
        self._interfaces: dict[str, dict[str, Any]] = {}
        self._asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        os.setsid()
        self._is_attached = bool(wanted["netns"])
        if not self._is_attached:
            self._make_own(wanted)
        self._netlink = _route_socket()
        self._netlink.link("set", index=1, state="up")
        self._set_namespace(self._outer)
        self._outer_netlink = _route_socket()
        self._set_namespace(self._inner)

    def _make_own(self, wanted: dict[str, Any]) -> None:
        """Make the rest of the host its own: files, name, settings."""
        if not self._has_pid_namespace:
            _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        _mount("none", "/", "none", _MS_REC | _MS_PRIVATE)
        if self._has_pid_namespace:
            _mount("proc", "/proc", "proc")
        with contextlib.suppress(OSError):
            _mount("sysfs", "/sys", "sysfs")
        self._hide_and_place(wanted["files"])
        socket.sethostname(wanted["name"][:64])
        self._set_sysctls()

    def _set_namespace(self, fd: int) -> None:
        _call("setns", fd, _NEWNET)

    @staticmethod
    def _set_sysctls() -> None:
        for name, value in (
            ("ipv4/ip_unprivileged_port_start", "0"), ("ipv4/ping_group_range", "0 2147483647"),
            ("ipv6/conf/default/accept_ra", "0"), ("ipv6/conf/default/router_solicitations", "0"),
            ("ipv6/conf/default/accept_dad", "0"), ("ipv6/conf/default/addr_gen_mode", "1"),
            ("ipv4/conf/default/rp_filter", "0"), ("ipv4/conf/all/rp_filter", "0"),
        ):
            with contextlib.suppress(OSError), open(f"/proc/sys/net/{name}", "w") as file:
                file.write(value)

    # --- files

    def _hide_and_place(self, files: dict[str, str]) -> None:
        """Hide the sockets by which names are asked for past the lab, and put files of the host's own in place."""
        for path in _HIDDEN:
            if os.path.isdir(path) and not os.path.islink(path):
                with contextlib.suppress(OSError):
                    _mount("tmpfs", path, "tmpfs")
        room = next(path for path in _ROOM_FOR_FILES if os.path.isdir(path))
        _mount("tmpfs", room, "tmpfs")
        for number, (path, text) in enumerate(files.items()):
            source, target = f"{room}/{number}", os.path.realpath(path)
            with open(source, "w") as file:
                file.write(text)
            if not os.path.exists(target):
                with contextlib.suppress(OSError), open(target, "x"):
                    pass
            if os.path.exists(target):
                _mount(source, target, "none", _MS_BIND)
        _call("umount2", room.encode(), _MNT_DETACH)

    def do_files(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Write the host's own files anew."""
        for path, text in request["files"].items():
            with open(path, "r+") as file:
                file.write(text)
                file.truncate()
        return {}

    def do_read(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Read a file as a process of the host would."""
        with open(request["path"], errors="replace") as file:
            return {"text": file.read(MESSAGE_BYTES_MAX // 4)}

    # --- interfaces

    def do_plug(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Make an interface. The answer has the descriptor by which its frames come and go, and what they look like."""
        name, mac = request["name"], request["mac"]
        device = self._open_tun(name, bool(mac)) if request["may_use_tun"] else -1
        is_tun = device >= 0
        if not is_tun:
            device = self._open_veth(name)
        index = self._netlink.link_lookup(ifname=name)[0]
        self._interfaces[name] = {"index": index, "is_tun": is_tun, "device": device}
        if mac:
            self._netlink.link("set", index=index, address=":".join(f"{octet:02x}" for octet in bytes.fromhex(mac)))
        elif not is_tun:
            self._netlink.link("set", index=index, flags=_IFF_NOARP, mask=_IFF_NOARP)
        if is_tun:
            self._netlink.link("set", index=index, txqlen=_TUN_QUEUE_FRAMES)
        self._netlink.link("set", index=index, mtu=request["mtu"], state="up")
        for text in request["addresses"]:
            address, _, bits = text.partition("/")
            flags = {"flags": _IFA_F_NODAD} if ":" in address else {}
            self._netlink.addr("add", index=index, address=address, prefixlen=int(bits), **flags)
        self._set_offload(name, request["has_offload"])
        own = self._netlink.get_links(index)[0].get_attr("IFLA_ADDRESS").replace(":", "") if mac or not is_tun else ""
        return {"is_tun": is_tun, "mac": own, "fds": [device]}

    def _open_tun(self, name: str, is_ethernet: bool) -> int:
        """Open a TUN or TAP device; -1 where the system keeps them from us."""
        try:
            device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return -1
        try:
            flags = (_TAP if is_ethernet else _TUN) | _NO_PI | _VNET_HDR
            fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
            fcntl.ioctl(device, _TUNSETVNETHDRSZ, struct.pack("i", 10))
            with contextlib.suppress(OSError):
                fcntl.ioctl(device, _TUNSETVNETLE, struct.pack("i", 1))
        except OSError:
            os.close(device)
            return -1
        return device

    def _open_veth(self, name: str) -> int:
        """Make a pair of interfaces, and open the far end by a packet socket."""
        far = f"far-{name}"
        self._netlink.link("add", ifname=name, kind="veth", peer={"ifname": far, "net_ns_fd": self._outer})
        self._set_namespace(self._outer)
        try:
            index = self._outer_netlink.link_lookup(ifname=far)[0]
            packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
            packets.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
            packets.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
            try:
                packets.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
            except PermissionError:
                packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            packets.bind((far, _ETH_P_ALL))
            self._outer_netlink.link("set", index=index, state="up", mtu=65535)
            return packets.detach()
        finally:
            self._set_namespace(self._inner)

    def _set_offload(self, name: str, is_on: bool) -> None:
        """Let the kernel send super-segments and packets without checksums by an interface, or not."""
        interface = self._interfaces[name]
        if interface["is_tun"]:
            fcntl.ioctl(interface["device"], _TUNSETOFFLOAD, _TUN_OFFLOADS if is_on else 0)
            return
        for command in _OFFLOADS if is_on else reversed(_OFFLOADS):
            data = ctypes.create_string_buffer(struct.pack("II", command, is_on))
            request = struct.pack("16sP", name.encode(), ctypes.addressof(data)).ljust(40, b"\0")
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._asking, _SIOCETHTOOL, request)

    def do_offload(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Change what ``_set_offload`` says."""
        self._set_offload(request["name"], request["is_on"])
        return {}

    def do_carrier(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Have an interface see that its cable is plugged in, or not."""
        name, is_up = request["name"], request["is_up"]
        interface = self._interfaces[name]
        if interface["is_tun"]:
            tunsetcarrier = 0x400454E2
            fcntl.ioctl(interface["device"], tunsetcarrier, struct.pack("i", is_up))
        else:
            index = self._outer_netlink.link_lookup(ifname=f"far-{name}")[0]
            self._outer_netlink.link("set", index=index, state="up" if is_up else "down")
        return {}

    def do_routes(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Set the routes: pairs of a prefix and a gateway, with the interface's name."""
        kind = _PROTOCOL if self._is_attached else _STATIC
        for family in (socket.AF_INET, socket.AF_INET6):
            self._netlink.flush_routes(family=family, table=254, proto=kind)
        for prefix, gateway, name in request["routes"]:
            family = socket.AF_INET6 if ":" in gateway else socket.AF_INET
            self._netlink.route("replace", family=family, dst=prefix, gateway=gateway, proto=kind,
                                oif=self._interfaces[name]["index"])
        if self._is_attached:
            return {}
        with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
            file.write(str(int(request["is_forwarding"])))
        with contextlib.suppress(OSError), open("/proc/sys/net/ipv6/conf/all/forwarding", "w") as file:
            file.write(str(int(request["is_forwarding"])))
        return {}

    def do_sysctl(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Set a sysctl of the host."""
        with open(f"/proc/sys/{request['path']}", "w") as file:
            file.write(request["value"])
        return {}

    def do_diag(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Open a socket on which the host's sockets can be asked for."""
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 4)
        return {"fds": [netlink.detach()], "closes": True}

    # --- processes

    def do_spawn(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Start a process. Its first message comes from itself, so that the kernel says its pid outside of here."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _execute(self._control, request, fds, writing)
        os.close(writing)
        self._numbers[pid] = request["process"]
        with open(reading, "rb") as file:
            said = file.read()
        if said:
            number, _, text = said.decode(errors="replace").partition(" ")
            raise OSError(int(number), text)
        return {}

    def do_signal(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Send a signal to a process and all of its group."""
        for pid, number in list(self._numbers.items()):
            if number == request["process"]:
                os.killpg(pid, request["number"])
                return {}
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self._numbers.pop(pid, None)
            if number is not None:
                self._send({"exited": number, "status": os.waitstatus_to_exitcode(status)})

    # --- messages

    def run(self) -> None:
        """Answer requests until the other end of the socket is closed."""
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(reading, select.POLLIN)
        while not self._is_over:
            for fd, _ in poll.poll():
                if fd == reading:
                    os.read(reading, 512)
                    self._reap()
                else:
                    self._answer()
        if not self._has_pid_namespace and not self._is_attached:
            self._kill_all()

    def _answer(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._control, MESSAGE_BYTES_MAX, 8)
        except OSError:
            data, fds = b"", []
        if not data:
            self._is_over = True
            return
        request = json.loads(data)
        answer: dict[str, Any]
        try:
            answer = getattr(self, f"do_{request['do']}")(request, fds)
        except OSError as error:
            answer = {"errno": error.errno or errno.EIO, "text": error.strerror or str(error)}
        except Exception as error:  # a library's own errors: netlink's are no OSError
            answer = {"errno": getattr(error, "code", errno.EIO) or errno.EIO, "text": str(error)}
        finally:
            for fd in fds:
                os.close(fd)
        given = answer.pop("fds", [])
        closes = answer.pop("closes", False)
        self._send({"answer": request["request"], **answer}, given)
        if closes:
            for fd in given:
                os.close(fd)

    def _send(self, message: dict[str, Any], fds: list[int] | None = None) -> None:
        with contextlib.suppress(OSError):
            socket.send_fds(self._control, [json.dumps(message).encode()], fds or [])

    def _kill_all(self) -> None:
        """Without a pid namespace: end all that the host's processes started, as far as it can be found."""
        for _ in range(100):
            with open(f"/proc/self/task/{os.getpid()}/children") as file:
                children = [int(word) for word in file.read().split()]
            if not children:
                return
            for pid in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)


def _route_socket() -> Any:
    from pyroute2 import IPRoute

    return IPRoute()


def _execute(control: socket.socket, request: dict[str, Any], fds: list[int], said: int) -> NoReturn:
    """Become the process that was asked for."""
    try:
        os.setsid()
        control.send(json.dumps({"spawned": request["process"]}).encode())
        # Out of the way of the numbers from 0, which the process gets.
        said = fcntl.fcntl(said, fcntl.F_DUPFD_CLOEXEC, 64)
        lifted = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in fds]
        for number, fd in enumerate(lifted):
            os.dup2(fd, number)
        for number in range(1, signal.NSIG):
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        if request["user"]:
            _become(request["user"])
        os.chdir(request["cwd"])
        os.execvpe(request["argv"][0], request["argv"], request["env"])
    except OSError as error:
        # Bytes: the last folder of PATH in which it was looked for.
        name = error.filename if isinstance(error.filename, str) else request["argv"][0]
        os.write(said, f"{error.errno} {error.strerror}: {name}".encode())
    except KeyError:
        os.write(said, f"{errno.EINVAL} there is no user {request['user']!r}".encode())
    except ValueError as error:  # zero bytes, or names of variables with "=": the system has no way to pass them
        os.write(said, f"{errno.EINVAL} {os.strerror(errno.EINVAL)}: {error}".encode())
    finally:
        os._exit(127)


def _become(name: str) -> None:
    """Take on another user's rights; only root can."""
    entry = pwd.getpwnam(name)
    if entry.pw_uid == os.getuid():
        return
    os.initgroups(name, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
