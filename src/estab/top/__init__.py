"""``estab top``: the sockets of this machine or of a running stack as they move, each with the doctor's verdict."""
