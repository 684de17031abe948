"""TCP Fast Open (RFC 7413): what a host knows and decides. Cookies, keys, the cache of a client, when to pause.

- A server's cookie is SipHash-2-4 of both addresses with a key, 8 octets long, as Linux makes it. The second key of two
  is still good, so that keys can be changed while clients have old cookies.
- A client keeps cookie and MSS for each pair of addresses. The cache has a limit; the oldest entry makes room.
- A client whose connections with text on the SYN keep timing out assumes that a middle box drops them. It then uses no
  Fast Open for a while, to any server, each time for twice as long (``tcp_fastopen_blackhole_timeout_sec``).

The records that sockets and connections hold are in ``record/fast_open``. What is done with them is in
``fastopen_client`` and ``fastopen_server``.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from estab.counters import Counters
from estab.tcp.config import Config
from estab.tcp.siphash import KEY_BYTES, siphash

__all__ = [
    "CLIENT", "CLIENT_NO_COOKIE", "COOKIE_BYTES", "SERVER", "SERVER_NO_COOKIE", "SERVER_NO_OPTION", "Cached",
    "HostFastOpen", "key_bytes", "key_text", "make_cookie", "which_key",
]

# The bits of the sysctl tcp_fastopen.
CLIENT: Final = 0x1
SERVER: Final = 0x2
CLIENT_NO_COOKIE: Final = 0x4
"""Send text on the SYN without a cookie, too."""
SERVER_NO_COOKIE: Final = 0x200
"""Take text on a SYN without a cookie, too."""
SERVER_NO_OPTION: Final = 0x400
"""Every listener speaks Fast Open, without TCP_FASTOPEN."""

COOKIE_BYTES: Final = 8
"""Length of the cookies that we make; a client takes 4 to 16 octets."""
PAUSE_DOUBLINGS_MAX: Final = 6


# --- keys and cookies


def key_bytes(text: str) -> bytes:
    """Read a key as the sysctl writes it: ``00010203-04050607-08090a0b-0c0d0e0f``, or two with a comma between.

    Each group is a number, as on Linux: its low octet comes first. Gives 16 or 32 bytes. ``ValueError``.
    """
    keys = text.strip().split(",")
    if len(keys) > 2:
        raise ValueError(f"expected one key or two, not {len(keys)}")
    result = b""
    for key in keys:
        groups = key.split("-")
        if len(groups) != 4:
            raise ValueError(f"expected four groups of hexadecimal digits with '-' between, not {key!r}")
        for group in groups:
            if not 0 < len(group) <= 8 or not _is_hexadecimal(group):
                raise ValueError(f"expected up to 8 hexadecimal digits, not {group!r}")
            result += int(group, 16).to_bytes(4, "little")
    return result


def _is_hexadecimal(text: str) -> bool:
    for letter in text:
        if letter not in "0123456789abcdefABCDEF":
            return False
    return True


def key_text(keys: bytes) -> str:
    """Write one key or two, 16 bytes each, as the sysctl does."""
    texts: list[str] = []
    for at in range(0, len(keys), KEY_BYTES):
        groups = [f"{int.from_bytes(keys[i : i + 4], 'little'):08x}" for i in range(at, at + KEY_BYTES, 4)]
        texts.append("-".join(groups))
    return ",".join(texts)


def make_cookie(key: bytes, remote: bytes, local: bytes) -> bytes:
    """Make the cookie of a client at ``remote`` for our address ``local`` (RFC 7413 section 4.1.2)."""
    return siphash(key, remote + local).to_bytes(COOKIE_BYTES, "little")


def which_key(keys: bytes, remote: bytes, local: bytes, cookie: bytes) -> i64:
    """Tell which key a cookie was made with: 1, the first; 2, the second; 0, none."""
    if len(cookie) != COOKIE_BYTES:
        return 0
    if cookie == make_cookie(keys[:KEY_BYTES], remote, local):
        return 1
    if len(keys) > KEY_BYTES and cookie == make_cookie(keys[KEY_BYTES:], remote, local):
        return 2
    return 0


def _service_key(local: bytes, remote: bytes, port: i64) -> bytes:
    number: int = port
    return local + remote + number.to_bytes(2, "big")


# --- the host


class Cached:
    """What a client remembers of a server."""

    def __init__(self) -> None:
        self.mss: i64 = 0
        self.cookie: bytes = b""
        self.is_experimental: bool = False
        self.try_experimental: i64 = 0
        """1: no cookie came for the option of kind 34, try the other kind; 2: nor for that."""


class HostFastOpen:
    """Fast Open of one host: the server's keys, the client's cache, and whether the client is pausing."""

    def __init__(self, config: Config, counters: Counters, seed: bytes) -> None:
        self._config = config
        self._counters = counters
        self._own_key = seed[:KEY_BYTES]
        self._keys: bytes = b""
        self._keys_text: str = ""
        self._cache: dict[bytes, Cached] = {}
        self._refused: dict[bytes, int] = {}
        """For servers and ports that did not take the text of a SYN: until when it is not tried again."""
        self._pauses: i64 = 0
        self._paused_ns: i64 = 0

    # --- the server's side

    def keys(self) -> bytes:
        """Return the host's keys: of ``tcp_fastopen_key`` if it is set, else one made from the host's secret."""
        text = self._config.tcp_fastopen_key
        if not text:
            return self._own_key
        if text != self._keys_text:
            self._keys = key_bytes(text)
            self._keys_text = text
        return self._keys

    # --- the client's side

    def find(self, local: bytes, remote: bytes) -> Cached | None:
        """Return what is remembered of a server."""
        return self._cache.get(local + remote)

    def remember(
        self, local: bytes, remote: bytes, mss: i64, cookie: bytes, is_experimental: bool, try_experimental: i64,
    ) -> None:
        """Keep what a SYN-ACK said. An empty ``cookie`` leaves the old one; so does ``mss`` 0."""
        key = local + remote
        entry = self._cache.get(key)
        if entry is None:
            if len(self._cache) >= self._config.fastopen_cookies_max:
                for oldest in self._cache:
                    del self._cache[oldest]
                    break
                self._counters.EstabFastOpenCacheFull += 1
            entry = Cached()
            self._cache[key] = entry
        if mss > 0:
            entry.mss = mss
        if cookie:
            entry.cookie = cookie
            entry.is_experimental = is_experimental
        elif try_experimental > entry.try_experimental and not entry.cookie:
            entry.try_experimental = try_experimental

    def forget_all(self) -> None:
        """Empty the cache."""
        self._cache.clear()
        self._refused.clear()

    def cached_count(self) -> int:
        """Count the servers that are remembered."""
        return len(self._cache)

    def refuse(self, local: bytes, remote: bytes, port: i64, now_ns: i64) -> None:
        """Remember that a server did not take the text of a SYN, or never answered one (RFC 7413 section 4.1.3.1)."""
        wait_ns = self._config.tcp_fastopen_negative_ns
        if wait_ns <= 0:
            return
        key = _service_key(local, remote, port)
        self._refused.pop(key, None)
        if len(self._refused) >= self._config.fastopen_cookies_max:
            for oldest in self._refused:
                del self._refused[oldest]
                break
            self._counters.EstabFastOpenCacheFull += 1
        self._refused[key] = now_ns + wait_ns

    def is_refused(self, local: bytes, remote: bytes, port: i64, now_ns: i64) -> bool:
        """Tell whether Fast Open is not tried with a server now, because it did not take the text of a SYN."""
        key = _service_key(local, remote, port)
        until_ns = self._refused.get(key)
        if until_ns is None:
            return False
        if now_ns < until_ns:
            return True
        del self._refused[key]
        return False

    # --- black holes

    def pause(self, now_ns: i64) -> None:
        """Assume that something on the path drops Fast Open, and pause it; each time for twice as long."""
        if self._config.tcp_fastopen_blackhole_timeout_ns <= 0:
            return
        self._paused_ns = now_ns
        self._pauses += 1
        self._counters.TcpExtTCPFastOpenBlackhole += 1

    def is_pausing(self, now_ns: i64) -> bool:
        """Tell whether Fast Open is paused now."""
        first_ns = self._config.tcp_fastopen_blackhole_timeout_ns
        if first_ns <= 0 or self._pauses == 0:
            return False
        return now_ns < self._paused_ns + (first_ns << min(self._pauses - 1, PAUSE_DOUBLINGS_MAX))

    def is_on_trial(self) -> bool:
        """Tell whether there was a pause, and no connection has shown since that Fast Open works."""
        return self._pauses > 0 and self._config.tcp_fastopen_blackhole_timeout_ns > 0

    def end_pauses(self) -> None:
        """A connection with Fast Open worked: the next pause is short again."""
        self._pauses = 0

    def on_end(self, now_ns: i64, *, has_text: bool, is_fin_early: bool, proves_path: bool) -> None:
        """A client's connection that began with the option is over. If only a FIN after a gap came on it, that shows a
        black hole.

        ``proves_path``: it was the first after a pause, and not over loopback, which proves nothing.
        """
        if not has_text:
            if is_fin_early:
                self.pause(now_ns)
        elif proves_path:
            self.end_pauses()
