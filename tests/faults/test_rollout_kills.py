"""Kills a rollout, forward and on its way back, at every effect and at commits in between; the same command goes on."""

import json
import os
import subprocess
import sys

import pytest

from pachon.places import CHECKOUT

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]
EVERY = 1 if os.environ.get("PACHON_FAULTS") == "all" else 10
"""Of the commits, so many-eth; effects all."""


def asked(*words: str) -> str:
    argv = [sys.executable, "-m", "tests.faults.rollout_kills", *words]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout, done.stderr
    return done.stdout


def test_killed_anywhere_a_rollout_goes_on_no_step_is_left_out_and_versions_mix_at_one_place_only() -> None:
    points = asked("--list").split()
    commits = [point for point in points if "/store#" in point]
    chosen = [point for point in points if point not in commits] + commits[::EVERY] + commits[-1:]
    wrong = json.loads(asked(*dict.fromkeys(chosen)))
    assert len(wrong) >= 50
    assert {point: found for point, found in wrong.items() if found} == {}
