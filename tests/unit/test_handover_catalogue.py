"""What a site's controller is sent: the catalogue that lies beside its definition, and nothing of files that move."""

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pachon import definition, handover
from pachon.definition import catalogue, loading
from pachon.drivers import parcel
from pachon.errors import TemporaryError
from pachon.handover import Handover, once
from pachon.model.facility import Facility
from pachon.progress import silent
from pachon.store.database import open_store

Make = Callable[[], tuple[str, Path]]
WORLD = Path(__file__).resolve().parents[1] / "cases" / "definition" / "world"


class Controller:
    """A folder in the place of the admin host's root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked = ""

    @property
    def definition(self) -> Path:
        return self.root / handover.KEPT.lstrip("/") / "facilities" / "small"

    async def ask(self, words: str, **where: Any) -> str:
        self.asked = words
        return "program-1"

    async def lay_down(self, packed: Path, place: str, **where: Any) -> None:
        folder = self.root / place.lstrip("/")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        words = ["tar", "--extract", "--zstd", "--file", str(packed), "--directory", str(folder)]
        await asyncio.to_thread(subprocess.run, words, check=True)

    async def add_file(self, path: Path, place: str, **where: Any) -> None:
        """Not looked at here."""


@pytest.fixture
def controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Controller:
    made = Controller(tmp_path / "root")
    for name in ("add_file", "ask", "lay_down"):
        monkeypatch.setattr(parcel, name, getattr(made, name))
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A definition, a catalogue beside it of which a part is elsewhere, and a state to hand over."""
    shutil.copytree(WORLD, tmp_path / "world")
    service = tmp_path / "world" / "catalogue" / "authentication"
    service.rename(tmp_path / "elsewhere")
    service.symlink_to(tmp_path / "elsewhere")
    for name in ("pulumi-1", "images/records"):
        (tmp_path / "state" / name).mkdir(parents=True)
    (tmp_path / "state" / "pulumi-1" / "pulumi").write_text("a program")
    (tmp_path / "state" / "ssh_config").touch()
    return tmp_path / "world" / "facilities" / "small"


def made(state: Path) -> tuple[str, Path]:
    """The parcel with the program."""
    return ("program-1", state / "program")


def sent(facility: Facility, folder: Path, state: Path, make: Make | None = None) -> str:
    """What became of the hand-over of the first site."""
    store = open_store(state / "store.db")
    own = Handover(
        facility=facility,
        site=facility.sites[0],
        definition=folder,
        state=state,
        cache=state,
        store=store,
        images={},
        pulumi=state / "pulumi-1" / "pulumi",
        program=once(make or partial(made, state)),
        run_id="r1",
        progress=silent,
    )
    try:
        handed = asyncio.run(own.carry_out(changed=False))
    finally:
        store.close()
    assert handed is not None
    return handed.done


def test_a_catalogue_that_does_not_ship_goes_with_the_definition(
    controller: Controller, folder: Path, tmp_path: Path
) -> None:
    facility, state = definition.load(folder), tmp_path / "state"
    assert sent(facility, folder, state) == "created"
    there = loading.catalogue_of(controller.definition)
    assert there.is_relative_to(controller.root)
    assert catalogue.read(there).services == catalogue.read(folder.parents[1] / "catalogue").services
    assert definition.load(controller.definition) == definition.load(folder)
    assert sent(facility, folder, state) == "unchanged"
    service = tmp_path / "elsewhere" / "service.yaml"
    service.write_text(service.read_text() + "# edited\n")
    assert sent(facility, folder, state) == "updated"
    assert (there / "authentication" / "service.yaml").read_text().endswith("# edited\n")


def test_a_catalogue_that_is_there_no_more_is_taken_away(controller: Controller, folder: Path, tmp_path: Path) -> None:
    facility = definition.load(folder)
    assert sent(facility, folder, tmp_path / "state") == "created"
    assert "rm -rf" not in controller.asked
    (folder.parents[1] / "catalogue").rename(tmp_path / "away")
    assert sent(facility, folder, tmp_path / "state") == "updated"
    assert f"\nrm -rf {handover.KEPT}/catalogue\n" in controller.asked


def test_files_that_move_while_they_are_gathered_are_an_error_with_a_cure(
    controller: Controller, folder: Path, tmp_path: Path
) -> None:
    def make() -> tuple[str, Path]:
        raise FileNotFoundError(2, "No such file", "roles/base/tasks/main.yml")

    facility = definition.load(folder)
    with pytest.raises(TemporaryError, match=r"roles/base/tasks/main\.yml") as caught:
        sent(facility, folder, tmp_path / "state", make)
    assert "again once nobody changes these files" in caught.value.cure


def test_a_parcel_that_could_not_be_made_ahead_is_made_anew(tmp_path: Path) -> None:
    tries = []

    def make() -> tuple[str, Path]:
        tries.append("try")
        if len(tries) == 1:
            raise TemporaryError("this program was edited while it was packed")
        return made(tmp_path)

    async def script() -> None:
        program = once(make)
        with pytest.raises(TemporaryError):
            await program()
        assert await program() == await program() == made(tmp_path)

    asyncio.run(script())
    assert tries == ["try", "try"]
