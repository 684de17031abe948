"""What hosts of the kernel in the lab are measured by: whether virtual time tells the truth, throughput, lateness."""
