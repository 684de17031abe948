"""States of a connection and errnos of its calls: rows ``NAME | what | caused by | see | do``."""

from __future__ import annotations

from typing import Final

__all__ = ["ERRNOS", "STATES"]

STATES: Final = """
CLOSED | there is no connection: no TCB | socket() before connect() or listen(), or the end of it all | ss does not
    list it (UNCONN) | -
LISTEN | a port waits for connections; two queues belong to it | listen() | ss -ltn: Recv-Q of Send-Q wait for
    accept() | call accept() fast enough
SYN-SENT | a SYN is out, no answer yet | connect() | ss -tan state syn-sent | if it stays: host down, filter, full
    queue (estab doctor)
SYN-RECEIVED | a SYN came, the SYN-ACK is out, the last ACK is missing | a client in the middle of its handshake, or
    a SYN flood | ss -tan state syn-recv | many: net.ipv4.tcp_syncookies, backlog
ESTABLISHED | both ends agree; text flows both ways | the handshake is done, also before accept() | ss -tan state
    established | idle without keepalive it may be half open and nobody knows
FIN-WAIT-1 | this end has closed, its FIN is not acknowledged | close() or shutdown(SHUT_WR) | ss -tano state
    fin-wait-1 | if it stays, the peer is silent: net.ipv4.tcp_orphan_retries
FIN-WAIT-2 | this end's FIN is acknowledged, the peer's FIN is awaited | a peer that does not close | ss -tan state
    fin-wait-2 | the peer's program is in CLOSE-WAIT; net.ipv4.tcp_fin_timeout ends it after close()
CLOSE-WAIT | the peer has closed, this end's program has not | a program that does not call close() | ss -tanp state
    close-wait names the process | close the socket after recv() returned nothing; no timer ends it
CLOSING | both ends closed at the same time, and the peer's FIN came before the ACK of ours | simultaneous close |
    rare in ss | -
LAST-ACK | the peer closed first, this end's FIN is not acknowledged | close() after the peer's | ss -tano state
    last-ack | if it stays, the peer is silent
TIME-WAIT | the connection is over; this end, which closed first, remembers it for a minute | closing first | ss
    -tan state time-wait | nothing, unless ports run out: keep connections open, net.ipv4.tcp_tw_reuse
"""

ERRNOS: Final = """
EACCES | the program may not do that to this address | sendto() to a broadcast address without SO_BROADCAST; a port
    below 1024 | strace | SO_BROADCAST, or the rights
EADDRINUSE | the address and port are taken | a server that runs already, or connections of its predecessor | ss
    -ltnp | SO_REUSEADDR before bind(); end the other one
EADDRNOTAVAIL | no such address here, or no local port is left | bind() to another host's address; TIME-WAIT on all
    ports | ip addr; ss -tan state time-wait | the right address; keep connections open,
    net.ipv4.ip_local_port_range
EAFNOSUPPORT | the socket is of another family than the address | an IPv4 address for an IPv6 socket, or the reverse
    | the traceback | getaddrinfo(), create_connection()
EAGAIN | nothing to read, or no room to write, and the call was not to wait | a non-blocking socket, or SO_RCVTIMEO
    that ran out | the traceback (BlockingIOError) | wait with select or asyncio and call again
EALREADY | connect() is under way already | connect() again on a non-blocking socket | the traceback | wait until it
    is writable, then read SO_ERROR
EBADF | the descriptor is not open | a socket that was closed, by another thread perhaps | the traceback | find who
    closed it
ECONNABORTED | the connection ended before accept() took it | a client that reset in the queue | strace | call
    accept() again
ECONNREFUSED | nobody listens on that port; for UDP, an ICMP error said so | a server that is down, or listens on
    another address | ss -ltn at the server | start it, or use the right port
ECONNRESET | the peer ended the connection with a reset | a peer that crashed, closed with unread text, aborted, or
    restarted | a capture: estab doctor FILE says which | the cure that estab doctor names for it
EDESTADDRREQ | a datagram without a destination | send() on an unconnected UDP socket | the traceback | sendto(), or
    connect() first
EDOM | the time is not a valid one | SO_RCVTIMEO with a million microseconds and more | the traceback | a valid struct
    timeval
EEXIST | it is there already | adding an address or route twice | ip addr, ip route | nothing, mostly
EHOSTDOWN | the host is down, as its neighbour says | an old ARP entry | ip neigh | is the host up?
EHOSTUNREACH | no way to the host | a router's ICMP error, or a neighbour that does not answer | tcpdump icmp or arp
    | is the host up, is the route right?
EINPROGRESS | connect() goes on in the background | a non-blocking socket | the traceback (BlockingIOError) | wait
    until it is writable, then read SO_ERROR
EINTR | a signal came in the middle | Ctrl-C, timers | strace | Python repeats the call by itself
EINVAL | an argument makes no sense here | listen() on a connected socket, a value out of range | the message names
    it | correct the call
EIO | input or output failed | a device under the stack | dmesg | look at the device
EISCONN | the socket is connected already | connect() twice, sendto() with an address | the traceback | use the
    connection, or make another socket
ELOOP | too many links, or nested polling | epoll in epoll | the traceback | do not nest
EMFILE | the process has too many descriptors | sockets that are not closed | ls /proc/PID/fd; ss -tanp | close them
    (CLOSE-WAIT?), or ulimit -n
EMSGSIZE | a datagram is larger than may be sent | more than 65,507 bytes, or more than the path's MTU with DF | the
    traceback | smaller datagrams
ENETDOWN | the interface is down | ip link set … down | ip link | bring it up
ENETUNREACH | no route to that network | no default route, IPv6 without a router | ip route get ADDRESS | add the
    route
ENFILE | the system has too many open files | very many sockets | sysctl fs.file-nr | close them; fs.file-max
ENOBUFS | no memory for packets | a queue of the device that is full | ip -s link | slow down
ENODEV | no such device | a name that is wrong, or a device that went | ip link | the right name
ENOENT | no such file: a namespace, a socket's path | a wrong name | ls /var/run/netns | the right name
ENOMEM | no memory | limits of memory | dmesg | -
ENOPROTOOPT | the socket has no such option | an option of another system or level | the message names it | leave it
    out
ENOSYS | not here | a call that this system lacks | the message | -
ENOTCONN | the socket is not connected | getpeername() or send() before connect(), or after a reset | the traceback
    | connect first; if it was connected, it is over
ENOTSOCK | the descriptor is no socket | a file's number | the traceback | the right descriptor
ENXIO | no such device or address | a device that has gone | ip link | -
EOPNOTSUPP | the socket can't do that | accept() on UDP, an option's level | the message | another kind of socket
EPERM | not permitted | devices, namespaces and raw sockets need rights | id; capsh --print | root, or CAP_NET_ADMIN
EPIPE | this end can't send any more: shut down, or the connection was reset | send() after shutdown(SHUT_WR), or
    after a reset | the traceback (BrokenPipeError) | read before writing: the peer may have closed
EPROTO | the protocol was broken | a peer that breaks its own rules | a capture | look at the peer
EPROTONOSUPPORT | no such protocol for this kind of socket | socket(AF_INET, SOCK_STREAM, IPPROTO_UDP) | the
    traceback | the right pair
EPROTOTYPE | the Unix socket of that name is of another kind | SOCK_DGRAM to a listener of SOCK_STREAM | ss -xl; the
    traceback | the kind of the one that is bound to the name
ESHUTDOWN | the transport was shut down | a device that is going | dmesg | -
ESOCKTNOSUPPORT | no such kind of socket | SOCK_RAW here | the traceback | another kind
ESPIPE | no seeking | lseek() on a socket | the traceback | -
ETIMEDOUT | nobody answered for long enough: SYNs, text or keepalive probes | a host that is down, a cut cable, a
    firewall that forgot the flow | ss -tano shows the timer; estab doctor says when it will come |
    TCP_USER_TIMEOUT, tcp_retries2, tcp_syn_retries or keepalive decide after how long
EFAULT | a bad address was given to the kernel | a program in C | strace | -
ECHILD | no child process | - | - | -
ENOTTY | the descriptor does not know this ioctl | FIONREAD on something else | the traceback | -
ENAMETOOLONG | a name is too long | a congestion control or device name | the traceback | -
ERANGE | a number is out of range | - | the message | -
ENOTSUP | the socket can't do that | see EOPNOTSUPP | the message | another kind of socket
EBUSY | the device is in use | a TUN device that another process has | ip link; fuser /dev/net/tun | end the other
    one, or take another name
EDQUOT | the user's quota of disk space is used up | a capture that grows | quota | make room
EFBIG | a file would be too large | a capture that grows beyond its limit | ls -l | a smaller capture
ENOSPC | no space left on the device | a capture that fills the disk | df | make room
ENOTDIR | a part of a path is no folder | a wrong path | the traceback | the right path
ESRCH | no such process, or no such entry | a process that has ended | ps | -
"""
