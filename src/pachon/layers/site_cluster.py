"""The cluster of one site within a run: how it is reached, what it is to hold, and what of that is carried out."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pachon.drivers import pki, relay
from pachon.drivers.kubernetes import Access, Cluster
from pachon.drivers.run_file import Endpoint
from pachon.drivers.ssh import Credentials, Fleet
from pachon.errors import MissingError, TemporaryError
from pachon.hostvars import kubernetes_cluster
from pachon.layers.awaiting import until_rolled_out
from pachon.layers.cluster_rules import rules_of
from pachon.layers.clusters import STAGE, ClusterSight, Granted, Looking, ObjectWork, attempt
from pachon.layers.following import Trouble
from pachon.layers.sight import addresses_of
from pachon.model.cluster_object import ClusterObject, object_of, owner_of
from pachon.model.facility import Facility, Site
from pachon.progress import Event, Progress
from pachon.store.database import Store
from pachon.store.lease import Lease
from pachon.store.receipts import drop_receipts, intend, prove, versions_under

USER, GROUPS = "pachon:controller", ("system:masters",)
"""As whom we log in to a site's own cluster."""
CURE = "look at what changed, and approve a new plan: 'pachon plan --out FILE'"


def desired_of(facility: Facility, site: Site) -> tuple[ClusterObject, ...]:
    """What the site's cluster is to hold by the definition: what is placed there, and what its enclaves are given."""
    owner = owner_of(facility.name, site.name)
    placed = [each for each in facility.placements if each.site == site.name and each.manifests]
    rules = rules_of(facility, site, enclaves={each.enclave for each in placed}, owner=owner)
    objects = [
        object_of(manifest.body, owner=owner, service=each.service, namespace=each.enclave, where=manifest.where)
        for each in placed
        for manifest in each.manifests
    ]
    return (*rules, *objects)


def has_work(facility: Facility, site: Site, store: Store) -> bool:
    """Whether anything is to be in a cluster of the site, or was put there by us."""
    placed = any(each.site == site.name and each.manifests for each in facility.placements)
    return placed or bool(versions_under(store, f"{site.name}/object/"))


@dataclass
class SiteCluster:
    """A site's cluster."""

    facility: Facility
    site: Site
    state: Path
    store: Store
    endpoints: Mapping[str, Endpoint]
    """Doors of addresses that are mapped elsewhere."""
    progress: Progress
    lease: Lease | None = None
    granted: Granted = field(default_factory=lambda: Granted(given={}))
    """What the plan of this run lets be done."""
    changed: list[str] = field(default_factory=list)
    """Addresses of what this run applied or removed."""
    outside: list[str] = field(default_factory=list)
    """Addresses of what was left alone, since the plan does not hold it."""

    @property
    def address(self) -> str:
        """Of the cluster as a whole."""
        return f"{self.site.name}/cluster"

    @property
    def is_reachable(self) -> bool:
        """Whether the definition says where there is one."""
        return bool(self.site.kubeconfig) or kubernetes_cluster.controller(self.site) is not None

    @property
    def desired(self) -> tuple[ClusterObject, ...]:
        """What it is to hold."""
        return desired_of(self.facility, self.site)

    @property
    def told(self) -> list[str]:
        """What this run did, for people."""
        number = len(self.changed)
        return [f"{number} object{'s' if number != 1 else ''} of the cluster changed"] if number else []

    async def look(self) -> ClusterSight:
        """What it holds; one that cannot be asked yet, or now, says why.

        Raises:
            PermanentError: it refuses us.
        """
        self.progress(Event("observe", self.address, "started", "listing what is ours in the cluster"))
        try:
            async with self._opened() as cluster:
                sight = await asyncio.to_thread(self._looking(cluster).look, self.desired)
        except (MissingError, TemporaryError) as error:
            self.progress(Event("observe", self.address, "done", f"cannot be asked: {error.message}"))
            return ClusterSight(away=error.message)
        self.progress(Event("observe", self.address, "done", _summary(sight)))
        return sight

    async def carry_out(self) -> list[Trouble]:
        """Do what the plan holds, wait until workloads have come about; what failed or was left alone, and why.

        Raises:
            RefusedError: a later writer has taken the site's lease.
        """
        if not self.is_reachable and not self.desired:
            await asyncio.to_thread(self._forget)
            return []
        try:
            async with self._opened() as cluster:
                sight = await asyncio.to_thread(self._looking(cluster).look, self.desired)
                return await asyncio.to_thread(self._do, cluster, sight)
        except (MissingError, TemporaryError) as error:
            self.progress(Event(STAGE, self.address, "failed", error.message))
            return [Trouble(self.address, error.message, error.cure)]

    def _forget(self) -> None:
        """The site has no cluster any more: what is known of objects in it is of no use to anybody."""
        assert self.lease is not None
        known = list(versions_under(self.store, f"{self.site.name}/object/"))
        drop_receipts(self.store, self.lease, known)
        self.progress(Event(STAGE, self.address, "done", f"the site has none any more: {len(known)} objects forgotten"))

    def _do(self, cluster: Cluster, sight: ClusterSight) -> list[Trouble]:
        assert self.lease is not None
        troubles, todo = self._bound(sight.works)
        applying = {work.address: work for work in todo}
        intend(self.store, self.lease, applying)
        made = attempt(cluster, todo, forced=self.granted.forced, told=self._tell)
        prove(self.store, self.lease, {address: applying[address].given for address in made.applied})
        drop_receipts(self.store, self.lease, list(made.removed))
        self.changed = sorted((*made.applied, *made.removed))
        troubles += [Trouble(address, error.message, error.cure) for address, error in sorted(made.failed.items())]
        keys = {address: applying[address].key for address in made.applied}
        waiting = {each.key for each in self.desired} if sight.waiting else set()
        keys |= {address: key for key in waiting if (address := self._looking(cluster).address(key)) in sight.waiting}
        for address, said in sorted(until_rolled_out(cluster, keys, self.progress).items()):
            troubles.append(Trouble(address, f"has not come about: {said}", "mend that; the next run waits again"))
        return troubles

    def _bound(self, works: Sequence[ObjectWork]) -> tuple[list[Trouble], list[ObjectWork]]:
        """What is not done, and what is."""
        troubles: list[Trouble] = []
        todo: list[ObjectWork] = []
        for work in works:
            refused = self.granted.refuses(work)
            if work.verb == "unknown":
                troubles.append(Trouble(work.address, work.reason, work.cure or _mend(work)))
            elif refused:
                self.outside.append(work.address)
                troubles.append(Trouble(work.address, refused, CURE))
            else:
                todo.append(work)
        return troubles, todo

    def _tell(self, work: ObjectWork, failed: str) -> None:
        self.progress(
            Event(STAGE, work.address, "failed" if failed else "done", failed or f"{work.verb}: {work.reason}")
        )

    def _looking(self, cluster: Cluster) -> Looking:
        return Looking(self.site.name, owner_of(self.facility.name, self.site.name), cluster)

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Cluster]:
        if self.site.kubeconfig:
            async with _closing(Cluster(self.site.name, Path(self.site.kubeconfig))) as cluster:
                yield cluster
            return
        host = kubernetes_cluster.controller(self.site)
        if host is None:
            raise MissingError(
                f"site {self.site.name} has no cluster any more",
                cure="what was in it went with it, or name its kubeconfig",
            )
        async with Fleet(Credentials.of_state(self.state), detours=dict(self.endpoints)) as fleet:
            there = await fleet.host(addresses_of(self.site)[host.name])
            async with relay.listening(there, kubernetes_cluster.PORT) as port:
                now, state = datetime.now(UTC), self.state
                certificate = pki.client(state, self.site.name, user=USER, groups=GROUPS, now=now)
                authority = state / "pki" / self.site.name / "ca.crt"
                access = Access(f"https://127.0.0.1:{port}", authority, certificate, certificate.with_suffix(".key"))
                async with _closing(Cluster(self.site.name, access)) as cluster:
                    yield cluster


@asynccontextmanager
async def _closing(cluster: Cluster) -> AsyncIterator[Cluster]:
    try:
        yield cluster
    finally:
        cluster.close()


def _mend(work: ObjectWork) -> str:
    where = work.wanted.where if work.wanted is not None else ""
    return f"mend the manifest: {where}" if where else "see the cluster"


def _summary(sight: ClusterSight) -> str:
    if not sight.works:
        return f"all {len(sight.same)} objects are as wanted"
    return f"{len(sight.works)} of {len(sight.works) + len(sight.same)} objects are not as wanted"
