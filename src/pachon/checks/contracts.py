"""Whether the health contracts that placed services wait for can be tried where they stand."""

from collections.abc import Collection, Iterator, Mapping

from pachon.checks.connections import placement_address
from pachon.checks.notes import ANYTHING, Note
from pachon.model.facility import Facility, Placement
from pachon.model.probes import group_of
from pachon.model.service import Service, ServiceState


def nearest(placement: Placement, candidates: Collection[Placement]) -> tuple[Placement, ...]:
    """Those of a needed service that this one uses: of its site, there of its enclave; else all that there are."""
    here = [each for each in candidates if each.site == placement.site] or list(candidates)
    return tuple([each for each in here if each.enclave == placement.enclave] or here)


def contracts(facility: Facility, services: Mapping[str, Service]) -> Iterator[Note]:
    """Needs of services that stand on hosts, of others of which nothing does that could be looked at."""
    placed: dict[str, list[Placement]] = {}
    for placement in facility.placements:
        placed.setdefault(placement.service, []).append(placement)
    groups = {(host.site, group) for host in facility.hosts for group in host.groups}
    for placement in facility.placements:
        service = services.get(placement.service)
        if service is None or service.state is not ServiceState.DEPLOYABLE or not placement.group:
            continue
        for need in service.needs:
            needed = services.get(need.service)
            probe = needed.probe(need.contract) if needed is not None and not need.later else None
            if probe is None:
                continue
            for other in nearest(placement, placed.get(need.service, ())):
                group = group_of(probe) or other.group
                if not group or (other.site, group) not in groups:
                    yield _nothing_there(placement, other, contract=need.contract, group=group)


def _nothing_there(placement: Placement, other: Placement, *, contract: str, group: str) -> Note:
    """A note on a need whose contract nobody can try."""
    what = f"there is no {group} host" if group else "nothing of it runs on hosts"
    wrong = (
        f"{placement.service} waits for {contract} of {other.service} at {other.site}, where {what}: "
        "the need cannot be enforced"
    )
    cure = f"add a {group} host there" if group else f"give the placement of {other.service} there its group"
    return Note(placement_address(placement), wrong, cure, "service", missing=ANYTHING)
