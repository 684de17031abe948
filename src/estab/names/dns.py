"""A resolver of names: the hosts file, then name servers over the stack's own UDP, and TCP if an answer was cut.

- It does what glibc's does (resolv.conf(5)): the search list and ``ndots``, one server after the other, ``timeout``
  seconds for each, ``attempts`` times; both address families at once; no cache.
- An answer counts if it comes from the server that was asked, bears the number and the question, and parses.
- Messages are dnspython's; sockets and time are the runtime's, so it runs in virtual time as well.
"""

from __future__ import annotations

import contextlib
import socket as os_socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.reversename

from estab.errors import tell
from estab.sockets.socket.socket import Socket
from estab.units import SECOND
from estab.wire.address import format_address, parse_address

if TYPE_CHECKING:
    from estab.sockets.runtime import Runtime

__all__ = ["Resolver", "Servers", "read_resolv_conf"]

_PORT: Final = 53
_PAYLOAD_BYTES: Final = 1232
"""What a datagram may hold without being cut into fragments on any usual path (the DNS flag day of 2020)."""
_MESSAGE_BYTES_MAX: Final = 65_535
_SERVERS_MAX: Final = 3
_NDOTS_MAX: Final = 15
_TIMEOUT_S_MAX: Final = 30
_ATTEMPTS_MAX: Final = 5
_TRY_ANOTHER: Final = (dns.rcode.SERVFAIL, dns.rcode.NOTIMP, dns.rcode.REFUSED, dns.rcode.FORMERR)


@dataclass(frozen=True, slots=True)
class Servers:
    """Which servers to ask, and for how long. Times in seconds."""

    addresses: tuple[str, ...]
    search: tuple[str, ...] = ()
    ndots: int = 1
    """Names with fewer dots are tried in the search list first."""
    timeout_s: float = 5
    attempts: int = 2


def read_resolv_conf(text: str) -> Servers:
    """Read what resolv.conf(5) says, with its limits. Lines that make no sense count for nothing, as with glibc."""
    addresses: list[str] = []
    search: tuple[str, ...] = ()
    numbers = {"ndots": 1, "timeout": 5, "attempts": 2}
    limits = {"ndots": _NDOTS_MAX, "timeout": _TIMEOUT_S_MAX, "attempts": _ATTEMPTS_MAX}
    for line in text.splitlines():
        words = line.split()
        if not words or line[0] in "#;":
            continue
        if words[0] == "nameserver" and len(words) > 1 and len(addresses) < _SERVERS_MAX:
            with contextlib.suppress(ValueError):
                addresses.append(format_address(parse_address(words[1].partition("%")[0])))
        elif words[0] in ("search", "domain"):
            search = tuple(word.rstrip(".") for word in words[1:] if word != ".")
        elif words[0] == "options":
            for word in words[1:]:
                name, _, value = word.partition(":")
                if name in numbers and value.isdigit():
                    numbers[name] = min(int(value), limits[name])
    return Servers(tuple(addresses), search, numbers["ndots"], max(1, numbers["timeout"]), max(1, numbers["attempts"]))


class _UnansweredError(Exception):
    """No server gave an answer that settles it."""


class Resolver:
    """Looks names up, first with ``known`` and ``known_names``: the hosts file.

    ``runtime`` must be set before the first question.
    """

    def __init__(self, servers: Servers, known: Callable[[str, int], list[bytes]],
                 known_names: Callable[[bytes], list[str]], runtime: Runtime | None = None) -> None:
        self.servers = servers
        self.runtime = runtime
        self.queries = 0
        """How many messages were sent."""
        self._known = known
        self._known_names = known_names

    def resolve(self, name: str, family: int) -> list[bytes]:
        """Return a name's addresses, IPv4 first; none if there are none.

        ``socket.gaierror`` EAI_AGAIN if no server answers.
        """
        found = self._known(name, family)
        if found or not self.servers.addresses:
            return found
        failure: _UnansweredError | None = None
        for candidate in self._candidates(name):
            try:
                answers = self._ask(candidate, (dns.rdatatype.A, dns.rdatatype.AAAA))
            except _UnansweredError as error:
                failure = error
                continue
            addresses = [parse_address(text) for texts in answers for text in texts]
            if addresses:
                return addresses
        if failure is not None:
            late = os_socket.gaierror(os_socket.EAI_AGAIN, "Temporary failure in name resolution")
            raise tell(late, str(failure)) from None
        return []

    def reverse(self, address: bytes) -> list[str]:
        """Return an address's names; none if there are none, or no server answers."""
        found = self._known_names(address)
        if found or not self.servers.addresses:
            return found
        try:
            question = dns.reversename.from_address(format_address(address))
            [names] = self._ask(question, (dns.rdatatype.PTR,))
        except _UnansweredError:
            return []
        return [name.rstrip(".") for name in names]

    # --- inside

    def _candidates(self, name: str) -> Iterator[dns.name.Name]:
        """Return the full names that may be meant, in the order in which they are tried."""
        try:
            plain = dns.name.from_text(name.encode("idna").decode("ascii") if not name.isascii() else name)
        except (dns.exception.DNSException, UnicodeError):
            return
        longer = []
        if not name.endswith("."):
            for domain in self.servers.search:
                with contextlib.suppress(dns.exception.DNSException):
                    longer.append(dns.name.from_text(f"{name}.{domain}"))
        if name.endswith(".") or name.count(".") >= self.servers.ndots:
            yield plain
            yield from longer
        else:
            yield from longer
            yield plain

    def _ask(self, name: dns.name.Name, kinds: tuple[dns.rdatatype.RdataType, ...]) -> list[list[str]]:
        """Return the answers to one question of each kind, as text."""
        reasons: dict[str, str] = {}
        for _ in range(self.servers.attempts):
            for server in self.servers.addresses:
                try:
                    return self._ask_server(server, name, kinds)
                except TimeoutError:
                    reasons[server] = "does not answer"
                except (_UnansweredError, OSError) as error:
                    reasons[server] = str(error)
        text = "; ".join(f"{server} {reason}" for server, reason in reasons.items())
        raise _UnansweredError(f"{name.to_text(omit_final_dot=True)}: {text}")

    def _ask_server(self, server: str, name: dns.name.Name,
                    kinds: tuple[dns.rdatatype.RdataType, ...]) -> list[list[str]]:
        assert self.runtime is not None
        deadline_ns = self.runtime.now_ns + int(self.servers.timeout_s * SECOND)
        asked: dict[dns.rdatatype.RdataType, dns.message.QueryMessage] = {}
        for kind in kinds:
            message = dns.message.make_query(name, kind, use_edns=0, payload=_PAYLOAD_BYTES)
            message.id = int.from_bytes(self.runtime.entropy(2), "big")
            asked[kind] = message
        answers: dict[dns.rdatatype.RdataType, list[str]] = {}
        with self._socket(server, os_socket.SOCK_DGRAM) as sock:
            sock.connect((server, _PORT))
            for message in asked.values():
                self.queries += 1
                sock.send(message.to_wire())
            while len(answers) < len(asked):
                self._wait_until(sock, deadline_ns)
                data = sock.recv(_MESSAGE_BYTES_MAX)
                for kind, message in asked.items():
                    response = _read(data, message)
                    if response is None or kind in answers:
                        continue
                    if response.flags & dns.flags.TC:
                        response = self._ask_by_tcp(server, message, deadline_ns)
                    answers[kind] = _texts(response)
        return [answers[kind] for kind in kinds]

    def _ask_by_tcp(self, server: str, message: dns.message.QueryMessage, deadline_ns: int) -> dns.message.Message:
        """Ask again if there is room for any answer (RFC 7766)."""
        self.queries += 1
        wire = message.to_wire()
        with self._socket(server, os_socket.SOCK_STREAM) as sock:
            self._wait_until(sock, deadline_ns)
            sock.connect((server, _PORT))
            sock.sendall(len(wire).to_bytes(2, "big") + wire)
            size = int.from_bytes(self._receive(sock, 2, deadline_ns), "big")
            response = _read(self._receive(sock, size, deadline_ns), message)
        if response is None:
            raise _UnansweredError("gives no answer that makes sense")
        return response

    def _socket(self, server: str, kind: int) -> Socket:
        family = os_socket.AF_INET6 if ":" in server else os_socket.AF_INET
        return Socket(family, kind, runtime=self.runtime)

    def _receive(self, sock: Socket, size: int, deadline_ns: int) -> bytes:
        data = b""
        while len(data) < size:
            self._wait_until(sock, deadline_ns)
            part = sock.recv(size - len(data))
            if not part:
                raise _UnansweredError("hangs up in the middle of an answer")
            data += part
        return data

    def _wait_until(self, sock: Socket, deadline_ns: int) -> None:
        """Let the socket's next call wait until the deadline, and no longer."""
        assert self.runtime is not None
        left_ns = deadline_ns - self.runtime.now_ns
        if left_ns <= 0:
            raise TimeoutError("timed out")
        sock.settimeout(left_ns / SECOND)


def _read(data: bytes, asked: dns.message.QueryMessage) -> dns.message.Message | None:
    """Read a message, if it is an answer to what was asked. Messages of other senders to the port are ignored."""
    try:
        response = dns.message.from_wire(data, ignore_trailing=True, raise_on_truncation=False)
    except (dns.exception.DNSException, ValueError):
        return None
    if not response.flags & dns.flags.QR or response.id != asked.id or response.question != asked.question:
        return None
    return response


def _texts(response: dns.message.Message) -> list[str]:
    """Return the records that answer the question, after all CNAMEs."""
    if response.rcode() in _TRY_ANOTHER:
        raise _UnansweredError(f"says {dns.rcode.to_text(response.rcode())}")
    if not isinstance(response, dns.message.QueryMessage):
        return []
    try:
        answer = response.resolve_chaining().answer
    except dns.exception.DNSException:
        return []
    return [] if answer is None else [record.to_text() for record in answer]
