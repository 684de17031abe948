"""Services that need no program of their own: echo, discard, chargen and static files, driven by a host's events."""
