"""Devices: ways for packets in and out. A device knows no host."""
