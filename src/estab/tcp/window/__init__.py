"""How much may go and how fast: round-trip time, windows, pacing, room in the send buffer, what time is spent on."""
