"""Puts the layers of one site together: the one place that knows from what each is made."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from infra.toolchain import programs
from pachon import places
from pachon.drivers.pulumi import Engine, Stack
from pachon.drivers.run_file import SiteAccess
from pachon.ground import Ground, Images
from pachon.layers.hardware import SiteHardware
from pachon.layers.hosts import SiteHosts
from pachon.layers.site_cluster import SiteCluster, has_work
from pachon.model.facility import Facility, Site
from pachon.model.hardware import STACKS, ImageFacts, Kind
from pachon.progress import Progress
from pachon.store.database import Store
from pachon.store.lease import Lease
from pachon.store.receipts import versions_under

CODE = tuple(places.CHECKOUT / folder for folder in ("infra/components", "infra/provider", "infra/boot", "stacks"))
"""Text that decides what a stack's inputs become in the world."""


def facts_of(images: Mapping[str, Images]) -> dict[str, ImageFacts]:
    """What hosts need to know of each flavour's image."""
    return {
        flavour: ImageFacts(
            digest=made.root.digest,
            raw_digest=made.root.raw_digest,
            raw_size_bytes=made.root.raw_size_bytes,
            kernel_digest=made.kernel.digest,
            kernel_raw_size_bytes=made.kernel.raw_size_bytes,
        )
        for flavour, made in images.items()
    }


def hardware_of(
    facility: Facility,
    site: Site,
    *,
    state: Path,
    store: Store,
    ground: Ground,
    images: Mapping[str, Images],
    progress: Progress,
    lease: Lease | None = None,
    destroy_until: datetime | None = None,
) -> SiteHardware:
    """The hardware layer of a site; without a lease it can only look and preview.

    ``destroy_until``: when the approval of what is destroyed ends.
    """
    from infra.boot import launch

    facts = facts_of(images)
    files = {file.digest: file.path for made in images.values() for file in (made.root, made.kernel)}
    engine = Engine(
        pulumi=programs.find("pulumi"),
        state=state,
        lease=lease,
        destroy_until=destroy_until,
        progress=progress,
        image_paths=files,
        sites={
            each.name: SiteAccess(
                boot_socket=str(launch.admin_socket(state, each.name)), deploys_per_rack=each.deploy.per_rack
            )
            for each in facility.sites
        },
        endpoints=ground.endpoints,
    )
    stacks = {name: Stack(name=name, facility=facility, site=site.name, images=facts) for name in STACKS}
    return SiteHardware(engine=engine, store=store, stack_by_name=stacks)


def hosts_of(
    hardware: SiteHardware, ground: Ground, *, state: Path, progress: Progress, lease: Lease | None = None
) -> SiteHosts | None:
    """The hosts layer over a site's hardware; None on the twin, whose machines carry no operating systems.

    What was recorded of a twin's hosts can be looked at all the same.
    """
    from infra.image import recipe

    stack = hardware.stack_by_name["compute"]
    if ground.kind == "twin" and (lease is not None or not versions_under(hardware.store, f"{stack.site}/host/")):
        return None
    return SiteHosts(
        facility=stack.facility,
        site=stack.facility.site(stack.site),
        state=state,
        store=hardware.store,
        generations={
            resource.address.rpartition("/")[2]: resource.generation
            for resources in hardware.resources.values()
            for resource in resources
            if resource.kind is Kind.HOST
        },
        baked=recipe.FLAVOURS,
        endpoints=ground.endpoints,
        lease=lease,
        progress=progress,
    )


def cluster_of(
    hardware: SiteHardware, ground: Ground, *, state: Path, progress: Progress, lease: Lease | None = None
) -> SiteCluster | None:
    """The clusters layer of a site; None where nothing is to be in a cluster, nor was, and on a twin of hosts."""
    stack = hardware.stack_by_name["compute"]
    site = stack.facility.site(stack.site)
    if (ground.kind == "twin" and not site.kubeconfig) or not has_work(stack.facility, site, hardware.store):
        return None
    return SiteCluster(
        facility=stack.facility,
        site=site,
        state=state,
        store=hardware.store,
        endpoints=ground.endpoints,
        progress=progress,
        lease=lease,
    )
