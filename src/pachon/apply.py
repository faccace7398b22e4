"""Carries a facility out: what ``pachon up`` does, stage by stage, each of which may be killed.

Order: leases, images, hardware, boot services; then a look at all sites and the plan that holds (``sealing``), which is
refused as a whole or carried out at all sites side by side (``site_run``).
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from infra.toolchain import programs
from pachon import artefacts, bmcs, hostvars, in_force, known, places
from pachon.configuring import Tap
from pachon.definition.loading import catalogue_of
from pachon.drivers.pulumi import StackResult
from pachon.errors import PachonError
from pachon.events import Recorder
from pachon.ground import Ground, Images
from pachon.ground import of as ground_of
from pachon.handover import Handed, Handover, host_of, once, parcel_of_program
from pachon.layers.hardware import code_digest
from pachon.model.base import Frozen
from pachon.model.facility import Facility, Site
from pachon.plan.approval import losing_data, refuse_unapproved, refuse_unknown
from pachon.plan.document import SEAL_SHOWN, Plan, sealed
from pachon.plan.folding import header
from pachon.planning import Seen
from pachon.progress import Event, Progress
from pachon.sealing import begin, keep, refuse_other_definition, settle
from pachon.site_look import look
from pachon.site_run import Failed, SiteRun
from pachon.sites import CODE, cluster_of, hardware_of, hosts_of
from pachon.store.database import Store, open_store
from pachon.store.lease import Lease, hold, note_outcome


@dataclass(frozen=True)
class Order:
    """What a person asked for."""

    facility: Facility
    state: Path
    cache: Path
    command: str
    sites: tuple[Site, ...]
    destroy: frozenset[str] = frozenset()
    """Addresses whose deletion or replacement was approved."""
    destroy_until: datetime | None = None
    """When that approval ends: nothing is begun to be destroyed after it. None: it has no end."""
    definition: Path | None = None
    """Folder that the facility was read from; kept, so that what stands can be looked at and taken down without."""
    plan: Plan | None = None
    """The approved plan that is carried out; None: whatever the definition comes to now."""
    approving: str = "pachon up"
    """How what is refused would be approved."""


class HostResult(Frozen):
    """What became of one host."""

    name: str
    site: str
    machine: str
    address: str
    """Where it is reached."""
    done: str
    """created, updated, replaced, unchanged or failed."""


class UpReport(Frozen):
    """What a run of ``up`` came to."""

    facility: str
    plan: str
    """Seal of the plan that was carried out."""
    child_plan: str
    """File with what an approved plan turned out not to hold; it waits for an approval of its own."""
    stands_on: str
    """racks, lab or twin."""
    lacks: tuple[str, ...]
    """Why it is only the twin."""
    changed: bool
    why: str
    """What was changed, or why nothing had to be."""
    changes: dict[str, int]
    """Resources of the stacks, by verb."""
    controllers: tuple[Handed, ...]
    """Controllers of sites on their admin hosts."""
    roles: dict[str, int]
    """Roles on hosts that were played well (``create``: for the first time there), and all that are in order."""
    hosts: tuple[HostResult, ...]
    failures: tuple[Failed, ...]
    seconds: float
    seconds_by_stage: dict[str, float]


@dataclass
class Run:
    """One execution of ``up``, from its lease to its report."""

    order: Order
    ground: Ground
    recorder: Recorder
    store: Store
    leases: Mapping[str, Lease]
    images: Mapping[str, Images] = field(default_factory=dict)
    code: str = ""

    def at(self, site: Site) -> SiteRun:
        """The run at one site."""
        lease, tap = self.leases[site.name], Tap(self.recorder)
        hardware = hardware_of(
            self.order.facility,
            site,
            state=self.order.state,
            store=self.store,
            ground=self.ground,
            images=self.images,
            progress=tap,
            lease=lease,
            destroy_until=self.order.destroy_until,
        )
        hosts = hosts_of(hardware, self.ground, state=self.order.state, lease=lease, progress=tap)
        return SiteRun(
            site=site,
            hardware=hardware,
            hosts=hosts,
            lease=lease,
            code=self.code,
            progress=tap,
            cluster=cluster_of(hardware, self.ground, state=self.order.state, lease=lease, progress=tap),
        )


def up(order: Order, progress: Progress) -> UpReport:
    """Bring the facility to what its definition says.

    Raises:
        LeaseHeldError: somebody else is writing.
        RefusedError: something would be destroyed that was not approved; says what and how to approve it.
        PachonError: a stage failed as a whole (what fails on one machine is in the report).
    """
    ground = ground_of(order.facility)
    if ground.kind == "racks":
        for site in order.sites:
            bmcs.password(order.state, site.name)  # before any effect: without it no machine can be spoken to
    programs.find("pulumi")
    if order.plan is not None:
        refuse_other_definition(order.plan, order.facility)
    order.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    if order.definition is not None:
        known.keep(order.facility, order.definition, order.state)
        placed = {each.service for each in order.facility.placements}
        artefacts.shelve(catalogue_of(order.definition), sorted(placed), order.state)
    store = open_store(places.store(order.state))
    with ExitStack() as stack:
        stack.callback(store.close)
        leases = {
            site.name: stack.enter_context(hold(store, site.name, facility=order.facility.name, command=order.command))
            for site in sorted(order.sites, key=lambda site: site.name)
        }
        in_force.refuse_moved(order.facility, store, leases)
        first = next(iter(leases.values()))
        recorder = Recorder(order.state / "events.jsonl", first.run_id, progress)
        stack.callback(recorder.close)
        for lease in leases.values():
            if lease.took_over:
                message = f"took over from run {lease.took_over}, whose process is gone"
                recorder(Event("lease", lease.site, "done", message))
        run = Run(order=order, ground=ground, recorder=recorder, store=store, leases=leases)
        try:
            report = asyncio.run(_up(run))
        except PachonError as error:
            recorder.keep_failure("", str(error))
            raise
        for failed in report.failures:
            recorder.keep_failure(failed.address, "; ".join(filter(None, (failed.error, failed.cure))))
        for name in {failed.address.partition("/")[0] for failed in report.failures} & leases.keys():
            note_outcome(store, leases[name], "partial")
        return report


async def _up(run: Run) -> UpReport:
    began = time.monotonic()
    order = run.order
    flavours = sorted({host.flavour for site in order.sites for host in site.active_hosts})
    if run.ground.lacks:
        run.recorder(Event("lab", "", "moving", "this is the twin: " + "; ".join(run.ground.lacks)))
    run.images = await run.ground.images(flavours, cache=order.cache, progress=run.recorder)
    run.code = await asyncio.to_thread(code_digest, CODE)
    await run.ground.up(order.state, run.recorder)
    await _boot_services(run)
    sites = [run.at(site) for site in order.sites if site.active_hosts or _stands(run.store, site)]
    plan, seen = await _planned(run, sites)
    handovers = _handovers(run, sites)
    own = [handovers.get(site.site.name) for site in sites]
    carried = (_carry_out(*each) for each in zip(sites, seen, own, strict=True))
    for ended in await asyncio.gather(*carried, return_exceptions=True):  # no site is stopped by another's failure
        if isinstance(ended, BaseException):
            raise ended
    handed = await asyncio.gather(*(_hand_over(*each) for each in zip(sites, own, strict=True)))
    changes = _count(result for site in sites for result in site.results.values())
    if removed := sum(len(site.destroyed) for site in sites):
        changes["delete"] = changes.get("delete", 0) + removed
    roles = _count_roles(sites)
    return UpReport(
        facility=order.facility.name,
        plan=plan.seal,
        child_plan=await _child(run, sites, plan),
        stands_on=run.ground.kind,
        lacks=tuple(run.ground.lacks),
        changed=any(changes.values())
        or any(number for verb, number in roles.items() if verb != "in order")
        or any(site.forgotten or site.given_back for site in sites)
        or any(site.cluster is not None and site.cluster.changed for site in sites),
        why="; ".join(site.why for site in sites) or "no host is to exist yet",
        changes=changes,
        controllers=tuple(each for each in handed if each is not None),
        roles=roles,
        hosts=tuple(result for site in sites for result in _host_results(site)),
        failures=tuple(failure for site in sites for failure in site.failures),
        seconds=round(time.monotonic() - began, 1),
        seconds_by_stage=run.recorder.seconds(),
    )


async def _planned(run: Run, sites: Sequence[SiteRun]) -> tuple[Plan, list[Seen]]:
    """The plan that holds, approved as far as it has to be, and what each site may do.

    Raises:
        RefusedError: it relies on what has moved, or destroys what was not approved.
    """
    order = run.order
    plan, seen = await _settled(run, sites, order.plan)
    known_addresses = {address for site in sites for address in site.addresses()}
    known_addresses |= {f"{placed.site}/service/{placed.service}" for placed in order.facility.placements}
    known_addresses |= {f"{site.site.name}/role/{role}" for site in sites for role in hostvars.ROLES}
    known_addresses |= {action.address for action in plan.actions if action.layer == "clusters"}
    refuse_unknown([address for address in order.destroy if "/quorum/" not in address], known_addresses)
    refuse_unapproved(plan, order.destroy, command=order.approving)
    for site in sites:
        site.destroy_data = losing_data(plan, order.destroy)
    run.recorder(Event("plan", "", "done", f"{header(plan)}; sealed {plan.seal[:SEAL_SHOWN]}"))
    if plan.pending:
        keep(plan, order.state)
    if order.plan is not None:
        begin(order.plan, (lease.run_id for lease in run.leases.values()), order.state)
    return plan, seen


async def _settled(run: Run, sites: Sequence[SiteRun], approved: Plan | None) -> tuple[Plan, list[Seen]]:
    order = run.order
    looks = await asyncio.gather(
        *(
            look(each.site, each.hardware, each.hosts, each.cluster, code=run.code, progress=each.progress)
            for each in sites
        )
    )
    seen = [
        Seen(each.site, each.hardware, each.hosts, found, each.cluster)
        for each, found in zip(sites, looks, strict=True)
    ]
    return await settle(
        order.facility,
        seen,
        code=run.code,
        images=run.images,
        approved=approved,
        state=order.state,
        progress=run.recorder,
    )


async def _child(run: Run, sites: Sequence[SiteRun], plan: Plan) -> str:
    """File with the plan of what the approved one did not hold; empty if it held all."""
    outside = any(site.hosts is not None and site.hosts.refused for site in sites)
    outside |= any(site.cluster is not None and bool(site.cluster.outside) for site in sites)
    if run.order.plan is None or not outside:
        return ""
    child, _ = await _settled(run, sites, None)
    return str(keep(sealed(child.model_copy(update={"child_of": plan.seal})), run.order.state))


def _handovers(run: Run, sites: Sequence[SiteRun]) -> dict[str, Handover]:
    """By site, what brings the controller inside it up to date."""
    order = run.order
    sites = [site for site in sites if host_of(site.site) is not None]
    if not sites or run.ground.kind == "twin" or places.hardware() or order.definition is None:
        return {}
    program = once(partial(parcel_of_program, order.cache))
    return {
        site.site.name: Handover(
            facility=order.facility,
            site=site.site,
            definition=order.definition,
            state=order.state,
            cache=order.cache,
            store=run.store,
            images=run.images,
            pulumi=programs.find("pulumi"),
            program=program,
            run_id=site.lease.run_id,
            progress=run.recorder,
        )
        for site in sites
    }


async def _carry_out(site: SiteRun, seen: Seen, handover: Handover | None) -> None:
    """Carry a site out; what its controller needs of this program is sent meanwhile."""
    work = site.carry_out(seen.look, seen.planned)
    if handover is None or site.hosts is None:
        await work
    else:
        await handover.beside(work, configured=site.hosts.has_played)


async def _hand_over(site: SiteRun, handover: Handover | None) -> Handed | None:
    """Bring a site's controller up to date; what fails is a failure of that site."""
    if handover is None:
        return None
    changed = any(verb != "none" for result in site.results.values() for verb in result.changes)
    try:
        return await handover.carry_out(changed=changed or bool(site.hosts is not None and site.hosts.played))
    except PachonError as error:
        site.failures.append(Failed(address=handover.address, error=error.message, cure=error.cure))
        return None


def _stands(store: Store, site: Site) -> bool:
    from pachon.store.journal import standing

    return bool(standing(store, site.name))


async def _boot_services(run: Run) -> None:
    from infra.boot import launch

    sites = [site for site in run.order.sites if site.active_hosts]
    run.recorder(Event("boot", "", "started", "boot services"))
    await asyncio.gather(
        *(
            launch.ensure(
                run.order.facility,
                site,
                state=run.order.state,
                images=next(iter(run.images.values())),
                progress=run.recorder,
                **run.ground.boot_settings(site),
            )
            for site in sites
        )
    )
    run.recorder(Event("boot", "", "done", "boot services"))


def _count(results: Iterable[StackResult]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for result in results:
        for verb, number in result.changes.items():
            if verb != "none":
                counted[verb] = counted.get(verb, 0) + number
    return counted


def _count_roles(sites: Iterable[SiteRun]) -> dict[str, int]:
    counted = {"create": 0, "update": 0, "delete": 0, "in order": 0}
    for layer in (site.hosts for site in sites if site.hosts is not None):
        counted["in order"] += layer.in_order()
        for verb in layer.played.values():
            counted[verb] += 1
    return counted


def _host_results(run: SiteRun) -> Iterable[HostResult]:
    words = {"create": "created", "update": "updated", "replace": "replaced", "none": "unchanged"}
    verb_by_address = {action.address: action.verb for result in run.results.values() for action in result.actions}
    failed = {failure.address for failure in run.failures}
    site = run.site
    for host in site.active_hosts:
        address = f"{site.name}/host/{host.name}"
        done = words.get(verb_by_address.get(address, "none"), "unchanged")
        if address in failed or f"{site.name}/machine/{host.machine}" in failed:
            done = "failed"
        elif done == "unchanged" and run.hosts is not None and run.hosts.has_played(host.name):
            done = "updated"
        yield HostResult(
            name=host.name,
            site=site.name,
            machine=host.machine,
            address=str(site.machine_by_serial[host.machine].management_address),
            done=done,
        )
