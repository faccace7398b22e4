"""What a rollout is about, from the definition: a service's rules, its releases, and the places where it stands."""

from collections.abc import Mapping
from pathlib import Path

from pachon.errors import UsageError
from pachon.model.facility import Facility, Placement
from pachon.model.rollout import Place, Release, Rules
from pachon.model.service import Service
from pachon.rollout.beginning import Subject
from pachon.rollout.words import SIGNERS


def subject_of(
    facility: Facility, service: Service, *, rules: Rules | None, releases: Mapping[str, Release], definition: Path
) -> Subject:
    """The subject of rollouts of a service in a facility.

    Raises:
        UsageError: it has no releases, or is placed nowhere.
    """
    where = f"inventory/catalogue/{service.name}"
    if rules is None or not releases:
        raise UsageError(
            f"service {service.name!r} has no releases: there is nothing to roll out",
            cure=f"write {where}/releases/<version>.yaml and {where}/rollout.yaml",
        )
    placements = [each for each in facility.placements if each.service == service.name]
    if not placements:
        raise UsageError(
            f"service {service.name!r} is placed nowhere in {facility.name}", cure="place it in facility.yaml"
        )
    return Subject(
        facility=facility.name,
        zones={site.name: site.time_zone for site in facility.sites},
        service=service,
        rules=rules,
        releases=releases,
        places=tuple(_place(facility, each, side_by_side=rules.side_by_side) for each in placements),
        signers=definition / SIGNERS,
    )


def _place(facility: Facility, placement: Placement, *, side_by_side: bool) -> Place:
    hosts = facility.site(placement.site).active_hosts
    names = tuple(host.name for host in hosts if placement.group in host.groups and host.enclave == placement.enclave)
    return Place(
        service=placement.service,
        site=placement.site,
        enclave=placement.enclave,
        instances=names,
        room=len(names) if side_by_side else 0,
    )
