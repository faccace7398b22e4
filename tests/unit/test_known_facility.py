"""A facility that stands is known by its name, whatever became of its definition."""

import shutil
from pathlib import Path

import pytest

from pachon import known, places, teardown
from pachon.definition import load
from pachon.errors import UsageError
from pachon.places import CHECKOUT
from pachon.progress import silent

SMALL = CHECKOUT / "tests" / "cases" / "cli" / "small"


@pytest.fixture
def definition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PACHON_STATE", str(tmp_path / "state"))
    folder = shutil.copytree(SMALL, tmp_path / "definition")
    known.keep(load(folder), folder, places.state("t-small"))
    return folder


def test_name_is_found_by_name_by_folder_and_after_the_folder_went(definition: Path) -> None:
    assert known.name_of("t-small") == "t-small"
    (definition / "facility.yaml").write_text("name: [broken\n")
    assert known.name_of(str(definition)) == "t-small"
    shutil.rmtree(definition)
    assert known.name_of(str(definition / "facility.yaml")) == "t-small"
    assert known.name_of("t-other") is None
    assert known.name_of("..") is None


def test_name_is_read_from_a_definition_that_is_broken_elsewhere(definition: Path, tmp_path: Path) -> None:
    (places.state("t-small") / "facility.json").unlink()
    moved = definition.rename(tmp_path / "moved")
    assert known.name_of(str(moved)) == "t-small"


def test_what_another_version_kept_is_nothing(definition: Path) -> None:
    state = places.state("t-small")
    kept = known.known(state)
    assert kept is not None
    assert kept.facility == load(definition)
    (state / "facility.json").write_text('{"folder": "/", "facility": {"name": "t-small"}}')
    assert known.known(state) is None


def test_state_that_may_be_of_racks_is_not_taken_down_by_name(definition: Path) -> None:
    state = places.state("t-small")
    with pytest.raises(UsageError, match="no lab of that name"):
        teardown.down_by_name("t-small", state=state, command="pachon down", progress=silent)
    assert (state / "facility.json").exists()
