"""Pulumi components of a site's hardware: network, compute, storage."""
