"""What stands in the world under our stamp and is neither in the definition nor in the engine's state.

A killed run leaves it behind when the definition has since dropped it. It is found by the journal and by a sweep over
the asset tags of all machines, confirmed by a look at the world, planned as a destroy, and destroyed by the code that
any delete uses.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from infra.provider import family as doing
from infra.provider.context import Context
from infra.provider.families import FAMILIES
from infra.provider.family import Properties
from infra.provider.inputs import MachineInputs
from infra.provider.main import context_of
from infra.provider.world import MachineAt
from pachon.drivers.pulumi.answers import PlannedAction
from pachon.drivers.run_file import RunFile
from pachon.errors import PachonError
from pachon.model.hardware import Kind
from pachon.model.stamp import Stamp, parse_stamp


@dataclass(frozen=True)
class Orphan:
    """A thing of ours that nothing wants any more."""

    stamp: Stamp
    kind: Kind
    inputs: Properties
    """Enough of its inputs to remove it."""

    def as_action(self) -> PlannedAction:
        """As a plan lists it."""
        return PlannedAction(
            address=self.stamp.address,
            kind=self.kind.value,
            verb="delete",
            reason="an earlier run made it and was killed; it is in no definition now",
            generation=self.stamp.generation,
            previous_generation=self.stamp.generation,
        )


def orphans(candidates: Iterable[Orphan], wanted: Mapping[str, str], in_state: Iterable[Stamp]) -> list[Orphan]:
    """Those of the candidates that nothing wants; ``wanted`` gives the generation by address."""
    kept = {Stamp(address=address, generation=generation) for address, generation in wanted.items()} | set(in_state)
    found = {orphan.stamp: orphan for orphan in candidates if orphan.stamp not in kept}
    return [found[stamp] for stamp in sorted(found, key=str)]


async def find(run: RunFile, *, in_state: Iterable[Stamp]) -> list[Orphan]:
    """Orphans of the run's site, each confirmed in the world. Machines and hosts that do not answer are left out."""
    context = context_of(run)
    try:
        wanted = {address: str(declared.inputs["generation"]) for address, declared in run.definition.items()}
        candidates = [*_from_journal(context), *await _from_asset_tags(context)]
        unwanted = orphans(candidates, wanted, in_state)
        standing = await asyncio.gather(*(_stands(context, orphan) for orphan in unwanted))
        return [orphan for orphan, stands in zip(unwanted, standing, strict=True) if stands]
    finally:
        await context.close()


async def destroy(run: RunFile, orphan: Orphan) -> None:
    """Remove it, allowed by the run, intended and receipted as any delete.

    Raises:
        RefusedError: the plan does not allow it, or it holds data.
    """
    context = context_of(run)
    try:
        await doing.delete(context, FAMILIES[orphan.kind.value], orphan.inputs)
    finally:
        await context.close()


async def let_go(run: RunFile, orphan: Orphan, why: str) -> None:
    """Say in the journal that it is gone, without a look at it: what it is on goes, and does not answer."""
    context = context_of(run)
    try:
        context.require_allowed(orphan.stamp.address, "delete", orphan.stamp.generation)
        given = {"kind": orphan.kind.value, "generation": orphan.stamp.generation, "inputs": orphan.inputs}
        step = await context.journal.intend(orphan.stamp.address, "delete", **given)
        await context.journal.finish(step, "done", why)
    finally:
        await context.close()


async def enrol(run: RunFile, machine: Properties, *, known: bool) -> None:
    """Have the machine inspected and enrolled, or looked at again if it is ``known``; allowed by the run.

    Raises:
        PermanentError: it is not what the tables say.
    """
    context = context_of(run)
    try:
        family = FAMILIES[Kind.MACHINE.value]
        await (doing.update(context, family, machine, machine) if known else doing.create(context, family, machine))
    finally:
        await context.close()


def _from_journal(context: Context) -> list[Orphan]:
    from pachon.store.journal import standing, unfinished

    site, run_id = context.run.site, context.run.run_id
    return [
        Orphan(
            stamp=Stamp(address=entry.address, generation=entry.generation), kind=Kind(entry.kind), inputs=entry.inputs
        )
        for entry in (*standing(context.store, site), *unfinished(context.store, site, run_id=run_id))
        if entry.kind != Kind.MACHINE.value
    ]


async def _from_asset_tags(context: Context) -> list[Orphan]:
    """Hosts by the tags of all machines of the definition: found even when the store was lost."""
    machines = [
        MachineInputs.model_validate(declared.inputs)
        for declared in context.run.definition.values()
        if declared.kind == Kind.MACHINE.value
    ]

    async def look(machine: MachineInputs) -> Orphan | None:
        at = MachineAt(
            site=machine.site,
            serial=machine.serial,
            rack=machine.rack,
            vendor=machine.vendor,
            model=machine.model,
            bmc_address=str(machine.bmc_address),
            pin=context.pin(machine.serial, machine.bmc_tls_sha256),
        )
        try:
            stamp = parse_stamp((await context.world.inspect(at)).asset_tag)
        except PachonError:
            return None  # it is named by the stack that wants it
        return None if stamp is None else Orphan(stamp, Kind.HOST, _host_inputs(machine, stamp))

    return [found for found in await asyncio.gather(*map(look, machines)) if found is not None]


def _host_inputs(machine: MachineInputs, stamp: Stamp) -> Properties:
    """Inputs of a host of which only its stamp and its machine are known: enough to find and remove it."""
    told = machine.model_dump(mode="json")
    kept = ("site", "serial", "rack", "vendor", "model", "bmc_address", "bmc_tls_sha256")
    return {
        **{key: told[key] for key in kept},
        "address": stamp.address,
        "generation": stamp.generation,
        "host": stamp.address.rpartition("/")[2],
        "domain": "",
        "management_address": "0.0.0.0",
        "nics": [{"name": nic["name"], "mac": nic["mac"]} for nic in told["nics"]],
        "disk_serial": told["disks"][0]["serial"] if told["disks"] else "unknown",
        "flavour": "unknown",
        "image": {
            "digest": "",
            "raw_digest": "",
            "raw_size_bytes": 0,
            "kernel_digest": "",
            "kernel_raw_size_bytes": 0,
        },
        "enclave": "",
        "groups": [],
    }


async def _stands(context: Context, orphan: Orphan) -> bool:
    try:
        found = await FAMILIES[orphan.kind.value].read(context, orphan.inputs)
    except PachonError:
        return False
    return found is not None and found.inputs["generation"] == orphan.stamp.generation
