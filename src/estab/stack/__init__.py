"""``estab.Stack``: a stack on a device of the real world."""
