"""What has to go before any engine begins: an engine deletes last, and no stack knows of what another one deletes.

Volumes go while the hosts under them still answer; hosts go from machines that are to carry others. Each is a planned
action, and afterwards the engine finds that it is done.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pachon.drivers.pulumi import PlannedAction
from pachon.model.hardware import Kind, ResourceInputs
from pachon.model.stamp import Stamp
from pachon.store.journal import Entry

if TYPE_CHECKING:
    from infra.provider.orphans import Orphan

GOING = ("delete", "replace")


@dataclass(frozen=True)
class Removal:
    """One planned action whose removal comes beforehand."""

    action: PlannedAction
    orphan: "Orphan"
    under: str = ""
    """Of a volume: address of the host that it is on, which stays as long as it does."""
    left_behind: bool = False
    """Of a volume: its host goes for good, or to another machine, so nobody will ever see its disk from there."""
    machine: ResourceInputs | None = None
    """Of a host that moves: where it is to be, which has to be what the tables say before it is taken from here."""


def removals(
    made: Sequence[Entry], planned: Iterable[PlannedAction], declared: Sequence[ResourceInputs]
) -> list[Removal]:
    """What is to be removed, in this order; ``made`` is what the journal says may stand."""
    from infra.provider.orphans import Orphan

    going = {action.address: action for action in planned if action.verb in GOING}
    hosts = {each.address: each for each in declared if each.kind is Kind.HOST}
    coming = {each.inputs["serial"]: each.address for each in hosts.values()}
    machines = {each.address: each for each in declared if each.kind is Kind.MACHINE}
    serials = {entry.address: entry.inputs["serial"] for entry in made if entry.kind == Kind.HOST.value}
    volumes: list[Removal] = []
    found: list[Removal] = []
    for entry in made:
        if entry.address not in going:
            continue
        action = going[entry.address]
        site = entry.address.partition("/")[0]
        orphan = Orphan(Stamp(address=entry.address, generation=entry.generation), Kind(entry.kind), entry.inputs)
        if entry.kind == Kind.VOLUME.value and (under := f"{site}/host/{entry.inputs['host']}") in going:
            stays = under in hosts and hosts[under].inputs["serial"] == serials.get(under)
            volumes.append(Removal(action, orphan, under=under, left_behind=not stays))
        if entry.kind == Kind.HOST.value and coming.get(entry.inputs["serial"], entry.address) != entry.address:
            serial = hosts[entry.address].inputs["serial"] if entry.address in hosts else ""
            found.append(Removal(action, orphan, machine=machines.get(f"{site}/machine/{serial}")))
    return volumes + found
