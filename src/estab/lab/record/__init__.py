"""Data at the bottom of the lab: chance, the clock and its agenda, what a link does to frames."""
