"""TCP, without I/O: RFC 9293 and what came to it since."""
