"""The cause of each drop, and what to do: rows ``NAME | by | do``. What it is, ``errors.DropReason``
says.
"""

from __future__ import annotations

from typing import Final

__all__ = ["DROPS"]

DROPS: Final = """
PKT_TOO_SMALL | a broken sender, damage, or a fuzzer | none
OTHERHOST | a switch that floods, or promiscuous mode | none: it is for another host
UNHANDLED_PROTO | protocols such as IPX or LLDP on the link | none
DEV_DOWN | a program that sends while the interface is down | bring it up
FULL_RING | a host that sends faster than its device takes | slow down; the stack asks again
QDISC_DROP | a full queue of this host's own device (tc -s qdisc) | nothing: TCP slows down and tries again
IP_INHDR | a broken or hostile sender | look at the packet in a capture
IP_CSUM | damage on the way | look for a bad link
IPV6_BAD_EXTHDR | a hostile sender, or headers in a wrong order | none
IP_INADDRERRORS | a wrong route that leads here | check the sender's route, or net.ipv4.ip_forward
IP_INNOROUTES | a router without a route for the destination | add the route
IP_OUTNOROUTES | a program that sends where no route leads | ip route get ADDRESS
IP_LOCAL_SOURCE | a forger, or a loop | none
IP_INVALID_SOURCE | a forger, or a host without an address | none
IP_INVALID_DEST | a program that sends to 0.0.0.0, for example | give the address of a host
IP_NOPROTO | a sender of a protocol that this host lacks | none; the sender is told by ICMP
IP_TTL_EXPIRED | a routing loop, or traceroute | traceroute shows the loop
PKT_TOO_BIG | a link smaller than the packet, with DF set | nothing, if ICMP comes back; else it is an MTU black hole
DUP_FRAG | an attack, or a broken sender | none
FRAG_TOO_FAR | an attack (ping of death) | none
FRAG_REASM_TIMEOUT | a lost fragment | smaller datagrams
FRAG_QUEUE_FULL | an attack by fragments, or very many of them | net.ipv4.ipfrag_high_thresh
NEIGH_FAILED | a neighbour that is down, or an address that no host has | is the host there?
NEIGH_QUEUEFULL | many packets for a neighbour that does not answer yet | is the host there?
NEIGH_TABLE_FULL | a scan of the link's addresses | none
ARP_INVALID | a broken or hostile host on the link | none
NDISC_OTHERHOST | a neighbour that asks for another host's address | none
NDISC_INVALID | a message from beyond the link, or a hostile one | none
ICMP_CSUM | damage on the way | look for a bad link
ICMP_INVALID | a forger, or an error that came too late | none: it quotes nothing of ours
ICMP_RATE_LIMITED | a scan, or a flood | none: net.ipv4.icmp_ratelimit and icmp_msgs_per_sec are to bound it
UDP_CSUM | damage on the way | look for a bad link
UDP_INVALID | a broken sender | none
NO_SOCKET | a client with a wrong port, or a server that is down | start the server (ss -ltnu)
SOCKET_RCVBUFF | a program that does not read | read faster; SO_RCVBUF
TCP_CSUM | damage on the way; or a capture that was replayed before offload | look for a bad link
TCP_INVALID_HEADER | a broken or hostile sender | none
TCP_FLAGS | a scanner (null, Xmas), or a broken peer | none
TCP_INVALID_SYN | a forger | none
TCP_SYN_IN_WINDOW | a peer that restarted, or an attacker | nothing: the challenge ACK sorts it out
TCP_RFC7323_PAWS | an old duplicate; or a NAT in front of several hosts | a NAT should not give one port
    to two hosts within a minute
TCP_RFC7323_TS_MISSING | a middlebox that strips timestamps | net.ipv4.tcp_timestamps=0, or repair the middlebox
TCP_OLD_SEQUENCE | a retransmission that was needless, or a keepalive probe | none
TCP_INVALID_SEQUENCE | an old or forged segment | none
TCP_ZEROWINDOW | a peer that probes a closed window | read: the window is closed because the program does not
TCP_OVERWINDOW | a peer that sends beyond the window | look at the peer
TCP_OLD_DATA | a needless retransmission | none
TCP_INVALID_ACK_SEQUENCE | an old connection's segment, or a forger | nothing: a reset answers it
TCP_ACK_UNSENT_DATA | a forger, or a confused peer | none
TCP_TOO_OLD_ACK | an old segment, or a forger (RFC 5961) | none
TCP_NO_ACK | a broken peer | none
TCP_RESET | an old reset, or a forger that guesses | nothing: the challenge ACK asks the peer
TCP_RESET_INVALID | an old reset, or a forger | none
TCP_ABORT_ON_DATA | a peer that still sends after this end closed | close later, or shutdown(SHUT_WR) and read on
TCP_CLOSE | a segment for a connection that is over | none
PROTO_MEM | very many connections whose programs or peers do not read | net.ipv4.tcp_mem, tcp_rmem, tcp_wmem
TCP_OFO_QUEUE_PRUNE | a receive buffer full of text beyond a hole | SO_RCVBUF, net.ipv4.tcp_rmem
TCP_LISTEN_OVERFLOW | a program that does not call accept() fast enough | accept() faster; a larger backlog and
    net.core.somaxconn
TCP_DEFER_ACCEPT | TCP_DEFER_ACCEPT at work | nothing
TCP_REQ_QUEUE_FULL | a flood of SYNs, or a small backlog | net.ipv4.tcp_syncookies=1; a larger backlog
TCP_REQ_EVICTED | a full half-open queue that evicts its oldest | a larger backlog
TCP_BAD_COOKIE | an ACK that is too late, or forged | none
TCP_TIMEWAIT | a late segment of a connection that is over | none
TCP_LINGER_ORPHAN | too many connections whose programs have closed | net.ipv4.tcp_max_orphans
LINK_LOSS | link(loss=…) of the lab | that is what it was asked for
LINK_DOWN | link.cut() of the lab | link.heal()
LINK_QUEUE_FULL | more than the link's rate takes, for longer than its queue holds | a larger queue=, or a slower
    sender
LINK_AQM | link(aqm="codel") of the lab | that is what it was asked for
LINK_CORRUPTED | link(corrupt=…) of the lab | that is what it was asked for
LINK_MTU | a packet larger than link(mtu=…): a black hole | tcp_mtu_probing, or a smaller MTU at the host
LINK_RULE | a rule that the test put on the link | that is what it was asked for
LINK_PARTITION | net.partition(): the two hosts are on different sides | a time-out of the program; a quorum
FLOW_UNKNOWN | net.nat() or net.balancer(): the flow was forgotten, or nobody began it | keepalive or a heartbeat
    shorter than idle=
FLOW_INVALID | invalid="drop" of net.nat() or net.balancer(): a late duplicate, or forged | nothing: it is what is right
FLOW_TABLE_FULL | more flows than flows_max=, or all ports= in use | a larger table, shorter times, fewer connections
LINK_FIREWALL | link.firewall(): an idle flow was forgotten | keepalive shorter than the firewall's memory
DEV_HDR | a device that contradicts itself | look at the device's driver
"""
