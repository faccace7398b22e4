"""What each role is told on each host, computed from the facility alone: no gathered facts, no other host's variables.

The inventory puts it into the hosts' variables, so plain Ansible and ``pachon up`` play the same; receipts hold its
digest, so a host is played again exactly when something that one of its roles is told has changed.
"""

from pachon.hostvars import slots
from pachon.hostvars.registry import ARGUMENTS, EVERY_HOST, OF_GROUPS, ROLES, SECRETS, Arguments, Secrets
from pachon.model.facility import Facility, Host

__all__ = ["EVERY_HOST", "ROLES", "Arguments", "Secrets", "of", "of_role", "roles_of", "secrets_of"]


def roles_of(host: Host) -> tuple[str, ...]:
    """The roles of a host, in the order in which they are played."""
    return (*EVERY_HOST, *(role for role in OF_GROUPS if role in host.groups))


def of(facility: Facility, host: Host) -> Arguments:
    """The arguments of all roles of a host."""
    return {key: value for role in roles_of(host) for key, value in of_role(facility, host, role).items()}


def of_role(facility: Facility, host: Host, role: str) -> Arguments:
    """The arguments of one role on a host; empty where it goes by its defaults."""
    compute, site = ARGUMENTS.get(role), facility.site(host.site)
    own = {} if compute is None else compute(facility, site, host)
    return {**own, **slots.arguments(site, host, role)} if site.instances else own


def secrets_of(facility: Facility, host: Host, role: str) -> Secrets:
    """Random bytes by name of each secret that this role reads on this host."""
    compute = SECRETS.get(role)
    return {} if compute is None else compute(facility, facility.site(host.site), host)
