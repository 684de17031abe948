"""What a segment that arrives does (RFC 9293 section 3.10.7), and how connections open and end."""
