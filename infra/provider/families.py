"""The resource families by their token in Pulumi."""

from infra.provider.family import Family
from infra.provider.host import Hosts
from infra.provider.machine import Machines
from infra.provider.network import Networks
from infra.provider.volume import Volumes
from pachon.errors import UsageError

FAMILIES: dict[str, Family] = {family.kind.value: family for family in (Machines(), Hosts(), Networks(), Volumes())}


def family_of(urn: str) -> Family:
    """The family of the resource with that URN (UsageError if there is none)."""
    token = urn.split("::")[2].rpartition("$")[2]
    try:
        return FAMILIES[token]
    except KeyError:
        raise UsageError(f"there is no resource {token!r}", cure="one of " + ", ".join(sorted(FAMILIES))) from None
