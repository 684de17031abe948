"""What drives a host in real time."""
