"""What a facility stands on here: racks, the lab, or the twin where the lab cannot be.

The rest of the control layer asks a ``Ground`` for hardware, images and doors, and does not know which one it is.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from pachon import places
from pachon.drivers.run_file import Endpoint
from pachon.errors import MissingError, RefusedError
from pachon.model.facility import Facility, Hardware, Site
from pachon.progress import Progress

Kind = Literal["racks", "lab", "twin"]


class Images(Protocol):
    """The baked files of one flavour (see ``infra.image.artefact.ImageSet``)."""

    @property
    def root(self) -> Any:
        """Operating system."""

    @property
    def kernel(self) -> Any:
        """Kernel and boot loader."""

    @property
    def deploy(self) -> Any:
        """Deploy image."""


class Ground(Protocol):
    """Where a facility is."""

    @property
    def kind(self) -> Kind:
        """Which one."""

    @property
    def lacks(self) -> Sequence[str]:
        """What this machine lacks for the real lab; empty unless this is the twin."""

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """Where BMCs and hosts are really reached, for addresses that are mapped elsewhere."""

    async def images(self, flavours: Sequence[str], *, cache: Path, progress: Progress) -> dict[str, Images]:
        """The files of each flavour, baked if need be."""

    async def up(self, state: Path, progress: Progress) -> None:
        """Have the hardware stand; nothing for racks, which do."""

    async def down(self, state: Path, progress: Progress) -> None:
        """Have it gone."""

    def boot_settings(self, site: Site) -> dict[str, Any]:
        """Further arguments for ``infra.boot.launch.ensure``."""


async def _baked(flavours: Sequence[str], *, cache: Path, progress: Progress) -> dict[str, Images]:
    from infra.image import bake

    return {
        flavour: await asyncio.to_thread(bake.ensure, flavour, cache=cache, progress=progress) for flavour in flavours
    }


@dataclass(frozen=True)
class Racks:
    """Real machines."""

    kind: Kind = "racks"
    lacks: Sequence[str] = ()
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)

    async def images(self, flavours: Sequence[str], *, cache: Path, progress: Progress) -> dict[str, Images]:
        """Baked here."""
        return await _baked(flavours, cache=cache, progress=progress)

    async def up(self, state: Path, progress: Progress) -> None:
        """Nothing: people rack machines."""

    async def down(self, state: Path, progress: Progress) -> None:
        """Refused: racks are not taken down by a command."""
        raise RefusedError(
            "'pachon down' is for labs: this facility stands on real racks",
            cure="drop hosts from the definition, then 'pachon up --destroy ADDRESS' for each",
        )

    def boot_settings(self, site: Site) -> dict[str, Any]:
        """None: the controller stands in the management segment."""
        return {}


@dataclass(frozen=True)
class Lab:
    """Emulated machines that really boot."""

    facility: Facility
    kind: Kind = "lab"
    lacks: Sequence[str] = ()
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)

    async def images(self, flavours: Sequence[str], *, cache: Path, progress: Progress) -> dict[str, Images]:
        """The same as for racks."""
        return await _baked(flavours, cache=cache, progress=progress)

    async def up(self, state: Path, progress: Progress) -> None:
        """Namespaces, cables, disks, BMCs."""
        from infra.lab import instance

        await instance.up(self.facility, state=state, progress=progress)

    async def down(self, state: Path, progress: Progress) -> None:
        """All of it gone but the caches."""
        from infra.lab import instance

        await instance.down(self.facility.name, state=state, progress=progress)

    def boot_settings(self, site: Site) -> dict[str, Any]:
        """In the site's own namespace."""
        from infra.lab import instance

        return {"place": instance.place(self.facility, site.name)}


def of(facility: Facility) -> Ground:
    """What this facility stands on, on this machine."""
    if Hardware.RACKS in (facility.hardware, places.hardware()):
        return Racks()
    from infra.lab import instance

    lacks = instance.missing()
    if lacks:
        from infra.lab.twin.ground import Twin

        return Twin(facility, lacks=tuple(lacks))
    return Lab(facility)


@dataclass(frozen=True)
class Stands:
    """What stands behind the hardware tables now, and where its doors are."""

    kind: Kind
    condition: str
    """``up``, ``down`` or what is wrong with the emulated hardware; empty for racks."""
    reachable: bool
    """Whether the facility's addresses lead to it; where not, they would lead to strangers."""
    detours: Mapping[str, Endpoint] = field(default_factory=dict)
    """Doors of addresses that are mapped elsewhere."""


async def hardware(facility: Facility, state: Path) -> Stands:
    """What stands behind the facility's hardware tables on this machine."""
    stands_on = of(facility)
    if stands_on.kind == "racks":
        return Stands("racks", "", reachable=True)
    if stands_on.kind == "twin":
        detours = stands_on.endpoints
        return Stands("twin", "up" if detours else "down", reachable=bool(detours), detours=detours)
    from infra.lab import instance

    found = await instance.status(facility.name, state=state)
    reachable = bool(found.sites) and all(site.network for site in found.sites)
    return Stands("lab", "up" if found.up else "; ".join(found.problems) or "down", reachable=reachable)


async def standing(facility: Facility, state: Path) -> Stands:
    """As ``hardware``, when there is any.

    Raises:
        MissingError: the emulated hardware is not up, so whoever answered at its addresses would be a stranger.
    """
    stands = await hardware(facility, state)
    if not stands.reachable:
        raise MissingError(
            f"the {stands.kind} of {facility.name!r} is {stands.condition}", cure="'pachon lab up' builds its hardware"
        )
    return stands
