"""What a site's controller needs of the program is sent while the rest of the site is still being made."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pachon import definition, handover
from pachon.errors import TemporaryError
from pachon.handover import Handover, once
from pachon.progress import silent

LAB = definition.load(definition.find("lab"))
SITE = LAB.site("base")
SENT = [handover.HOME, "pulumi", "packages.txt"]


class Parcels:
    """Stands in for ``pachon.drivers.parcel``."""

    def __init__(self) -> None:
        self.there = ""
        self.files: dict[str, int] = {}
        self.sent: list[str] = []
        self.arrived = asyncio.Event()
        self.broken = False

    async def ask(self, words: str, **where: Any) -> str:
        if not words.startswith("cat "):
            self.there = words.split()[2]
            self.arrived.set()
        return "\n".join([self.there, *(f"{size} {place}" for place, size in self.files.items())])

    async def lay_down(self, parcel: Path, place: str, **where: Any) -> None:
        if self.broken:
            raise TemporaryError("the host broke off", cure="see it")
        self.sent.append(place)

    async def add_file(self, path: Path, place: str, **where: Any) -> None:
        self.sent.append(path.name)
        self.files[place] = path.stat().st_size


@pytest.fixture
def parcels(monkeypatch: pytest.MonkeyPatch) -> Parcels:
    made = Parcels()
    monkeypatch.setattr(handover, "parcel", made)
    monkeypatch.setattr(handover, "PAUSE_SECONDS", 0.01)
    return made


def order(folder: Path) -> Handover:
    for name in ("pulumi-1", "images"):
        (folder / name).mkdir()
        (folder / name / "pulumi").write_text("a program")
        (folder / name / "packages.txt").write_text("a 1\n")
    return Handover(
        facility=LAB,
        site=SITE,
        definition=folder,
        state=folder,
        cache=folder,
        store=None,  # type: ignore[arg-type]  # only what is sent at the end reads it
        images={},
        pulumi=folder / "pulumi-1" / "pulumi",
        program=once(lambda: ("program-1", folder / "program")),
        run_id="r1",
        progress=silent,
    )


def test_the_program_is_sent_once_its_host_is_configured_while_work_goes_on(parcels: Parcels, tmp_path: Path) -> None:
    configured = {"base-adm01": False}

    async def work() -> None:
        await asyncio.sleep(0.05)
        assert parcels.sent == []
        configured["base-adm01"] = True
        await asyncio.wait_for(parcels.arrived.wait(), 60)

    async def script() -> None:
        own = order(tmp_path)
        await own.beside(work(), configured=configured.__getitem__)
        assert parcels.sent == SENT
        await own._send_program("base-adm01", *await own.program())
        assert parcels.sent == SENT, "once is enough"
        (tmp_path / "images" / "packages.txt").write_text("a 1\nb 2\n")
        await own._send_program("base-adm01", *await own.program())
        assert parcels.sent == [*SENT, "packages.txt"]

    asyncio.run(script())


def test_work_that_ends_before_waits_for_nothing(parcels: Parcels, tmp_path: Path) -> None:
    async def work() -> None:
        await asyncio.sleep(0.05)

    async def script() -> None:
        await order(tmp_path).beside(work(), configured=lambda _: False)

    asyncio.run(script())
    assert parcels.sent == []


def test_what_fails_on_the_way_is_left_to_the_end_and_what_fails_in_the_work_is_told(
    parcels: Parcels, tmp_path: Path
) -> None:
    parcels.broken = True

    async def work() -> None:
        await asyncio.sleep(0.1)
        raise TemporaryError("no machine answers", cure="see them")

    async def script() -> None:
        await order(tmp_path).beside(work(), configured=lambda _: True)

    with pytest.raises(TemporaryError, match="no machine answers"):
        asyncio.run(script())
