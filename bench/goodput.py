"""Goodput as a share of the bottleneck, by congestion control, loss, round-trip time and rate, in virtual time.

    python -m bench.goodput [--rate 10Mbit] [--jobs N] [--write FILE] [--page FILE]

One connection that always has something to send crosses one link whose queue holds a bandwidth-delay product (at least
16 full packets). After a warm-up, what arrives is counted. Beside each figure stands what theory says:

- Reno: W = sqrt(3 / 2p) segments (Mathis et al. 1997), the square-root law.
- CUBIC: W = 1.054 (RTT / p)^(3/4) segments, with the RTT in seconds (RFC 9438 section 5.1 with C 0.4 and beta 0.7), or
  the square-root law where that is more: the Reno-friendly region.
- no loss, and BBR, which does not answer to loss: the whole link.

Theory knows no timeouts: at 5 % of loss a window holds few segments, many losses end in one, and less arrives.
``tests/lab/goodput.json`` keeps the figures; a test says when they move.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.traffic import Bulk, wide_open
from estab._build import core_line
from estab.lab.network import Network
from estab.units import MS, SECOND, bits_per_second

__all__ = ["Case", "all_cases", "measure", "theory"]

CONTROLS = ("reno", "cubic", "bbr")
LOSSES = (0.0, 0.001, 0.01, 0.05)
RTTS_MS = (1, 50, 300)
RATES = ("10Mbit", "100Mbit", "1Gbit")
PACKET_BYTES = 1500
TEXT_BYTES = 1448
"""Of a full packet: IPv4 and TCP headers take 20 bytes each, timestamps 12."""
WARM_UP_RTTS = 40
MEASURED_RTTS = 100
MEASURED_NS_LEAST = 2 * SECOND
LOSSES_WANTED = 120
"""So many losses make the mean of a random sawtooth good to about a tenth."""
PACKETS_MOST = 400_000
MARK = "## The table"
"""The heading in the documentation's page below which the table stands, to the page's end."""


@dataclass(frozen=True, slots=True)
class Case:
    """One cell of the table."""

    control: str
    loss: float
    rtt_ms: int
    rate: str

    @property
    def key(self) -> str:
        """Its name in the file of figures."""
        return f"{self.control} {self.loss:.1%} {self.rtt_ms}ms {self.rate}"


def all_cases(rates: tuple[str, ...] = RATES) -> Iterator[Case]:
    """Yield the table's cells, row by row."""
    for rate in rates:
        for rtt_ms in RTTS_MS:
            for loss in LOSSES:
                for control in CONTROLS:
                    yield Case(control, loss, rtt_ms, rate)


def theory(case: Case) -> float:
    """Give the share of the link that theory promises; see the top of the file."""
    link_bps = bits_per_second(case.rate)
    whole = TEXT_BYTES / PACKET_BYTES
    if case.loss == 0 or case.control == "bbr":
        return whole * (1 - case.loss)
    rtt_s = case.rtt_ms / 1000
    window = math.sqrt(1.5 / case.loss)
    if case.control == "cubic":
        window = max(window, 1.054 * (rtt_s / case.loss) ** 0.75)
    return min(whole * (1 - case.loss), window * TEXT_BYTES * 8 / rtt_s / link_bps)


def measure(case: Case, seed: int = 1) -> float:
    """Give the share of the link that arrived as text."""
    link_bps = bits_per_second(case.rate)
    rtt_ns = case.rtt_ms * MS
    bdp_bytes = link_bps * rtt_ns // (8 * SECOND)
    queue_bytes = max(bdp_bytes, 16 * PACKET_BYTES)
    net = Network(seed)
    config: dict[str, Any] = wide_open(8 * (bdp_bytes + queue_bytes) + (4 << 20))
    sender, receiver = net.host("sender", **config), net.host("receiver", **config)
    net.link(sender, receiver, rate=(case.rate, None), delay=f"{rtt_ns // 2}ns", queue=(f"{queue_bytes}B", None),
             loss=(case.loss, 0.0))
    bulk = Bulk(net, sender, receiver, 80, case.control)
    warm_up_ns = WARM_UP_RTTS * rtt_ns + SECOND
    net.run(f"{warm_up_ns}ns")
    bulk.mark()
    lasts_ns = max(MEASURED_RTTS * rtt_ns, MEASURED_NS_LEAST)
    if case.loss > 0:
        packets = LOSSES_WANTED / case.loss
        share = max(theory(case), 0.001)
        lasts_ns = max(lasts_ns, int(packets * PACKET_BYTES * 8 / (link_bps * share) * SECOND))
    packets_ns = PACKETS_MOST * PACKET_BYTES * 8 * SECOND // link_bps
    net.run(f"{warm_up_ns + max(min(lasts_ns, packets_ns), 20 * rtt_ns)}ns")
    net.close()
    return bulk.rate_bps() / link_bps


def _timed(case: Case) -> tuple[Case, float, float]:
    start = time.process_time()
    return case, measure(case), time.process_time() - start


def main() -> None:
    """Measure, with progress on standard error, and print the table."""
    parser = argparse.ArgumentParser(description="goodput of each congestion control over lossy links")
    parser.add_argument("--rate", action="append", choices=RATES, help="only links of this rate")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--write", metavar="FILE", type=Path, help="keep the figures as JSON")
    parser.add_argument("--page", metavar="FILE", type=Path, help="put the table into this page of the documentation")
    options = parser.parse_args()
    if options.page and (options.rate or MARK not in options.page.read_text(encoding="utf-8")):
        parser.error(f"--page wants the whole table, and a page with the line {MARK!r}")
    cases = list(all_cases(tuple(options.rate or RATES)))
    figures: dict[str, float] = {}
    print(core_line(), file=sys.stderr)
    started = time.monotonic()
    with ProcessPoolExecutor(options.jobs) as pool:
        # The longest first: the table is done when the slowest cell is.
        running = [pool.submit(_timed, case) for case in sorted(cases, key=lambda case: (case.loss, -len(case.rate)))]
        for done, future in enumerate(as_completed(running), 1):
            case, share, cpu_s = future.result()
            figures[case.key] = round(share, 4)
            sys.stderr.write(f"\r{done}/{len(cases)} {case.key:30} {share:6.1%} ({cpu_s:.1f} s) ")
            sys.stderr.flush()
    sys.stderr.write(f"\n{len(cases)} cells in {time.monotonic() - started:.0f} s\n")
    if options.write:
        ordered = {case.key: figures[case.key] for case in cases}
        options.write.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
    lines = list(table(figures, cases))
    if options.page:
        before = options.page.read_text(encoding="utf-8").partition(MARK)[0]
        options.page.write_text(before + MARK + "\n\n" + "\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def table(figures: dict[str, float], cases: list[Case]) -> Iterator[str]:
    """Write the figures as Markdown, each beside what theory says."""
    yield "| rate | RTT | loss | " + " | ".join(f"{name} | theory" for name in CONTROLS) + " |"
    yield "|---:|---:|---:|" + "---:|---:|" * len(CONTROLS)
    for first in cases:
        if first.control != CONTROLS[0]:
            continue
        cells = []
        for name in CONTROLS:
            case = Case(name, first.loss, first.rtt_ms, first.rate)
            cells.append(f"{figures[case.key]:.1%} | {theory(case):.1%}")
        yield f"| {first.rate} | {first.rtt_ms} ms | {first.loss:.1%} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
