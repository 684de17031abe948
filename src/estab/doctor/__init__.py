"""Says why a connection is stuck or slow: from the kernel's sockets, from captures, and from recordings of the lab.

``diagnose`` takes any of them; ``causes`` has the one table of what can be found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from estab.doctor.finding import Finding as Finding
from estab.doctor.finding import Report as Report

if TYPE_CHECKING:
    from estab.tcp.info import Info

__all__ = ["Finding", "Report", "diagnose"]


def diagnose(what: Any = None, **options: Any) -> Report:
    """Find out what is wrong, slow or held up.

    ``what`` is a path of a capture (pcap, pcapng, gzip); a ``Recorder`` of the lab, or its facts; what ``info()`` of a
    socket gave, or several of them; or nothing: this machine's sockets (Linux; options ``pid``, ``port``, ``netns``,
    ``pause_s``). ``OSError`` and ``CaptureError`` if it can't be read, ``TypeError`` if it is something else.
    """
    from estab.events import Event
    from estab.tcp.info import Info

    if what is None:
        from estab.doctor.sockets import diagnose_sockets

        return diagnose_sockets(**options)
    if options:
        raise TypeError(f"{', '.join(options)}: only for this machine's sockets, that is without a first argument")
    if isinstance(what, (str, PathLike)):
        from estab.doctor.captures import diagnose_capture

        return diagnose_capture(what)
    if isinstance(what, Info):
        return _diagnose_infos([what])
    facts = getattr(what, "facts", what)
    if isinstance(facts, Iterable):
        items: Sequence[object] = list(facts)
        if all(isinstance(item, Event) for item in items):
            from estab.doctor.recordings import diagnose_facts

            events = [item for item in items if isinstance(item, Event)]
            return diagnose_facts(events, end_ns=getattr(what, "end_ns", 0))
        if all(isinstance(item, Info) for item in items):
            return _diagnose_infos([item for item in items if isinstance(item, Info)])
    raise TypeError(f"{what!r} is neither the path of a capture, nor a recording, nor what info() of a socket gave")


def _diagnose_infos(infos: Sequence[Info]) -> Report:
    from estab.doctor.infos import judge_infos

    return judge_infos(infos)
