"""Settings by name: known names, types kept, choices checked, and defaults that keep the RFC's bounds."""

from __future__ import annotations

import pytest

from estab.tcp.config import NAMES, Config
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
