"""What a Kubernetes worker is told: where the API server is, and who it is there; no other worker is named."""

from pachon.hostvars import kubernetes_cluster, reaching
from pachon.model.facility import Facility, Host, Site


def arguments(facility: Facility, site: Site, host: Host) -> dict[str, object]:
    """Arguments of the role ``kubernetes_worker``."""
    return {
        "kubernetes_worker_address": str(host.address),
        "kubernetes_worker_api": kubernetes_cluster.api(site),
        "kubernetes_worker_cluster": site.name,
        "kubernetes_worker_domain": kubernetes_cluster.DOMAIN,
        "kubernetes_worker_enclave": host.enclave,
        "kubernetes_worker_fqdn": reaching.fqdn(facility, host),
        "kubernetes_worker_name": host.name,
        "kubernetes_worker_name_service": kubernetes_cluster.NAME_SERVICE,
        "kubernetes_worker_other_names": kubernetes_cluster.names(facility, host),
        "kubernetes_worker_pods": kubernetes_cluster.PODS,
    }
