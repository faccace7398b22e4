"""Which roles there are, in the order in which they are played, and what computes the arguments of each.

A role has at most one module here, of its own name: ``arguments`` gives what the role is told on a host, every key
beginning with the role's name; ``secrets``, where the role needs any, the names of generated secrets and how many
random bytes each is made from. A role without a line gets its defaults. The modules are pure: they know the model only.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from pachon.hostvars import (
    admin,
    bastion,
    certificates,
    dns,
    firewall,
    front_door,
    gateway,
    kubernetes_controller,
    kubernetes_worker,
    log_client,
    metrics,
    people,
    postgresql,
    resolver,
    slurm_accounting,
    slurm_cluster,
    slurm_compute,
    slurm_controller,
    storage,
    tap,
    time_client,
    time_server,
    xrootd,
)
from pachon.model.facility import Facility, Host, Site

Arguments = dict[str, object]
"""Variables of one role on one host: JSON values."""
Secrets = dict[str, int]
"""Random bytes by the secret's name."""

EVERY_HOST = ("base", "people", "firewall", "resolver", "time_client", "certificates", "log_client")
"""Roles of every host. Each is an inventory group that holds all hosts."""

OF_GROUPS = (
    "switch",
    "gateway",
    "storage",
    "xrootd",
    "postgresql",
    "dns",
    "time_server",
    "log_host",
    "bastion",
    "admin",
    "front_door",
    "node_exporter",
    "metrics",
    "tap",
    "slurm_accounting",
    "slurm_controller",
    "slurm_compute",
    "kubernetes_controller",
    "kubernetes_worker",
)
"""Roles of the hosts in the group of the same name."""

ROLES = (*EVERY_HOST, *OF_GROUPS)

ARGUMENTS: Mapping[str, Callable[[Facility, Site, Host], Arguments]] = MappingProxyType(
    {
        "admin": admin.arguments,
        "bastion": bastion.arguments,
        "certificates": certificates.arguments,
        "dns": dns.arguments,
        "firewall": firewall.arguments,
        "front_door": front_door.arguments,
        "gateway": gateway.arguments,
        "kubernetes_controller": kubernetes_controller.arguments,
        "kubernetes_worker": kubernetes_worker.arguments,
        "log_client": log_client.arguments,
        "metrics": metrics.arguments,
        "people": people.arguments,
        "postgresql": postgresql.arguments,
        "resolver": resolver.arguments,
        "slurm_accounting": slurm_accounting.arguments,
        "slurm_compute": slurm_compute.arguments,
        "slurm_controller": slurm_controller.arguments,
        "storage": storage.arguments,
        "tap": tap.arguments,
        "time_client": time_client.arguments,
        "time_server": time_server.arguments,
        "xrootd": xrootd.arguments,
    }
)
"""By role; one line each, sorted."""

SECRETS: Mapping[str, Callable[[Facility, Site, Host], Secrets]] = MappingProxyType(
    {
        "slurm_accounting": slurm_cluster.munge_secrets,
        "slurm_compute": slurm_compute.secrets,
        "slurm_controller": slurm_cluster.munge_secrets,
        "storage": storage.secrets,
        "xrootd": xrootd.secrets,
    }
)
"""By role; one line each, sorted."""

DAYS_PROVEN: Mapping[str, int] = MappingProxyType(
    {"certificates": 15, "kubernetes_controller": 15, "kubernetes_worker": 15}
)
"""Roles whose work wears off: after so many days they are played again, though nothing has changed."""
