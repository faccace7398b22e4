"""What hosts of a site are seen to have of what roles left there: one round of the probe, all side by side."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from pydantic import ValidationError

from pachon import hostvars
from pachon.drivers.probe import LOOK, Seen
from pachon.errors import PachonError
from pachon.layers.role_effects import image_tasks_of
from pachon.layers.role_trees import has_host_part, role_trees
from pachon.model.base import Frozen
from pachon.model.facility import HostName, Site
from pachon.model.manifest import (
    GOING,
    Difference,
    Expected,
    Manifest,
    Subject,
    differences,
    expected_gone,
    expected_of,
)
from pachon.store.database import Store
from pachon.store.drift import Acceptance, accepted, seen_since
from pachon.store.receipts import Receipt, receipts_at, receipts_under, versions_under
from pachon.store.sightings import saw

MANIFEST = "manifest"
"""Where a receipt's document has it."""


class Checks(Protocol):
    """Asks hosts what differs (``pachon.drivers.probe.Probe``)."""

    async def check(
        self, addresses: Mapping[str, str], expected: Mapping[str, list[Expected]], *, limit: timedelta = LOOK
    ) -> dict[str, Seen | PachonError]:
        """What differs on each host, or why it could not be asked."""


@dataclass(frozen=True)
class Sight:
    """What was seen."""

    differences: tuple[Difference, ...] = ()
    """All of them, also those that an owner accepted."""
    since: Mapping[HostName, Mapping[str, datetime]] = field(default_factory=dict)
    """By host and key of the difference."""
    acceptances: Mapping[str, Acceptance] = field(default_factory=dict)
    """By address."""
    unanswered: Mapping[HostName, str] = field(default_factory=dict)
    """Hosts that could not be asked, and why: what they have is unknown."""
    asked: frozenset[HostName] = frozenset()
    """Of a host of which nothing is expected nothing is asked, so nothing is known of it."""
    over: frozenset[tuple[HostName, str]] = frozenset()
    """Hosts and roles: it was asked for what these left and no longer mention."""

    def acceptance(self, site: str, difference: Difference, *, now: datetime) -> Acceptance | None:
        """The acceptance that speaks for this difference now."""
        found = self.acceptances.get(address_of(site, difference))
        return found if found and found.covers(difference.aspect, difference.seen, now=now) else None

    def drift(self, site: str, host: HostName, role: str) -> tuple[Difference, ...]:
        """What differs of a role on a host and nobody accepted."""
        now = datetime.now(UTC)
        own = (each for each in self.differences if (each.host, each.role) == (host, role))
        return tuple(each for each in own if self.acceptance(site, each, now=now) is None)

    def joined(self, later: "Sight", hosts: Collection[HostName]) -> "Sight":
        """With what was seen later of some hosts in place of what was known of them."""
        kept = {name: why for name, why in self.unanswered.items() if name not in hosts}
        return Sight(
            differences=(*(each for each in self.differences if each.host not in hosts), *later.differences),
            since={**self.since, **later.since},
            acceptances=later.acceptances,
            unanswered={**kept, **later.unanswered},
            asked=self.asked | later.asked,
            over=frozenset(each for each in self.over if each[0] not in hosts) | later.over,
        )

    def without(self, hosts: Collection[HostName]) -> "Sight":
        """As things are when these hosts are made anew: nothing that was seen there is there any more."""
        return replace(
            self,
            differences=tuple(each for each in self.differences if each.host not in hosts),
            unanswered={name: why for name, why in self.unanswered.items() if name not in hosts},
            over=frozenset(each for each in self.over if each[0] not in hosts),
        )

    def played(self, roles: Collection[tuple[HostName, str]], *, unmended: Collection[Difference]) -> "Sight":
        """As things are now that these roles were played on these hosts."""
        kept = (each for each in self.differences if (each.host, each.role) not in roles or each in unmended)
        return replace(self, differences=tuple(kept))


def address_of(site: str, difference: Difference) -> str:
    """What a person calls it by: the subject on its host."""
    return f"{site}/host/{difference.host}/{difference.kind}:{difference.name}"


def manifest_of(receipt: Receipt | None) -> Manifest | None:
    """The manifest that is kept with a receipt; None where there is none, or one of another time."""
    if receipt is None or MANIFEST not in receipt.document:
        return None
    try:
        return Manifest.model_validate(receipt.document[MANIFEST])
    except ValidationError:
        return None


def manifests_of(site: Site, receipts: Mapping[str, Receipt]) -> dict[HostName, dict[str, Manifest]]:
    """By host and role, in the order in which roles are played, the manifests that hold."""
    told = {
        host.name: manifests_at(site.name, host.name, hostvars.roles_of(host), receipts) for host in site.active_hosts
    }
    return {name: each for name, each in told.items() if each}


def manifests_at(
    site: str, host: HostName, roles: Iterable[str], receipts: Mapping[str, Receipt]
) -> dict[str, Manifest]:
    """By role, the manifests of one host that hold."""
    found: dict[str, Manifest] = {}
    for role in roles:
        kept = receipts.get(f"{site}/host/{host}/role/{role}")
        manifest = None if kept is None or kept.is_intent else manifest_of(kept)
        if manifest is not None and manifest.recorded:
            found[role] = manifest
    return found


def addresses_of(site: Site) -> dict[HostName, str]:
    """Where each active host is reached."""
    machines = site.machine_by_serial
    return {host.name: str(machines[host.machine].management_address) for host in site.active_hosts}


class Asked(Frozen):
    """Whom to ask at a site: all that a look takes of a definition."""

    site: str
    addresses: dict[HostName, str]
    """Of the management segment."""
    roles: dict[HostName, tuple[str, ...]]
    """Of each of these hosts, in the order in which they are played."""

    def only(self, hosts: Collection[HostName]) -> "Asked":
        """The same for some of the hosts."""
        return Asked(
            site=self.site,
            addresses={name: each for name, each in self.addresses.items() if name in hosts},
            roles={name: each for name, each in self.roles.items() if name in hosts},
        )


def asked_of(site: Site) -> Asked:
    """All active hosts of the site."""
    return Asked(
        site=site.name,
        addresses=addresses_of(site),
        roles={host.name: tuple(hostvars.roles_of(host)) for host in site.active_hosts},
    )


def left_at(
    roles: Collection[str], played: Collection[str], receipts: Mapping[str, Receipt]
) -> dict[str, tuple[Subject, ...]]:
    """By role, what roles left on a host and no longer mention, and what roles left that it no longer has.

    ``receipts`` are the host's own. Nothing is left over while not all of its roles were ``played`` well: another one
    might be just about to mention it.
    """
    if not _all_played(roles, played):
        return {}
    found: dict[str, tuple[Subject, ...]] = {}
    for address, receipt in receipts.items():
        role = address.rpartition("/")[2]
        is_own = role in roles
        kept = receipt.document.get(MANIFEST)
        manifest = manifest_of(receipt) if kept and (not is_own or kept.get("left")) else None
        if manifest is not None and not (is_own and "/left/" in address):
            # What came with the image stays with it: it lies on hosts that never had the role, too.
            brought = frozenset() if is_own else image_tasks_of(role)
            host_own = () if is_own else (each for each in manifest.subjects if each.owner not in brought)
            left = (*manifest.left, *host_own)
            found[role] = (*found.get(role, ()), *(each for each in left if each.kind in GOING))
    return {role: each for role, each in found.items() if each}


def _all_played(roles: Iterable[str], played: Collection[str]) -> bool:
    """Whether all roles of a host that leave anything there were played well."""
    there = role_trees()
    return all(role in played or role not in there or not has_host_part(role) for role in roles)


class Memory:
    """What is expected of hosts, worked out again only where a receipt is another: for who looks again and again."""

    def __init__(self) -> None:
        self._known: dict[tuple[HostName, tuple[str, ...]], _Known] = {}
        """By host and the roles that it is asked for: a command's definition may be another than the server's."""

    def expectations(self, asked: Asked, store: Store) -> dict[HostName, list[Expected]]:
        """What is expected of each host that has a manifest."""
        own: dict[HostName, dict[str, object]] = {name: {} for name in asked.roles}
        keys = {name: (name, tuple(roles)) for name, roles in asked.roles.items()}
        for prefix in ("host", "left"):
            for address, version in versions_under(store, f"{asked.site}/{prefix}/").items():
                _, _, name, *rest = address.split("/")
                if name in own and (prefix == "left" or rest[:1] == ["role"]):
                    own[name][address] = version
        known = self._known
        new = [name for name, each in own.items() if keys[name] not in known or known[keys[name]].versions != each]
        if len(new) > len(self._known):
            receipts = {
                **receipts_under(store, f"{asked.site}/host/"),
                **receipts_under(store, f"{asked.site}/left/"),
            }
        else:
            receipts = receipts_at(store, [address for name in new for address in own[name]])
        for name in new:
            mine = {address: receipts[address] for address in own[name] if address in receipts}
            known[keys[name]] = _known_of(asked.site, name, asked.roles[name], own[name], mine)
        return {name: known[key].expected for name, key in keys.items() if known[key].expected}

    def expects(self, asked: Asked, difference: Difference) -> bool:
        """Whether, by the last look, anything is expected there where this was seen to differ."""
        key = (difference.host, tuple(asked.roles.get(difference.host, ())))
        known = self._known[key].expected if key in self._known else ()
        return any(each.expects(difference) for each in known)

    def over(self, asked: Asked, hosts: Collection[HostName]) -> frozenset[tuple[HostName, str]]:
        """Hosts and roles of which something is left over, by what is expected."""
        return frozenset((name, role) for name in hosts for role in self._known[name, tuple(asked.roles[name])].over)


@dataclass(frozen=True)
class _Known:
    """What is expected of one host, and by which receipts."""

    versions: Mapping[str, object]
    expected: list[Expected]
    over: frozenset[str]
    """Roles that left something which they no longer mention."""


def _known_of(
    site: str, name: HostName, roles: Sequence[str], versions: Mapping[str, object], receipts: Mapping[str, Receipt]
) -> _Known:
    found = manifests_at(site, name, roles, receipts)
    left = left_at(roles, found, receipts) if found else {}
    kept = [each for manifest in found.values() for each in manifest.subjects] if left else []
    gone = expected_gone(left, kept) if left else []
    own = expected_of(found) if found else []
    if not _all_played(roles, found):  # what is of a role that failed, or was killed, would pass for a stranger's
        own = [each.model_copy(update={"allowed": None}) if each.allowed is not None else each for each in own]
    return _Known(versions, [*own, *gone], frozenset(left))


async def look(asked: Asked, store: Store, probe: Checks, *, limit: timedelta = LOOK, memory: Memory) -> Sight:
    """What differs on these hosts from what roles left there."""
    expected = await asyncio.to_thread(memory.expectations, asked, store)
    if not expected:
        return Sight(acceptances=await asyncio.to_thread(accepted, store, asked.site))
    answers = await probe.check(asked.addresses, expected, limit=limit)
    found = {
        name: differences(name, expected[name], answer)
        for name, answer in answers.items()
        if not isinstance(answer, PachonError)
    }

    def remember() -> Sight:
        saw(store, dict.fromkeys(found, datetime.now(UTC)))
        return Sight(
            differences=tuple(each for all_ in found.values() for each in all_),
            since=seen_since(store, asked.site, {name: [each.key for each in all_] for name, all_ in found.items()}),
            acceptances=accepted(store, asked.site),
            unanswered={
                name: " ".join(each.message.split()) for name, each in answers.items() if isinstance(each, PachonError)
            },
            asked=frozenset(expected),
            over=memory.over(asked, expected),
        )

    return await asyncio.to_thread(remember)
