"""The Berkeley sockets API over a host."""
