"""Brings one site to what its plan says: stacks, and plays on hosts as they come up, while the stacks still run.

What is to be done comes from a look (``site_look``) and a plan that was made from it; nothing is decided here.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pachon.configuring import Configuring, Tap
from pachon.drivers.pulumi import PlannedAction, StackResult
from pachon.drivers.run_file import RunFile
from pachon.errors import PachonError, TemporaryError
from pachon.layers import beforehand
from pachon.layers.hardware import Observation, SiteHardware, allowed_of
from pachon.layers.hosts import STAGE, RoleWork, SiteHosts
from pachon.layers.policies import SitePolicies, node_address, still_workers
from pachon.layers.site_cluster import SiteCluster
from pachon.model.base import Frozen
from pachon.model.facility import HostName, Site
from pachon.model.hardware import STACKS, Kind, ResourceInputs, StackName, through_switches
from pachon.progress import Event, silent
from pachon.site_look import Look
from pachon.store.journal import addresses_of
from pachon.store.lease import Lease

if TYPE_CHECKING:
    from infra.provider.orphans import Orphan


class Failed(Frozen):
    """One thing that failed."""

    address: str
    error: str
    cure: str


@dataclass
class SiteRun:
    """One run at one site, under its lease."""

    site: Site
    hardware: SiteHardware
    hosts: SiteHosts | None
    """None where machines carry no operating systems (the twin)."""
    lease: Lease
    code: str
    """Digest of the program text."""
    progress: Tap
    """Heard by the engine's events too."""
    cluster: SiteCluster | None = None
    """None where nothing is to be in a cluster, nor was."""
    destroy_data: frozenset[str] = frozenset()
    """Volumes that may go with the data that the plan has seen in them."""
    results: dict[StackName, StackResult] = field(default_factory=dict)
    failures: list[Failed] = field(default_factory=list)
    destroyed: dict[str, str] = field(default_factory=dict)
    """What was removed beside the engine, and why."""
    forgotten: set[HostName] = field(default_factory=set)
    """Workers that Slurm has forgotten."""
    given_back: set[HostName] = field(default_factory=set)
    """Workers on which jobs begin again."""
    why: str = ""
    """What was done and for what reason, or why nothing had to be."""

    async def carry_out(self, found: Look, planned: Mapping[StackName, list[PlannedAction]]) -> None:
        """Do it; what fails on a resource is collected in ``failures``. The provider is held to what was planned.

        Raises:
            PachonError: the engine itself failed.
        """
        todo, pending = found.todo, found.pending
        if self.hosts is not None:
            await asyncio.to_thread(self.hosts.make_secrets)
        objects = found.cluster is not None and not found.cluster.is_done
        if not (todo or found.orphans or pending or found.workers or found.returning or objects):
            await self.hardware.settle()
            self.why = f"site {self.site.name}: nothing changed: {self._why_nothing(len(found.seen))}"
        else:
            await self._drain(found.workers)
            for orphan in sorted(found.orphans, key=lambda each: each.kind is Kind.HOST):  # volumes need their hosts
                await self._remove(orphan, orphan.as_action(), "removed what a killed run had left")
            await self._bring_about(found, await self._make_way(found, planned))
            await self._look_again([each for name in todo for each in found.moved[name]])
            await self.hardware.settle()
            told = [f"{name} ran because {found.reason(name)}" for name in todo]
            told += [f"{why}: {address}" for address, why in self.destroyed.items()]
            told += self._why_played(pending)
            told += [f"had Slurm forget {name}" for name in await self._forget(found.workers)]
            told += [f"had jobs begin again on {name}" for name in await self._give_back(found.returning)]
            if objects and self.cluster is not None:
                told += await self._fill_cluster(self.cluster)
            self.why = f"site {self.site.name}: " + "; ".join(told)
        for name in STACKS:
            if name not in todo:
                self.progress(Event(name, self.site.name, "unchanged", self._why_skipped(name)))
        if not todo and not pending:
            self.progress(Event(STAGE, self.site.name, "unchanged", self._why_no_play()))
        if self.hosts is not None:  # last, since a plan that is taken up again goes by the newest run of all receipts
            await asyncio.to_thread(self.hosts.forget_strangers)

    def _why_nothing(self, resources: int) -> str:
        return (
            "definition, images, roles and program are those of the last run, "
            f"all {resources} resources were just seen to be as it left them, and {self._why_no_play()}"
        )

    def _why_no_play(self) -> str:
        if self.hosts is None:
            return "the twin has no operating systems to play roles on"
        roles, hosts = self.hosts.count()
        unknown = self.hosts.sight.unanswered
        whether = f", but whether that is still so is unknown on {', '.join(sorted(unknown))}" if unknown else ""
        return f"the receipts of {roles} roles on {hosts} hosts hold{whether}"

    def _why_played(self, pending: Mapping[HostName, Sequence[RoleWork]]) -> list[str]:
        """Which roles were played and for what reasons, in a few words."""
        if self.hosts is None or not self.hosts.played:
            return []
        number = len(self.hosts.played)
        reasons = sorted({work.reason for works in pending.values() for work in works})
        because = f" because: {', '.join(reasons[:2])}" if reasons else ""
        return [f"{number} role{'s were' if number > 1 else ' was'} played{because}"]

    def addresses(self) -> set[str]:
        """Everything that is defined here, or that anything was ever done to."""
        defined = {each.address for resources in self.hardware.resources.values() for each in resources}
        return defined | addresses_of(self.hardware.store, self.site.name)

    def _why_skipped(self, name: StackName) -> str:
        return "same inputs, and seen to be right" if self.hardware.resources[name] else "the definition has none here"

    async def _make_way(
        self, found: Look, planned: Mapping[StackName, list[PlannedAction]]
    ) -> Mapping[StackName, list[PlannedAction]]:
        """What is left for the engines, once what they would come too late to remove is gone."""
        actions = [action for each in planned.values() for action in each]
        declared = [each for resources in self.hardware.resources.values() for each in resources]
        stuck: set[str] = set()
        for removal in beforehand.removals(found.made, actions, declared):
            address = removal.action.address
            if address in stuck:
                continue
            if removal.machine is not None and not await self._is_there(removal.machine, actions):
                stuck.add(address)  # the engine says of the machine what is wrong
            elif not await self._remove(
                removal.orphan, removal.action, "removed beforehand", left_behind=removal.left_behind
            ):
                stuck.add(address)
                if removal.under and removal.under not in stuck:
                    stuck.add(removal.under)
                    said, cure = f"not removed: {address} on it could not be", "mend that; the next run goes on"
                    self.failures.append(Failed(address=removal.under, error=said, cure=cure))
        return {name: [each for each in planned[name] if each.address not in stuck] for name in planned}

    async def _is_there(self, machine: ResourceInputs, actions: Sequence[PlannedAction]) -> bool:
        """Whether the machine is what the tables say, or nothing is planned for it."""
        from infra.provider import orphans

        own = [each for each in actions if each.address == machine.address and each.verb != "none"]
        if own:
            try:
                await orphans.enrol(self._run_file(own), machine.inputs, known=own[0].verb == "update")
            except PachonError:
                return False
        return True

    def _run_file(self, actions: Iterable[PlannedAction]) -> RunFile:
        """What the provider is told that does these beside the engine."""
        return self.hardware.engine.run_file(
            self.hardware.stack_by_name["compute"],
            allowed=tuple(allowed_of(actions)),
            destroy_data=tuple(self.destroy_data),
        )

    async def _remove(self, orphan: "Orphan", action: PlannedAction, why: str, *, left_behind: bool = False) -> bool:
        """Whether it is gone; of a volume that is ``left_behind`` also if its host does not answer."""
        from infra.provider import orphans

        address = orphan.stamp.address
        run = self._run_file([action])
        self.progress(Event("plan", address, "started", "removing"))
        try:
            try:
                await orphans.destroy(run, orphan)
            except TemporaryError as error:
                if not left_behind:
                    raise
                why = f"goes with its host, which does not answer: {error.message}"
                await orphans.let_go(run, orphan, why)
        except PachonError as error:
            self.failures.append(Failed(address=address, error=error.message, cure=error.cure))
            self.progress(Event("plan", address, "failed", str(error)))
            return False
        self.destroyed[address] = why
        self.progress(Event("plan", address, "done", why))
        return True

    async def _drain(self, workers: Sequence[HostName]) -> None:
        if self.hosts is not None and workers:
            await self._policies(self.hosts).drain(workers)

    async def _forget(self, workers: Sequence[HostName]) -> Sequence[HostName]:
        """Have Slurm forget workers that are gone; one that would not go is still what it was."""
        if self.hosts is None or not workers:
            return ()
        failed = {failure.address for failure in self.failures}
        there = await asyncio.to_thread(still_workers, self.site, self.hosts.store, self.hosts.sight, workers)
        if there:  # hosts that this run made anew, or that were silent when it began, were not seen since
            await self.hosts.look(there & {host.name for host in self.site.active_hosts})
            there = await asyncio.to_thread(still_workers, self.site, self.hosts.store, self.hosts.sight, workers)
        for name in sorted(there):
            why = f"not forgotten: {name} may be a worker still"
            cure = "see what else failed, and the host, then run the same command again"
            self.failures.append(Failed(address=node_address(self.site.name, name), error=why, cure=cure))
        gone = [name for name in workers if name not in there and f"{self.site.name}/host/{name}" not in failed]
        if not gone:
            return ()
        troubles = await self._policies(self.hosts).forget(gone)
        self.failures += [Failed(address=t.address, error=t.error, cure=t.cure) for t in troubles]
        kept = {each.address for each in troubles}
        self.forgotten |= {name for name in gone if node_address(self.site.name, name) not in kept}
        return sorted(self.forgotten)

    async def _give_back(self, workers: Sequence[HostName]) -> Sequence[HostName]:
        """Have jobs begin again on workers that stay; one that is not as its roles say waits for the next run."""
        failed = {failure.address for failure in self.failures}
        sound = [name for name in workers if f"{self.site.name}/host/{name}" not in failed]
        if self.hosts is None or not sound:
            return ()
        troubles = await self._policies(self.hosts).give_back(sound)
        self.failures += [Failed(address=t.address, error=t.error, cure=t.cure) for t in troubles]
        kept = {each.address for each in troubles}
        self.given_back = {name for name in sound if node_address(self.site.name, name) not in kept}
        return sorted(self.given_back)

    async def _fill_cluster(self, cluster: SiteCluster) -> list[str]:
        """Bring the site's cluster to what it is to hold; what was done, for people."""
        troubles = await cluster.carry_out()
        self.failures += [Failed(address=t.address, error=t.error, cure=t.cure) for t in troubles]
        return cluster.told

    def _policies(self, hosts: SiteHosts) -> SitePolicies:
        return SitePolicies(self.site, hosts.state, hosts.store, self.lease, hosts.endpoints, self.progress)

    async def _bring_about(self, found: Look, planned: Mapping[StackName, list[PlannedAction]]) -> None:
        """Run the stacks, and meanwhile configure whatever hosts stand."""
        todo, pending = found.todo, found.pending
        if self.hosts is None:
            await self._apply(found, planned, None)
            self.progress(Event(STAGE, self.site.name, "unchanged", self._why_no_play()))
            return
        active = {host.name for host in self.site.active_hosts}
        made = {each.address for actions in planned.values() for each in actions if each.verb in ("create", "replace")}
        self.hosts.sight = self.hosts.sight.without({name for name in active if self.hosts.address(name) in made})
        volumes = self._volume_hosts() if "storage" in todo else frozenset()
        configuring = Configuring(self.hosts, active if todo else set(pending), withheld=volumes)
        number = sum(len(works) for works in pending.values())
        self.progress(Event(STAGE, self.site.name, "started", f"{number} roles on {len(pending)} hosts to be played"))
        self.progress.listener = configuring.listen
        playing = asyncio.create_task(configuring.run())
        try:
            standing_now = active - self._changing(todo, planned)
            configuring.heard |= standing_now
            configuring.add(standing_now - volumes)
            await self._apply(found, planned, configuring)
            configuring.add(self._standing(todo, configuring))
            configuring.close()
            await playing
        finally:
            self.progress.listener = silent
            if not playing.done():
                playing.cancel()
                await asyncio.gather(playing, return_exceptions=True)
        self.failures += [Failed(address=t.address, error=t.error, cure=t.cure) for t in configuring.troubles]
        failed = len(configuring.troubles)
        said = f"{failed} hosts are not configured, the others are" if failed else f"{len(self.hosts.played)} played"
        self.progress(Event(STAGE, self.site.name, "failed" if failed else "done", said))

    def _volume_hosts(self) -> frozenset[HostName]:
        host_by_pool = {pool.name: pool.host for pool in self.site.storage_pools}
        active = {host.name for host in self.site.active_hosts}
        return frozenset(host_by_pool[volume.pool] for volume in self.site.volumes) & active

    def _changing(self, todo: Sequence[StackName], planned: Mapping[StackName, list[PlannedAction]]) -> set[HostName]:
        """Hosts that a stack which is to run may make or change."""
        verbs = {action.address: action.verb for actions in planned.values() for action in actions}
        declared = [resource for name in todo for resource in self.hardware.resources[name]]
        return {
            resource.address.rpartition("/")[2]
            for resource in declared
            if resource.kind is Kind.HOST and verbs.get(resource.address, "none") != "none"
        }

    def _standing(self, todo: Sequence[StackName], configuring: Configuring) -> set[HostName]:
        """Hosts that stand now that the stacks have ended."""
        failed = {failure.address for failure in self.failures}
        whole = {f"{self.site.name}/stack/{name}" for name in todo} & failed
        return {
            host.name
            for host in self.site.active_hosts
            if not {f"{self.site.name}/host/{host.name}", f"{self.site.name}/machine/{host.machine}"} & failed
            and (host.name in configuring.heard or not whole)
        }

    async def _apply(
        self, found: Look, planned: Mapping[StackName, list[PlannedAction]], configuring: Configuring | None
    ) -> None:
        todo = found.todo

        async def one(name: StackName) -> None:
            if name not in todo:
                return
            self.progress(Event(name, self.site.name, "started", found.reason(name)))
            # What was planned after a look must be carried out after one: a state of before a kill has other steps.
            result = await self.hardware.apply(
                name, allowed=planned.get(name, []), destroy_data=self.destroy_data, refresh=bool(found.made)
            )
            self._take(name, result)

        # Volumes need their hosts and segments their switches; hosts need the switches where they boot through them.
        # What moves from one stack to the other has to be gone there before it is made here.
        if _moves(planned.get("compute", ()), planned.get("network", ())):
            await one("compute")
        elif self._fabric_first() or _moves(planned.get("network", ()), planned.get("compute", ())):
            await one("network")
        done = set(self.results)
        ended = asyncio.Event()

        async def hosts() -> None:
            await asyncio.gather(*(one(name) for name in ("network", "compute") if name not in done))
            ended.set()
            if configuring is not None:
                configuring.stacks_ended()

        async def volumes() -> None:
            carriers = self._volume_hosts()
            if configuring is None or "storage" not in todo:
                await ended.wait()
            else:
                await configuring.until_stand(carriers)
            await one("storage")
            if configuring is not None:
                configuring.add(carriers & configuring.heard)

        await asyncio.gather(hosts(), volumes())

    def _fabric_first(self) -> bool:
        return through_switches(self.hardware.stack_by_name["network"].facility, self.site)

    def _take(self, name: StackName, result: StackResult) -> None:
        self.results[name] = result
        told = {failure.address for failure in self.failures}
        failed = [Failed(address=each.address, error=each.message, cure=each.cure) for each in result.failures]
        failed += [Failed(address=f"{self.site.name}/stack/{name}", error=said, cure="") for said in result.said]
        self.failures += [each for each in failed if each.address not in told]
        if failed:
            number = len(failed)
            self.progress(Event(name, self.site.name, "failed", f"{number} failed, the others are right"))
            return
        self.hardware.keep_receipt(
            name, run_id=self.lease.run_id, code=self.code, document=dict(result.outputs.get("document") or {})
        )
        self.progress(Event(name, self.site.name, "done", text_of(result.changes)))

    async def _look_again(self, moved: Sequence[Observation]) -> None:
        """What was not as wanted and still is not, though no stack could mend it, is a failure."""
        known = {failure.address for failure in self.failures}
        addresses = {each.address for each in moved} - known
        if not addresses:
            return
        for observation in (await self.hardware.observe(addresses)).values():
            if not observation.same:
                serial = observation.address.rpartition("/")[2]
                self.failures.append(
                    Failed(
                        address=observation.address,
                        error=f"is still not as wanted: {observation.difference}",
                        cure=f"see its console; 'pachon machine power {serial} reset --yes' restarts its machine",
                    )
                )


def text_of(counts: Mapping[str, int]) -> str:
    """Counts of verbs for people."""
    return ", ".join(f"{number} {verb}" for verb, number in sorted(counts.items()) if number) or "nothing"


def _moves(away: Iterable[PlannedAction], here: Iterable[PlannedAction]) -> bool:
    """Whether an address is deleted by the one and created by the other."""
    created = {action.address for action in here if action.verb == "create"}
    return any(action.verb == "delete" and action.address in created for action in away)
