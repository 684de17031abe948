"""What is sent next: the plan, the segments, and how a write becomes text to send."""
