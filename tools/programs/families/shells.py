"""Remote shells and directories; they stand in the table after mail and files."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from typing import Any

from tools.programs.entry import Family, arest, rest

_family = Family("Mail, shells, files, directories")


# --- shells


_KEYS = "keys and padding are from the machine's entropy, in C"


def serve_paramiko() -> None:
    import socket

    import paramiko

    key = paramiko.RSAKey.generate(2048)

    class Server(paramiko.ServerInterface):
        def check_auth_password(self, username: str, password: str) -> int:
            return int(paramiko.AUTH_SUCCESSFUL)  # type: ignore[attr-defined]

        def check_channel_request(self, kind: str, number: int) -> int:
            return int(paramiko.OPEN_SUCCEEDED)  # type: ignore[attr-defined]

        def check_channel_exec_request(self, channel: Any, command: bytes) -> bool:
            def answer() -> None:
                channel.sendall(command.upper())
                channel.send_exit_status(0)
                channel.close()

            threading.Timer(0.01, answer).start()
            return True

    listening = socket.create_server(("", 22))
    kept = []
    while True:
        connection, _ = listening.accept()
        transport = paramiko.Transport(connection)
        transport.add_server_key(key)
        transport.start_server(server=Server())
        kept.append(transport)


def ask_paramiko() -> list[bytes]:
    import paramiko

    with paramiko.SSHClient() as client:
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        client.connect("server", username="a", password="p", look_for_keys=False, allow_agent=False)
        answers = [client.exec_command("one", timeout=30)[1].read()]
        rest()
        return [*answers, client.exec_command("two", timeout=30)[1].read()]


_family.add(
    "paramiko",
    ask_paramiko,
    [b"ONE", b"TWO"],
    server=serve_paramiko,
    imports="paramiko",
    start=30,
    tried="both sides, `timeout=30`",
    differs=_KEYS,
)


async def serve_asyncssh() -> None:
    import asyncssh

    class Server(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return False

    async def answer(process: Any) -> None:
        process.stdout.write(process.command.upper())
        process.exit(0)

    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.create_server(Server, "", 22, server_host_keys=[key], process_factory=answer)
    await server.wait_closed()


async def ask_asyncssh() -> list[str]:
    import asyncssh

    async with asyncssh.connect(
        "server",
        username="a",
        known_hosts=None,
        config=None,
        client_keys=None,
        keepalive_interval=15,
        keepalive_count_max=3,
    ) as client:
        answers = [str((await client.run("one")).stdout)]
        await arest()
        return [*answers, str((await client.run("two")).stdout)]


_family.add(
    "asyncssh",
    ask_asyncssh,
    ["ONE", "TWO"],
    server=serve_asyncssh,
    imports="asyncssh",
    ci=True,
    tried="both sides, `keepalive_interval=15`",
    differs=_KEYS,
)


def ask_fabric() -> list[str]:
    import fabric
    import paramiko

    connection = fabric.Connection(
        "server", user="a", connect_kwargs={"password": "p", "look_for_keys": False, "allow_agent": False}
    )
    connection.client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    with connection:
        answers = [connection.run("one", hide=True, in_stream=False, timeout=30).stdout]
        rest()
        return [*answers, connection.run("two", hide=True, in_stream=False, timeout=30).stdout]


_family.add(
    "fabric",
    ask_fabric,
    ["ONE", "TWO"],
    server=serve_paramiko,
    imports="fabric paramiko",
    start=30,
    tried="over paramiko, `timeout=30`",
    differs=_KEYS,
)


def ask_sshtunnel() -> list[bytes]:
    """A forwarded port, through which a line is shouted back."""
    import asyncssh

    async def main() -> list[bytes]:
        async with asyncssh.connect(
            "server", username="a", known_hosts=None, config=None, client_keys=None, keepalive_interval=15
        ) as client:
            listener = await client.forward_local_port("127.0.0.1", 7000, "localhost", 7)
            reader, writer = await asyncio.open_connection("127.0.0.1", 7000)
            answers = []
            for word in (b"one\n", b"two\n"):
                writer.write(word)
                answers.append(await reader.readline())
                if word == b"one\n":
                    await arest()
            writer.close()
            listener.close()
            return answers

    return asyncio.run(main())


async def serve_forwarding() -> None:
    import asyncssh

    from tools.programs.families.standard import serve_streams

    class Server(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return False

        def connection_requested(self, *address: Any) -> bool:
            return True

    key = asyncssh.generate_private_key("ssh-ed25519")
    await asyncssh.create_server(Server, "", 22, server_host_keys=[key])
    await serve_streams()


_family.add(
    "asyncssh, a tunnel",
    ask_sshtunnel,
    [b"ONE\n", b"TWO\n"],
    server=serve_forwarding,
    package="asyncssh",
    imports="asyncssh",
    tried="a forwarded port, `keepalive_interval=15`",
    differs=_KEYS,
)


async def serve_telnet() -> None:
    import telnetlib3

    async def shell(reader: Any, writer: Any) -> None:
        while line := await reader.readline():
            writer.write(line.strip().upper() + "\r\n")
            await writer.drain()

    server = await telnetlib3.create_server("0.0.0.0", 23, shell=shell, connect_maxwait=0.5)
    await server.wait_closed()


async def ask_telnet() -> list[str]:
    import telnetlib3

    reader, writer = await telnetlib3.open_connection("server", 23, connect_minwait=0.1, connect_maxwait=0.5)
    answers = []
    for word in ("one", "two"):
        writer.write(word + "\r\n")
        answers.append((await asyncio.wait_for(reader.readline(), 30)).strip())
        if word == "one":
            await arest()
    writer.close()
    return answers


_family.add("telnetlib3", ask_telnet, ["ONE", "TWO"], server=serve_telnet, imports="telnetlib3", tried="both sides")


def ask_netmiko() -> list[str]:
    import netmiko

    with netmiko.ConnectHandler(
        device_type="terminal_server", host="server", username="a", password="p", read_timeout_override=30
    ) as device:
        return [device.session_log or "", str(device.is_alive())]


def ask_ssh2() -> Any:
    import socket

    from ssh2.session import Session

    sock = socket.create_connection(("server", 22))
    session = Session()
    session.handshake(sock)
    return session


_family.add(
    "ssh2-python",
    ask_ssh2,
    None,
    server=serve_asyncssh,
    imports="ssh2.session asyncssh",
    is_refused=True,
    tried="libssh2 reads the descriptor in C",
)


# --- directories


def serve_ldaptor() -> None:
    from ldaptor.inmemory import fromLDIFFile
    from ldaptor.interfaces import IConnectedLDAPEntry
    from ldaptor.protocols.ldap.ldapserver import LDAPServer
    from twisted.internet import reactor
    from twisted.internet.protocol import ServerFactory
    from twisted.python.components import registerAdapter

    ldif = b"dn: dc=shop\nobjectClass: dcObject\ndc: shop\n\ndn: cn=a,dc=shop\nobjectClass: person\ncn: a\nsn: one\n\n"

    class Factory(ServerFactory):
        protocol = LDAPServer
        debug = False

        def __init__(self, root: Any) -> None:
            self.root = root

        def buildProtocol(self, address: Any) -> Any:
            made = self.protocol()
            made.debug, made.factory = False, self
            return made

    registerAdapter(lambda factory: factory.root, Factory, IConnectedLDAPEntry)

    def begin(root: Any) -> None:
        reactor.listenTCP(389, Factory(root))  # type: ignore[attr-defined]

    fromLDIFFile(io.BytesIO(ldif)).addCallback(begin)
    reactor.run()  # type: ignore[attr-defined]


def ask_ldap3() -> list[Any]:
    import ldap3

    with ldap3.Connection(
        ldap3.Server("server", get_info=ldap3.NONE, connect_timeout=10), receive_timeout=10
    ) as client:
        answers = []
        for number in range(2):
            client.search("dc=shop", "(cn=a)", attributes=["sn"])
            answers.append(str(client.entries[0].sn))
            if not number:
                rest()
        return answers


_family.add(
    "ldap3, ldaptor",
    ask_ldap3,
    ["one", "one"],
    server=serve_ldaptor,
    package="ldap3",
    fresh=("twisted", "ldaptor"),
    imports="ldap3",
    tried="`receive_timeout=10`",
)
_ = time
