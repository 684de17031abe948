"""Control messages: what ``recvmsg`` gave beside the bytes, compared with what the script wants."""

from __future__ import annotations

from estab.drill.errors import MismatchError
from estab.drill.language.syntax import Array, Expression, Structure
from estab.drill.language.values import expression_text, integer
from estab.host.sockets.ancillary import Ancillary

__all__ = ["check_control"]


def check_control(wanted: Expression, found: list[Ancillary]) -> None:
    """Compare ``msg_control``, whose data are numbers, in order. ``MismatchError`` tells both sides."""
    if not isinstance(wanted, Array):
        raise MismatchError(f"expected an array of control messages, not {expression_text(wanted)}")
    expected = [_message(item) for item in wanted.items]
    got = [(level, kind, int.from_bytes(data, "little", signed=True)) for level, kind, data in found]
    if expected != got:
        raise MismatchError(f"recvmsg: expected msg_control={_text(expected)}, got {_text(got)}")


def _message(item: Expression) -> tuple[int, int, int]:
    if not isinstance(item, Structure):
        raise MismatchError(f"expected a control message, not {expression_text(item)}")
    level, kind, data = (item.get(name) for name in ("cmsg_level", "cmsg_type", "cmsg_data"))
    if level is None or kind is None or data is None:
        raise MismatchError(f"a control message has cmsg_level, cmsg_type and cmsg_data: {expression_text(item)}")
    return integer(level), integer(kind), integer(data)


def _text(messages: list[tuple[int, int, int]]) -> str:
    written = (f"{{cmsg_level={level}, cmsg_type={kind}, cmsg_data={data}}}" for level, kind, data in messages)
    return f"[{', '.join(written)}]"
