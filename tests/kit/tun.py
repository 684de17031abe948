"""A namespace with a device, stacks of ours on it, and sockets of the kernel in it."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import Any

import estab
from tests.kit.namespaces import Namespace

__all__ = ["KERNEL", "STACK", "TunNamespace"]

KERNEL = ("10.7.0.1", "fd00:7::1")
STACK = ("10.7.0.2", "fd00:7::2")


class TunNamespace(Namespace):
    """A namespace whose device ``tun0`` has the kernel's addresses; ``stack`` puts one of ours at its other end."""

    def __init__(self) -> None:
        super().__init__()
        self._open = ExitStack()

    def set_up(self) -> None:
        super().set_up()
        self.ip("tuntap add dev tun0 mode tun")
        self.ip(f"addr add {KERNEL[0]}/24 dev tun0")
        self.ip(f"addr add {KERNEL[1]}/64 dev tun0 nodad")
        self.ip("link set tun0 up mtu 1500")

    def __exit__(self, *error: object) -> None:
        try:
            self._open.close()
        finally:
            super().__exit__(*error)

    def stack(self, offload: bool = True, weather: dict[str, Any] | None = None, **config: Any) -> estab.Stack:
        """Put a stack on the device, with bad weather where there is some. It is closed with the test."""
        link: Any = estab.Tun("tun0", netns=self.name, offload=offload)
        if weather is not None:
            link = estab.Faulty(link, **weather)
        made = estab.Stack(link, [f"{STACK[0]}/24", f"{STACK[1]}/64"], **config)
        made.run_in_thread()
        return self.enter(made)

    def enter(self, stack: estab.Stack) -> estab.Stack:
        """Have a stack closed with the test."""
        return self._open.enter_context(stack)

    def close_stacks(self) -> None:
        """Close all stacks, so that the device is free."""
        self._open.close()

    def listener(self, address: str = KERNEL[0], port: int = 0) -> socket.socket:
        """Make a listening socket of the kernel in the namespace."""
        made = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        made.listen(16)
        return made
