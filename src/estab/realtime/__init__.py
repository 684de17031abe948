"""What drives a host in real time: sleeping, pumping, and the kernel that programs of a stack wait on."""
