"""``estab.Stack``: a stack on a link of the real world."""
