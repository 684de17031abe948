"""Two stacks in one event loop, whose devices carry to each other, at once or when a test lets them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import estab

LEFT, RIGHT = "10.9.0.1", "10.9.0.2"

Program = Callable[[estab.Stack, estab.Stack], Awaitable[object]]


class Gate:
    """Carries packets from one stack to the other, or holds them."""

    def __init__(self) -> None:
        self.is_open = True
        self.held: list[bytes] = []
        self.deliver: Callable[[bytes], object] = lambda packet: None

    def carry(self, packet: bytes) -> None:
        """Take a packet that a stack sent."""
        if self.is_open:
            self.deliver(packet)
        else:
            self.held.append(packet)

    def open(self) -> None:
        """Let through what was held, and what comes."""
        self.is_open = True
        held, self.held = self.held, []
        for packet in held:
            self.deliver(packet)


def joined(there: Gate | None = None, back: Gate | None = None) -> tuple[estab.Stack, estab.Stack]:
    """Make two stacks. What the left one sends goes through ``there``, what the right one sends through ``back``."""
    there, back = there or Gate(), back or Gate()
    left = estab.QueueDevice(there.carry)
    right = estab.QueueDevice(back.carry)
    there.deliver, back.deliver = right.deliver, left.deliver
    addresses = [f"{LEFT}/24", "fd00::1/64"], [f"{RIGHT}/24", "fd00::2/64"]
    return estab.Stack(left, addresses[0], name="left"), estab.Stack(right, addresses[1], name="right")


def run(program: Program, there: Gate | None = None, back: Gate | None = None) -> None:
    """Run an async function over two joined stacks."""

    async def body() -> None:
        left, right = joined(there, back)
        async with left, right:
            await asyncio.wait_for(program(left, right), 30)  # type: ignore[arg-type]

    asyncio.run(body())
