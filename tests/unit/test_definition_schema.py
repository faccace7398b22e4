"""The published JSON Schemas are those of the types, and what ships validates against them."""

import csv
import json
from functools import cache
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from pachon.definition import schema
from pachon.places import CHECKOUT

INVENTORY = CHECKOUT / "inventory"


@cache
def validator(name: str) -> Draft202012Validator:
    found = json.loads((INVENTORY / "schema" / f"{name}.schema.json").read_text())
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


def faults(name: str, value: object) -> list[str]:
    return [f"{list(error.absolute_path)}: {error.message}" for error in validator(name).iter_errors(value)]


def test_published_schemas_are_current() -> None:
    assert schema.stale(INVENTORY / "schema") == []


def test_a_schema_that_is_not_current_is_named(tmp_path: Path) -> None:
    for name, text in schema.schemas().items():
        (tmp_path / name).write_text(text)
    (tmp_path / "site.schema.json").write_text("{}")
    (tmp_path / "facility.schema.json").unlink()
    (tmp_path / "old.schema.json").write_text("{}")
    assert schema.stale(tmp_path) == ["facility.schema.json", "old.schema.json", "site.schema.json"]


def test_every_field_that_people_write_is_described() -> None:
    for name, text in schema.schemas().items():
        content = json.loads(text)
        for owner in [content, *content.get("$defs", {}).values()]:
            for key, field in owner.get("properties", {}).items():
                assert field.get("description"), f"{name}: {key} is not described"


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("facility", "facilities/*/facility.yaml"),
        ("site", "facilities/*/sites/*/site.yaml"),
        ("release", "catalogue/*/releases/*.yaml"),
        ("rollout", "catalogue/*/rollout.yaml"),
        ("service", "catalogue/*/service.yaml"),
    ],
)
def test_shipped_yaml_validates(name: str, pattern: str) -> None:
    paths = sorted(INVENTORY.glob(pattern))
    assert paths
    for path in paths:
        assert faults(name, yaml.load(path.read_text(), Loader=yaml.CSafeLoader)) == [], path


@pytest.mark.parametrize("table", ["cables", "disks", "machines", "nics"])
def test_shipped_tables_validate(table: str) -> None:
    """All rows of the lab, and of larger tables every fiftieth: the loader itself reads them all."""
    name = f"{table}-row"
    wanted = json.loads((INVENTORY / "schema" / f"{name}.schema.json").read_text())["properties"]
    judge = validator(name)
    for path in sorted(INVENTORY.glob(f"facilities/*/sites/*/{table}.csv")):
        rows = list(csv.DictReader(path.open()))
        for row in rows[:: 1 if len(rows) < 100 else 50]:
            value = {key: int(cell) if wanted[key]["type"] == "integer" else cell for key, cell in row.items()}
            assert [error.message for error in judge.iter_errors(value)] == [], path


@pytest.mark.parametrize("change", [{"untold": 1}, {"hardware": "cloud"}, {"sites": []}, {"prefix": 7}])
def test_the_schema_refuses_what_the_loader_refuses(change: dict[str, object]) -> None:
    value = yaml.safe_load((INVENTORY / "facilities" / "lab" / "facility.yaml").read_text())
    assert faults("facility", {**value, **change})
