"""Data of one connection: records and their invariants. Nothing here decides; it imports no room above it."""
