"""Brings one site to its definition: look, decide what must run, have destruction approved, run the stacks, look again.

A stack runs when its inputs (or the program text behind it) are not those of its receipt, or when one of its
resources was just seen not to be as wanted. Everything else reaches no engine.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pachon.drivers.pulumi import PlannedAction, StackResult
from pachon.errors import PachonError, RefusedError
from pachon.layers.hardware import Observation, SiteHardware, allowed_of
from pachon.model.base import Frozen
from pachon.model.facility import Site
from pachon.model.hardware import STACKS, StackName, through_switches
from pachon.progress import Event, Progress
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
    lease: Lease
    code: str
    """Digest of the program text."""
    approved: frozenset[str]
    """Addresses whose destruction was approved."""
    progress: Progress
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
        if not todo and not orphans:
            self.why = (
                f"site {self.site.name}: nothing changed: definition, images and program are those of the last run, "
                f"and all {len(seen)} resources were just seen to be as it left them"
            )
        else:
            planned = await self._plan(todo, orphans) if made else {}
            await self._destroy(orphans)
            reasons = {name: _reason(name in stale, moved[name]) for name in todo}
            await self._apply(todo, reasons, planned)
            await self._look_again([each for name in todo for each in moved[name]])
            told = [f"{name} ran because {reason}" for name, reason in reasons.items()]
            told += [f"removed what a killed run had left: {address}" for address in self.destroyed]
            self.why = f"site {self.site.name}: " + "; ".join(told)
        for name in STACKS:
            if name not in todo:
                self.progress(Event(name, self.site.name, "unchanged", self._why_skipped(name)))

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

    async def _apply(
        self,
        todo: Sequence[StackName],
        reasons: Mapping[StackName, str],
        planned: Mapping[StackName, list[PlannedAction]],
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
        await asyncio.gather(*(one(name) for name in ("network", "compute") if name not in done))
        await one("storage")

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
