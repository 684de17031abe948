"""The ``estab`` command, one file a subcommand."""
