"""Counters with the names that ``nstat`` prints, so that knowledge of Linux applies here.

Only counters that something here counts move; the rest of Linux's list stays out. ``Estab…`` names are ours, for what
Linux has no counter for. Drops are counted by reason beside them.

IPv4 and IPv6, with the ICMP and UDP of each, count the same things: one record per version, whose fields one table
exports under Linux's names.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.errors import DropReason

__all__ = ["COUNTER_NAMES", "Counters", "VersionCounters"]


class VersionCounters:
    """What one IP version, its ICMP and its UDP count, from zero."""

    def __init__(self) -> None:
        self.ip_in_receives: i64 = 0
        self.ip_in_hdr_errors: i64 = 0
        self.ip_in_too_big_errors: i64 = 0
        self.ip_in_no_routes: i64 = 0
        self.ip_in_addr_errors: i64 = 0
        self.ip_in_unknown_protos: i64 = 0
        self.ip_in_truncated_pkts: i64 = 0
        self.ip_in_csum_errors: i64 = 0
        self.ip_in_delivers: i64 = 0
        self.ip_in_bcast_pkts: i64 = 0
        self.ip_in_octets: i64 = 0
        self.ip_out_octets: i64 = 0
        self.ip_out_forw_datagrams: i64 = 0
        self.ip_out_requests: i64 = 0
        self.ip_out_no_routes: i64 = 0
        self.ip_reasm_timeout: i64 = 0
        self.ip_reasm_reqds: i64 = 0
        self.ip_reasm_oks: i64 = 0
        self.ip_reasm_fails: i64 = 0
        self.ip_frag_oks: i64 = 0
        self.ip_frag_fails: i64 = 0
        self.ip_frag_creates: i64 = 0
        self.ip_in_no_ect_pkts: i64 = 0
        self.ip_in_ect1_pkts: i64 = 0
        self.ip_in_ect0_pkts: i64 = 0
        self.ip_in_ce_pkts: i64 = 0
        self.icmp_in_msgs: i64 = 0
        self.icmp_in_errors: i64 = 0
        self.icmp_in_csum_errors: i64 = 0
        self.icmp_in_dest_unreachs: i64 = 0
        self.icmp_in_pkt_too_bigs: i64 = 0
        self.icmp_in_time_excds: i64 = 0
        self.icmp_in_parm_problems: i64 = 0
        self.icmp_in_src_quenchs: i64 = 0
        self.icmp_in_redirects: i64 = 0
        self.icmp_in_echos: i64 = 0
        self.icmp_in_echo_replies: i64 = 0
        self.icmp_in_router_advertisements: i64 = 0
        self.icmp_in_neighbor_solicits: i64 = 0
        self.icmp_in_neighbor_advertisements: i64 = 0
        self.icmp_out_msgs: i64 = 0
        self.icmp_out_dest_unreachs: i64 = 0
        self.icmp_out_pkt_too_bigs: i64 = 0
        self.icmp_out_time_excds: i64 = 0
        self.icmp_out_parm_problems: i64 = 0
        self.icmp_out_echos: i64 = 0
        self.icmp_out_echo_replies: i64 = 0
        self.icmp_out_neighbor_solicits: i64 = 0
        self.icmp_out_neighbor_advertisements: i64 = 0
        self.icmp_out_rate_limit_host: i64 = 0
        self.udp_in_datagrams: i64 = 0
        self.udp_no_ports: i64 = 0
        self.udp_in_errors: i64 = 0
        self.udp_out_datagrams: i64 = 0
        self.udp_rcvbuf_errors: i64 = 0
        self.udp_in_csum_errors: i64 = 0


class Counters:
    """All counters of one host, from zero. Each attribute is a plain number that only grows, but ``TcpCurrEstab``."""

    def __init__(self) -> None:
        self.drops: dict[DropReason, int] = {}
        self.v4: VersionCounters = VersionCounters()
        self.v6: VersionCounters = VersionCounters()
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
        self.TcpExtTCPAbortFailed: i64 = 0
        self.TcpExtTCPTimeWaitOverflow: i64 = 0
        self.TcpExtTCPDeferAcceptDrop: i64 = 0
        self.TcpExtTCPReqQFullDoCookies: i64 = 0
        self.TcpExtTCPReqQFullDrop: i64 = 0
        self.TcpExtTCPOFOQueue: i64 = 0
        self.TcpExtTCPOFODrop: i64 = 0
        self.TcpExtOfoPruned: i64 = 0
        self.TcpExtPruneCalled: i64 = 0
        self.TcpExtTCPRcvCollapsed: i64 = 0
        self.TcpExtTCPRcvQDrop: i64 = 0
        self.TcpExtTCPMemoryPressures: i64 = 0
        self.TcpExtTCPMemoryPressuresChrono: i64 = 0
        self.TcpExtTCPOFOMerge: i64 = 0
        self.TcpExtTCPChallengeACK: i64 = 0
        self.TcpExtTCPSYNChallenge: i64 = 0
        self.TcpExtTCPFromZeroWindowAdv: i64 = 0
        self.TcpExtTCPToZeroWindowAdv: i64 = 0
        self.TcpExtTCPSynRetrans: i64 = 0
        self.TcpExtTCPRetransFail: i64 = 0
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
        self.IpExtReasmOverlaps: i64 = 0
        self.EstabFragSourceLimited: i64 = 0
        self.EstabListenEvicted: i64 = 0
        self.EstabReplyQueueDrops: i64 = 0
        self.EstabNeighborQueueDrops: i64 = 0
        self.EstabNeighborEvicted: i64 = 0
        self.EstabNeighborTableFull: i64 = 0
        self.EstabPathMtuTableFull: i64 = 0
        self.EstabTimeWaitReused: i64 = 0
        self.EstabFastOpenCacheFull: i64 = 0

    def of(self, version: i64) -> VersionCounters:
        """Return the counters of IP version 4 or 6."""
        return self.v4 if version == 4 else self.v6

    def of_address(self, address: bytes) -> VersionCounters:
        """Return the counters of the IP version that an address belongs to."""
        return self.v4 if len(address) == 4 else self.v6

    def drop(self, reason: DropReason) -> None:
        """Count one dropped packet."""
        self.drops[reason] = self.drops.get(reason, 0) + 1

    def drops_count(self) -> int:
        """How many packets were dropped, for any reason."""
        return sum(self.drops.values())

    def as_dict(self) -> dict[str, int]:
        """Every counter that is not zero, by Linux's name, then the drops as ``drop:REASON``."""
        result: dict[str, int] = {}
        for field, name_v4, name_v6 in _VERSION_NAMES:
            for record, name in ((self.v4, name_v4), (self.v6, name_v6)):
                count: int = getattr(record, field)
                if count and name:
                    result[name] = count
        for name in _NAMES:
            value: int = getattr(self, name)
            if value:
                result[name] = value
        for reason in DropReason:
            dropped = self.drops.get(reason, 0)
            if dropped:
                result[f"drop:{reason.name}"] = dropped
        return result


# Field, Linux's name for IPv4 and for IPv6; "" if Linux has no such counter for that version.
_VERSION_NAMES: Final[tuple[tuple[str, str, str], ...]] = (
    ("ip_in_receives", "IpInReceives", "Ip6InReceives"),
    ("ip_in_hdr_errors", "IpInHdrErrors", "Ip6InHdrErrors"),
    ("ip_in_too_big_errors", "", "Ip6InTooBigErrors"),
    ("ip_in_no_routes", "IpExtInNoRoutes", "Ip6InNoRoutes"),
    ("ip_in_addr_errors", "IpInAddrErrors", "Ip6InAddrErrors"),
    ("ip_in_unknown_protos", "IpInUnknownProtos", "Ip6InUnknownProtos"),
    ("ip_in_truncated_pkts", "IpExtInTruncatedPkts", ""),
    ("ip_in_csum_errors", "IpExtInCsumErrors", ""),
    ("ip_in_delivers", "IpInDelivers", "Ip6InDelivers"),
    ("ip_in_bcast_pkts", "IpExtInBcastPkts", ""),
    ("ip_in_octets", "IpExtInOctets", "Ip6InOctets"),
    ("ip_out_octets", "IpExtOutOctets", "Ip6OutOctets"),
    ("ip_out_forw_datagrams", "IpForwDatagrams", "Ip6OutForwDatagrams"),
    ("ip_out_requests", "IpOutRequests", "Ip6OutRequests"),
    ("ip_out_no_routes", "IpOutNoRoutes", "Ip6OutNoRoutes"),
    ("ip_reasm_timeout", "IpReasmTimeout", "Ip6ReasmTimeout"),
    ("ip_reasm_reqds", "IpReasmReqds", "Ip6ReasmReqds"),
    ("ip_reasm_oks", "IpReasmOKs", "Ip6ReasmOKs"),
    ("ip_reasm_fails", "IpReasmFails", "Ip6ReasmFails"),
    ("ip_frag_oks", "IpFragOKs", "Ip6FragOKs"),
    ("ip_frag_fails", "IpFragFails", "Ip6FragFails"),
    ("ip_frag_creates", "IpFragCreates", "Ip6FragCreates"),
    ("ip_in_no_ect_pkts", "IpExtInNoECTPkts", "Ip6InNoECTPkts"),
    ("ip_in_ect1_pkts", "IpExtInECT1Pkts", "Ip6InECT1Pkts"),
    ("ip_in_ect0_pkts", "IpExtInECT0Pkts", "Ip6InECT0Pkts"),
    ("ip_in_ce_pkts", "IpExtInCEPkts", "Ip6InCEPkts"),
    ("icmp_in_msgs", "IcmpInMsgs", "Icmp6InMsgs"),
    ("icmp_in_errors", "IcmpInErrors", "Icmp6InErrors"),
    ("icmp_in_csum_errors", "IcmpInCsumErrors", "Icmp6InCsumErrors"),
    ("icmp_in_dest_unreachs", "IcmpInDestUnreachs", "Icmp6InDestUnreachs"),
    ("icmp_in_pkt_too_bigs", "", "Icmp6InPktTooBigs"),
    ("icmp_in_time_excds", "IcmpInTimeExcds", "Icmp6InTimeExcds"),
    ("icmp_in_parm_problems", "IcmpInParmProbs", "Icmp6InParmProblems"),
    ("icmp_in_src_quenchs", "IcmpInSrcQuenchs", ""),
    ("icmp_in_redirects", "IcmpInRedirects", "Icmp6InRedirects"),
    ("icmp_in_echos", "IcmpInEchos", "Icmp6InEchos"),
    ("icmp_in_echo_replies", "IcmpInEchoReps", "Icmp6InEchoReplies"),
    ("icmp_in_router_advertisements", "", "Icmp6InRouterAdvertisements"),
    ("icmp_in_neighbor_solicits", "", "Icmp6InNeighborSolicits"),
    ("icmp_in_neighbor_advertisements", "", "Icmp6InNeighborAdvertisements"),
    ("icmp_out_msgs", "IcmpOutMsgs", "Icmp6OutMsgs"),
    ("icmp_out_dest_unreachs", "IcmpOutDestUnreachs", "Icmp6OutDestUnreachs"),
    ("icmp_out_pkt_too_bigs", "", "Icmp6OutPktTooBigs"),
    ("icmp_out_time_excds", "IcmpOutTimeExcds", "Icmp6OutTimeExcds"),
    ("icmp_out_parm_problems", "IcmpOutParmProbs", "Icmp6OutParmProblems"),
    ("icmp_out_echos", "IcmpOutEchos", "Icmp6OutEchos"),
    ("icmp_out_echo_replies", "IcmpOutEchoReps", "Icmp6OutEchoReplies"),
    ("icmp_out_neighbor_solicits", "", "Icmp6OutNeighborSolicits"),
    ("icmp_out_neighbor_advertisements", "", "Icmp6OutNeighborAdvertisements"),
    ("icmp_out_rate_limit_host", "IcmpOutRateLimitHost", "Icmp6OutRateLimitHost"),
    ("udp_in_datagrams", "UdpInDatagrams", "Udp6InDatagrams"),
    ("udp_no_ports", "UdpNoPorts", "Udp6NoPorts"),
    ("udp_in_errors", "UdpInErrors", "Udp6InErrors"),
    ("udp_out_datagrams", "UdpOutDatagrams", "Udp6OutDatagrams"),
    ("udp_rcvbuf_errors", "UdpRcvbufErrors", "Udp6RcvbufErrors"),
    ("udp_in_csum_errors", "UdpInCsumErrors", "Udp6InCsumErrors"),
)
_NAMES: Final[tuple[str, ...]] = (
    "TcpActiveOpens", "TcpPassiveOpens", "TcpAttemptFails", "TcpEstabResets", "TcpCurrEstab", "TcpInSegs", "TcpOutSegs",
    "TcpRetransSegs", "TcpInErrs", "TcpInCsumErrors", "TcpOutRsts", "TcpExtSyncookiesSent", "TcpExtSyncookiesRecv",
    "TcpExtSyncookiesFailed", "TcpExtEmbryonicRsts", "TcpExtOutOfWindowIcmps", "TcpExtTW", "TcpExtTWKilled",
    "TcpExtPAWSActive", "TcpExtPAWSEstab", "TcpExtDelayedACKs", "TcpExtDelayedACKLost", "TcpExtListenOverflows",
    "TcpExtListenDrops", "TcpExtTCPPureAcks", "TcpExtTCPRenoRecovery", "TcpExtTCPSackRecovery", "TcpExtTCPFastRetrans",
    "TcpExtTCPSlowStartRetrans", "TcpExtTCPTimeouts", "TcpExtTCPDSACKOldSent", "TcpExtTCPAbortOnData",
    "TcpExtTCPAbortOnClose", "TcpExtTCPAbortOnMemory", "TcpExtTCPAbortOnTimeout", "TcpExtTCPAbortOnLinger",
    "TcpExtTCPAbortFailed",
    "TcpExtTCPTimeWaitOverflow", "TcpExtTCPDeferAcceptDrop", "TcpExtTCPReqQFullDoCookies", "TcpExtTCPReqQFullDrop",
    "TcpExtTCPOFOQueue", "TcpExtPruneCalled", "TcpExtTCPRcvCollapsed", "TcpExtTCPRcvQDrop", "TcpExtTCPMemoryPressures",
    "TcpExtTCPMemoryPressuresChrono", "TcpExtOfoPruned", "TcpExtTCPOFODrop", "TcpExtTCPOFOMerge",
    "TcpExtTCPChallengeACK",
    "TcpExtTCPSYNChallenge", "TcpExtTCPFromZeroWindowAdv", "TcpExtTCPToZeroWindowAdv", "TcpExtTCPSynRetrans",
    "TcpExtTCPRetransFail",
    "TcpExtTCPOrigDataSent", "TcpExtTCPACKSkippedSynRecv", "TcpExtTCPACKSkippedSeq", "TcpExtTCPACKSkippedTimeWait",
    "TcpExtTCPACKSkippedChallenge", "TcpExtTCPSACKReneging", "TcpExtTCPSACKReorder", "TcpExtTCPLostRetransmit",
    "TcpExtTCPLossProbes", "TcpExtTCPLossProbeRecovery", "TcpExtTCPDSACKRecv", "TcpExtTCPDSACKOfoRecv",
    "TcpExtTCPSACKDiscard", "TcpExtTCPFullUndo", "TcpExtTCPPartialUndo", "TcpExtTCPDSACKUndo", "TcpExtTCPLossUndo",
    "TcpExtTCPSpuriousRTOs", "TcpExtTCPWinProbe", "TcpExtTCPKeepAlive", "TcpExtTCPZeroWindowDrop",
    "TcpExtTCPFastOpenActive", "TcpExtTCPFastOpenActiveFail", "TcpExtTCPFastOpenPassive",
    "TcpExtTCPFastOpenPassiveFail", "TcpExtTCPFastOpenListenOverflow", "TcpExtTCPFastOpenCookieReqd",
    "TcpExtTCPFastOpenBlackhole", "TcpExtTCPFastOpenPassiveAltKey", "TcpExtTCPDelivered", "TcpExtTCPDeliveredCE",
    "IpExtReasmOverlaps", "EstabFragSourceLimited", "EstabListenEvicted", "EstabReplyQueueDrops",
    "EstabNeighborQueueDrops",
    "EstabNeighborEvicted", "EstabNeighborTableFull",
    "EstabPathMtuTableFull", "EstabTimeWaitReused", "EstabFastOpenCacheFull", "TcpExtTCPDSACKOfoSent",
    "TcpExtTCPDSACKRecvSegs", "TcpExtTCPMTUPFail", "TcpExtTCPMTUPSuccess",
)
COUNTER_NAMES: Final = (*(name for row in _VERSION_NAMES for name in row[1:] if name), *_NAMES)
"""Every name that ``Counters.as_dict`` may give, but the drops'."""
