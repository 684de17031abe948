"""One host: interfaces, neighbours, routes, IP, ICMP, UDP, ports and descriptors around TCP.

Everything here is sans-IO: frames, deadlines and calls go in with their time; frames, readiness and the next deadline
come out.
"""
