"""What each counter counts, what makes it grow, and what to do: rows ``name | counts | grows by | do``.

IPv6's counters (``Ip6``, ``Icmp6``, ``Udp6``) mean what IPv4's do and take their rows from them, unless they have rows
of their own.
"""

from __future__ import annotations

from typing import Final

__all__ = ["COUNTERS"]



COUNTERS: Final = """
IpInReceives | IP packets that came in, good or bad | every packet | -
IpInHdrErrors | packets with a bad IP header | damage on the way, a broken sender, an attack | look at drop:IP_INHDR
    and drop:IP_CSUM for which rule they break
IpInAddrErrors | packets for an address that is not this host's | a wrong route or a router that takes this host for
    one | check the sender's route; set net.ipv4.ip_forward if this host is to forward
IpForwDatagrams | packets forwarded | this host is a router | -
IpInUnknownProtos | packets of a transport protocol that this host does not have | a sender of SCTP, GRE … | none, or a
    filter
IpInDelivers | packets handed to TCP, UDP or ICMP | every good packet for this host | -
IpOutRequests | packets that this host sends by itself | every packet | -
IpOutNoRoutes | packets that no route leads away | a program that sends to a network without a route | ip route get
    ADDRESS; add the route
IpReasmTimeout | reassemblies given up because fragments were missing | a lost fragment, or an attack by fragments |
    avoid fragments: path MTU discovery, smaller datagrams
IpReasmReqds | fragments that came in | datagrams larger than a link's MTU | avoid fragments: they are lost together
IpReasmOKs | packets put together from fragments | fragments that all came | -
IpReasmFails | reassemblies that failed | missing, overlapping or too many fragments | look at
    drop:FRAG_REASM_TIMEOUT and its siblings
IpFragOKs | packets that were cut into fragments | sending datagrams larger than the MTU without DF | smaller
    datagrams
IpFragFails | packets too large whose DF forbids to cut them | path MTU discovery at work | nothing, unless the
    sender never hears of it (an MTU black hole)
IpFragCreates | fragments made | see IpFragOKs | smaller datagrams
IcmpInMsgs | ICMP messages that came | pings and errors | -
IcmpInErrors | ICMP messages that made no sense | damage, forgery | none
IcmpInCsumErrors | ICMP messages with a bad checksum | damage on the way | look for a bad link
IcmpInDestUnreachs | "destination unreachable" messages | closed UDP ports, routes that are missing, MTUs | the
    message names who sent it and why (tcpdump icmp)
IcmpInTimeExcds | "time exceeded" messages | a routing loop, traceroute | traceroute shows the loop
IcmpInParmProbs | "parameter problem" messages | an option that a router dislikes | none
IcmpInSrcQuenchs | "source quench" messages, which hosts ignore today | very old devices | none (RFC 6633)
IcmpInRedirects | "redirect" messages | two routers on a link; or a forger | net.ipv4.conf.all.accept_redirects=0 if
    not wanted
IcmpInEchos | pings that came | a host pings this one | -
IcmpInEchoReps | answers to pings of this host | ping | -
IcmpOutMsgs | ICMP messages sent | pings and errors | -
IcmpOutDestUnreachs | "destination unreachable" sent | datagrams to ports where nobody listens; refused forwarding |
    see UdpNoPorts
IcmpOutTimeExcds | "time exceeded" sent | packets whose TTL ended here | traceroute, or a loop
IcmpOutParmProbs | "parameter problem" sent | packets with bad headers or options | none
IcmpOutEchos | pings sent | ping | -
IcmpOutEchoReps | answers to pings | a host pings this one | -
IcmpOutRateLimitHost | ICMP errors that the host's rate limit held back | a scan, or a flood |
    net.ipv4.icmp_msgs_per_sec and icmp_ratelimit bound it, and should
Ip6InTooBigErrors | packets too big to forward | a next link with a smaller MTU | let ICMPv6 "packet too big" through
Ip6InNoRoutes | packets to forward without a route | see IpOutNoRoutes | add the route
Ip6OutForwDatagrams | packets forwarded | this host is a router | -
Ip6InNoECTPkts | packets that are not ECN-capable | senders without ECN | -
Ip6InECT1Pkts | packets marked ECT(1) | L4S or AccECN senders | -
Ip6InECT0Pkts | packets marked ECT(0) | senders with ECN | -
Ip6InCEPkts | packets that met congestion and were marked instead of dropped | a queue with ECN on the way |
    nothing: the sender slows down
Icmp6OutParmProblems | "parameter problem" messages sent | packets with headers or options that this host must
    refuse | none
EstabNeighborEvicted | neighbours that made room for newer ones (estab's own) | more neighbours than the table holds
    | none
Icmp6InPktTooBigs | "packet too big" messages that came | path MTU discovery | nothing: the path's MTU is learnt
Icmp6InParmProblems | "parameter problem" messages | a header that a node dislikes | none
Icmp6InEchoReplies | answers to pings of this host | ping | -
Icmp6InRouterAdvertisements | router advertisements | routers on the link | -
Icmp6InNeighborSolicits | questions for this host's link-layer address | neighbours | -
Icmp6InNeighborAdvertisements | answers with a neighbour's link-layer address | neighbours | -
Icmp6OutPktTooBigs | "packet too big" sent | packets larger than the next link | nothing: the sender learns the MTU
Icmp6OutEchoReplies | answers to pings | a host pings this one | -
Icmp6OutNeighborSolicits | questions for a neighbour's link-layer address | first packets to a neighbour | -
Icmp6OutNeighborAdvertisements | answers with this host's link-layer address | neighbours that ask | -
TcpActiveOpens | connections begun by connect() | programs | -
TcpPassiveOpens | connections that came to a listener | clients | -
TcpAttemptFails | connections that ended before they were established | refusals, timeouts, resets in the handshake
    | compare with TcpActiveOpens; estab doctor names them
TcpEstabResets | established connections that ended by a reset | aborts of either end, keepalive, timeouts | estab
    doctor on a capture says which end and why
TcpCurrEstab | connections that are ESTABLISHED or CLOSE-WAIT now (a gauge) | open connections | -
TcpInSegs | segments that came in | traffic | -
TcpOutSegs | segments sent, repetitions not counted | traffic | -
TcpRetransSegs | segments sent again | loss, reordering, a silent peer | its share of TcpOutSegs is the loss rate,
    roughly; estab doctor names the connection
TcpInErrs | segments with bad header or checksum | damage, forgery | look at TcpInCsumErrors
TcpInCsumErrors | segments with a bad checksum | damage that the link's own check missed, or offload gone wrong |
    ethtool -K DEV rx off tells whether the card is to blame
TcpOutRsts | resets sent | segments for no connection, aborts, unread text at close() | a capture shows to whom
UdpInDatagrams | datagrams handed to programs | traffic | -
UdpNoPorts | datagrams for a port where nobody listens | a client with a wrong port; a server that is down | start
    the server
UdpInErrors | datagrams dropped on their way to a program | full receive buffers, bad checksums | see
    UdpRcvbufErrors, UdpInCsumErrors
UdpOutDatagrams | datagrams sent | traffic | -
UdpRcvbufErrors | datagrams dropped because a socket's buffer was full | a program that reads too slowly |
    SO_RCVBUF, net.core.rmem_max; read faster
UdpInCsumErrors | datagrams with a bad checksum | damage on the way | look for a bad link
TcpExtSyncookiesSent | SYNs answered by a cookie, without state | a half-open queue that is full: a flood, or a
    small backlog | a larger listen() backlog if the clients are real
TcpExtSyncookiesRecv | cookies that came back and were good | honest clients during a flood | nothing: they were
    served
TcpExtSyncookiesFailed | ACKs whose cookie was not good | old cookies, or forged ACKs | none
TcpExtEmbryonicRsts | resets for half-open connections | clients that give up in the handshake, SYN scans | none
TcpExtOutOfWindowIcmps | ICMP errors that quote nothing under way | late or forged errors | none: they are ignored
    (RFC 5927)
TcpExtTW | connections that left TIME-WAIT when its time was over | the end that closed first | -
TcpExtTWKilled | TIME-WAIT ended early | a reset, or a full table | net.ipv4.tcp_rfc1337, tcp_max_tw_buckets
TcpExtPAWSActive | SYN-ACKs whose timestamp was older than possible | old segments, two hosts behind one address |
    none
TcpExtPAWSEstab | segments whose timestamp was older than the last (PAWS) | old duplicates; a NAT that mixes hosts |
    a NAT should not rewrite ports so that hosts share a four-tuple
TcpExtDelayedACKs | acknowledgments that waited for more text | normal receiving | with Nagle at the peer each costs
    40 ms: TCP_NODELAY there
TcpExtDelayedACKLost | text that came again because an acknowledgment was late or lost | ACK loss, a peer with a
    short timeout | see TcpExtTCPDSACKOldSent
TcpExtListenOverflows | handshakes that found the accept queue full | a program that calls accept() too slowly |
    accept() in more threads, a larger listen() backlog and net.core.somaxconn
TcpExtListenDrops | SYNs and ACKs that a listener dropped, for any reason | see TcpExtListenOverflows,
    TcpExtTCPReqQFullDrop | look at these two, which say which queue was full
TcpExtTCPPureAcks | acknowledgments without text that came | a peer that receives | -
TcpExtTCPRenoRecovery | recoveries without SACK | loss, with a peer without SACK | let SACK through: some firewalls
    strip it
TcpExtTCPSackRecovery | recoveries by SACK | loss or reordering | estab doctor names the connection
TcpExtTCPFastRetrans | segments sent again by duplicate ACKs or SACK, without a timeout | loss or reordering | estab
    doctor tells which of both
TcpExtTCPSlowStartRetrans | segments sent again after a timeout, in slow start | a timeout | see TcpExtTCPTimeouts
TcpExtTCPTimeouts | retransmission timeouts | loss of a flight's end, a silent path, a peer that is gone | estab
    doctor; TCP_USER_TIMEOUT bounds it
TcpExtTCPDSACKOldSent | reports of text that came twice (DSACK) | needless retransmissions of the peer | see
    TCPSpuriousRTOs at the peer
TcpExtTCPDSACKOfoSent | reports of text that came twice while out of order | needless retransmissions of the peer |
    see TCPSpuriousRTOs at the peer
TcpExtTCPDSACKRecvSegs | segments that the peer got twice, by its reports | needless retransmissions of this host |
    the path's delay jumps, or it reorders
TcpExtTCPMTUPFail | MTU probes that were lost | a path with a smaller MTU | nothing: the search goes on below
TcpExtTCPMTUPSuccess | MTU probes that arrived | a path with a larger MTU | -
TcpExtTCPDelivered | segments that arrived at the peers, as far as they said | traffic | -
TcpExtTCPDeliveredCE | of these, segments that met congestion (ECN) | a queue that marks | nothing: the congestion
    window shrinks
TcpExtTCPAbortOnData | connections reset because text came after close() | a peer that still sends: closed too early
    | read to the end before close(), or shutdown(SHUT_WR) first
TcpExtTCPAbortOnClose | connections reset because close() met unread text | a program that closes without reading
    all | read to the end before close()
TcpExtTCPAbortOnMemory | connections reset because there were too many orphans, or no memory for what they had to send |
    many closed connections whose peers are gone | net.ipv4.tcp_max_orphans, net.ipv4.tcp_mem; close connections to
    dead peers sooner
TcpExtTCPAbortOnTimeout | connections ended by a timeout | a peer that is gone: retransmissions, keepalive or
    TCP_USER_TIMEOUT ran out | estab doctor says after what
TcpExtTCPAbortOnLinger | connections reset because SO_LINGER's or TCP_LINGER2's time was over | a peer that does not
    close | TCP_LINGER2, net.ipv4.tcp_fin_timeout
TcpExtTCPAbortFailed | resets that the device's queue refused | a queue of this host that is full | a longer queue,
    or less to send: tc -s qdisc
TcpExtTCPTimeWaitOverflow | connections that ended without TIME-WAIT because the table was full | very many short
    connections | net.ipv4.tcp_max_tw_buckets; keep connections open
TcpExtTCPDeferAcceptDrop | third ACKs ignored because TCP_DEFER_ACCEPT waits for text | the option at work | -
TcpExtTCPReqQFullDoCookies | times that a full SYN queue led to a cookie | a flood of SYNs, or a small backlog |
    see TcpExtSyncookiesSent
TcpExtTCPReqQFullDrop | SYNs dropped because the SYN queue was full and cookies are off | a flood or a small backlog
    | net.ipv4.tcp_syncookies=1, a larger backlog
TcpExtTCPOFOQueue | segments kept out of order | loss or reordering on the way in | -
TcpExtTCPOFODrop | segments out of order that were dropped | a receive buffer that is full | SO_RCVBUF,
    net.ipv4.tcp_rmem
TcpExtPruneCalled | segments that came while all connections together held as much as they may | programs that do not
    read, or very many connections | net.ipv4.tcp_mem
TcpExtTCPRcvCollapsed | times that small segments were joined, as they took more memory than the receive buffer | a
    peer that sends a few bytes at a time to a program that does not read | -
TcpExtTCPRcvQDrop | segments dropped because all connections together held as much as they may | see
    TcpExtPruneCalled | net.ipv4.tcp_mem
TcpExtTCPMemoryPressures | times that all connections together came over the second limit of tcp_mem | programs or
    peers that do not read, or very many connections | net.ipv4.tcp_mem
TcpExtTCPMemoryPressuresChrono | milliseconds that memory was short, once that is over | see
    TcpExtTCPMemoryPressures | net.ipv4.tcp_mem
TcpExtOfoPruned | times that out-of-order text was thrown away for memory | a receive buffer that is full of text
    beyond a gap | SO_RCVBUF, net.ipv4.tcp_rmem
TcpExtTCPOFOMerge | out-of-order segments that overlapped | retransmissions of other sizes | -
TcpExtTCPChallengeACK | challenge ACKs sent (RFC 5961) | resets or SYNs that are not exact: old ones, or an attack |
    none
TcpExtTCPSYNChallenge | challenge ACKs sent for a SYN on an open connection | a peer that restarted on the same port |
    nothing: its answer is an exact reset
TcpExtTCPFromZeroWindowAdv | times that a closed window was opened | a program that reads again | see
    TCPToZeroWindowAdv
TcpExtTCPToZeroWindowAdv | times that the window was closed | a program that does not read | read faster; estab
    doctor names the process (Recv-Q)
TcpExtTCPRetransFail | retransmissions that the device's queue refused | a queue of this host that is full | a longer
    queue, or less to send: tc -s qdisc
TcpExtTCPSynRetrans | SYNs and SYN-ACKs sent again | nobody answers, or loss | see ETIMEDOUT, syn-unanswered
TcpExtTCPOrigDataSent | segments with new text sent | traffic | -
TcpExtTCPACKSkippedSynRecv | ACKs held back by a rate limit, in SYN-RECEIVED | a loop of ACKs or an attack | none:
    net.ipv4.tcp_invalid_ratelimit
TcpExtTCPACKSkippedSeq | ACKs held back by a rate limit, for segments out of the window | a loop of ACKs or an attack |
    none: net.ipv4.tcp_invalid_ratelimit
TcpExtTCPACKSkippedTimeWait | ACKs held back by a rate limit, in TIME-WAIT | a loop of ACKs or an attack | none:
    net.ipv4.tcp_invalid_ratelimit
TcpExtTCPACKSkippedChallenge | challenge ACKs held back by a rate limit | an attack, or many old resets | none:
    net.ipv4.tcp_challenge_ack_limit
TcpExtTCPSACKReneging | times that a peer took back what it had reported by SACK | a peer short of memory | look at
    the peer
TcpExtTCPSACKReorder | times that SACK showed reordering | parallel paths or queues | keep a flow on one path
TcpExtTCPLostRetransmit | retransmissions that were lost again | heavy loss | look for the lossy link
TcpExtTCPLossProbes | tail loss probes sent (RFC 8985) | the last segments of a flight unanswered | -
TcpExtTCPLossProbeRecovery | losses repaired by a tail loss probe | loss of a flight's end | -
TcpExtTCPDSACKRecv | reports of duplicates that came | needless retransmissions of this host | see TCPDSACKRecvSegs
TcpExtTCPDSACKOfoRecv | reports of duplicates out of order | needless retransmissions of this host | see
    TCPDSACKRecvSegs
TcpExtTCPSACKDiscard | SACK blocks that made no sense | a broken peer or middlebox | look at the peer
TcpExtTCPFullUndo | false alarms taken back whole | reordering | nothing: the window is as before
TcpExtTCPPartialUndo | false alarms taken back in part | reordering | nothing: part of the window is as before
TcpExtTCPDSACKUndo | false alarms taken back because of DSACK | needless retransmissions | nothing: the window is as
    before
TcpExtTCPLossUndo | timeouts taken back | a delay that jumped | see TCPSpuriousRTOs
TcpExtTCPSpuriousRTOs | timeouts that were none (F-RTO) | a delay that jumped above the timeout | ip route … rto_min
    for such paths
TcpExtTCPWinProbe | probes of a closed window | a peer that does not read | estab doctor: peer-not-reading
TcpExtTCPKeepAlive | keepalive probes sent | idle connections with SO_KEEPALIVE | -
TcpExtTCPZeroWindowDrop | text dropped because the window was closed | a peer that sends past the window | look at
    the peer
TcpExtTCPFastOpenActive | connections whose SYN carried text that was taken | TCP Fast Open | -
TcpExtTCPFastOpenActiveFail | SYNs with text that was not taken | a server or path without Fast Open | nothing: it
    went on as usual
TcpExtTCPFastOpenPassive | SYNs with text that were taken here | TCP Fast Open | -
TcpExtTCPFastOpenPassiveFail | SYNs whose cookie was not good | an old cookie | nothing: the usual handshake follows
TcpExtTCPFastOpenListenOverflow | SYNs with text beyond the listener's limit | TCP_FASTOPEN's queue is too short | a
    larger value of TCP_FASTOPEN
TcpExtTCPFastOpenCookieReqd | requests for a cookie | new clients with Fast Open | -
TcpExtTCPFastOpenBlackhole | times that Fast Open was paused because the network drops it | a middlebox |
    net.ipv4.tcp_fastopen_blackhole_timeout_sec
TcpExtTCPFastOpenPassiveAltKey | cookies good by the second key | a change of keys | -
IpExtInNoRoutes | packets that came without a route to deliver or forward them | a wrong route | ip route get
IpExtInTruncatedPkts | packets shorter than they say | damage, a broken sender | none
IpExtInBcastPkts | broadcast packets | other hosts of the link | -
IpExtInOctets | bytes that came in IP packets | traffic | -
IpExtOutOctets | bytes sent in IP packets | traffic | -
IpExtInCsumErrors | IPv4 headers with a bad checksum | damage | look for a bad link
IpExtInNoECTPkts | packets that are not ECN-capable | senders without ECN | -
IpExtInECT1Pkts | packets marked ECT(1) | L4S or AccECN senders | -
IpExtInECT0Pkts | packets marked ECT(0) | senders with ECN | -
IpExtInCEPkts | packets marked CE: they met congestion instead of being dropped | a queue with ECN on the way |
    nothing: the sender slows down
EstabFragSourceLimited | fragments dropped because their source had its share of the memory | an attack by fragments,
    or a source whose fragments are lost | net.ipv4.ipfrag_high_thresh
IpExtReasmOverlaps | fragments that overlap others | an attack, a broken sender | none: they are dropped (RFC 5722)
EstabListenEvicted | half-open entries that made room for newer ones (estab's own) | a full half-open queue with
    tcp_syn_recycle | a larger backlog
EstabReplyQueueDrops | answers without a connection that found their queue full (estab's own) | a scan or a flood |
    none: reply_queue_max bounds it
EstabNeighborQueueDrops | packets that waited too many for a neighbour (estab's own) | a neighbour that does not
    answer | is the neighbour there?
EstabNeighborTableFull | neighbours that found the table full (estab's own) | a scan of the link | none
EstabPathMtuTableFull | path MTUs that found their table full (estab's own) | forged ICMP, or very many paths | none
EstabTimeWaitReused | TIME-WAIT records taken over by a new SYN (estab's own, RFC 6191) | a client that connects
    again at once | -
EstabFastOpenCacheFull | Fast Open cookies that found the cache full (estab's own) | very many servers |
    fastopen_cookies_max
"""
