"""Programs on hosts: threads of which one runs at a time, what becomes of them, and actions."""
