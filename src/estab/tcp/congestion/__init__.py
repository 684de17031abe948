"""Congestion control: the protocol and the algorithms that follow it."""
