"""Random small facilities on files: from any fault, what is applied ends in the definition (see the module named)."""

import os
import subprocess
import sys

import pytest

from tests.faults.killing import CHECKOUT

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

EXAMPLES = 250 if os.environ.get("PACHON_FAULTS") == "all" else 20


def test_from_any_fault_a_random_facility_ends_in_its_definition_with_an_empty_plan_and_nothing_before_its_needs() -> (
    None
):
    argv = [sys.executable, "-m", "tests.faults.random_facilities", "--examples", str(EXAMPLES)]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
