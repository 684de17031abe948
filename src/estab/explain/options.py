"""What each socket option does, when a program wants it, and what to mind: rows ``NAME | what | wanted for |
mind``.
"""

from __future__ import annotations

from typing import Final

__all__ = ["OPTIONS"]

OPTIONS: Final = """
SO_REUSEADDR | lets bind() take an address that only TIME-WAIT connections still have | servers that restart | set
    it before bind(); it does not allow two listeners at once on Linux
SO_REUSEPORT | lets several sockets bind and listen on one address; connections are spread among them | several
    processes that accept | all of them must set it, and belong to one user
SO_KEEPALIVE | sends probes on an idle connection, and ends it if nobody answers | connections that wait long | the
    first probe comes after two hours unless TCP_KEEPIDLE says otherwise
SO_BROADCAST | allows datagrams to broadcast addresses | discovery on a link | without it sendto() fails with EACCES
SO_OOBINLINE | leaves urgent text in the stream | old protocols | -
SO_RCVBUF | fixes the receive buffer, and with it the largest window | memory bounds | it stops auto-tuning: too
    small, and the peer is limited by the window; Linux doubles the number
SO_SNDBUF | fixes the send buffer | memory bounds | it stops auto-tuning: too small, and the sender is limited by
    it; Linux doubles the number
SO_RCVLOWAT | how much must have come before the socket is readable | records of a known size | -
SO_SNDLOWAT | always 1 on Linux | - | it can't be set
SO_LINGER | what close() does with text that is not sent yet: wait so many seconds, or with 0 throw it away and
    reset | aborts, or knowing that all was sent | with 0 the peer gets ECONNRESET and may lose what it had not read
SO_ERROR | takes the error that waits on the socket | after a non-blocking connect() | reading it clears it
SO_TYPE | SOCK_STREAM or SOCK_DGRAM | libraries | can only be read
SO_DOMAIN | AF_INET or AF_INET6 | libraries | can only be read
SO_PROTOCOL | IPPROTO_TCP or IPPROTO_UDP | libraries | can only be read
SO_ACCEPTCONN | whether the socket listens | libraries | can only be read
SO_DONTROUTE | sends to the link only | diagnostics | it has no effect here
SO_RCVTIMEO | how long recv() and accept() wait | programs without select() | they fail with EAGAIN, which is no end
    of the connection
SO_SNDTIMEO | how long send() and connect() wait | programs without select() | connect() fails with EINPROGRESS
SO_MAX_PACING_RATE | bytes a second at which the kernel sends at most, evenly | streams that should not burst | too
    low, and the transfer is limited by the pace
TCP_NODELAY | sends small writes at once: turns Nagle's rule off | requests and answers | write a whole request at
    once all the same
TCP_CORK | holds small segments back until it is taken out (200 ms at most) | a head and a file after it | take it
    out, or MSG_MORE
TCP_NOTSENT_LOWAT | the socket is writable only while less than so much is unsent | short queues, HTTP/2 priorities
    | -
TCP_WINDOW_CLAMP | the largest window to offer | a reader that wants little in flight | limits what a long path carries
TCP_MAXSEG | the largest segment to offer and to send | tunnels | it can't exceed what the path's MTU allows
TCP_KEEPIDLE | seconds of silence before the first keepalive probe | SO_KEEPALIVE | shorter than what firewalls on
    the path remember
TCP_KEEPINTVL | seconds between probes | SO_KEEPALIVE | -
TCP_KEEPCNT | probes without an answer that end the connection | SO_KEEPALIVE | TCP_USER_TIMEOUT takes its place if
    set
TCP_LINGER2 | how long FIN-WAIT-2 lasts after close() | servers with many clients that do not close | -
TCP_SYNCNT | how often a SYN is repeated before connect() fails | clients that should not wait two minutes | a
    timeout of the program is simpler
TCP_DEFER_ACCEPT | accept() hears of a connection with its first text only | servers whose clients speak first |
    clients that wait for a greeting wait
TCP_USER_TIMEOUT | how many milliseconds text may stay unacknowledged (or a window closed) before the connection
    fails | bounding 15 minutes of silence | with keepalive it bounds the idle case too
TCP_QUICKACK | acknowledges at once, for now | a peer that waits by Nagle's rule | it does not stay set
TCP_INQ | recvmsg() tells how much is left to read | loops that read all | -
TCP_FASTOPEN | a listener takes text on SYNs; the number is how many may be pending | a round trip less | a request
    may be executed twice: only for what is safe to repeat
TCP_FASTOPEN_CONNECT | connect() waits for the first write, and sends it on the SYN | a round trip less | a
    request may be executed twice: only for what is safe to repeat
TCP_FASTOPEN_NO_COOKIE | text on SYNs without a cookie | closed networks | anybody can forge it
TCP_FASTOPEN_KEY | the key of a listener's cookies | clusters that share a key | -
TCP_CONGESTION | the congestion control by name | bbr on lossy paths, dctcp in data centres |
    net.ipv4.tcp_available_congestion_control has the names
TCP_INFO | everything that TCP knows of the connection | diagnosis: estab doctor reads it | can only be read
IP_TTL | hops that a packet may go | traceroute, GTSM | -
IP_TOS | the traffic class: DSCP; the ECN bits are TCP's own | priorities | -
IP_MTU | the path's MTU as it is known | diagnosis | connected sockets only
IP_MTU_DISCOVER | whether DF is set, and whether path MTUs are believed | probes, datagrams that may be cut | -
IP_PKTINFO | recvmsg() tells a datagram's destination, sendmsg() chooses the source | servers with several addresses
    | -
IP_RECVTTL | recvmsg() tells the TTL | distance, GTSM | -
IP_RECVTOS | recvmsg() tells the traffic class, ECN included | QUIC | -
IP_RECVERR | keeps ICMP errors for MSG_ERRQUEUE | datagram clients that want to know | -
IP_ADD_MEMBERSHIP | joins a multicast group on one interface | discovery: mDNS, SSDP; media for many | the hosts of the
    link or switch alone: there is no IGMP, and no router forwards groups
IP_DROP_MEMBERSHIP | leaves a multicast group; close() does, too | - | -
IP_ADD_SOURCE_MEMBERSHIP | joins a multicast group, to hear one more source | media from one known source | the rest is
    dropped by this host; nobody else is told
IP_DROP_SOURCE_MEMBERSHIP | hears a source no longer; without any it leaves the group | - | -
IP_BLOCK_SOURCE | a member hears a source no longer | a source that disturbs | -
IP_UNBLOCK_SOURCE | a member hears a source again that it blocked | - | -
IP_MSFILTER | names all sources that a member hears, or does not hear, at once | - | it can be set, and not be read
MCAST_JOIN_GROUP | joins a group, of either version, on the interface of a number | programs for both versions | -
MCAST_LEAVE_GROUP | leaves it; close() does, too | - | -
MCAST_JOIN_SOURCE_GROUP | as IP_ADD_SOURCE_MEMBERSHIP, of either version | media from one known source | -
MCAST_LEAVE_SOURCE_GROUP | as IP_DROP_SOURCE_MEMBERSHIP, of either version | - | -
MCAST_BLOCK_SOURCE | as IP_BLOCK_SOURCE, of either version | a source that disturbs | -
MCAST_UNBLOCK_SOURCE | as IP_UNBLOCK_SOURCE, of either version | - | -
MCAST_MSFILTER | as IP_MSFILTER, of either version | - | it can be set, and not be read
IP_MULTICAST_IF | the interface by which what is sent to groups leaves | hosts with several interfaces |
    the first one, if neither it nor a route says another
IP_MULTICAST_TTL | hops of what is sent to groups | - | 1 is the default: the link
IP_MULTICAST_LOOP | members on the own host get a copy, too | off for what must not hear itself | the sender's option
IP_MULTICAST_ALL | an IPv4 socket gets what others on its host have joined, too | 0 for several sockets on one port | -
IPV6_V6ONLY | whether an IPv6 socket takes IPv4 as well | servers for both | Linux: off unless net.ipv6.bindv6only
IPV6_UNICAST_HOPS | hops that a packet may go | traceroute | -
IPV6_TCLASS | the traffic class | priorities | -
IPV6_MTU | the path's MTU as it is known | diagnosis | -
IPV6_MTU_DISCOVER | as IP_MTU_DISCOVER: whether path MTUs are believed | probes, datagrams that may be cut | -
IPV6_RECVPKTINFO | recvmsg() tells a datagram's destination | servers with several addresses | -
IPV6_RECVHOPLIMIT | recvmsg() tells the hop limit | distance | -
IPV6_RECVTCLASS | recvmsg() tells the traffic class | QUIC | -
IPV6_RECVERR | keeps ICMPv6 errors for MSG_ERRQUEUE | datagram clients | -
IPV6_JOIN_GROUP | joins a multicast group on one interface | discovery: mDNS | the hosts of the link or switch alone
IPV6_LEAVE_GROUP | leaves a multicast group; close() does, too | - | -
IPV6_MULTICAST_IF | the number of the interface by which what is sent to groups leaves |
    hosts with several interfaces | -
IPV6_MULTICAST_HOPS | hops of what is sent to groups | - | 1 is the default: the link
IPV6_MULTICAST_LOOP | members on the own host get a copy, too | off for what must not hear itself | the sender's option
IPV6_MULTICAST_ALL | a socket gets what others on its host have joined, too | 0 for several sockets on one port | -
UDP_CORK | collects writes into one datagram until it is taken out | heads and bodies | -
SO_ZEROCOPY | MSG_ZEROCOPY: the kernel sends from the program's own pages | large sends | not here: ENOPROTOOPT
SO_TIMESTAMPING | times of sending and receiving, taken by kernel or card | measurement | not here: ENOPROTOOPT
SO_TIMESTAMPING_NEW | as SO_TIMESTAMPING, with 64-bit times | measurement | not here: ENOPROTOOPT
TCP_ZEROCOPY_RECEIVE | maps received pages into the program | large receives | not here: ENOPROTOOPT
TCP_MD5SIG | signs segments with MD5 (RFC 2385) | BGP | not here: ENOPROTOOPT
TCP_ULP | a protocol on top of TCP in the kernel, such as TLS | kernel TLS | not here: ENOPROTOOPT
"""
