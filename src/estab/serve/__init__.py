"""Services without programs: echo, discard, chargen and static files. They run on the events of a host's engine."""
