"""Rules on single packets: what a user's function says of each packet on a link."""
