"""Where batch work can be done in a facility: sites with a Slurm controller, workers, and room for campaigns."""

from pachon.batch.campaign import Workplace
from pachon.model.facility import Facility, Site

CONTROLLER_GROUP = "slurm_controller"
WORKER_GROUP = "slurm_compute"
FOLDER = "/srv/campaign"
"""Mount point of the volume that holds campaigns; served to workers as the rsync module ``campaign``."""


def workplaces(facility: Facility) -> tuple[Workplace, ...]:
    """The sites that can take part in a campaign, in the order of the definition."""
    return tuple(found for site in facility.sites if isinstance(found := at_site(site), Workplace))


def at_site(site: Site) -> Workplace | str:
    """Where batch work is done at the site, or what it lacks for that."""
    hosts = site.active_hosts
    controllers = [host for host in hosts if CONTROLLER_GROUP in host.groups]
    workers = [host for host in hosts if WORKER_GROUP in host.groups]
    volumes = [volume for volume in site.volumes if volume.mount == FOLDER]
    if not controllers:
        return f"no active host in group {CONTROLLER_GROUP}"
    if not workers:
        return f"no active host in group {WORKER_GROUP}"
    if not volumes:
        return f"no volume mounted at {FOLDER}"
    pools = {pool.name: pool for pool in site.storage_pools}
    storage = next((host for host in hosts if host.name == pools[volumes[0].pool].host), None)
    if storage is None:
        return f"no active host with the volume mounted at {FOLDER}"
    return Workplace(
        site=site.name,
        controller=controllers[0].name,
        storage=storage.name,
        storage_address=str(storage.address),
        folder=FOLDER,
        workers=tuple(host.name for host in workers),
    )
