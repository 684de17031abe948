"""What programs find in place of socket, select, time and threading."""
