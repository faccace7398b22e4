"""Bakes the golden images: the root file system of a host, its kernel, and the image that deploys it."""
