"""What a descriptor stands for: ports, streams, datagrams, their options, and who a segment is for."""
