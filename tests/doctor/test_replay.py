"""The twin of a case: a program that shows when it would be noticed, and what each cure changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.doctor.weather import SENDER, make
from estab.cli.main import main
from estab.doctor.captures import diagnose_frames
from estab.doctor.causes import CAUSES
from estab.doctor.finding import Finding, Report
from estab.doctor.replay import _TEMPLATES, parameters_of, twin_of, write_replay


def twin(path: Path, kind: str, seed: int = 3) -> dict[str, str]:
    """Diagnose a scenario, write its twin, run it, and give what it says by trial."""
    report = diagnose_frames(make(kind, seed).captures[SENDER])
    write_replay(report, str(path))
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return {line[:44].strip(): line[45:] for line in done.stdout.splitlines()}


def test_a_silent_path_is_noticed_after_a_quarter_of_an_hour_and_after_20_s_with_a_user_timeout(tmp_path: Path) -> None:
    said = twin(tmp_path / "twin.py", "path-silent")
    assert said["with TCP_USER_TIMEOUT=20s"] == "ETIMEDOUT after 20.0 s"
    assert 900 < float(said["as it is"].split()[2].replace(",", "")) < 1000
    assert said["with SO_KEEPALIVE only"] == said["as it is"]


def test_a_dead_idle_peer_is_noticed_with_keepalive_only(tmp_path: Path) -> None:
    said = twin(tmp_path / "twin.py", "half-open")
    assert said["as it is"] == "not within three hours"
    assert said["with keepalive 30 s, 3 probes 10 s apart"].startswith("ETIMEDOUT after 60.")


def test_a_small_window_costs_what_the_capture_shows(tmp_path: Path) -> None:
    report = diagnose_frames(make("window", 4).captures[SENDER])
    finding = report.findings[0]
    assert finding.name == "window-limited"
    assert finding.to_s is not None
    assert finding.from_s is not None
    said = twin(tmp_path / "twin.py", "window", 4)
    took = float(said["as it is"].split()[0])
    assert took == pytest.approx(finding.to_s - finding.from_s, rel=0.35)
    assert float(said["with receive buffer left to auto-tuning"].split()[0]) < took / 2


def test_nodelay_takes_the_stalls_away(tmp_path: Path) -> None:
    said = twin(tmp_path / "twin.py", "nagle")
    slow, quick = (float(said[name].split()[2]) for name in ("as it is: two writes", "with TCP_NODELAY"))
    assert slow > 2 * quick


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(_TEMPLATES))
def test_each_twin_runs_and_a_cure_changes_something(name: str, tmp_path: Path) -> None:
    finding = Finding(name, "10.0.0.1:4000>10.0.0.2:80", ["made up for the test"])
    finding.parameters = {"loss": 0.02, "reorder": 0.05, "window_bytes": 20_000, "flight_bytes": 20_000,
                          "pace": 200_000, "rate_bps": 4_000_000, "think_ms": 300.0, "largest": 900, "spike_ms": 800,
                          "bytes": 300_000}
    if name in ("mtu-black-hole", "window-limited", "send-buffer-limited", "pacing-limited"):
        finding.parameters["loss"] = 0.0
    path = tmp_path / "test_twin.py"
    path.write_text(twin_of(finding), encoding="utf-8")
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    results = [line[45:] for line in done.stdout.splitlines()]
    assert len(results) >= 2
    assert len(set(results)) > 1, done.stdout


def test_what_was_not_measured_has_a_default() -> None:
    assert parameters_of(Finding("loss", "x", []))["rtt_ms"] == 20.0
    assert set(_TEMPLATES) <= set(CAUSES)


def test_the_command_writes_it_or_says_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no scenario can be made of what was found \\(nothing\\)"):
        write_replay(Report("x"), str(tmp_path / "x.py"))
    assert main(["doctor", str(tmp_path / "not-there.pcap")]) == 2
    assert "does not exist" in capsys.readouterr().err
