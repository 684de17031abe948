"""What a link does to frames: the properties of one direction, and how they are written.

A value stands for both directions; a pair for the way from the first host and the way from the second; a dict, keyed by
the sending host or its name, for the ways it names. Words (``"40ms"``, ``"2%"``, ``"20Mbit"``, ``"64KiB"``) are read
here.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from os import PathLike
from typing import Any, Final, TypeAlias, TypedDict, TypeVar

from estab.lab.record.shapes import Bursts, Jitter
from estab.lab.record.traces import DelayProfile, Opportunities, read_profile
from estab.settings import Duration
from estab.units import bits_per_second, byte_count, duration_ns, share

__all__ = [
    "NO_CONDITIONS", "QUEUE_FRAMES", "Conditions", "LinkProperties", "by_sender", "count_of", "one_of",
    "read_conditions",
]

QUEUE_FRAMES: Final = 1000
"""Frames that wait at most, if the link has a rate and no ``queue`` was given: Linux's ``txqueuelen``."""


T = TypeVar("T")
Ways: TypeAlias = T | tuple[T, T] | Mapping[Any, T]
"""One value for both directions, a pair of them, or some by the sending host or its name."""


class LinkProperties(TypedDict, total=False):
    """The keywords of ``Network.link`` and ``Link.set``."""

    delay: Ways[Duration]
    """Time from the last bit sent to the last bit received: ``"40ms"``, or seconds."""
    jitter: Ways[Duration | Jitter]
    """By how much the delay differs, either way; with a distribution ``"10ms normal"``, ``"10ms pareto"``, ``"10ms
    table:FILE"``. Frames stay in order, unless it says ``reorder``: ``"10ms normal reorder"``. See ``Jitter``."""
    loss: Ways[float | str | Bursts]
    """The share of frames that is lost: ``"2%"``, or 0.02; in bursts ``"2% in bursts of 5"``. See ``Bursts``."""
    trace: Ways[str | PathLike[str] | None]
    """A file that says how the link was: a mahimahi trace (when 1500 bytes may leave, in place of ``rate``), or a
    capture of TCP (delay, to which ``delay`` is added, and losses)."""
    rate: Ways[float | str | None]
    """``"20Mbit"``, or bits a second; ``None``: any number at once."""
    queue: Ways[int | str | None]
    """How much waits for the rate at most: frames, or bytes like ``"64KiB"``; ``None``: 1000 frames."""
    queue_of: Ways[str]
    """Whose queue that is: ``"link"``, what comes on top is lost unseen, as in a router; ``"host"``, the sender's own
    (``txqueuelen``): its TCP is told at once, as Linux's is, and slows down before the peer misses anything."""
    ecn_mark: Ways[int | str | None]
    """With so much waiting for the rate, ECN-capable packets are marked CE: frames, or bytes like ``"30KiB"``."""
    aqm: Ways[str | None]
    """``"codel"``, or with target and interval ``"codel 5ms 100ms"`` (RFC 8289); ``"fq"``: a fair queue, each flow in a
    line of its own; ``"fq_codel"``: with CoDel in each (RFC 8290)."""
    mtu: Ways[int]
    """The largest IP packet carried, in bytes."""
    reorder: Ways[float | str]
    """The share of frames that are overtaken."""
    duplicate: Ways[float | str]
    """The share of frames that arrive twice."""
    corrupt: Ways[float | str]
    """The share of frames in which a bit flips."""


_ASKING: Final = (
    "mtu", "ecn_mark_limit", "rate_bps", "opportunities", "loss", "corrupt", "duplicate", "reorder",
)


@dataclass(frozen=True, slots=True)
class Conditions:
    """One direction of a link. Shares are of 1."""

    delay_ns: int = 0
    """Time from the last bit sent to the last bit received."""
    jitter_ns: int = 0
    """By how much the delay differs: at most for ``uniform``, else the standard deviation."""
    jitter_shape: str = "uniform"
    jitter_reorders: bool = False
    """A frame may arrive before one that was sent earlier."""
    jitter_table: tuple[int, ...] = ()
    """From which is drawn, 8192 for ``jitter_ns``."""
    delay_profile: DelayProfile | None = None
    """How the delay changes over time; ``delay_ns`` is added."""
    loss: float = 0.0
    """The share of frames that is lost, on average."""
    bursts: Bursts | None = None
    """How losses follow each other; ``None``: each frame alone."""
    rate_bps: int = 0
    """Bits a second; 0 for a link that takes any number at once."""
    opportunities: Opportunities | None = None
    """When something may leave, in place of a rate."""
    queue_frames: int = QUEUE_FRAMES
    """The most frames that wait for the rate; 0 if bytes are the limit."""
    queue_bytes: int = 0
    is_queue_of_host: bool = False
    """The sender is told of what finds no room in the queue."""
    ecn_mark_frames: int = 0
    """With so many frames waiting for the rate, packets that are ECN-capable are marked; 0: bytes are the threshold."""
    ecn_mark_bytes: int = 0
    codel_target_ns: int = 0
    """CoDel's target: how long a frame may wait in a queue that lasts (RFC 8289 section 4.3); 0: no CoDel."""
    codel_interval_ns: int = 0
    """CoDel's interval: for how long, before it acts; a long round trip (section 4.3)."""
    is_fair: bool = False
    """Each flow waits for the rate in a queue of its own (RFC 8290 section 4.1)."""
    mtu: int = 1500
    """The largest IP packet carried."""
    reorder: float = 0.0
    """Frames that are held back until one to four later ones have passed."""
    duplicate: float = 0.0
    corrupt: float = 0.0
    """Frames in which one bit changes. With Ethernet the frame check sees it and the frame is gone."""
    asked: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """Which of the properties that ask for something to be done to frames are not 0."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "asked", tuple([name for name in _ASKING if getattr(self, name)]))

    @property
    def ecn_mark_limit(self) -> int:
        """The threshold, in frames or in bytes; 0 for none."""
        return self.ecn_mark_frames or self.ecn_mark_bytes


def by_sender(words: Mapping[str, object], senders: Collection[str], where: str) -> dict[str, object]:
    """Return link properties whose dictionaries have the names of sending hosts as keys.

    A key may be a host or its name. ``ValueError`` and ``TypeError`` for one that sends nothing there.
    """
    return {word: _by_sender(word, value, senders, where) if isinstance(value, Mapping) else value
            for word, value in words.items()}


def _by_sender(word: str, value: Mapping[object, object], senders: Collection[str], where: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, one in value.items():
        name = key if isinstance(key, str) else getattr(key, "name", None)
        if not isinstance(name, str):
            raise TypeError(f"{word}: {key!r} is not a host; a dictionary has values by the sending host")
        if name not in senders:
            raise ValueError(f"{word}: {name} is at no end of {where}; a dictionary has values by the sending host: "
                             f"{' or '.join(senders)}")
        if name in found:
            raise ValueError(f"{word}: {name} stands there twice")
        found[name] = one
    return found


_PLAIN: Final = frozenset({str, int, float})
"""Types of words that hold for both directions and never change."""
NO_CONDITIONS: Final = Conditions()
"""Those of a link that is told nothing."""


def read_both(words: Mapping[str, object], first: str, second: str, where: str) -> tuple[Conditions, Conditions]:
    """Read the properties of a new link: what is to happen to what each of its two ends sends.

    ``where`` is the link's name. ``TypeError`` and ``ValueError`` as those of ``by_sender`` and ``read_conditions``.
    """
    types = tuple(map(type, words.values()))
    if _PLAIN.issuperset(types) and "trace" not in words:
        both = _read_plain(tuple(words.items()), types)
        return both, both
    given = by_sender(words, (first, second), where)
    return _read_all(NO_CONDITIONS, first, True, given), _read_all(NO_CONDITIONS, second, False, given)


def read_conditions(base: Conditions, sender: str, is_first: bool, words: Mapping[str, object]) -> Conditions:
    """Read ``delay=``, ``loss=`` and so on for the way from ``sender``. What is not given stays as in ``base``.

    ``TypeError`` and ``ValueError`` name the property, the value and what would be right.
    """
    if base is NO_CONDITIONS and "trace" not in words and _PLAIN.issuperset(map(type, words.values())):
        return _read_plain(tuple(words.items()), tuple(map(type, words.values())))
    return _read_all(base, sender, is_first, words)


@lru_cache(256)
def _read_plain(words: tuple[tuple[str, object], ...], _types: tuple[type, ...]) -> Conditions:
    """Read what holds for both directions. Each seed of a sweep has the same links. (1 equals 1.0 and ``True``.)"""
    return _read_all(NO_CONDITIONS, "", True, dict(words))


def _read_all(base: Conditions, sender: str, is_first: bool, words: Mapping[str, object]) -> Conditions:
    changes: dict[str, Any] = {}
    for name in sorted(words, key=lambda word: word != "trace"):  # what is said beside a trace counts more
        value = words[name]
        if name not in _PROPERTIES:
            near = difflib.get_close_matches(name, _PROPERTIES, 1)
            raise TypeError(f"a link has no property {name!r}" + (f"; did you mean {near[0]}?" if near else
                            f": it has {', '.join(_PROPERTIES)}"))
        if isinstance(value, (tuple, list)):
            if len(value) != 2:
                raise ValueError(f"{name}: {value!r} has {len(value)} values; a pair is one for each direction")
            value = value[0 if is_first else 1]
        elif isinstance(value, Mapping):
            if sender not in value:
                continue
            value = value[sender]
        changes.update(_read_trace(value, is_first) if name == "trace" else _read(name, value))
    return Conditions(**changes) if base is NO_CONDITIONS else replace(base, **changes)


def _read(name: str, value: Any) -> dict[str, Any]:
    if name == "delay":
        return {"delay_ns": duration_ns(value, name)}
    if name == "jitter":
        return _read_jitter(value)
    if name == "loss":
        return _read_loss(value)
    if name == "rate":
        return {"rate_bps": 0 if value is None else _positive(name, value, bits_per_second(value, name))}
    if name == "queue":
        return _read_queue(value)
    if name == "queue_of":
        one_of(name, value, ("link", "host"))
        return {"is_queue_of_host": value == "host"}
    if name == "ecn_mark":
        return _read_mark(value)
    if name == "aqm":
        return _read_aqm(value)
    if name == "mtu":
        if not isinstance(value, int) or not 68 <= value <= 65535:
            raise ValueError(f"mtu: {value!r} is not a number of bytes from 68 (RFC 791) to 65535")
        return {"mtu": value}
    return {name: share(value, name)}


def _read_jitter(value: Any) -> dict[str, Any]:
    found = Jitter.read(value) if isinstance(value, str) else value
    if not isinstance(found, Jitter):
        return {"jitter_ns": duration_ns(value, "jitter"), "jitter_shape": "uniform", "jitter_reorders": False,
                "jitter_table": ()}
    try:
        return found.fields()
    except OSError as error:
        raise ValueError(f"jitter: {error.filename}: {error.strerror}") from None


def _read_loss(value: Any) -> dict[str, Any]:
    found = Bursts.read(value) if isinstance(value, str) else value
    if not isinstance(found, Bursts):
        return {"loss": share(value, "loss"), "bursts": None}
    return {"loss": found.loss, "bursts": found}


def _read_trace(value: Any, is_first: bool) -> dict[str, Any]:
    if value is None:
        return {"opportunities": None, "delay_profile": None}
    if not isinstance(value, (str, PathLike)):
        raise TypeError(f"trace: {value!r} is not the path of a file, a mahimahi trace or a capture")
    try:
        profile = read_profile(str(value))
    except OSError as error:
        raise ValueError(f"trace: {error.filename}: {error.strerror}") from None
    if profile.opportunities is not None:
        return {"opportunities": profile.opportunities, "delay_profile": None}
    losses = profile.losses[0 if is_first else 1]
    return {"opportunities": None, "delay_profile": profile.delay, "loss": 0.0 if losses is None else losses.loss,
            "bursts": losses}


def _read_queue(value: Any) -> dict[str, int]:
    if value is None:
        return {"queue_frames": QUEUE_FRAMES, "queue_bytes": 0}
    if isinstance(value, int):
        return {"queue_frames": _positive("queue", value, value), "queue_bytes": 0}
    if isinstance(value, str):
        return {"queue_frames": 0, "queue_bytes": _positive("queue", value, byte_count(value, "queue"))}
    raise TypeError(f"queue: {value!r} is neither a number of frames like 100 nor a size like \"64KiB\"")


def _read_mark(value: Any) -> dict[str, int]:
    if value is None:
        return {"ecn_mark_frames": 0, "ecn_mark_bytes": 0}
    if isinstance(value, int):
        return {"ecn_mark_frames": _positive("ecn_mark", value, value), "ecn_mark_bytes": 0}
    if isinstance(value, str):
        return {"ecn_mark_frames": 0, "ecn_mark_bytes": _positive("ecn_mark", value, byte_count(value, "ecn_mark"))}
    raise TypeError(f"ecn_mark: {value!r} is neither a number of frames like 20 nor a size like \"30KiB\"")


def _read_aqm(value: Any) -> dict[str, int | bool]:
    if value is None:
        return {"codel_target_ns": 0, "codel_interval_ns": 0, "is_fair": False}
    words = value.split() if isinstance(value, str) else []
    is_known = bool(words) and (words == ["fq"] or (words[0] in ("codel", "fq_codel") and len(words) in (1, 3)))
    if not is_known:
        raise ValueError(f"aqm: {value!r} is neither \"codel\", \"fq\" or \"fq_codel\", nor CoDel with target and "
                         "interval, \"codel 5ms 100ms\"")
    if words == ["fq"]:
        return {"codel_target_ns": 0, "codel_interval_ns": 0, "is_fair": True}
    target, interval = words[1:] or ("5ms", "100ms")
    return {
        "codel_target_ns": _positive("aqm", value, duration_ns(target, "aqm")),
        "codel_interval_ns": _positive("aqm", value, duration_ns(interval, "aqm")),
        "is_fair": words[0] == "fq_codel",
    }


def _positive(name: str, given: object, value: int) -> int:
    if value <= 0:
        raise ValueError(f"{name}: {given!r} is not more than nothing; None is the default")
    return value


def one_of(name: str, given: object, right: tuple[str, ...]) -> None:
    """See that a word is one of those that mean something. ``ValueError``."""
    if given not in right:
        raise ValueError(f"{name}: {given!r} is not {' or '.join(map(repr, right))}")


def count_of(name: str, given: object) -> int:
    """See that a number counts something. ``TypeError``, ``ValueError``."""
    if type(given) is not int:
        raise TypeError(f"{name}: {given!r} is not a whole number")
    return _positive(name, given, given)


_PROPERTIES: Final = tuple(LinkProperties.__annotations__)
