"""What drives a host in real time: the sleep, the threads that run its loop, and the runtime of a stack's programs."""
