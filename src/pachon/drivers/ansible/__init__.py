"""Ansible as an engine: plays given roles on given hosts in a process of its own, and says what came of each."""

from pachon.drivers.ansible.lines import Effects, Ended, Line, PlayBegan, Result, Verdict
from pachon.drivers.ansible.playing import Part, Playbook, play

__all__ = ["Effects", "Ended", "Line", "Part", "PlayBegan", "Playbook", "Result", "Verdict", "play"]
