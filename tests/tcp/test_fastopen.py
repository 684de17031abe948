"""TCP Fast Open (RFC 7413): keys and cookies, the client's cache and pauses, the server's pending connections."""

from __future__ import annotations

import errno
import random

import pytest

from estab import abi
from estab.counters import Counters
from estab.errors import WireError
from estab.events import SegmentSent, StateChanged
from estab.sockets.socket.tcp_info import pack_tcp_info, unpack_tcp_info
from estab.tcp.arriving.fastopen_client import put_text
from estab.tcp.config import Config
from estab.tcp.context import Owner
from estab.tcp.fastopen import (
    CLIENT_NO_COOKIE,
    SERVER,
    SERVER_NO_COOKIE,
    HostFastOpen,
    key_bytes,
    key_text,
    make_cookie,
    which_key,
)
from estab.tcp.listening.listener import Listener
from estab.tcp.record.fast_open import FastOpen
from estab.tcp.siphash import siphash
from estab.wire.address import parse_address
from estab.wire.tcp import ACK, RST, SYN
from tests.kit.pair import MS, SECOND, Pair
from tests.kit.peer import Peer, Seen

KEY = bytes(range(16))
COOKIE = bytes(range(8))


# --- SipHash, keys, cookies


def test_siphash_gives_the_numbers_of_its_authors() -> None:
    # Aumasson and Bernstein's own example, and the first entries of their table of vectors: messages of 0 to 16 bytes.
    assert siphash(KEY, bytes(range(15))) == 0xA129CA6149BE45E5
    vectors = ("310e0edd47db6f72 fd67dc93c539f874 5a4fa9d909806c0d 2d7efbd796666785 b7877127e09427cf 8da699cd64557618 "
               "cee3fe586e46c9cb 37d1018bf50002ab 6224939a79f5f593 b0e4a90bdf82009e f3b9dd94c5bb5d7a a7ad6b22462fb3f4 "
               "fbe50e86bc8f1e75 903d84c02756ea14 eef27a8e90ca23f7 e545be4961ca29a1 db9bc2577fcc2a3f")
    for size, vector in enumerate(vectors.split()):
        assert siphash(KEY, bytes(range(size))).to_bytes(8, "little").hex() == vector


@pytest.mark.parametrize("size", [0, 15, 17])
def test_siphash_takes_no_other_key(size: int) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        siphash(bytes(size), b"")


def test_a_key_reads_and_writes_as_linux_does() -> None:
    text = "a0bf63f7-ed803d81-cd641d30-cebc4a90"
    assert key_bytes(text).hex() == "f763bfa0813d80ed301d64cd904abcce"
    assert key_text(key_bytes(text)) == text
    both = f"{text},00000001-00000002-00000003-00000004"
    assert len(key_bytes(both)) == 32
    assert key_text(key_bytes(both)) == both
    assert key_bytes("1-2-3-4") == key_bytes("00000001-00000002-00000003-00000004")


@pytest.mark.parametrize("text", [
    "", "1-2-3", "1-2-3-4-5", "1-2-3-100000000", "1-2-3-", "1-2-3-x", "1-2-3-+4", "1-2-3- 4", "1-2-3-4,1-2-3-4,1-2-3-4",
])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        key_bytes(text)


@pytest.mark.parametrize(("remote", "local", "cookie"), [
    ("192.0.2.1", "192.168.0.1", "3021b9d889017eeb"),
    ("fd3d:fa7b:d17d::1", "fd3d:0a0b:17d6::1", "c1d1e9742a47a9bc"),
])
def test_a_cookie_is_the_one_that_a_linux_kernel_makes(remote: str, local: str, cookie: str) -> None:
    key = key_bytes("a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4")
    assert make_cookie(key, parse_address(remote), parse_address(local)).hex() == cookie


def test_a_cookie_is_good_for_its_two_addresses_and_keys_only() -> None:
    here, there, other = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), bytes([10, 0, 0, 3])
    first, second = KEY, KEY[::-1]
    cookie = make_cookie(second, there, here)
    assert which_key(first + second, there, here, cookie) == 2
    assert which_key(second + first, there, here, cookie) == 1
    assert which_key(first, there, here, cookie) == 0
    assert which_key(first + second, other, here, cookie) == 0
    assert which_key(first + second, there, other, cookie) == 0
    for size in range(17):
        assert (which_key(second, there, here, (cookie * 3)[:size]) == 1) == (size == 8)


# --- what a host remembers


def host(**settings: object) -> tuple[HostFastOpen, Config, Counters]:
    config, counters = Config(), Counters()
    for name, value in settings.items():
        config.set(name, value)
    return HostFastOpen(config, counters, b"s" * 32), config, counters


def test_the_cache_has_a_bound_and_the_oldest_makes_room() -> None:
    fast_open, _, counters = host(fastopen_cookies_max=3)
    for number in range(5):
        fast_open.remember(b"here", bytes([number]), 1000 + number, COOKIE, False, 0)
    assert fast_open.cached_count() == 3
    assert fast_open.find(b"here", b"\1") is None
    entry = fast_open.find(b"here", b"\4")
    assert entry is not None
    assert (entry.mss, entry.cookie) == (1004, COOKIE)
    assert counters.EstabFastOpenCacheFull == 2


def test_a_cookie_is_for_the_address_that_it_was_given_to() -> None:
    fast_open, _, _ = host()
    fast_open.remember(b"here", b"there", 1000, COOKIE, False, 0)
    assert fast_open.find(b"elsewhere", b"there") is None


def test_a_syn_ack_without_a_cookie_leaves_the_old_one() -> None:
    fast_open, _, _ = host()
    fast_open.remember(b"here", b"there", 1000, COOKIE, False, 0)
    fast_open.remember(b"here", b"there", 900, b"", False, 1)
    entry = fast_open.find(b"here", b"there")
    assert entry is not None
    assert (entry.mss, entry.cookie, entry.try_experimental) == (900, COOKIE, 0)


def test_pauses_double_up_to_64_times_and_end_with_a_connection_that_works() -> None:
    fast_open, _, counters = host(tcp_fastopen_blackhole_timeout_ns=10 * SECOND)
    now_ns = SECOND
    for doublings in (0, 1, 2, 3, 4, 5, 6, 6, 6):
        fast_open.pause(now_ns)
        end_ns = now_ns + (10 * SECOND << doublings)
        assert fast_open.is_pausing(end_ns - 1)
        assert not fast_open.is_pausing(end_ns)
        assert fast_open.is_on_trial()
        now_ns = end_ns
    assert counters.TcpExtTCPFastOpenBlackhole == 9
    fast_open.on_end(now_ns, has_text=True, is_fin_early=False, proves_path=False)
    assert fast_open.is_on_trial(), "loopback proves nothing"
    fast_open.on_end(now_ns, has_text=True, is_fin_early=False, proves_path=True)
    assert not fast_open.is_on_trial()


def test_without_a_blackhole_timeout_nothing_pauses() -> None:
    fast_open, _, counters = host()
    fast_open.pause(SECOND)
    assert not fast_open.is_pausing(SECOND)
    assert counters.TcpExtTCPFastOpenBlackhole == 0


def test_a_connection_that_got_nothing_but_a_fin_behind_a_gap_makes_a_pause() -> None:
    fast_open, _, _ = host(tcp_fastopen_blackhole_timeout_ns=SECOND)
    fast_open.on_end(SECOND, has_text=True, is_fin_early=True, proves_path=False)
    assert not fast_open.is_pausing(SECOND)
    fast_open.on_end(SECOND, has_text=False, is_fin_early=True, proves_path=False)
    assert fast_open.is_pausing(SECOND)


# --- the server


def server(limit: int = 4, flags: int = SERVER | SERVER_NO_COOKIE, **settings: object) -> tuple[Peer, Listener]:
    peer = Peer()
    peer.config.tcp_fastopen = flags
    for name, value in settings.items():
        peer.config.set(name, value)
    listener = peer.listen()
    listener.fast_open.queue.limit = limit
    return peer, listener


def open_fast(peer: Peer, text: bytes = b"hello", **fields: object) -> list[Seen]:
    """Send a SYN with text; learn the engine's number from its answer."""
    answers = peer.send(SYN, seq=0, ack=0, data=text, **fields)  # type: ignore[arg-type]
    for answer in answers:
        if answer.flags == "S.":
            peer.irs = int(answer.segment.seq)
    peer.seq, peer.ack = 1 + len(text), 1
    return answers


def test_the_text_of_a_syn_is_there_at_once_and_the_syn_ack_acknowledges_it() -> None:
    peer, listener = server()
    [answer] = open_fast(peer)
    assert (answer.flags, int(answer.segment.ack) - peer.iss) == ("S.", 6)
    child = listener.accept()
    assert child is not None
    assert child.state == abi.SYN_RECEIVED
    assert child.read(100, False, peer.now_ns) == b"hello"
    assert peer.counters.TcpExtTCPFastOpenPassive == 1


def test_a_listener_of_its_own_accord_takes_no_text() -> None:
    peer, listener = server(limit=0)
    [answer] = open_fast(peer)
    assert int(answer.segment.ack) - peer.iss == 1
    assert listener.accept() is None
    assert peer.counters.TcpExtTCPFastOpenPassive == 0


@pytest.mark.parametrize("flags", [0, 1, SERVER_NO_COOKIE])
def test_without_the_servers_bit_no_listener_takes_text(flags: int) -> None:
    peer, listener = server(flags=flags)
    [answer] = open_fast(peer)
    assert int(answer.segment.ack) - peer.iss == 1
    assert listener.accept() is None


def test_a_good_cookie_opens_and_a_bad_one_is_answered_with_a_good_one() -> None:
    peer, listener = server(flags=SERVER)
    [answer] = open_fast(peer, fast_open=b"")
    cookie = answer.segment.fast_open
    assert cookie is not None
    assert len(cookie) == 8
    assert listener.accept() is None
    peer.send(RST, seq=1)
    peer.peer_port += 1
    [answer] = open_fast(peer, fast_open=bytes([cookie[0] ^ 1]) + cookie[1:])
    assert answer.segment.fast_open == cookie
    assert int(answer.segment.ack) - peer.iss == 1
    assert peer.counters.TcpExtTCPFastOpenPassiveFail == 1
    peer.peer_port += 1
    [answer] = open_fast(peer, fast_open=cookie)
    assert answer.segment.fast_open is None
    assert int(answer.segment.ack) - peer.iss == 6
    assert (peer.counters.TcpExtTCPFastOpenCookieReqd, peer.counters.TcpExtTCPFastOpenPassive) == (1, 1)


def test_a_cookie_alone_opens_too_and_the_server_may_speak_first() -> None:
    peer, listener = server()
    [answer] = open_fast(peer, text=b"", fast_open=b"\0" * 8)
    assert answer.flags == "S."
    child = listener.accept()
    assert child is not None
    peer.connection = child
    [text] = peer.write(b"welcome")
    assert (text.seq, text.text) == (1, b"welcome")


def test_no_more_are_pending_than_the_limit_and_what_is_over_is_counted_and_seen() -> None:
    peer, listener = server(limit=2)
    for number in range(4):
        peer.peer_port = 5000 + number
        [answer] = open_fast(peer)
        assert int(answer.segment.ack) - peer.iss == (6 if number < 2 else 1)
    queues = listener.queues(peer.now_ns)
    assert (queues.fast_open_pending, queues.fast_open_limit, queues.fast_open_drops) == (2, 2, 2)
    assert [row.is_half_open for row in queues.accept] == [True, True]
    assert [row.unread_bytes for row in queues.accept] == [5, 5]
    assert len(queues.half_open) == 2
    assert peer.counters.TcpExtTCPFastOpenListenOverflow == 2


def test_the_third_segment_makes_room_for_another() -> None:
    peer, listener = server(limit=1)
    open_fast(peer)
    peer.send(ACK)
    assert listener.queues(peer.now_ns).fast_open_pending == 0
    assert [row.is_half_open for row in listener.queues(peer.now_ns).accept] == [False]
    peer.peer_port += 1
    [answer] = open_fast(peer)
    assert int(answer.segment.ack) - peer.iss == 6


def test_one_that_was_accepted_and_reset_counts_for_a_minute() -> None:
    peer, listener = server(limit=1)
    open_fast(peer)
    child = listener.accept()
    assert child is not None
    child.owner = listener.owner
    peer.send(RST)
    assert child.state == abi.CLOSED
    assert child.error == errno.ECONNRESET
    peer.peer_port += 1
    peer.wait(59 * SECOND)
    [answer] = open_fast(peer)
    assert int(answer.segment.ack) - peer.iss == 1, "the reset one still counts"
    peer.peer_port += 1
    peer.wait(1 * SECOND)
    [answer] = open_fast(peer)
    assert int(answer.segment.ack) - peer.iss == 6
    assert listener.fast_open.queue.pending == 1


def test_one_that_was_reset_before_accept_makes_room_at_once() -> None:
    peer, listener = server(limit=1)
    open_fast(peer)
    peer.send(RST)
    assert listener.queues(peer.now_ns).fast_open_pending == 0
    assert listener.accept() is not None, "the program still hears of it"


def test_a_listener_that_closes_resets_what_is_pending() -> None:
    peer, listener = server()
    open_fast(peer)
    peer.demux.close_listener(listener)
    assert [seen.flags for seen in peer.flush()] == ["R."]
    assert listener.fast_open.queue.pending == 0
    assert peer.endpoint() is None


def test_the_syn_ack_is_given_up_after_one_retry_more_than_a_plain_one() -> None:
    peer, listener = server(tcp_synack_retries=2)
    open_fast(peer)
    child = listener.accept()
    assert child is not None
    child.owner = listener.owner
    repeats = peer.wait(200 * SECOND)
    assert [seen.flags for seen in repeats] == ["S."] * 3
    assert [(seen.at_ns - 1000 * SECOND) // SECOND for seen in repeats] == [1, 3, 7]
    assert (child.state, child.error) == (abi.CLOSED, errno.ETIMEDOUT)
    assert listener.fast_open.queue.pending == 0


def test_an_acknowledgment_of_what_was_not_sent_is_reset_and_the_connection_stays() -> None:
    peer, listener = server()
    open_fast(peer)
    [answer] = peer.send(ACK, ack=2)
    assert answer.flags == "R"
    assert listener.ready[0].state == abi.SYN_RECEIVED


def test_syn_cookies_and_fast_open_do_not_mix() -> None:
    peer, listener = server(tcp_syncookies="always")
    [answer] = open_fast(peer, fast_open=b"")
    assert answer.segment.fast_open is None
    assert int(answer.segment.ack) - peer.iss == 1
    assert listener.fast_open.queue.pending == 0


def test_a_full_accept_queue_drops_a_fast_syn_as_any() -> None:
    peer, listener = server(limit=100)
    listener.set_backlog(1)
    for number in range(3):
        peer.peer_port = 5000 + number
        answers = open_fast(peer)
    assert answers == []
    assert peer.counters.TcpExtListenOverflows == 1


def test_text_beyond_the_window_that_we_offer_is_not_taken() -> None:
    peer = Peer(mtu=9000)
    peer.config.tcp_fastopen = SERVER | SERVER_NO_COOKIE
    listener = peer.listen(receive_buffer_bytes=4608, is_receive_buffer_fixed=True)
    listener.fast_open.queue.limit = 1
    [answer] = open_fast(peer, bytes(8000))
    assert int(answer.segment.ack) - peer.iss == 1 + 2304
    assert listener.ready[0].unread_bytes() == 2304


def test_the_answer_keeps_to_the_window_of_the_syn_which_no_scale_applies_to() -> None:
    peer, listener = server()
    open_fast(peer, wnd=1000, mss=500, wscale=7)
    child = listener.accept()
    assert child is not None
    peer.connection = child
    assert sum(len(seen.text) for seen in peer.write(bytes(5000))) == 1000
    assert sum(len(seen.text) for seen in peer.send(ACK, ack=1001, wnd=40)) == 4000


def test_a_connection_in_use_goes_on_with_its_window_when_the_handshake_is_done() -> None:
    peer, listener = server()
    open_fast(peer, mss=1000)
    child = listener.accept()
    assert child is not None
    peer.connection = child
    peer.write(bytes(3000))
    before = child.cwnd_bytes
    peer.send(ACK, ack=1)
    assert child.state == abi.ESTABLISHED
    assert child.cwnd_bytes == before
    assert child.srtt_ns >= 0
    assert peer.counters.TcpCurrEstab == 1
    assert peer.counters.TcpPassiveOpens == 1
    peer.send(ACK, ack=3001)
    assert child.in_flight_count() == 0


@pytest.mark.parametrize("seed", range(20))
def test_hostile_segments_into_a_pending_connection_break_nothing(seed: int) -> None:
    random_bytes = random.Random(seed)
    peer, listener = server(limit=100)
    for number in range(30):
        peer.peer_port = 5000 + number % 5
        flags = random_bytes.choice([SYN, SYN | ACK, ACK, RST, RST | ACK, SYN | 1, ACK | 1, 0, 0x3F])
        text = random_bytes.randbytes(random_bytes.choice([0, 1, 100, 1400]))
        cookie = random_bytes.choice([None, b"", b"\0" * 4, b"\1" * 8, b"\2" * 16])
        peer.seq = random_bytes.choice([0, 1, 1 + len(text), 1 << 31])
        peer.send(flags, ack=random_bytes.choice([0, 1, 2, 1 << 31]), data=text, fast_open=cookie)
        if random_bytes.random() < 0.3:
            child = listener.accept()
            if child is not None:
                child.owner = listener.owner
                child.read(1000, False, peer.now_ns)
                child.close(peer.now_ns)
                peer.demux.forget_owner(child)
                peer.demux.touch(child)
        peer.wait(random_bytes.choice([0, MS, SECOND]))
    peer.demux.close_listener(listener)
    peer.flush()
    peer.wait(3600 * SECOND)
    queue = listener.fast_open.queue
    assert queue.pending == len(queue.resets_ns)
    assert not peer.demux.table


# --- the option's octets


@pytest.mark.parametrize(("option", "expected"), [
    ("2202", b""), ("220600112233", bytes.fromhex("00112233")), ("2212" + "ab" * 16, b"\xab" * 16),
    ("fe04f989", b""), ("fe08f98900112233", bytes.fromhex("00112233")), ("fe14f989" + "ab" * 16, b"\xab" * 16),
    ("2203aa", None), ("2204aabb", None), ("2205aabbcc", None), ("2207" + "aa" * 5, None), ("2214" + "aa" * 18, None),
    ("fe03f9", None), ("fe05f98900", None), ("fe06f989aabb", None), ("fe16f989" + "aa" * 18, None), ("fe04f988", None),
])
def test_options_of_no_cookies_length_are_let_be(option: str, expected: bytes | None) -> None:
    raw = bytes.fromhex(option)
    peer, listener = server(flags=SERVER)
    packet = bytearray(peer.packet(SYN, seq=0, ack=0, unknown=[(raw[0], raw[2:])]))
    answers = peer.inject(bytes(packet))
    assert [seen.flags for seen in answers] == ["S."]
    entry = next(iter(listener.half_open.values()))
    assert entry.syn.fast_open == expected
    assert (entry.syn.unknown is None) == (expected is not None)


@pytest.mark.parametrize("size", [0, 1, 8, 30])
def test_an_option_that_runs_out_of_the_header_is_an_error_of_the_wire(size: int) -> None:
    peer, _ = server()
    packet = bytearray(peer.packet(SYN, seq=0, ack=0, unknown=[(34, b"\0\0")]))
    packet[20 + 20 + 1] = size if size < 2 else 40
    if size >= 2:
        packet[20 + 20] = 254
    # Its checksum is made good again, so that it is the option that is refused.
    packet[36:38] = b"\0\0"
    total = int.from_bytes(bytes(4), "big")
    body = bytes(packet[12:20]) + b"\0\x06" + (len(packet) - 20).to_bytes(2, "big") + bytes(packet[20:])
    for at in range(0, len(body), 2):
        total += int.from_bytes(body[at : at + 2], "big")
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    packet[36:38] = (0xFFFF - total).to_bytes(2, "big")
    with pytest.raises(WireError):
        peer.inject(bytes(packet))


# --- the client


def client(data: bytes, *, cookie: bytes = COOKIE, peer: Peer | None = None) -> tuple[Peer, list[Seen]]:
    """Open with ``data``, a cookie at hand; gives the peer and what the engine sent."""
    peer = peer or Peer()
    if cookie:
        peer.side.context.fast_open.remember(peer.side.address, peer.address, 1200, cookie, False, 0)
    fast_open = FastOpen()
    fast_open.is_deferred = True
    assert peer.connect(fast_open=fast_open) == []
    put_text(peer.connection, fast_open, data)
    return peer, peer.touch()


def test_a_syn_bears_cookie_and_text_and_the_observer_is_told() -> None:
    peer, [syn] = client(b"request")
    assert (syn.flags, syn.seq, syn.text, syn.segment.fast_open) == ("S", 0, b"request", COOKIE)
    fact = next(event for event in peer.side.events if isinstance(event, SegmentSent))
    assert "tfo cookie " + COOKIE.hex() in fact.options
    assert fact.length == 7
    assert "Fast Open" in fact.why


def test_what_the_cookieless_bit_sends_has_no_option() -> None:
    peer = Peer()
    peer.config.tcp_fastopen = 1 | CLIENT_NO_COOKIE
    peer, [syn] = client(b"request", cookie=b"", peer=peer)
    assert (syn.text, syn.segment.fast_open) == (b"request", None)


def test_the_outqueue_counts_the_text_of_the_syn_until_it_is_acknowledged() -> None:
    peer, _ = client(b"request")
    assert peer.connection.outq_bytes() == 7
    peer.irs = peer.connection.iss
    peer.send(SYN | ACK, seq=0, ack=1 + 7, mss=1460)
    assert peer.connection.outq_bytes() == 0
    assert peer.connection.state == abi.ESTABLISHED
    assert "syn-data" in peer.connection.info(peer.now_ns).options
    assert peer.counters.TcpExtTCPFastOpenActive == 1


def test_the_text_goes_again_in_segments_of_the_new_mss_and_no_octet_is_lost() -> None:
    text = bytes(range(256)) * 4
    peer, [syn] = client(text)
    assert syn.text == text
    peer.irs = peer.connection.iss
    again = peer.send(SYN | ACK, seq=0, ack=1, mss=300)
    assert b"".join(seen.text for seen in again) == text
    assert max(len(seen.text) for seen in again) == 300
    assert peer.counters.TcpExtTCPFastOpenActiveFail == 1
    assert peer.connection.cwnd_bytes == 10 * 300, "it was not congestion"


def test_a_cookie_that_comes_late_is_kept_all_the_same() -> None:
    peer = Peer()
    peer.connect(fast_open=FastOpen())
    peer.wait(1100 * MS)
    peer.irs = peer.connection.iss
    peer.send(SYN | ACK, seq=0, ack=1, mss=1000, fast_open=COOKIE)
    entry = peer.side.context.fast_open.find(peer.side.address, peer.address)
    assert entry is not None
    assert (entry.cookie, entry.mss) == (COOKIE, 1000)


def test_a_syn_ack_for_more_than_was_sent_changes_nothing() -> None:
    peer, _ = client(b"request")
    peer.irs = peer.connection.iss
    [answer] = peer.send(SYN | ACK, seq=0, ack=9, mss=500, fast_open=b"\xff" * 8)
    assert answer.flags == "R"
    entry = peer.side.context.fast_open.find(peer.side.address, peer.address)
    assert entry is not None
    assert (entry.cookie, entry.mss) == (COOKIE, 1200)
    assert peer.connection.state == abi.SYN_SENT


def test_a_refused_connection_says_so_and_holds_nothing() -> None:
    peer, _ = client(b"request")
    peer.irs = peer.connection.iss
    peer.send(RST | ACK, seq=0, ack=8)
    assert (peer.connection.state, peer.connection.error) == (abi.CLOSED, errno.ECONNREFUSED)
    assert peer.endpoint() is None


@pytest.mark.parametrize(("cookie", "waits_ns", "acked", "reason", "number"), [
    (b"", 0, 0, "cookie unavailable", 1), (COOKIE, 0, 0, "data not acknowledged", 2),
    (COOKIE, 1100 * MS, 0, "SYN retransmitted", 3), (COOKIE, 0, 7, "", 0),
])
def test_tcp_info_says_why_text_did_not_ride(
    cookie: bytes, waits_ns: int, acked: int, reason: str, number: int,
) -> None:
    peer = Peer()
    if cookie:
        peer, _ = client(b"request", peer=peer)
    else:
        peer.connect(fast_open=FastOpen())
    peer.wait(waits_ns)
    peer.irs = peer.connection.iss
    peer.send(SYN | ACK, seq=0, ack=1 + acked, mss=1460)
    info = peer.connection.info(peer.now_ns)
    assert info.fast_open_fail == reason
    assert unpack_tcp_info(pack_tcp_info(info, peer.connection.state))["flags"] >> 1 & 3 == number


@pytest.mark.parametrize("seed", range(8))
def test_whatever_the_network_does_the_text_arrives_once_and_in_order(seed: int) -> None:
    chance = random.Random(seed)
    pair = Pair()
    for side in (pair.a, pair.b):
        side.config.tcp_fastopen = 1 | SERVER | CLIENT_NO_COOKIE | SERVER_NO_COOKIE
        side.config.tcp_synack_retries = 15
    listener = pair.listen()
    listener.fast_open.queue.limit = 100
    pair.filter = lambda passed: chance.random() > 0.25
    for number in range(10):
        text = chance.randbytes(chance.choice([1, 100, 1400, 5000]))
        answer = chance.randbytes(chance.choice([1, 100, 1400, 5000]))
        demux = pair.a.demux
        options = demux.new_options()
        here = demux.new_connection(pair.a.address, 41000 + number, pair.b.address, 80, options, Owner())
        here.fast_open = FastOpen()
        here.fast_open.is_deferred = True
        pair.a.demux.connect(here, pair.now_ns)
        sent = put_text(here, here.fast_open, text)
        pair.a.demux.touch(here)
        there = None
        received = returned = b""
        for _ in range(4000):
            pair.flush()
            pair.run_for(100 * MS)
            if sent < len(text) and here.state == abi.ESTABLISHED:
                sent += here.write(text[sent:], pair.now_ns)
                pair.a.demux.touch(here)
            if there is None:
                there = listener.accept()
                if there is None:
                    continue
                there.owner = Owner()
            received += there.read(1 << 20, False, pair.now_ns)
            if len(received) == len(text) and answer and there.outq_bytes() == 0 and not there.fin_wanted:
                assert there.write(answer, pair.now_ns) == len(answer)
                there.shutdown_write()
                pair.b.demux.touch(there)
            returned += here.read(1 << 20, False, pair.now_ns)
            if here.is_eof():
                break
        assert received == text
        assert returned == answer
        for side, end in ((pair.a, here), (pair.b, there)):
            assert end is not None
            end.close(pair.now_ns)
            side.demux.forget_owner(end)
            side.demux.touch(end)
        pair.flush()
        pair.run_for(SECOND)
    assert pair.a.counters.TcpExtTCPFastOpenActive > 0
    pair.run_for(600 * SECOND)
    assert listener.fast_open.queue.pending == 0


def test_states_take_only_edges_of_the_diagram() -> None:
    peer, listener = server()
    open_fast(peer)
    child = listener.accept()
    assert child is not None
    child.read(100, False, peer.now_ns)
    child.close(peer.now_ns)
    peer.connection = child
    peer.touch()
    peer.send(ACK, ack=2)
    changes = [(event.old, event.new) for event in peer.side.events if isinstance(event, StateChanged)]
    assert changes == [
        ("LISTEN", "SYN-RECEIVED"), ("SYN-RECEIVED", "FIN-WAIT-1"), ("FIN-WAIT-1", "FIN-WAIT-2"),
    ]
