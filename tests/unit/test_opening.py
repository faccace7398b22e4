"""Connections are begun before a look to whom it will ask, and to nobody else."""

import asyncio
from pathlib import Path

import pytest

from pachon import opening as opening_module
from pachon import places
from pachon.definition import find, load
from pachon.drivers.ssh import Fleet
from pachon.ground import Stands
from pachon.model.facility import Facility
from pachon.opening import opening


def begun(facility: Facility, state: Path, stands: Stands, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses to which a connection was begun."""
    told: list[str] = []

    async def hardware(facility: Facility, state: Path) -> Stands:
        return stands

    monkeypatch.setattr(opening_module, "hardware", hardware)
    monkeypatch.setattr(Fleet, "begin", lambda self, address: told.append(address))

    async def work() -> None:
        async with opening(facility, facility.sites, state=state) as opened:
            assert bool(opened.trusting) is not stands.reachable

    asyncio.run(work())
    return told


def test_hosts_are_connected_to_early_but_for_planned_ones_and_those_with_a_server_or_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facility, up = load(find("lab")), Stands("lab", "up", reachable=True)
    base, archive = (
        [str(site.machine_by_serial[host.machine].management_address) for host in site.active_hosts]
        for site in (facility.site("base"), facility.site("archive"))
    )
    assert base
    assert archive
    assert sorted(begun(facility, tmp_path, up, monkeypatch)) == sorted([*base, *archive])
    socket = places.server_socket(tmp_path, "base")
    socket.parent.mkdir()
    socket.touch()
    assert begun(facility, tmp_path, up, monkeypatch) == archive
    assert begun(facility, tmp_path, Stands("lab", "down", reachable=False), monkeypatch) == []
