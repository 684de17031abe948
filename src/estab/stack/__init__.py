"""``estab.Stack``: an engine on a real device."""
