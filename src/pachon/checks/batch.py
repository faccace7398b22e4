"""Batch: a site with workers has one cluster, whose controller, accounting and workers reach one another."""

from collections.abc import Iterator

from pachon.checks.connections import reaches
from pachon.checks.notes import Note, subject
from pachon.model.facility import Facility, Host, Site

ACCOUNTING, CONTROLLER, WORKER = "slurm_accounting", "slurm_controller", "slurm_compute"
WAYS = (
    (WORKER, CONTROLLER, "tcp/6817"),
    (CONTROLLER, WORKER, "tcp/6818"),
    (CONTROLLER, ACCOUNTING, "tcp/6819"),
)
"""Who opens connections to whom in a cluster, on the ports that Slurm has by itself."""


def batch(facility: Facility) -> Iterator[Note]:
    """Sites whose workers have no cluster to be in, and clusters that do not hang together."""
    for site in facility.sites:
        members = {group: _members(site, group) for group in (ACCOUNTING, CONTROLLER, WORKER)}
        if members[WORKER]:
            lacks = [*_lacking(site, members)]
            yield from lacks or _ways(facility, site, members)


def _members(site: Site, group: str) -> list[Host]:
    return [host for host in site.active_hosts if group in host.groups]


def _lacking(site: Site, members: dict[str, list[Host]]) -> Iterator[Note]:
    """Notes at the first worker when there is no controller or accounting, and at each that is one too many."""
    worker = members[WORKER][0]
    for group in (CONTROLLER, ACCOUNTING):
        if not members[group]:
            wrong = f"{worker.name} is a batch worker, and no active host of {site.name} is in the group {group!r}"
            cure = f"add {group} to the groups of one host"
            yield Note(_address(worker), wrong, cure, "groups")
        for host in members[group][1:]:
            wrong = f"{site.name} has one Slurm cluster, and {members[group][0].name} is in the group {group!r} already"
            yield Note(_address(host), wrong, "leave the group out", "groups")


def _ways(facility: Facility, site: Site, members: dict[str, list[Host]]) -> Iterator[Note]:
    """Notes at the first host of each enclave that no flow lets reach what its part of the cluster needs."""
    for source_group, target_group, port in WAYS:
        sources, targets = (
            {host.enclave: host for host in reversed(members[each])} for each in (source_group, target_group)
        )
        for source in sources.values():
            for target in targets.values():
                if not reaches(facility, source, target, port):
                    wrong = f"{source.name} has no way to {port} of {target.name}, {target_group} of its cluster"
                    cure = f"add a flow from {source.enclave} to {target.enclave}, or put both in one enclave"
                    yield Note(_address(source), wrong, cure, "enclave")


def _address(host: Host) -> str:
    return subject(host.site, "host", host.name)
