"""``estab report FILE``: a page that shows a capture from anywhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import click

from estab.devices.capture_file import Captured, CaptureError, read_capture
from estab.report.captured import captured
from estab.report.page import Scene, write_report
from estab.units import format_count

__all__ = ["report"]



@click.command()
@click.argument("capture", type=click.Path(exists=True, dir_okay=False))
@click.option("--out", "-o", type=click.Path(dir_okay=False), help="Where the page goes  [default: the capture's name "
                                                                   "with .html].")
@click.option("--payload", is_flag=True, help="Put the payload of the packets into the page, not only their headers.")
def report(capture: str, out: str | None, payload: bool) -> None:
    """Show a capture as a page: ladder, sequence numbers, round trips, rates, on one clock.

    CAPTURE is a pcap or pcapng file, of estab or of any other tool. What a capture can't know is left out, and the
    page says so. The page is one file that needs no server and loads nothing.
    """
    path = Path(out) if out is not None else Path(capture).with_suffix(".html")
    if path.exists() and path.samefile(capture):
        raise click.UsageError(f"--out: {str(path)!r} is the capture itself")
    try:
        with open(capture, "rb") as stream:
            reader = read_capture(stream)
            tables = captured(_with_progress(reader, stream, Path(capture).stat().st_size), has_payload=payload)
    except OSError as error:
        raise click.ClickException(f"cannot read {capture!r}: {error.strerror}") from error
    except CaptureError as error:
        raise click.ClickException(f"{capture}: {error}") from error
    if tables.count("frame") == 0:
        raise click.ClickException(f"{capture}: there is no packet in it that could be shown")
    if reader.cut:
        tables.missing.append(f"The capture ends in the middle: {reader.cut}.")
    try:
        write_report(path, Scene(tables, f"Capture {Path(capture).name}", f"estab report {Path(capture).name}"))
    except OSError as error:
        raise click.ClickException(f"--out: cannot write {str(path)!r}: {error.strerror}") from error
    packets, connections = format_count(tables.count("frame"), "packet"), format_count(len(tables.conns), "connection")
    click.echo(f"{path}: {packets}, {connections}")


def _with_progress(frames: Iterable[Captured], stream: BinaryIO, size: int) -> Iterator[Captured]:
    """Pass frames on, and show how far the file is read, on a terminal that is waited at."""
    with click.progressbar(length=size, label="reading", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        done = 0
        for number, frame in enumerate(frames):
            yield frame
            if number % 2000 == 0:
                bar.update(stream.tell() - done)
                done = stream.tell()
        bar.update(size - done)
