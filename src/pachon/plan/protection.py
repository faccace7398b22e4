"""What is refused even when a destruction was approved, unless it is named by itself: quorum, last copy, data."""

from collections.abc import Mapping, Sequence

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
    hosts = {address for address in gone if "/host/" in address}
    return (*found, *_quorums(hosts, ground), *_last_copies(hosts, ground)) if hosts else tuple(found)


def _quorums(gone: set[str], ground: Ground) -> list[Protection]:
    found = []
    for (site, enclave, group), members in sorted(_standing(ground).items()):
        lost, majority = members & gone, len(members) // 2 + 1
        left = len(members - gone)
        if group in QUORATE and len(members) >= QUORUM_FROM and lost and left < majority:
            found.append(
                Protection(
                    address=f"{site}/quorum/{enclave}/{group}",
                    loses="quorum",
                    by=tuple(sorted(lost)),
                    why=f"{left} of {len(members)} {group} hosts of {enclave} would be left, {majority} are a majority",
                )
            )
    return found


def _last_copies(gone: set[str], ground: Ground) -> list[Protection]:
    standing = _standing(ground)
    found = []
    for placed in sorted(ground.facility.placements, key=lambda placed: (placed.site, placed.service, placed.enclave)):
        members = standing.get((placed.site, placed.enclave, placed.group), set())
        if placed.group and members and members <= gone:
            found.append(
                Protection(
                    address=f"{placed.site}/service/{placed.service}",
                    loses="last copy",
                    by=tuple(sorted(members)),
                    why=f"nothing of {placed.service} would be left at {placed.site}, nor what it keeps on its disks",
                )
            )
    return found


def _standing(ground: Ground) -> dict[tuple[str, str, str], set[str]]:
    """Addresses of the hosts that stand, by site, enclave and group."""
    found: dict[tuple[str, str, str], set[str]] = {}
    for address, inputs in ground.made.items():
        if "/host/" in address:
            for group in inputs.get("groups", ()):
                key = (address.split("/")[0], str(inputs.get("enclave", "")), str(group))
                found.setdefault(key, set()).add(address)
    return found
