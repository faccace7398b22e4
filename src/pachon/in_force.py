"""The facility with what rollouts have left in force on its hosts: what runs that make hosts right go by.

The definition knows the first release of a service only. Which one each slot of a host is to have stands in the store
(``store.instances``); a host that came later gets what is in force at its place.
"""

from collections.abc import Collection, Iterator, Mapping

from pachon.errors import RefusedError
from pachon.model.facility import Facility, Placement, Site
from pachon.model.instance import Instance, Standing
from pachon.model.rollout import Release
from pachon.store import instances, releases
from pachon.store.database import Store


def overlaid(facility: Facility, store: Store) -> Facility:
    """The facility with the instances at each site as the store has them now.

    Raises:
        RefusedError: a release of which an instance stands is not on record.
    """
    standing = instances.standing(store)
    places = releases.all_in_force(store)
    if not standing and not places and not any(site.instances for site in facility.sites):
        return facility
    known = releases.all_known(store)
    sites = tuple(
        site.model_copy(update={"instances": tuple(_at(facility, site, standing, places, known))})
        for site in facility.sites
    )
    return facility.model_copy(update={"sites": sites})


def refuse_moved(facility: Facility, store: Store, sites: Collection[str]) -> None:
    """Nothing, if what is in force there is what the facility was overlaid with; for whoever holds the sites' leases.

    Raises:
        RefusedError: a rollout has changed it meanwhile.
    """
    now = overlaid(facility, store)
    moved = [name for name in sites if now.site(name).instances != facility.site(name).instances]
    if moved:
        raise RefusedError(
            f"a rollout has changed at {', '.join(moved)} which versions are in force since this command began",
            cure="give the command again",
        )


def _at(
    facility: Facility,
    site: Site,
    standing: tuple[Standing, ...],
    places: Mapping[tuple[str, str, str], str],
    known: Mapping[tuple[str, str], Release],
) -> Iterator[Instance]:
    """Instances of the site's hosts that are to exist: as rollouts left them, or as their place has it."""
    for placement in facility.placements:
        if placement.site != site.name or not placement.group:
            continue
        own = [each for each in standing if (each.service, each.site) == (placement.service, site.name)]
        version = places.get((placement.service, site.name, placement.enclave), "")
        for host in _hosts(site, placement):
            there = [each for each in own if (each.host, each.enclave) == (host, placement.enclave)]
            if not there and version:
                place = {"service": placement.service, "site": site.name, "enclave": placement.enclave}
                there = [Standing(**place, host=host, slot="a", version=version, digest="")]
            for each in there:
                yield _instance(each, known)


def _hosts(site: Site, placement: Placement) -> tuple[str, ...]:
    hosts = site.active_hosts
    return tuple(host.name for host in hosts if placement.group in host.groups and host.enclave == placement.enclave)


def _instance(standing: Standing, known: Mapping[tuple[str, str], Release]) -> Instance:
    if standing.version:
        release = known.get((standing.service, standing.version))
        if release is None or standing.digest not in ("", release.digest):
            raise RefusedError(
                f"{standing.service} {standing.version} is to stand on {standing.host}, and what that release is, is "
                "not on record",
                cure="restore the store from a copy ('pachon store restore')",
            )
        digest, arguments = release.digest, release.arguments
    else:
        digest = ""
        roles = {role for (service, _), each in known.items() if service == standing.service for role in each.arguments}
        arguments = {role: {} for role in sorted(roles)}
    return Instance(
        service=standing.service,
        enclave=standing.enclave,
        host=standing.host,
        slot=standing.slot,
        version=standing.version,
        digest=digest,
        arguments=arguments,
    )
