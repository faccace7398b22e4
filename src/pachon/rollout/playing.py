"""Plays the roles of a service on some of its hosts, as ``pachon up`` would, and nothing else there.

So a receipt that a rollout leaves is the one that the next ``up`` looks for: it plays nothing again.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pachon import in_force
from pachon.drivers.run_file import Endpoint
from pachon.errors import MissingError, PermanentError, RefusedError, TemporaryError
from pachon.ground import Images, of, standing
from pachon.layers.hosts import SiteHosts
from pachon.model.facility import Facility, HostName
from pachon.progress import Progress, silent
from pachon.sites import hardware_of, hosts_of
from pachon.store.database import Store
from pachon.store.lease import Lease


@dataclass
class Roles:
    """The roles of a service, to be played in a facility."""

    facility: Facility
    """As it is defined."""
    names: Collection[str]
    state: Path
    cache: Path
    store: Store
    progress: Progress = silent
    _images: dict[str, Mapping[str, Images]] = field(default_factory=dict)
    """By site."""
    _doors: Mapping[str, Endpoint] | None = None

    @property
    def now(self) -> Facility:
        """The facility with the instances that its hosts are to have by the record."""
        return in_force.overlaid(self.facility, self.store)

    async def detours(self) -> Mapping[str, Endpoint]:
        """Doors of addresses that are mapped elsewhere.

        Raises:
            TemporaryError: the emulated hardware is not up.
        """
        if self._doors is None:
            try:
                self._doors = (await standing(self.facility, self.state)).detours
            except MissingError as error:
                raise TemporaryError(error.message, cure=error.cure) from error
        return self._doors

    async def play(self, hosts: Sequence[HostName], lease: Lease) -> None:
        """Have the roles on these hosts as the record has them.

        Raises:
            PermanentError: a task of a role fails there.
            TemporaryError: a later writer has the site.
        """
        layer = await self._layer(lease)
        try:
            troubles = await layer.play(hosts)
        except RefusedError as error:
            raise TemporaryError(error.message, cure=error.cure) from error
        if troubles:
            told = "; ".join(f"{each.address}: {each.error}" for each in troubles)
            raise PermanentError(told, cure=troubles[0].cure)

    async def _layer(self, lease: Lease) -> SiteHosts:
        facility, ground = self.now, of(self.facility)
        site = facility.site(lease.site)
        if site.name not in self._images:
            flavours = sorted({host.flavour for host in site.active_hosts})
            self._images[site.name] = await ground.images(flavours, cache=self.cache, progress=silent)
        images = dict(self._images[site.name])

        def made() -> SiteHosts | None:
            hardware = hardware_of(
                facility,
                site,
                state=self.state,
                store=self.store,
                ground=ground,
                images=images,
                progress=silent,
                lease=lease,
            )
            return hosts_of(hardware, ground, state=self.state, lease=lease, progress=self.progress)

        layer = await asyncio.to_thread(made)
        if layer is None:
            raise PermanentError(
                f"{site.name} stands on the twin, whose machines carry no operating systems",
                cure="'pachon doctor' says what this machine lacks for the real lab",
            )
        return replace(layer, only_roles=frozenset(self.names))
