"""Rules about the end of a connection: resets and what led to them, ends that do not come, forged segments."""

from __future__ import annotations

from typing import Final

from estab.doctor.case import Case, packet_list
from estab.doctor.conversation import Segment
from estab.doctor.finding import Finding
from estab.units import SECOND, format_duration

__all__ = ["close_unanswered", "close_wait", "injected", "resets"]

_CLOSE_WAIT_NS_MIN: Final = 5 * SECOND
_IDLE_NS_MIN: Final = SECOND
_KEPT_NS_MIN: Final = 5 * SECOND
_TTL_FAR: Final = 2


def injected(case: Case) -> list[Finding]:
    """Find two segments that claim the same place in the stream, or a reset that its sender knew nothing of."""
    for side in (0, 1):
        segments = case.conversation.sides[side].segments
        pair = _two_answers(segments) or _foreign_reset(segments)
        if pair is not None:
            first, second, why = pair
            ttls = f"; TTL {first.packet.ttl} and {second.packet.ttl}" if first.packet.ttl != second.packet.ttl else ""
            return [case.finding("injected", [f"packets {first.number} and {second.number}: {why}{ttls}"],
                                 first.at_ns, second.at_ns, side,
                                 notices="at once: it reads what was forged, or ECONNRESET")]
    return []


def _two_answers(segments: list[Segment]) -> tuple[Segment, Segment, str] | None:
    heads: dict[int, Segment] = {}
    for segment in segments:
        if segment.length < 2 or not segment.packet.head:
            continue
        known = heads.setdefault(segment.seq, segment)
        if known is segment:
            continue
        size = min(len(known.packet.head), len(segment.packet.head), known.length, segment.length)
        if size > 1 and known.packet.head[:size] != segment.packet.head[:size]:
            return known, segment, "the same sequence number, different text"
    # Texts may begin alike (zeros, a status line): then lengths and distance tell.
    for segment in segments:
        first = heads.get(segment.seq) if segment.length > 1 else None
        if first is None or first is segment or first.length == segment.length:
            continue
        if abs(first.packet.ttl - segment.packet.ttl) > _TTL_FAR:
            return first, segment, "the same sequence number, different lengths, from different distances"
    return None


def _foreign_reset(segments: list[Segment]) -> tuple[Segment, Segment, str] | None:
    """Find a reset from another distance than the rest, or after which its sender goes on with text."""
    ttls = [one.packet.ttl for one in segments if not one.is_rst]
    if len(ttls) < 2:
        return None
    usual = max(set(ttls), key=ttls.count)
    for at, reset in enumerate(segments):
        if not reset.is_rst:
            continue
        later = [one for one in segments[at + 1:] if not one.is_rst and (one.length or one.is_pure_ack)]
        is_far = abs(reset.packet.ttl - usual) > _TTL_FAR and reset.packet.ttl not in (64, 128, 255)
        if later and (is_far or any(one.length for one in later)):
            return reset, later[0], "a reset, after which the same end goes on as though it had sent none"
        if is_far and segments[0].packet.ttl == usual and not later and ttls.count(usual) > 2:
            before = next(one for one in reversed(segments[:at]) if one.packet.ttl == usual)
            return before, reset, "a reset from another distance than all else of that end"
    return None


def resets(case: Case) -> list[Finding]:
    """Judge the first reset of an established connection."""
    conversation = case.conversation
    reset = next((one for one in conversation.segments if one.is_rst), None)
    if reset is None:
        return []
    peer = conversation.sides[1 - reset.side].segments
    mine = conversation.sides[reset.side].segments
    if conversation.sides[0].has_syn and not conversation.sides[1].has_syn:
        return []
    if reset.side == 0 and not any(not one.is_syn and one.number < reset.number for one in mine):
        return []  # the handshake was never done
    texts = [one for one in peer if one.length and one.at_ns <= reset.at_ns]
    fin = next((one for one in mine if one.is_fin and one.at_ns <= reset.at_ns), None)
    peer_fin = next((one for one in peer if one.is_fin and one.at_ns <= reset.at_ns), None)
    notice = "the next recv() fails with ECONNRESET, a send() with EPIPE or ECONNRESET"
    if fin is not None:
        return _after_fin(case, reset, fin, peer_fin, texts)
    if not reset.flags & 0x10 and texts:
        last = texts[-1]
        first_try = next((one for one in texts if one.seq == last.seq), last)
        idle_ns = first_try.at_ns - max(
            (one.at_ns for one in conversation.segments if one.number < first_try.number), default=first_try.at_ns)
        if idle_ns >= _IDLE_NS_MIN:
            return [case.finding("half-open", [
                f"packet {first_try.number}: text after {format_duration(idle_ns)} of silence",
                f"packet {reset.number}: a reset without an acknowledgment: that host knows no such connection (any "
                "more)",
            ], first_try.at_ns - idle_ns, reset.at_ns, reset.side, cost_s=idle_ns / SECOND,
                notices=f"not before it sent: {format_duration(idle_ns)} after the last sign of life")]
    last_mine = max((one.end for one in mine if one.length), default=0)
    since = [one for one in texts if one.ack >= last_mine or not last_mine]
    if peer_fin is not None and not since:
        return []
    idle_ns = reset.at_ns - max((one.at_ns for one in conversation.segments if one.number < reset.number), default=0)
    if idle_ns >= _KEPT_NS_MIN and not case.streams[1 - reset.side].unacked:
        return [case.finding("idle-reset", [
            f"packet {reset.number}: a reset of the {case.end_of(reset.side)} after {format_duration(idle_ns)} of "
            "silence",
        ], reset.at_ns - idle_ns, reset.at_ns, reset.side, notices="when it uses the connection again: ECONNRESET")]
    if since:
        return [case.finding("reset-unread-data", [
            f"packet {reset.number}: a reset of the {case.end_of(reset.side)}, after text that its program had not "
            "answered "
            f"({packet_list(since[-6:])})",
        ], since[0].at_ns, reset.at_ns, reset.side, notices=notice, confidence="likely")]
    return [case.finding("reset", [f"packet {reset.number}: a reset"], reset.at_ns, reset.at_ns, reset.side,
                         notices=notice)]


def _after_fin(
    case: Case, reset: Segment, fin: Segment, peer_fin: Segment | None, texts: list[Segment],
) -> list[Finding]:
    crossing = [one for one in texts if one.end > fin.ack and one.ack < fin.end]
    late = [one for one in texts if one.ack >= fin.end]
    before = [one.at_ns for one in case.conversation.segments if one.number < min(fin.number, reset.number)
              and one not in crossing]
    notice = "at once: recv() fails with ECONNRESET, or returns nothing where an answer was expected"
    if crossing and before and min(fin.at_ns, crossing[0].at_ns) - max(before) >= _IDLE_NS_MIN // 2:
        idle_ns = min(fin.at_ns, crossing[0].at_ns) - max(before)
        return [case.finding("keepalive-race", [
            f"packet {fin.number}: the {case.end_of(fin.side)} closes after {format_duration(idle_ns)} of silence",
            f"packet {crossing[0].number}: a request, sent before that was known; packet {reset.number}: the reset",
        ], max(before), reset.at_ns, fin.side, notices=notice)]
    if late and not (peer_fin is not None and peer_fin.number < late[0].number):
        return [case.finding("write-after-close", [
            f"packet {fin.number}: FIN; {packet_list(late)}: text after it was acknowledged; packet {reset.number}: "
            "reset",
        ], fin.at_ns, reset.at_ns, 1 - fin.side, notices=notice)]
    if crossing:
        return [case.finding("reset-unread-data", [
            f"packet {fin.number}: FIN while text was under way ({packet_list(crossing)}); packet {reset.number}: "
            "reset",
        ], fin.at_ns, reset.at_ns, fin.side, notices=notice, confidence="likely")]
    return []


def close_wait(case: Case) -> list[Finding]:
    """Find an end that has read the other's FIN and does not close."""
    found = []
    for side in (0, 1):
        mine, peer = case.conversation.sides[side].segments, case.conversation.sides[1 - side].segments
        fin = next((one for one in peer if one.is_fin), None)
        if fin is None:
            continue
        acked = next((one for one in mine if one.ack >= fin.end and not one.is_rst and one.at_ns >= fin.at_ns), None)
        if acked is None or any(one.is_fin and one.number <= acked.number for one in mine):
            continue
        end = next((one for one in mine if (one.is_fin or one.is_rst) and one.number > acked.number), None)
        peer_reset = next((one for one in peer if one.is_rst and one.number > acked.number), None)
        texts = [one for one in mine if one.length and one.at_ns > acked.at_ns
                 and (end is None or one.number < end.number)]
        from_ns = texts[-1].at_ns if texts else acked.at_ns
        to_ns = end.at_ns if end is not None else peer_reset.at_ns if peer_reset is not None else case.until_ns
        if to_ns - from_ns < _CLOSE_WAIT_NS_MIN:
            continue
        until = f"until packet {end.number}" if end is not None else "to the end of the capture"
        found.append(case.finding("close-wait", [
            f"packet {fin.number}: FIN of the {case.end_of(1 - side)}, acknowledged in packet {acked.number}",
            f"no FIN of the {case.end_of(side)} for {format_duration(to_ns - from_ns)}, {until}",
        ], from_ns, to_ns, side, cost_s=(to_ns - from_ns) / SECOND,
            notices="never by itself: no timer ends CLOSE-WAIT; the peer's FIN-WAIT-2 ends after tcp_fin_timeout (60 "
                    "s)"))
    return found


def close_unanswered(case: Case) -> list[Finding]:
    """Find a FIN that is repeated in vain."""
    found = []
    for side in (0, 1):
        mine, peer = case.conversation.sides[side].segments, case.conversation.sides[1 - side].segments
        fins = [one for one in mine if one.is_fin]
        if len(fins) < 3 or any(one.ack >= fins[0].end for one in peer):
            continue
        last_ns = max((one.at_ns for one in peer if not one.is_rst), default=0)
        silent = [one for one in fins if one.at_ns > last_ns]
        if len(silent) >= 3:
            found.append(case.finding("close-unanswered", [
                f"{packet_list(fins)}: FIN, sent {len(fins)} times; nothing acknowledges it",
            ], fins[0].at_ns, fins[-1].at_ns, 1 - side, cost_s=(fins[-1].at_ns - fins[0].at_ns) / SECOND,
                notices="the program has closed and notices nothing; the kernel gives up after tcp_orphan_retries"))
    return found
