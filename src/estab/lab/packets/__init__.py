"""Packets as what stands between hosts sees them: a typed view, and the answers that a box makes of its own."""
