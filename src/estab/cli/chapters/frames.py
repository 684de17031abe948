"""Sticky and split packets: TCP carries bytes, and where a message begins is for the program to say."""

from __future__ import annotations

import socket
import time

from estab.cli.chapters.chapter import Chapter, Scene, Stage
from estab.events import SegmentSent
from estab.messages import LengthPrefixed

__all__ = ["CHAPTER"]

_WORDS = (b"HELLO", b"HOW ARE YOU", b"BYE")


def _sticky(stage: Stage) -> None:
    client, server, _ = stage.pair(delay="10ms")
    got: list[bytes] = []

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            connection = stage.keep(listener.accept()[0])
        time.sleep(0.1)
        got.append(connection.recv(1024))

    @client.run
    def call() -> None:
        caller = stage.keep(socket.create_connection(("server", 80)))
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for word in _WORDS:
            caller.send(word)

    stage.net.run()
    _find(stage, got, _WORDS)


def _split(stage: Stage) -> None:
    client, server, _ = stage.pair(delay="10ms", rate="1Mbit")
    got: list[bytes] = []
    message = b"x" * 4000

    @server.run
    def serve() -> None:
        with socket.create_server(("", 80)) as listener:
            connection = stage.keep(listener.accept()[0])
        while sum(map(len, got)) < len(message):
            got.append(connection.recv(8192))

    @client.run
    def call() -> None:
        stage.keep(socket.create_connection(("server", 80))).sendall(message)

    stage.net.run()
    _find(stage, got, (message,))


def _cured(stage: Stage) -> None:
    client, server, _ = stage.pair(delay="10ms", rate="1Mbit")
    messages = (b"HELLO", b"x" * 4000, b"BYE")
    got: list[bytes] = []
    reads: list[bytes] = []

    @server.run
    def serve() -> None:
        codec = LengthPrefixed(4)
        with socket.create_server(("", 80)) as listener:
            connection = stage.keep(listener.accept()[0])
        while len(got) < len(messages):
            reads.append(connection.recv(8192))
            got.extend(codec.feed(reads[-1]))

    @client.run
    def call() -> None:
        codec = LengthPrefixed(4)
        caller = stage.keep(socket.create_connection(("server", 80)))
        for message in messages:
            caller.sendall(codec.encode(message))

    stage.net.run()
    stage.found(f"recv() gave pieces of {_sizes(reads)} bytes; the codec made messages of {_sizes(got)} bytes of them, "
                f"{'equal to' if tuple(got) == messages else 'different from'} those that were sent.")


def _find(stage: Stage, got: list[bytes], messages: tuple[bytes, ...]) -> None:
    segments = [fact for fact in stage.facts(SegmentSent) if fact.length]
    stage.found(f"{len(messages)} send() of {_sizes(messages)} bytes, {len(segments)} segments of "
                f"{', '.join(str(fact.length) for fact in segments)}, {len(got)} recv() of {_sizes(got)}.")
    whole = sum(piece in messages for piece in got)
    if whole < len(messages):
        stage.found(f"{len(messages) - whole} of {len(messages)} messages did not come out of a recv() as they went "
                    "into a send(). Nothing is wrong: TCP keeps the order of bytes and knows no messages.")


def _sizes(pieces: tuple[bytes, ...] | list[bytes]) -> str:
    return ", ".join(str(len(piece)) for piece in pieces)


CHAPTER = Chapter(
    "frames", "sticky and split packets",
    "I sent three messages and received one; I sent one and received three. Is TCP broken, are packets glued together?",
    (
        Scene("three sends, one late reader",
              "10 ms of cable. The client sends three words "
              "without delay; the server reads 100 ms after it accepted.", _sticky),
        Scene("one send, an early reader",
              "The same cable at 1 Mbit/s. The client sends one message of 4,000 bytes; the server reads as soon as "
              "it can.",
              _split),
        Scene("with a length in front",
              "As before, but each message goes through estab.messages.LengthPrefixed: 4 bytes of length, then the "
              "message.",
              _cured),
    ),
)
