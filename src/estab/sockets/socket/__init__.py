"""The socket class: its calls, options, transfers, TLS and history."""
