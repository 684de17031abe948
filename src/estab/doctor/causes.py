"""The one table of causes: what the doctor can find, what it means, and what to do about it.

- A cause has a name that stays: it is in ``--json``, in the tests and in the documentation, which is made from here.
- ``kind`` says how grave it is: a ``fault`` stops a connection, ``slow`` costs time, a ``limit`` says only what holds a
  healthy transfer up, an ``artefact`` is no fault of the connection at all, a ``note`` is good to know.
- Cures name the sysctl or the socket option.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["CAUSES", "Cause", "cause"]


@dataclass(frozen=True, slots=True)
class Cause:
    """A row of the table. ``seen_in``: ``sockets``, ``captures``, or only ``recordings`` of the lab. ``terms``: what
    ``estab explain`` has about it.
    """

    name: str
    kind: str
    title: str
    what: str
    cures: tuple[str, ...]
    terms: tuple[str, ...] = ()
    seen_in: tuple[str, ...] = ("captures",)


_BOTH: Final = ("sockets", "captures")
_LIVE: Final = ("sockets",)

_ROWS: Final = (
    Cause("syn-unanswered", "fault", "no answer to the SYN",
          "Nothing comes back: the host is down, a filter drops the SYN or its answer, or the listener's queues are "
          "full.",
          ("set a timeout for connect(): socket.settimeout(), or TCP_USER_TIMEOUT",
           "net.ipv4.tcp_syn_retries bounds how often the SYN is repeated (6: about 131 s, before Linux 6.5 127 s)",
           "look for a filter between the two, and whether the address is right"),
          ("SYN-SENT", "ETIMEDOUT", "tcp_syn_retries"), _BOTH),
    Cause("refused", "fault", "refused: nobody listens on the port",
          "The SYN was answered by a reset: the host is there, but no program listens on that address and port.",
          ("start the server, or connect to the port it has (ss -ltn)",
           "the server may listen on 127.0.0.1 only: bind to 0.0.0.0 or ::"),
          ("ECONNREFUSED", "SYN-SENT"), _BOTH),
    Cause("peer-not-reading", "fault", "the peer does not read",
          "The peer's receive window is closed: its TCP is alive and answers probes, its program does not call recv().",
          ("look at the peer's program: blocked, stopped, or slower than its input",
           "TCP_USER_TIMEOUT ends the connection if the window stays closed; without it the probes go on for ever",
           "bound what is queued: send with a timeout, or TCP_NOTSENT_LOWAT"),
          ("TCP_USER_TIMEOUT", "tcp_retries2"), _BOTH),
    Cause("not-reading", "fault", "this host's program does not read",
          "The receive queue is full or grows (Recv-Q), and the window that this host offers closes: recv() is not "
          "called.",
          ("look at the program: which thread should call recv(), and what is it blocked in?",
           "a program that does not want more should say so: close(), or shutdown(SHUT_RD)"),
          ("SO_RCVBUF", "tcp_rmem"), _BOTH),
    Cause("path-silent", "fault", "the path went silent",
          "What was sent is repeated with doubling waits and nothing comes back: the peer's host is gone, or the "
          "path is.",
          ("TCP_USER_TIMEOUT (in ms) says how long unacknowledged text may wait; the default is about 15 minutes",
           "net.ipv4.tcp_retries2 bounds it for all sockets (15: 924.6 s at the shortest)",
           "keepalive alone does not help while text is unacknowledged"),
          ("ETIMEDOUT", "tcp_retries2", "TCP_USER_TIMEOUT"), _BOTH),
    Cause("half-open", "fault", "half open: the peer forgot the connection",
          "The peer's host restarted, or a device on the path forgot the flow; the first text after the silence "
          "finds out.",
          ("SO_KEEPALIVE with TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT finds it while idle",
           "a heartbeat of the application finds it sooner"),
          ("SO_KEEPALIVE", "TCP_KEEPIDLE", "ECONNRESET"), _BOTH),
    Cause("unwatched-idle", "note", "idle, and nobody would notice if the peer were gone",
          "Nothing is unacknowledged and neither keepalive nor a user timeout is set: a dead peer stays unnoticed "
          "for ever.",
          ("SO_KEEPALIVE with TCP_KEEPIDLE (s), TCP_KEEPINTVL, TCP_KEEPCNT",
           "or a heartbeat of the application with a deadline for its answer"),
          ("SO_KEEPALIVE", "tcp_keepalive_time"), _LIVE),
    Cause("close-wait", "fault", "CLOSE-WAIT: the program does not close",
          "The peer has ended its stream and this end's program has not called close(): no timer of TCP's ends that.",
          ("close the socket once recv() returned nothing: with socket:, contextlib.closing, estab.messages.Reaper",
           "find who holds it: estab.messages.CloseWaitWatch names the line that read the end"),
          ("CLOSE-WAIT", "FIN-WAIT-2"), _BOTH),
    Cause("accept-queue-full", "fault", "accept queue full",
          "The listener's program does not call accept() fast enough: handshakes that are done are ignored, SYNs "
          "dropped.",
          ("call accept() from more threads or processes (SO_REUSEPORT), and do slow work elsewhere",
           "listen() with a larger backlog, up to net.core.somaxconn",
           "net.ipv4.tcp_abort_on_overflow=1 resets at once instead of letting clients wait"),
          ("ListenOverflows", "ListenDrops", "somaxconn", "tcp_abort_on_overflow"), _BOTH),
    Cause("syn-queue-full", "fault", "SYN queue full",
          "More handshakes are half done than the listener may hold; new SYNs are dropped, or answered by cookies.",
          ("net.ipv4.tcp_max_syn_backlog and listen()'s backlog bound it",
           "net.ipv4.tcp_syncookies=1 answers without a queue"),
          ("SYN-RECEIVED", "tcp_max_syn_backlog", "TCPReqQFullDrop"), _LIVE),
    Cause("syn-cookies", "note", "SYN cookies are at work",
          "The SYN queue was full, so handshakes are answered without state: a flood, or a backlog that is too small.",
          ("if the clients are real: a larger listen() backlog, net.ipv4.tcp_max_syn_backlog",
           "if not: cookies are the cure; leave net.ipv4.tcp_syncookies=1"),
          ("SyncookiesSent", "tcp_syncookies", "TCPReqQFullDoCookies"), _LIVE),
    Cause("syn-flood", "fault", "a flood of SYNs",
          "Many SYNs whose handshake never ends, from many addresses or ports: an attack, or a return path that is "
          "broken.",
          ("net.ipv4.tcp_syncookies=1 keeps honest clients served",
           "if the sources are real clients, look at the way back to them: their ACKs don't arrive"),
          ("SYN-RECEIVED", "tcp_syncookies")),
    Cause("scan", "note", "a scan",
          "One address tries many ports or hosts, and most of them refuse or are silent: no slow connection, a search.",
          ("nothing is wrong with a connection; a firewall may bound new connections a source",)),
    Cause("window-limited", "limit", "limited by the peer's window",
          "The sender waits for the receiver's window: its buffer is smaller than rate times round trip.",
          ("at the receiver: do not set SO_RCVBUF (it stops auto-tuning), or set it to rate times round trip",
           "net.ipv4.tcp_rmem's third number is what auto-tuning may reach",
           "a program that reads slowly closes the window as well"),
          ("SO_RCVBUF", "tcp_rmem", "tcp_moderate_rcvbuf"), _BOTH),
    Cause("send-buffer-limited", "limit", "limited by the send buffer",
          "What is in flight stays at one size, below window and congestion window: the send buffer holds no more.",
          ("do not set SO_SNDBUF (it stops auto-tuning), or set it to twice rate times round trip",
           "net.ipv4.tcp_wmem's third number is what auto-tuning may reach"),
          ("SO_SNDBUF", "tcp_wmem"), _BOTH),
    Cause("congestion-limited", "limit", "limited by the congestion window",
          "Each segment waits for an acknowledgment of the congestion control's: the path sets the pace.",
          ("nothing is wrong: the transfer takes what the path gives",
           "short transfers end in slow start: reuse connections, or raise initcwnd of the route"),
          ("TCP_CONGESTION",), _BOTH),
    Cause("loss", "slow", "loss on the path",
          "Segments are lost and sent again; the congestion window shrinks with each loss event.",
          ("find the lossy part of the path: a full queue, a bad cable, radio",
           "net.ipv4.tcp_congestion_control=bbr minds losses less",
           "a policer of the provider loses at a rate: pace below it (SO_MAX_PACING_RATE)"),
          ("TCPFastRetrans", "TCPTimeouts", "tcp_congestion_control"), _BOTH),
    Cause("dropped-locally", "slow", "this host's own queue drops packets",
          "The queue of an interface of the sender is full: packets are lost before they leave the host. TCP learns of "
          "it, takes the text back and slows down; UDP and others lose it.",
          ("find what sends more than the interface carries: tc -s qdisc, tc -s class; UDP without a pace, a tunnel",
           "pace it: SO_MAX_PACING_RATE, the fq qdisc",
           "if bursts are all: a longer queue (the qdisc's limit, ip link set DEV txqueuelen)"),
          ("QDISC_DROP", "TCPRetransFail", "SO_MAX_PACING_RATE"), ("sockets", "recordings")),
    Cause("pacing-limited", "limit", "limited by a pace",
          "Segments leave at an even pace that does not follow the acknowledgments: SO_MAX_PACING_RATE or a shaper.",
          ("SO_MAX_PACING_RATE is what the program asked for; a qdisc of this host (tc) may shape as well",),
          ("SO_MAX_PACING_RATE",), _BOTH),
    Cause("application-limited", "limit", "limited by the sending program",
          "Window and path have room, and the program writes too little or too late.",
          ("look at the program that writes: what does it wait for between two writes?",
           "write larger pieces; read the next piece while the last is sent"),
          (), _BOTH),
    Cause("nagle-delayed-ack", "slow", "Nagle against the delayed ACK",
          "A small write waits for the acknowledgment of the one before, which the peer delays by 40 ms and more.",
          ("TCP_NODELAY at the sender", "or one write instead of two: sendmsg() with a list, TCP_CORK, MSG_MORE",
           "TCP_QUICKACK at the receiver helps for a while only"),
          ("TCP_NODELAY", "TCP_QUICKACK", "DelayedACKs"), _BOTH),
    Cause("bufferbloat", "slow", "bufferbloat: a queue that stands",
          "The round trip grows to many times its shortest while a transfer runs: a queue before the slowest link is "
          "full.",
          ("a shorter queue with fq_codel or cake at the slowest link, or a shaper just below its rate",
           "net.ipv4.tcp_congestion_control=bbr keeps queues short; TCP_NOTSENT_LOWAT keeps the sender's own short"),
          ("TCP_NOTSENT_LOWAT", "tcp_congestion_control"), _BOTH),
    Cause("mtu-black-hole", "fault", "MTU black hole",
          "Small segments arrive and full ones never do, and no ICMP says so: some link carries less than its ends "
          "believe.",
          ("net.ipv4.tcp_mtu_probing=1 finds the size by itself",
           "let ICMP 'fragmentation needed' and 'packet too big' through; or clamp the MSS at the tunnel",
           "lower the interface's or the route's MTU (ip route ... mtu lock)"),
          ("tcp_mtu_probing", "TCPMTUPFail", "ip_no_pmtu_disc"), _BOTH),
    Cause("spurious-retransmission", "slow", "needless retransmissions",
          "What was sent again had arrived: the path was slower than the retransmission timeout for a while.",
          ("look at what makes the path's delay jump: radio, a queue, a virtual machine that stands still",
           "net.ipv4.tcp_frto and net.ipv4.tcp_sack / tcp_dsack let the sender take it back",
           "ip route ... rto_min, or TCP_RTO_MIN_US, if the path is known to jump"),
          ("TCPSpuriousRTOs", "TCPDSACKRecv", "tcp_frto"), _BOTH),
    Cause("reordering", "slow", "reordering on the path",
          "Segments overtake each other: several paths or queues in parallel. What looks like loss is none.",
          ("keep a flow on one path (ECMP and bonding by flow, not by packet)",
           "net.ipv4.tcp_reordering and tcp_max_reordering: how much is believed before it counts as loss"),
          ("TCPSACKReorder", "tcp_reordering"), _BOTH),
    Cause("reset-unread-data", "fault", "reset: closed with unread text",
          "The peer's program closed while text of ours was unread, or aborted: TCP answers close() with a reset then.",
          ("at the peer: read to the end before close(), or shutdown(SHUT_WR) and read until nothing comes",
           "an abort (SO_LINGER with 0) looks the same"),
          ("ECONNRESET", "SO_LINGER", "TCPAbortOnClose")),
    Cause("keepalive-race", "fault", "keep-alive race",
          "The server closed an idle connection while the client's next request was under way: the request met a "
          "reset.",
          ("keep idle connections at the client for less time than at the server",
           "repeat a request that is safe to repeat (idempotent) on a new connection"),
          ("ECONNRESET", "EPIPE")),
    Cause("slow-server", "slow", "the server's program is slow",
          "Its TCP acknowledges the request at once, its answer comes much later: the time is spent in the program.",
          ("profile the server; the network is not the reason",)),
    Cause("slow-client", "slow", "the client's program is slow",
          "The answer is there, and the client waits long before it asks again: the time is spent in its program.",
          ("look at the client's program between an answer and its next request",)),
    Cause("long-path", "slow", "the path is long",
          "Each round trip takes long, and the time of the connection is round trips.",
          ("fewer round trips: keep connections open, ask for several things at once, TCP_FASTOPEN, TLS 1.3",
           "move one end closer"),
          ("TCP_FASTOPEN",)),
    Cause("time-wait-ports", "fault", "ports used up by TIME-WAIT",
          "Connections to one address and port are closed by this end so fast that its local ports run out.",
          ("keep connections open instead of making new ones",
           "net.ipv4.ip_local_port_range; net.ipv4.tcp_tw_reuse=1 lets connect() take them over",
           "more local or remote addresses"),
          ("TIME-WAIT", "EADDRNOTAVAIL", "ip_local_port_range", "tcp_tw_reuse"), _LIVE),
    Cause("injected", "fault", "an injected answer",
          "Two different segments claim the same place in the stream: one of them is not the peer's.",
          ("TLS makes it harmless but for resets",
           "compare TTL and IP identification of the two: the forger is at another distance")),
    Cause("write-after-close", "fault", "written after the peer's close",
          "The peer had closed; text that came afterwards was answered by a reset.",
          ("read before writing: recv() that returns nothing says that the peer has ended",),
          ("EPIPE", "ECONNRESET", "TCPAbortOnData")),
    Cause("closed-while-connecting", "fault", "given up while connecting",
          "The client closed before the answer to its SYN came.",
          ("its timeout for connect() is shorter than this path needs",),
          ("SYN-SENT",)),
    Cause("close-unanswered", "slow", "the end is not acknowledged",
          "A FIN is repeated and nobody answers: the peer is gone, or has forgotten the connection.",
          ("net.ipv4.tcp_orphan_retries bounds it", "TCP_LINGER2 and net.ipv4.tcp_fin_timeout bound what comes after"),
          ("FIN-WAIT-1", "LAST-ACK", "tcp_orphan_retries"), _BOTH),
    Cause("reset", "fault", "reset by the peer",
          "The peer ended the connection at once: its program was killed or aborted, or a device on the path did.",
          ("look at the peer's log at that time; SO_LINGER with 0 aborts at close()",),
          ("ECONNRESET", "SO_LINGER")),
    Cause("idle-reset", "note", "an idle connection was reset",
          "One end ended a connection that both had left alone for a while: a keep-alive time-out, mostly.",
          ("nothing is wrong, unless the other end wanted to use it again: keep idle connections for less time there",),
          ("ECONNRESET", "SO_LINGER")),
    Cause("port-unreachable", "fault", "ICMP says that it can't be reached",
          "A router or the host answered with an ICMP error.",
          ("route or filter on the path; the ICMP error names who refused",),
          ("EHOSTUNREACH", "ENETUNREACH")),
    Cause("checksum-offload", "artefact", "checksums that the network card fills in",
          "Only packets that the capturing host sent have a wrong checksum: it is computed after the capture.",
          ("nothing is wrong: turn checksum validation off in the analyser, or ethtool -K DEV tx off to capture",)),
    Cause("captured-twice", "artefact", "captured twice",
          "The same packets stand in the file more than once: the capture saw two interfaces, or a mirrored port "
          "both ways.",
          ("capture on one interface, not on 'any'; editcap -d takes the copies out",)),
    Cause("capture-dropped", "artefact", "the capture lost packets",
          "Text is acknowledged that the file never shows: the capture could not keep up, the connection did.",
          ("a larger buffer (tcpdump -B), a shorter snap length (-s 96), a filter, a faster disk",)),
    Cause("vlan-collision", "artefact", "VLANs share a four-tuple",
          "Several connections have the same addresses and ports in different VLANs: not repetitions of one.",
          ("tell them apart by their tags (vlan.id); tools that forget tags show nonsense",)),
    Cause("one-way-capture", "artefact", "only one direction was captured",
          "Packets of one end alone are in the file: the other way goes over another interface or path.",
          ("capture where both directions pass",)),
)

CAUSES: Final = {row.name: row for row in _ROWS}
"""All causes by name."""


def cause(name: str) -> Cause:
    """Look one up. ``KeyError``."""
    return CAUSES[name]
