"""2,015 emulated BMCs, 5 % of them faulty, under 1,024 file descriptors: each machine gets its answer or its error.

How long it takes is shown by tests/bench/bench_inspect.py.
"""

import json
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[1] / "bench" / "bench_inspect.py"
MACHINES = 2015


def test_2015_bmcs_are_inspected_under_1024_files_although_five_percent_are_faulty() -> None:
    # A child of its own: the limit on open files holds for it and for the emulator's process.
    child = subprocess.run(
        [sys.executable, str(BENCH), "--only-ours", "--machines", str(MACHINES)],
        stdout=subprocess.PIPE,
        check=True,
        timeout=280,
    )
    told = json.loads(child.stdout.splitlines()[-1])
    assert told["machines"] == MACHINES
    assert told["file_limit"] == 1024
    assert told["most_open_files"] < 1024
    assert told["wrong"] == []
    results = told["results"]
    # A machine that is too busy may be late, never wrong.
    assert set(results["sound"]) <= {"Inventory", "LateError"}
    assert results["sound"]["Inventory"] > 0.95 * sum(results["sound"].values())
    for fault in ("no_answer", "slow_seconds"):
        assert set(results[fault]) == {"LateError"}
    for fault in ("other_serial", "tls_changed"):
        assert set(results[fault]) <= {"PermanentError", "LateError"}
    assert set(results["garbage_json"]) <= {"TemporaryError", "LateError"}
    faulty = sum(sum(kinds.values()) for fault, kinds in results.items() if fault != "sound")
    assert faulty == round(0.05 * MACHINES - 0.5)
