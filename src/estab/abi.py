"""The numbers of Linux's socket interface, for rooms that may not import ``socket``.

The core uses these on every platform; ``sockets`` translates if the operating system's numbers differ.
"""

from __future__ import annotations

from typing import Final

AF_UNSPEC: Final = 0
AF_UNIX: Final = 1
AF_INET: Final = 2
AF_INET6: Final = 10
SOCK_STREAM: Final = 1
SOCK_DGRAM: Final = 2
SOCK_SEQPACKET: Final = 5
SOL_SOCKET: Final = 1
IPPROTO_IP: Final = 0
IPPROTO_ICMP: Final = 1
IPPROTO_TCP: Final = 6
TCP_CM_INQ: Final = 36
IPPROTO_UDP: Final = 17
IPPROTO_IPV6: Final = 41
IPPROTO_ICMPV6: Final = 58

# IP_MTU_DISCOVER and IPV6_MTU_DISCOVER.
IP_PMTUDISC_DONT: Final = 0
IP_PMTUDISC_WANT: Final = 1
IP_PMTUDISC_DO: Final = 2
IP_PMTUDISC_PROBE: Final = 3
IP_PMTUDISC_INTERFACE: Final = 4
IP_PMTUDISC_OMIT: Final = 5

SHUT_RD: Final = 0
SHUT_WR: Final = 1
SHUT_RDWR: Final = 2

MSG_OOB: Final = 0x1
MSG_PEEK: Final = 0x2
MSG_CTRUNC: Final = 0x8
MSG_TRUNC: Final = 0x20
MSG_DONTWAIT: Final = 0x40
MSG_EOR: Final = 0x80
MSG_WAITALL: Final = 0x100
MSG_ERRQUEUE: Final = 0x2000
MSG_NOSIGNAL: Final = 0x4000
MSG_MORE: Final = 0x8000
MSG_FASTOPEN: Final = 0x20000000

# Types of ancillary data, by level.
SCM_RIGHTS: Final = 1
SCM_CREDENTIALS: Final = 2
IP_TOS: Final = 1
IP_TTL: Final = 2
IP_PKTINFO: Final = 8
IP_RECVERR: Final = 11
IPV6_RECVERR: Final = 25
IPV6_PKTINFO: Final = 50
IPV6_HOPLIMIT: Final = 52
IPV6_TCLASS: Final = 67

# ioctl requests on sockets.
SIOCOUTQ: Final = 0x5411
SIOCINQ: Final = 0x541B
SIOCOUTQNSD: Final = 0x894B
SIOCATMARK: Final = 0x8905

POLLIN: Final = 0x1
POLLPRI: Final = 0x2
POLLOUT: Final = 0x4
POLLERR: Final = 0x8
POLLHUP: Final = 0x10
POLLNVAL: Final = 0x20
POLLRDNORM: Final = 0x40
POLLWRNORM: Final = 0x100
POLLWRBAND: Final = 0x200
POLLRDHUP: Final = 0x2000
READ_BITS: Final = POLLIN | POLLRDHUP | POLLHUP | POLLERR
"""What ends the wait of a call that receives."""
WRITE_BITS: Final = POLLOUT | POLLHUP | POLLERR
"""What ends the wait of a call that sends."""

# TCP states as Linux numbers them in tcp_info and /proc/net/tcp.
ESTABLISHED: Final = 1
SYN_SENT: Final = 2
SYN_RECEIVED: Final = 3
FIN_WAIT_1: Final = 4
FIN_WAIT_2: Final = 5
TIME_WAIT: Final = 6
CLOSED: Final = 7
CLOSE_WAIT: Final = 8
LAST_ACK: Final = 9
LISTEN: Final = 10
CLOSING: Final = 11
