"""What one step of a script does: a call, a packet in, a packet expected, a command, a look at ``TCP_INFO``."""
