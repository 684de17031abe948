"""Links: ways for packets in and out. A link knows no host."""
