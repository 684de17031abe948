"""HTTP for files: what RFC 9110 and 9112 ask of a server that only gives, and what must not be had from it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estab.serve.http import Content, Http, Store
from estab.serve.request import UNSATISFIABLE, WHOLE, BadRequestError, parse_path, parse_range, parse_request
from estab.stack.folder import Folder
from estab.tcp.config import Config
from tests.kit.serving import SECOND, Client, Serving

BODY = b"0123456789" * 100


class Shelf(Store):
    """Things by path, in memory."""

    def __init__(self, things: dict[str, bytes]) -> None:
        super().__init__()
        self.things = things
        self.lent: list[Thing] = []
        self.open = 0

    def find(self, names: list[str]) -> Content | None:
        path = "/".join(names)
        if path == "secret":
            raise PermissionError(13, "no")
        if path == "folder":
            return Content(0, "", "", "", "./folder/")
        return Thing(self, self.things[path]) if path in self.things else None

    def date(self) -> str:
        return "Wed, 21 Oct 2015 07:28:00 GMT"


class Thing(Content):
    def __init__(self, shelf: Shelf, data: bytes) -> None:
        super().__init__(len(data), "text/plain", f'"{len(data)}"', "Tue, 20 Oct 2015 07:28:00 GMT")
        self.shelf, self.data = shelf, data
        shelf.open += 1
        shelf.lent.append(self)

    def read(self, offset: int, count: int) -> bytes:
        return self.data[offset : offset + count]

    def close(self) -> None:
        self.shelf.open -= 1


class Site:
    def __init__(self, ends_max: int = 100, config: Config | None = None) -> None:
        self.net = Serving(config)
        self.shelf = Shelf({"a.txt": BODY, "": b"index", "big": bytes(range(256)) * 20_000, "empty": b""})
        self.http = Http(self.shelf, ends_max)
        self.net.add(self.http, 80)

    def connect(self) -> Client:
        return self.net.connect(80)

    def get(self, path: str, *fields: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        client = self.connect()
        head = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *fields])
        client.send(head.encode() + b"\r\n\r\n")
        client.read(20 * SECOND)
        client.close()
        return answer(client.text)


def answer(text: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = text.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split()[1]), fields, body


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    assert made.shelf.open == 0  # whatever was asked for was given back


def test_get_gives_the_whole_with_its_fields(site: Site) -> None:
    status, fields, body = site.get("/a.txt")
    assert (status, body) == (200, BODY)
    assert fields["content-length"] == str(len(BODY))
    assert fields["content-type"] == "text/plain"
    assert fields["accept-ranges"] == "bytes"
    assert fields["date"] == "Wed, 21 Oct 2015 07:28:00 GMT"
    assert fields["etag"] == '"1000"'


def test_head_gives_the_fields_of_get_without_the_body(site: Site) -> None:
    status, fields, body = site.get("/a.txt", method="HEAD")
    assert (status, fields["content-length"], body) == (200, "1000", b"")


def test_a_large_answer_is_whole_though_it_passes_the_send_buffer_many_times(site: Site) -> None:
    assert site.get("/big")[2] == site.shelf.things["big"]


@pytest.mark.parametrize("most", [5_000, 40_000, 64_000, 90_000])
def test_a_large_answer_is_whole_whatever_part_of_a_write_there_is_room_for(most: int) -> None:
    config = Config()
    config.tcp_wmem = (4096, min(16_384, most), most)
    site = Site(config=config)
    site.net.client.config.tcp_rmem = (4096, 16_384, 16_384)  # a small window makes small pieces, and many of them
    site.shelf.things["some"] = bytes(range(251)) * 2_000
    assert site.get("/some")[2] == site.shelf.things["some"]


def test_a_connection_is_kept_for_the_next_request(site: Site) -> None:
    client = site.connect()
    for _ in range(3):
        client.text = b""
        client.ask(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer(client.text)[0] == 200
    assert not client.is_eof
    assert site.http.accepted_count == 1
    client.close()


def test_requests_sent_at_once_are_answered_in_their_order(site: Site) -> None:
    client = site.connect()
    client.send(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n"
                + b"\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    client.read(SECOND)
    assert [int(part[:3]) for part in client.text.split(b"HTTP/1.1 ")[1:]] == [200, 200, 404, 200]
    assert client.text.endswith(b"index")
    assert client.is_eof
    client.close()


def test_a_request_may_come_byte_by_byte(site: Site) -> None:
    client = site.connect()
    for octet in b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n":
        client.send(bytes([octet]))
    client.read()
    assert answer(client.text)[2] == BODY
    client.close()


def test_http_1_0_closes_unless_it_asks_to_go_on(site: Site) -> None:
    client = site.connect()
    client.ask(b"GET / HTTP/1.0\r\n\r\n")
    assert client.is_eof
    client.close()
    client = site.connect()
    client.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert not client.is_eof
    assert b"Connection: keep-alive" in client.text
    client.close()


@pytest.mark.parametrize(("text", "found"), [("bytes=0-9", (0, 10)), ("bytes=990-", (990, 1000)),
                                             ("bytes=-5", (995, 1000)), ("bytes=995-2000", (995, 1000))])
def test_a_range_gives_only_what_it_names(site: Site, text: str, found: tuple[int, int]) -> None:
    status, fields, body = site.get("/a.txt", f"Range: {text}")
    assert (status, body) == (206, BODY[found[0] : found[1]])
    assert fields["content-range"] == f"bytes {found[0]}-{found[1] - 1}/1000"


def test_a_range_beyond_the_end_is_416_and_several_are_not_understood(site: Site) -> None:
    status, fields, _ = site.get("/a.txt", "Range: bytes=1000-")
    assert (status, fields["content-range"]) == (416, "bytes */1000")
    assert site.get("/a.txt", "Range: bytes=0-1,5-6")[0] == 200
    assert site.get("/a.txt", "Range: bytes=0-1", 'If-Range: "other"')[0] == 200
    assert site.get("/a.txt", "Range: bytes=0-1", 'If-Range: "1000"')[0] == 206


@pytest.mark.parametrize("field", ['If-None-Match: "7", W/"1000"', "If-None-Match: *",
                                   "If-Modified-Since: Tue, 20 Oct 2015 07:28:00 GMT"])
def test_what_the_peer_has_already_is_not_sent_again(site: Site, field: str) -> None:
    status, fields, body = site.get("/a.txt", field)
    assert (status, body, fields["etag"]) == (304, b"", '"1000"')
    assert "content-length" not in fields


@pytest.mark.parametrize(("request_text", "status"), [
    (b"POST /a.txt HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    (b"GET /a.txt HTTP/1.1\r\n\r\n", 400),
    (b"GET /a.txt HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    (b"GET /a.txt HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    (b"GET /a.txt HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
    (b"GET /a.txt HTTP/2.0\r\nHost: x\r\n\r\n", 505),
    (b"GET  /a.txt HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET a.txt HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET /%ff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET /..%2fsecret HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET /secret HTTP/1.1\r\nHost: x\r\n\r\n", 403),
    (b"GET /folder HTTP/1.1\r\nHost: x\r\n\r\n", 301),
    (b"GET /a.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 413),
    (b"GET /a.txt HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413),
    (b"GET /a.txt HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 101 + b"\r\n", 431),
    (b"GET http://x/a.txt HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    (b"\x16\x03\x01\x02\0\r\n\r\n", 400),
])
def test_bad_requests_get_their_status(site: Site, request_text: bytes, status: int) -> None:
    client = site.connect()
    client.ask(request_text, SECOND)
    assert answer(client.text)[0] == status
    assert client.is_eof == (status in (400, 413, 431, 505))
    client.close()


def test_an_idle_connection_is_closed_and_a_busy_one_is_not(site: Site) -> None:
    idle, busy = site.connect(), site.connect()
    for _ in range(8):
        busy.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        site.net.run(10 * SECOND)
        site.net.services.on_deadline(site.net.now_ns)
    idle.read()
    assert idle.is_eof
    assert busy.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").endswith(b"index")
    assert site.http.open_count == 1
    busy.close()


def test_a_reader_that_stops_is_let_go_and_its_file_closed(site: Site) -> None:
    site.shelf.things["huge"] = bytes(20_000_000)
    client = site.connect()
    client.send(b"GET /huge HTTP/1.1\r\nHost: x\r\n\r\n")
    site.net.run(SECOND)
    assert site.shelf.open == 1
    for _ in range(40):
        site.net.run(SECOND)
        site.net.services.on_deadline(site.net.now_ns)
    assert (site.shelf.open, site.http.open_count) == (0, 0)
    client.close()


# --- held against clients that are slow on purpose

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def pass_seconds(site: Site, seconds: int) -> None:
    for _ in range(seconds):
        site.net.run(SECOND)
        site.net.services.on_deadline(site.net.now_ns)


def test_one_lingering_connection_a_second_keeps_no_idle_one_open(site: Site) -> None:
    idle = [site.connect() for _ in range(5)]
    for _ in range(40):
        lingering = site.connect()
        lingering.send(b"GET / HTTP/1.0\r\n\r\n")
        pass_seconds(site, 1)
    for one in idle:
        one.read()
        assert one.is_eof
    pass_seconds(site, 3)
    assert site.http.open_count == 0


def test_a_head_has_to_be_whole_in_time_however_its_bytes_come(site: Site) -> None:
    slow = site.connect()
    slow.send(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
    for _ in range(5):
        pass_seconds(site, 5)
        with contextlib.suppress(OSError):
            slow.send(b"a")
    assert site.http.open_count == 0


def test_a_reader_that_takes_a_few_bytes_at_a_time_is_let_go(site: Site) -> None:
    site.shelf.things["huge"] = bytes(20_000_000)
    client = site.connect()
    client.socket.receive_buffer_bytes = 4096
    client.send(b"GET /huge HTTP/1.1\r\nHost: x\r\n\r\n")
    for _ in range(240):
        pass_seconds(site, 1)
        with contextlib.suppress(OSError):
            client.socket.recv(100, 0, site.net.now_ns)
        if site.http.open_count == 0:
            break
    assert (site.shelf.open, site.http.open_count) == (0, 0)


def test_a_reader_that_is_slow_but_steady_gets_all_of_it(site: Site) -> None:
    site.shelf.things["large"] = bytes(400_000)
    client = site.connect()
    client.socket.receive_buffer_bytes = 8192
    client.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    for _ in range(100):
        pass_seconds(site, 1)
        with contextlib.suppress(BlockingIOError):
            client.text += client.socket.recv(5000, 0, site.net.now_ns)
    assert answer(client.text)[2] == site.shelf.things["large"]


def test_a_full_service_gives_a_new_connection_the_place_of_the_one_that_waits_longest() -> None:
    site = Site(ends_max=10)
    slow = [site.connect() for _ in range(10)]
    for one in slow:
        one.send(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
        pass_seconds(site, 1)
    assert site.connect().ask(GET).endswith(b"index")
    slow[0].read()
    assert slow[0].is_eof
    assert (site.http.open_count, site.http.evicted_count) == (10, 1)
    honest = site.connect()
    for one in slow[1:]:
        one.send(b"a")  # a byte more makes nobody younger
    assert honest.ask(GET).endswith(b"index")


def test_an_answer_under_way_makes_no_room_until_it_stands_still() -> None:
    site = Site(ends_max=2)
    site.shelf.things["huge"] = bytes(20_000_000)
    readers = [site.connect(), site.connect()]
    for one in readers:
        one.send(b"GET /huge HTTP/1.1\r\nHost: x\r\n\r\n")
    late = site.connect()
    late.send(GET)
    assert not late.read(SECOND)
    assert site.http.evicted_count == 0
    pass_seconds(site, 6)
    assert site.connect().ask(GET).endswith(b"index")


def test_a_client_with_its_share_of_connections_gets_new_ones_for_its_oldest() -> None:
    site = Site(ends_max=100)
    site.http.client_ends_max = 3
    mine = [site.connect() for _ in range(4)]
    mine[0].read()
    assert mine[0].is_eof
    assert mine[3].ask(GET).endswith(b"index")
    other = Client(site.net, 80, "fd00::2")
    assert other.ask(GET).endswith(b"index")
    assert site.http.open_count == 4


def test_content_that_shrank_cuts_the_answer_off_instead_of_lying_about_its_end(site: Site) -> None:
    site.shelf.things["shrunk"] = bytes(8_000_000)
    client = site.connect()
    client.send(b"GET /shrunk HTTP/1.1\r\nHost: x\r\n\r\n")
    for thing in site.shelf.lent:
        thing.data = b""
    with pytest.raises(ConnectionResetError):
        client.read(SECOND)
    assert site.http.open_count == 0
    client.close()


@given(st.text(max_size=40))
def test_no_path_leads_out_of_the_folder(target: str) -> None:
    try:
        names = parse_path("/" + target.encode("utf-8").decode("latin-1"))
    except BadRequestError:
        return
    for name in names:
        assert name not in (".", "..")
        assert not set(name) & {"/", "\\", "\0"}


@given(st.text(alphabet="bytes=-,0123456789 ", max_size=16), st.integers(0, 50))
def test_a_range_is_inside_or_it_is_none(text: str, size: int) -> None:
    begin, end = parse_range(text, size)
    assert (begin, end) in (WHOLE, UNSATISFIABLE) or 0 <= begin < end <= size or (begin, end) == (0, size)


@given(st.binary(max_size=200))
def test_any_head_is_a_request_or_a_refusal(data: bytes) -> None:
    with contextlib.suppress(BadRequestError):
        assert parse_request(data + b"\r\n\r\n").minor in range(10)


# --- folders of the operating system


@pytest.fixture
def root(tmp_path: Path) -> Path:
    inside = tmp_path / "site"
    (inside / "sub").mkdir(parents=True)
    (tmp_path / "outside.txt").write_text("secret")
    (inside / "index.html").write_text("<p>hello")
    (inside / "sub" / "index.html").write_text("<p>sub")
    (inside / "a b.css").write_text("p {}")
    (inside / "data.bin").write_bytes(b"\0\1")
    (inside / "in").symlink_to("data.bin")
    (inside / "out").symlink_to(tmp_path / "outside.txt")
    os.mkfifo(inside / "pipe")
    return inside


def found(root: Path, path: str) -> tuple[str, bytes] | None:
    content = Folder(root).find(parse_path(path))
    if content is None:
        return None
    try:
        return (content.moved_to or content.kind, content.read(0, 1000))
    finally:
        content.close()


def test_a_folder_gives_its_plain_files_and_their_kinds(root: Path) -> None:
    assert found(root, "/") == ("text/html; charset=utf-8", b"<p>hello")
    assert found(root, "/a%20b.css?x=1") == ("text/css; charset=utf-8", b"p {}")
    assert found(root, "/data.bin") == ("application/octet-stream", b"\0\1")
    assert found(root, "/in") == ("application/octet-stream", b"\0\1")
    assert found(root, "/sub/") == ("text/html; charset=utf-8", b"<p>sub")
    assert found(root, "/sub") == ("./sub/", b"")


@pytest.mark.parametrize("path", ["/out", "/pipe", "/none", "/data.bin/", "/data.bin/x", "/" + "x" * 300])
def test_a_folder_gives_nothing_else(root: Path, path: str) -> None:
    assert found(root, path) is None


def test_a_file_is_no_folder(root: Path) -> None:
    with pytest.raises(NotADirectoryError):
        Folder(root / "data.bin")
