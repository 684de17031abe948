"""Mail and files."""

from __future__ import annotations

import asyncio
import ftplib
import imaplib
import io
import poplib
import smtplib
import socketserver
import threading
from typing import Any

from tools.programs.entry import Family, arest, rest

_family = Family("Mail, shells, files, directories")
_LETTER = "From: a@shop\r\nTo: b@shop\r\nSubject: hello\r\n\r\none\r\n"


# --- mail


def serve_aiosmtpd() -> None:
    from aiosmtpd.controller import Controller

    class Sink:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            return f"250 kept {len(envelope.content)} bytes"

    controller = Controller(Sink(), hostname="0.0.0.0", port=25, ready_timeout=30, server_hostname="server")
    controller.start()
    threading.Event().wait()


async def serve_aiosmtpd_loop() -> None:
    from aiosmtpd.smtp import SMTP

    class Sink:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            return f"250 kept {len(envelope.content)} bytes"

    server = await asyncio.get_running_loop().create_server(lambda: SMTP(Sink(), hostname="server"), "0.0.0.0", 25)
    await server.serve_forever()


def send_smtplib() -> list[Any]:
    with smtplib.SMTP("server", local_hostname="client") as server:
        answers = [server.sendmail("a@shop", "b@shop", _LETTER)]
        rest()
        return [*answers, server.sendmail("a@shop", "b@shop", _LETTER)]


_family.add(
    "smtplib, aiosmtpd",
    send_smtplib,
    [{}, {}],
    server=serve_aiosmtpd_loop,
    package="aiosmtpd",
    imports="aiosmtpd.smtp",
    ci=True,
    tried="no time-out",
)
_family.add(
    "aiosmtpd, Controller",
    send_smtplib,
    [{}, {}],
    server=serve_aiosmtpd,
    package="aiosmtpd",
    imports="aiosmtpd.controller",
    tried="its loop in a thread",
)


async def send_aiosmtplib() -> list[str]:
    import aiosmtplib

    client = aiosmtplib.SMTP(hostname="server", port=25, local_hostname="client", timeout=30)
    await client.connect()
    answers = [(await client.sendmail("a@shop", ["b@shop"], _LETTER))[1]]
    await arest()
    answers.append((await client.sendmail("a@shop", ["b@shop"], _LETTER))[1])
    await client.quit()
    return answers


_family.add(
    "aiosmtplib",
    send_aiosmtplib,
    ["kept 49 bytes"] * 2,
    server=serve_aiosmtpd_loop,
    imports="aiosmtplib aiosmtpd.smtp",
    tried="`timeout=30`",
)


class _Pop(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"+OK hello\r\n")
        for line in self.rfile:
            verb = line.split()[0].upper()
            self.wfile.write(
                {
                    b"STAT": b"+OK 2 20\r\n",
                    b"RETR": b"+OK\r\none\r\n.\r\n",
                    b"QUIT": b"+OK bye\r\n",
                }.get(verb, b"+OK\r\n")
            )
            if verb == b"QUIT":
                return


class _Imap(socketserver.StreamRequestHandler):
    """A mailbox of two letters."""

    def handle(self) -> None:
        self.wfile.write(b"* OK [CAPABILITY IMAP4rev1] hello\r\n")
        for line in self.rfile:
            tag, verb, *words = line.split()
            verb = words.pop(0).upper() if verb.upper() == b"UID" else verb.upper()
            if verb == b"CAPABILITY":
                self.wfile.write(b"* CAPABILITY IMAP4rev1\r\n")
            elif verb == b"SELECT":
                self.wfile.write(b"* 2 EXISTS\r\n* 0 RECENT\r\n* FLAGS ()\r\n* OK [UIDVALIDITY 1] ok\r\n")
            elif verb == b"SEARCH":
                self.wfile.write(b"* SEARCH 1 2\r\n")
            elif verb == b"LOGOUT":
                self.wfile.write(b"* BYE bye\r\n")
            self.wfile.write(tag + b" OK done\r\n")
            if verb == b"LOGOUT":
                return


class _Threads(socketserver.ThreadingTCPServer):
    daemon_threads = True


def _serve(handler: Any, port: int) -> Any:
    def serve() -> None:
        with _Threads(("", port), handler) as server:
            server.serve_forever()

    return serve


def ask_poplib() -> list[Any]:
    box = poplib.POP3("server", timeout=10)
    answers = [box.stat()]
    rest()
    answers.append(box.retr(1)[1])
    box.quit()
    return answers


_family.add(
    "poplib", ask_poplib, [(2, 20), [b"one"]], server=_serve(_Pop, 110), package="", ci=True, tried="`timeout=10`"
)


def ask_imaplib() -> list[Any]:
    with imaplib.IMAP4("server", timeout=10) as box:
        box.login("a", "p")
        answers = [box.select()]
        rest()
        return [*answers, box.search(None, "ALL")]


_family.add(
    "imaplib",
    ask_imaplib,
    [("OK", [b"2"]), ("OK", [b"1 2"])],
    server=_serve(_Imap, 143),
    package="",
    ci=True,
    tried="`timeout=10`",
    differs="tags of commands, from `random` at import",
)


def ask_imapclient() -> list[Any]:
    import imapclient

    with imapclient.IMAPClient("server", ssl=False, timeout=10) as box:
        box.login("a", "p")
        answers = [box.select_folder("INBOX")[b"EXISTS"]]
        rest()
        return [*answers, list(box.search("ALL"))]


_family.add(
    "IMAPClient",
    ask_imapclient,
    [2, [1, 2]],
    server=_serve(_Imap, 143),
    imports="imapclient",
    tried="`timeout=10`",
    differs="tags of commands, from `random` at import",
)


# --- files


def serve_pyftpdlib() -> None:
    import tempfile

    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import FTPServer

    authorizer = DummyAuthorizer()
    authorizer.add_anonymous(tempfile.mkdtemp(), perm="elradfmw")

    class Handler(FTPHandler):  # type: ignore[misc]
        pass

    Handler.authorizer = authorizer
    FTPServer(("0.0.0.0", 21), Handler).serve_forever()


def ask_ftplib() -> list[Any]:
    with ftplib.FTP("server", timeout=10) as server:
        server.login()
        server.storbinary("STOR one", io.BytesIO(b"1" * 100_000))
        rest()
        found = io.BytesIO()
        server.retrbinary("RETR one", found.write)
        return [server.nlst(), len(found.getvalue())]


_family.add(
    "ftplib, pyftpdlib",
    ask_ftplib,
    [["one"], 100_000],
    server=serve_pyftpdlib,
    package="pyftpdlib",
    imports="pyftpdlib.servers pyftpdlib.handlers",
    ci=True,
    tried="passive, `timeout=10`",
)


async def serve_aioftp() -> None:
    import tempfile

    import aioftp

    server = aioftp.Server([aioftp.User(base_path=tempfile.mkdtemp())])
    await server.start("0.0.0.0", 21)
    await server.serve_forever()


async def ask_aioftp() -> list[Any]:
    import aioftp

    async with aioftp.Client.context("server", socket_timeout=10) as client:
        async with client.upload_stream("one") as stream:
            await stream.write(b"1" * 100_000)
        await arest()
        size = 0
        async with client.download_stream("one") as stream:
            async for block in stream.iter_by_block():
                size += len(block)
        return [size]


_family.add(
    "aioftp", ask_aioftp, [100_000], server=serve_aioftp, imports="aioftp", tried="both sides, `socket_timeout=10`"
)


def serve_tftpy() -> None:
    import os
    import tempfile

    import tftpy

    folder = tempfile.mkdtemp()
    with open(os.path.join(folder, "one"), "wb") as file:
        file.write(b"1" * 5000)
    tftpy.TftpServer(folder).listen("0.0.0.0", 69)


def ask_tftpy() -> list[int]:
    import tftpy

    sizes = []
    for number in range(2):
        found = io.BytesIO()
        found.close = lambda: None  # type: ignore[method-assign]
        tftpy.TftpClient("server", 69).download("one", found, timeout=5)
        sizes.append(len(found.getvalue()))
        if not number:
            rest()
    return sizes


_family.add("tftpy", ask_tftpy, [5000, 5000], server=serve_tftpy, imports="tftpy", tried="UDP, `timeout=5`")
