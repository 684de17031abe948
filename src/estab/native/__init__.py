"""This machine's kernel beside the lab: its processes, network namespaces, clock and sockets (Linux)."""
