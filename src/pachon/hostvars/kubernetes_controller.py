"""What a site's Kubernetes controller is told: its names, the cluster's networks, and which workers there are to be."""

from pachon.hostvars import kubernetes_cluster, reaching
from pachon.model.facility import Facility, Host, Site


def arguments(facility: Facility, site: Site, host: Host) -> dict[str, object]:
    """Arguments of the role ``kubernetes_controller``."""
    servers = reaching.of_group(reaching.own_site_first(facility, site), "dns")
    return {
        "kubernetes_controller_address": str(host.address),
        "kubernetes_controller_api_service": kubernetes_cluster.API_SERVICE,
        "kubernetes_controller_cluster": site.name,
        "kubernetes_controller_domain": kubernetes_cluster.DOMAIN,
        "kubernetes_controller_name": reaching.fqdn(facility, host),
        "kubernetes_controller_name_servers": [
            str(server.address) for server in servers if reaching.on_segment(facility, server)
        ],
        "kubernetes_controller_name_service": kubernetes_cluster.NAME_SERVICE,
        "kubernetes_controller_other_names": kubernetes_cluster.names(facility, host),
        "kubernetes_controller_pods": kubernetes_cluster.PODS,
        "kubernetes_controller_services": kubernetes_cluster.SERVICES,
        "kubernetes_controller_workers": sorted(
            each.name for each in reaching.of_group_at(site, kubernetes_cluster.WORKER)
        ),
    }
