"""Stores for tests: every test that asks for ``where`` runs once on SQLite and once on PostgreSQL."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres

NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    programs = postgres.programs()
    if programs is None:
        pytest.skip("PostgreSQL is not on this machine")
    with postgres.running(programs) as started:
        yield started


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """File or address of a store that is not there yet."""
    if request.param == "sqlite":
        return str(tmp_path / "state" / "store.db")
    found: postgres.Server = request.getfixturevalue("server")
    return found.address(f"t {request.node.name[:30]} {next(NUMBERS)}")
