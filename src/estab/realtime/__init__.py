"""What drives a host in real time: sleeping, pumping, and the runtime that programs of a stack wait on."""
