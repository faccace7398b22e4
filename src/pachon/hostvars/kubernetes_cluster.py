"""What the hosts of a Kubernetes cluster have to know of one another; each site has one cluster, of the site's name.

Pods and services have networks of the cluster's own, the same at every site: they are not seen outside of it. Which
part of the pods' network a worker has is decided by the cluster, so that adding a worker tells the others nothing.
"""

from pachon.hostvars import reaching
from pachon.model.facility import Facility, Host, Site

CONTROLLER = "kubernetes_controller"
WORKER = "kubernetes_worker"
PODS = "10.244.0.0/16"
SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
"""Address of the API server within the cluster: the first one of the services'."""
NAME_SERVICE = "10.96.0.10"
DOMAIN = "cluster.local"
PORT = 6443
POD_BRIDGE = "cni0"


def controller(site: Site) -> Host | None:
    """The host that the site's cluster is governed from."""
    return next(iter(reaching.of_group_at(site, CONTROLLER)), None)


def api(site: Site) -> str:
    """URL of the site's API server; empty where there is none."""
    host = controller(site)
    return f"https://{host.address}:{PORT}" if host else ""


def names(facility: Facility, host: Host) -> list[str]:
    """Names of a host beside its fully qualified one, as certificates have them."""
    return [host.name, reaching.management_name(facility, host)]
