"""What drives a host in real time, compiled with it: one step, and the loop around steps."""
