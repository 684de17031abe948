"""``estab report FILE``: a page that shows a capture from anywhere."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from estab.cli.ascii import echo
from estab.cli.reading import with_progress
from estab.cli.written import cannot_write
from estab.devices.capture_file import CaptureError, read_capture
from estab.doctor.captures import diagnose_capture
from estab.doctor.finding import Finding, Timeline
from estab.report.captured import captured
from estab.report.page import Found, Scene, write_report
from estab.report.phases import Hold, add_phases
from estab.report.tables import Tables
from estab.units import SECOND, format_count

__all__ = ["report"]

_FINDINGS_MAX: Final = 100


@click.command()
@click.argument("capture", type=click.Path(exists=True, dir_okay=False))
@click.option("--out", "-o", type=click.Path(dir_okay=False), help="Where the page goes  [default: the capture's name "
                                                                   "with .html].")
@click.option("--payload", is_flag=True, help="Put the payload of the packets into the page, not only their headers.")
def report(capture: str, out: str | None, payload: bool) -> None:
    """Show a capture as a page: ladder, sequence numbers, round trips, rates, on one clock.

    CAPTURE is a pcap or pcapng file, of estab or of any other tool. What a capture can't know is left out, and the
    page says so; what `estab doctor` finds in it stands above the views. The page is one file that needs no server and
    loads nothing.
    """
    path = Path(out) if out is not None else Path(capture).with_suffix(".html")
    if path.exists() and path.samefile(capture):
        raise click.UsageError(f"--out: {str(path)!r} is the capture itself")
    try:
        with open(capture, "rb") as stream:
            reader = read_capture(stream)
            tables = captured(with_progress(reader, stream), has_payload=payload)
    except OSError as error:
        raise click.UsageError(f"cannot read {capture!r}: {error.strerror}") from error
    except CaptureError as error:
        raise click.UsageError(f"{capture}: {error}") from error
    if tables.count("frame") == 0:
        raise click.ClickException(f"{capture}: there is no packet in it that could be shown")
    if reader.cut:
        tables.missing.append(f"The capture ends in the middle: {reader.cut}.")
    diagnosis = diagnose_capture(capture, with_progress)
    findings = _found(tables, diagnosis.findings)
    add_phases(tables, _holds(tables, diagnosis.timelines))
    tables.missing.extend(f"The doctor: {note}." for note in diagnosis.left_out)
    name = Path(capture).name
    scene = Scene(tables, f"Capture {name}", f"estab report {shlex.quote(name)}", findings=findings)
    try:
        write_report(path, scene)
    except OSError as error:
        raise cannot_write(str(path), "--out", error) from error
    packets, connections = format_count(tables.count("frame"), "packet"), format_count(len(tables.conns), "connection")
    echo(f"{path}: {packets}, {connections}")


def _first_segment_ns(tables: Tables) -> int:
    """Return when the doctor's clock begins on the page's: with the first segment; the page's begins with any frame."""
    frame = tables.columns["frame"]
    return next((at_ns for at_ns, conn in zip(frame["t"], frame["conn"], strict=True) if conn >= 0), 0)


def _holds(tables: Tables, timelines: list[Timeline]) -> Iterator[Hold]:
    """Put the phases of transfers on the page's clock."""
    first_ns = _first_segment_ns(tables)
    for timeline in timelines:
        for phase in timeline.phases:
            yield Hold(timeline.subject, timeline.side, first_ns + round(phase.from_s * SECOND),
                       first_ns + round(phase.to_s * SECOND), phase.name)


def _found(tables: Tables, findings: list[Finding]) -> list[Found]:
    """Put the doctor's findings on the page's clock."""
    first_ns = _first_segment_ns(tables)
    found = []
    for finding in findings[:_FINDINGS_MAX]:
        since_s = finding.from_s or 0
        until_s = finding.to_s if finding.to_s is not None else since_s
        title = finding.cause.title + (f" ({finding.confidence})" if finding.confidence != "sure" else "")
        found.append(Found(
            title, finding.subject, first_ns + round(since_s * SECOND), first_ns + round(until_s * SECOND),
            tuple(finding.evidence), finding.notices, tuple(finding.cures or finding.cause.cures),
        ))
    return found
