"""Readiness: poll, select, epoll, selectors, event loops."""
