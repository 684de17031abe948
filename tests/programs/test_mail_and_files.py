"""smtplib with aiosmtpd, ftplib with pyftpdlib, and socketserver: plain and with TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ftplib
import io
import smtplib
import socket
import socketserver
import ssl
import threading
import time
import warnings
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiosmtpd.smtp
import pytest
import trustme

from estab import Host, Link, Network, Program

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # pyftpdlib stands on asyncore
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.ioloop import IOLoop
    from pyftpdlib.servers import FTPServer, ThreadedFTPServer


@pytest.fixture(scope="module")
def contexts(authority: trustme.CA) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("server").configure_cert(server)
    authority.configure_trust(client)
    return server, client


# --- mail


class Inbox:
    """Takes mail."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, list[str], bytes]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.letters.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return "250 OK"


async def serve_mail(inbox: Inbox, context: ssl.SSLContext | None = None, timeout: float = 300) -> None:
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(
        lambda: aiosmtpd.smtp.SMTP(inbox, hostname="server", tls_context=context, timeout=timeout), "0.0.0.0", 25)
    async with listening:
        await listening.serve_forever()


def letter(text: str = "Hello\n") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "a@client", "b@server", "greetings"
    made.set_content(text)
    return made


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_letter_is_sent(
    net: Network, client: Host, server: Host, contexts: tuple[ssl.SSLContext, ssl.SSLContext], is_tls: bool,
) -> None:
    inbox = Inbox()
    server.run(serve_mail, inbox, contexts[0] if is_tls else None)

    @client.run
    def send() -> str | None:
        with smtplib.SMTP("server") as session:
            version = None
            if is_tls:
                session.starttls(context=contexts[1])
                version = session.sock.version()  # type: ignore[attr-defined]
            session.send_message(letter("x" * 70 + "\n" + "y" * 70 + "\n"))
            return version

    net.run()
    assert send.result() == ("TLSv1.3" if is_tls else None)
    [(sender, receivers, content)] = inbox.letters
    assert (sender, receivers) == ("a@client", ["b@server"])
    assert b"y" * 70 in content


def test_a_mail_server_without_power_is_noticed(net: Network, client: Host, server: Host) -> None:
    server.run(serve_mail, Inbox(), None, 100_000)
    net.at(10, server.power_off)

    @client.run
    def send() -> float:
        session = smtplib.SMTP("server", timeout=300)
        time.sleep(20)
        started = time.monotonic()
        with pytest.raises((smtplib.SMTPServerDisconnected, TimeoutError)):
            session.send_message(letter())
        session.close()
        return time.monotonic() - started

    net.run()
    assert send.result() == pytest.approx(300)


def test_a_mail_server_gives_up_a_client_that_was_cut_off(
    net: Network, client: Host, server: Host, cable: Link,
) -> None:
    server.run(serve_mail, Inbox())
    net.at(10, cable.cut)
    net.at(400, cable.heal)

    @client.run
    def send() -> tuple[float, str]:
        session = smtplib.SMTP("server")
        session.ehlo()
        time.sleep(500)
        with pytest.raises(smtplib.SMTPServerDisconnected) as caught:
            session.send_message(letter())
        return time.monotonic(), str(caught.value)

    net.run()
    noticed_s, text = send.result()
    # The server closed at 300 s: its goodbye and its FIN came through after 400 s.
    assert noticed_s == pytest.approx(500.16)  # at the first look
    assert "closed" in text


# --- files


class QuietHandler(FTPHandler):
    use_sendfile = False

    def log(self, *words: Any, **more: Any) -> None:
        pass

    logline = logerror = log_cmd = log


def serve_files(folder: Path, kind: type[FTPServer]) -> None:
    authorizer = DummyAuthorizer()
    authorizer.add_user("user", "secret", str(folder), perm="elradfmw")

    class Handler(QuietHandler):
        pass

    Handler.authorizer = authorizer
    # A loop of its own: the one that pyftpdlib keeps for the process would remember an earlier network's sockets.
    kind(("0.0.0.0", 21), Handler, ioloop=IOLoop()).serve_forever(handle_exit=False)


@pytest.mark.parametrize("kind", [FTPServer, ThreadedFTPServer])
@pytest.mark.parametrize("is_passive", [True, False])
def test_files_go_both_ways(
    net: Network, client: Host, server: Host, tmp_path: Path, kind: type[FTPServer], is_passive: bool,
) -> None:
    (tmp_path / "there.txt").write_bytes(bytes(100_000))
    server.run(serve_files, tmp_path, kind)

    @client.run
    def work() -> tuple[list[str], int]:
        time.sleep(1)
        got = bytearray()
        with ftplib.FTP("server", "user", "secret", timeout=3600) as session:
            session.set_pasv(is_passive)
            session.retrbinary("RETR there.txt", got.extend)
            session.storbinary("STOR here.txt", io.BytesIO(b"x" * 50_000))
            return sorted(session.nlst()), len(got)

    net.run()
    assert work.result() == (["here.txt", "there.txt"], 100_000)
    assert (tmp_path / "here.txt").read_bytes() == b"x" * 50_000


def test_a_cut_is_noticed_in_the_middle_of_a_file(
    net: Network, client: Host, server: Host, cable: Link, tmp_path: Path,
) -> None:
    (tmp_path / "long.bin").write_bytes(bytes(3_000_000))
    server.run(serve_files, tmp_path, FTPServer)
    cable.set(rate="1Mbit")
    net.at(10, cable.cut)

    @client.run
    def work() -> tuple[float, int]:
        time.sleep(1)
        got = bytearray()
        session = ftplib.FTP("server", "user", "secret", timeout=3600)
        with contextlib.closing(session), pytest.raises(TimeoutError):
            session.retrbinary("RETR long.bin", got.extend)
        return time.monotonic(), len(got)

    net.run()
    noticed_s, count = work.result()
    assert 900_000 < count < 1_200_000
    assert noticed_s == pytest.approx(3610, abs=0.1)


class SmallTlsServer(socketserver.StreamRequestHandler):
    """Answers what ``FTP_TLS`` asks to get one file. (pyftpdlib's TLS is pyOpenSSL's, which reads descriptors in C.)"""

    context: ssl.SSLContext

    def handle(self) -> None:
        self.say("220 ready")
        for line in self.rfile:
            verb = line.split()[0].upper().decode()
            if verb == "AUTH":
                self.say("234 go on")
                with self.context.wrap_socket(self.request, server_side=True) as self.request:
                    self.setup()
                    self.handle_secured()
                return

    def handle_secured(self) -> None:
        answers = {"USER": "331 and", "PASS": "230 welcome", "PBSZ": "200 0", "PROT": "200 private", "TYPE": "200 I"}
        for line in self.rfile:
            verb = line.split()[0].upper().decode()
            if verb == "PASV":
                listener = socket.create_server(("", 0))
                port = listener.getsockname()[1]
                octets = (*self.request.getsockname()[0].split("."), str(port >> 8), str(port & 255))
                self.say(f"227 ({','.join(octets)})")
            elif verb == "RETR":
                self.say("150 here it comes")
                plain, _ = listener.accept()
                with listener, self.context.wrap_socket(plain, server_side=True) as data:
                    data.sendall(b"secret" * 10_000)
                    data.unwrap()
                self.say("226 done")
            else:
                self.say(answers.get(verb, "221 bye"))

    def say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")


def test_a_file_comes_over_tls(
    net: Network, client: Host, server: Host, contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    class Handler(SmallTlsServer):
        context = contexts[0]

    @server.run
    def serve() -> None:
        with socketserver.TCPServer(("", 21), Handler) as listening:
            listening.serve_forever()

    @client.run
    def get() -> int:
        got = bytearray()
        with ftplib.FTP_TLS("server", "user", "secret", context=contexts[1], timeout=3600) as session:
            session.prot_p()
            session.retrbinary("RETR file", got.extend)
        return len(got)

    net.run()
    assert get.result() == 60_000


# --- socketserver


class Upper(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line.upper())


class Reverse(socketserver.DatagramRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.read()[::-1])


@pytest.mark.parametrize("kind", [socketserver.TCPServer, socketserver.ThreadingTCPServer])
def test_a_server_of_lines(net: Network, client: Host, server: Host, kind: type[socketserver.TCPServer]) -> None:
    @server.run
    def serve() -> None:
        with kind(("", 7), Upper) as listening:
            listening.serve_forever()

    def ask(text: bytes) -> bytes:
        with socket.create_connection(("server", 7)) as connection, connection.makefile("rb") as file:
            connection.sendall(text)
            line = file.readline()
            time.sleep(600)
            return line

    programs = [client.run(ask, text) for text in (b"one\n", b"two\n")]
    net.run()
    assert [program.result() for program in programs] == [b"ONE\n", b"TWO\n"]
    assert net.now == pytest.approx(600 if kind is socketserver.ThreadingTCPServer else 1200, abs=20)


@pytest.mark.parametrize("kind", [socketserver.UDPServer, socketserver.ThreadingUDPServer])
def test_a_server_of_datagrams(net: Network, client: Host, server: Host, kind: type[socketserver.UDPServer]) -> None:
    @server.run
    def serve() -> None:
        with kind(("", 7), Reverse) as listening:
            listening.serve_forever()

    @client.run
    def ask() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
            caller.settimeout(3600)
            caller.sendto(b"abc", ("server", 7))
            return caller.recv(100)

    net.run()
    assert ask.result() == b"cba"


def test_a_threading_server_ends_with_its_request(net: Network, client: Host, server: Host) -> None:
    @server.run
    def serve() -> float:
        with socketserver.ThreadingTCPServer(("", 7), Upper) as listening:
            thread = threading.Thread(target=listening.serve_forever)
            thread.start()
            time.sleep(3600)
            listening.shutdown()
            thread.join()
        return time.monotonic()

    @client.run
    def ask() -> bytes:
        with socket.create_connection(("server", 7)) as connection:
            connection.sendall(b"abc\n")
            return connection.recv(100)

    net.run()
    assert ask.result() == b"ABC\n"
    program: Program[float] = serve
    assert program.result() == pytest.approx(3600, abs=0.6)


def test_a_server_gives_up_a_caller_without_power_after_its_own_hour(
    net: Network, client: Host, server: Host,
) -> None:
    noticed: list[float] = []

    class Patient(socketserver.StreamRequestHandler):
        timeout = 3600

        def handle(self) -> None:
            try:
                self.rfile.readline()
                self.rfile.readline()
            except TimeoutError:
                noticed.append(time.monotonic())

    @server.run
    def serve() -> None:
        with socketserver.ThreadingTCPServer(("", 7), Patient) as listening:
            listening.handle_request()

    @client.run
    def call() -> None:
        with socket.create_connection(("server", 7)) as connection:
            connection.sendall(b"one\n")
            time.sleep(100_000)

    net.at(10, client.power_off)
    net.run()
    assert noticed == [pytest.approx(3600.06, abs=0.01)]
