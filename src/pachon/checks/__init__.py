"""Policy rules over a facility, as notes: pure, in no need of the files that it was read from."""

from collections.abc import Mapping

from pachon.checks import (
    addresses,
    batch,
    cabling,
    connections,
    contracts,
    fabric,
    fronts,
    hosts,
    names,
    people,
    storage,
)
from pachon.checks.notes import Note
from pachon.model.facility import Facility
from pachon.model.service import Service

__all__ = ["Note", "check"]


def check(facility: Facility, services: Mapping[str, Service] | None = None) -> list[Note]:
    """Everything wrong with a facility; what rests on the catalogue is left out when no services are given."""
    notes = [
        *names.repeated_in_facility(facility),
        *(note for site in facility.sites for note in names.repeated_in_site(facility, site)),
        *addresses.subnets(facility),
        *addresses.addresses(facility),
        *cabling.machines(facility),
        *cabling.cables(facility),
        *hosts.hosts(facility),
        *fabric.fabric(facility),
        *storage.storage(facility),
        *batch.batch(facility),
        *connections.links(facility),
        *connections.flows(facility),
        *people.people(facility),
    ]
    if services is not None:
        notes += [
            *connections.placements(facility, services),
            *connections.needs(facility, services),
            *contracts.contracts(facility, services),
            *fronts.fronts(facility),
            *fronts.measures(facility),
        ]
    return notes
