"""What one connection knows of explicit congestion notification: what was agreed on, and what is counted.

Only data lives here. ``ecn`` (negotiation, RFC 3168) and ``accecn`` (RFC 9768) change it. A connection that neither
asked for ECN nor agreed to it has no ``Ecn``.
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
    """One connection's ECN. ``mode`` is one of the modes above, never ``OFF``: then there is no ``Ecn``."""

    def __init__(self, mode: i64) -> None:
        self.mode = mode
        self.is_needed: bool = False
        """The congestion control needs marks: every packet is ECN-capable, and classic echoes are exact."""
        self.is_seen: bool = False
        """A packet of the peer was ECN-capable."""
        # The handshake.
        self.syn_sent: i64 = NOT_ECT
        """The codepoint that our SYN or SYN-ACK left with."""
        self.syn_received: i64 = NOT_ECT
        """The codepoint that the peer's latest SYN or SYN-ACK arrived with."""
        self.is_reflecting: bool = False
        """The next pure acknowledgment tells ``syn_received`` (RFC 9768 section 3.2.2.1)."""
        self.is_syn_counted: bool = False
        """A CE-marked SYN-ACK was counted, which is done once."""
        self.is_handshake_marked: bool = False
        """Our SYN or SYN-ACK met congestion: begin with one segment."""
        self.is_silent: bool = False
        """No packet is ECN-capable any more: the handshake forbids it, or something on the path mangles the marks."""
        self.is_deaf: bool = False
        """The peer's counts of marks are not believed (RFC 9768 section 3.2.2.4)."""
        self.is_answering: bool = False
        """The peer asked, and we answered: its first segment ends the handshake."""
        self.is_third_taken: bool = False
        """The segment at hand ended the handshake: what it bears is no counter."""
        self.is_first_due: bool = False
        """The peer's first segment without SYN is still to come."""
        # Classic feedback (RFC 3168 section 6.1).
        self.is_echoing: bool = False
        """CE came, and no CWR since: acknowledgments bear ECE. With exact echoes: the last text was CE."""
        self.is_cwr_due: bool = False
        """The window went down: the next new text says so."""
        self.early_ack_seq: i64 = NO_SEQ
        """An acknowledgment up to here goes first, as ``is_early_echo`` says (RFC 8257 section 3.2)."""
        self.is_early_echo: bool = False
        # AccECN, as the receiver: r.cep - 5, r.ceb, r.e0b - 1, r.e1b - 1 (RFC 9768 section 3.2.1).
        self.ce_packets: i64 = 0
        self.ce_bytes: i64 = 0
        self.ect0_bytes: i64 = 0
        self.ect1_bytes: i64 = 0
        self.untold_ce: i64 = 0
        """CE-marked packets since a segment last told the count."""
        self.last_codepoint: i64 = NOT_ECT
        self.option_demand: i64 = 0
        """Segments that must bear the option, if it does not go on each."""
        self.fields_min: i64 = 0
        """So many fields of the option changed since it was last sent, counted from its start."""
        self.blocks_most: i64 = 0
        """SACK blocks that leave room for the option just planned."""
        self.option_ns: i64 = 0
        """When the option was last sent."""
        self.repeated_seq: i64 = NO_SEQ
        """The duplicate that the latest segment with the option reported."""
        self.is_option_blocked: bool = False
        """Segments with the option don't arrive, so none is sent any more."""
        # AccECN, as the sender: what the peer's options told of our text.
        self.option_seen: i64 = OPTION_UNSEEN
        self.told_ce_bytes: i64 = 0
        self.told_ect0_bytes: i64 = 0
        self.told_ect1_bytes: i64 = 0
        self.acked_average: i64 = 0
        """How many segments an acknowledgment is for, on average, in 64ths."""
        self.likely_codepoint: i64 = NOT_ECT
        """Which counter alone grew in the latest option: what comes without an option is taken to be of that kind."""
