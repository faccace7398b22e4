"""Runs ``tests.faults.kills`` in a process of its own, since it forks: what was wrong at each point, by its name."""

import json
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def killed(*words: str) -> dict[str, list[str]]:
    """What was wrong at each point, with these arguments."""
    argv = [sys.executable, "-m", "tests.faults.kills", "--json", *words]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout, done.stderr
    return {each["point"]: each["wrong"] for each in json.loads(done.stdout)}
