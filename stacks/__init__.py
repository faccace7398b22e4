"""Pulumi projects of a site's hardware, one page each."""
