"""Two operators, and fifty: who holds a lease holds it alone, whoever is killed, and whoever loses is told."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachon.places import CHECKOUT

MEMORY = Path("/dev/shm")
ALL = os.environ.get("PACHON_FAULTS") == "all"
KILLS = 5


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where files are written at no cost, if there is such a place: thousands of commits are not to wait for a disk."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="t-race-", dir=MEMORY) as made:
        yield Path(made)


@pytest.mark.parametrize(
    ("where", "processes", "leases"),
    [("sqlite", 50, 1000), ("postgresql", 50, 1000 if ALL else 100)],
    indirect=["where"],
)
def test_of_fifty_that_want_one_lease_all_the_time_never_two_have_it(
    where: str, processes: int, leases: int, folder: Path
) -> None:
    place = where if "://" in where else str(folder / "store.db")
    (folder / "record").mkdir()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.lease_race",
            place,
            str(folder / "record"),
            *map(str, (processes, leases, KILLS)),
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=CHECKOUT,
    )
    found = json.loads(done.stdout)
    assert found["double"] == 0
    assert found["failed"] == []
    assert found["leases"] == leases
    assert found["by_processes"] == processes
    assert found["tokens_grow"]
    assert found["killed"] == found["taken_over"] == KILLS
    assert found["refusals"] > 0
    assert "is being written to by" in found["said"]
    assert "UTC: racer" in found["said"]
    assert "since 20" in found["said"]
