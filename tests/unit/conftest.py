"""Stores, on SQLite and on PostgreSQL each, for tests that ask for ``where``; and hosts that were played well."""

import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachon.drivers import ansible
from pachon.layers.hosts import SiteHosts
from tests import postgres
from tests.fake_plays import SMALL, FakePlays, FakeProbe, played_site

NUMBERS = itertools.count()
MEMORY = Path("/dev/shm")


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


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where commits do not wait for a disk, if there is such a place."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="t-unit-", dir=MEMORY) as made:
        yield Path(made)


@pytest.fixture
def probe() -> FakeProbe:
    return FakeProbe()


@pytest.fixture
def plays(monkeypatch: pytest.MonkeyPatch) -> FakePlays:
    fake = FakePlays()
    monkeypatch.setattr(ansible, "play", fake.play)
    return fake


@pytest.fixture
def layer(tmp_path: Path, probe: FakeProbe, plays: FakePlays) -> Iterator[SiteHosts]:
    """Hosts that were all played well."""
    with played_site(SMALL, tmp_path, probe) as made:
        plays.books.clear()
        yield made
