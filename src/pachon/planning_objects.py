"""What a look at a site's cluster comes to in a plan: actions on objects, what is deferred, what would be taken."""

from collections.abc import Iterator

from pachon.hostvars import kubernetes_cluster
from pachon.layers.clusters import STAGE, ClusterSight
from pachon.layers.site_cluster import SiteCluster
from pachon.model.cluster_object import address_of
from pachon.model.facility import Site
from pachon.plan.document import Action
from pachon.plan.making import DeferredObjects


def actions(site: Site, sight: ClusterSight | None) -> Iterator[Action]:
    """An action for each object that is ours, or is to be; none where the cluster could not be asked."""
    if sight is None or sight.away:
        return
    for address in sight.same:
        yield Action(site=site.name, layer="clusters", stack=STAGE, address=address, verb="none", reason="")
    for work in sight.works:
        going = work.verb == "delete"
        yield Action(
            site=site.name,
            layer="clusters",
            stack=STAGE,
            address=work.address,
            verb=work.verb,
            before=work.given if going else "",
            after="" if going else work.given,
            given=work.given,
            differences=work.differences,
            reason=work.reason,
        )


def deferred(cluster: SiteCluster | None, sight: ClusterSight | None) -> DeferredObjects | None:
    """All that is to be in a cluster that could not be asked."""
    if cluster is None or sight is None or not sight.away:
        return None
    site = cluster.site
    given = {address_of(site.name, *each.key): each.digest for each in cluster.desired}
    host = None if site.kubeconfig else kubernetes_cluster.controller(site)
    where = f"{site.name}/host/{host.name}" if host is not None else ""
    return DeferredObjects(cluster=cluster.address, host=where, given=given, why=sight.away) if given else None


def taking(sight: ClusterSight | None) -> dict[str, str]:
    """Of each object of which fields are somebody else's, whose."""
    works = () if sight is None else sight.works
    return {work.address: "; ".join(map(str, work.conflicts)) for work in works if work.conflicts}


def notes(sight: ClusterSight | None) -> list[str]:
    """What workloads wait for that are as their manifests say, and what goes already and is not gone."""
    if sight is None:
        return []
    waiting = [f"{address} waits: {said}" for address, said in sight.waiting.items()]
    return [*waiting, *(f"{address} {said}" for address, said in sight.leaving.items())]
