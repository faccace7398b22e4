"""Brings one site to its definition: look, decide what must run, have destruction approved, run the stacks, look again.

A stack runs when its inputs (or the program text behind it) are not those of its receipt, or when one of its
resources was just seen not to be as wanted; a role is played where its receipt does not hold. Everything else reaches
no engine. Hosts are configured as they come up, while the stacks still run.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pachon.configuring import Configuring, Tap
from pachon.drivers.pulumi import PlannedAction, StackResult
from pachon.errors import PachonError, RefusedError
from pachon.layers.hardware import Observation, SiteHardware, allowed_of
from pachon.layers.hosts import STAGE, RoleWork, SiteHosts
from pachon.model.base import Frozen
from pachon.model.facility import HostName, Site
from pachon.model.hardware import STACKS, Kind, StackName, through_switches
from pachon.progress import Event, silent
from pachon.store.journal import standing
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
    approved: frozenset[str]
    """Addresses whose destruction was approved."""
    progress: Tap
    """Heard by the engine's events too."""
    results: dict[StackName, StackResult] = field(default_factory=dict)
    failures: list[Failed] = field(default_factory=list)
    destroyed: list[str] = field(default_factory=list)
    """Orphans that were removed."""
    why: str = ""
    """What was done and for what reason, or why nothing had to be."""

    async def carry_out(self) -> None:
        """Do it; what fails on a resource is collected in ``failures``.

        Raises:
            RefusedError: something would be destroyed that was not approved.
            PachonError: the engine itself failed.
        """
        made = standing(self.hardware.store, self.site.name)
        stale = [name for name in STACKS if not self._is_current(name)]
        seen = await self._observe() if made else {}
        moved = {name: self._moved(name, seen) for name in STACKS}
        todo = [name for name in STACKS if name in stale or moved[name]]
        orphans = await self.hardware.leftovers(made)
        pending = await asyncio.to_thread(self._pending)
        if not todo and not orphans and not pending:
            self.why = f"site {self.site.name}: nothing changed: {self._why_nothing(len(seen))}"
        else:
            planned = await self._plan(todo, orphans) if made and (todo or orphans) else {}
            await self._destroy(orphans)
            reasons = {name: _reason(name in stale, moved[name]) for name in todo}
            await self._bring_about(todo, reasons, planned, pending)
            await self._look_again([each for name in todo for each in moved[name]])
            told = [f"{name} ran because {reason}" for name, reason in reasons.items()]
            told += [f"removed what a killed run had left: {address}" for address in self.destroyed]
            told += self._why_played(pending)
            self.why = f"site {self.site.name}: " + "; ".join(told)
        for name in STACKS:
            if name not in todo:
                self.progress(Event(name, self.site.name, "unchanged", self._why_skipped(name)))
        if not todo and not pending:
            self.progress(Event(STAGE, self.site.name, "unchanged", self._why_no_play()))

    def _pending(self) -> Mapping[HostName, Sequence[RoleWork]]:
        if self.hosts is None:
            return {}
        self.hosts.make_secrets()
        self.hosts.forget_strangers()
        return self.hosts.pending()

    def _why_nothing(self, resources: int) -> str:
        return (
            "definition, images, roles and program are those of the last run, "
            f"all {resources} resources were just seen to be as it left them, and {self._why_no_play()}"
        )

    def _why_no_play(self) -> str:
        if self.hosts is None:
            return "the twin has no operating systems to play roles on"
        roles, hosts = self.hosts.count()
        return f"the receipts of {roles} roles on {hosts} hosts hold"

    def _why_played(self, pending: Mapping[HostName, Sequence[RoleWork]]) -> list[str]:
        """Which roles were played and for what reasons, in a few words."""
        if self.hosts is None or not self.hosts.played:
            return []
        number = len(self.hosts.played)
        reasons = sorted({work.reason for works in pending.values() for work in works})
        because = f" because: {', '.join(reasons[:2])}" if reasons else ""
        return [f"{number} role{'s were' if number > 1 else ' was'} played{because}"]

    def addresses(self) -> set[str]:
        """Everything that is defined here or may stand by our doing."""
        defined = {each.address for resources in self.hardware.resources.values() for each in resources}
        return defined | {entry.address for entry in standing(self.hardware.store, self.site.name)}

    def _is_current(self, name: StackName) -> bool:
        kept = self.hardware.receipt_of(name)
        if kept is None:
            return not self.hardware.resources[name]
        return kept.inputs_digest == self.hardware.wanted_digest(name, self.code)

    def _why_skipped(self, name: StackName) -> str:
        return "same inputs, and seen to be right" if self.hardware.resources[name] else "the definition has none here"

    async def _observe(self) -> Mapping[str, Observation]:
        self.progress(Event("observe", self.site.name, "started", "looking at what is there"))
        seen = await self.hardware.observe()
        self.progress(Event("observe", self.site.name, "done", _summary(seen)))
        return seen

    def _moved(self, name: StackName, seen: Mapping[str, Observation]) -> list[Observation]:
        looked = (seen.get(resource.address) for resource in self.hardware.resources[name])
        return [each for each in looked if each is not None and not each.same]

    async def _plan(
        self, todo: Sequence[StackName], orphans: "Sequence[Orphan]"
    ) -> Mapping[StackName, list[PlannedAction]]:
        """The engine's own preview of each stack; it bounds what the provider may do.

        Raises:
            RefusedError: something would be destroyed that was not approved.
        """
        self.progress(Event("plan", self.site.name, "started", "asking the engine what it would do"))
        previews = await asyncio.gather(*(self.hardware.preview(name, refresh=True, keep_unseen=True) for name in todo))
        planned = dict(zip(todo, previews, strict=True))
        counts = _verbs(action for actions in previews for action in actions)
        self.progress(Event("plan", self.site.name, "done", text_of(counts)))
        destroyed = {
            action.address: action.verb
            for actions in previews
            for action in actions
            if action.verb in ("delete", "replace")
        }
        destroyed.update({orphan.stamp.address: "delete" for orphan in orphans})
        refuse_unapproved(destroyed, self.approved)
        return planned

    async def _destroy(self, orphans: "Sequence[Orphan]") -> None:
        from infra.provider import orphans as leftovers

        for orphan in orphans:
            address = orphan.stamp.address
            run = self.hardware.engine.run_file(
                self.hardware.stack_by_name["compute"],
                allowed=tuple(allowed_of([orphan.as_action()])),
                destroy_data=tuple(self.approved),
            )
            self.progress(Event("plan", address, "started", "removing what a killed run left"))
            try:
                await leftovers.destroy(run, orphan)
            except PachonError as error:
                self.failures.append(Failed(address=address, error=error.message, cure=error.cure))
                self.progress(Event("plan", address, "failed", str(error)))
            else:
                self.destroyed.append(address)
                self.progress(Event("plan", address, "done", "removed"))

    async def _bring_about(
        self,
        todo: Sequence[StackName],
        reasons: Mapping[StackName, str],
        planned: Mapping[StackName, list[PlannedAction]],
        pending: Mapping[HostName, Sequence[RoleWork]],
    ) -> None:
        """Run the stacks, and meanwhile configure whatever hosts stand."""
        if self.hosts is None:
            await self._apply(todo, reasons, planned, None)
            self.progress(Event(STAGE, self.site.name, "unchanged", self._why_no_play()))
            return
        active = {host.name for host in self.site.active_hosts}
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
            await self._apply(todo, reasons, planned, configuring)
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
            if resource.kind is Kind.HOST and verbs.get(resource.address) != "none"
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
        self,
        todo: Sequence[StackName],
        reasons: Mapping[StackName, str],
        planned: Mapping[StackName, list[PlannedAction]],
        configuring: Configuring | None,
    ) -> None:
        async def one(name: StackName) -> None:
            if name not in todo:
                return
            self.progress(Event(name, self.site.name, "started", reasons[name]))
            # What was planned after a look must be carried out after one: a state of before a kill has other steps.
            result = await self.hardware.apply(
                name, allowed=planned.get(name), destroy_data=self.approved, refresh=name in planned
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
        failed = [Failed(address=each.address, error=each.message, cure=each.cure) for each in result.failures]
        failed += [Failed(address=f"{self.site.name}/stack/{name}", error=said, cure="") for said in result.said]
        self.failures += failed
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


def refuse_unapproved(destroyed: Mapping[str, str], approved: Iterable[str]) -> None:
    """Nothing, if all that would be destroyed was approved by its address.

    A machine's record goes with its host and holds nothing of its own: it needs no approval.

    Raises:
        RefusedError: not all of it was; names each and the command that approves it.
    """
    given = set(approved)
    missing = {
        address: verb
        for address, verb in sorted(destroyed.items())
        if address not in given and "/machine/" not in address
    }
    if missing:
        listed = ", ".join(f"{address} ({verb})" for address, verb in missing.items())
        raise RefusedError(
            f"this would destroy what stands: {listed}",
            cure="approve each by name: pachon up " + " ".join(f"--destroy {address}" for address in missing),
        )


def text_of(counts: Mapping[str, int]) -> str:
    """Counts of verbs for people."""
    return ", ".join(f"{number} {verb}" for verb, number in sorted(counts.items()) if number) or "nothing"


def _moves(away: Iterable[PlannedAction], here: Iterable[PlannedAction]) -> bool:
    """Whether an address is deleted by the one and created by the other."""
    created = {action.address for action in here if action.verb == "create"}
    return any(action.verb == "delete" and action.address in created for action in away)


def _verbs(actions: Iterable[PlannedAction]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for action in actions:
        counted[action.verb] = counted.get(action.verb, 0) + 1
    return counted


def _summary(seen: Mapping[str, Observation]) -> str:
    moved = [observation for observation in seen.values() if not observation.same]
    if not moved:
        return f"all {len(seen)} resources are as wanted"
    shown = ", ".join(f"{each.address} {each.difference}" for each in moved[:4])
    return f"{len(moved)} of {len(seen)} resources are not as wanted: {shown}" + (" …" if len(moved) > 4 else "")


def _reason(stale: bool, moved: Sequence[Observation]) -> str:
    told = ["its inputs are new"] if stale else []
    if moved:
        told.append(f"{len(moved)} of its resources {'are' if len(moved) > 1 else 'is'} not as wanted")
    return " and ".join(told)
