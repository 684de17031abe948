"""Accurate ECN (RFC 9768): each mark is counted, and the counts travel in the ACE field and the AccECN option.

The three flags AE, CWR and ECE are one number. On SYN and SYN-ACK they negotiate; on the pure acknowledgment of a
SYN-ACK they tell what became of its ECN field; on all other segments they are the low bits of a count of CE-marked
packets. The option, if there is room, counts octets by codepoint.

We differ from RFC 9768 as Linux does. With ``tcp_ecn_option`` 2 the option goes on every segment, always in order 1,
so that the segment size does not change from one segment to the next (section 3.2.3.3). And it goes only to a peer that
has sent one itself (section 3.2.3.2.3): a path that takes options away takes both.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.tcp.receiving.acknowledging import acknowledge_now
from estab.tcp.record.ecn_state import (
    ACCURATE,
    CE,
    CODEPOINT_MASK,
    ECT0,
    ECT1,
    NOT_ECT,
    OPTION_COUNTED,
    OPTION_EMPTY,
    OPTION_UNSEEN,
    OPTION_ZEROED,
    Ecn,
)
from estab.tcp.record.tcb import CA_CWR, CA_OPEN, Tcb
from estab.wire.tcp import ACCECN0_KIND, ACCECN1_KIND, AE, CWR, ECE, OPTIONS_BYTES_MAX, SYN, AccEcnOption, Segment

__all__ = [
    "OPTION_BYTES", "ace_flags", "ace_of", "can_be_cut", "count_arrival", "first_option", "handshake_ace",
    "is_transition_valid",
    "mark", "option_fields", "read_third_segment", "take_feedback", "take_option_of_syn_ack", "text_limit",
    "told_by_handshake",
]

OPTION_BYTES: Final = 12
"""What a whole option takes of a segment, with its padding."""
_ACE_START: Final = 5
"""The initial value of the packet counters (RFC 9768 section 3.2.1)."""
_ACE_MASK: Final = 7
_FIELD_MASK: Final = 0xFFFFFF
_DATA_MARKS_MAX: Final = 2
_CONTROL_MARKS_MAX: Final = 3
"""So many marks since the last segment demand one: with text that waits for its acknowledgment, and without."""
_OPTION_INTERVAL_BITS: Final = 22
_AVERAGE_SHIFT: Final = 6
_THINNED_SEGMENTS: Final = 4
"""If acknowledgments are for more segments than this on average, the path drops some on purpose."""
_LATE_BYTES: Final = (1 << 23) - 1
"""An option that comes for the first time after so much text may have wrapped."""


def ace_of(flags: i64) -> i64:
    """Read the ACE field."""
    return (4 if (flags & AE) != 0 else 0) | (2 if (flags & CWR) != 0 else 0) | (1 if (flags & ECE) != 0 else 0)


def ace_flags(number: i64) -> i64:
    """Write the low three bits of a number as AE, CWR and ECE."""
    return (AE if (number & 4) != 0 else 0) | (CWR if (number & 2) != 0 else 0) | (ECE if (number & 1) != 0 else 0)


# --- the handshake encoding (RFC 9768 tables 2, 3 and 4)


def handshake_ace(codepoint: i64) -> i64:
    """Return the ACE field that tells with which codepoint a SYN or SYN-ACK arrived."""
    if codepoint == NOT_ECT:
        return 2
    if codepoint == ECT1:
        return 3
    return 4 if codepoint == ECT0 else 6


def told_by_handshake(ace: i64) -> i64:
    """Return the codepoint that an ACE field of the handshake stands for, -1 if the value is not in use."""
    if ace == 2:
        return NOT_ECT
    if ace == 3:
        return ECT1
    if ace == 4:
        return ECT0
    return CE if ace == 6 else -1


def is_transition_valid(sent: i64, received: i64) -> bool:
    """Tell whether a path may turn one codepoint into the other (RFC 9768 section 3.2.2.3, RFC 3168 section 18)."""
    if sent == received:
        return True
    return sent != NOT_ECT and received != NOT_ECT and sent != CE


def take_option_of_syn_ack(tcb: Tcb, ecn: Ecn, segment: Segment) -> None:
    """Note whether the option came through, and whether something zeroed it (RFC 9768 section 3.2.3.2)."""
    if segment.accecn is not None and ecn.option_seen < OPTION_COUNTED:
        _see_first_option(tcb, ecn, segment.accecn)
        ecn.option_demand = 2


def _see_first_option(tcb: Tcb, ecn: Ecn, option: AccEcnOption) -> None:
    ecn.option_seen = _look_at_first(option)
    if tcb.context.config.tcp_ecn_option == 2:
        ecn.option_bytes = OPTION_BYTES


def _look_at_first(option: AccEcnOption) -> i64:
    """RFC 9768 section 3.2.3.2.4: EE0B and EE1B begin with 1; 0 means that they were zeroed on the way."""
    fields = option.fields
    if not fields:
        return OPTION_EMPTY
    if fields[0] == 0 or (len(fields) == 3 and fields[2] == 0):
        return OPTION_ZEROED
    return OPTION_COUNTED


def read_third_segment(tcb: Tcb, ecn: Ecn, segment: Segment) -> None:
    """Take the segment that ends a passive open (RFC 9768 table 4)."""
    ecn.is_first_due = False
    ecn.is_third_taken = True
    if segment.accecn is not None:
        _see_first_option(tcb, ecn, segment.accecn)
    ecn.option_demand = 1
    ace = ace_of(segment.flags)
    if ace == 0:  # note 1: no ECT any more, and no response; feedback goes on
        ecn.is_ect_off = True
        ecn.is_feedback_ignored = True
        return
    if segment.end > segment.start or segment.sack is not None:
        return  # the encoding is for pure acknowledgments only: here it is a counter
    told = told_by_handshake(ace)
    if told < 0:
        return  # note 2: not in use, and as good as a counter's start
    if tcb.context.config.tcp_ecn_fallback and not is_transition_valid(ecn.syn_sent, told):
        ecn.is_ect_off = True
    elif told == CE:
        ecn.delivered_ce = 1
        ecn.is_handshake_marked = True


def first_option() -> AccEcnOption:
    """Return the option of a SYN-ACK: all counters at their start."""
    return AccEcnOption(ACCECN1_KIND, [1, 0, 1])


# --- the receiver: counting, and when to tell


def count_arrival(tcb: Tcb, ecn: Ecn, segment: Segment) -> None:
    """Count an acceptable packet by its codepoint, and owe an acknowledgment if the sender must hear of it soon.

    RFC 9768 sections 3.2.2.2 and 3.2.2.5.1.
    """
    codepoint = segment.tos & CODEPOINT_MASK
    length: i64 = segment.end - segment.start
    if codepoint != NOT_ECT:
        ecn.is_seen = True
        if codepoint == CE:
            full = max(tcb.mss_base, tcb.rcv_mss)
            packets = max(1, (length + full - 1) // full)  # of a super-segment
            ecn.ce_packets += packets
            ecn.untold_ce += packets
        if length > 0:
            _count_text(ecn, codepoint, length)
    has_changed = codepoint != ecn.last_codepoint
    ecn.last_codepoint = codepoint
    if has_changed or codepoint == CE:
        # Two segments, so that the second tells without doubt what the first one began.
        ecn.option_demand = 2
    if length > 0:
        if has_changed or ecn.untold_ce >= _DATA_MARKS_MAX:
            acknowledge_now(tcb)
    elif ecn.untold_ce >= _CONTROL_MARKS_MAX:
        acknowledge_now(tcb)


def _count_text(ecn: Ecn, codepoint: i64, length: i64) -> None:
    before: i64
    after: i64
    if codepoint == ECT1:
        before = ecn.ect1_bytes
        ecn.ect1_bytes += length
        after = ecn.ect1_bytes
        ecn.fields_min = max(ecn.fields_min, 1)
    elif codepoint == CE:
        before = ecn.ce_bytes
        ecn.ce_bytes += length
        after = ecn.ce_bytes
        ecn.fields_min = max(ecn.fields_min, 2)
    else:
        before = ecn.ect0_bytes
        ecn.ect0_bytes += length
        after = ecn.ect0_bytes
        ecn.fields_min = 3
    if before >> _OPTION_INTERVAL_BITS != after >> _OPTION_INTERVAL_BITS:
        ecn.option_demand = max(ecn.option_demand, 1)


# --- the receiver: telling


def mark(tcb: Tcb, ecn: Ecn, segment: Segment, now_ns: i64) -> None:
    """Make a segment that is about to leave ECN-capable, and add the counts.

    Pure acknowledgments and repeats are ECN-capable too, as in Linux (RFC 8311 section 4.3 permits it): their marks
    are counted like all others.
    """
    if not ecn.is_ect_off:
        segment.tos = (segment.tos & ~CODEPOINT_MASK) | ECT0
    is_pure = segment.end == segment.start and segment.sack is None
    if ecn.is_reflecting and is_pure:
        segment.flags |= ace_flags(handshake_ace(ecn.syn_received))
    else:
        segment.flags |= ace_flags(ecn.ce_packets + _ACE_START)
        ecn.untold_ce = 0
    ecn.is_reflecting = False
    _put_option(tcb, ecn, segment, now_ns)


def _put_option(tcb: Tcb, ecn: Ecn, segment: Segment, now_ns: i64) -> None:
    sack = segment.sack
    blocks: i64 = 0
    if sack is not None:
        blocks = len(sack) // 2
    count = option_fields(tcb, ecn, blocks, now_ns)
    if count < 0:
        return
    length: i64 = segment.end - segment.start
    if length <= tcb.mss_base and length + _options_bytes(tcb, ecn.blocks_most, count) > tcb.mss_base:
        return
    if sack is not None and _is_lost_with_option(tcb, ecn, sack, segment.ack):
        return
    if sack is not None and ecn.blocks_most < blocks:
        del sack[2 * ecn.blocks_most :]
    fields: list[int] = []
    if count > 0:
        fields.append((ecn.ect1_bytes + 1) & _FIELD_MASK)
    if count > 1:
        fields.append(ecn.ce_bytes & _FIELD_MASK)
    if count > 2:
        fields.append((ecn.ect0_bytes + 1) & _FIELD_MASK)
    segment.accecn = AccEcnOption(ACCECN1_KIND, fields)
    ecn.fields_min = 0
    ecn.option_ns = now_ns
    if ecn.option_demand > 0:
        ecn.option_demand -= 1


def _is_lost_with_option(tcb: Tcb, ecn: Ecn, sack: list[int], ack: i64) -> bool:
    """Tell whether the peer sends the same text again although an option-bearing segment said that it is a duplicate.

    Then such segments don't get through, and none is sent any more (RFC 9768 section 3.2.3.2.2).
    """
    left: i64 = sack[0]
    if ((ack - sack[1]) & 0xFFFFFFFF) > 0x7FFFFFFF:
        return False  # text above a gap, and not a duplicate
    if ecn.repeated_seq == left:
        ecn.is_option_blocked = True
        ecn.option_bytes = 0
        return True
    ecn.repeated_seq = left
    return False


def option_fields(tcb: Tcb, ecn: Ecn, blocks: i64, now_ns: i64) -> i64:
    """Say how many fields the option of the next segment has, beside so many SACK blocks; -1: no option.

    All that changed since the last option must be in it (RFC 9768 section 3.2.3.3). SACK comes first, but a third block
    gives way: ``blocks_most`` says how many blocks go with it.
    """
    ecn.blocks_most = blocks
    wanted = tcb.context.config.tcp_ecn_option
    if wanted == 0 or ecn.is_option_blocked or ecn.option_seen == OPTION_UNSEEN:
        return -1
    if wanted == 1 and ecn.option_demand == 0 and not _is_beacon_due(tcb, ecn, now_ns):
        return -1
    while True:
        count: i64 = 3
        while count >= ecn.fields_min:
            if _options_bytes(tcb, ecn.blocks_most, count) <= OPTIONS_BYTES_MAX:
                return count
            count -= 1
        if ecn.blocks_most <= 2:
            ecn.blocks_most = blocks
            return -1
        ecn.blocks_most -= 1


def _is_beacon_due(tcb: Tcb, ecn: Ecn, now_ns: i64) -> bool:
    """Tell whether the option must be seen again: ``tcp_ecn_option_beacon`` times a round trip."""
    times = tcb.context.config.tcp_ecn_option_beacon
    return times > 0 and (now_ns - ecn.option_ns) * times >= tcb.srtt_ns


def text_limit(tcb: Tcb, ecn: Ecn, blocks: i64, now_ns: i64) -> i64:
    """Return the most text that fits beside the options of the next segment."""
    fields = option_fields(tcb, ecn, blocks, now_ns)
    return tcb.mss_base - _options_bytes(tcb, ecn.blocks_most, fields)


def can_be_cut(ecn: Ecn) -> bool:
    """Tell whether a device may cut a super-segment: it takes CWR off all pieces but the first, which ACE must keep.

    RFC 9768 section 3.3.4.
    """
    return ecn.mode != ACCURATE or ((ecn.ce_packets + _ACE_START) & 2) == 0


def _options_bytes(tcb: Tcb, blocks: i64, fields: i64) -> i64:
    """Count the octets of a segment's options without SYN, as ``options_length`` does; ``fields`` -1: no AccECN."""
    size: i64 = 0
    if fields >= 0:
        size = 2 + 3 * fields
    if tcb.has_timestamps:
        size += 12
    if blocks > 0:
        size += ((2 - size) & 3) + 2 + 8 * blocks
    return (size + 3) & -4


# --- the sender


def take_feedback(
    tcb: Tcb, ecn: Ecn, segment: Segment, delivered_segments: i64, delivered_bytes: i64,
) -> i64:
    """Read the counts of an acknowledgment: how many more of our packets met congestion (RFC 9768 section 3.2.2.2).

    ``delivered_segments`` and ``delivered_bytes`` arrived by it for the first time.
    """
    if (segment.flags & SYN) != 0:
        return 0
    if ecn.is_third_taken:
        ecn.is_third_taken = False
        return 0
    ace = ace_of(segment.flags)
    if ecn.is_first_due:
        if ecn.is_answering and segment.end == segment.start:
            read_third_segment(tcb, ecn, segment)
            ecn.is_third_taken = False
            return 0
        ecn.is_first_due = False
        if ace == 0:  # section 3.2.2.4: zeroed on the way
            ecn.is_ect_off = True
            ecn.is_feedback_ignored = True
    if ecn.is_feedback_ignored:
        return 0
    if delivered_bytes == 0 and not _is_newer(tcb, segment):
        return 0  # an old acknowledgment, or one of which that can't be told
    if delivered_segments > 0:
        _average(ecn, delivered_segments)
    ce_bytes_before = ecn.told_ce_bytes
    is_told = _read_option(tcb, ecn, segment, delivered_bytes)
    delta = (ace - _ACE_START - ecn.delivered_ce) & _ACE_MASK
    if delivered_segments <= _ACE_MASK:
        if ecn.told_ce_bytes > 0 and ecn.delivered_ce == 0 and delta == 0:
            ecn.is_ect_off = True  # section 3.2.3.2.5: octets were marked and no packet was: feedback is mangled
        return delta
    ce_bytes = ecn.told_ce_bytes - ce_bytes_before
    if is_told:
        return _resolve(tcb, ce_bytes, delta, delivered_segments, delivered_bytes)
    if ecn.acked_average > _THINNED_SEGMENTS << _AVERAGE_SHIFT:
        return delta
    return _safest(delta, delivered_segments)


def _average(ecn: Ecn, delivered_segments: i64) -> None:
    """Keep the average of what an acknowledgment is for, with a weight of a 64th for the newest."""
    scaled = delivered_segments << _AVERAGE_SHIFT
    before = ecn.acked_average
    ecn.acked_average = scaled if before == 0 else before + (scaled - before) // 64


def _safest(delta: i64, delivered_segments: i64) -> i64:
    """Take as many as marked as could be (RFC 9768 section 3.2.2.5.2, appendix A.2.1)."""
    return delivered_segments - ((delivered_segments - delta) & _ACE_MASK)


def _is_newer(tcb: Tcb, segment: Segment) -> bool:
    """Tell by the timestamp that an acknowledgment without progress was sent after all that came before it."""
    if not tcb.has_timestamps or not segment.has_timestamps:
        return False
    ahead: i64 = (segment.ts_val - tcb.ts_recent) & 0xFFFFFFFF
    return 0 < ahead <= 0x7FFFFFFF


def _resolve(
    tcb: Tcb, ce_bytes: i64, delta: i64, delivered_segments: i64, delivered_bytes: i64,
) -> i64:
    """Say by the option's count of octets how often the field wrapped (RFC 9768 appendix A.2.2)."""
    safest = _safest(delta, delivered_segments)
    if ce_bytes == 0:
        return delta
    state = tcb.ca_state
    if delivered_segments >= 2 * (_ACE_MASK + 1) and (tcb.has_sack or state == CA_OPEN or state == CA_CWR):
        if delivered_bytes <= ce_bytes:
            return safest
        likely = (ce_bytes * delivered_segments + delivered_bytes - 1) // delivered_bytes
        return min(safest, delta + (likely & ~_ACE_MASK))
    mss = tcb.snd_mss()
    if ce_bytes > delta * mss:
        return safest
    if 2 * ce_bytes < safest * mss:
        return delta
    return safest


def _read_option(tcb: Tcb, ecn: Ecn, segment: Segment, delivered_bytes: i64) -> bool:
    """Take in the counts of octets. ``True``: they say without doubt what was marked of what was delivered."""
    option = segment.accecn
    if ecn.option_seen == OPTION_ZEROED:
        return False
    if option is None:
        if ecn.option_seen == OPTION_UNSEEN and tcb.delivered_bytes >= _LATE_BYTES:
            ecn.option_seen = OPTION_ZEROED
        if ecn.option_seen == OPTION_UNSEEN or ecn.likely_codepoint == NOT_ECT:
            return False
        _add_told(ecn, ecn.likely_codepoint, delivered_bytes)
        return True
    if ecn.option_seen < OPTION_COUNTED:
        _see_first_option(tcb, ecn, option)
        if ecn.option_seen == OPTION_ZEROED:
            return False
    was_likely = ecn.likely_codepoint
    is_clear = was_likely != NOT_ECT
    is_ambiguous = False
    has_changed = False
    index: i64 = 0
    while index < len(option.fields):
        codepoint = _codepoint_of(option.kind, index)
        change = _change(ecn, codepoint, option.fields[index])
        index += 1
        if change == 0:
            continue
        _add_told(ecn, codepoint, change)
        if change < 0:  # what was taken to be of this kind was not
            is_clear = False
            is_ambiguous = True
        if codepoint != was_likely:
            if has_changed:
                is_clear = False
                is_ambiguous = True
            else:
                ecn.likely_codepoint = codepoint
                has_changed = True
    if is_ambiguous:
        ecn.likely_codepoint = NOT_ECT
    return is_clear


def _codepoint_of(kind: i64, index: i64) -> i64:
    if index == 1:
        return CE
    return ECT0 if (kind == ACCECN0_KIND) == (index == 0) else ECT1


def _change(ecn: Ecn, codepoint: i64, field: i64) -> i64:
    """Say by how much a counter moved, from its low 24 bits."""
    known = ecn.told_ce_bytes
    if codepoint == ECT0:
        known = ecn.told_ect0_bytes + 1
    elif codepoint == ECT1:
        known = ecn.told_ect1_bytes + 1
    change = (field - known) & _FIELD_MASK
    return change - (_FIELD_MASK + 1) if change > _FIELD_MASK >> 1 else change


def _add_told(ecn: Ecn, codepoint: i64, count: i64) -> None:
    if codepoint == CE:
        ecn.told_ce_bytes += count
    elif codepoint == ECT0:
        ecn.told_ect0_bytes += count
    else:
        ecn.told_ect1_bytes += count
