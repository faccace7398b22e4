"""Looks at one site and says what would have to run there, without asking any engine; then asks those that must be.

A stack has to run when its inputs (or the program text behind it) are not those of its receipt, or when one of its
resources was just seen not to be as wanted; a role where its receipt does not hold, or where its host was just seen
not to be as the role left it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pachon.drivers.pulumi import PlannedAction
from pachon.drivers.ssh import Credentials, Fleet
from pachon.layers import served
from pachon.layers.clusters import ClusterSight
from pachon.layers.hardware import Observation, Observations, SiteHardware
from pachon.layers.hosts import RoleWork, SiteHosts
from pachon.layers.policies import leaving_workers, returning_workers
from pachon.layers.site_cluster import SiteCluster
from pachon.model.facility import HostName, Site
from pachon.model.hardware import STACKS, StackName
from pachon.progress import Event, Progress
from pachon.store.journal import Entry, standing

if TYPE_CHECKING:
    from infra.provider.orphans import Orphan


@dataclass(frozen=True)
class Look:
    """What was seen at a site and what follows from it."""

    made: tuple[Entry, ...]
    """What may stand by our doing, by the journal."""
    looked: bool
    """Whether the world was looked at, and not only what is remembered."""
    stale: frozenset[StackName]
    """Stacks whose inputs are not those of their receipts."""
    seen: Mapping[str, Observation]
    moved: Mapping[StackName, Sequence[Observation]]
    """Of each stack, what was seen not to be as wanted."""
    orphans: "Sequence[Orphan]"
    pending: Mapping[HostName, Sequence[RoleWork]]
    workers: tuple[HostName, ...] = ()
    """Hosts that the site's Slurm is to forget."""
    returning: tuple[HostName, ...] = ()
    """Workers on which it is to let jobs begin again: a killed run was at taking them away."""
    cluster: ClusterSight | None = None
    """What the site's cluster holds; None where that is no matter of ours."""

    @property
    def todo(self) -> tuple[StackName, ...]:
        """Stacks whose engine has to be started."""
        return tuple(name for name in STACKS if name in self.stale or self.moved[name])

    def reason(self, name: StackName) -> str:
        """Why a stack has to run, for people."""
        moved = len(self.moved[name])
        told = ["its inputs are new"] if name in self.stale else []
        if moved:
            told.append(f"{moved} of its resources {'are' if moved > 1 else 'is'} not as wanted")
        return " and ".join(told)


async def look(
    site: Site,
    hardware: SiteHardware,
    hosts: SiteHosts | None,
    cluster: SiteCluster | None = None,
    *,
    code: str,
    progress: Progress,
    eyes: bool = True,
    fleet: Fleet | None = None,
) -> Look:
    """What was seen at the site; changes nothing. Without ``eyes`` only what is remembered is asked.

    ``fleet``: connections that are somebody else's to close.
    """
    made = tuple(standing(hardware.store, site.name))
    stale = frozenset(name for name in STACKS if not _is_current(hardware, name, code))
    seen: Mapping[str, Observation] = {}
    orphans: Sequence[Orphan] = []
    if made and eyes:
        progress(Event("observe", site.name, "started", "looking at what is there"))
        seen = await _seen(hardware, hosts, progress, fleet)
        progress(Event("observe", site.name, "done", _summary(seen)))
    if eyes:
        orphans = await hardware.leftovers(made)
    pending = {} if hosts is None else await asyncio.to_thread(hosts.pending)
    return Look(
        made=made,
        looked=bool(made) and eyes,
        stale=stale,
        seen=seen,
        moved={name: _moved(hardware, name, seen) for name in STACKS},
        orphans=orphans,
        pending=pending,
        workers=() if hosts is None else await asyncio.to_thread(leaving_workers, site, hosts.store),
        returning=() if hosts is None else await asyncio.to_thread(returning_workers, site, hosts.store),
        cluster=None if cluster is None else await _in_cluster(site, cluster, eyes=eyes and bool(made)),
    )


async def _in_cluster(site: Site, cluster: SiteCluster, *, eyes: bool) -> ClusterSight:
    """What the site's cluster holds; one that our own hosts make is not asked before anything of them stands."""
    if eyes or site.kubeconfig:
        return await cluster.look()
    return ClusterSight(away="it is yet to be made, or nobody looked")


async def _seen(
    hardware: SiteHardware, hosts: SiteHosts | None, progress: Progress, given: Fleet | None
) -> Observations:
    """What hardware is like; what hosts are like, they remember. Both go through the site's server if there is one."""
    run = hardware.run_file
    server = await served.found(Path(run.state), run.site, progress)
    fleet = given or Fleet(Credentials.of_state(Path(run.state)), detours=dict(run.endpoints))

    async def observe() -> Observations:
        if server is not None:
            try:
                return await server.observe(run)
            except served.GoneError as error:
                served.unasked(run.site, error, progress)
        return await hardware.observe(fleet=fleet)

    async def look() -> None:
        if hosts is not None:
            await hosts.look(eyes=served.Eyes(server, fleet))

    async def judge() -> None:
        if hosts is not None:
            await asyncio.to_thread(hosts.judge)

    try:
        seen, _, _ = await asyncio.gather(observe(), look(), judge())
        return seen
    finally:
        if given is None:
            await fleet.leave()


async def previews(hardware: SiteHardware, found: Look) -> Mapping[StackName, list[PlannedAction]]:
    """What the engine says of each stack that has to run; where nothing was ever made it need not be asked.

    Raises:
        PachonError: the engine fails.
    """

    async def one(name: StackName) -> list[PlannedAction]:
        if not found.made and not hardware.has_record(name):
            return hardware.all_as(name, "create", "in the definition, and nothing of it stands by our doing")
        return await hardware.preview(name, refresh=found.looked, keep_unseen=True)

    told = await asyncio.gather(*(one(name) for name in found.todo))
    return dict(zip(found.todo, told, strict=True))


def _is_current(hardware: SiteHardware, name: StackName, code: str) -> bool:
    kept = hardware.receipt_of(name)
    if kept is None:
        return not hardware.resources[name]
    return kept.inputs_digest == hardware.wanted_digest(name, code)


def _moved(hardware: SiteHardware, name: StackName, seen: Mapping[str, Observation]) -> list[Observation]:
    looked = (seen.get(resource.address) for resource in hardware.resources[name])
    return [each for each in looked if each is not None and not each.same]


def _summary(seen: Mapping[str, Observation]) -> str:
    moved = [observation for observation in seen.values() if not observation.same]
    if not moved:
        return f"all {len(seen)} resources are as wanted"
    shown = ", ".join(f"{each.address} {each.difference}" for each in moved[:4])
    return f"{len(moved)} of {len(seen)} resources are not as wanted: {shown}" + (" …" if len(moved) > 4 else "")
