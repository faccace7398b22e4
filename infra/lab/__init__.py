"""Emulated hardware: machines, BMCs, switches, cables, disks, WAN. Only this package knows that it is a lab."""
