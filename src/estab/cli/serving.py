"""What ``--serve`` means: ``echo:7``, ``http:80=public``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from estab.serve.services import Service

__all__ = ["Served", "make_service", "parse_serve"]

NAMES: Final = ("echo", "discard", "chargen", "http")


@dataclass(frozen=True, slots=True)
class Served:
    """One service, its port, and for http the folder."""

    name: str
    port: int
    folder: str = ""


def parse_serve(text: str) -> Served:
    """Read one ``--serve``, or raise ``UsageError``."""
    name, colon, rest = text.partition(":")
    port_text, equals, folder = rest.partition("=")
    if name not in NAMES or not colon:
        raise click.UsageError(f"--serve: {text!r} is none of echo:PORT, discard:PORT, chargen:PORT, http:PORT=FOLDER")
    if not (port_text.isascii() and port_text.isdigit() and 0 < int(port_text) < 65536):
        raise click.UsageError(f"--serve: {port_text!r} is not a port, 1 to 65535")
    if name == "http" and not folder:
        raise click.UsageError(f"--serve: {text!r} names no folder; write it like http:80=public")
    if name != "http" and equals:
        raise click.UsageError(f"--serve: {name} takes no folder")
    if folder and not os.path.isdir(folder):
        raise click.UsageError(f"--serve: there is no folder {folder!r}")
    return Served(name, int(port_text), folder)


def make_service(served: Served) -> Service:
    """Make the service that was asked for."""
    from estab.serve.http import Http
    from estab.serve.plain import Chargen, Discard, Echo
    from estab.stack.folder import Folder

    if served.name == "http":
        return Http(Folder(served.folder))
    if served.name == "echo":
        return Echo()
    return Discard() if served.name == "discard" else Chargen()
