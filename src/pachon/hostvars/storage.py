"""What a storage host is told: its volumes, what is read through every week, and who may stage."""

import re

from pachon.hostvars import slurm_cluster
from pachon.model.facility import Facility, Host, Site

PORT = "tcp/873"


def escaped(path: str) -> str:
    """The path as systemd names the instance of a unit after it (``systemd-escape --path``)."""
    name = path.strip("/").replace("/", "\0")
    name = re.sub(r"[^a-zA-Z0-9:_.\0]", lambda found: "".join(f"\\x{byte:02x}" for byte in found[0].encode()), name)
    return name.replace("\0", "-")


def arguments(facility: Facility, site: Site, host: Host) -> dict[str, object]:
    """Arguments of the role ``storage``."""
    pools = {pool.name: pool for pool in site.storage_pools if pool.host == host.name}
    volumes = sorted((volume for volume in site.volumes if volume.pool in pools), key=lambda volume: volume.name)
    first = {volume.pool: volume.mount for volume in reversed(volumes)}
    btrfs = sorted(name for name in first if pools[name].file_system == "btrfs")
    staging = stages(site, host)
    return {
        "storage_scrubbed": [escaped(first[name]) for name in btrfs],
        "storage_staging": staging,
        "storage_staging_networks": networks(facility, host) if staging else [],
        "storage_staging_secret": slurm_cluster.STAGING_SECRET,
        "storage_volumes": [
            {
                "file_system": pools[volume.pool].file_system,
                "mount": volume.mount,
                "name": volume.name,
                "pool": volume.pool,
                "size_gib": volume.size_gib,
            }
            for volume in volumes
        ],
    }


def stages(site: Site, host: Host) -> bool:
    """Whether jobs stage on this host: it has a volume where they do."""
    pools = {pool.name for pool in site.storage_pools if pool.host == host.name}
    return any(volume.pool in pools and volume.mount == slurm_cluster.STAGING_MOUNT for volume in site.volumes)


def networks(facility: Facility, host: Host) -> list[str]:
    """Segments, at all sites, of the enclaves that the flows let stage here, and of its own."""
    sources = {flow.source for flow in facility.flows if flow.target == host.enclave and PORT in flow.ports}
    return sorted(
        str(segment.subnet)
        for site in facility.sites
        for segment in site.segments
        if segment.enclave == host.enclave or sources & {segment.enclave, "any"}
    )


def secrets(facility: Facility, site: Site, host: Host) -> dict[str, int]:
    """Secrets that the role reads."""
    return {slurm_cluster.STAGING_SECRET: slurm_cluster.STAGING_BYTES} if stages(site, host) else {}
