"""Pachon's own Pulumi provider: machines, hosts, networks and volumes as resources."""
