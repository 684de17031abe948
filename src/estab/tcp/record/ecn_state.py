"""What one connection knows of explicit congestion notification: what was agreed on, and what is counted.

Only data is here; the lines below the fields name the files that may write them. A connection that neither asked for
ECN nor agreed to it has no ``Ecn``.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.tcp.record.numbers import NO_SEQ

__all__ = [
    "ACCURATE",
    "CE",
    "CLASSIC",
    "CODEPOINT_MASK",
    "ECT0",
    "ECT1",
    "NOT_ECT",
    "OFF",
    "OFFERS_ACCURATE",
    "OFFERS_CLASSIC",
    "OPTION_COUNTED",
    "OPTION_EMPTY",
    "OPTION_UNSEEN",
    "OPTION_ZEROED",
    "Ecn",
]

# The two ECN bits of the traffic class (RFC 3168 section 5).
NOT_ECT: Final = 0
ECT1: Final = 1
ECT0: Final = 2
CE: Final = 3
CODEPOINT_MASK: Final = 3

# Modes: what this end asked for in its SYN, then what both agreed on, for good (RFC 9768 section 3.1.5).
OFF: Final = 0
OFFERS_CLASSIC: Final = 1
OFFERS_ACCURATE: Final = 2
CLASSIC: Final = 3
ACCURATE: Final = 4

# What has come of the peer's AccECN options (RFC 9768 section 3.2.3.2.3 and 3.2.3.2.4).
OPTION_UNSEEN: Final = 0
OPTION_EMPTY: Final = 1
OPTION_COUNTED: Final = 2
OPTION_ZEROED: Final = 3


class Ecn:
    """One connection's ECN, if it has any. ``tcb`` says how the lines below the fields are read."""

    def __init__(self, mode: i64) -> None:
        self.mode = mode
        """number: one of the modes above, never ``OFF``: then there is no ``Ecn``. Writers: ecn/classic."""
        self.is_needed: bool = False
        """yes or no: the congestion control needs marks: every packet is ECN-capable, and classic echoes are exact.
        Writers: ecn/classic.
        """
        self.is_seen: bool = False
        """yes or no: a packet of the peer was ECN-capable. Writers: ecn/accurate, ecn/classic."""
        # The handshake.
        self.syn_sent: i64 = NOT_ECT
        """number: the codepoint that our SYN or SYN-ACK left with. Writers: ecn/classic."""
        self.syn_received: i64 = NOT_ECT
        """number: the codepoint that the peer's latest SYN or SYN-ACK arrived with. Writers: ecn/classic."""
        self.is_reflecting: bool = False
        """yes or no: the next pure acknowledgment tells ``syn_received`` (RFC 9768 section 3.2.2.1). Writers:
        ecn/accurate, ecn/classic.
        """
        self.is_syn_counted: bool = False
        """yes or no: a CE-marked SYN-ACK was counted, which is done once. Writers: ecn/classic."""
        self.is_handshake_marked: bool = False
        """yes or no: our SYN or SYN-ACK met congestion: begin with one segment. Writers: ecn/accurate, ecn/classic."""
        self.is_ect_off: bool = False
        """yes or no: no packet is ECN-capable any more: the handshake forbids it, or something on the path mangles the
        marks. Writers: ecn/accurate, ecn/classic, sending/output.
        """
        self.is_feedback_ignored: bool = False
        """yes or no: the peer's counts of marks are not believed (RFC 9768 section 3.2.2.4). Writers: ecn/accurate."""
        self.is_answering: bool = False
        """yes or no: the peer asked, and we answered: its first segment ends the handshake. Writers: ecn/classic."""
        self.is_third_taken: bool = False
        """yes or no: the segment at hand ended the handshake: what it bears is no counter. Writers: ecn/accurate."""
        self.is_first_due: bool = False
        """yes or no: the peer's first segment without SYN is still to come. Writers: ecn/accurate, ecn/classic."""
        # Classic feedback (RFC 3168 section 6.1).
        self.is_echoing: bool = False
        """yes or no: CE came, and no CWR since: acknowledgments bear ECE. With exact echoes: the last text was CE.
        Writers: ecn/classic, sending/output.
        """
        self.is_cwr_due: bool = False
        """yes or no: the window went down: the next new text says so. Writers: ecn/classic."""
        self.early_ack_seq: i64 = NO_SEQ
        """seq: an acknowledgment up to here goes first, as ``is_early_echo`` says (RFC 8257 section 3.2). Writers:
        ecn/classic.
        """
        self.is_early_echo: bool = False
        """yes or no: that acknowledgment bears ECE. Writers: ecn/classic."""
        # AccECN, as the receiver (RFC 9768 section 3.2.1).
        self.ce_packets: i64 = 0
        """count: packets that arrived with CE, r.cep - 5. Writers: ecn/accurate, ecn/classic."""
        self.ce_bytes: i64 = 0
        """bytes: text that arrived with CE, r.ceb. Writers: ecn/accurate."""
        self.ect0_bytes: i64 = 0
        """bytes: text that arrived with ECT(0), r.e0b - 1. Writers: ecn/accurate."""
        self.ect1_bytes: i64 = 0
        """bytes: text that arrived with ECT(1), r.e1b - 1. Writers: ecn/accurate."""
        self.untold_ce: i64 = 0
        """count: CE-marked packets since a segment last told the count. Writers: ecn/accurate."""
        self.last_codepoint: i64 = NOT_ECT
        """number: the codepoint of the latest packet. Writers: ecn/accurate, ecn/classic."""
        self.option_bytes: i64 = 0
        """bytes: what every segment keeps free for the option (RFC 9768 section 3.2.3). Writers: ecn/accurate."""
        self.option_demand: i64 = 0
        """count: segments that must bear the option, if it does not go on each. Writers: ecn/accurate."""
        self.fields_min: i64 = 0
        """count: fields of the option, from its start, that changed since it was last sent. Writers: ecn/accurate."""
        self.blocks_most: i64 = 0
        """count: SACK blocks that leave room for the option just planned. Writers: ecn/accurate."""
        self.option_ns: i64 = 0
        """ns, time: when the option was last sent. Writers: ecn/accurate."""
        self.repeated_seq: i64 = NO_SEQ
        """seq: the duplicate that the latest segment with the option reported. Writers: ecn/accurate."""
        self.is_option_blocked: bool = False
        """yes or no: segments with the option don't arrive, so none is sent any more. Writers: ecn/accurate."""
        self.delivered_ce: i64 = 0
        """segments: delivered, that met congestion, as far as the peer's feedback says (RFC 3168, RFC 9768). Writers:
        ecn/accurate, ecn/classic.
        """
        # AccECN, as the sender: what the peer's options told of our text.
        self.option_seen: i64 = OPTION_UNSEEN
        """number: what has come of its options, one of those above. Writers: ecn/accurate."""
        self.told_ce_bytes: i64 = 0
        """bytes: arrived with CE. Writers: ecn/accurate."""
        self.told_ect0_bytes: i64 = 0
        """bytes: arrived with ECT(0). Writers: ecn/accurate."""
        self.told_ect1_bytes: i64 = 0
        """bytes: arrived with ECT(1). Writers: ecn/accurate."""
        self.acked_average: i64 = 0
        """segments: what an acknowledgment is for, on average, in 64ths. Writers: ecn/accurate."""
        self.likely_codepoint: i64 = NOT_ECT
        """number: the only counter that grew in the latest option: what comes without an option is taken to be of that
        kind. Writers: ecn/accurate.
        """
