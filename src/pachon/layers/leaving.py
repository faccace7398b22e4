"""What roles left on hosts and no longer mention goes: of roles that hosts have, and of those that they had.

Files and links are put aside, units stopped and disabled, folders removed that nothing lies in any more. The rest
stays (``pachon.model.manifest.GOING``). Nothing is destroyed, so no approval is needed beyond that of the plan.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence

from pachon import hostvars
from pachon.drivers.probe import Rest
from pachon.errors import PachonError
from pachon.layers.following import RoleWork, Trouble, document_of
from pachon.layers.recording import Probes
from pachon.layers.sight import Sight, addresses_of, manifest_of
from pachon.model.facility import Host, HostName, Site
from pachon.model.manifest import LEFT, STRANGER, Difference
from pachon.store.database import Store
from pachon.store.receipts import Receipt, drop_receipts, put_receipt, receipts_under

RULES = "ruleset"
"""Kind of the live rules: the role's handler loads its own table anew and leaves tables of strangers alone."""
GONE = "nothing: the host does not have it any more"
"""What such a role is played with."""


def goings(site: str, host: Host, sight: Sight) -> list[RoleWork]:
    """What roles left that the host no longer has, to be removed."""
    own = hostvars.roles_of(host)
    seen = (each for each in sight.differences if each.host == host.name and each.aspect == LEFT)
    drift = {
        role: sight.drift(site, host.name, role)
        for role in dict.fromkeys(each.role for each in seen)
        if role not in own
    }
    return [
        RoleWork(
            host=host.name,
            role=role,
            address=f"{site}/host/{host.name}/role/{role}",
            verb="delete",
            reason=f"the host no longer has the role: {named(each)}",
            digest="",
            given=GONE,
            settle=False,
            drift=each,
        )
        for role, each in drift.items()
        if each
    ]


def named(drift: Sequence[Difference]) -> str:
    """What differs, in a few words."""
    return drift[0].said + (f" and {len(drift) - 1} more" if drift[1:] else "")


def rest_of(works: Iterable[RoleWork]) -> dict[HostName, Rest]:
    """By host, what is to go before these are played: strangers, and what is left over."""
    found: dict[HostName, list[Difference]] = {}
    for work in works:
        if going := [each for each in work.drift if each.aspect in (LEFT, STRANGER) or each.kind == RULES]:
            found.setdefault(work.host, []).extend(going)
    return {
        host: Rest(
            paths=[each.name for each in all_ if each.kind not in ("folder", RULES, "unit")],
            units=[each.name for each in all_ if each.kind == "unit"],
            folders=[each.name for each in all_ if each.kind == "folder"],
            rules=any(each.kind == RULES for each in all_),
        )
        for host, all_ in found.items()
    }


async def leave(
    site: Site, probe: Probes, gone: Sequence[RoleWork], look: Callable[[set[HostName]], Awaitable[Sight]]
) -> tuple[list[RoleWork], list[Trouble]]:
    """Remove what roles left that hosts no longer have: what is done, as ``look`` has it then, and what is not."""
    answers = await probe.sweep(addresses_of(site), rest_of(gone))
    sight = await look({work.host for work in gone})
    done, troubles = [], []
    for work in gone:
        answer = answers.get(work.host, ())
        still = [each for each in sight.drift(site.name, work.host, work.role) if each.aspect == LEFT]
        if isinstance(answer, PachonError):
            why, cure = answer.message, answer.cure
        elif work.host in sight.unanswered:
            why, cure = sight.unanswered[work.host], "see the host, then run the same command again"
        elif still:
            why, cure = f"{work.role}: {named(still)}, and could not be removed", "remove it on the host, and see why"
        else:
            done.append(work)
            continue
        troubles.append(Trouble(address=f"{site.name}/host/{work.host}", error=why, cure=cure))
    return done, troubles


def forget(site: Site, store: Store, sight: Sight) -> None:
    """Drop receipts of roles that hosts no longer have; what those left is remembered until it is seen to be gone."""
    roles = {host.name: hostvars.roles_of(host) for host in site.active_hosts}
    known = receipts_under(store, f"{site.name}/host/")
    remembered = receipts_under(store, f"{site.name}/left/")
    strange: list[str] = []
    for address, receipt in {**known, **remembered}.items():
        _, kind, name, *rest = address.split("/")
        if kind == "host" and (not rest or rest[0] != "role"):
            continue
        role = rest[-1]
        if role in roles.get(name, ()):
            strange += [address] if kind == "left" else []
            continue
        there = name in roles and not _is_clean(sight, name, role)
        if kind == "host":
            strange.append(address)
            if there:
                _remember(store, f"{site.name}/left/{name}/{role}", receipt)
        elif not there:
            strange.append(address)
    drop_receipts(store, strange)


def _is_clean(sight: Sight, name: HostName, role: str) -> bool:
    """Whether the host was just seen to have nothing any more of what the role left there."""
    asked = (name, role) in sight.over and name not in sight.unanswered
    return asked and not any((each.host, each.role) == (name, role) for each in sight.differences)


def _remember(store: Store, address: str, receipt: Receipt) -> None:
    manifest = manifest_of(receipt)
    if manifest is not None:
        put_receipt(
            store,
            address,
            run_id=receipt.run_id,
            inputs_digest=receipt.inputs_digest or "left",
            document=document_of(manifest),
        )
