"""Which process has a socket: from inode to process, by ``/proc`` (Linux). Without root, one's own processes only."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass

__all__ = ["Holder", "find_holders", "sockets_of"]


@dataclass(frozen=True, slots=True)
class Holder:
    """A descriptor of a process."""

    pid: int
    command: str
    fd: int

    @property
    def text(self) -> str:
        """Write it for people."""
        return f"{self.command} (pid {self.pid}, fd {self.fd})"


def find_holders(inodes: Collection[int]) -> dict[int, list[Holder]]:
    """Find the processes that hold these sockets, in the order of process ids."""
    found: dict[int, list[Holder]] = {}
    wanted = {f"socket:[{inode}]": inode for inode in inodes if inode}
    if not wanted:
        return found
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        for fd, link in _descriptors(pid):
            inode = wanted.get(link)
            if inode is not None:
                found.setdefault(inode, []).append(Holder(pid, _command(pid), fd))
    return found


def sockets_of(pid: int) -> set[int]:
    """Return the inodes of a process's sockets. ``PermissionError``, ``ProcessLookupError``."""
    try:
        os.listdir(f"/proc/{pid}/fd")
    except FileNotFoundError:
        raise ProcessLookupError(f"there is no process {pid}") from None
    except PermissionError:
        raise PermissionError(f"the descriptors of process {pid} are another user's: root may look at them") from None
    return {int(link[8:-1]) for _, link in _descriptors(pid) if link.startswith("socket:[")}


def _descriptors(pid: int) -> list[tuple[int, str]]:
    folder = f"/proc/{pid}/fd"
    found = []
    try:
        for name in os.listdir(folder):
            try:
                found.append((int(name), os.readlink(f"{folder}/{name}")))
            except OSError:
                continue
    except OSError:
        return []
    return sorted(found)


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return "?"
