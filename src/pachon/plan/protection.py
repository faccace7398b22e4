"""What is refused even when a destruction was approved, unless it is named by itself: quorum, last copy, data.

A host that loses a role counts as one that goes, as far as that role is concerned.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pachon.checks.hosts import EVERY_HOST
from pachon.plan.document import DESTROYING, Action, Protection
from pachon.plan.needs import Ground
from pachon.plan.risks import UNKNOWN

QUORATE = frozenset({"database", "etcd", "kafka", "kubernetes"})
"""Groups whose hosts decide by majority."""
QUORUM_FROM = 3
"""Fewer members than this have no majority to lose."""
EMPTY = "is empty"


def protections_of(actions: Sequence[Action], ground: Ground, holding: Mapping[str, str]) -> tuple[Protection, ...]:
    """What carrying these out would lose for good, by address."""
    gone = {action.address for action in actions if action.layer == "hardware" and action.verb in DESTROYING}
    found = [
        Protection(
            address=address,
            loses="data",
            by=(address,),
            why=f"the volume {holding.get(address, UNKNOWN)}",
        )
        for address in sorted(gone)
        if "/volume/" in address and holding.get(address) != EMPTY
    ]
    going = _Going({address for address in gone if "/host/" in address}, _lost(actions, ground), ground)
    return (*found, *_quorums(going), *_last_copies(going)) if going.hosts or going.roles else tuple(found)


def _lost(actions: Sequence[Action], ground: Ground) -> dict[str, str]:
    """Roles that hosts lose, each with its host, by address: what a role left that its host keeps is no loss."""
    told = [action.address for action in actions if action.layer == "hosts" and action.verb == "delete"]
    found = {}
    for address in told:
        host, _, role = address.partition("/role/")
        known = ground.hosts.get(host)
        if role not in EVERY_HOST and known is not None and role not in known.groups:
            found[address] = host
    return found


@dataclass(frozen=True)
class _Going:
    """What goes: whole hosts, and roles that hosts lose. Its members are as if nothing had gone yet."""

    hosts: set[str]
    roles: Mapping[str, str]
    """Host by address of the role."""
    ground: Ground

    @cached_property
    def members(self) -> dict[tuple[str, str, str], set[str]]:
        """Hosts of each group by site, enclave and group; also those that have left one and still carry its role."""
        found: dict[tuple[str, str, str], set[str]] = {}
        for address, inputs in self.ground.made.items():
            if "/host/" in address:
                for group in inputs.get("groups", ()):
                    found.setdefault(self._key(address, str(group)), set()).add(address)
        for role, host in self.roles.items():
            found.setdefault(self._key(host, role.rpartition("/")[2]), set()).add(host)
        return found

    def _key(self, host: str, group: str) -> tuple[str, str, str]:
        return host.split("/", maxsplit=1)[0], str(self.ground.made.get(host, {}).get("enclave", "")), group

    def of(self, group: str, members: Collection[str]) -> dict[str, str]:
        """The members that go, each with the address of what makes it go."""
        roles = {host: role for role, host in self.roles.items() if role.endswith(f"/role/{group}")}
        return {host: host if host in self.hosts else roles[host] for host in members if host in {*self.hosts, *roles}}


def _quorums(going: _Going) -> list[Protection]:
    found = []
    for (site, enclave, group), members in sorted(going.members.items()):
        lost, majority = going.of(group, members), len(members) // 2 + 1
        left = len(members) - len(lost)
        if group in QUORATE and len(members) >= QUORUM_FROM and lost and left < majority:
            found.append(
                Protection(
                    address=f"{site}/quorum/{enclave}/{group}",
                    loses="quorum",
                    by=tuple(sorted(lost.values())),
                    why=f"{left} of {len(members)} {group} hosts of {enclave} would be left, {majority} are a majority",
                )
            )
    return found


def _last_copies(going: _Going) -> list[Protection]:
    found, told = [], set()
    placements = going.ground.facility.placements
    for placed in sorted(placements, key=lambda placed: (placed.site, placed.service, placed.enclave)):
        members = going.members.get((placed.site, placed.enclave, placed.group), set())
        lost = going.of(placed.group, members)
        if placed.group and members and len(lost) == len(members):
            told.add((placed.site, placed.group))
            disks = ", nor what it keeps on its disks" if going.hosts & lost.keys() else ""
            found.append(
                Protection(
                    address=f"{placed.site}/service/{placed.service}",
                    loses="last copy",
                    by=tuple(sorted(lost.values())),
                    why=f"nothing of {placed.service} would be left at {placed.site}{disks}",
                )
            )
    return [*found, *_last_roles(going, told)]


def _last_roles(going: _Going, told: Collection[tuple[str, str]]) -> list[Protection]:
    """Roles that no host of a site would have any more, since hosts lose them; without those of services ``told``."""
    found = []
    for site, role in sorted({(address.split("/")[0], address.rpartition("/")[2]) for address in going.roles}):
        members = {
            host
            for (where, _, group), hosts in going.members.items()
            if (where, group) == (site, role)
            for host in hosts
        }
        lost = going.of(role, members)
        if (site, role) not in told and len(lost) == len(members):
            found.append(
                Protection(
                    address=f"{site}/role/{role}",
                    loses="last copy",
                    by=tuple(sorted(lost.values())),
                    why=f"no host of {site} would have the role {role} any more",
                )
            )
    return found
