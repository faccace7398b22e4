"""The hardware side: what touches machines, networks, disks and images."""
