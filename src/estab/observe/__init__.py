"""What is made of events: recordings, captures, ladders."""
