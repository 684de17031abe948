"""Boxes on hosts that forward: translators of addresses and load balancers, which change the packets that pass."""
