"""What a script runs against: the host under test, its clock, its settings and its descriptors."""
