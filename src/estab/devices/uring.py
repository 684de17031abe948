"""Many reads or writes of one descriptor by one call: Linux's io_uring (``man 7 io_uring``), by ``ctypes``.

An operation is asked for with ``RWF_NOWAIT``: it is done or refused before the call returns. So nothing is under way
between two calls, and no operation holds the descriptor or the memory.

``open_ring`` returns ``None`` where io_uring is not there, older than Linux 5.17, or forbidden
(``kernel.io_uring_disabled``, most containers): then each frame takes a call of its own.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import sys
from typing import Any, Final

__all__ = ["Ring", "open_ring"]

_SYS_SETUP: Final = 425
_SYS_ENTER: Final = 426
_PARAMETERS_BYTES: Final = 120
_FEATURES_AT: Final = 20
_QUEUE_AT: Final = 40
_ANSWERS_AT: Final = 80
"""``struct io_uring_params``: ``features``, ``sq_off`` and ``cq_off``."""
_FEATURES: Final = 1 << 0 | 1 << 11
"""IORING_FEAT_SINGLE_MMAP and IORING_FEAT_CQE_SKIP."""
_OFF_ENTRIES: Final = 0x1000_0000
_ENTRY_BYTES: Final = 64
_ANSWER_BYTES: Final = 16
_OP_READ: Final = 22
_OP_WRITE: Final = 23
_SKIP_SUCCESS: Final = 1 << 6
"""IOSQE_CQE_SKIP_SUCCESS: of writes, only those that failed are answered."""
_NOWAIT: Final = 0x08
_NO_OFFSET: Final = 2**64 - 1


class Ring:
    """``slots`` reads or writes of up to ``slot_bytes`` bytes each on ``fd``, prepared once, and the memory for them.

    The attributes are what ``estab.host.drive.slots.Slots`` takes.
    """

    def __init__(self, number: int, parameters: bytes, fd: int, slots: int, slot_bytes: int, is_writing: bool,
                 call: Any) -> None:
        self._number = number
        self._call = call
        entries, self.answers = struct.unpack_from("II", parameters)
        tail, array = (struct.unpack_from("I", parameters, _QUEUE_AT + at)[0] for at in (4, 24))
        head, answered, answers = (struct.unpack_from("I", parameters, _ANSWERS_AT + at)[0] for at in (0, 4, 20))
        self.tail_at, self.head_at = tail // 4, head // 4
        self.answered_at, self.answers_at = answered // 4, answers // 4
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
        shared = mmap.mmap(number, max(array + entries * 4, answers + self.answers * _ANSWER_BYTES), flags)
        prepared = mmap.mmap(number, entries * _ENTRY_BYTES, flags, offset=_OFF_ENTRIES)
        self.words = memoryview(shared).cast("I")
        self.results = memoryview(shared).cast("i")
        self.entries = memoryview(prepared).cast("I")
        self.room = mmap.mmap(-1, slots * slot_bytes, flags)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.room))
        operation, answering, length = (_OP_WRITE, _SKIP_SUCCESS, 0) if is_writing else (_OP_READ, 0, slot_bytes)
        for slot in range(entries):
            self.words[array // 4 + slot] = slot
            struct.pack_into("=BBHiQQIIQQQQ", prepared, slot * _ENTRY_BYTES, operation, answering, 0, fd, _NO_OFFSET,
                             address + slot * slot_bytes, length, _NOWAIT, slot, 0, 0, 0)

    def enter(self, count: int) -> int:
        """Carry out the next ``count`` operations. Returns how many were begun, and are over."""
        began: int = self._call(_SYS_ENTER, self._number, count, 0, 0, None, 0)
        return max(0, began)

    def close(self) -> None:
        """Release the ring. It is not to be used any more."""
        if self._number >= 0:
            os.close(self._number)
            self._number = -1

    def __del__(self) -> None:
        self.close()


def open_ring(fd: int, slots: int, slot_bytes: int, *, is_writing: bool) -> Ring | None:
    """Make a ring of ``slots`` (a power of two) operations on a descriptor; ``None`` if that can't be had."""
    if sys.platform != "linux":
        return None
    call = ctypes.CDLL(None, use_errno=True).syscall
    parameters = ctypes.create_string_buffer(_PARAMETERS_BYTES)
    number = call(_SYS_SETUP, slots, parameters)
    if number < 0:
        return None
    if struct.unpack_from("I", parameters, _FEATURES_AT)[0] & _FEATURES != _FEATURES:
        os.close(number)
        return None
    call.argtypes = [ctypes.c_long, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p,
                     ctypes.c_size_t]
    return Ring(number, parameters.raw, fd, slots, slot_bytes, is_writing, call)
