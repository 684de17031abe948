"""The way in: packets off an interface, ICMP, forwarding, echo."""
