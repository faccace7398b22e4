"""What a bastion is told: to whose SSH it hands connections on."""

from pachon.hostvars import reaching
from pachon.model.facility import Facility, Host, Site


def arguments(facility: Facility, site: Site, host: Host) -> dict[str, object]:
    """Arguments of the role ``bastion``: every other host under each of its names, as a person may write it.

    Planned ones as well: so bastions are not played when one of them comes to stand.
    """
    targets: list[str] = []
    for other in (each for every in facility.sites for each in every.hosts):
        if other.name != host.name and reaching.on_segment(facility, other):
            targets += [other.name, reaching.fqdn(facility, other), str(other.address)]
    return {"bastion_targets": targets}
