"""What arrives: packets from an interface, ICMP, forwarding, echo."""
