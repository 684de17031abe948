"""Settings by name: known names, types kept, choices checked, and defaults that keep the RFC's bounds."""

from __future__ import annotations

import pytest

from estab.tcp.config import NAMES, Config
from estab.tcp.record.numbers import BACKOFFS_MAX
from estab.units import MS, SECOND


def test_a_setting_is_set_by_its_name() -> None:
    config = Config()
    config.set("tcp_syn_retries", 3)
    config.set("tcp_syncookies", "always")
    config.set("tcp_rmem", (1, 2, 3))
    assert (config.tcp_syn_retries, config.tcp_syncookies, config.tcp_rmem) == (3, "always", (1, 2, 3))


def test_an_unknown_name_a_wrong_type_and_a_value_that_is_no_choice_are_refused_with_their_name() -> None:
    config = Config()
    with pytest.raises(ValueError, match="tcp_syn_retry: no such setting"):
        config.set("tcp_syn_retry", 3)
    with pytest.raises(TypeError, match="tcp_syn_retries: expected int, not '3'"):
        config.set("tcp_syn_retries", "3")
    with pytest.raises(TypeError, match="tcp_sack: expected bool"):
        config.set("tcp_sack", 1)
    with pytest.raises(ValueError, match="backlog_policy: 'all' is not one of accept, sum, syn"):
        config.set("backlog_policy", "all")
    with pytest.raises(ValueError, match="set: no such setting"):
        config.set("set", 1)


def test_names_lists_every_setting() -> None:
    config = Config()
    assert list(NAMES) == sorted(NAMES)
    assert "tcp_rto_min_ns" in NAMES
    for name in NAMES:
        config.set(name, getattr(config, name))


def test_each_host_has_its_own() -> None:
    one, other = Config(), Config()
    one.tcp_sack = False
    assert other.tcp_sack


def test_the_defaults_keep_the_rfcs_bounds() -> None:
    config = Config()
    assert config.tcp_rto_initial_ns == SECOND  # RFC 6298 rule 2.1
    assert config.tcp_rto_max_ns >= 60 * SECOND  # RFC 6298 rule 2.5
    assert config.tcp_retries1 >= 3  # SHLD-10
    assert config.tcp_delack_max_ns < 500 * MS  # MUST-40
    assert config.tcp_keepalive_time_ns >= 7200 * SECOND  # MUST-28
    assert config.tcp_initial_cwnd == 10  # RFC 6928


@pytest.mark.parametrize(("name", "value", "says"), [
    ("icmp_msgs_per_sec", 0, "0 is not in 1 to 1000000"),
    ("icmp_msgs_per_sec", 2**31, "is not in 1 to 1000000"),
    ("ip_default_ttl", 0, "0 is not in 1 to 255"),
    ("tcp_synack_retries", 256, "256 is not in 0 to 255"),
    ("tcp_fin_timeout_ns", -1, "-1 is not in 0 to"),
    ("tcp_fin_timeout_ns", 2**62, "is not in 0 to"),
    ("tcp_rmem", (0, 1, 2), r"\(0, 1, 2\) does not ascend from 1 at least to 1073741824 at most"),
    ("tcp_rmem", (1, 3, 2), "does not ascend"),
    ("tcp_wmem", (1, 2), "is not 3 numbers"),
    ("tcp_wmem", (1, 2, 2**40), "does not ascend"),
    ("ip_local_port_range", (60_000, 50_000), "does not ascend from 1 at least to 65535 at most"),
    ("ip_local_port_range", (0, 50_000), "does not ascend"),
])
def test_a_number_that_nothing_could_work_with_is_refused_with_its_range(name: str, value: object, says: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: .*{says}"):
        Config().set(name, value)


def test_every_default_is_in_its_range() -> None:
    config = Config()
    for name in NAMES:
        config.set(name, getattr(config, name))


def test_the_time_between_syn_acks_never_wraps() -> None:
    config = Config()
    for timeouts in range(256):
        wait_ns = min(config.tcp_rto_initial_ns << min(timeouts, BACKOFFS_MAX), config.tcp_rto_max_ns)
        assert 0 < wait_ns <= config.tcp_rto_max_ns
    assert config.tcp_rto_initial_ns << BACKOFFS_MAX < 2**63
