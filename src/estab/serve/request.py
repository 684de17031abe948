"""Reading an HTTP/1 request's head (RFC 9112 sections 2 to 5): bytes in, a valid ``Request`` or a status out.

Strict where leniency lets two readers disagree about where a request ends: no folded lines, no space before the colon,
one Content-Length, no bare CR. What a request's body holds is no concern of a server of files: any body is refused.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

__all__ = ["HEAD_BYTES_MAX", "BadRequestError", "Request", "head_end", "parse_path", "parse_range", "parse_request"]

HEAD_BYTES_MAX: Final = 16_384
FIELDS_MAX: Final = 100
_TOKEN: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HEX: Final = "0123456789abcdefABCDEF"
WHOLE: Final = (-1, -1)
"""No range, or one that is not understood: send everything."""
UNSATISFIABLE: Final = (-2, -2)


class BadRequestError(Exception):
    """The request can't be served; ``status`` says why. The connection ends with the answer."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status: int = status
        self.why: str = why


class Request:
    """A request's head. ``fields`` has lower-case names; a repeated one is joined by a comma."""

    def __init__(self, method: str, target: str, minor: int, fields: dict[str, str]) -> None:
        self.method: str = method
        self.target: str = target
        self.minor: int = minor
        self.fields: dict[str, str] = fields

    def is_kept_alive(self) -> bool:
        """Tell whether the connection goes on after the answer (RFC 9112 section 9.3)."""
        words = [word.strip() for word in self.fields.get("connection", "").lower().split(",")]
        if "close" in words:
            return False
        return self.minor >= 1 or "keep-alive" in words


def head_end(data: bytes) -> i64:
    """Find where the head ends and the next request begins; -1 if it has not all come. 431 if it is too long."""
    at: i64 = data.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX)
    if at >= 0:
        return at + 4
    if len(data) >= HEAD_BYTES_MAX:
        raise BadRequestError(431, f"the head is larger than {HEAD_BYTES_MAX} bytes")
    return -1


def parse_request(head: bytes) -> Request:
    """Read a head, or raise ``BadRequestError``."""
    lines = head[:-4].decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not _is_token(words[0]) or not words[1]:
        raise BadRequestError(400, "not a request line")
    version = words[2]
    if len(version) != 8 or not version.startswith("HTTP/") or version[6] != "." or not version[7].isdigit():
        raise BadRequestError(400, "not a version")
    if version[5] != "1":
        raise BadRequestError(505, f"{version} is not spoken here")
    if len(lines) - 1 > FIELDS_MAX:
        raise BadRequestError(431, f"more than {FIELDS_MAX} fields")
    fields: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not _is_token(name):
            raise BadRequestError(400, "not a header field")
        value = value.strip(" \t")
        if "\r" in value or "\n" in value or "\0" in value:
            raise BadRequestError(400, "a control character in a field")
        key = name.lower()
        if key in fields:
            if key in ("host", "content-length"):
                raise BadRequestError(400, f"{name} twice")
            fields[key] += ", " + value
        else:
            fields[key] = value
    request = Request(words[0], words[1], int(version[7]), fields)
    if request.minor >= 1 and "host" not in fields:
        raise BadRequestError(400, "no Host")  # RFC 9112 section 3.2
    if "transfer-encoding" in fields or fields.get("content-length", "0").strip("0"):
        raise BadRequestError(413, "a body is not taken")
    return request


def parse_path(target: str) -> list[str]:
    """Return the names in a target's path, decoded; a last ``""`` says that it ended in a slash.

    ``BadRequestError`` if it is no path, or one outside of the folder.
    """
    if target[:7].lower() == "http://":
        target = "/" + target[7:].partition("/")[2]  # RFC 9112 section 3.2.2: the absolute form must be taken
    if not target.startswith("/"):
        raise BadRequestError(400, "not a path")
    path = target.partition("#")[0].partition("?")[0]
    names: list[str] = []
    for part in path[1:].split("/"):
        name = _decode(part)
        if name == ".." or "/" in name or "\\" in name or "\0" in name:
            raise BadRequestError(400, "a path that leads elsewhere")
        if name != "." and (name or not names or names[-1]):
            names.append(name)
    return names


def parse_range(text: str, size: i64) -> tuple[int, int]:
    """Read a Range field (RFC 9110 section 14.1.2) for ``size`` bytes: first byte, and one after the last.

    ``WHOLE`` if there is none, it is not understood, or it asks for several; ``UNSATISFIABLE`` if nothing of it
    is there.
    """
    unit, equals, ranges = text.partition("=")
    if not equals or unit.strip().lower() != "bytes" or "," in ranges:
        return WHOLE
    first, dash, last = ranges.strip().partition("-")
    first, last = first.strip(), last.strip()
    if not dash or not (_is_number(first) or first == "") or not (_is_number(last) or last == ""):
        return WHOLE
    if first == "":
        if last == "":
            return WHOLE
        count: i64 = int(last)
        return UNSATISFIABLE if count == 0 or size == 0 else (max(0, size - count), size)
    begin: i64 = int(first)
    end: i64 = size
    if last != "":
        if int(last) < begin:
            return WHOLE
        end = min(size, int(last) + 1)
    return UNSATISFIABLE if begin >= size else (begin, end)


def _is_number(text: str) -> bool:
    return 0 < len(text) <= 18 and text.isascii() and text.isdigit()


def _is_token(text: str) -> bool:
    if not text or not text.isascii():
        return False
    return all(octet in _TOKEN for octet in text.encode("ascii"))


def _decode(part: str) -> str:
    """Undo percent-encoding; what results has to be UTF-8."""
    if "%" not in part and part.isascii():
        return part
    octets = bytearray()
    raw = part.encode("latin-1")
    at: i64 = 0
    while at < len(raw):
        octet: i64 = raw[at]
        if octet == 0x25:
            digits = raw[at + 1 : at + 3].decode("latin-1")
            if len(digits) != 2 or digits[0] not in _HEX or digits[1] not in _HEX:
                raise BadRequestError(400, "a percent sign without a number")
            octets.append(int(digits, 16))
            at += 3
        else:
            octets.append(octet)
            at += 1
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequestError(400, "a path that is not UTF-8") from error
