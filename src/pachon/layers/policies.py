"""The policies layer of a site: what engines on hosts know that no file of a host says. So far, the workers of Slurm.

A worker introduces itself to its site's Slurm; one that is taken away stays known there, as down, until Slurm is told
to forget it. That it was a worker is known by the receipt of its role, and once it is on its way out by an intent of
its own, which stays until Slurm has forgotten it: so a run that is killed in between leaves it to the next one. Where
the host was then made a worker again it is given back to Slurm by that intent; what a person drained stays drained.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pachon import hostvars
from pachon.drivers.run_file import Endpoint
from pachon.drivers.slurm import Slurm
from pachon.drivers.ssh import Credentials, Fleet, Host
from pachon.errors import PachonError
from pachon.layers.following import Trouble
from pachon.layers.leaving import still_there
from pachon.layers.sight import Sight, addresses_of
from pachon.model.facility import HostName, Site
from pachon.progress import Event, EventState, Progress
from pachon.store.database import Store
from pachon.store.journal import standing
from pachon.store.lease import Lease
from pachon.store.receipts import drop_receipts, intend, versions_under

STAGE = "policies"
WORKER, CONTROLLER = "slurm_compute", "slurm_controller"
"""Roles."""


def leaving_workers(site: Site, store: Store) -> tuple[HostName, ...]:
    """Hosts that were workers of the site's Slurm and are to be none any more; none where there is no Slurm."""
    if controller_of(site) is None:
        return ()
    known = (address.split("/") for address in versions_under(store, f"{site.name}/host/"))
    were = {name for _, _, name, *rest in known if rest == ["role", WORKER]}
    return tuple(sorted((were | _begun(site, store)) - _workers(site)))


def returning_workers(site: Site, store: Store) -> tuple[HostName, ...]:
    """Workers that an earlier run had begun to take away and that are to stay: no job begins there yet."""
    return () if controller_of(site) is None else tuple(sorted(_begun(site, store) & _workers(site)))


def _workers(site: Site) -> set[HostName]:
    return {host.name for host in site.active_hosts if WORKER in hostvars.roles_of(host)}


def _begun(site: Site, store: Store) -> set[HostName]:
    """Hosts that runs have begun to take from Slurm, and that they have not ended."""
    return {address.rpartition("/")[2] for address in versions_under(store, node_address(site.name, ""))}


def still_workers(site: Site, store: Store, sight: Sight, names: Sequence[HostName]) -> set[HostName]:
    """Those that stand by the journal and are to go, or stay and were not seen to be rid of their role."""
    active = {host.name for host in site.active_hosts}
    stand = {entry.address for entry in standing(store, site.name)}
    lost = still_there(site, store, sight, WORKER, active.intersection(names))
    return lost | {name for name in names if name not in active and f"{site.name}/host/{name}" in stand}


def controller_of(site: Site) -> HostName | None:
    """The host that runs the site's Slurm."""
    return next((host.name for host in site.active_hosts if CONTROLLER in hostvars.roles_of(host)), None)


def node_address(site: str, name: HostName) -> str:
    """Of what Slurm knows of a worker."""
    return f"{site}/node/{name}"


@dataclass(frozen=True)
class SitePolicies:
    """The policies of one site, carried out by its own engines."""

    site: Site
    state: Path
    store: Store
    lease: Lease
    endpoints: Mapping[str, Endpoint]
    """Doors of addresses that are mapped elsewhere."""
    progress: Progress

    async def drain(self, names: Sequence[HostName]) -> None:
        """See that no job begins on these workers any more; where that cannot be had they go all the same.

        Raises:
            RefusedError: a later writer has taken the site's lease.
        """
        intend(self.store, self.lease, [node_address(self.site.name, name) for name in names])
        try:
            async with self._slurm() as slurm:
                await slurm.drain(names)
        except PachonError as error:
            self._tell(names, "moving", f"not drained: {error.message}")

    async def forget(self, names: Sequence[HostName]) -> list[Trouble]:
        """Have Slurm forget these workers, which are gone: of which it could not be had, and why (errors as above)."""
        try:
            async with self._slurm() as slurm:
                kept = await slurm.delete_nodes(names)
        except PachonError as error:
            kept = dict.fromkeys(names, error.message)
        done = [name for name in names if name not in kept]
        drop_receipts(self.store, self.lease, [node_address(self.site.name, name) for name in done])
        self._tell(done, "done", "Slurm has forgotten it")
        return self._troubles(kept)

    async def give_back(self, names: Sequence[HostName]) -> list[Trouble]:
        """Let jobs begin again on these workers, which stay: where that could not be had, and why (errors as above)."""
        try:
            async with self._slurm() as slurm:
                kept = await slurm.give_back(names)
        except PachonError as error:
            kept = dict.fromkeys(names, error.message)
        done = [name for name in names if name not in kept]
        drop_receipts(self.store, self.lease, [node_address(self.site.name, name) for name in done])
        self._tell(done, "done", "jobs begin there again")
        return self._troubles(kept)

    def _troubles(self, kept: Mapping[HostName, str]) -> list[Trouble]:
        for name, why in kept.items():
            self._tell([name], "failed", why)
        cure = "run the same command again; see slurmctld on the site's batch controller"
        return [Trouble(address=node_address(self.site.name, name), error=why, cure=cure) for name, why in kept.items()]

    @asynccontextmanager
    async def _slurm(self) -> AsyncIterator[Slurm]:
        address = addresses_of(self.site)[controller_of(self.site) or ""]
        async with Fleet(Credentials.of_state(self.state), detours=dict(self.endpoints)) as fleet:

            async def open_host() -> Host:
                return await fleet.host(address)

            yield Slurm(self.site.name, open_host, prefix="")

    def _tell(self, names: Collection[HostName], state: EventState, message: str) -> None:
        for name in names:
            self.progress(Event(STAGE, node_address(self.site.name, name), state, message))
