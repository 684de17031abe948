"""What the number given to ``listen()`` limits, by the stack's ``backlog_policy``: see ``accept_queue``."""

from __future__ import annotations

from mypy_extensions import i64

from estab.tcp.config import Config

__all__ = ["accept_limit", "half_open_limit"]


def half_open_limit(config: Config, backlog: i64, ready_count: i64) -> i64:
    """Return how many half-open entries there may be, while ``ready_count`` connections wait for ``accept``."""
    if config.backlog_policy == "sum":
        return max(0, 3 * backlog // 2 + 1 - ready_count)
    if config.backlog_policy == "syn":
        return min(max(1, backlog), config.tcp_max_syn_backlog)
    return min(backlog + 1, config.tcp_max_syn_backlog)  # as the accept queue: to Linux ``len > backlog`` is full


def accept_limit(config: Config, backlog: i64) -> i64:
    """Return how many established connections may wait for ``accept``."""
    if config.backlog_policy == "sum":
        return 3 * backlog // 2 + 1
    if config.backlog_policy == "syn":
        return config.somaxconn
    return backlog + 1
