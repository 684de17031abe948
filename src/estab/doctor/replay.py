"""The twin of a case: a scenario of the lab, as a Python program, with the round trip, loss, windows and timers seen.

The program plays the case as it is, then once with each cure, in virtual time, and says when the program would notice
or how long the transfer takes: "after 924.6s; with TCP_USER_TIMEOUT=20s after 20s". It is also a pytest file.
"""

from __future__ import annotations

from typing import Any, Final

from estab.doctor.finding import Finding, Report
from estab.doctor.twins import BODIES, COMMON
from estab.units import format_bytes

__all__ = ["parameters_of", "twin_of", "write_replay"]

_DEFAULTS: Final[dict[str, Any]] = {
    "rtt_ms": 20.0, "jitter_ms": 0.0, "loss": 0.0, "bytes": 500_000, "window_bytes": 0, "flight_bytes": 0, "mss": 1460,
    "rate_bps": 0, "has_timestamps": True, "has_sack": True, "retries2": 15, "syn_retries": 6, "backlog": 1,
    "congestion": "cubic", "think_ms": 0.0, "stalls": 20, "reorder": 0.0, "idle_s": 60.0, "pace": 0, "rto_ms": 0.0,
}
_TEMPLATES: Final = {
    "path-silent": "silence", "close-unanswered": "silence", "mtu-black-hole": "transfer",
    "syn-unanswered": "opening", "half-open": "idle", "unwatched-idle": "idle",
    "peer-not-reading": "window", "not-reading": "window", "close-wait": "close_wait",
    "accept-queue-full": "accept", "nagle-delayed-ack": "nagle", "window-limited": "transfer",
    "send-buffer-limited": "transfer", "pacing-limited": "transfer", "congestion-limited": "transfer",
    "loss": "transfer", "bufferbloat": "transfer", "reordering": "transfer", "spurious-retransmission": "transfer",
    "keepalive-race": "race", "reset-unread-data": "unread", "long-path": "trips", "slow-server": "trips",
    "slow-client": "trips", "time-wait-ports": "ports",
}
_CURES: Final[dict[str, tuple[tuple[str, dict[str, Any]], ...]]] = {
    "window-limited": (("receive buffer left to auto-tuning", {"window_bytes": 0}),
                       ("half the round trip", {"rtt_ms": 0.5})),
    "send-buffer-limited": (("send buffer left to auto-tuning", {"send_buffer": 0}),),
    "pacing-limited": (("without SO_MAX_PACING_RATE", {"pace": 0}), ("twice the pace", {"pace": 2.0})),
    "congestion-limited": (("bbr", {"congestion": "bbr"}), ("initial window of 40", {"tcp_initial_cwnd": 40})),
    "loss": (("bbr", {"congestion": "bbr"}), ("without SACK", {"tcp_sack": False}), ("without loss", {"loss": 0.0})),
    "bufferbloat": (("CoDel at the slow link", {"aqm": "codel"}), ("bbr", {"congestion": "bbr"})),
    "reordering": (("without reordering", {"reorder": 0.0}), ("without SACK and RACK", {"tcp_sack": False})),
    "spurious-retransmission": (("without F-RTO", {"tcp_frto": 0}), ("without the jump of the delay", {"spike_ms": 0})),
    "mtu-black-hole": (("tcp_mtu_probing=1", {"tcp_mtu_probing": 1}), ("TCP_MAXSEG=500", {"maxseg": 500}),
                       ("a path that carries all", {"mtu": 1500})),
}


def write_replay(report: Report, path: str) -> str:
    """Write the twin of the first finding that has one. Returns what it is about. ``ValueError`` if none has."""
    finding = next((finding for finding in report.findings if finding.name in _TEMPLATES), None)
    if finding is None:
        names = ", ".join(dict.fromkeys(finding.name for finding in report.findings)) or "nothing"
        raise ValueError(f"--replay: no scenario can be made of what was found ({names})")
    text = twin_of(finding)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return f"the twin of {finding.subject}: {finding.cause.title}"


def parameters_of(finding: Finding) -> dict[str, Any]:
    """Return a scenario's parameters: what was seen, and defaults for the rest."""
    return {**_DEFAULTS, **finding.parameters}


def twin_of(finding: Finding) -> str:
    """Write the program."""
    seen = parameters_of(finding)
    if finding.name == "send-buffer-limited":
        seen["send_buffer"] = seen["flight_bytes"]
    if finding.name == "mtu-black-hole":
        seen["mtu"] = max(576, min(1400, int(seen.get("largest", 0)) + 100))
        seen["bytes"] = min(max(int(seen["bytes"]), 20_000), 200_000)
        seen["loss"] = 0.0
    if finding.name == "pacing-limited" and not seen["pace"]:
        seen["pace"] = max(1000, int(seen["rate_bps"]) // 8)
    if finding.name == "bufferbloat":
        seen["queue"] = f"{max(64, int(seen['flight_bytes']) // 1024)}KiB"
    if finding.name not in ("bufferbloat", "congestion-limited"):
        seen["rate_bps"] = 0  # what the path could carry is not what held it up
    if finding.name != "window-limited":
        seen["window_bytes"] = 0
    rows = "\n".join(f"    {name!r}: {value!r}," for name, value in seen.items())
    cures = "\n".join(f"    ({name!r}, {changes!r})," for name, changes in _CURES.get(finding.name, ()))
    evidence = "\n".join(f"#   {sentence}" for sentence in finding.evidence)
    head = (f'"""The twin of {finding.subject}: {finding.cause.title}.\n\nWritten by `estab doctor --replay`. '
            'Run it with Python, or with pytest: all times in it are virtual.\n"""\n\n')
    facts = f"# What was seen:\n{evidence}\nSEEN = {{\n{rows}\n}}\nCURES = [\n{cures}\n]\n"
    about = (f"# {format_bytes(int(seen['bytes']))} of text, a round trip of {seen['rtt_ms']:g} ms, "
             f"loss {seen['loss']:.2%}.\n")
    imports, common = COMMON
    return head + imports + "\n" + about + facts + "\n\n" + common + "\n\n" + BODIES[_TEMPLATES[finding.name]] + _MAIN


_MAIN: Final = '''

def main():
    """Play the case as it is, then with each cure."""
    told = []
    for name, result in trials():
        print(f"{name:<44} {result}", flush=True)
        told.append((name, result))
    return told


def test_each_cure_changes_something():
    told = main()
    assert len({result for _, result in told}) > 1, told


if __name__ == "__main__":
    main()
'''
