"""Faults that kills have found, each with the one command that reproduces it on the tree of before its mending."""

import json
from pathlib import Path

FILE = Path(__file__).with_suffix(".json")


def text() -> str:
    """For people: when, what, and the command."""
    lines = ["faults found by kills, each with the command that shows it:"]
    for each in json.loads(FILE.read_text()):
        lines += [f"  {each['found']}  {each['wrong']}", f"              {each['command']}"]
    return "\n".join(lines)
