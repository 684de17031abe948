"""Frames: where one message ends and the next begins, in a stream of bytes that knows neither. All codecs, by name."""

from __future__ import annotations

from estab.messages.codec import Buffer, Codec, FrameError, FrameFault
from estab.messages.delimiters import COBS, Delimited
from estab.messages.lengths import FixedSize, LengthPrefixed, Netstring, VarintPrefixed

__all__ = [
    "COBS", "Buffer", "Codec", "Delimited", "FixedSize", "FrameError", "FrameFault", "LengthPrefixed", "Netstring",
    "VarintPrefixed",
]
