"""JSON Schemas of the files under ``inventory/`` and of plans, made from their types.

``python -m pachon.definition.schema`` writes them; with ``--check`` it says which are not current.
"""

import argparse
import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from pachon import places
from pachon.definition.campaigns import WrittenCampaign, WrittenPipeline
from pachon.definition.written import WrittenFacility, WrittenSite
from pachon.definition.written_rollout import WrittenRelease, WrittenRollout
from pachon.definition.written_rows import TABLES
from pachon.definition.written_service import WrittenService
from pachon.plan.approval import Approval
from pachon.plan.document import Plan

FOLDER = places.CHECKOUT / "inventory" / "schema"

DOCUMENTS: dict[str, type[BaseModel]] = {
    "approval": Approval,
    "campaign": WrittenCampaign,
    "facility": WrittenFacility,
    "pipeline": WrittenPipeline,
    "plan": Plan,
    "release": WrittenRelease,
    "rollout": WrittenRollout,
    "service": WrittenService,
    "site": WrittenSite,
    **{f"{name.removesuffix('.csv')}-row": row for name, row in TABLES.items()},
}
"""Each schema's name and the type that it is made from; those of tables describe one row."""


def schemas() -> dict[str, str]:
    """Text of each schema, by file name."""
    found = {}
    for model in DOCUMENTS.values():
        _describe(model)
    for name, written in sorted(DOCUMENTS.items()):
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **written.model_json_schema()}
        found[f"{name}.schema.json"] = json.dumps(schema, indent=2) + "\n"
    return found


def _describe(model: type[BaseModel]) -> None:
    """Give the model's fields, and those of the models in it, what stands under them in the program as descriptions.

    Types of files have them from the beginning, for complaints; for all others that would be a fifth of the time that
    importing them takes, in each command, for nothing but these schemas.
    """
    if not model.model_config.get("use_attribute_docstrings"):
        told = _told_of(model)
        for name, field in model.model_fields.items():
            field.description = field.description or told.get(name)
            for part in _models_in(field.annotation):
                _describe(part)
        model.model_rebuild(force=True)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _told_of(model: type[BaseModel]) -> dict[str, str]:
    """The text under each field of the class."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    body = next(each.body for each in tree.body if isinstance(each, ast.ClassDef))
    return {
        field.target.id: inspect.cleandoc(below.value.value)
        for field, below in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }


def stale(folder: Path) -> list[str]:
    """Names of the schemas in a folder that differ from what the types say, are missing or are too many."""
    there = {path.name: path.read_text() for path in folder.glob("*.schema.json")}
    wanted = schemas()
    return sorted(name for name in there.keys() | wanted.keys() if there.get(name) != wanted.get(name))


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 1 when ``--check`` found a schema that is not current."""
    parser = argparse.ArgumentParser(prog="python -m pachon.definition.schema", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; say what is not current")
    if parser.parse_args(arguments).check:
        names = stale(FOLDER)
        for name in names:
            sys.stderr.write(f"inventory/schema/{name}:1: not current; run 'python -m pachon.definition.schema'\n")
        return 1 if names else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = schemas()
    for name in stale(FOLDER):
        if name in wanted:
            (FOLDER / name).write_text(wanted[name])
        else:
            (FOLDER / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
