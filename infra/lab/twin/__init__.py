"""The twin: BMCs and SSH endpoints on loopback with the protocols of real machines, and no operating systems."""
