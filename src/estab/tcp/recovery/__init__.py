"""What was lost, how it is found, how fast it is repaired, and how a false alarm is taken back."""
