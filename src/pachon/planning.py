"""Makes plans: looks at sites, asks engines that have to be asked, and hands all of it to ``pachon.plan`` as values.

A stack whose inputs are those of its receipt and whose resources were just seen to be as wanted reaches no engine.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pachon import hostvars, places, planning_objects
from pachon.drivers.pulumi import PlannedAction
from pachon.errors import PachonError
from pachon.ground import Images
from pachon.ground import of as ground_of
from pachon.layers import policies
from pachon.layers.hardware import SiteHardware, code_digest
from pachon.layers.hosts import STAGE, RoleWork, SiteHosts
from pachon.layers.leaving import named
from pachon.layers.role_trees import role_texts
from pachon.layers.site_cluster import SiteCluster
from pachon.model.facility import Facility, HostName, Site
from pachon.model.hardware import STACKS, StackName
from pachon.model.manifest import LEFT, STRANGER
from pachon.model.manifest import Difference as Drift
from pachon.model.stamp import digest
from pachon.opening import Opened, opening
from pachon.plan.document import Action, Difference, EngineRun, Fact, Plan
from pachon.plan.making import Basis, DeferredRoles, Findings, Made, definition_of, plan_of
from pachon.progress import Event, Progress
from pachon.site_look import Look, look, previews
from pachon.sites import CODE, cluster_of, facts_of, hardware_of, hosts_of
from pachon.store.database import open_store
from pachon.store.journal import standing
from pachon.store.receipts import Version, versions_under

CONTROL_LAYER = (places.CHECKOUT / "src" / "pachon",)


@dataclass(frozen=True)
class Seen:
    """One site with all that a plan of it is made from."""

    site: Site
    hardware: SiteHardware
    hosts: SiteHosts | None
    look: Look
    cluster: SiteCluster | None = None
    planned: Mapping[StackName, list[PlannedAction]] = field(default_factory=dict)
    holding: Mapping[str, str] = field(default_factory=dict)
    """What lies in volumes that are to go."""
    notes: tuple[str, ...] = ()


async def make(
    facility: Facility,
    sites: tuple[Site, ...],
    *,
    state: Path,
    cache: Path,
    look_first: bool,
    progress: Progress,
    notes: Sequence[str] = (),
    opened: Opened | None = None,
) -> Plan:
    """What ``up`` would do now; changes nothing but the engine's own working files. ``notes``: of checks.

    ``opened``: connections that were begun for it, which stay open.

    Raises:
        PachonError: the engine fails, or images are missing that are needed to know what hosts are made from.
    """
    if opened is None:
        async with opening(facility, (), state=state) as own:
            return await make(
                facility,
                sites,
                state=state,
                cache=cache,
                look_first=look_first,
                progress=progress,
                notes=notes,
                opened=own,
            )
    ground = ground_of(facility)
    flavours = sorted({host.flavour for site in sites for host in site.active_hosts})
    images = await ground.images(flavours, cache=cache, progress=progress)
    notes = [*ground.lacks, *notes]
    if look_first and opened.trusting:
        look_first = False
        notes.append(f"{opened.trusting}: this plan trusts what was last recorded")
    code = await asyncio.to_thread(code_digest, CODE)
    store = open_store(places.store(state))

    async def one(site: Site) -> Findings:
        if not site.active_hosts and not standing(store, site.name):
            return Findings(site=site.name, actions=(), notes=(f"site {site.name}: no host is to exist yet",))
        layer = hardware_of(facility, site, state=state, store=store, ground=ground, images=images, progress=progress)
        hosts = hosts_of(layer, ground, state=state, progress=progress)
        cluster = cluster_of(layer, ground, state=state, progress=progress)
        found = await look(
            site, layer, hosts, cluster, code=code, progress=progress, eyes=look_first, fleet=opened.fleet
        )
        return findings(await ask(Seen(site, layer, hosts, found, cluster), progress=progress))

    looks = asyncio.gather(*(one(site) for site in sites))
    try:
        found, basis = await asyncio.gather(looks, asyncio.to_thread(basis_of, facility, code, images))
    finally:
        store.close()
    return plan_of(facility, found, basis, notes=notes)


def basis_of(facility: Facility, code: str, images: Mapping[str, Images]) -> Basis:
    """Digests of the definition and of the program, part by part."""
    facts = {flavour: each.model_dump(mode="json") for flavour, each in sorted(facts_of(images).items())}
    return Basis(
        definition=definition_of(facility),
        code={
            "control layer": code_digest(CONTROL_LAYER),
            "images": digest(facts),
            "roles": role_texts(),
            "stacks and provider": code,
        },
        roles=hostvars.ROLES,
    )


async def ask(seen: Seen, *, progress: Progress) -> Seen:
    """The same with what engines say they would do, and with what lies in volumes that would go.

    Where the engine cannot look at the world the stack's actions are unknown, if it was not what was asked for.
    """
    site, notes = seen.site, []
    planned: dict[StackName, list[PlannedAction]] = {}
    if seen.look.todo or seen.look.orphans:
        if seen.look.made:
            progress(Event("plan", site.name, "started", "asking the engine what it would do"))
        try:
            planned = dict(await previews(seen.hardware, seen.look))
        except PachonError as error:
            if seen.hardware.engine.lease is not None or not seen.look.looked:
                raise
            notes.append(f"site {site.name}: {error}")
            planned = {
                name: seen.hardware.all_as(name, "unknown", "the engine could not look at the world")
                for name in seen.look.todo
            }
        progress(Event("plan", site.name, "done", _counted(planned)))
    going = {
        action.address
        for actions in planned.values()
        for action in actions
        if action.verb in ("delete", "replace") and "/volume/" in action.address
    }
    going |= {orphan.stamp.address for orphan in seen.look.orphans if "/volume/" in orphan.stamp.address}
    inputs = {entry.address: entry.inputs for entry in seen.look.made if entry.address in going}
    holding = await seen.hardware.holding(inputs) if inputs and seen.look.looked else {}
    return replace(seen, planned=planned, holding=holding, notes=tuple(notes))


def _counted(planned: Mapping[StackName, Sequence[PlannedAction]]) -> str:
    verbs = [action.verb for actions in planned.values() for action in actions]
    return ", ".join(f"{verbs.count(verb)} {verb}" for verb in sorted(set(verbs))) or "nothing"


def findings(seen: Seen) -> Findings:
    """What the plan of one site is made from, as values."""
    site, found = seen.site, seen.look
    actions = [
        _action(site, name, _as_seen(action, found))
        for name in STACKS
        for action in seen.planned.get(name, seen.hardware.all_as(name, "none", "as it was left"))
    ]
    actions += [_action(site, "leftover", orphan.as_action()) for orphan in found.orphans]
    new = {action.address for action in actions if action.verb in ("create", "replace") and "/host/" in action.address}
    receipts = versions_under(seen.hardware.store, f"{site.name}/")
    deferred: list[DeferredRoles] = []
    if seen.hosts is not None:
        roles, deferred = _roles(site, seen.hosts, found, new)
        actions += roles
    actions += [_of_slurm(site, name, "delete") for name in found.workers]
    actions += [_of_slurm(site, name, "update") for name in found.returning]
    actions += planning_objects.actions(site, found.cluster)
    return Findings(
        site=site.name,
        actions=tuple(actions),
        deferred=tuple(deferred),
        engines=tuple(
            EngineRun(address=seen.hardware.receipt_address(name), reason=found.reason(name)) for name in found.todo
        ),
        made=tuple(Made(address=entry.address, inputs=entry.inputs) for entry in found.made),
        objects=planning_objects.deferred(seen.cluster, found.cluster),
        taking=planning_objects.taking(found.cluster),
        holding=dict(seen.holding),
        facts=tuple(facts(seen, receipts)),
        parent=parent(seen, receipts),
        notes=(*seen.notes, *_unanswered(seen.hosts), *planning_objects.notes(found.cluster)),
    )


def _unanswered(hosts: SiteHosts | None) -> list[str]:
    silent = {} if hosts is None else hosts.sight.unanswered
    return [f"whether {name} is as its roles left it is unknown: {why}" for name, why in sorted(silent.items())]


def facts(seen: Seen, receipts: Mapping[str, Version] | None = None) -> list[Fact]:
    """What the plan of the site relies on."""
    site, found = seen.site.name, seen.look
    kept = versions_under(seen.hardware.store, f"{site}/") if receipts is None else receipts
    entries = [[entry.address, entry.generation, entry.verb, entry.outcome] for entry in found.made]
    told = [Fact(address=site, kind="journal", value=digest(entries))]
    for name in STACKS:
        address = seen.hardware.receipt_address(name)
        value = kept[address].inputs_digest if address in kept else ""
        told.append(Fact(address=address, kind="stack", value=value))
    told += [Fact(address=each.address, kind="seen", value=each.condition) for each in found.seen.values()]
    if found.cluster is not None:
        told.append(Fact(address=f"{site}/cluster", kind="seen", value=found.cluster.condition))
    secrets = {} if seen.hosts is None else seen.hosts.digests_of_secrets()
    told += [
        Fact(address=f"{site}/secret/{name}", kind="secret", value=value) for name, value in secrets.items() if value
    ]
    by_host: dict[str, dict[str, str]] = {}
    for each in seen.site.active_hosts:  # what others had is relied on by nothing, and forgotten by the next run
        for role in hostvars.roles_of(each):
            if receipt_of_role := kept.get(f"{site}/host/{each.name}/role/{role}"):
                by_host.setdefault(f"{site}/host/{each.name}", {})[role] = receipt_of_role.inputs_digest
    return told + [Fact(address=host, kind="roles", value=digest(roles)) for host, roles in sorted(by_host.items())]


def parent(seen: Seen, receipts: Mapping[str, Version] | None = None) -> str:
    """The run that last changed something at the site; names of runs begin with their moment."""
    kept = versions_under(seen.hardware.store, f"{seen.site.name}/") if receipts is None else receipts
    runs = [receipt.run_id for receipt in kept.values()] + [entry.run_id for entry in seen.look.made]
    return max(runs, default="")


def _as_seen(action: PlannedAction, found: Look) -> PlannedAction:
    """The engine takes what does not answer as it was recorded; for a plan nobody knows what it is like."""
    seen = found.seen.get(action.address)
    if seen is None or seen.answered or action.verb not in ("none", "update"):
        return action
    return action.model_copy(update={"verb": "unknown", "reason": "it does not answer", "changes": ()})


def _roles(site: Site, hosts: SiteHosts, found: Look, new: set[str]) -> tuple[list[Action], list[DeferredRoles]]:
    """An action for each role of each host that stands; the roles of the others are deferred."""
    pending = {work.address: work for works in found.pending.values() for work in works if work.verb != "delete"}
    actions: list[Action] = []
    deferred: list[DeferredRoles] = []
    for host in site.active_hosts:
        address = hosts.address(host.name)
        roles = [(f"{address}/role/{role}", role) for role in hosts.roles_of(host)]
        if address in new:
            given = {role: pending[role].given if role in pending else hosts.given(host, name) for role, name in roles}
            deferred.append(DeferredRoles(site=site.name, host=address, given=given))
            continue
        actions += [_removal(site, work) for work in found.pending.get(host.name, ()) if _goes(work)]
        for role, _ in roles:
            work = pending.get(role)
            actions.append(
                Action(
                    site=site.name,
                    layer="hosts",
                    stack=STAGE,
                    address=role,
                    verb="none" if work is None else work.verb,
                    after="" if work is None else work.digest,
                    given="" if work is None else work.given,
                    differences=() if work is None else _taken([d for d in work.drift if d.aspect == STRANGER]),
                    reason="" if work is None else work.reason,
                )
            )
    return actions, deferred


def _left(work: RoleWork) -> list[Drift]:
    return [each for each in work.drift if each.aspect == LEFT]


def _goes(work: RoleWork) -> bool:
    return work.verb == "delete" or bool(_left(work))


def _taken(drift: Sequence[Drift]) -> tuple[Difference, ...]:
    return tuple(Difference(key=f"{each.kind}:{each.name}", before=each.seen, after=each.expected) for each in drift)


def _removal(site: Site, work: RoleWork) -> Action:
    """What a role left and no longer mentions goes; what else is to be done for the role is an action of its own."""
    left = _left(work)
    return Action(
        site=site.name,
        layer="hosts",
        stack=STAGE,
        address=work.address,
        verb="delete",
        before=digest([f"{each.kind}:{each.name}" for each in left]),
        given=work.given,
        differences=_taken(left),
        reason=work.reason if work.verb == "delete" else f"no longer mentioned by the role: {named(left)}",
    )


def _of_slurm(site: Site, name: HostName, verb: Literal["delete", "update"]) -> Action:
    """Slurm forgets a worker that is taken away, or lets jobs begin again on one that stays after all."""
    kept = "an earlier run had begun to take it from the site's Slurm, and it is to stay"
    return Action(
        site=site.name,
        layer="policies",
        stack=policies.STAGE,
        address=policies.node_address(site.name, name),
        verb=verb,
        reason=kept if verb == "update" else "it is to be no worker of the site's Slurm any more",
    )


def _action(site: Site, stack: StackName | Literal["leftover"], action: PlannedAction) -> Action:
    return Action(
        site=site.name,
        layer="hardware",
        stack=stack,
        address=action.address,
        verb=action.verb,
        before=action.previous_generation,
        after=action.generation,
        differences=tuple(
            Difference(key=change.key, before=change.before, after=change.after) for change in action.changes
        ),
        reason=action.reason,
    )
