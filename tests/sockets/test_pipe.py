"""Pipes of a host do what the machine's do: capacity, PIPE_BUF, ends, files, asyncio."""

from __future__ import annotations

import array
import asyncio
import errno
import os
import select
import signal
import stat
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from estab import ExitError, Network

fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with Linux's pipes")


def on_a_host(function: Callable[[], Any]) -> Any:
    """Run a function as a program of a host, alone."""
    with Network() as net:
        program = net.host("a").run(function)
        net.run()
        return program.result()


def both(function: Callable[[], Any]) -> Any:
    """Compare what a function returns on a host with what it returns on the machine. Returns it."""
    found = on_a_host(function)
    assert found == function()
    return found


def tried(call: Callable[..., Any], *args: Any) -> Any:
    """Return what a call returns, or the name of its error."""
    try:
        return call(*args)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def readiness(number: int) -> int:
    """Return what ``poll`` says of a descriptor now."""
    poll = select.poll()
    poll.register(number, select.POLLIN | select.POLLOUT)
    found = poll.poll(0)
    return found[0][1] if found else 0


def close(*numbers: int) -> None:
    """Close descriptors."""
    for number in numbers:
        os.close(number)


def test_a_pipe_holds_64_kib_and_says_eagain_beyond() -> None:
    def look() -> Any:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        found = [readiness(writer), os.write(writer, bytes(100_000)), readiness(writer), readiness(reader),
                 tried(os.write, writer, b"x")]
        os.read(reader, 4096)
        found += [readiness(writer), os.write(writer, bytes(4096)), tried(os.write, writer, b"x")]
        close(reader, writer)
        return found

    both(look)


def test_up_to_pipe_buf_a_write_is_whole_or_not_at_all() -> None:
    def look() -> Any:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        os.write(writer, bytes(65_536 - 4096))
        found = [tried(os.write, writer, bytes(4097)), tried(os.write, writer, b"x")]
        os.read(reader, 65_536)
        os.write(writer, bytes(65_536 - 4096))
        found += [tried(os.write, writer, bytes(4096)), tried(os.write, writer, bytes(4096))]
        close(reader, writer)
        return found

    both(look)


def test_a_blocking_write_ends_when_all_is_written_and_threads_do_not_mix_short_ones() -> None:
    def look() -> Any:
        reader, writer = os.pipe()
        counts: list[int] = []
        threads = [threading.Thread(target=lambda mark=mark: [  # type: ignore[misc]
            os.write(writer, mark * 1000) for _ in range(100)]) for mark in (b"a", b"b")]
        threads.append(threading.Thread(target=lambda: counts.append(os.write(writer, b"c" * 300_000))))
        for thread in threads:
            thread.start()
        got = b""
        while len(got) < 500_000:
            got += os.read(reader, 65_536)
        for thread in threads:
            thread.join()
        close(reader, writer)
        return sorted(counts), got.count(b"a"), got.count(b"b"), got.count(b"c")

    assert both(look) == ([300_000], 100_000, 100_000, 300_000)


def test_a_short_write_is_never_torn_apart() -> None:
    def look() -> int:
        reader, writer = os.pipe()
        threads = [threading.Thread(target=lambda mark=mark: [  # type: ignore[misc]
            os.write(writer, mark * 3000) for _ in range(50)]) for mark in (b"a", b"b", b"d")]
        for thread in threads:
            thread.start()
        got = b""
        while len(got) < 450_000:
            got += os.read(reader, 5000)
        for thread in threads:
            thread.join()
        close(reader, writer)
        return sum(got[at : at + 3000] != got[at : at + 1] * 3000 for at in range(0, 450_000, 3000))

    assert on_a_host(look) == 0


def test_the_ends_of_a_pipe() -> None:
    def look() -> Any:
        reader, writer = os.pipe()
        found = [tried(os.read, writer, 1), tried(os.write, reader, b"x"), readiness(reader), readiness(writer),
                 os.read(reader, 0), os.write(writer, b"")]
        os.write(writer, b"left")
        os.close(writer)
        found += [readiness(reader), os.read(reader, 10), readiness(reader), os.read(reader, 10)]
        os.close(reader)
        reader, writer = os.pipe()
        os.close(reader)
        found += [readiness(writer), tried(os.write, writer, b"x"), tried(os.write, writer, b"")]
        os.close(writer)
        return [*found, tried(os.write, writer, b"x")]

    both(look)


def test_what_fcntl_fstat_and_ioctl_say() -> None:
    def look() -> Any:
        reader, writer = os.pipe()
        os.write(writer, b"four")
        waiting = array.array("i", [0])
        fcntl.ioctl(reader, termios.FIONREAD, waiting)
        access = [fcntl.fcntl(end, fcntl.F_GETFL) & os.O_ACCMODE for end in (reader, writer)]
        found = [*access, [stat.S_ISFIFO(os.fstat(end).st_mode) for end in (reader, writer)], waiting[0],
                 fcntl.fcntl(writer, 1032), fcntl.fcntl(writer, 1031, 5000), fcntl.fcntl(reader, 1032),
                 tried(fcntl.fcntl, writer, 1031, 0)]
        close(reader, writer)
        return found

    both(look)


def test_dup_and_dup2_share_an_end_which_closes_with_the_last() -> None:
    def look() -> Any:
        reader, writer = os.pipe()
        second = os.dup(writer)
        other_reader, other_writer = os.pipe()
        os.dup2(writer, other_writer)
        third = fcntl.fcntl(writer, fcntl.F_DUPFD, 700)
        found = [os.read(other_reader, 1), third >= 700]  # its own writer is gone
        for number in (writer, second, other_writer, third):
            os.write(number, b"x")
            os.close(number)
        found.append(os.read(reader, 10) + os.read(reader, 10))
        close(reader, other_reader)
        return found

    both(look)


def test_files_over_a_pipe() -> None:
    def look() -> Any:
        reader, writer = os.pipe()
        with os.fdopen(reader, encoding="utf-8") as source, os.fdopen(writer, "w", encoding="utf-8") as sink:
            print("línea", file=sink, flush=True)
            print("two", file=sink)
            sink.close()
            found = [source.readline(), source.read(), source.fileno() == reader]
        reader, writer = os.pipe()
        with os.fdopen(reader, "rb", 0) as raw, os.fdopen(writer, "wb", closefd=False) as buffered:
            os.set_blocking(reader, False)
            found.append(raw.read(10))
            buffered.write(b"x" * 10)
            buffered.flush()
            found.append(raw.read(100))
        os.close(writer)
        return found

    both(look)


def test_open_takes_the_number_of_a_pipe_as_fdopen_does() -> None:
    def look() -> Any:
        reader, writer = os.pipe()
        with open(writer, "w", encoding="utf-8") as sink:
            print("hello", file=sink)
        with open(reader, "rb", closefd=False) as source:
            found = source.read()
        os.close(reader)
        return found, tried(os.read, reader, 1)

    assert both(look) == (b"hello\n", "EBADF")


def test_asyncio_reads_from_and_writes_to_pipes() -> None:
    async def talk() -> Any:
        loop = asyncio.get_running_loop()
        reader, writer = os.pipe()
        stream = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(reader, "rb", 0))
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin,
                                                            os.fdopen(writer, "wb", 0))
        sink = asyncio.StreamWriter(transport, protocol, None, loop)
        sink.write(b"x" * 200_000)
        drained = asyncio.ensure_future(sink.drain())
        got = await stream.readexactly(200_000)
        await drained
        transport.close()
        return len(got), await stream.read()

    def look() -> Any:
        return asyncio.run(talk())

    both(look)


def test_a_pipe_leads_from_one_program_of_a_host_to_another() -> None:
    numbers: list[int] = []

    def read() -> bytes:
        numbers.extend(os.pipe())
        return os.read(numbers[0], 100)

    def write() -> None:
        os.write(numbers[1], b"from another program")

    with Network() as net:
        a = net.host("a")
        reading = a.run(read)
        a.run(write, start=1)
        net.run()
        assert reading.result() == b"from another program"


def test_the_end_of_its_program_closes_a_pipe() -> None:
    numbers: list[int] = []

    def make() -> None:
        numbers.extend(os.pipe())
        threading.Event().wait(2)

    def read() -> bytes:
        return os.read(numbers[0], 100)

    with Network() as net:
        a = net.host("a")
        a.run(make)
        reading = a.run(read, start=1)
        net.run(check=False)
        assert isinstance(reading.exception(), OSError)


def test_sigpipe_ends_a_program_that_does_not_ignore_it() -> None:
    def die() -> None:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        reader, writer = os.pipe()
        os.close(reader)
        os.write(writer, b"x")

    with Network() as net:
        program = net.host("a").run(die)
        net.run(check=False)
        with pytest.raises(ExitError, match="SIGPIPE"):
            program.result()


def test_descriptors_run_out_at_the_hosts_limit() -> None:
    def open_many() -> Any:
        opened = []
        try:
            while True:
                opened += os.pipe()
        except OSError as error:
            return error.errno, len(opened)
        finally:
            close(*opened)

    with Network() as net:
        a = net.host("a")
        a.engine.files.limit = 20
        program = a.run(open_many)
        net.run()
        assert program.result() == (errno.EMFILE, 16)
