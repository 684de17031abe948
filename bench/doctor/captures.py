"""A healthy connection, and captures that show it wrongly."""

from __future__ import annotations

import random
import struct

import estab
from bench.doctor.stage import (
    RAW,
    RECEIVER,
    SENDER,
    Scenario,
    Stage,
    Void,
    exchange,
    kind,
)
from estab.devices.capture_file import Captured
from estab.wire.address import parse_address


@kind
def healthy(stage: Stage, seed: int) -> Scenario:
    """Requests and answers at once, or a transfer over a link that is not full."""
    stage.pair(0.2, 20)
    if seed % 2:
        exchange(stage, stage.chance.randint(3, 25), lambda: stage.chance.uniform(0, 0.01), lambda: 0.0)
    else:
        stage.stream(stage.chance.randint(20_000, 400_000))
    stage.run()
    return stage.done("healthy", seed, "healthy")


def _plain(stage: Stage) -> None:
    """Something healthy, as ground for artefacts of the capture."""
    stage.pair(0.5, 25)
    if stage.chance.random() < 0.5:
        exchange(stage, stage.chance.randint(5, 20), lambda: 0.0, lambda: 0.0, answer=(2000, 20_000))
    else:
        stage.stream(stage.chance.randint(60_000, 300_000))
    stage.run()


@kind
def captured_twice(stage: Stage, seed: int) -> Scenario:
    """Each packet stands in the file twice, or more often."""
    _plain(stage)
    made = stage.done("captured-twice", seed, "captured-twice")
    times = stage.chance.choice([2, 2, 2, 4])
    later_ns = stage.chance.randint(0, 300_000)
    for side, frames in made.captures.items():
        more = [Captured(frame.time_ns + copy * later_ns, frame.link_type, frame.data, frame.length)
                for frame in frames for copy in range(times)]
        made.captures[side] = sorted(more, key=lambda frame: frame.time_ns)
    return made


@kind
def capture_dropped(stage: Stage, seed: int) -> Scenario:
    """The capture lost packets, the connection did not."""
    _plain(stage)
    made = stage.done("capture-dropped", seed, "capture-dropped")
    share = stage.chance.uniform(0.03, 0.15)
    for side, frames in made.captures.items():
        kept = [frame for at, frame in enumerate(frames) if at < 6 or stage.chance.random() >= share]
        gone = [frame for at, frame in enumerate(frames) if at >= 6 and frame not in kept]
        if not any(len(frame.data) > 80 for frame in gone):
            raise Void
        made.captures[side] = kept
    return made


@kind
def checksum_offload(stage: Stage, seed: int) -> Scenario:
    """The capture was taken before the network card filled in the checksums."""
    _plain(stage)
    made = stage.done("checksum-offload", seed, "checksum-offload")
    hosts = {SENDER: stage.ends[0], RECEIVER: stage.ends[1]}
    for side, frames in made.captures.items():
        mine = [parse_address(address) for address in hosts[side].addresses]
        made.captures[side] = [
            Captured(frame.time_ns, RAW, frame.data[:36] + struct.pack(">H", 0x1234) + frame.data[38:], frame.length)
            if frame.data[12:16] in mine else frame for frame in frames
        ]
    return made


@kind
def vlan_collision(stage: Stage, seed: int) -> Scenario:
    """Connections of two VLANs have the same addresses and ports."""
    _plain(stage)
    made = stage.done("vlan-collision", seed, "vlan-collision")
    other = Stage(stage.net.seed.rpartition("/")[0], seed)  # type: ignore[union-attr]
    other.chance = random.Random(f"other/{seed}")
    other.net = estab.Network(seed=f"other/{seed}", observer=other.keep)
    _plain(other)
    tags = [b"", *(struct.pack(">HH", 0x8100, number) for number in stage.chance.sample(range(1, 4000), 2))]
    first, second = stage.chance.sample(tags, 2)
    hosts = {SENDER: ("client", "server")[stage.ends[0] is stage.server], RECEIVER: ("client", "server")[
        stage.ends[1] is stage.server]}
    for side, frames in made.captures.items():
        theirs = other.frames(other.net.hosts[hosts[side]])
        port = {frame.data[20:22] for frame in frames} | {frame.data[22:24] for frame in frames}
        mine = next(one for one in port if one != b"\0P")
        tagged = [_tagged(frame, first) for frame in frames]
        for frame in theirs:
            data = bytearray(frame.data)
            at = 20 if data[20:22] != b"\0P" else 22
            data[at:at + 2] = mine
            tagged.append(_tagged(Captured(frame.time_ns + 1000, RAW, bytes(data), len(data)), second))
        made.captures[side] = sorted(tagged, key=lambda frame: frame.time_ns)
    return made


def _tagged(frame: Captured, tag: bytes) -> Captured:
    data = bytes(12) + tag + b"\x08\x00" + frame.data
    return Captured(frame.time_ns, 1, data, len(data))
