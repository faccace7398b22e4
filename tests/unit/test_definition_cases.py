"""Each file in tests/cases/definition changes a small facility and lists every complaint that must come, in order."""

import shutil
from pathlib import Path

import pytest
import yaml

from pachon.definition import examine

CASES = Path(__file__).resolve().parents[1] / "cases" / "definition"


def change(folder: Path, wanted: dict[str, str]) -> None:
    """Carry out one change of a case."""
    path = folder / wanted["file"]
    if wanted.get("remove"):
        path.unlink()
    elif "content" in wanted:
        path.parent.mkdir(exist_ok=True)
        path.write_text(wanted["content"])
    else:
        text = path.read_text()
        assert wanted["replace"] in text, f"the case no longer fits {wanted['file']}"
        path.write_text(text.replace(wanted["replace"], wanted["by"], 1))


def test_the_facility_that_cases_change_is_free_of_complaints() -> None:
    examined = examine(CASES / "world" / "facilities" / "small")
    assert (examined.complaints, examined.warnings) == ((), ())


@pytest.mark.parametrize("case", sorted(path.stem for path in CASES.glob("*.yaml")))
def test_definition_complaints_are_exactly_those_of_the_case(case: str, tmp_path: Path) -> None:
    content = yaml.safe_load((CASES / f"{case}.yaml").read_text())
    shutil.copytree(CASES / "world", tmp_path / "world")
    folder = tmp_path / "world" / "facilities" / "small"
    for wanted in content["changes"]:
        change(folder, wanted)
    said = [str(complaint).removeprefix(f"{folder}/") for complaint in examine(folder).complaints]
    assert said == content["complaints"]
