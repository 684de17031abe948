"""Data of one connection: records and their invariants. Nothing here decides, and nothing imports a room above."""
