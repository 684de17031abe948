"""How people call what has another name here: rows ``what they say | the names that explain it``.

Error messages of the system (``Connection refused``) need no row: ``table.find`` asks the system for them.
"""

from __future__ import annotations

from typing import Final

__all__ = ["FIELD"]

FIELD: Final = """
abort | SO_LINGER ECONNRESET
accept queue | ListenOverflows ListenDrops somaxconn
ack storm | TCPACKSkippedSeq tcp_invalid_ratelimit
backlog | somaxconn tcp_max_syn_backlog ListenOverflows
broken pipe | EPIPE
challenge ack | TCPChallengeACK TCPSYNChallenge
connection reset | ECONNRESET
connection timed out | ETIMEDOUT
corking | TCP_CORK
dead peer | SO_KEEPALIVE TCP_USER_TIMEOUT ETIMEDOUT
delayed ack | DelayedACKs TCP_QUICKACK
dont fragment | IP_MTU_DISCOVER tcp_mtu_probing
duplicate ack | TCPDSACKRecv TCPFastRetrans
ephemeral ports | ip_local_port_range EADDRNOTAVAIL
fast open | TCP_FASTOPEN tcp_fastopen
fast retransmit | TCPFastRetrans
file descriptors | EMFILE
fin wait | FIN-WAIT-1 FIN-WAIT-2 tcp_fin_timeout
half closed | FIN-WAIT-2 CLOSE-WAIT
half close | FIN-WAIT-2 CLOSE-WAIT
half open | ESTABLISHED SO_KEEPALIVE
initial window | tcp_slow_start_after_idle
keepalive | SO_KEEPALIVE tcp_keepalive_time tcp_keepalive_intvl tcp_keepalive_probes
lingering close | SO_LINGER
loss probe | TCPLossProbes TCPLossProbeRecovery
mss | TCP_MAXSEG
nagle | TCP_NODELAY TCP_CORK
no route to host | EHOSTUNREACH
orphan | tcp_max_orphans tcp_orphan_retries
out of order | TCPOFOQueue
paws | PAWSEstab tcp_timestamps
persist | TCP_ZEROWINDOW tcp_retries2
persist timer | TCP_ZEROWINDOW tcp_retries2
port exhaustion | EADDRNOTAVAIL ip_local_port_range tcp_tw_reuse
receive buffer | SO_RCVBUF tcp_rmem
reset | ECONNRESET EstabResets OutRsts
retransmission timeout | TCPTimeouts tcp_retries2
retransmit | RetransSegs TCPTimeouts TCPFastRetrans
rst | ECONNRESET EstabResets OutRsts
rto | TCPTimeouts tcp_retries2
sack | tcp_sack TCPSackRecovery
send buffer | SO_SNDBUF tcp_wmem
simultaneous close | CLOSING
simultaneous open | SYN-RECEIVED
slow start | tcp_slow_start_after_idle
socket buffer | SO_RCVBUF SO_SNDBUF
syn backlog | tcp_max_syn_backlog TCPReqQFullDrop
syn cookies | tcp_syncookies SyncookiesSent
syn flood | tcp_syncookies TCPReqQFullDrop tcp_max_syn_backlog
syn queue | tcp_max_syn_backlog TCPReqQFullDrop
too many open files | EMFILE
urgent data | SO_OOBINLINE
window scaling | tcp_window_scaling
zero window | TCP_ZEROWINDOW TCPFromZeroWindowAdv TCPToZeroWindowAdv
zero window probe | TCP_ZEROWINDOW TCPWinProbe
"""
