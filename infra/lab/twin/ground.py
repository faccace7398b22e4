"""The twin as ground that a facility stands on (see ``pachon.ground``)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.lab.twin import images as stand_ins
from infra.lab.twin import instance
from pachon import places
from pachon.drivers.run_file import Endpoint
from pachon.ground import Images, Kind
from pachon.model.facility import Facility, Site
from pachon.progress import Event, Progress


class Twin:
    """Emulated BMCs and SSH endpoints on loopback; no operating systems."""

    def __init__(self, facility: Facility, *, lacks: Sequence[str] = ()) -> None:
        self._facility = facility
        self._state = places.state(facility.name)
        self._lacks = tuple(lacks)

    @property
    def kind(self) -> Kind:
        """It is the twin."""
        return "twin"

    @property
    def lacks(self) -> Sequence[str]:
        """What this machine lacks for the real lab."""
        return self._lacks

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """Where BMCs and hosts are reached; empty when the twin is not up."""
        return instance.endpoints(self._state)

    async def images(self, flavours: Sequence[str], *, cache: Path, progress: Progress) -> dict[str, Images]:
        """Stand-ins: nothing is baked."""
        progress(Event("images", "", "done", "stand-ins for a twin: nothing is baked"))
        return {flavour: stand_ins.ensure(flavour, cache=cache) for flavour in flavours}

    async def up(self, state: Path, progress: Progress) -> None:
        """Its BMCs answer."""
        self._state = state
        await instance.up(self._facility, state=state, progress=progress)

    async def down(self, state: Path, progress: Progress) -> None:
        """Nothing of it is left."""
        self._state = state
        await instance.down(self._facility.name, state=state, progress=progress)

    def boot_settings(self, site: Site) -> dict[str, Any]:
        """On loopback, without DHCP."""
        return {
            "bind_address": instance.boot_address(site),
            "machine_addresses": instance.machine_addresses(site),
            "dhcp": False,
        }
