"""Counters with the names that ``nstat`` prints, so that what one knows of Linux holds here.

Only counters that something here counts move; the rest of Linux's list stays out. ``Estab…`` names are ours, for what
Linux has no counter for. Drops are counted by reason beside them.
"""

from __future__ import annotations

from mypy_extensions import i64

from estab.errors import DropReason

__all__ = ["Counters"]


class Counters:
    """All counters of one host, from zero. Each attribute is a plain number that only grows, but ``TcpCurrEstab``."""

    def __init__(self) -> None:
        self.drops: dict[DropReason, int] = {}
        self.IpInReceives: i64 = 0
        self.IpInHdrErrors: i64 = 0
        self.IpInAddrErrors: i64 = 0
        self.IpForwDatagrams: i64 = 0
        self.IpInUnknownProtos: i64 = 0
        self.IpInDelivers: i64 = 0
        self.IpOutRequests: i64 = 0
        self.IpOutNoRoutes: i64 = 0
        self.IpReasmTimeout: i64 = 0
        self.IpReasmReqds: i64 = 0
        self.IpReasmOKs: i64 = 0
        self.IpReasmFails: i64 = 0
        self.IpFragOKs: i64 = 0
        self.IpFragFails: i64 = 0
        self.IpFragCreates: i64 = 0
        self.IcmpInMsgs: i64 = 0
        self.IcmpInErrors: i64 = 0
        self.IcmpInCsumErrors: i64 = 0
        self.IcmpInDestUnreachs: i64 = 0
        self.IcmpInTimeExcds: i64 = 0
        self.IcmpInParmProbs: i64 = 0
        self.IcmpInSrcQuenchs: i64 = 0
        self.IcmpInRedirects: i64 = 0
        self.IcmpInEchos: i64 = 0
        self.IcmpInEchoReps: i64 = 0
        self.IcmpOutMsgs: i64 = 0
        self.IcmpOutDestUnreachs: i64 = 0
        self.IcmpOutTimeExcds: i64 = 0
        self.IcmpOutParmProbs: i64 = 0
        self.IcmpOutEchos: i64 = 0
        self.IcmpOutEchoReps: i64 = 0
        self.IcmpOutRateLimitHost: i64 = 0
        self.Ip6InReceives: i64 = 0
        self.Ip6InHdrErrors: i64 = 0
        self.Ip6InTooBigErrors: i64 = 0
        self.Ip6InNoRoutes: i64 = 0
        self.Ip6InAddrErrors: i64 = 0
        self.Ip6InUnknownProtos: i64 = 0
        self.Ip6InDelivers: i64 = 0
        self.Ip6OutForwDatagrams: i64 = 0
        self.Ip6OutRequests: i64 = 0
        self.Ip6OutNoRoutes: i64 = 0
        self.Ip6ReasmTimeout: i64 = 0
        self.Ip6ReasmReqds: i64 = 0
        self.Ip6ReasmOKs: i64 = 0
        self.Ip6ReasmFails: i64 = 0
        self.Ip6FragOKs: i64 = 0
        self.Ip6FragFails: i64 = 0
        self.Ip6FragCreates: i64 = 0
        self.Ip6InNoECTPkts: i64 = 0
        self.Ip6InECT1Pkts: i64 = 0
        self.Ip6InECT0Pkts: i64 = 0
        self.Ip6InCEPkts: i64 = 0
        self.Icmp6InMsgs: i64 = 0
        self.Icmp6InErrors: i64 = 0
        self.Icmp6InCsumErrors: i64 = 0
        self.Icmp6OutMsgs: i64 = 0
        self.Icmp6InDestUnreachs: i64 = 0
        self.Icmp6InPktTooBigs: i64 = 0
        self.Icmp6InTimeExcds: i64 = 0
        self.Icmp6InParmProblems: i64 = 0
        self.Icmp6InEchos: i64 = 0
        self.Icmp6InEchoReplies: i64 = 0
        self.Icmp6InRouterAdvertisements: i64 = 0
        self.Icmp6InNeighborSolicits: i64 = 0
        self.Icmp6InNeighborAdvertisements: i64 = 0
        self.Icmp6InRedirects: i64 = 0
        self.Icmp6OutDestUnreachs: i64 = 0
        self.Icmp6OutPktTooBigs: i64 = 0
        self.Icmp6OutTimeExcds: i64 = 0
        self.Icmp6OutParmProblems: i64 = 0
        self.Icmp6OutEchos: i64 = 0
        self.Icmp6OutEchoReplies: i64 = 0
        self.Icmp6OutNeighborSolicits: i64 = 0
        self.Icmp6OutNeighborAdvertisements: i64 = 0
        self.Icmp6OutRateLimitHost: i64 = 0
        self.TcpActiveOpens: i64 = 0
        self.TcpPassiveOpens: i64 = 0
        self.TcpAttemptFails: i64 = 0
        self.TcpEstabResets: i64 = 0
        self.TcpCurrEstab: i64 = 0
        self.TcpInSegs: i64 = 0
        self.TcpOutSegs: i64 = 0
        self.TcpRetransSegs: i64 = 0
        self.TcpInErrs: i64 = 0
        self.TcpInCsumErrors: i64 = 0
        self.TcpOutRsts: i64 = 0
        self.UdpInDatagrams: i64 = 0
        self.UdpNoPorts: i64 = 0
        self.UdpInErrors: i64 = 0
        self.UdpOutDatagrams: i64 = 0
        self.UdpRcvbufErrors: i64 = 0
        self.UdpInCsumErrors: i64 = 0
        self.Udp6InDatagrams: i64 = 0
        self.Udp6NoPorts: i64 = 0
        self.Udp6InErrors: i64 = 0
        self.Udp6OutDatagrams: i64 = 0
        self.Udp6RcvbufErrors: i64 = 0
        self.Udp6InCsumErrors: i64 = 0
        self.TcpExtSyncookiesSent: i64 = 0
        self.TcpExtSyncookiesRecv: i64 = 0
        self.TcpExtSyncookiesFailed: i64 = 0
        self.TcpExtEmbryonicRsts: i64 = 0
        self.TcpExtOutOfWindowIcmps: i64 = 0
        self.TcpExtTW: i64 = 0
        self.TcpExtTWKilled: i64 = 0
        self.TcpExtPAWSActive: i64 = 0
        self.TcpExtPAWSEstab: i64 = 0
        self.TcpExtDelayedACKs: i64 = 0
        self.TcpExtDelayedACKLost: i64 = 0
        self.TcpExtListenOverflows: i64 = 0
        self.TcpExtListenDrops: i64 = 0
        self.TcpExtTCPPureAcks: i64 = 0
        self.TcpExtTCPRenoRecovery: i64 = 0
        self.TcpExtTCPSackRecovery: i64 = 0
        self.TcpExtTCPFastRetrans: i64 = 0
        self.TcpExtTCPSlowStartRetrans: i64 = 0
        self.TcpExtTCPTimeouts: i64 = 0
        self.TcpExtTCPDSACKOldSent: i64 = 0
        self.TcpExtTCPDSACKOfoSent: i64 = 0
        self.TcpExtTCPDSACKRecvSegs: i64 = 0
        self.TcpExtTCPMTUPFail: i64 = 0
        self.TcpExtTCPMTUPSuccess: i64 = 0
        self.TcpExtTCPDelivered: i64 = 0
        self.TcpExtTCPAbortOnData: i64 = 0
        self.TcpExtTCPAbortOnClose: i64 = 0
        self.TcpExtTCPAbortOnMemory: i64 = 0
        self.TcpExtTCPAbortOnTimeout: i64 = 0
        self.TcpExtTCPAbortOnLinger: i64 = 0
        self.TcpExtTCPTimeWaitOverflow: i64 = 0
        self.TcpExtTCPDeferAcceptDrop: i64 = 0
        self.TcpExtTCPReqQFullDoCookies: i64 = 0
        self.TcpExtTCPReqQFullDrop: i64 = 0
        self.TcpExtTCPOFOQueue: i64 = 0
        self.TcpExtTCPOFODrop: i64 = 0
        self.TcpExtOfoPruned: i64 = 0
        self.TcpExtTCPOFOMerge: i64 = 0
        self.TcpExtTCPChallengeACK: i64 = 0
        self.TcpExtTCPSYNChallenge: i64 = 0
        self.TcpExtTCPFromZeroWindowAdv: i64 = 0
        self.TcpExtTCPToZeroWindowAdv: i64 = 0
        self.TcpExtTCPSynRetrans: i64 = 0
        self.TcpExtTCPOrigDataSent: i64 = 0
        self.TcpExtTCPACKSkippedSynRecv: i64 = 0
        self.TcpExtTCPACKSkippedSeq: i64 = 0
        self.TcpExtTCPACKSkippedTimeWait: i64 = 0
        self.TcpExtTCPACKSkippedChallenge: i64 = 0
        self.TcpExtTCPSACKReneging: i64 = 0
        self.TcpExtTCPSACKReorder: i64 = 0
        self.TcpExtTCPLostRetransmit: i64 = 0
        self.TcpExtTCPLossProbes: i64 = 0
        self.TcpExtTCPLossProbeRecovery: i64 = 0
        self.TcpExtTCPDSACKRecv: i64 = 0
        self.TcpExtTCPDSACKOfoRecv: i64 = 0
        self.TcpExtTCPSACKDiscard: i64 = 0
        self.TcpExtTCPFullUndo: i64 = 0
        self.TcpExtTCPPartialUndo: i64 = 0
        self.TcpExtTCPDSACKUndo: i64 = 0
        self.TcpExtTCPLossUndo: i64 = 0
        self.TcpExtTCPSpuriousRTOs: i64 = 0
        self.TcpExtTCPWinProbe: i64 = 0
        self.TcpExtTCPKeepAlive: i64 = 0
        self.TcpExtTCPZeroWindowDrop: i64 = 0
        self.TcpExtTCPDeliveredCE: i64 = 0
        self.TcpExtTCPFastOpenActive: i64 = 0
        self.TcpExtTCPFastOpenActiveFail: i64 = 0
        self.TcpExtTCPFastOpenPassive: i64 = 0
        self.TcpExtTCPFastOpenPassiveFail: i64 = 0
        self.TcpExtTCPFastOpenListenOverflow: i64 = 0
        self.TcpExtTCPFastOpenCookieReqd: i64 = 0
        self.TcpExtTCPFastOpenBlackhole: i64 = 0
        self.TcpExtTCPFastOpenPassiveAltKey: i64 = 0
        self.IpExtInNoRoutes: i64 = 0
        self.IpExtInTruncatedPkts: i64 = 0
        self.IpExtInBcastPkts: i64 = 0
        self.IpExtInOctets: i64 = 0
        self.IpExtOutOctets: i64 = 0
        self.IpExtInCsumErrors: i64 = 0
        self.IpExtInNoECTPkts: i64 = 0
        self.IpExtInECT1Pkts: i64 = 0
        self.IpExtInECT0Pkts: i64 = 0
        self.IpExtInCEPkts: i64 = 0
        self.IpExtReasmOverlaps: i64 = 0
        self.EstabListenEvicted: i64 = 0
        self.EstabReplyQueueDrops: i64 = 0
        self.EstabNeighborQueueDrops: i64 = 0
        self.EstabNeighborTableFull: i64 = 0
        self.EstabPathMtuTableFull: i64 = 0
        self.EstabTimeWaitReused: i64 = 0
        self.EstabFastOpenCacheFull: i64 = 0

    def drop(self, reason: DropReason) -> None:
        """Count one dropped packet."""
        self.drops[reason] = self.drops.get(reason, 0) + 1

    def drops_count(self) -> int:
        """How many packets were dropped, for whatever reason."""
        return sum(self.drops.values())

    def as_dict(self) -> dict[str, int]:
        """Every counter that is not zero, by name, then the drops as ``drop:REASON``."""
        result: dict[str, int] = {}
        for name in COUNTER_NAMES:
            value: int = getattr(self, name)
            if value:
                result[name] = value
        for reason in DropReason:
            count = self.drops.get(reason, 0)
            if count:
                result[f"drop:{reason.name}"] = count
        return result


COUNTER_NAMES: tuple[str, ...] = (
    "IpInReceives", "IpInHdrErrors", "IpInAddrErrors", "IpForwDatagrams", "IpInUnknownProtos", "IpInDelivers",
    "IpOutRequests", "IpOutNoRoutes", "IpReasmTimeout", "IpReasmReqds", "IpReasmOKs", "IpReasmFails", "IpFragOKs",
    "IpFragFails", "IpFragCreates", "IcmpInMsgs", "IcmpInErrors", "IcmpInCsumErrors", "IcmpInDestUnreachs",
    "IcmpInTimeExcds", "IcmpInParmProbs", "IcmpInSrcQuenchs", "IcmpInRedirects", "IcmpInEchos", "IcmpInEchoReps",
    "IcmpOutMsgs", "IcmpOutDestUnreachs", "IcmpOutTimeExcds", "IcmpOutParmProbs", "IcmpOutEchos", "IcmpOutEchoReps",
    "IcmpOutRateLimitHost", "Ip6InReceives", "Ip6InHdrErrors", "Ip6InTooBigErrors", "Ip6InNoRoutes", "Ip6InAddrErrors",
    "Ip6InUnknownProtos", "Ip6InDelivers", "Ip6OutForwDatagrams", "Ip6OutRequests", "Ip6OutNoRoutes",
    "Ip6ReasmTimeout", "Ip6ReasmReqds", "Ip6ReasmOKs", "Ip6ReasmFails", "Ip6FragOKs", "Ip6FragFails", "Ip6FragCreates",
    "Ip6InNoECTPkts", "Ip6InECT1Pkts", "Ip6InECT0Pkts", "Ip6InCEPkts", "Icmp6InMsgs", "Icmp6InErrors",
    "Icmp6InCsumErrors", "Icmp6OutMsgs", "Icmp6InDestUnreachs", "Icmp6InPktTooBigs", "Icmp6InTimeExcds",
    "Icmp6InParmProblems", "Icmp6InEchos", "Icmp6InEchoReplies", "Icmp6InRouterAdvertisements",
    "Icmp6InNeighborSolicits", "Icmp6InNeighborAdvertisements", "Icmp6InRedirects", "Icmp6OutDestUnreachs",
    "Icmp6OutPktTooBigs", "Icmp6OutTimeExcds", "Icmp6OutParmProblems", "Icmp6OutEchos", "Icmp6OutEchoReplies",
    "Icmp6OutNeighborSolicits", "Icmp6OutNeighborAdvertisements", "Icmp6OutRateLimitHost", "TcpActiveOpens",
    "TcpPassiveOpens", "TcpAttemptFails", "TcpEstabResets", "TcpCurrEstab", "TcpInSegs", "TcpOutSegs",
    "TcpRetransSegs", "TcpInErrs", "TcpInCsumErrors", "TcpOutRsts", "UdpInDatagrams", "UdpNoPorts", "UdpInErrors",
    "UdpOutDatagrams", "UdpRcvbufErrors", "UdpInCsumErrors", "Udp6InDatagrams", "Udp6NoPorts", "Udp6InErrors",
    "Udp6OutDatagrams", "Udp6RcvbufErrors", "Udp6InCsumErrors", "TcpExtSyncookiesSent", "TcpExtSyncookiesRecv",
    "TcpExtSyncookiesFailed", "TcpExtEmbryonicRsts", "TcpExtOutOfWindowIcmps", "TcpExtTW", "TcpExtTWKilled",
    "TcpExtPAWSActive", "TcpExtPAWSEstab", "TcpExtDelayedACKs", "TcpExtDelayedACKLost",
    "TcpExtListenOverflows", "TcpExtListenDrops",
    "TcpExtTCPPureAcks", "TcpExtTCPRenoRecovery", "TcpExtTCPSackRecovery", "TcpExtTCPFastRetrans",
    "TcpExtTCPSlowStartRetrans", "TcpExtTCPTimeouts", "TcpExtTCPDSACKOldSent", "TcpExtTCPAbortOnData",
    "TcpExtTCPAbortOnClose", "TcpExtTCPAbortOnMemory", "TcpExtTCPAbortOnTimeout", "TcpExtTCPAbortOnLinger",
    "TcpExtTCPTimeWaitOverflow", "TcpExtTCPDeferAcceptDrop", "TcpExtTCPReqQFullDoCookies", "TcpExtTCPReqQFullDrop",
    "TcpExtTCPOFOQueue",
    "TcpExtOfoPruned", "TcpExtTCPOFODrop", "TcpExtTCPOFOMerge", "TcpExtTCPChallengeACK", "TcpExtTCPSYNChallenge",
    "TcpExtTCPFromZeroWindowAdv", "TcpExtTCPToZeroWindowAdv", "TcpExtTCPSynRetrans", "TcpExtTCPOrigDataSent",
    "TcpExtTCPACKSkippedSynRecv", "TcpExtTCPACKSkippedSeq", "TcpExtTCPACKSkippedTimeWait",
    "TcpExtTCPACKSkippedChallenge", "TcpExtTCPSACKReneging", "TcpExtTCPSACKReorder", "TcpExtTCPLostRetransmit",
    "TcpExtTCPLossProbes", "TcpExtTCPLossProbeRecovery", "TcpExtTCPDSACKRecv", "TcpExtTCPDSACKOfoRecv",
    "TcpExtTCPSACKDiscard", "TcpExtTCPFullUndo", "TcpExtTCPPartialUndo", "TcpExtTCPDSACKUndo", "TcpExtTCPLossUndo",
    "TcpExtTCPSpuriousRTOs", "TcpExtTCPWinProbe", "TcpExtTCPKeepAlive", "TcpExtTCPZeroWindowDrop",
    "TcpExtTCPFastOpenActive", "TcpExtTCPFastOpenActiveFail", "TcpExtTCPFastOpenPassive",
    "TcpExtTCPFastOpenPassiveFail", "TcpExtTCPFastOpenListenOverflow", "TcpExtTCPFastOpenCookieReqd",
    "TcpExtTCPFastOpenBlackhole", "TcpExtTCPFastOpenPassiveAltKey",
    "TcpExtTCPDelivered", "TcpExtTCPDeliveredCE", "IpExtInNoRoutes", "IpExtInTruncatedPkts", "IpExtInBcastPkts",
    "IpExtInOctets", "IpExtOutOctets", "IpExtInCsumErrors", "IpExtInNoECTPkts", "IpExtInECT1Pkts", "IpExtInECT0Pkts",
    "IpExtInCEPkts", "IpExtReasmOverlaps", "EstabListenEvicted", "EstabReplyQueueDrops", "EstabNeighborQueueDrops",
    "EstabNeighborTableFull", "EstabPathMtuTableFull", "EstabTimeWaitReused", "EstabFastOpenCacheFull",
    "TcpExtTCPDSACKOfoSent", "TcpExtTCPDSACKRecvSegs", "TcpExtTCPMTUPFail", "TcpExtTCPMTUPSuccess",
)
