"""Processes of this machine: telling one from all others, and holding together those of a run."""
