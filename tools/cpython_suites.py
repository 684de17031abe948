"""Which of CPython's tests ``tools/cpython_tests.py`` runs, and which it leaves out, with the reason."""

from __future__ import annotations

from dataclasses import dataclass

UDPLITE = "UDP-Lite, which estab has not"
OTHER_FAMILY = "another address family than IPv4 and IPv6"
SIGNAL = "signals come to the process's main thread; a program of the lab is another thread: see the real-time rows"
FORK = "a forked process has a copy of its parent's network, not the network"
PYTHON = "counts references to an argument, and a traceback through a function written in Python holds one"
SYSTEM = "pipes, terminals and processes are the operating system's; the lab's time is virtual: see the real-time rows"
MANY = "makes as many sockets as the system allows descriptors, tens of thousands: minutes in the lab"
NUMBER = "wants the number that a socket just gave up to be no other's; a host's socket takes its own when asked for it"
LUCK = "expects that a thread has run while the one that started it did not wait"

TCP_CLASSES = (
    "BasicTCPTest", "BasicTCPTest2", "TCPCloserTest", "BasicSocketPairTest", "NonBlockingTCPTests",
    "FileObjectClassTestCase", "UnbufferedFileObjectClassTestCase", "LineBufferedFileObjectClassTestCase",
    "SmallBufferedFileObjectClassTestCase", "UnicodeReadFileObjectClassTestCase", "UnicodeWriteFileObjectClassTestCase",
    "UnicodeReadWriteFileObjectClassTestCase", "NetworkConnectionNoServer", "NetworkConnectionAttributesTest",
    "NetworkConnectionBehaviourTest", "TCPTimeoutTest", "BufferIOTest", "ContextManagersTest", "InheritanceTest",
    "SendfileUsingSendTest", "SendfileUsingSendfileTest", "CreateServerTest", "CreateServerFunctionalTest",
    "SendmsgTCPTest", "RecvmsgTCPTest", "RecvmsgIntoTCPTest",
)
"""The 26 classes of test_socket that are about TCP streams: 211 tests."""


@dataclass(frozen=True)
class Suite:
    """Tests of one module: those that ``only`` matches, without what ``excluded`` matches, each with its reason.

    Patterns are of names behind the module's. ``world`` is ``lab`` or ``stack``.
    """

    name: str
    module: str
    only: tuple[str, ...] = ("*",)
    excluded: tuple[tuple[str, str], ...] = ()
    world: str = "lab"


SUITES = (
    Suite("socket-tcp", "test.test_socket", tuple(f"{name}.*" for name in TCP_CLASSES), (
        ("TCPTimeoutTest.testInterruptedTimeout", SIGNAL),
    )),
    Suite("socket", "test.test_socket", excluded=(
        *((f"{name}.*", "") for name in TCP_CLASSES),
        ("*UDPLITE*", UDPLITE),
        ("*VSOCK*", OTHER_FAMILY),
        ("Interrupted*", SIGNAL),
        ("*.test_sendall_interrupted*", SIGNAL),
        ("GeneralModuleTests.testRefCountGetNameInfo", PYTHON),
    )),
    Suite("socket-signals", "test.test_socket", (
        "Interrupted*", "*.test_sendall_interrupted*", "TCPTimeoutTest.testInterruptedTimeout",
    ), world="stack"),
    Suite("asyncio-streams", "test.test_asyncio.test_streams", excluded=(
        ("*pipe_reader*", SYSTEM),
    )),
    Suite("asyncio-streams-system", "test.test_asyncio.test_streams", ("*pipe_reader*",), world="stack"),
    Suite("asyncio-sock-lowlevel", "test.test_asyncio.test_sock_lowlevel"),
    Suite("asyncio-server", "test.test_asyncio.test_server"),
    Suite("asyncio-sendfile", "test.test_asyncio.test_sendfile"),
    Suite("asyncio-events", "test.test_asyncio.test_events", excluded=(
        ("*signal*", SIGNAL),
        ("PolicyTests.test_get_event_loop*", SIGNAL),
        ("*returns_running_loop2", SIGNAL),
        ("*subprocess*", SYSTEM),
        ("*pipe*", SYSTEM),
        ("*pty*", SYSTEM),
        ("*new_process*", FORK),
    )),
    Suite("asyncio-events-system", "test.test_asyncio.test_events", (
        "*signal*", "PolicyTests.test_get_event_loop*", "*returns_running_loop2", "*subprocess*", "*pipe*", "*pty*",
    ), world="stack"),
    Suite("socketserver", "test.test_socketserver", excluded=(
        ("*[Ff]orking*", FORK),
        ("SocketWriterTest.test_write", SIGNAL),
        ("MiscTestCase.test_threads_reaped", LUCK),
    )),
    Suite("socketserver-signals", "test.test_socketserver", (
        "SocketWriterTest.test_write", "MiscTestCase.test_threads_reaped",
    ), world="stack"),
    Suite("httpservers", "test.test_httpservers"),
    Suite("httplib", "test.test_httplib"),
    Suite("ftplib", "test.test_ftplib"),
    Suite("smtplib", "test.test_smtplib"),
    Suite("selectors", "test.test_selectors", excluded=(
        ("*fd_close_and_reuse", NUMBER),
        ("*test_above_fd_setsize", MANY),
        ("*interrupt*", SIGNAL),
    )),
    Suite("selectors-signals", "test.test_selectors", ("*interrupt*",), world="stack"),
    Suite("ssl", "test.test_ssl"),
)
