"""How an input becomes another one: records are changed, copied, moved, dropped, and taken from other inputs."""

from __future__ import annotations

from random import Random

from tests.fuzz.play import RECORD_BYTES, RECORDS_MAX

__all__ = ["mutated"]

_INTERESTING = (0, 1, 2, 4, 8, 16, 17, 18, 20, 24, 32, 63, 64, 127, 128, 129, 192, 255)


def mutated(data: bytes, other: bytes, chance: Random) -> bytes:
    """Make one input of two: the first, changed in a few ways; the second gives records."""
    settings = bytearray(data[:2].ljust(2, b"\0"))
    records = _records(data)
    for _ in range(1 << chance.randrange(4)):
        _change(settings, records, _records(other), chance)
    return bytes(settings) + b"".join(records[:RECORDS_MAX])


def _records(data: bytes) -> list[bytes]:
    return [data[at : at + RECORD_BYTES].ljust(RECORD_BYTES, b"\0") for at in range(2, len(data), RECORD_BYTES)]


def _change(settings: bytearray, records: list[bytes], others: list[bytes], chance: Random) -> None:
    kind = chance.randrange(16)
    at = chance.randrange(len(records) + 1)
    if kind == 0:
        settings[chance.randrange(2)] ^= 1 << chance.randrange(8)
    elif kind <= 2 or not records:
        records.insert(at, chance.randbytes(RECORD_BYTES))
    elif kind == 3:
        del records[at : at + chance.choice((1, 1, 2, 8))]
    elif kind == 4:
        records[at:at] = records[chance.randrange(len(records)) :][: chance.choice((1, 2, 4, 16))]
    elif kind == 5 and others:
        records[at:at] = others[chance.randrange(len(others)) :][: chance.choice((1, 4, 16, 64))]
    elif kind == 6 and others:
        records[at:] = others[chance.randrange(len(others)) :]
    elif kind == 7:
        first, second = chance.randrange(len(records)), chance.randrange(len(records))
        records[first], records[second] = records[second], records[first]
    elif kind == 8:  # the same again, later and with a little time between
        records.insert(at, bytes([3, 1]) + bytes(RECORD_BYTES - 2))
    else:
        place = chance.randrange(len(records))
        record = bytearray(records[place])
        for _ in range(chance.choice((1, 1, 2, 4))):
            index = chance.randrange(RECORD_BYTES)
            if chance.random() < 0.5:
                record[index] = chance.choice(_INTERESTING)
            elif chance.random() < 0.5:
                record[index] ^= 1 << chance.randrange(8)
            else:
                record[index] = chance.randrange(256)
        records[place] = bytes(record)
