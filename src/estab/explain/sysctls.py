"""When to change a sysctl: rows ``NAME | for | mind``. ``host.sysctls`` says what each does."""

from __future__ import annotations

from typing import Final

__all__ = ["SYSCTLS"]

SYSCTLS: Final = """
tcp_syn_retries | clients that must know sooner than after two minutes that no host answers | a timeout of the
    program, or TCP_SYNCNT, changes one connection only
tcp_synack_retries | servers under SYN floods: 2 forgets half-open connections sooner | clients on lossy paths need
    the retries
tcp_syn_linear_timeouts | - | new in Linux 6.5: the first timeouts of a SYN come each second
tcp_max_syn_backlog | servers with many new connections a second, or with SYN-RECV rows near the limit | listen()'s
    backlog bounds it too
tcp_syncookies | leave 1; 0 only to test what a full queue does | cookies keep options only through timestamps
tcp_abort_on_overflow | servers behind a balancer that can try another one | clients see ECONNRESET instead of waiting
somaxconn | servers whose listen() asks for more (ListenOverflows grows) | the program's own backlog must be as large
tcp_fastopen | clients and servers that save a round trip | requests on SYNs may arrive twice
tcp_timestamps | - | PAWS, RTT and cookies with options need it; leave 1
tcp_sack | - | leave 1: without it each loss costs a round trip
tcp_dsack | - | leave 1: needless retransmissions are found by it
tcp_window_scaling | - | leave 1: windows are 64 KiB at most without it
tcp_mem | hosts with very many connections: the third number times 4,096 is the most that all hold together | at the
    third number text is dropped, programs wait, and closed connections are reset
tcp_rmem | receivers on long fast paths: the third number must hold rate times round trip | SO_RCVBUF of a program
    stops auto-tuning
tcp_wmem | senders on long fast paths: the third number must hold rate times round trip | SO_SNDBUF of a program
    stops auto-tuning
tcp_moderate_rcvbuf | - | leave 1: it is the auto-tuning
rmem_max | programs that set SO_RCVBUF and get less | better let auto-tuning do it
wmem_max | programs that set SO_SNDBUF and get less | better let auto-tuning do it
tcp_retries1 | - | after so many timeouts the route is asked again
tcp_retries2 | hosts whose programs can't set TCP_USER_TIMEOUT and must know sooner than after 924.6 s that a peer
    is gone | 8 is about 100 s; RFC 1122 wants at least that
tcp_orphan_retries | servers with many connections in FIN-WAIT-1 | fewer retries give up sooner a peer that is only slow
tcp_thin_linear_timeouts | games and chats: streams with few segments in flight | more load on a path in trouble
tcp_rto_min_us | data centres with round trips of microseconds | too low makes needless timeouts with delayed ACKs
tcp_rto_max_ms | hosts that must notice sooner that a path is back | new in Linux 6.15
tcp_reordering | - | how much reordering is believed before it counts as loss
tcp_congestion_control | lossy or long paths (bbr); data centres with ECN (dctcp) | TCP_CONGESTION changes one socket
tcp_slow_start_after_idle | servers with long-lived connections and bursts: 0 | bursts after idle times may be lost
tcp_notsent_lowat | senders that should keep little unsent (HTTP/2, video) | TCP_NOTSENT_LOWAT changes one socket
tcp_ecn | hosts that want marks instead of losses: 1 asks for it | some old middleboxes drop such SYNs; the fallback
    repeats without
tcp_fin_timeout | servers with many FIN-WAIT-2: 15 | it concerns closed sockets only
tcp_max_tw_buckets | servers with more than 262,144 closes a minute | TIME-WAIT protects the next connection from
    old segments
tcp_tw_reuse | clients that run out of ports towards one server: 1 | the default 2 does it on loopback only
tcp_rfc1337 | - | leave 0, unless old or forged resets end TIME-WAIT too early
tcp_max_orphans | hosts with TCPAbortOnMemory | closed connections to dead peers cost memory
tcp_keepalive_time | hosts behind firewalls that forget idle flows: less than their memory | only sockets with
    SO_KEEPALIVE; TCP_KEEPIDLE changes one
tcp_keepalive_intvl | with tcp_keepalive_time | time until a dead peer is known: time + intvl x probes
tcp_keepalive_probes | with tcp_keepalive_time | time until a dead peer is known: time + intvl x probes
tcp_mtu_probing | hosts whose full segments vanish (MTU black hole): 1 | the first search costs some timeouts
tcp_base_mss | with tcp_mtu_probing | where the search begins
ip_no_pmtu_disc | hosts behind a black hole that can't be repaired | packets may be cut then, and are lost together
ip_local_port_range | clients with many connections to one server | every port counts for each destination address
    and port anew
auto_flowlabels | 0 on paths with routers that drop packets with a flow label | routers spread flows over links by it
flowlabel_reflect | servers behind balancers that go by the flow label | -
ip_forward | routers | -
igmp_max_memberships | programs that join more than 20 groups by a socket (ENOBUFS) | -
igmp_max_msf | programs that name more than 10 sources for a group (ENOBUFS) | -
mld_max_msf | programs that name more than 64 sources for an IPv6 group (ENOBUFS) | -
icmp_ratelimit | - | it bounds what a stranger can make this host send
icmp_msgs_per_sec | - | it bounds what strangers can make this host send, to all receivers together
"""
