"""A system that is not Linux, as far as it can be played on Linux: to be imported first, in a process of its own.

What only Linux or only POSIX has is gone (modules, functions, constants), and the numbers of the socket module are
those of macOS or of Windows (``ESTAB_ELSEWHERE``). The standard library is imported after that, and sees the same; the
few modules of it that need what Windows has not are imported before it goes. ``sys.platform`` is a name that no code
knows.
"""

from __future__ import annotations

import importlib
import importlib.abc
import os
import sys
from collections.abc import Sequence
from types import ModuleType

__all__ = ["MODULES", "SYSTEM"]

SYSTEM = os.environ.get("ESTAB_ELSEWHERE", "windows")
MODULES = {
    "macos": ("pyroute2", "spwd"),
    "windows": ("fcntl", "grp", "posix", "pty", "pwd", "pyroute2", "readline", "resource", "syslog", "termios", "tty"),
}[SYSTEM]
"""Modules that nobody can import from here on."""

_NUMBERS = {
    "macos": {"AF_INET6": 30, "SOL_SOCKET": 0xFFFF, "SO_REUSEADDR": 4, "SO_KEEPALIVE": 8, "SO_BROADCAST": 0x20,
              "SO_LINGER": 0x1080, "SO_SNDBUF": 0x1001, "SO_RCVBUF": 0x1002, "SO_ERROR": 0x1007, "SO_TYPE": 0x1008,
              "SO_REUSEPORT": 0x200, "SO_OOBINLINE": 0x100, "MSG_DONTWAIT": 0x80, "MSG_EOR": 8, "MSG_WAITALL": 0x40,
              "MSG_TRUNC": 0x10, "MSG_CTRUNC": 0x20, "IPV6_V6ONLY": 27, "IP_TTL": 4, "IP_TOS": 3, "TCP_MAXSEG": 2,
              "TCP_KEEPINTVL": 0x101, "TCP_KEEPCNT": 0x102, "EAI_NONAME": 8, "EAI_AGAIN": 2, "AI_PASSIVE": 1},
    "windows": {"AF_INET6": 23, "SOL_SOCKET": 0xFFFF, "SO_REUSEADDR": 4, "SO_KEEPALIVE": 8, "SO_BROADCAST": 0x20,
                "SO_LINGER": 0x80, "SO_SNDBUF": 0x1001, "SO_RCVBUF": 0x1002, "SO_ERROR": 0x1007, "SO_TYPE": 0x1008,
                "SO_OOBINLINE": 0x100, "MSG_WAITALL": 8, "MSG_TRUNC": 0x100, "MSG_CTRUNC": 0x200, "IPV6_V6ONLY": 27,
                "IP_TTL": 4, "IP_TOS": 3, "TCP_MAXSEG": 4, "TCP_KEEPIDLE": 3, "TCP_KEEPINTVL": 17, "TCP_KEEPCNT": 16,
                "EAI_NONAME": 11001, "EAI_AGAIN": 11002},
}[SYSTEM]
_KEPT = {
    "macos": {"AF_UNIX", "MSG_DONTWAIT", "MSG_EOR", "MSG_NOSIGNAL", "SO_REUSEPORT", "TCP_FASTOPEN", "SCM_RIGHTS"},
    "windows": {"TCP_FASTOPEN"},
}[SYSTEM]
"""Constants that this system has, though Linux's other ones of their kind are gone."""
_OF_LINUX = (
    "AF_", "PF_", "CAN_", "TIPC_", "ALG_", "VM", "SO_", "SCM_", "MSG_", "TCP_", "IP_", "UDPLITE_", "NETLINK_",
)
"""How the names begin of what is gone, but for those that all systems have, and those that this one has."""
_PLAIN = {
    "AF_INET", "AF_UNSPEC", "AF_APPLETALK", "AF_IPX", "TCP_NODELAY", "IP_OPTIONS", "IP_HDRINCL", "IP_MULTICAST_IF",
    "IP_MULTICAST_TTL", "IP_MULTICAST_LOOP", "IP_ADD_MEMBERSHIP", "IP_DROP_MEMBERSHIP", "IP_RECVTOS", "MSG_OOB",
    "MSG_PEEK", "MSG_DONTROUTE", "SO_ACCEPTCONN", "SO_DEBUG", "SO_DONTROUTE", "SO_RCVLOWAT", "SO_RCVTIMEO",
    "SO_SNDLOWAT", "SO_SNDTIMEO",
}
_FUNCTIONS = {
    "os": ("eventfd", "eventfd_read", "eventfd_write", "memfd_create", "setns", "unshare", "pipe2", "sched_getaffinity",
           "sched_setaffinity", "sched_getscheduler", "sched_setscheduler", "sched_getparam", "sched_setparam",
           "getrandom", "splice", "copy_file_range", "posix_fadvise"),
    "select": ("epoll",),
}
_POSIX_FUNCTIONS = {
    "os": ("fork", "forkpty", "getuid", "geteuid", "getgid", "getegid", "getgroups", "setuid", "setsid", "killpg",
           "uname", "nice", "sendfile", "set_blocking", "get_blocking", "mkfifo", "wait4", "sysconf",
           "register_at_fork"),
    "select": ("poll",),
    "signal": ("SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGCHLD", "setitimer", "pthread_kill", "pthread_sigmask",
               "siginterrupt"),
    "_socket": ("socketpair", "sethostname", "CMSG_LEN", "CMSG_SPACE", "if_nameindex", "EAI_ADDRFAMILY", "EAI_SYSTEM",
                "EAI_OVERFLOW", "AI_ADDRCONFIG"),
}
_FIRST = ("asyncio", "concurrent.futures", "ctypes", "getpass", "http.server", "logging", "multiprocessing", "pathlib",
          "platform", "random", "shutil", "socketserver", "subprocess", "tempfile", "urllib.request", "xmlrpc.client")
"""What is imported before the modules that it needs here go."""


class _Refusing(importlib.abc.MetaPathFinder):
    """Finds none of the modules that this system has not."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name.partition(".")[0] in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _leave() -> None:
    """Make this process one of the other system."""
    if "socket" in sys.modules:
        raise RuntimeError("the other system must be there before the socket module is")
    low = importlib.import_module("_socket")
    gone = [name for name in vars(low) if name.startswith(_OF_LINUX) and name not in _PLAIN | _KEPT | _NUMBERS.keys()]
    for name in gone:
        delattr(low, name)
    for name, number in _NUMBERS.items():
        setattr(low, name, number)
    groups = (_FUNCTIONS, _POSIX_FUNCTIONS) if SYSTEM == "windows" else (_FUNCTIONS,)
    for module in ("_socket", "select", "os", "signal"):
        if module == "os":
            for name in _FIRST:
                importlib.import_module(name)
        found = importlib.import_module(module)
        for name in [name for group in groups for name in group.get(module, ())]:
            if hasattr(found, name):
                delattr(found, name)
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, _Refusing())
    sysconfig = importlib.import_module("sysconfig")
    sysconfig.get_config_vars()  # knows no other system than the one it was built on
    sys.platform = "elsewhere"


_leave()
