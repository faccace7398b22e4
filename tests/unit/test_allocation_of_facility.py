"""A facility loaded with what exists: pools grow and shrink without moving anybody."""

import shutil
from pathlib import Path

import pytest

from pachon.definition import load

WORLD = Path(__file__).resolve().parents[1] / "cases" / "definition" / "world"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(WORLD, tmp_path / "world")
    return tmp_path / "world" / "facilities" / "small"


def batch(folder: Path, existing: dict[str, str]) -> dict[str, str]:
    facility = load(folder, existing=existing)
    return {host.name: host.machine for host in facility.hosts if host.pool == "batch"}


def test_pool_is_dealt_in_the_order_of_the_table(folder: Path) -> None:
    assert batch(folder, {}) == {"one-batch01": "M4", "one-batch02": "M5"}


def test_host_that_exists_keeps_its_machine(folder: Path) -> None:
    assert batch(folder, {"one-batch02": "M4"}) == {"one-batch01": "M5", "one-batch02": "M4"}


def test_host_whose_machine_became_another_kind_moves(folder: Path) -> None:
    assert batch(folder, {"one-batch01": "M6"}) == {"one-batch01": "M4", "one-batch02": "M5"}


def test_host_whose_machine_was_given_to_a_host_by_name_moves(folder: Path) -> None:
    assert batch(folder, {"one-batch01": "M3"}) == {"one-batch01": "M4", "one-batch02": "M5"}


def test_a_second_pool_never_takes_the_machine_that_a_host_of_the_first_is_on(folder: Path) -> None:
    path = folder / "sites" / "one" / "site.yaml"
    pool = path.read_text().partition("pools:\n")[2].partition("storage_pools:")[0]
    early = (
        pool.replace("name: batch", "name: early").replace("one-batch##", "one-early##").replace("count: 2", "count: 1")
    )
    late = pool.replace("count: 2", "count: 1")
    path.write_text(path.read_text().replace(pool, early.replace("12.130", "12.150") + late))
    facility = load(folder, existing={"one-batch01": "M4"})
    found = {host.name: host.machine for host in facility.hosts if host.pool}
    assert found == {"one-early01": "M5", "one-batch01": "M4"}
