"""What a descriptor stands for: ports, streams, datagrams, their options, and the receiver of a segment."""
