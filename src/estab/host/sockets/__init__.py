"""What a descriptor stands for: ports, streams, datagrams, their options, and which of them a segment is for."""
