"""Virtual networks in virtual time: same seed, same run."""
