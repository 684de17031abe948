"""What goes next: the plan, the segments, and what a write becomes."""
