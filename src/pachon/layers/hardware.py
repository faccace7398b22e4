"""The hardware layer of a site: three Pulumi stacks, skipped when neither their inputs nor the world has moved."""

import asyncio
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pachon.drivers.run_file import Allowed, RunFile
from pachon.drivers.ssh import Fleet
from pachon.errors import PachonError
from pachon.model.hardware import STACKS, Kind, ResourceInputs, StackName, inputs_digest, inputs_of
from pachon.model.stamp import Stamp, digest
from pachon.store.database import Store
from pachon.store.journal import Entry, last_steps, unfinished
from pachon.store.receipts import Receipt, put_receipt, receipt

if TYPE_CHECKING:
    from infra.provider.context import Context
    from infra.provider.orphans import Orphan
    from pachon.drivers.pulumi import Engine, PlannedAction, Stack, StackResult
    from pachon.drivers.pulumi.answers import Verb


@dataclass(frozen=True)
class Observation:
    """One resource as it is, next to what the definition wants."""

    address: str
    same: bool
    difference: str
    """Why not, for people; empty when it is as wanted."""
    answered: bool = True

    @property
    def condition(self) -> str:
        """What was seen, in words that stay the same as long as it is so."""
        if self.same:
            return "as wanted"
        return self.difference.partition(": ")[0] if self.answered else "does not answer"


Observations = dict[str, Observation]
"""By address."""


@dataclass(frozen=True)
class SiteHardware:
    """The stacks of one site, with the engine that carries them out and the store that remembers."""

    engine: "Engine"
    store: Store
    stack_by_name: "Mapping[StackName, Stack]"

    @cached_property
    def resources(self) -> dict[StackName, list[ResourceInputs]]:
        """What each stack declares."""
        first = next(iter(self.stack_by_name.values()))
        return inputs_of(first.facility, first.site, first.images)

    def receipt_address(self, stack: StackName) -> str:
        """Address under which the stack's receipt is kept."""
        return f"{self.stack_by_name[stack].site}/stack/{stack}"

    def receipt_of(self, stack: StackName) -> Receipt | None:
        """What the last run that brought this stack about left."""
        return receipt(self.store, self.receipt_address(stack))

    def wanted_digest(self, stack: StackName, code: str) -> str:
        """What must equal the receipt's for the stack to be skipped."""
        return digest([inputs_digest(self.resources[stack]), code])

    @cached_property
    def run_file(self) -> RunFile:
        """What the provider's own eyes have to be told."""
        return self.engine.run_file(self.stack_by_name["compute"], resources=self.resources)

    async def observe(self, only: Container[str] | None = None, *, fleet: Fleet | None = None) -> Observations:
        """Every declared resource (or those addresses), looked at with the provider's own eyes, all side by side."""
        from infra.provider.main import context_of

        context = context_of(self.run_file, fleet=fleet)
        declared = [resource for name in STACKS for resource in self.resources[name]]
        try:
            return await observed(
                context, [resource for resource in declared if only is None or resource.address in only]
            )
        finally:
            await context.close()

    async def holding(self, volumes: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """What lies in these volumes (inputs by address), in words; those whose host does not answer are left out."""
        from infra.provider.main import context_of
        from infra.provider.volume import holds

        context = context_of(self.engine.run_file(self.stack_by_name["storage"]))

        async def ask(address: str, inputs: Mapping[str, Any]) -> tuple[str, str]:
            try:
                return address, await holds(context, dict(inputs))
            except PachonError:
                return address, ""

        try:
            told = await asyncio.gather(*(ask(address, inputs) for address, inputs in sorted(volumes.items())))
        finally:
            await context.close()
        return {address: said for address, said in told if said}

    async def leftovers(self, made: Sequence[Entry]) -> "list[Orphan]":
        """What a killed run made and the definition has since dropped; ``made`` is what the journal says may stand.

        So may what was begun and never ended, whatever was begun at its address since.

        Only something made and no longer wanted leads to a look into the engine's state and at the world.
        """
        from infra.provider import orphans

        wanted = {r.address: r.generation for resources in self.resources.values() for r in resources}
        if all(wanted.get(entry.address) == entry.generation for entry in (*made, *self._begun())):
            return []
        exports = await asyncio.gather(*(self.engine.export(stack) for stack in self.stack_by_name.values()))
        in_state = [Stamp(address=each.address, generation=each.generation) for export in exports for each in export]
        return await orphans.find(self.engine.run_file(self.stack_by_name["compute"]), in_state=in_state)

    async def settle(self) -> list[str]:
        """Addresses at which the journal was made to say what the world shows, now that all was done.

        Raises:
            RefusedError: a later writer has taken the site's lease.
        """
        from infra.provider import settling

        begun, last = self._begun(), last_steps(self.store, self.stack_by_name["compute"].site)
        declared = {resource.address for resources in self.resources.values() for resource in resources}
        if not settling.to_settle(declared, begun, last):
            return []
        return await settling.settle(self.engine.run_file(self.stack_by_name["compute"]), begun, last=last)

    def _begun(self) -> list[Entry]:
        """Steps that other runs left without an outcome."""
        lease = self.engine.lease
        return unfinished(self.store, self.stack_by_name["compute"].site, run_id=lease.run_id if lease else "")

    def has_record(self, stack: StackName) -> bool:
        """Whether the engine may have a state of the stack; without one all that is declared is yet to be created."""
        named = self.stack_by_name[stack]
        folder = self.engine.state / "pulumi" / ".pulumi" / "stacks" / named.project
        return bool(self.engine.own_backend) or any(folder.glob(f"{named.label}.json*"))

    def all_as(self, stack: StackName, verb: "Verb", reason: str) -> "list[PlannedAction]":
        """The same action at all that the stack declares, where that is known without the engine."""
        from pachon.drivers.pulumi import PlannedAction

        return [
            PlannedAction(
                address=resource.address,
                kind=resource.kind.value,
                verb=verb,
                reason=reason,
                generation=resource.generation,
            )
            for resource in self.resources[stack]
        ]

    async def preview(
        self, stack: StackName, *, refresh: bool = False, keep_unseen: bool = False
    ) -> "list[PlannedAction]":
        """What the engine says it would do."""
        return await self.engine.preview(self.stack_by_name[stack], refresh=refresh, keep_unseen=keep_unseen)

    async def apply(
        self,
        stack: StackName,
        *,
        allowed: "Iterable[PlannedAction] | None",
        destroy_data: Iterable[str],
        refresh: bool,
    ) -> "StackResult":
        """One attempt at the stack; the provider is held to what was planned.

        What does not answer stays in the engine's state: one dead BMC must not keep the others from being mended.
        """
        return await self.engine.up(
            self.stack_by_name[stack],
            allowed=None if allowed is None else tuple(allowed_of(allowed)),
            destroy_data=tuple(destroy_data),
            refresh=refresh,
            keep_unseen=True,
        )

    def keep_receipt(self, stack: StackName, *, run_id: str, code: str, document: dict[str, Any]) -> None:
        """Remember that the stack was brought about from these inputs."""
        put_receipt(
            self.store,
            self.receipt_address(stack),
            run_id=run_id,
            inputs_digest=self.wanted_digest(stack, code),
            document=document,
        )


def allowed_of(actions: "Iterable[PlannedAction]") -> Iterable[Allowed]:
    """What the provider may do when these are the planned actions."""
    for action in actions:
        if action.verb in ("create", "update", "replace", "delete"):
            yield Allowed(
                address=action.address,
                verb=action.verb,
                generation=action.generation,
                before=action.previous_generation,
            )


async def observed(context: "Context", declared: Iterable[ResourceInputs]) -> Observations:
    """Each of these resources as it is."""
    context.glance()
    found = await asyncio.gather(*(_look(context, resource) for resource in declared))
    return {observation.address: observation for observation in found}


async def _look(context: "Context", resource: ResourceInputs) -> Observation:
    try:
        difference = await _difference(context, resource)
    except PachonError as error:
        return Observation(resource.address, same=False, difference=error.message, answered=False)
    return Observation(resource.address, same=not difference, difference=difference)


async def _difference(context: "Context", resource: ResourceInputs) -> str:
    """How the resource differs from what is wanted; empty if it does not."""
    from infra.provider.families import FAMILIES
    from infra.provider.host import host_at
    from infra.provider.inputs import HostInputs

    found = await FAMILIES[resource.kind.value].read(context, resource.inputs)
    if found is None:
        return "is not there"
    if moved := sorted(key for key, value in resource.inputs.items() if found.inputs.get(key) != value):
        return f"differs in {', '.join(moved)}"
    if resource.kind is not Kind.HOST:
        return ""
    if not found.seen.get("on"):
        return "is off"
    host = host_at(HostInputs.model_validate(resource.inputs))
    answering = await context.world.stamp_on_disk(host, within_seconds=context.run.budgets.adoption_seconds)
    if answering.stamp is None:
        return f"does not say who it is: {answering.reason}"
    return "" if answering.stamp.generation == resource.generation else f"says that it is {answering.stamp}"


def code_digest(folders: Iterable[Path]) -> str:
    """Digest of the program text that turns inputs into effects: when it changes, receipts no longer prove anything."""
    listed = sorted(path for folder in folders for path in folder.rglob("*.py"))
    return digest([[path.name, path.read_bytes().hex()] for path in listed])
