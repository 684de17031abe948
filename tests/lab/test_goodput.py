"""What each congestion control makes of a link, kept as figures: a change in behaviour is seen, wanted or not.

``python -m bench.goodput`` measures the whole table; here are its cells of 10 Mbit/s. After a change that is meant to
move them: ``python -m bench.goodput --rate 10Mbit --write tests/lab/goodput.json``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.goodput import Case, all_cases, measure, theory
from bench.traffic import Bulk, jain, wide_open
from estab._build import core_kind
from estab.lab.network import Network

KEPT: dict[str, float] = json.loads((Path(__file__).parent / "goodput.json").read_text())
TOLERANCE = 0.10
CASES = [case for case in all_cases(("10Mbit",)) if core_kind() == "compiled" or case.loss >= 0.01]
"""Interpreted, those that are quick: both cores do the same, to the byte."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_goodput_is_what_it_was(case: Case) -> None:
    assert measure(case) == pytest.approx(KEPT[case.key], rel=TOLERANCE)


@pytest.mark.parametrize("case", list(all_cases(("10Mbit",))), ids=lambda case: case.key)
def test_the_figures_kept_are_near_what_theory_says(case: Case) -> None:
    """Theory knows neither timeouts nor the time that a window takes to grow after the first full queue."""
    least, most = (0.65, 1.35) if case.loss < 0.05 else (0.45, 1.1)
    assert least * theory(case) <= KEPT[case.key] <= most * theory(case)


def test_cubic_sees_that_reno_would_be_ahead_where_losses_come_fast() -> None:
    """On a short path the curve says nothing between two losses: Reno's window must count (RFC 9438 section 4.3)."""
    assert measure(Case("cubic", 0.05, 1, "100Mbit")) > 0.34


def sharing(controls: list[str], rate: str, rtt_ms: int, warm_up_s: int, seconds: int) -> list[float]:
    """Let flows that start a tenth of a second apart share a bottleneck; gives their rates in Mbit/s."""
    net = Network(seed=1)
    bdp_bytes = int(rate.removesuffix("Mbit")) * 1_000_000 * rtt_ms // 8000
    config = wide_open(8 * bdp_bytes + (8 << 20))
    router, target = net.host("router", forwarding=True), net.host("target", **config)
    quarter = f"{rtt_ms * 250}us"
    net.link(router, target, rate=(rate, None), delay=quarter, queue=(f"{bdp_bytes}B", None))
    flows = []
    for number, control in enumerate(controls):
        sender = net.host(f"sender{number}", **config)
        net.link(sender, router, delay=quarter, jitter="100us")
        flows.append(Bulk(net, sender, target, 80 + number, control, start_s=number / 10))
    net.run(warm_up_s)
    for flow in flows:
        flow.mark()
    net.run(warm_up_s + seconds)
    net.close()
    return [flow.rate_bps() / 1e6 for flow in flows]


@pytest.mark.parametrize("control", ["reno", "cubic", "bbr"])
def test_two_flows_of_one_kind_share_fairly(control: str) -> None:
    rates = sharing([control, control], "10Mbit", 40, 20, 40)
    assert jain(rates) > 0.95, rates
    assert sum(rates) > 9.0, rates


def test_cubic_takes_no_more_than_reno_where_reno_does_well() -> None:
    """RFC 9438 section 4.3: in the Reno-friendly region CUBIC achieves at least Reno's rate, and not much more."""
    cubic, reno = sharing(["cubic", "reno"], "10Mbit", 20, 20, 40)
    assert 0.8 < cubic / reno < 2.0


@pytest.mark.slow
def test_cubic_takes_what_reno_leaves_on_a_long_fat_path() -> None:
    """RFC 9438 section 5.1: beyond the Reno-friendly region the window grows by time, and Reno can't follow."""
    seconds = 10 if core_kind() == "compiled" else 4
    cubic, reno = sharing(["cubic", "reno"], "100Mbit", 100, 10, seconds)
    assert cubic > 2 * reno
