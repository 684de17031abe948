"""``estab report FILE``: a page that shows a capture from anywhere."""

from __future__ import annotations

from pathlib import Path

import click

from estab.observe.pcapng import CaptureError, read
from estab.report.captured import captured
from estab.report.page import Scene, write_report

__all__ = ["report"]



@click.command()
@click.argument("capture", type=click.Path(exists=True, dir_okay=False))
@click.option("--out", "-o", type=click.Path(dir_okay=False), help="Where the page goes  [default: the capture's name "
                                                                   "with .html].")
@click.option("--payload", is_flag=True, help="Put the payload of the packets into the page, not only their headers.")
def report(capture: str, out: str | None, payload: bool) -> None:
    """Show a capture as a page: ladder, sequence numbers, round trips, rates, on one clock.

    CAPTURE is a pcapng file, of estab or of any other tool. What a capture can't know is left out, and the page says
    so. The page is one file that needs no server and loads nothing.
    """
    path = Path(out) if out is not None else Path(capture).with_suffix(".html")
    if path.exists() and path.samefile(capture):
        raise click.UsageError(f"--out: {str(path)!r} is the capture itself")
    try:
        with open(capture, "rb") as stream:
            packets = read(stream)
    except OSError as error:
        raise click.ClickException(f"cannot read {capture!r}: {error.strerror}") from error
    except CaptureError as error:
        raise click.ClickException(f"{capture}: {error}") from error
    if not packets.packets:
        raise click.ClickException(f"{capture}: there is no packet in it")
    tables = captured(packets, has_payload=payload)
    try:
        write_report(path, Scene(tables, f"Capture {Path(capture).name}", f"estab report {Path(capture).name}"))
    except OSError as error:
        raise click.ClickException(f"--out: cannot write {str(path)!r}: {error.strerror}") from error
    click.echo(f"{path}: {len(packets.packets):,} packets, {len(tables.conns):,} connections")
