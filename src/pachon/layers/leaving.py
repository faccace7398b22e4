"""What roles left on hosts and no longer mention goes: of roles that hosts have, and of those that they had.

Files and links are put aside, units stopped and disabled, folders removed that nothing lies in any more. The rest
stays (``pachon.model.manifest.GOING``). Nothing is destroyed, so no approval is needed beyond that of the plan.

Of a role that a host no longer has the receipt becomes an intent before anything goes, and is dropped once a look shows
that all went; so what a killed run was at is taken up by the next one, or settled where the host has the role again.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

from pachon import hostvars
from pachon.drivers.probe import Rest
from pachon.errors import PachonError, RefusedError
from pachon.layers.following import RoleWork, Trouble
from pachon.layers.recording import Probes
from pachon.layers.role_effects import units_told
from pachon.layers.sight import Sight, addresses_of, manifest_of
from pachon.model.facility import Host, HostName, Site
from pachon.model.manifest import LEFT, STRANGER, Difference, Manifest
from pachon.store.database import Store
from pachon.store.journal import standing
from pachon.store.lease import Lease
from pachon.store.receipts import Receipt, Version, drop_receipts, intend, receipts_at, receipts_under, versions_under

RULES = "ruleset"
"""Kind of the live rules: the role's handler loads its own table anew and leaves tables of strangers alone."""
GONE = "nothing: the host does not have it any more"
"""What such a role is played with."""


def begun_in(store: Store, versions: Mapping[str, Version]) -> dict[HostName, dict[str, Receipt]]:
    """By host and role, intents among receipts of these versions: what nobody has ended."""
    found: dict[HostName, dict[str, Receipt]] = {}
    places = [place for place, version in versions.items() if not version.inputs_digest and place.count("/") > 2]
    for place, receipt in (receipts_at(store, places) if places else {}).items():
        _, _, name, *_, role = place.split("/")
        found.setdefault(name, {})[role] = receipt
    return found


def goings(site: str, host: Host, sight: Sight, begun: Mapping[str, Receipt]) -> list[RoleWork]:
    """What roles left that the host no longer has, to be removed; ``begun``: intents on the host, by role."""
    own = hostvars.roles_of(host)
    left = dict.fromkeys(each.role for each in sight.differences if each.host == host.name and each.aspect == LEFT)
    asked = host.name not in sight.unanswered
    ending = [role for role in begun if role not in left and asked and (host.name, role) in sight.over]
    found = []
    for role in (*left, *ending):
        drift, intent = sight.drift(site, host.name, role), begun.get(role)
        if role in own or (role in left and not drift):
            continue
        why = named(drift) if drift else "a killed run was at it"
        found.append(
            RoleWork(
                host=host.name,
                role=role,
                address=f"{site}/host/{host.name}/role/{role}",
                verb="delete",
                reason=f"the host no longer has the role: {why}",
                digest="",
                given=GONE,
                settle=intent is not None,
                drift=drift,
                before=manifest_of(intent),
            )
        )
    return found


def come_back(
    store: Store, left: Iterable[str], roles: Mapping[HostName, Collection[str]]
) -> dict[tuple[HostName, str], Manifest]:
    """By host and role, what roles had left on hosts that lost them and have them again; ``left``: its addresses."""
    words = {place: place.split("/") for place in left}
    places = [place for place, (_, _, name, role) in words.items() if role in roles.get(name, ())]
    known = receipts_at(store, places) if places else {}
    manifests = {place: manifest_of(receipt) for place, receipt in known.items()}
    return {(words[place][2], words[place][3]): each for place, each in manifests.items() if each is not None}


def unended(site: Site, store: Store, names: Collection[HostName]) -> list[HostName]:
    """Those of these hosts on which somebody had begun a role that they do not have, and that never was there well."""
    versions = {**versions_under(store, f"{site.name}/host/"), **versions_under(store, f"{site.name}/left/")}
    own = {host.name: hostvars.roles_of(host) for host in site.active_hosts if host.name in names}
    strange = {
        place: version
        for place, version in versions.items()
        if place.count("/") > 2 and (name := place.split("/")[2]) in own and place.rpartition("/")[2] not in own[name]
    }
    begun = begun_in(store, strange)
    return [name for name, roles in begun.items() if any(_is_bare(manifest_of(each)) for each in roles.values())]


def still_there(site: Site, store: Store, sight: Sight, role: str, names: Collection[HostName]) -> set[HostName]:
    """Those of these hosts, which are to have the role no more, that were not seen to be rid of what it left."""
    kept = {
        f"{site.name}/{part}": name for name in names for part in (f"host/{name}/role/{role}", f"left/{name}/{role}")
    }
    known = receipts_at(store, list(kept))
    there = {kept[place] for place, receipt in known.items() if manifest_of(receipt) is not None}
    return {name for name in there if not _is_clean(sight, name, role)}


def is_unended(work: RoleWork) -> bool:
    """Whether it removes a role that never was there well: so nothing is lost that a plan would have to name."""
    return work.verb == "delete" and _is_bare(work.before)


def _is_bare(manifest: Manifest | None) -> bool:
    return manifest is not None and not manifest.recorded


def named(drift: Sequence[Difference]) -> str:
    """What differs, in a few words."""
    if not drift:
        return "nothing more"
    return drift[0].said + (f" and {len(drift) - 1} more" if drift[1:] else "")


def rest_of(works: Iterable[RoleWork]) -> dict[HostName, Rest]:
    """By host, what is to go before these are played: strangers, and what is left over.

    Where a host lost a role, nothing is played that would take notice: then the units of its handlers do.
    """
    going: dict[HostName, list[Difference]] = {}
    told: dict[HostName, dict[str, str]] = {}
    for work in works:
        if found := [each for each in work.drift if each.aspect in (LEFT, STRANGER) or each.kind == RULES]:
            going.setdefault(work.host, []).extend(found)
        if work.verb == "delete":
            told.setdefault(work.host, {}).update(_units_told(work))
    return {
        host: Rest(
            paths=[each.name for each in all_ if each.kind not in ("folder", RULES, "unit")],
            units=[each.name for each in all_ if each.kind == "unit"],
            folders=[each.name for each in all_ if each.kind == "folder"],
            rules=any(each.kind == RULES for each in all_),
            reload=host in told,
            told=told.get(host, {}),
        )
        for host in dict.fromkeys((*going, *told))
        for all_ in [going.get(host, [])]
    }


def _units_told(work: RoleWork) -> dict[str, str]:
    """Of what goes; where a killed run was at it, of all that the role left, since what went then told nobody."""
    if work.before is None:
        tasks = {each.task for each in work.drift}
    else:
        tasks = {each.owner for each in (*work.before.subjects, *work.before.left)}
    return units_told(work.role, tasks)


async def sweep(
    site: Site, probe: Probes, works: Iterable[RoleWork], lease: Lease
) -> Mapping[HostName, Sequence[str] | PachonError]:
    """What went from each host, or why it could not be asked.

    Raises:
        RefusedError: a later writer was at one of the hosts.
    """
    answers = await probe.sweep(addresses_of(site), rest_of(works), token=lease.fencing_token)
    for answer in answers.values():
        if isinstance(answer, RefusedError):
            raise answer
    return answers


def begin(store: Store, lease: Lease, gone: Iterable[RoleWork]) -> None:
    """Put down that what these left is about to go (errors as of ``sweep``)."""
    known = receipts_at(store, [place for work in gone for place in _kept_at(work)])
    intend(store, lease, known, documents={place: receipt.document for place, receipt in known.items()})


def end(store: Store, lease: Lease, done: Iterable[RoleWork]) -> None:
    """Forget what these left, now that it is gone (errors as of ``sweep``)."""
    drop_receipts(store, lease, [place for work in done for place in _kept_at(work)])


def _kept_at(work: RoleWork) -> tuple[str, str]:
    site = work.address.partition("/")[0]
    return work.address, f"{site}/left/{work.host}/{work.role}"


async def leave(
    site: Site,
    probe: Probes,
    gone: Sequence[RoleWork],
    lease: Lease,
    look: Callable[[set[HostName]], Awaitable[Sight]],
) -> tuple[list[RoleWork], list[Trouble]]:
    """Remove what roles left that hosts no longer have: what is done, as ``look`` has it then, and what is not."""
    answers = await sweep(site, probe, gone, lease)
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


def forget(site: Site, store: Store, lease: Lease, sight: Sight) -> None:
    """Drop receipts of roles that hosts no longer have; what those left is remembered until it is seen to be gone."""
    roles = {host.name: hostvars.roles_of(host) for host in site.active_hosts}
    stand = {entry.address for entry in standing(store, site.name)}
    known = receipts_under(store, f"{site.name}/host/")
    remembered = receipts_under(store, f"{site.name}/left/")
    strange: list[str] = []
    moved: dict[str, str] = {}
    for place, receipt in {**known, **remembered}.items():
        _, kind, name, *rest = place.split("/")
        if kind == "host" and (not rest or rest[0] != "role"):
            continue
        if name not in roles and f"{site.name}/host/{name}" in stand:
            continue  # it would not go, and may be wanted again
        role = rest[-1]
        if role in roles.get(name, ()):
            begun = f"{site.name}/host/{name}/role/{role}" in known  # by a play that knew of it
            strange += [place] if kind == "left" and begun else []
        elif name not in roles or manifest_of(receipt) is None or _is_clean(sight, name, role):
            strange.append(place)
        elif kind == "host":
            moved[place] = f"{site.name}/left/{name}/{role}"
    drop_receipts(store, lease, strange, moved=moved)


def _is_clean(sight: Sight, name: HostName, role: str) -> bool:
    """Whether the host was just seen to have nothing any more of what the role left there."""
    asked = (name, role) in sight.over and name not in sight.unanswered
    return asked and not any((each.host, each.role) == (name, role) for each in sight.differences)
